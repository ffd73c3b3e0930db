package bench

import (
	"context"
	"fmt"

	"github.com/valyala/fasthttp"
)

// startFastHTTP starts the rival: goroutines that post one body after the other
// with fasthttp alone, each over a kept connection. A body is not copied before
// it is sent. They keep no order but that of each connection, know no stream,
// and have no time-outs.
func startFastHTTP(ctx context.Context, o Options, bodies [][]byte) (func() int64, func() error, error) {
	begin, end, err := fastHTTP(o)
	if err != nil {
		return nil, nil, err
	}
	l := newLoops(ctx, o, begin, inTurn(bodies))
	return l.delivered.Load, func() error {
		err := l.wait()
		end()
		return err
	}, nil
}

// fastHTTP makes the clients; end closes their connections.
func fastHTTP(o Options) (begin begin, end func(), err error) {
	secure, err := o.clientTLS()
	if err != nil {
		return nil, nil, err
	}
	clients := make([]*fasthttp.HostClient, o.Destinations)
	for d := range clients {
		address, _, err := split(destinationURL(o.Sink, d))
		if err != nil {
			return nil, nil, err
		}
		clients[d] = &fasthttp.HostClient{Addr: address, IsTLS: secure != nil, TLSConfig: secure, MaxConns: o.Concurrency,
			NoDefaultUserAgentHeader: true, DisableHeaderNamesNormalizing: true, DisablePathNormalizing: true}
	}
	begin = func(d int) (exchange, func(), error) {
		req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
		req.Header.SetMethod(fasthttp.MethodPost)
		req.SetRequestURI(destinationURL(o.Sink, d))
		req.Header.SetContentType(contentType)
		return func(body []byte) error {
			req.SetBodyRaw(body)
			if err := clients[d].Do(req, resp); err != nil {
				return err
			}
			if code := resp.StatusCode(); code != fasthttp.StatusOK {
				return fmt.Errorf("the sink answered %d", code)
			}
			return nil
		}, func() {}, nil
	}
	return begin, func() {
		for _, c := range clients {
			c.CloseIdleConnections()
		}
	}, nil
}
