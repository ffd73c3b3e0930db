package checkpoint_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/shardline/shardline/checkpoint"
)

func shared(c *checkpoint.HolderConfig) { c.SharedWithKCL = true }

// checkKCL: a Shardline worker that lost a shard to a KCL worker notices within
// the time between two of its renewals, and nobody asks a KCL worker for a
// lease or hands it one. f.mu is held.
func (f *fleet) checkKCL(shard, server string) {
	if len(f.kcls) == 0 {
		return
	}
	both := ""
	for _, k := range f.kcls {
		if server != "" && k.believes(shard) {
			both = k.id
		}
	}
	since, is := f.both[shard]
	switch {
	case both == "":
		delete(f.both, shard)
	case !is:
		f.both[shard] = f.now()
	case f.now()-since > failover/3+time.Second:
		f.t.Errorf("%s: %s serves %s, which %s has held for %s", f.now(), server, shard, both, f.now()-since)
		f.both[shard] = f.now()
	}
	l, err := f.table.Get(f.t.Context(), shard)
	if err == nil && (strings.HasPrefix(l.HandingOver, "kcl") || l.HandingOver != "" && strings.HasPrefix(l.Owner, "kcl")) {
		f.t.Errorf("%s: %s is handed over from %s to %s", f.now(), shard, l.HandingOver, l.Owner)
	}
}

// shares are the leases that everybody holds, Shardline and KCL.
func (f *fleet) shares() map[string]int {
	n := f.owned()
	for _, k := range f.kcls {
		if held := k.holds(); held > 0 {
			n[k.id] = held
		}
	}
	return n
}

// owners are the owners of all leases, by the table.
func (f *fleet) owners() (all string) {
	for i := 0; ; i++ {
		l, err := f.table.Get(f.t.Context(), shardName(i))
		if err != nil {
			return all
		}
		all += l.Owner + " "
	}
}

// settle waits until the shares are as wanted, and then whether they stay.
func (f *fleet) settle(within time.Duration, want map[string]int) {
	f.t.Helper()
	begin := f.now()
	for fmt.Sprint(f.shares()) != fmt.Sprint(want) {
		if f.now()-begin > within {
			f.t.Fatalf("after %s leases are held by %v, want %v", within, f.shares(), want)
		}
		time.Sleep(time.Second)
	}
	f.t.Logf("%v after %s", want, f.now()-begin)
	time.Sleep(failover)
	before := f.owners()
	time.Sleep(10 * time.Minute)
	if after := f.owners(); after != before || fmt.Sprint(f.shares()) != fmt.Sprint(want) {
		f.t.Errorf("it does not stay: %v\n%s\n%s", f.shares(), before, after)
	}
}

// TestSharedWithKCL: Shardline workers join KCL workers, or the other way
// round; the leases are shared evenly, and then stay where they are. Whoever is
// left takes what the dead held.
func TestSharedWithKCL(t *testing.T) {
	for _, leases := range []int{2, 3, 7, 9, 12} {
		t.Run(fmt.Sprint("Shardline joins, leases ", leases), func(t *testing.T) {
			bubble(t, leases, func(t *testing.T, f *fleet) {
				k := f.addKCL("kcl-1", time.Second)
				time.Sleep(time.Minute)
				a := f.add("worker-a", shared)
				f.settle(10*time.Minute, map[string]int{"kcl-1": (leases + 1) / 2, "worker-a": leases / 2})
				if n := a.called("ask"); n != 0 {
					t.Errorf("%d leases were asked for", n)
				}
				k.kill()
				f.settle(2*failover, map[string]int{"worker-a": leases})
			})
		})
		t.Run(fmt.Sprint("KCL joins, leases ", leases), func(t *testing.T) {
			bubble(t, leases, func(t *testing.T, f *fleet) {
				a := f.add("worker-a", shared)
				time.Sleep(time.Minute)
				expectOwned(t, f, map[string]int{"worker-a": leases})
				f.addKCL("kcl-1", time.Second)
				// KCL steals down to its own target and no further.
				f.settle(20*time.Minute, map[string]int{"kcl-1": leases / 2, "worker-a": (leases + 1) / 2})
				a.Kill()
				f.settle(5*time.Minute, map[string]int{"kcl-1": leases})
			})
		})
	}
	t.Run("two of each", func(t *testing.T) {
		bubble(t, 12, func(t *testing.T, f *fleet) {
			f.addKCL("kcl-1", time.Second)
			k := f.addKCL("kcl-2", 5*time.Second)
			time.Sleep(5 * time.Minute)
			f.add("worker-a", shared)
			b := f.add("worker-b", shared)
			f.settle(10*time.Minute, map[string]int{"kcl-1": 3, "kcl-2": 3, "worker-a": 3, "worker-b": 3})
			k.kill()
			b.Kill()
			f.settle(30*time.Minute, map[string]int{"kcl-1": 6, "worker-a": 6})
		})
	})
	t.Run("all at once on a new table", func(t *testing.T) {
		bubble(t, 12, func(t *testing.T, f *fleet) {
			f.addKCL("kcl-1", time.Second)
			f.add("worker-a", shared)
			f.add("worker-b", shared)
			f.settle(20*time.Minute, map[string]int{"kcl-1": 4, "worker-a": 4, "worker-b": 4})
		})
	})
}

