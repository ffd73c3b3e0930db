package checkpoint_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap/zaptest/observer"

	"github.com/shardline/shardline/checkpoint"
)

// once gives the first call of op the outcome, all others none. The fault
// function is called under no lock; the test's workers call it in turn.
func once(op string, outcome checkpoint.Outcome) func(string, string) checkpoint.Outcome {
	left := make(chan struct{}, 1)
	left <- struct{}{}
	return func(o, _ string) checkpoint.Outcome {
		if o != op {
			return checkpoint.None
		}
		select {
		case <-left:
			return outcome
		default:
			return checkpoint.None
		}
	}
}

// A write of unknown outcome is settled, whether it landed, failed, or lands
// later: the lease is kept and the positions are in the table when Save says so.
func TestUnknownOutcomeOfASave(t *testing.T) {
	for _, outcome := range []checkpoint.Outcome{checkpoint.None, checkpoint.Landed, checkpoint.Fail, checkpoint.Late, checkpoint.Throttle, checkpoint.Hang} {
		t.Run(fmt.Sprint(outcome), func(t *testing.T) {
			bubble(t, 1, func(t *testing.T, f *fleet) {
				a := f.add("a")
				time.Sleep(time.Second)
				tenure := f.visits(shardName(0))[0].tenure
				a.set(func(w *worker) { w.n, w.fault = 5, once("renew", outcome) })
				if err := tenure.Save(t.Context()); err != nil {
					t.Fatal(err)
				}
				if got := f.lease(0).Checkpoint; got != checkpoint.Number("5", 0) {
					t.Errorf("checkpoint %s after Save, want 5", got)
				}
				renewals := a.called("renew")
				if err := tenure.Save(t.Context()); err != nil || a.called("renew") != renewals {
					t.Errorf("saving again: %v, %d writes, want none", err, a.called("renew")-renewals)
				}
				time.Sleep(4 * failover)
				if n := len(f.visits(shardName(0))); n != 1 {
					t.Errorf("served %d times, want one tenure", n)
				}
			})
		})
	}
}

func TestUnknownOutcomeOfATake(t *testing.T) {
	for _, outcome := range []checkpoint.Outcome{checkpoint.Landed, checkpoint.Fail, checkpoint.Late, checkpoint.Throttle, checkpoint.Hang} {
		t.Run(fmt.Sprint(outcome), func(t *testing.T) {
			bubble(t, 1, func(t *testing.T, f *fleet) {
				f.add("a").set(func(w *worker) { w.fault = once("take", outcome) })
				time.Sleep(failover / 2)
				expectOwned(t, f, map[string]int{"a": 1})
				time.Sleep(4 * failover)
				if n := len(f.visits(shardName(0))); n != 1 {
					t.Errorf("served %d times, want one tenure", n)
				}
			})
		})
	}
}

// A take that landed unseen, while reads fail too, is found at a later pass.
func TestTakeThatLandedUnseen(t *testing.T) {
	bubble(t, 1, func(t *testing.T, f *fleet) {
		a := f.add("a")
		a.set(func(w *worker) {
			w.fault = func(op, _ string) checkpoint.Outcome {
				if op == "take" {
					return checkpoint.Landed
				}
				if op == "get" {
					return checkpoint.Fail
				}
				return checkpoint.None
			}
		})
		time.Sleep(failover / 10)
		if l := f.lease(0); l.Owner != "a" {
			t.Fatalf("owner %q", l.Owner)
		}
		a.set(func(w *worker) { w.fault = nil })
		time.Sleep(pass)
		expectOwned(t, f, map[string]int{"a": 1})
	})
}

func TestUnknownOutcomeOfARelease(t *testing.T) {
	for _, outcome := range []checkpoint.Outcome{checkpoint.Landed, checkpoint.Fail, checkpoint.Late, checkpoint.Throttle, checkpoint.Hang, checkpoint.TooLarge} {
		t.Run(fmt.Sprint(outcome), func(t *testing.T) {
			bubble(t, 1, func(t *testing.T, f *fleet) {
				a := f.add("a")
				time.Sleep(time.Second)
				a.set(func(w *worker) { w.n, w.fault = 9, once("release", outcome) })
				a.cancel()
				<-a.done
				l := f.lease(0)
				if l.Owner != "" || l.Tenure != "" {
					t.Errorf("owner %q, want none", l.Owner)
				}
				if want := checkpoint.Number("9", 0); (l.Checkpoint == want) == (outcome == checkpoint.TooLarge) {
					t.Errorf("checkpoint %s", l.Checkpoint)
				}
			})
		})
	}
}

