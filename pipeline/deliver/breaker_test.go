package deliver_test

import (
	"context"
	"fmt"
	"reflect"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/shardline/shardline/pipeline/deliver"
)

var breaker = deliver.Breaker{Failures: 5, OpenFor: 10 * time.Second}

// while answers with a reason while it is set, and takes everything else.
func while(down *atomic.Bool, reason deliver.Reason) func(context.Context, attempt) deliver.Answer {
	return func(context.Context, attempt) deliver.Answer {
		if down.Load() {
			return answerWith(reason)
		}
		return deliver.Answer{Reason: deliver.ReasonDelivered}
	}
}

func (s *stream) putKeys(n int) {
	for i := range n {
		s.put(fmt.Sprint("key", i))
	}
}

func TestCircuitOpensAndOneLaneProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		down.Store(true)
		r := &receiver{answer: while(&down, deliver.ReasonConnection)}
		core, logs := observer.New(zapcore.InfoLevel)
		s := begin(t, deliver.Config{Transport: r, Concurrency: 1, Breaker: breaker, Logger: zap.New(core),
			Retry: deliver.RetryPolicy{Max: 80 * time.Second}})
		s.putKeys(20)
		synctest.Wait()
		if n, state := len(r.all()), s.State(); n != 5 || state.Circuit != deliver.CircuitOpen || state.Held {
			t.Fatalf("%d attempts, state %+v; want 5 and an open circuit", n, state)
		}
		time.Sleep(30 * time.Minute)
		// Probes after 10 20 40 80 80 80 … s, each ± 1/4: 25 to 27 in 30 min.
		probes := r.all()[4:]
		if n := len(probes) - 1; n < 20 || n > 34 {
			t.Errorf("%d probes in 30 minutes, want about 26", n)
		}
		keys := map[string]bool{}
		for i := 1; i < len(probes); i++ {
			want := min(10*time.Second<<(i-1), 80*time.Second)
			if pause := probes[i].at.Sub(probes[i-1].at); pause < want*3/4 || pause > want*5/4 {
				t.Errorf("probe %d after %s, want %s ± 1/4", i, pause, want)
			}
			keys[probes[i].key] = true
		}
		if len(keys) < 15 {
			t.Errorf("probed with %d keys, want others every time: one of them may never pass", len(keys))
		}
		down.Store(false)
		time.Sleep(2 * time.Minute)
		if state := s.State(); state.Circuit != deliver.CircuitClosed || s.cursor.Through() != 20 {
			t.Errorf("state %+v, settled through %d; want closed and 20", state, s.cursor.Through())
		}
		if opened, closed := logs.FilterMessageSnippet("circuit open").Len(), logs.FilterMessage("circuit closed").Len(); opened != 1 || closed != 1 {
			t.Errorf("%d lines about its opening, %d about its closing; want 1 and 1", opened, closed)
		}
	})
}

// What counts is a row of retryable answers and transport errors.
func TestWhatOpensTheCircuit(t *testing.T) {
	for _, c := range []struct {
		reason deliver.Reason
		opens  bool
	}{
		{deliver.ReasonConnection, true}, {deliver.ReasonTimeout, true}, {deliver.ReasonThrottled, true}, {deliver.ReasonTryLater, true},
		{deliver.ReasonServerError, true}, {deliver.ReasonBrokenAnswer, true}, {deliver.ReasonOTARetryable, true}, {deliver.ReasonOTAUnclear, true},
		{deliver.ReasonDelivered, false}, {deliver.ReasonRejected, false}, {deliver.ReasonOTAPermanent, false}, {deliver.ReasonUnsendable, false},
		{deliver.ReasonUnauthorized, false}, // it holds
	} {
		t.Run(c.reason.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &receiver{answer: func(context.Context, attempt) deliver.Answer { return answerWith(c.reason) }}
				s := begin(t, deliver.Config{Transport: r, Concurrency: 1, Breaker: breaker})
				s.putKeys(20)
				synctest.Wait()
				if opened := s.State().Circuit == deliver.CircuitOpen; opened != c.opens {
					t.Errorf("open: %v, want %v", opened, c.opens)
				}
			})
		})
	}
}

