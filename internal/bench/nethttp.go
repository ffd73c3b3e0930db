package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
)

// startNetHTTP starts the rival: goroutines that post one body after the
// other with net/http alone, each over a kept connection, and drain the
// answers. They keep no order and know no stream.
func startNetHTTP(ctx context.Context, o Options, bodies [][]byte) (func() int64, func() error, error) {
	var (
		delivered atomic.Int64
		all       sync.WaitGroup
		first     atomic.Pointer[error]
	)
	transports := make([]*http.Transport, o.Destinations)
	for d := range transports {
		transports[d] = &http.Transport{MaxIdleConnsPerHost: o.Concurrency, MaxConnsPerHost: o.Concurrency, DisableCompression: true}
		client := &http.Client{Transport: transports[d]}
		url := destinationURL(o.Sink, d)
		for w := range o.Concurrency {
			all.Go(func() {
				for i := d + w; ctx.Err() == nil; i++ {
					if err := post(ctx, client, url, bodies[i%len(bodies)]); err != nil {
						if ctx.Err() == nil {
							first.CompareAndSwap(nil, &err)
						}
						return
					}
					delivered.Add(1)
				}
			})
		}
	}
	wait := func() error {
		all.Wait()
		for _, t := range transports {
			t.CloseIdleConnections()
		}
		if err := first.Load(); err != nil {
			return *err
		}
		return nil
	}
	return delivered.Load, wait, nil
}

func post(ctx context.Context, client *http.Client, url string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "text/xml; charset=utf-8")
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("the sink answered %s", res.Status)
	}
	return nil
}

func destinationURL(sink string, d int) string { return fmt.Sprintf("%s/channel-%03d", sink, d) }
