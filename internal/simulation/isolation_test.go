package simulation_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardline/shardline/internal/simulation"
)

// makeWay is what others may lose to those that are sick: the patience with a full
// log, or the second for which a shard's end waits for the slowest, and a look at
// the leases.
const makeWay = 5 * time.Second

// TestIsolation holds P4 and P8: whatever four of eight destinations do, one of
// them with one key alone, the others get every record as soon as without them, also
// over a split and a merge; and catch-up reads a shard twice a second at most.
func TestIsolation(t *testing.T) {
	n, seed := number(t, "SIMULATE_ISOLATED", 6), number(t, "SIMULATE_SEED", 1)
	for s := seed; s < seed+n; s++ {
		t.Run(fmt.Sprint("seed=", s), func(t *testing.T) {
			t.Parallel()
			run := func(ill bool) (iso simulation.Isolation) {
				synctest.Test(t, func(*testing.T) { iso = simulation.RunIsolated(s, ill) })
				if len(iso.Violations) > 0 {
					fail(t, iso.Report)
				}
				return iso
			}
			well, ill := run(false), run(true)
			if len(well.Slowest) < 4 || len(ill.Slowest) != len(well.Slowest) {
				t.Fatalf("%d and %d subscribers were looked at", len(well.Slowest), len(ill.Slowest))
			}
			for name, before := range well.Slowest {
				if after := ill.Slowest[name]; after > before+makeWay {
					t.Errorf("%s waits for up to %s beside sick ones, %s without", name, after, before)
				}
			}
			if most := well.Reads + 2*well.Shards*int(ill.Length/time.Second); ill.Reads > most {
				t.Errorf("%d reads beside sick ones, %d without: more than twice a second and shard", ill.Reads, well.Reads)
			}
		})
	}
}