// A call that gathers many records and fails is one failure.
func TestFailuresOfOneCallAreOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(ctx context.Context, a attempt) deliver.Answer {
			sleep(ctx, time.Second)
			return deliver.Answer{Reason: deliver.ReasonConnection, Call: uint64(a.number)}
		}}
		s := begin(t, deliver.Config{Transport: r, Breaker: breaker, Retry: deliver.RetryPolicy{Initial: time.Nanosecond, Max: time.Nanosecond}})
		s.putKeys(20)
		time.Sleep(4*time.Second + 500*time.Millisecond)
		if s.State().Circuit != deliver.CircuitClosed || len(r.all()) != 80 {
			t.Errorf("state %+v after %d attempts, want closed after 4 calls of 20", s.State(), len(r.all()))
		}
		time.Sleep(time.Second)
		if s.State().Circuit != deliver.CircuitOpen {
			t.Errorf("state %+v, want open after 5 calls", s.State())
		}
	})
}

func TestOneAnswerBreaksTheRow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(_ context.Context, a attempt) deliver.Answer {
			if a.seq%5 == 0 {
				return deliver.Answer{Reason: deliver.ReasonRejected, Status: 400}
			}
			return answerWith(deliver.ReasonServerError)
		}}
		s := begin(t, deliver.Config{Transport: r, Concurrency: 1, Breaker: breaker})
		s.putKeys(20)
		synctest.Wait()
		if s.State().Circuit != deliver.CircuitClosed || len(r.all()) < 20 {
			t.Errorf("state %+v after %d attempts, want closed: never 5 failures in a row", s.State(), len(r.all()))
		}
	})
}

// Attempts that began before the circuit opened fail after it did, and even
// after it has closed again: they tell nothing new.
func TestCircuitIsNotFooledByAttemptsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(ctx context.Context, a attempt) deliver.Answer {
			switch {
			case a.seq > 10 && a.number == 1:
				return answerWith(deliver.ReasonServerError)
			case a.number == 1: // begun while the circuit is closed
				sleep(ctx, time.Duration(a.seq)*time.Second)
				return answerWith(deliver.ReasonServerError)
			}
			return deliver.Answer{Reason: deliver.ReasonDelivered}
		}}
		s := begin(t, deliver.Config{Transport: r, Concurrency: 64, Breaker: breaker, Timeout: time.Minute})
		s.putKeys(10)
		synctest.Wait()
		s.put("a", "b", "c", "d", "e")
		time.Sleep(7 * time.Second)
		if s.State().Circuit != deliver.CircuitOpen {
			t.Fatalf("state %+v, want open", s.State())
		}
		// The probe comes after 10 s ± 1/4 whatever ends meanwhile, passes, and
		// the late failures, 5 and more in a row, open nothing.
		time.Sleep(5*time.Second + 501*time.Millisecond)
		if s.State().Circuit != deliver.CircuitClosed {
			t.Errorf("state %+v, want closed by the first probe", s.State())
		}
		time.Sleep(time.Minute)
		if s.State().Circuit != deliver.CircuitClosed || s.cursor.Through() != 15 {
			t.Errorf("state %+v, settled through %d; want closed and 15", s.State(), s.cursor.Through())
		}
	})
}

// A key that never passes, alone in a quiet stream, opens the circuit; the
// first record of another key shows that it is the key.
func TestOneKeyAloneStopsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(_ context.Context, a attempt) deliver.Answer {
			if a.key == "poison" {
				return answerWith(deliver.ReasonServerError)
			}
			return deliver.Answer{Reason: deliver.ReasonDelivered}
		}}
		s := begin(t, deliver.Config{Transport: r, Breaker: breaker, Retry: deliver.RetryPolicy{Max: time.Hour}})
		s.put("poison")
		time.Sleep(10 * time.Hour)
		for i := range 50 {
			s.put("good")
			synctest.Wait()
			if got := r.of("good", deliver.ReasonDelivered); len(got) != i+1 {
				t.Fatalf("record %d of the other key is not delivered at once: %+v", i, s.State())
			}
			time.Sleep(20 * time.Minute)
		}
	})
}

func TestTwoKeysThatFailShareTheProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(context.Context, attempt) deliver.Answer { return answerWith(deliver.ReasonServerError) }}
		s := begin(t, deliver.Config{Transport: r, Breaker: breaker, Retry: deliver.RetryPolicy{Max: 10 * time.Second}})
		s.put("a")
		time.Sleep(5 * time.Minute)
		s.put("b") // probes at once, and fails
		time.Sleep(10 * time.Minute)
		a, b := 0, 0
		for _, x := range r.all() {
			if x.at.After(r.all()[0].at.Add(5 * time.Minute)) {
				if x.key == "a" {
					a++
				} else {
					b++
				}
			}
		}
		// One probe every 10 s ± 1/4, taking turns.
		if a < 25 || b < 25 || a+b > 80 {
			t.Errorf("%d probes with one key, %d with the other; want about 30 each", a, b)
		}
	})
}

func TestOpenCircuitUsesUpNoRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		down.Store(true)
		r := &receiver{answer: while(&down, deliver.ReasonTimeout)}
		box := &letterBox{}
		s := begin(t, deliver.Config{Transport: r, Concurrency: 4, Breaker: breaker, DeadLetters: box,
			Retry: deliver.RetryPolicy{MaxAttempts: 6, MaxAge: time.Minute}})
		s.putKeys(3)
		time.Sleep(24 * time.Hour)
		if len(box.all()) != 0 {
			t.Fatalf("dead letters %+v in a day of an open circuit, want none", box.all())
		}
		down.Store(false)
		time.Sleep(5 * time.Minute)
		if s.cursor.Through() != 3 {
			t.Errorf("settled through %d, want all delivered", s.cursor.Through())
		}
	})
}

func TestProbeWaitsForRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(context.Context, attempt) deliver.Answer {
			return deliver.Answer{Reason: deliver.ReasonThrottled, Status: 429, RetryAfter: 10 * time.Minute}
		}}
		s := begin(t, deliver.Config{Transport: r, Concurrency: 1, Breaker: breaker})
		s.putKeys(20)
		time.Sleep(10*time.Minute - 1)
		if n := len(r.all()); n != 5 {
			t.Errorf("%d attempts, want 5: the receiver wants ten minutes", n)
		}
		time.Sleep(time.Second)
		if n := len(r.all()); n != 6 {
			t.Errorf("%d attempts, want 6", n)
		}
	})
}

func TestHalfOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(ctx context.Context, a attempt) deliver.Answer {
			if a.seq <= 5 && a.number == 1 {
				return answerWith(deliver.ReasonServerError)
			}
			sleep(ctx, 5*time.Second)
			return deliver.Answer{Reason: deliver.ReasonDelivered}
		}}
		s := begin(t, deliver.Config{Transport: r, Concurrency: 1, Breaker: breaker})
		s.putKeys(20)
		time.Sleep(13 * time.Second)
		if state := s.State(); state.Circuit != deliver.CircuitHalfOpen || state.InFlight != 1 {
			t.Errorf("state %+v, want half open with one attempt", state)
		}
		time.Sleep(5 * time.Second)
		if state := s.State(); state.Circuit != deliver.CircuitClosed {
			t.Errorf("state %+v, want closed", state)
		}
	})
}

// A circuit is open and the probe finds that nobody may pass: then it is a
// hold, which probes with that lane.
func TestOpenCircuitBecomesAHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at atomic.Int32
		r := &receiver{answer: func(context.Context, attempt) deliver.Answer {
			switch at.Load() {
			case 0:
				return answerWith(deliver.ReasonServerError)
			case 1:
				return deliver.Answer{Reason: deliver.ReasonUnauthorized, Status: 401}
			}
			return deliver.Answer{Reason: deliver.ReasonDelivered}
		}}
		s := begin(t, deliver.Config{Transport: r, Concurrency: 1, Breaker: breaker})
		s.putKeys(20)
		synctest.Wait()
		at.Store(1)
		time.Sleep(time.Minute)
		if state := s.State(); !state.Held || state.Circuit != deliver.CircuitClosed {
			t.Errorf("state %+v, want held", state)
		}
		at.Store(2)
		time.Sleep(10 * time.Minute)
		if s.cursor.Through() != 20 || s.State().Held {
			t.Errorf("settled through %d, state %+v", s.cursor.Through(), s.State())
		}
	})
}