// Positions that do not fit never cost the lease.
func TestTooLargeIsABareRenewal(t *testing.T) {
	bubble(t, 1, func(t *testing.T, f *fleet) {
		a := f.add("a")
		time.Sleep(time.Second)
		before := f.lease(0).Counter
		a.set(func(w *worker) {
			w.n = 4
			w.fault = func(string, string) checkpoint.Outcome { return checkpoint.TooLarge }
		})
		tenure := f.visits(shardName(0))[0].tenure
		if err := tenure.Save(t.Context()); !errors.Is(err, checkpoint.ErrTooLarge) {
			t.Errorf("Save: %v, want ErrTooLarge", err)
		}
		if l := f.lease(0); l.Counter != before+1 || l.Checkpoint != checkpoint.TrimHorizon {
			t.Errorf("counter %d and checkpoint %s, want a bare renewal", l.Counter, l.Checkpoint)
		}
		time.Sleep(5 * failover)
		expectOwned(t, f, map[string]int{"a": 1})
		if age := tenure.SavedAge(); age < 5*failover {
			t.Errorf("saved %s ago, want at least %s: only renewals passed", age, 5*failover)
		}
		a.set(func(w *worker) { w.fault = nil })
		if err := tenure.Save(t.Context()); err != nil {
			t.Error(err)
		}
		if age := tenure.SavedAge(); age > failover/10 {
			t.Errorf("saved %s ago, want just now", age)
		}
	})
}

func TestCheckpointNeverMovesBack(t *testing.T) {
	bubble(t, 1, func(t *testing.T, f *fleet) {
		a := f.add("a")
		time.Sleep(time.Second)
		tenure := f.visits(shardName(0))[0].tenure
		for _, step := range []struct {
			n  int64
			ok bool
		}{{10, true}, {9, false}, {10, true}, {11, true}} {
			a.set(func(w *worker) { w.n = step.n })
			if err := tenure.Save(t.Context()); (err == nil) != step.ok {
				t.Errorf("save %d: %v", step.n, err)
			}
		}
		if got := f.lease(0).Checkpoint; got != checkpoint.Number("11", 0) {
			t.Errorf("checkpoint %s", got)
		}
	})
}

func TestSaveAfterTheLeaseIsLost(t *testing.T) {
	bubble(t, 1, func(t *testing.T, f *fleet) {
		a := f.add("a")
		time.Sleep(time.Second)
		if _, err := f.table.Take(context.Background(), f.lease(0), "thief", "x"); err != nil {
			t.Fatal(err)
		}
		a.set(func(w *worker) { w.n = 5 })
		tenure := f.visits(shardName(0))[0].tenure
		if err := tenure.Save(t.Context()); !errors.Is(err, checkpoint.ErrLeaseLost) {
			t.Errorf("Save: %v, want ErrLeaseLost", err)
		}
		if tenure.Valid() {
			t.Error("still valid")
		}
		if got := f.lease(0).Checkpoint; got != checkpoint.TrimHorizon {
			t.Errorf("a stale owner saved %s", got)
		}
		if err := tenure.Save(t.Context()); !errors.Is(err, checkpoint.ErrLeaseLost) {
			t.Errorf("Save again: %v", err)
		}
		if err := tenure.Children(t.Context(), []string{"x"}); !errors.Is(err, checkpoint.ErrLeaseLost) {
			t.Errorf("Children: %v", err)
		}
	})
}

func TestChildren(t *testing.T) {
	for _, outcome := range []checkpoint.Outcome{checkpoint.None, checkpoint.Landed, checkpoint.Fail, checkpoint.Late, checkpoint.Throttle, checkpoint.Hang} {
		bubble(t, 1, func(t *testing.T, f *fleet) {
			a := f.add("a")
			time.Sleep(time.Second)
			a.set(func(w *worker) { w.fault = once("set_children", outcome) })
			if err := f.visits(shardName(0))[0].tenure.Children(t.Context(), []string{"s2", "s1"}); err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(f.lease(0).Children); got != "[s1 s2]" {
				t.Errorf("children %s", got)
			}
		})
	}
}