// TestSharedComesToRest: KCL counts finished leases, holds and renews them;
// Shardline leaves those alone. With both, and workers of both that come and go,
// every lease has an owner in the end, and none moves any more.
func TestSharedComesToRest(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 3))
			leases := 2 + rnd.IntN(12)
			bubble(t, leases, func(t *testing.T, f *fleet) {
				for i := range leases {
					if rnd.IntN(3) == 0 {
						f.table.KCLWrite(shardName(i), 0, func(l *checkpoint.Lease) { l.Checkpoint = checkpoint.ShardEnd })
					}
				}
				unfinished := func(c *checkpoint.HolderConfig) {
					c.SharedWithKCL = true
					c.Wanted = func(l checkpoint.Lease, _ map[string]checkpoint.Lease) bool { return !l.Finished() }
				}
				f.addKCL("kcl-0", time.Duration(1+rnd.IntN(30))*time.Second)
				for i := range 1 + rnd.IntN(5) {
					time.Sleep(time.Duration(rnd.IntN(90)) * time.Second)
					switch kind := rnd.IntN(4); {
					case kind == 0 && len(f.kcls) > 1:
						f.kcls[1].kill()
					case kind == 1:
						f.addKCL(fmt.Sprint("kcl-", i+1), time.Duration(1+rnd.IntN(20))*time.Second)
					default:
						f.add(fmt.Sprint("worker-", i), unfinished)
					}
				}
				time.Sleep(30 * time.Minute)
				before := f.owners()
				time.Sleep(20 * time.Minute)
				if after := f.owners(); after != before {
					t.Errorf("no rest:\n%s\n%s", before, after)
				}
				total := 0
				for _, n := range f.shares() {
					total += n
				}
				if total != leases {
					t.Errorf("of %d leases %d are held: %v", leases, total, f.shares())
				}
			})
		})
	}
}

// TestStolenFromKCL: the old owner processes until its next renewal, so the new
// one renews, and begins a fail-over time after its take.
func TestStolenFromKCL(t *testing.T) {
	bubble(t, 2, func(t *testing.T, f *fleet) {
		f.addKCL("kcl-1", time.Second)
		time.Sleep(time.Minute)
		f.add("worker-a", shared)
		taken := time.Duration(0)
		for i := 0; ; i = 1 - i {
			if l := f.lease(i); l.Owner == "worker-a" && taken == 0 {
				taken = f.now()
			}
			if vs := f.visits(shardName(i)); len(vs) > 0 {
				if wait := vs[0].began - taken; wait < failover-20*time.Millisecond || wait > failover+time.Second {
					t.Errorf("served %s after the take, want %s", wait, failover)
				}
				return
			}
			if f.now() > 5*time.Minute {
				t.Fatal("nothing is stolen")
			}
			time.Sleep(10 * time.Millisecond)
		}
	})
}

