package checkpoint_test

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/shardline/shardline/checkpoint"
)

func TestMetrics(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	m := checkpoint.NewMetrics(reg)
	problems, err := testutil.GatherAndLint(reg)
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v, %v", problems, err)
	}
	bubble(t, 3, func(t *testing.T, f *fleet) {
		f.add("a", func(c *checkpoint.HolderConfig) { c.Metrics = m })
		time.Sleep(time.Second)
		if _, err := f.table.Take(t.Context(), f.lease(0), "thief", "x"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(failover / 2)
		if err := testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP shardline_checkpoint_leases_held Leases that this worker holds.
# TYPE shardline_checkpoint_leases_held gauge
shardline_checkpoint_leases_held 2
# HELP shardline_checkpoint_leases_lost_total Leases that this worker lost without giving them up, by reason.
# TYPE shardline_checkpoint_leases_lost_total counter
shardline_checkpoint_leases_lost_total{reason="deleted"} 0
shardline_checkpoint_leases_lost_total{reason="expired"} 0
shardline_checkpoint_leases_lost_total{reason="same_worker"} 0
shardline_checkpoint_leases_lost_total{reason="taken"} 1
# HELP shardline_checkpoint_leases_taken_total Leases that this worker has taken.
# TYPE shardline_checkpoint_leases_taken_total counter
shardline_checkpoint_leases_taken_total 3
`), "shardline_checkpoint_leases_held", "shardline_checkpoint_leases_lost_total", "shardline_checkpoint_leases_taken_total"); err != nil {
			t.Error(err)
		}
		if n := testutil.CollectAndCount(reg, "shardline_checkpoint_store_calls_total"); n != 56 {
			t.Errorf("%d series of calls, want 14 operations of 4 outcomes", n)
		}
	})
}
