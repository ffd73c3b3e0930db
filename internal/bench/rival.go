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
	ctx       context.Context
	delivered atomic.Int64
	all       sync.WaitGroup
	first     atomic.Pointer[error]
	stop      func() bool
}

// newLoops starts as many loops as there are connections. begin makes what one
// of them needs, and what ends it when ctx does.
func newLoops(ctx context.Context, o Options, begin func(d int) (exchange, func(), error), bodies [][]byte) *loops {
	l := &loops{ctx: ctx}
	for d := range o.Destinations {
		for w := range o.Concurrency {
			l.all.Go(func() {
				send, end, err := begin(d)
				if err == nil {
					stop := context.AfterFunc(ctx, end)
					defer stop()
				}
				for i := d + w; err == nil && ctx.Err() == nil; i++ {
					if err = send(bodies[i%len(bodies)]); err == nil {
						l.delivered.Add(1)
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
