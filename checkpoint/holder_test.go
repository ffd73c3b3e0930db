package checkpoint_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/shardline/shardline/checkpoint"
)

// pass is the longest time between two scans.
const pass = failover / 3

func TestLoneWorkerTakesAllInOnePass(t *testing.T) {
	bubble(t, 78, func(t *testing.T, f *fleet) {
		w := f.add("a")
		time.Sleep(failover / 10)
		expectOwned(t, f, map[string]int{"a": 78})
		if n := w.called("list"); n != 1 {
			t.Errorf("%d scans, want 1", n)
		}
	})
}

func TestSecondWorkerShares(t *testing.T) {
	for _, tt := range []struct {
		shards, workers int
	}{{78, 2}, {7, 3}, {1, 2}, {10, 4}} {
		bubble(t, tt.shards, func(t *testing.T, f *fleet) {
			for i := range tt.workers {
				f.add(string(rune('a' + i))).set(func(w *worker) { w.drain = 300 * time.Millisecond })
				time.Sleep(time.Second)
			}
			time.Sleep(10 * pass)
			least, most, sum := tt.shards, 0, 0
			for i := range tt.workers {
				n := f.owned()[string(rune('a'+i))]
				least, most, sum = min(least, n), max(most, n), sum+n
			}
			if sum != tt.shards || most-least > 1 {
				t.Errorf("%d shards, %d workers: %v", tt.shards, tt.workers, f.owned())
			}
			for i := range tt.shards {
				vs := f.visits(shardName(i))
				for j := 1; j < len(vs); j++ {
					if vs[j-1].cause != nil {
						t.Errorf("%s was taken from %s by force: %v", shardName(i), vs[j-1].worker, vs[j-1].cause)
					}
					if vs[j].began < vs[j-1].ended {
						t.Errorf("%s: %s began at %s, before %s ended at %s", shardName(i), vs[j].worker, vs[j].began, vs[j-1].worker, vs[j-1].ended)
					}
				}
			}
			settled := f.owned()
			time.Sleep(10 * pass)
			if got := f.owned(); len(got) != len(settled) || got["a"] != settled["a"] {
				t.Errorf("balance does not rest: %v, then %v", settled, got)
			}
		})
	}
}

func TestWorkersThatStartTogether(t *testing.T) {
	bubble(t, 40, func(t *testing.T, f *fleet) {
		for _, id := range []string{"a", "b", "c", "d"} {
			f.add(id)
		}
		time.Sleep(6 * pass)
		expectOwned(t, f, map[string]int{"a": 10, "b": 10, "c": 10, "d": 10})
	})
}

func TestKilledWorkersLeasesAreTaken(t *testing.T) {
	bubble(t, 12, func(t *testing.T, f *fleet) {
		a := f.add("a")
		time.Sleep(time.Second)
		f.add("b")
		time.Sleep(6 * pass)
		expectOwned(t, f, map[string]int{"a": 6, "b": 6})
		a.Kill()
		<-a.done
		if !errors.Is(a.err, checkpoint.ErrKilled) {
			t.Errorf("Run: %v, want ErrKilled", a.err)
		}
		// Unchanged for a fail-over time since the scan that saw the last
		// renewal (one pass), taken at the scan after that (another).
		time.Sleep(failover + 2*pass)
		expectOwned(t, f, map[string]int{"b": 12})
	})
}

// A zombie cannot reach the table but goes on: its tenures end before another
// worker takes its leases.
func TestZombieEndsBeforeOthersTake(t *testing.T) {
	bubble(t, 6, func(t *testing.T, f *fleet) {
		a := f.add("a")
		time.Sleep(time.Second)
		f.add("b")
		time.Sleep(6 * pass)
		a.set(func(w *worker) {
			w.fault = func(string, string) checkpoint.Outcome { return checkpoint.Hang }
		})
		time.Sleep(failover)
		if n := f.owned()["a"]; n != 0 {
			t.Fatalf("the zombie still serves %d shards after the fail-over time", n)
		}
		time.Sleep(2 * pass)
		expectOwned(t, f, map[string]int{"b": 6})
		a.set(func(w *worker) { w.fault = nil })
		time.Sleep(10 * pass)
		expectOwned(t, f, map[string]int{"a": 3, "b": 3})
		for i := range 6 {
			for _, v := range f.visits(shardName(i)) {
				if v.ended != 0 && v.cause != nil && !errors.Is(v.cause, checkpoint.ErrLeaseLost) {
					t.Errorf("cause %v, want ErrLeaseLost", v.cause)
				}
			}
		}
	})
}

func TestReleaseAtStopLetsPeersTakeAtOnce(t *testing.T) {
	bubble(t, 10, func(t *testing.T, f *fleet) {
		a := f.add("a")
		time.Sleep(time.Second)
		f.add("b")
		time.Sleep(6 * pass)
		a.set(func(w *worker) { w.n, w.drain = 77, 700*time.Millisecond })
		a.cancel()
		<-a.done
		if a.err != nil {
			t.Errorf("Run: %v", a.err)
		}
		saved := 0
		for i := range 10 {
			if l := f.lease(i); l.Checkpoint == checkpoint.Number("77", 0) {
				if saved++; l.Owner != "" || l.Tenure != "" {
					t.Errorf("%s is still owned by %q", l.Key, l.Owner)
				}
			}
		}
		if saved != 5 {
			t.Errorf("%d leases were released with their last positions, want 5", saved)
		}
		time.Sleep(pass)
		expectOwned(t, f, map[string]int{"b": 10})
	})
}

