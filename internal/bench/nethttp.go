package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
)

// startNetHTTP starts the rival: goroutines that post one body after the
// other with net/http alone, each over a kept connection, and drain the
// answers. They keep no order but that of each connection and know no stream.
func startNetHTTP(ctx context.Context, o Options, bodies [][]byte) (func() int64, func() error, error) {
	secure, err := o.clientTLS()
	if err != nil {
		return nil, nil, err
	}
	transports := make([]*http.Transport, o.Destinations)
	for d := range transports {
		transports[d] = &http.Transport{MaxIdleConnsPerHost: o.Concurrency, MaxConnsPerHost: o.Concurrency,
			DisableCompression: true, TLSClientConfig: secure}
	}
	l := newLoops(ctx, o, func(d int) (exchange, func(), error) {
		client, url := &http.Client{Transport: transports[d]}, destinationURL(o.Sink, d)
		return func(body []byte) error { return post(ctx, client, url, body) }, func() {}, nil
	}, inTurn(bodies))
	return l.delivered.Load, func() error {
		err := l.wait()
		for _, t := range transports {
			t.CloseIdleConnections()
		}
		return err
	}, nil
}

func post(ctx context.Context, client *http.Client, url string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", contentType)
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

// url is a destination's address for Shardline, which shows the sink more.
func (o Options) url(d int) string {
	if o.delay == 0 {
		return destinationURL(o.Sink, d)
	}
	return fmt.Sprintf("%s%s%s&run=%d", destinationURL(o.Sink, d), delayQuery, o.delay, o.run)
}
