package checkpoint_test

import (
	"testing"
	"time"

	"github.com/shardline/shardline/checkpoint"
)

// A worker whose scans fail for minutes does not take a lease that somebody
// renews for one that nobody holds; when its owner is dead it does.
func TestFailingScansFreeNothing(t *testing.T) {
	bubble(t, 2, func(t *testing.T, f *fleet) {
		a := f.add("a")
		time.Sleep(time.Second)
		b := f.add("b", func(c *checkpoint.HolderConfig) {
			c.Wanted = func(checkpoint.Lease, map[string]checkpoint.Lease) bool { return false }
		})
		time.Sleep(failover)
		b.set(func(w *worker) {
			w.fault = func(op, _ string) checkpoint.Outcome {
				if op == "list" {
					return checkpoint.Hang
				}
				return checkpoint.None
			}
		})
		for range 18 {
			time.Sleep(failover)
			if l := f.lease(0); b.Free(l) {
				t.Fatalf("at %s: %s, which %s renews, counts as free", f.now(), l.Key, l.Owner)
			}
		}
		b.set(func(w *worker) { w.fault = nil })
		a.Kill()
		time.Sleep(2 * failover)
		if l := f.lease(0); !b.Free(l) {
			t.Errorf("%s, whose owner is dead, does not count as free", l.Key)
		}
	})
}
