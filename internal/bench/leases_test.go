package bench_test

import (
	"context"
	"errors"
	"testing"

	"github.com/shardline/shardline/internal/bench"
)

// TestLeasesEndsWithItsContext: a benchmark whose worker does nothing is ended
// by its context, and says so.
func TestLeasesEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o := bench.LeaseOptions{Executable: "true", Dir: t.TempDir(), Shards: 2, Failover: 1e9, Rounds: 1}
	_, err := bench.Leases(ctx, o, func(int, bench.LeaseTimes) { t.Error("a round has ended") })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