// Children that cannot be written for a minute cost no lease.
func TestChildrenThatCannotBeWritten(t *testing.T) {
	for _, outcome := range []checkpoint.Outcome{checkpoint.Fail, checkpoint.Throttle, checkpoint.Hang} {
		bubble(t, 1, func(t *testing.T, f *fleet) {
			a := f.add("a")
			time.Sleep(time.Second)
			began := time.Now()
			a.set(func(w *worker) {
				w.fault = func(op, _ string) checkpoint.Outcome {
					if op == "set_children" && time.Since(began) < time.Minute {
						return outcome
					}
					return checkpoint.None
				}
			})
			err := errors.New("not asked yet")
			for err != nil && time.Since(began) < 2*time.Minute {
				if err = f.visits(shardName(0))[0].tenure.Children(t.Context(), []string{"s1"}); errors.Is(err, checkpoint.ErrLeaseLost) {
					t.Fatalf("%v: %v", outcome, err)
				}
				time.Sleep(time.Second)
			}
			if got := fmt.Sprint(f.lease(0).Children); got != "[s1]" {
				t.Errorf("%v: children %s, %v", outcome, got, err)
			}
		})
	}
}

// A request for a lease whose outcome is not known: the lease comes, once, by a
// hand-over, and nobody loses one.
func TestUnknownOutcomeOfAnAsk(t *testing.T) {
	for _, outcome := range []checkpoint.Outcome{checkpoint.Landed, checkpoint.Fail, checkpoint.Late, checkpoint.Throttle, checkpoint.Hang} {
		t.Run(fmt.Sprint(outcome), func(t *testing.T) {
			bubble(t, 4, func(t *testing.T, f *fleet) {
				f.add("a")
				time.Sleep(time.Second)
				f.add("b").set(func(w *worker) { w.fault = once("ask", outcome) })
				time.Sleep(3 * failover)
				expectOwned(t, f, map[string]int{"a": 2, "b": 2})
				if n := f.moves(); n != 6 {
					t.Errorf("%d takes, want 4 and 2", n)
				}
				for i := range 4 {
					for _, v := range f.visits(shardName(i)) {
						if v.cause != nil {
							t.Errorf("%s lost %s: %v", v.worker, shardName(i), v.cause)
						}
					}
				}
			})
		})
	}
}

// The table cannot be used for five minutes: tenures end with the fail-over
// time, nobody saves what was read since, one line says so, and all goes on by
// itself.
func TestFiveMinutesWithoutTheTable(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault func(op, key string) checkpoint.Outcome
	}{
		{"throttled", func(string, string) checkpoint.Outcome { return checkpoint.Throttle }},
		{"unreachable", func(string, string) checkpoint.Outcome { return checkpoint.Hang }},
		{"refuses connections", func(string, string) checkpoint.Outcome { return checkpoint.Fail }},
		{"read-only", func(op, _ string) checkpoint.Outcome {
			if op == "list" || op == "get" {
				return checkpoint.None
			}
			return checkpoint.Fail
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, 6, func(t *testing.T, f *fleet) {
				var logs *observer.ObservedLogs
				a := f.add("a", observed(&logs))
				time.Sleep(2 * failover)
				a.set(func(w *worker) { w.n = 1 })
				time.Sleep(failover)
				before := f.lease(0)
				if before.Checkpoint != checkpoint.Number("1", 0) {
					t.Fatalf("checkpoint %s", before.Checkpoint)
				}
				said := logs.Len()
				a.set(func(w *worker) { w.n, w.fault = 2, tt.fault })
				time.Sleep(failover)
				expectOwned(t, f, map[string]int{})
				time.Sleep(5*time.Minute - failover)
				expectOwned(t, f, map[string]int{})
				if l := f.lease(0); !l.Equal(before.Saved) || l.Counter != before.Counter {
					t.Errorf("written meanwhile: %+v", l)
				}
				// Per lease: being retried, lost. For all: the scan fails, takes fail.
				if n := logs.Len() - said; n > 2*6+4 {
					t.Errorf("%d lines within five minutes: %v", n, logs.All()[said:])
				}
				a.set(func(w *worker) { w.fault = nil })
				time.Sleep(failover + 2*pass) // a renewal that no scan had shown counts from the first one now
				expectOwned(t, f, map[string]int{"a": 6})
				if got := f.lease(0).Checkpoint; got != checkpoint.Number("2", 0) {
					t.Errorf("checkpoint %s, want 2", got)
				}
			})
		})
	}
}

