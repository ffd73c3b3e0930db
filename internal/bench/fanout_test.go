package bench_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/shardline/shardline/internal/bench"
)

// TestFanout runs every client for a moment and sees that each delivers, that
// the sink counts, and that there is a ratio per rival.
func TestFanout(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- bench.ServeSink(ctx, l) }()
	rounds := 0
	res, err := bench.Fanout(ctx, bench.Options{Destinations: 3, Size: 100, Measured: 200 * time.Millisecond, Concurrency: 2,
		Keys: 10, Shards: 2, Rounds: 2, Sink: "http://" + l.Addr().String()}, true, func(int, string, bench.Rate) { rounds++ })
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Clients) != 2 || rounds != 4 {
		t.Errorf("%d rounds of the clients %v", rounds, res.Clients)
	}
	for name, c := range res.Clients {
		if c.DeliveriesPerSecond <= 0 || c.CPUSecondsPer1000 <= 0 {
			t.Errorf("%s: %+v", name, c)
		}
	}
	if r := res.Ratio["net_http"]; r <= 0 {
		t.Errorf("ratio %v", res.Ratio)
	}
	if res.Sink == nil || res.Sink.CPUSecondsPer1000 <= 0 {
		t.Errorf("sink %+v", res.Sink)
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
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
	_, err = bench.Fanout(t.Context(), bench.Options{Destinations: 1, Size: 10, Measured: 50 * time.Millisecond, Concurrency: 1,
		Keys: 1, Shards: 1, Rounds: 1, Sink: "http://" + l.Addr().String()}, false, func(int, string, bench.Rate) {})
	if err == nil {
		t.Error("no error")
	}
}
