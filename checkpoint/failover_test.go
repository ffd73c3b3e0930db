package checkpoint_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/shardline/shardline/checkpoint"
)

// latency makes every call of w take a while, as a table does.
func latency(w *worker, rnd *rand.Rand) {
	r := make(chan *rand.Rand, 1)
	r <- rnd
	w.set(func(w *worker) {
		w.fault = func(op, _ string) checkpoint.Outcome {
			x := <-r
			d := time.Duration(2+x.IntN(20)) * time.Millisecond
			r <- x
			time.Sleep(d)
			return checkpoint.None
		}
	})
}

// A killed worker's shards are read by others within the fail-over time and two
// seconds, whenever it dies, and each moves once.
func TestFailOverTime(t *testing.T) {
	const shards = 24
	for seed := range uint64(12) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			bubble(t, shards, func(t *testing.T, f *fleet) {
				rnd := rand.New(rand.NewPCG(seed, 2))
				a := f.add("a")
				latency(a, rand.New(rand.NewPCG(seed, 3)))
				time.Sleep(time.Second)
				for i := range 1 + rnd.IntN(3) {
					latency(f.add(string(rune('b'+i))), rand.New(rand.NewPCG(seed, uint64(4+i))))
				}
				time.Sleep(4*failover + time.Duration(rnd.IntN(int(failover))))
				killed := f.now()
				a.Kill()
				<-a.done
				time.Sleep(failover + 3*time.Second)
				taken := 0
				for i := range shards {
					vs := f.visits(shardName(i))
					j := slices.IndexFunc(vs, func(v visit) bool { return v.ended >= killed && v.worker == "a" })
					if j < 0 {
						continue
					}
					if j+1 == len(vs) {
						t.Errorf("%s is not taken", shardName(i))
						continue
					}
					taken++
					if took := vs[j+1].began - killed; took > failover+2*time.Second {
						t.Errorf("%s was taken %s after its owner died", shardName(i), took)
					}
				}
				if taken == 0 {
					t.Error("the dead worker had nothing")
				}
			})
		})
	}
}

// What a worker lets go when it stops is read by others within two seconds.
func TestReleaseIsSeenWithinAScan(t *testing.T) {
	const shards = 24
	for seed := range uint64(12) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			bubble(t, shards, func(t *testing.T, f *fleet) {
				rnd := rand.New(rand.NewPCG(seed, 2))
				a := f.add("a")
				latency(a, rand.New(rand.NewPCG(seed, 3)))
				time.Sleep(time.Second)
				others := 1 + rnd.IntN(3)
				for i := range others {
					latency(f.add(string(rune('b'+i))), rand.New(rand.NewPCG(seed, uint64(4+i))))
				}
				time.Sleep(4*failover + time.Duration(rnd.IntN(int(failover))))
				drain := time.Duration(rnd.IntN(3000)) * time.Millisecond
				a.set(func(w *worker) { w.drain = drain })
				before := f.moves()
				mine := f.owned()["a"]
				a.cancel()
				<-a.done
				time.Sleep(10 * time.Second)
				for i := range shards {
					vs := f.visits(shardName(i))
					last := vs[len(vs)-1]
					if last.worker == "a" {
						t.Fatalf("%s is not taken", shardName(i))
					}
					if j := len(vs) - 2; j >= 0 && vs[j].worker == "a" && last.began-vs[j].ended > 2*time.Second {
						t.Errorf("%s was taken %s after it was let go", shardName(i), last.began-vs[j].ended)
					}
				}
				if n := f.moves() - before; n > mine {
					t.Errorf("%d moves, want the %d of the one that left", n, mine)
				}
				f.balanced(shards, others)
			})
		})
	}
}

// moves is how often a shard was taken so far.
func (f *fleet) moves() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, vs := range f.tenures {
		n += len(vs)
	}
	return n
}

