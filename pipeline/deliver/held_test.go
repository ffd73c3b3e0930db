package deliver_test

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/shardline/shardline/pipeline"
	"github.com/shardline/shardline/pipeline/deliver"
)

// poisoned fails for one key while it is set.
func poisoned(bad *atomic.Bool) *receiver {
	return &receiver{answer: func(_ context.Context, a attempt) deliver.Answer {
		if a.key == "poison" && bad.Load() {
			return deliver.Answer{Reason: deliver.ReasonServerError, Status: 500, Detail: "HTTP 500"}
		}
		return deliver.Answer{Reason: deliver.ReasonDelivered}
	}}
}

func TestExhaustedHoldsTheKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var bad atomic.Bool
		bad.Store(true)
		r := poisoned(&bad)
		core, logs := observer.New(zapcore.InfoLevel)
		box := &letterBox{}
		s := begin(t, deliver.Config{Transport: r, DeadLetters: box, OnExhausted: deliver.ExhaustedHoldKey, Logger: zap.New(core),
			Concurrency: 1, Retry: deliver.RetryPolicy{MaxAttempts: 3}})
		s.put("poison", "good", "poison", "good")
		start := time.Now()
		time.Sleep(24 * time.Hour)
		if got := r.of("poison", deliver.ReasonServerError); !reflect.DeepEqual(got, []int{1, 1, 1}) {
			t.Errorf("attempts of the key: %v, want three of record 1", got)
		}
		if got := r.of("good", deliver.ReasonDelivered); !reflect.DeepEqual(got, []int{2, 4}) {
			t.Errorf("the other key got %v, want [2 4]", got)
		}
		state := s.State()
		if state.Held || state.HeldKeys != 1 || len(state.Keys) != 1 || state.Waiting != 0 {
			t.Fatalf("state %+v, want one held key", state)
		}
		if k := state.Keys[0]; k.Key != "poison" || k.Source != "hotels" || k.Shard != shardInfo.Shard || k.Reason != "max_attempts" ||
			k.Status != 500 || !strings.Contains(k.Detail, "server_error") || k.Since.Before(start) || k.Since.After(start.Add(time.Minute)) {
			t.Errorf("held key %+v", k)
		}
		if n := logs.FilterMessageSnippet("keys held").Len(); n != 1 || len(box.all()) != 0 {
			t.Errorf("%d lines, %d dead letters; want 1 and 0", n, len(box.all()))
		}
		// A command ends it, with all the retries once more.
		s.Release("another")
		s.Release("poison")
		time.Sleep(time.Hour)
		if n := len(r.of("poison", deliver.ReasonServerError)); n != 6 || s.State().HeldKeys != 1 {
			t.Errorf("%d attempts, state %+v; want 6 and held again", n, s.State())
		}
		bad.Store(false)
		s.Release("")
		synctest.Wait()
		if s.cursor.Through() != 4 || s.State().HeldKeys != 0 {
			t.Errorf("settled through %d, state %+v; want all", s.cursor.Through(), s.State())
		}
	})
}

// Without dead letters a refused record holds its key, too.
func TestRefusedHoldsTheKeyWithoutDeadLetters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(_ context.Context, a attempt) deliver.Answer {
			if a.key == "bad" {
				return deliver.Answer{Reason: deliver.ReasonRejected, Status: 400}
			}
			return deliver.Answer{Reason: deliver.ReasonDelivered}
		}}
		s := begin(t, deliver.Config{Transport: r, OnExhausted: deliver.ExhaustedHoldKey})
		s.put("bad", "good", "bad")
		time.Sleep(time.Hour)
		if state := s.State(); state.Held || state.HeldKeys != 1 || state.Keys[0].Reason != "rejected" || len(r.all()) != 2 {
			t.Errorf("state %+v after %d attempts, want the key held", state, len(r.all()))
		}
	})
}

// A hold of a key outlives its lane: when its way ends and there is no room to
// keep it, the key's records are not attempted anew.
func TestHeldKeyOutlivesItsLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var bad atomic.Bool
		bad.Store(true)
		r := poisoned(&bad)
		s := begin(t, deliver.Config{Transport: r, OnExhausted: deliver.ExhaustedHoldKey, Retry: deliver.RetryPolicy{MaxAttempts: 2}})
		s.put("poison", "poison", "good")
		time.Sleep(time.Minute)
		if s.State().HeldKeys != 1 {
			t.Fatalf("state %+v, want the key held", s.State())
		}
		s.Leave(s.cursor, pipeline.Main)
		if n := s.Lanes(); n != 1 {
			t.Errorf("%d lanes, want the held one: it is kept", n)
		}
		s.Leave(s.cursor, pipeline.Kept) // no room for it any more
		if n := s.Lanes(); n != 0 || s.State().HeldKeys != 1 {
			t.Errorf("%d lanes, state %+v; want the key held, without a lane", n, s.State())
		}
	})
}

// Keys that wait for their retry, are held, or wait to be released occupy no
// slot: with concurrency 1 the other keys go on.
func TestStuckKeysHoldNoSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(_ context.Context, a attempt) deliver.Answer {
			if strings.HasPrefix(a.key, "bad") {
				return deliver.Answer{Reason: deliver.ReasonServerError, RetryAfter: time.Hour}
			}
			return deliver.Answer{Reason: deliver.ReasonDelivered}
		}}
		s := begin(t, deliver.Config{Transport: r, Concurrency: 1, OnExhausted: deliver.ExhaustedHoldKey})
		s.Hold(false, map[string]bool{"ordered": true})
		for i := range 100 {
			s.put(fmt.Sprint("bad", i), "ordered", "good")
		}
		synctest.Wait()
		if got := r.of("good", deliver.ReasonDelivered); len(got) != 100 || r.inFlight() != 0 {
			t.Errorf("the good key got %d records, %d in flight; want 100 and 0", len(got), r.inFlight())
		}
	})
}

func TestDrainWithAHeldKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var bad atomic.Bool
		bad.Store(true)
		s := begin(t, deliver.Config{Transport: poisoned(&bad), OnExhausted: deliver.ExhaustedHoldKey, Retry: deliver.RetryPolicy{MaxAttempts: 1}})
		s.put("good", "poison", "good")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		start := time.Now()
		if err := s.Drain(ctx, s.cursor); err == nil || time.Since(start) > 0 || s.cursor.Through() != 1 {
			t.Errorf("Drain: %v after %s, settled through %d; want an error at once, and 1", err, time.Since(start), s.cursor.Through())
		}
	})
}

func TestExpire(t *testing.T) {
	for _, stop := range []string{"answer", "circuit", "command", "key"} {
		t.Run(stop, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testExpire(t, stop) })
		})
	}
}

// testExpire has records of an hour ago and of now while attempts do not pass.
func testExpire(t *testing.T, stop string) {
	var down atomic.Bool
	down.Store(true)
	reason := deliver.ReasonServerError
	if stop == "answer" {
		reason = deliver.ReasonUnauthorized
	}
	r := &receiver{answer: while(&down, reason)}
	box := &letterBox{}
	c := deliver.Config{Transport: r, DeadLetters: box, Breaker: breaker, Concurrency: 3, Retry: deliver.RetryPolicy{Max: time.Second}}
	if stop == "key" {
		c.OnExhausted, c.Retry.MaxAttempts, c.Breaker = deliver.ExhaustedHoldKey, 1, deliver.Breaker{}
	}
	s := begin(t, c)
	if stop == "command" {
		s.Hold(true, nil)
	}
	s.putKeys(20)
	s.putKeys(20)
	time.Sleep(time.Hour)
	before := time.Now()
	s.put("key1", "new")
	time.Sleep(time.Minute)
	if s.cursor.Through() != 0 {
		t.Fatalf("settled through %d, want nothing", s.cursor.Through())
	}
	attempts := len(r.all())
	if !s.Expire(s.cursor, before) {
		t.Fatal("Expire: false, although there are dead letters")
	}
	synctest.Wait()
	if s.cursor.Through() != 40 || len(box.all()) != 40 {
		t.Errorf("settled through %d with %d dead letters, want 40 and 40", s.cursor.Through(), len(box.all()))
	}
	for i, l := range box.all() {
		if l.Reason != "before_trim" || !strings.HasPrefix(string(l.Data), "<body n=") || l.Detail == "" || (l.Attempts == 0) != (l.FirstAttempt == nil) {
			t.Errorf("letter %d: %+v", i, l)
			break
		}
	}
	if n := len(r.all()) - attempts; n != 0 {
		t.Errorf("%d attempts meanwhile", n)
	}
	down.Store(false)
	s.Hold(false, nil)
	s.Release("")
	time.Sleep(time.Minute)
	if s.cursor.Through() != 42 || len(box.all()) != 40 {
		t.Errorf("settled through %d with %d dead letters, want 42 and 40", s.cursor.Through(), len(box.all()))
	}
}

// What is in flight when its time is over ends first, and is dead-lettered if it
// does not pass.
func TestExpireInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(ctx context.Context, a attempt) deliver.Answer {
			sleep(ctx, time.Second)
			switch a.key {
			case "fails":
				return answerWith(deliver.ReasonServerError)
			case "holds":
				return deliver.Answer{Reason: deliver.ReasonUnauthorized, Status: 401}
			}
			return deliver.Answer{Reason: deliver.ReasonDelivered}
		}}
		box := &letterBox{}
		s := begin(t, deliver.Config{Transport: r, DeadLetters: box})
		s.put("passes", "fails", "holds", "passes", "fails", "holds")
		synctest.Wait()
		s.Expire(s.cursor, time.Now().Add(time.Hour))
		if len(box.all()) != 0 {
			t.Fatal("dead letters of what is in flight")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := len(r.all()); s.cursor.Through() != 6 || len(box.all()) != 5 || n != 3 || len(r.overlapping()) > 0 {
			t.Errorf("settled through %d with %d dead letters after %d attempts, want 6, 5 and 3", s.cursor.Through(), len(box.all()), n)
		}
	})
}

func TestExpireWithoutDeadLetters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := begin(t, deliver.Config{Transport: &receiver{}, OnExhausted: deliver.ExhaustedHold})
		if s.Expire(s.cursor, time.Now()) {
			t.Error("Expire: true, although there are no dead letters")
		}
	})
}

// A dead letter that cannot be written waits, and is tried again, also while the
// destination is stopped.
func TestExpireWhileTheDiskIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var full atomic.Bool
		full.Store(true)
		box := &letterBox{fail: func(deliver.DeadLetter) error {
			if full.Load() {
				return fmt.Errorf("no space left on device")
			}
			return nil
		}}
		s := begin(t, deliver.Config{Transport: &receiver{}, DeadLetters: box, Concurrency: 1})
		s.Hold(true, nil)
		s.putKeys(20)
		s.Expire(s.cursor, time.Now().Add(time.Hour))
		time.Sleep(time.Hour)
		if s.cursor.Through() != 0 {
			t.Errorf("settled through %d without a dead letter", s.cursor.Through())
		}
		full.Store(false)
		time.Sleep(time.Minute)
		if s.cursor.Through() != 20 || len(box.all()) != 20 {
			t.Errorf("settled through %d with %d dead letters, want 20", s.cursor.Through(), len(box.all()))
		}
	})
}
