package bench_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/shardline/shardline/internal/bench"
)

// TestLatency runs everything for a moment: every client has latencies, slow
// receivers get no more than their limit, in order.
func TestLatency(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- bench.ServeSink(ctx, l) }()
	o := bench.LatencyOptions{
		Options: bench.Options{Load: bench.Load{Destinations: 3, Size: 100, Concurrency: 2, Keys: 10, Shards: 2},
			Measured: 200 * time.Millisecond, Rounds: 1,
			Sink: "http://" + l.Addr().String()},
		Slow: []time.Duration{20 * time.Millisecond}, SlowRate: 1000,
	}
	res, err := bench.MeasureLatency(ctx, o, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Clients) != 3 || res.Maximum <= 0 || res.Rate <= 0 || res.Rate > res.Maximum {
		t.Errorf("%+v", res)
	}
	for name, c := range res.Clients {
		if c.P50 <= 0 || c.P99 < c.P50 {
			t.Errorf("%s: %+v", name, c)
		}
	}
	if len(res.Slow) != 1 || res.Slow[0].Takes < .02 || res.Slow[0].Connections != 20 || res.Slow[0].Share <= 0 || res.Slow[0].Share > 1.2 || res.Slow[0].Disordered != 0 {
		t.Errorf("slow receivers: %+v", res.Slow)
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
}