// A slow drain, longer than the fail-over time, keeps its lease.
func TestSlowDrainKeepsTheLease(t *testing.T) {
	bubble(t, 2, func(t *testing.T, f *fleet) {
		a := f.add("a")
		a.set(func(w *worker) { w.drain = 3 * failover })
		time.Sleep(time.Second)
		f.add("b")
		time.Sleep(2 * failover)
		expectOwned(t, f, map[string]int{"a": 2})
		time.Sleep(2 * failover)
		expectOwned(t, f, map[string]int{"a": 1, "b": 1})
		for i := range 2 {
			for _, v := range f.visits(shardName(i)) {
				if v.cause != nil {
					t.Errorf("%s ended by %v", v.worker, v.cause)
				}
			}
		}
	})
}

// An owner that dies while it hands over: the lease is stale after the
// fail-over time and goes to somebody.
func TestOwnerDiesWhileHandingOver(t *testing.T) {
	bubble(t, 2, func(t *testing.T, f *fleet) {
		a := f.add("a")
		a.set(func(w *worker) { w.drain = time.Hour })
		time.Sleep(time.Second)
		f.add("b")
		time.Sleep(3 * pass)
		if f.lease(0).HandingOver+f.lease(1).HandingOver != "a" {
			t.Fatal("no lease is being handed over")
		}
		a.Kill()
		<-a.done
		time.Sleep(failover + 2*time.Second)
		expectOwned(t, f, map[string]int{"b": 2})
	})
}

// One that asked and died: its lease is nobody's after the fail-over time.
func TestAskerDies(t *testing.T) {
	bubble(t, 2, func(t *testing.T, f *fleet) {
		a := f.add("a")
		a.set(func(w *worker) { w.drain = 8 * time.Second })
		time.Sleep(time.Second)
		b := f.add("b")
		time.Sleep(2 * pass)
		if f.lease(0).HandingOver+f.lease(1).HandingOver != "a" {
			t.Fatal("no lease is being handed over")
		}
		b.Kill()
		<-b.done
		time.Sleep(8*time.Second + failover + 2*pass)
		expectOwned(t, f, map[string]int{"a": 2})
	})
}

func TestMaxLeases(t *testing.T) {
	bubble(t, 10, func(t *testing.T, f *fleet) {
		most := func(c *checkpoint.HolderConfig) { c.MaxLeases = 4 }
		f.add("a", most)
		time.Sleep(5 * pass)
		expectOwned(t, f, map[string]int{"a": 4})
		f.add("b", most)
		time.Sleep(5 * pass)
		expectOwned(t, f, map[string]int{"a": 4, "b": 4})
	})
}

func TestOnlyWantedLeasesAreTaken(t *testing.T) {
	bubble(t, 4, func(t *testing.T, f *fleet) {
		w := f.add("a", func(c *checkpoint.HolderConfig) {
			c.Wanted = func(l checkpoint.Lease, all map[string]checkpoint.Lease) bool {
				return len(all) == 4 && l.Shard != shardName(2)
			}
		})
		time.Sleep(time.Second)
		expectOwned(t, f, map[string]int{"a": 3})
		if got := w.Snapshot(); len(got) != 4 || got[shardName(2)].Owner != "" {
			t.Errorf("snapshot %v", got)
		}
		if !w.Free(f.lease(2)) || w.Free(f.lease(1)) {
			t.Error("Free does not tell the lease that nobody has")
		}
	})
}

func TestServeThatFailsIsRetriedWithBackOff(t *testing.T) {
	bubble(t, 1, func(t *testing.T, f *fleet) {
		a := f.add("a")
		a.set(func(w *worker) { w.fail = errors.New("no such stream") })
		time.Sleep(2 * time.Minute)
		// Taken at 0, then after waits of 10, 20, 40 and 80 s and the scan
		// that follows each: at most 5 times within two minutes.
		if n := len(f.visits(shardName(0))); n < 3 || n > 5 {
			t.Errorf("served %d times in two minutes", n)
		}
		if l := f.lease(0); l.Owner != "" {
			t.Errorf("still owned by %q", l.Owner)
		}
		f.add("b")
		time.Sleep(pass)
		expectOwned(t, f, map[string]int{"b": 1})
	})
}

func TestScanIsAnswered(t *testing.T) {
	bubble(t, 1, func(t *testing.T, f *fleet) {
		a := f.add("a")
		time.Sleep(time.Second)
		scanned := a.Scanned()
		start := f.now()
		a.Scan()
		<-scanned
		if took := f.now() - start; took > failover/10 {
			t.Errorf("scan after %s", took)
		}
	})
}

func TestForeignTenureUnderMyID(t *testing.T) {
	bubble(t, 1, func(t *testing.T, f *fleet) {
		f.add("a")
		time.Sleep(time.Second)
		if _, err := f.table.Take(context.Background(), f.lease(0), "a", "another process"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(pass + time.Second)
		expectOwned(t, f, map[string]int{})
		vs := f.visits(shardName(0))
		if len(vs) != 1 || !errors.Is(vs[0].cause, checkpoint.ErrLeaseLost) {
			t.Errorf("visits %+v, want one that lost its lease", vs)
		}
	})
}