// TestStolenAndStoppedAtOnce: a worker that stops before it began with a
// stolen lease gives it up without serving it.
func TestStolenAndStoppedAtOnce(t *testing.T) {
	bubble(t, 2, func(t *testing.T, f *fleet) {
		k := f.addKCL("kcl-1", time.Second)
		time.Sleep(time.Minute)
		a := f.add("worker-a", shared)
		for f.lease(0).Owner == "kcl-1" && f.lease(1).Owner == "kcl-1" {
			time.Sleep(100 * time.Millisecond)
		}
		stopped := f.now()
		a.cancel()
		<-a.done
		if took := f.now() - stopped; took > time.Second {
			t.Errorf("stopped after %s", took)
		}
		if n := len(f.visits(shardName(0))) + len(f.visits(shardName(1))); n != 0 {
			t.Errorf("served %d times", n)
		}
		time.Sleep(3 * failover)
		if n := k.holds(); n != 2 {
			t.Errorf("the KCL worker holds %d leases, want both", n)
		}
	})
}

// TestTheftIsSeenByAScan: KCL asks nobody. The scan that shows the new owner
// ends the tenure, before the next renewal would.
func TestTheftIsSeenByAScan(t *testing.T) {
	bubble(t, 2, func(t *testing.T, f *fleet) {
		k := f.addKCL("kcl-1", time.Hour)
		k.takeAll([]checkpoint.Lease{f.lease(0)}, f.now()) // so that there is something to watch
		f.add("worker-a", shared)
		time.Sleep(time.Minute)
		renewed := f.lease(1)
		for f.lease(1).Counter == renewed.Counter {
			time.Sleep(10 * time.Millisecond)
		}
		k.mu.Lock()
		k.takeAll([]checkpoint.Lease{f.lease(1)}, f.now())
		k.mu.Unlock()
		time.Sleep(failover/8 + 50*time.Millisecond) // the next renewal is a quarter after the last
		expectOwned(t, f, map[string]int{})
	})
}

// TestExpiredKCLLeaseIsServedAtOnce: a dead worker processes nothing.
func TestExpiredKCLLeaseIsServedAtOnce(t *testing.T) {
	bubble(t, 4, func(t *testing.T, f *fleet) {
		k := f.addKCL("kcl-1", time.Second)
		time.Sleep(time.Minute)
		k.kill()
		f.add("worker-a", shared)
		time.Sleep(failover + 3*time.Second)
		expectOwned(t, f, map[string]int{"worker-a": 4})
	})
}

// TestKCLStealsInTheMiddleOfAHandOver: the request for the lease stays in the
// item of a 2.x worker that knows nothing of it. It must not count any more.
func TestKCLStealsInTheMiddleOfAHandOver(t *testing.T) {
	bubble(t, 2, func(t *testing.T, f *fleet) {
		a := f.add("worker-a", shared)
		time.Sleep(30 * time.Second)
		a.set(func(w *worker) { w.drain = time.Minute })
		f.add("worker-b", shared)
		var l checkpoint.Lease
		for i := 0; l.HandingOver == ""; i = 1 - i {
			time.Sleep(50 * time.Millisecond)
			l = f.lease(i)
		}
		k := f.addKCL("kcl-1", time.Hour)
		k.mu.Lock()
		k.takeAll([]checkpoint.Lease{l}, f.now())
		k.mu.Unlock()
		now, err := f.table.Get(t.Context(), l.Key)
		if err != nil || now.Owner != "kcl-1" || now.HandingOver != "" {
			t.Fatalf("after the steal: %+v, %v", now, err)
		}
		time.Sleep(failover / 3)
		time.Sleep(time.Second)
		for _, v := range f.visits(l.Shard) {
			if v.ended == 0 {
				t.Errorf("%s still serves it", v.worker)
			}
		}
		time.Sleep(time.Minute) // the KCL worker renews it all the while
		k.kill()
		time.Sleep(2 * failover)
		if now := f.owned(); now["worker-a"]+now["worker-b"] != 2 {
			t.Errorf("served by %v", now)
		}
	})
}

// TestForeignOwnerIsNotStolenFrom: without the setting its leases are left to
// it, as long as it lives.
func TestForeignOwnerIsNotStolenFrom(t *testing.T) {
	bubble(t, 4, func(t *testing.T, f *fleet) {
		k := f.addKCL("kcl-1", time.Second)
		time.Sleep(time.Minute)
		a := f.add("worker-a")
		time.Sleep(10 * time.Minute)
		expectOwned(t, f, map[string]int{})
		if n := a.called("take") + a.called("ask"); n != 0 {
			t.Errorf("%d takes and requests", n)
		}
		k.kill()
		time.Sleep(2 * failover)
		expectOwned(t, f, map[string]int{"worker-a": 4})
	})
}
