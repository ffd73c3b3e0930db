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

	"github.com/shardline/shardline/pipeline/deliver"
)

func TestHoldAndProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var locked atomic.Bool
		locked.Store(true)
		r := &receiver{answer: func(context.Context, attempt) deliver.Answer {
			if locked.Load() {
				return deliver.Answer{Reason: deliver.ReasonUnauthorized, Status: 401}
			}
			return deliver.Answer{Reason: deliver.ReasonDelivered}
		}}
		core, logs := observer.New(zapcore.InfoLevel)
		box := &letterBox{}
		s := begin(t, deliver.Config{Transport: r, Concurrency: 1, DeadLetters: box, Logger: zap.New(core)})
		for i := range 50 {
			s.put(fmt.Sprint("key", i))
		}
		synctest.Wait()
		if n := len(r.all()); n != 1 {
			t.Fatalf("%d attempts at once, want 1: the first answer holds the destination", n)
		}
		if state := s.State(); !state.Held || !strings.Contains(state.Reason, "unauthorized") || !strings.Contains(state.Reason, "401") {
			t.Errorf("state %+v, want held with its reason", state)
		}
		time.Sleep(time.Hour)
		// Probes after 15 30 60 120 240 300 300 … s, each ± 1/4.
		attempts := r.all()
		if len(attempts) < 12 || len(attempts) > 18 {
			t.Errorf("%d attempts in an hour, want about 15", len(attempts))
		}
		for i := 1; i < len(attempts); i++ {
			want := min(15*time.Second<<(i-1), 5*time.Minute)
			if pause := attempts[i].at.Sub(attempts[i-1].at); pause < want*3/4 || pause > want*5/4 {
				t.Errorf("probe %d after %s, want %s ± 1/4", i, pause, want)
			}
			if attempts[i].key != "key0" {
				t.Errorf("probe %d with %s, want the lane that got the answer", i, attempts[i].key)
			}
		}
		if n := logs.FilterMessageSnippet("held").Len(); n != 1 {
			t.Errorf("%d lines about the hold in an hour, want 1", n)
		}
		locked.Store(false)
		time.Sleep(10 * time.Minute)
		if s.cursor.Through() != 50 || s.State().Held || len(box.all()) != 0 {
			t.Errorf("settled through %d, state %+v, %d dead letters; want all delivered", s.cursor.Through(), s.State(), len(box.all()))
		}
		if n := logs.FilterMessageSnippet("no longer held").Len(); n != 1 {
			t.Errorf("%d lines about the hold's end, want 1", n)
		}
	})
}

// What is in flight when the hold begins ends as it would; its lane waits.
func TestHoldLetsAttemptsInFlightFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(ctx context.Context, a attempt) deliver.Answer {
			switch {
			case a.key == "held" && a.number == 1:
				return deliver.Answer{Reason: deliver.ReasonNotFound, Status: 404}
			case a.key == "held too" && a.number == 1:
				sleep(ctx, time.Second)
				return deliver.Answer{Reason: deliver.ReasonNotFound, Status: 404}
			case a.key == "fine":
				sleep(ctx, time.Second)
			}
			return deliver.Answer{Reason: deliver.ReasonDelivered}
		}}
		s := begin(t, deliver.Config{Transport: r})
		s.put("fine", "held too", "held", "fine")
		time.Sleep(10 * time.Second)
		if got := r.of("fine", deliver.ReasonDelivered); !reflect.DeepEqual(got, []int{1}) {
			t.Errorf("fine got %v while held, want [1]", got)
		}
		time.Sleep(time.Minute)
		if s.cursor.Through() != 4 {
			t.Errorf("settled through %d, want 4", s.cursor.Through())
		}
	})
}

func TestProbeThatFailsOtherwiseEndsTheHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(_ context.Context, a attempt) deliver.Answer {
			switch {
			case a.key == "a" && a.number == 1:
				return deliver.Answer{Reason: deliver.ReasonRedirect, Status: 301}
			case a.key == "a" && a.number == 2:
				return answerWith(deliver.ReasonServerError)
			}
			return deliver.Answer{Reason: deliver.ReasonDelivered}
		}}
		s := begin(t, deliver.Config{Transport: r, Concurrency: 1})
		s.put("a", "b")
		time.Sleep(time.Minute)
		if s.State().Held || s.cursor.Through() != 2 {
			t.Errorf("state %+v, settled through %d; want all delivered", s.State(), s.cursor.Through())
		}
	})
}