// balanced holds that so many workers serve all shards, and that their counts
// differ by one at most.
func (f *fleet) balanced(shards, workers int) {
	f.t.Helper()
	least, most, sum := shards, 0, 0
	owned := f.owned()
	for _, n := range owned {
		least, most, sum = min(least, n), max(most, n), sum+n
	}
	if sum != shards || most-least > 1 || len(owned) != min(workers, shards) {
		f.t.Errorf("at %s %d shards are served by %v, want %d workers whose counts differ by one at most", f.now(), shards, owned, workers)
	}
}

// Whoever joins gets its part with the fewest moves, each by a graceful
// hand-over; whatever it is, it then rests.
func TestJoinMovesTheFewest(t *testing.T) {
	for _, tt := range []struct{ shards, workers int }{{78, 3}, {10, 2}, {7, 3}, {3, 3}} {
		for seed := range uint64(4) {
			t.Run(fmt.Sprintf("shards=%d,workers=%d,seed=%d", tt.shards, tt.workers, seed), func(t *testing.T) {
				bubble(t, tt.shards, func(t *testing.T, f *fleet) {
					rnd := rand.New(rand.NewPCG(seed, 5))
					for i := range tt.workers {
						latency(f.add(string(rune('b'+i))), rand.New(rand.NewPCG(seed, uint64(4+i))))
						time.Sleep(time.Duration(rnd.IntN(2000)) * time.Millisecond)
					}
					time.Sleep(6 * failover)
					f.balanced(tt.shards, tt.workers)
					before := f.moves()
					latency(f.add(string("az"[rnd.IntN(2)])), rand.New(rand.NewPCG(seed, 3)))
					time.Sleep(6 * failover)
					f.balanced(tt.shards, tt.workers+1)
					if n, want := f.moves()-before, tt.shards/(tt.workers+1); n != want {
						t.Errorf("%d moves, want %d", n, want)
					}
					for i := range tt.shards {
						vs := f.visits(shardName(i))
						for j := 1; j < len(vs); j++ {
							if gap := vs[j].began - vs[j-1].ended; gap > time.Second || gap < 0 {
								t.Errorf("%s was unread for %s", shardName(i), gap)
							}
						}
					}
				})
			})
		}
	}
}

// A scan that takes long is made less often: an eighth of the time at most.
func TestSlowScansAreRare(t *testing.T) {
	bubble(t, 4, func(t *testing.T, f *fleet) {
		slow := func(op, _ string) checkpoint.Outcome {
			if op == "list" {
				time.Sleep(2 * time.Second)
			}
			return checkpoint.None
		}
		f.add("a")
		b := f.add("b")
		time.Sleep(3 * failover)
		b.set(func(w *worker) { w.fault = slow })
		time.Sleep(failover)
		before := b.called("list")
		time.Sleep(4 * time.Minute)
		// One in 16 s; the one that is under way is counted too.
		if n := b.called("list") - before; n < 14 || n > 16 {
			t.Errorf("%d scans of 2 s each within 4 minutes, want 15", n)
		}
	})
}

// A process that stands still during a scan does not take that for a slow one:
// when it goes on, it scans as before, and gets its part of the leases.
func TestStandstillIsNoSlowScan(t *testing.T) {
	bubble(t, 4, func(t *testing.T, f *fleet) {
		f.add("a")
		b := f.add("b")
		time.Sleep(3 * failover)
		expectOwned(t, f, map[string]int{"a": 2, "b": 2})
		still := true
		b.set(func(w *worker) {
			w.fault = func(op, _ string) checkpoint.Outcome {
				if op == "list" && still {
					still = false
					time.Sleep(6 * failover)
				}
				return checkpoint.None
			}
		})
		time.Sleep(7 * failover)
		before := b.called("list")
		time.Sleep(failover)
		if n := b.called("list") - before; n < 3 {
			t.Errorf("%d scans within a fail-over time after the standstill", n)
		}
		expectOwned(t, f, map[string]int{"a": 2, "b": 2})
	})
}
