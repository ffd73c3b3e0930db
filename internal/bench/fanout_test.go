package bench_test

import (
	"context"
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/shardline/shardline/internal/bench"
)

// TestFanout runs every client for a moment and sees that each delivers, that
// the sink counts, and that there is a ratio per rival; over TLS too.
func TestFanout(t *testing.T) {
	for _, secure := range []bool{false, true} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		o := bench.Options{Load: bench.Load{Destinations: 3, Size: 100, Concurrency: 2, Keys: 10, Shards: 2},
			Measured: 200 * time.Millisecond, Rounds: 2, Sink: "http://" + l.Addr().String()}
		if secure {
			certificate, key, err := bench.Certificate(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			pair, err := tls.LoadX509KeyPair(certificate, key)
			if err != nil {
				t.Fatal(err)
			}
			l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{pair}})
			o.Sink, o.Roots = "https://"+l.Addr().String(), certificate
		}
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- bench.ServeSink(ctx, l) }()
		rounds := 0
		res, err := bench.Fanout(ctx, o, true, func(int, string, bench.Rate) { rounds++ })
		if err != nil {
			t.Fatal(err)
		}
		if len(res.Clients) != 4 || rounds != 8 || len(res.Ratio) != 3 || len(res.CPURatio) != 3 {
			t.Errorf("%d rounds of the clients %v with the ratios %v and %v", rounds, res.Clients, res.Ratio, res.CPURatio)
		}
		for name, c := range res.Clients {
			if c.DeliveriesPerSecond <= 0 || c.CPUSecondsPer1000 <= 0 {
				t.Errorf("%s: %+v", name, c)
			}
		}
		for _, rival := range []string{"net_http", "fasthttp", "socket"} {
			if res.Ratio[rival] <= 0 || res.CPURatio[rival] <= 0 {
				t.Errorf("%s: ratios %v and %v", rival, res.Ratio, res.CPURatio)
			}
		}
		if res.Sink == nil || res.Sink.CPUSecondsPer1000 <= 0 {
			t.Errorf("sink %+v", res.Sink)
		}
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}
}

// TestFanoutWithoutSink: a sink that is not there is an error that says so,
// not a rate of nothing.
func TestFanoutWithoutSink(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	_, err = bench.Fanout(t.Context(), bench.Options{Load: bench.Load{Destinations: 1, Size: 10, Concurrency: 1, Keys: 1, Shards: 1},
		Measured: 50 * time.Millisecond, Rounds: 1, Sink: "http://" + l.Addr().String()}, false, func(int, string, bench.Rate) {})
	if err == nil {
		t.Error("no error")
	}
}