// A process that was stopped finds on its first question that its tenure is
// over, even though no timer has fired yet.
func TestValidAfterSuspend(t *testing.T) {
	bubble(t, 1, func(t *testing.T, f *fleet) {
		suspended := make(chan time.Duration, 1)
		suspended <- 0
		f.add("a", func(c *checkpoint.HolderConfig) {
			c.Clock = func() time.Duration {
				d := <-suspended
				suspended <- d
				return f.now() + d
			}
		})
		time.Sleep(time.Second)
		tenure := f.visits(shardName(0))[0].tenure
		if !tenure.Valid() {
			t.Fatal("not valid")
		}
		<-suspended
		suspended <- failover
		if tenure.Valid() {
			t.Error("valid after a suspend of a fail-over time")
		}
		synctest.Wait()
		if v := f.visits(shardName(0))[0]; !errors.Is(v.cause, checkpoint.ErrLeaseLost) {
			t.Errorf("cause %v, want ErrLeaseLost", v.cause)
		}
	})
}

// A handoff goes through although the store fails every other call.
func TestHandoffWhileTheStoreFails(t *testing.T) {
	bubble(t, 8, func(t *testing.T, f *fleet) {
		rnd := rand.New(rand.NewPCG(7, 7))
		outcomes := make(chan checkpoint.Outcome)
		f.wg.Go(func() {
			kinds := []checkpoint.Outcome{checkpoint.None, checkpoint.None, checkpoint.None, checkpoint.Landed, checkpoint.Fail, checkpoint.Throttle, checkpoint.Late}
			for {
				select {
				case outcomes <- kinds[rnd.IntN(len(kinds))]:
				case <-f.stop:
					close(outcomes)
					return
				}
			}
		})
		faulty := func(string, string) checkpoint.Outcome { return <-outcomes }
		f.add("a").set(func(w *worker) { w.fault = faulty })
		time.Sleep(2 * failover)
		f.add("b").set(func(w *worker) { w.fault = faulty })
		time.Sleep(10 * failover)
		if f.owned()["b"] == 0 {
			t.Error("nothing was handed over")
		}
		for _, w := range f.workers {
			w.set(func(w *worker) { w.fault = nil })
		}
		time.Sleep(failover + 4*pass)
		expectOwned(t, f, map[string]int{"a": 4, "b": 4})
	})
}

// A renewal that landed counts from when it was sent, however late its owner
// hears of it: others have counted since then.
func TestRenewalThatLandedCountsFromItsSending(t *testing.T) {
	bubble(t, 1, func(t *testing.T, f *fleet) {
		a := f.add("a")
		time.Sleep(time.Second)
		b := f.add("b")
		a.set(func(w *worker) {
			w.n = 1
			w.fault = func(op, _ string) checkpoint.Outcome {
				if op == "renew" {
					return checkpoint.Landed
				}
				return checkpoint.Fail
			}
		})
		tenure := f.visits(shardName(0))[0].tenure
		go func() { _ = tenure.Save(context.Background()) }()
		scanOften(b, 16) // 8 s
		a.set(func(w *worker) {
			w.fault = func(op, _ string) checkpoint.Outcome {
				if op == "get" {
					return checkpoint.None
				}
				return checkpoint.Hang
			}
		})
		scanOften(b, 12)
		expectOwned(t, f, map[string]int{"b": 1})
	})
}

// scanOften makes w scan every half second, n times: it takes what is free at
// the first moment.
func scanOften(w *worker, n int) {
	for range n {
		w.Scan()
		time.Sleep(failover / 20)
	}
}

// The same for a take that landed unseen.
func TestTakeThatLandedCountsFromItsSending(t *testing.T) {
	bubble(t, 1, func(t *testing.T, f *fleet) {
		a := f.add("a")
		// a, whose first scan waits for the bubble, sees what was before the
		// take: its own later attempts run into it.
		a.client.Stale = func(string) bool { return f.lease(0).Owner == "a" }
		a.set(func(w *worker) {
			w.fault = func(op, _ string) checkpoint.Outcome {
				if op == "take" {
					return checkpoint.Landed
				}
				if op == "get" {
					return checkpoint.Fail
				}
				return checkpoint.None
			}
		})
		time.Sleep(failover / 20)
		b := f.add("b")
		scanOften(b, 15)
		a.set(func(w *worker) {
			w.fault = func(op, _ string) checkpoint.Outcome {
				if op == "renew" {
					return checkpoint.Hang
				}
				return checkpoint.None
			}
		})
		scanOften(a, 2)
		scanOften(b, 20)
		if vs := f.visits(shardName(0)); len(vs) != 2 || vs[0].worker != "a" || vs[1].worker != "b" {
			t.Errorf("visits %+v, want a's and then b's", vs)
		}
	})
}