// The shard with the probing lane may leave; then another lane probes.
func TestHoldSurvivesItsTenure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var locked atomic.Bool
		locked.Store(true)
		r := &receiver{answer: func(ctx context.Context, a attempt) deliver.Answer {
			if locked.Load() {
				if a.number > 1 {
					<-ctx.Done() // cancelled while it probes
					return deliver.Answer{}
				}
				return deliver.Answer{Reason: deliver.ReasonUnauthorized, Status: 403}
			}
			return deliver.Answer{Reason: deliver.ReasonDelivered}
		}}
		s := begin(t, deliver.Config{Transport: r, Timeout: time.Hour})
		s.put("a")
		time.Sleep(20 * time.Second) // the probe is in flight
		if r.inFlight() != 1 {
			t.Fatalf("%d in flight, want the probe", r.inFlight())
		}
		s.cancel()
		s.Detach(s.cursor)
		if !s.State().Held {
			t.Fatal("no longer held, although no probe has passed")
		}
		locked.Store(false)
		s.attach()
		s.put("b", "c")
		time.Sleep(time.Minute)
		if s.State().Held || s.cursor.Through() != 2 {
			t.Errorf("state %+v, settled through %d; want all delivered", s.State(), s.cursor.Through())
		}
	})
}

// The same when the tenure ends between two probes.
func TestHoldOutlivesTheProbingLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(_ context.Context, a attempt) deliver.Answer {
			if a.key == "a" {
				return deliver.Answer{Reason: deliver.ReasonUnauthorized, Status: 403}
			}
			return deliver.Answer{Reason: deliver.ReasonDelivered}
		}}
		s := begin(t, deliver.Config{Transport: r})
		s.put("a")
		synctest.Wait()
		s.Detach(s.cursor)
		time.Sleep(time.Hour)
		s.attach()
		s.put("b", "c")
		time.Sleep(time.Second) // a probe was due long ago
		if s.State().Held || s.cursor.Through() != 2 {
			t.Errorf("state %+v, settled through %d; want all delivered", s.State(), s.cursor.Through())
		}
	})
}

func TestAllLanesGoOnWhenAHoldEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(ctx context.Context, a attempt) deliver.Answer {
			if a.key == "first" && a.number == 1 {
				return deliver.Answer{Reason: deliver.ReasonUnauthorized, Status: 401}
			}
			if a.key != "first" && !sleep(ctx, time.Hour) {
				return deliver.Answer{}
			}
			return deliver.Answer{Reason: deliver.ReasonDelivered}
		}}
		s := begin(t, deliver.Config{Transport: r, Concurrency: 4, Timeout: 2 * time.Hour})
		s.put("first")
		synctest.Wait()
		s.put("a", "b", "c", "d", "e")
		time.Sleep(time.Minute)
		if r.inFlight() != 4 {
			t.Errorf("%d in flight after the hold, want 4", r.inFlight())
		}
	})
}

func TestDrainGivesUpWhileHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(context.Context, attempt) deliver.Answer {
			return deliver.Answer{Reason: deliver.ReasonUnauthorized, Status: 401}
		}}
		s := begin(t, deliver.Config{Transport: r})
		s.put("a", "b")
		time.Sleep(10 * time.Minute) // the probes are minutes apart by now
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		start := time.Now()
		if err := s.Drain(ctx, s.cursor); err == nil || time.Since(start) > 0 {
			t.Errorf("Drain: %v after %s, want an error at once", err, time.Since(start))
		}
	})
}

func TestExhaustedRecordGoesToTheDeadLetters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(_ context.Context, a attempt) deliver.Answer {
			if a.seq == 1 {
				return deliver.Answer{Reason: deliver.ReasonServerError, Status: 503, Detail: "HTTP 503 Service Unavailable", Body: []byte("down")}
			}
			return deliver.Answer{Reason: deliver.ReasonDelivered}
		}}
		box := &letterBox{}
		s := begin(t, deliver.Config{Transport: r, DeadLetters: box, Retry: deliver.RetryPolicy{MaxAttempts: 3}})
		s.put("a", "a")
		time.Sleep(time.Minute)
		if got := r.of("a", deliver.ReasonServerError); !reflect.DeepEqual(got, []int{1, 1, 1}) {
			t.Errorf("failed attempts %v, want three of record 1", got)
		}
		if s.cursor.Through() != 2 || len(box.all()) != 1 {
			t.Fatalf("settled through %d, letters %+v; want 2 and one", s.cursor.Through(), box.all())
		}
		l := box.all()[0]
		if l.Reason != "max_attempts" || l.Sequence != "1" || l.Attempts != 3 || l.Destination != "channel" ||
			!strings.Contains(l.Detail, "server_error") || l.LastAnswer == nil || l.LastAnswer.Status != 503 || l.LastAnswer.Body != "down" ||
			string(l.Data) != "<body n=1/>" || !l.FirstAttempt.Before(*l.LastAttempt) {
			t.Errorf("letter %+v", l)
		}
	})
}

func TestMaxAgeDoesNotCountHeldTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		r := &receiver{answer: func(context.Context, attempt) deliver.Answer {
			if time.Since(begun) < 30*time.Minute {
				return deliver.Answer{Reason: deliver.ReasonUnauthorized, Status: 401}
			}
			return answerWith(deliver.ReasonServerError)
		}}
		box := &letterBox{}
		s := begin(t, deliver.Config{Transport: r, DeadLetters: box,
			Retry: deliver.RetryPolicy{MaxAge: 10 * time.Minute, Max: 10 * time.Second}})
		s.put("a")
		time.Sleep(39 * time.Minute)
		if n := len(box.all()); n != 0 {
			t.Fatalf("%d dead letters after 30 min held and 9 min of failures, want none", n)
		}
		time.Sleep(10 * time.Minute)
		letters := box.all()
		if len(letters) != 1 || letters[0].Reason != "max_age" {
			t.Fatalf("letters %+v, want one for its age", letters)
		}
	})
}

func TestUnclearAnswersAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(context.Context, attempt) deliver.Answer {
			return deliver.Answer{Reason: deliver.ReasonOTAUnclear, Status: 200}
		}}
		box := &letterBox{}
		s := begin(t, deliver.Config{Transport: r, DeadLetters: box})
		s.put("a")
		time.Sleep(time.Hour)
		if len(r.all()) != 5 || len(box.all()) != 1 || box.all()[0].Reason != "ota_unclear" {
			t.Errorf("%d attempts, letters %+v; want 5 and one", len(r.all()), box.all())
		}
	})
}

func TestExhaustedHoldsTheDestination(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		down.Store(true)
		r := &receiver{answer: func(_ context.Context, a attempt) deliver.Answer {
			switch {
			case down.Load():
				return answerWith(deliver.ReasonServerError)
			case a.key == "poison" && a.number < 40:
				return deliver.Answer{Reason: deliver.ReasonRejected, Status: 400}
			}
			return deliver.Answer{Reason: deliver.ReasonDelivered}
		}}
		s := begin(t, deliver.Config{Transport: r, Concurrency: 1, OnExhausted: deliver.ExhaustedHold,
			Retry: deliver.RetryPolicy{MaxAttempts: 3}})
		s.put("a", "b")
		time.Sleep(time.Minute)
		if state := s.State(); !state.Held || !strings.Contains(state.Reason, "max_attempts") {
			t.Fatalf("state %+v, want held for max_attempts", state)
		}
		time.Sleep(time.Hour)
		if n := len(r.all()); n > 30 {
			t.Errorf("%d attempts in an hour, want only probes", n)
		}
		down.Store(false)
		time.Sleep(10 * time.Minute)
		if s.cursor.Through() != 2 {
			t.Fatalf("settled through %d, want 2", s.cursor.Through())
		}
		// Without dead letters a refused record is not skipped either.
		s.put("poison", "poison")
		time.Sleep(time.Hour)
		if state := s.State(); !state.Held || s.cursor.Through() != 2 {
			t.Errorf("state %+v, settled through %d; want held at 2", state, s.cursor.Through())
		}
	})
}

func TestDeadLetterThatCannotBeWrittenStopsItsLaneOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(_ context.Context, a attempt) deliver.Answer {
			switch {
			case a.key == "bad" && a.seq == 1:
				return deliver.Answer{Reason: deliver.ReasonRejected, Status: 400}
			case a.key == "wrong" && a.number == 1:
				return deliver.Answer{Reason: deliver.ReasonUnauthorized, Status: 401}
			}
			return deliver.Answer{Reason: deliver.ReasonDelivered}
		}}
		var full atomic.Bool
		full.Store(true)
		box := &letterBox{fail: func(deliver.DeadLetter) error {
			if full.Load() {
				return fmt.Errorf("no space left on device")
			}
			return nil
		}}
		core, logs := observer.New(zapcore.InfoLevel)
		s := begin(t, deliver.Config{Transport: r, DeadLetters: box, Concurrency: 1, Logger: zap.New(core)})
		s.put("bad", "good", "bad", "good")
		time.Sleep(time.Hour)
		if got := r.of("good", deliver.ReasonDelivered); !reflect.DeepEqual(got, []int{2, 4}) {
			t.Errorf("the other key got %v, want [2 4]", got)
		}
		if n := len(r.of("bad", deliver.ReasonRejected)); n != 1 || s.cursor.Through() != 0 {
			t.Errorf("%d attempts of the record, settled through %d; want 1 and 0", n, s.cursor.Through())
		}
		if n := logs.FilterMessageSnippet("dead letter not written").Len(); n != 1 {
			t.Errorf("%d lines about the full disk in an hour, want 1", n)
		}
		// A hold of the destination does not stop its dead letters.
		s.put("wrong")
		synctest.Wait()
		full.Store(false)
		time.Sleep(time.Minute)
		if s.cursor.Through() != 5 || len(box.all()) != 1 {
			t.Errorf("settled through %d with %d letters, want 5 and 1", s.cursor.Through(), len(box.all()))
		}
	})
}