func TestCommandHoldsAndReleases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: slow(time.Second)}
		s := begin(t, deliver.Config{Transport: r})
		s.put("a", "a", "b")
		synctest.Wait()
		s.Hold(true, nil)
		time.Sleep(24 * time.Hour)
		if n := len(r.all()); n != 2 {
			t.Errorf("%d attempts, want the two that were in flight", n)
		}
		if state := s.State(); !state.Commanded || state.Held || s.Wants() {
			t.Errorf("state %+v, wants %v; want held by command, and no records", state, s.Wants())
		}
		s.put("c")
		s.Hold(false, map[string]bool{"c": true})
		time.Sleep(time.Hour)
		if s.cursor.Through() != 3 || len(r.of("c", deliver.ReasonDelivered)) != 0 {
			t.Errorf("settled through %d, want 3: only c is held", s.cursor.Through())
		}
		s.Hold(false, nil)
		time.Sleep(time.Hour)
		if s.cursor.Through() != 4 {
			t.Errorf("settled through %d, want 4", s.cursor.Through())
		}
	})
}

// A command holds what is held or open anyhow: nobody probes, and then it
// goes on as before.
func TestCommandStopsTheProbes(t *testing.T) {
	for _, reason := range []deliver.Reason{deliver.ReasonServerError, deliver.ReasonUnauthorized} {
		t.Run(reason.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var down atomic.Bool
				down.Store(true)
				r := &receiver{answer: while(&down, reason)}
				s := begin(t, deliver.Config{Transport: r, Concurrency: 1, Breaker: breaker})
				s.putKeys(20)
				synctest.Wait()
				s.Hold(true, nil)
				before := len(r.all())
				time.Sleep(24 * time.Hour)
				if n := len(r.all()); n != before || s.Wants() {
					t.Errorf("%d attempts while held by command", n-before)
				}
				down.Store(false)
				s.Hold(false, nil)
				time.Sleep(10 * time.Second)
				if s.cursor.Through() != 20 {
					t.Errorf("settled through %d, want 20: a probe was due long ago", s.cursor.Through())
				}
			})
		})
	}
}

func TestReleaseEndsAStop(t *testing.T) {
	for _, reason := range []deliver.Reason{deliver.ReasonServerError, deliver.ReasonUnauthorized} {
		t.Run(reason.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var down atomic.Bool
				down.Store(true)
				r := &receiver{answer: while(&down, reason)}
				s := begin(t, deliver.Config{Transport: r, Concurrency: 1, Breaker: breaker, Retry: deliver.RetryPolicy{Initial: time.Millisecond, Max: time.Millisecond}})
				s.putKeys(20)
				time.Sleep(5 * time.Second)
				down.Store(false)
				s.Release("")
				time.Sleep(time.Millisecond)
				if s.cursor.Through() != 20 {
					t.Errorf("settled through %d, want 20 at once", s.cursor.Through())
				}
			})
		})
	}
}

// A probe is in flight when a command holds and releases: its answer, which is
// of another time, neither opens nor stops anything.
func TestProbeOutlivesItsStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(ctx context.Context, a attempt) deliver.Answer {
			switch a.number {
			case 1:
				return answerWith(deliver.ReasonServerError)
			case 2:
				sleep(ctx, time.Minute)
				return answerWith(deliver.ReasonServerError)
			}
			return deliver.Answer{Reason: deliver.ReasonDelivered}
		}}
		s := begin(t, deliver.Config{Transport: r, Concurrency: 1, Breaker: breaker, Timeout: time.Hour})
		s.putKeys(5)
		time.Sleep(20 * time.Second)
		if s.State().Circuit != deliver.CircuitHalfOpen {
			t.Fatalf("state %+v, want half open", s.State())
		}
		s.Release("")
		if s.State().Circuit != deliver.CircuitClosed {
			t.Fatalf("state %+v, want closed", s.State())
		}
		time.Sleep(30 * time.Minute)
		if got := s.cursor.Through(); got != 5 || !reflect.DeepEqual(r.overlapping(), []string(nil)) {
			t.Errorf("settled through %d, overlaps %v", got, r.overlapping())
		}
	})
}

// Lanes are made when they are needed: that holds for the probe, too, when the
// shard leaves whose lanes were to come next.
func TestAnotherShardProbesWhenOneLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		down.Store(true)
		r := &receiver{answer: while(&down, deliver.ReasonServerError)}
		s := begin(t, deliver.Config{Transport: r, Concurrency: 1, Breaker: breaker})
		s.putKeys(20)
		synctest.Wait()
		first, cancel := s.cursor, s.cancel
		s.attach()
		s.put("b", "b", "c")
		cancel()
		s.Detach(first)
		down.Store(false)
		time.Sleep(time.Minute)
		if s.cursor.Through() != 3 {
			t.Errorf("settled through %d, state %+v; want 3", s.cursor.Through(), s.State())
		}
	})
}