// A serve function that lingers after its lease was lost keeps its worker, and
// only its worker, from the lease.
func TestServedOnceAtATime(t *testing.T) {
	bubble(t, 1, func(t *testing.T, f *fleet) {
		a := f.add("a")
		a.set(func(w *worker) { w.linger = 5 * failover })
		time.Sleep(time.Second)
		a.set(func(w *worker) {
			w.fault = func(string, string) checkpoint.Outcome { return checkpoint.Fail }
		})
		time.Sleep(failover)
		a.set(func(w *worker) { w.fault, w.linger = nil, 0 })
		time.Sleep(8 * failover)
		vs := f.visits(shardName(0))
		if len(vs) != 2 || vs[1].began < vs[0].ended {
			t.Errorf("visits %+v, want a second one after the first has ended", vs)
		}
	})
}

// Seeded histories: workers come, stop, are killed and hang, and every kind of
// fault happens. P3 holds throughout, checkpoints never move back, and in the
// end somebody serves every shard.
func TestHistories(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			bubble(t, 12, func(t *testing.T, f *fleet) { history(t, f, rand.New(rand.NewPCG(seed, 1))) })
		})
	}
}

func history(t *testing.T, f *fleet, rnd *rand.Rand) {
	last := map[string]checkpoint.Position{}
	var running []*worker
	n := int64(0)
	for step := range 40 {
		switch k := rnd.IntN(10); {
		case k < 3 && len(running) < 4:
			a := f.add(fmt.Sprintf("w%d", step))
			drain := time.Duration(rnd.IntN(5000)) * time.Millisecond
			a.set(func(w *worker) { w.drain = drain })
			running = append(running, a)
		case k < 4 && len(running) > 0:
			i := rnd.IntN(len(running))
			if rnd.IntN(2) == 0 {
				running[i].Kill()
			}
			running[i].cancel()
			running = append(running[:i], running[i+1:]...)
		case k < 8 && len(running) > 0:
			w := running[rnd.IntN(len(running))]
			outcome, share, r := checkpoint.Outcome(rnd.IntN(7)), 1+rnd.IntN(4), make(chan *rand.Rand, 1)
			r <- rand.New(rand.NewPCG(uint64(step), 3))
			w.set(func(w *worker) {
				w.fault = func(string, string) checkpoint.Outcome {
					x := <-r
					defer func() { r <- x }()
					if x.IntN(share) == 0 {
						return outcome
					}
					return checkpoint.None
				}
			})
		default:
			for _, w := range running {
				w.set(func(w *worker) { w.fault = nil })
			}
		}
		n++
		for _, w := range running {
			w.set(func(w *worker) { w.n = n })
		}
		time.Sleep(time.Duration(rnd.IntN(int(failover))))
		leases, err := f.table.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range leases {
			if l.Checkpoint.Compare(last[l.Key]) < 0 {
				t.Errorf("%s: checkpoint moved from %s back to %s", l.Key, last[l.Key], l.Checkpoint)
			}
			last[l.Key] = l.Checkpoint
		}
	}
	for _, w := range running {
		w.set(func(w *worker) { w.fault = nil })
	}
	f.add("last").set(func(w *worker) { w.n = n })
	time.Sleep(5 * failover)
	sum := 0
	for _, k := range f.owned() {
		sum += k
	}
	if sum != 12 {
		t.Errorf("in the end %v serve %d shards, want 12", f.owned(), sum)
	}
}

// While every take hangs, a worker with a thousand free leases goes on scanning:
// it counts as alive, and takes them all when the table answers again.
func TestTakesThatHang(t *testing.T) {
	bubble(t, 1000, func(t *testing.T, f *fleet) {
		w := f.add("a")
		w.set(func(w *worker) {
			w.fault = func(op, _ string) checkpoint.Outcome {
				if op == "take" {
					return checkpoint.Hang
				}
				return checkpoint.None
			}
		})
		for range 30 {
			time.Sleep(10 * time.Second)
			if err := w.Alive(); err != nil {
				t.Fatalf("at %s: %v", f.now(), err)
			}
		}
		w.set(func(w *worker) { w.fault = nil })
		time.Sleep(2 * failover)
		expectOwned(t, f, map[string]int{"a": 1000})
	})
}
