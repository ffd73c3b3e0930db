package bench

import (
	"context"
	"crypto/tls"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
)

const contentType = "text/xml; charset=utf-8"

// exchange sends one body and waits for its answer.
type exchange func(body []byte) error

// loops are a rival's goroutines, one per connection.
type loops struct {
	delivered atomic.Int64
	all       sync.WaitGroup
	first     atomic.Pointer[error]
}

// begin makes what a loop to a destination needs, and what ends its call when
// the run ends.
type begin func(d int) (exchange, func(), error)

// inTurn gives each loop one body after the other.
func inTurn(bodies [][]byte) func(d, i int) ([]byte, func()) {
	return func(d, i int) ([]byte, func()) { return bodies[(d+i)%len(bodies)], nil }
}

// newLoops starts as many loops as there are connections. next is a loop's next
// body, and what is to be done when it is delivered.
func newLoops(ctx context.Context, o Options, begin begin, next func(d, i int) ([]byte, func())) *loops {
	l := &loops{}
	for d := range o.Destinations {
		for w := range o.Concurrency {
			l.all.Go(func() {
				send, end, err := begin(d)
				if err == nil {
					stop := context.AfterFunc(ctx, end)
					defer stop()
				}
				for i := w; err == nil && ctx.Err() == nil; i++ {
					body, done := next(d, i)
					if body == nil {
						return
					}
					if err = send(body); err != nil {
						break
					}
					l.delivered.Add(1)
					if done != nil {
						done()
					}
				}
				if err != nil && ctx.Err() == nil {
					l.first.CompareAndSwap(nil, &err)
				}
			})
		}
	}
	return l
}

func (l *loops) wait() error {
	l.all.Wait()
	if err := l.first.Load(); err != nil {
		return *err
	}
	return nil
}

// split is a URL's address and path.
func split(raw string) (address, path string, err error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", "", err
	}
	address = u.Host
	if u.Port() == "" {
		address += map[string]string{"http": ":80", "https": ":443"}[strings.ToLower(u.Scheme)]
	}
	return address, u.RequestURI(), nil
}

// clientTLS is how the rivals speak TLS with the sink; nil: they do not.
func (o Options) clientTLS() (*tls.Config, error) {
	if !strings.HasPrefix(o.Sink, "https:") {
		return nil, nil
	}
	u, err := url.Parse(o.Sink)
	if err != nil {
		return nil, err
	}
	roots, err := readRoots(o.Roots)
	if err != nil {
		return nil, err
	}
	return &tls.Config{RootCAs: roots, ServerName: u.Hostname(), NextProtos: []string{"http/1.1"}}, nil
}
