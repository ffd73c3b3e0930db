package pipeline_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/pipeline"
)

// untilTrim is the metric by destination.
func untilTrim(t *testing.T, g prometheus.Gatherer) map[string]time.Duration {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	left := map[string]time.Duration{}
	for _, f := range families {
		if f.GetName() != "shardline_pipeline_until_trim_seconds" {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "destination" {
					left[l.GetValue()] = time.Duration(m.GetGauge().GetValue() * float64(time.Second))
				}
			}
		}
	}
	return left
}

// TestUntilTrim: what is left of the retention for whoever takes nothing, on the
// shard log and as a laggard, while the other has all of it.
func TestUntilTrim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{t: t, tape: newTape("s", "idle"), store: &checkpoint.Memory{}}
		f.tape.retention = 24 * time.Hour
		d, e := newInbox("d"), newInbox("e")
		d.setShut(true)
		stop := f.start(pipeline.Initial{}, d, e)
		settle(10 * time.Second)
		f.tape.put("s", "k 1")
		put := time.Now()
		check := func(when string, want time.Duration) {
			t.Helper()
			left := untilTrim(t, f.metrics)
			if left["e"] != 24*time.Hour || (left["d"]-want).Abs() > time.Millisecond {
				t.Errorf("%s: %s for d and %s for e, want %s and 24h", when, left["d"], left["e"], want)
			}
		}
		settle(10 * time.Minute)
		f.tape.put("s", "k 2")
		settle(10 * time.Minute)
		check("on the shard log", 24*time.Hour-time.Since(put))
		order(t, f.store, checkpoint.PauseVerb)
		settle(time.Hour)
		check("a laggard", 24*time.Hour-time.Since(put))
		order(t, f.store, checkpoint.ResumeVerb)
		d.setShut(false)
		settle(time.Minute)
		expect(t, d, "k 1, k 2")
		check("through", 24*time.Hour)
		stop()
		if left := untilTrim(t, f.metrics); len(left) != 0 {
			t.Errorf("of shards that it has no more: %v", left)
		}
	})
}
