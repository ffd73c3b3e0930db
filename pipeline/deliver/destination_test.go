package deliver_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardline/shardline/pipeline/deliver"
)

// sleep is an answer that takes its time.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func slow(d time.Duration) func(context.Context, attempt) deliver.Answer {
	return func(ctx context.Context, _ attempt) deliver.Answer {
		if !sleep(ctx, d) {
			return deliver.Answer{}
		}
		return deliver.Answer{Reason: deliver.ReasonDelivered}
	}
}

func TestOrderPerKeyAndKeysInParallel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: slow(time.Second)}
		s := begin(t, deliver.Config{Transport: r})
		start := time.Now()
		s.put("a", "b", "a", "c", "a", "b")
		synctest.Wait()
		if r.inFlight() != 3 {
			t.Errorf("%d attempts in flight, want one for each of 3 keys", r.inFlight())
		}
		time.Sleep(time.Minute)
		for key, want := range map[string][]int{"a": {1, 3, 5}, "b": {2, 6}, "c": {4}} {
			if got := r.of(key, deliver.ReasonDelivered); !reflect.DeepEqual(got, want) {
				t.Errorf("key %s got %v, want %v", key, got, want)
			}
		}
		// a has three records of a second each; the other keys go beside it.
		last := r.all()[5].at.Add(time.Second)
		if took := last.Sub(start); took != 3*time.Second {
			t.Errorf("all was delivered after %s, want 3s", took)
		}
		if s.cursor.Through() != 6 {
			t.Errorf("settled through %d, want 6", s.cursor.Through())
		}
		if keys := r.overlapping(); len(keys) > 0 {
			t.Errorf("two attempts in flight for keys %v", keys)
		}
	})
}

func TestConcurrencyIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: slow(time.Second)}
		s := begin(t, deliver.Config{Transport: r, Concurrency: 4})
		start := time.Now()
		for i := range 20 {
			s.put(fmt.Sprint("key", i))
		}
		time.Sleep(time.Minute)
		if r.peak() != 4 {
			t.Errorf("%d attempts in flight at once, want 4", r.peak())
		}
		attempts := r.all()
		if took := attempts[len(attempts)-1].at.Add(time.Second).Sub(start); took != 5*time.Second {
			t.Errorf("20 records of 1s took %s by 4, want 5s", took)
		}
	})
}

func TestRetryBacksOffWithFullJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(_ context.Context, a attempt) deliver.Answer {
			if a.seq == 1 && a.number < 8 {
				return answerWith(deliver.ReasonServerError)
			}
			return deliver.Answer{Reason: deliver.ReasonDelivered}
		}}
		s := begin(t, deliver.Config{Transport: r, Retry: deliver.RetryPolicy{Initial: time.Second, Max: 8 * time.Second, Multiplier: 2}})
		s.put("a", "a", "b")
		time.Sleep(5 * time.Minute)
		if got := r.of("a", deliver.ReasonDelivered); !reflect.DeepEqual(got, []int{1, 2}) {
			t.Fatalf("key a got %v, want [1 2]", got)
		}
		var at []time.Time
		for _, a := range r.all() {
			if a.key == "a" && a.seq == 1 {
				if len(at)+1 != a.number {
					t.Errorf("attempt %d says it is %d", len(at)+1, a.number)
				}
				at = append(at, a.at)
			}
		}
		// Pauses are at most 1, 2, 4, 8, 8, 8, 8 s, and not all at their top.
		total := time.Duration(0)
		for i := 1; i < len(at); i++ {
			pause, top := at[i].Sub(at[i-1]), min(time.Second<<(i-1), 8*time.Second)
			if pause > top {
				t.Errorf("pause %d was %s, at most %s", i, pause, top)
			}
			total += pause
		}
		if total == 0 || total >= 39*time.Second {
			t.Errorf("the pauses sum up to %s: no jitter", total)
		}
	})
}

func TestRetryAfterIsHonoured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(_ context.Context, a attempt) deliver.Answer {
			if a.number == 1 {
				return deliver.Answer{Reason: deliver.ReasonThrottled, Status: 429, RetryAfter: 30 * time.Second}
			}
			return deliver.Answer{Reason: deliver.ReasonDelivered}
		}}
		s := begin(t, deliver.Config{Transport: r})
		s.put("a")
		time.Sleep(time.Minute)
		attempts := r.all()
		if len(attempts) != 2 {
			t.Fatalf("%d attempts, want 2", len(attempts))
		}
		if pause := attempts[1].at.Sub(attempts[0].at); pause < 30*time.Second || pause > 30*time.Second+200*time.Millisecond {
			t.Errorf("the second came after %s, want 30s and at most the first back-off more", pause)
		}
	})
}

func TestWaitingLaneHoldsNoSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(_ context.Context, a attempt) deliver.Answer {
			if a.key == "bad" {
				return deliver.Answer{Reason: deliver.ReasonServerError, RetryAfter: time.Hour}
			}
			return deliver.Answer{Reason: deliver.ReasonDelivered}
		}}
		s := begin(t, deliver.Config{Transport: r, Concurrency: 1})
		s.put("bad", "good", "bad", "good")
		synctest.Wait()
		if got := r.of("good", deliver.ReasonDelivered); !reflect.DeepEqual(got, []int{2, 4}) {
			t.Errorf("the other key got %v, want [2 4]", got)
		}
		if s.cursor.Through() != 0 {
			t.Errorf("settled through %d: past a record that was not delivered", s.cursor.Through())
		}
		if state := s.State(); state.Waiting != 1 || state.InFlight != 0 {
			t.Errorf("state %+v, want one key waiting and nothing in flight", state)
		}
	})
}

func TestAttemptTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(ctx context.Context, a attempt) deliver.Answer {
			if a.number == 1 {
				<-ctx.Done()
				return deliver.Answer{}
			}
			return deliver.Answer{Reason: deliver.ReasonDelivered}
		}}
		s := begin(t, deliver.Config{Transport: r, Timeout: 3 * time.Second})
		s.put("a")
		time.Sleep(3*time.Second - 1)
		if len(r.all()) != 0 {
			t.Fatal("the attempt ended before its time")
		}
		time.Sleep(time.Second)
		if attempts := r.all(); len(attempts) != 2 || s.cursor.Through() != 1 {
			t.Fatalf("attempts %+v, settled through %d; want two attempts and 1", attempts, s.cursor.Through())
		}
	})
}

func TestTenureLostInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(ctx context.Context, _ attempt) deliver.Answer {
			<-ctx.Done()
			return deliver.Answer{}
		}}
		s := begin(t, deliver.Config{Transport: r, Timeout: time.Hour})
		s.put("a", "b", "a")
		synctest.Wait()
		lost := time.Now()
		s.cancel()
		s.Detach(s.cursor)
		if !time.Now().Equal(lost) {
			t.Errorf("Detach took %s", time.Since(lost))
		}
		if s.cursor.Through() != 0 || len(r.all()) != 2 {
			t.Errorf("settled through %d with %d attempts, want nothing and 2", s.cursor.Through(), len(r.all()))
		}
		s.put("c")
		time.Sleep(time.Hour)
		if len(r.all()) != 2 {
			t.Errorf("attempts after Detach: %+v", r.all())
		}
	})
}

func TestNothingStartsWhenTheTenureIsInvalid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: slow(time.Second)}
		s := begin(t, deliver.Config{Transport: r})
		s.put("a", "a")
		synctest.Wait()
		s.valid.Store(false)
		time.Sleep(time.Minute)
		s.put("b")
		time.Sleep(time.Minute)
		if got := r.all(); len(got) != 1 {
			t.Errorf("attempts %+v, want the one that was in flight", got)
		}
		if s.cursor.Through() != 1 {
			t.Errorf("settled through %d, want 1: it was delivered", s.cursor.Through())
		}
	})
}

func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: slow(time.Second)}
		s := begin(t, deliver.Config{Transport: r, Concurrency: 2})
		// In flight: a1 b4. Begun is 4, so a2 and a3 must go too, a5 and b6 not.
		s.put("a", "a", "a", "b", "a", "b")
		synctest.Wait()
		if err := s.Drain(context.Background(), s.cursor); err != nil {
			t.Fatal(err)
		}
		s.put("c")
		s.Detach(s.cursor)
		time.Sleep(time.Minute)
		if a, b := r.of("a", deliver.ReasonDelivered), r.of("b", deliver.ReasonDelivered); !reflect.DeepEqual(a, []int{1, 2, 3}) || !reflect.DeepEqual(b, []int{4}) {
			t.Errorf("delivered a %v b %v, want [1 2 3] and [4]", a, b)
		}
		if s.cursor.Through() != 4 {
			t.Errorf("settled through %d, want 4", s.cursor.Through())
		}
	})
}

func TestDrainWaitsForARetryThatComesInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(_ context.Context, a attempt) deliver.Answer {
			if a.number == 1 {
				return deliver.Answer{Reason: deliver.ReasonServerError, RetryAfter: 5 * time.Second}
			}
			return deliver.Answer{Reason: deliver.ReasonDelivered}
		}}
		s := begin(t, deliver.Config{Transport: r})
		s.put("a")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := s.Drain(ctx, s.cursor); err != nil || s.cursor.Through() != 1 {
			t.Errorf("Drain: %v, settled through %d; want nil and 1", err, s.cursor.Through())
		}
	})
}

// A destination that is down must not make every stop last for the whole
// drain time-out.
func TestDrainGivesUpOnARetryThatComesTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(ctx context.Context, a attempt) deliver.Answer {
			switch a.key {
			case "late":
				return deliver.Answer{Reason: deliver.ReasonServerError, RetryAfter: time.Minute}
			case "slow":
				sleep(ctx, 2*time.Second)
			}
			return deliver.Answer{Reason: deliver.ReasonDelivered}
		}}
		s := begin(t, deliver.Config{Transport: r})
		s.put("slow", "slow", "late", "slow", "other")
		synctest.Wait()
		start := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		err := s.Drain(ctx, s.cursor)
		// Two of slow are before the stuck record and still count; the third
		// would be delivered again by whoever comes next.
		if took := time.Since(start); err == nil || took != 4*time.Second {
			t.Errorf("Drain: %v after %s, want an error after 4s", err, took)
		}
		if got := r.of("slow", deliver.ReasonDelivered); !reflect.DeepEqual(got, []int{1, 2}) || s.cursor.Through() != 2 {
			t.Errorf("delivered %v, settled through %d; want [1 2] and 2", got, s.cursor.Through())
		}
	})
}

func TestDrainEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: slow(time.Hour)}
		s := begin(t, deliver.Config{Transport: r, Timeout: 2 * time.Hour})
		s.put("a")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := s.Drain(ctx, s.cursor); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Drain: %v, want the deadline", err)
		}
	})
}

func TestDetachWaitsForTheAttemptInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: slow(3 * time.Second)}
		s := begin(t, deliver.Config{Transport: r})
		s.put("a", "a", "b")
		synctest.Wait()
		start := time.Now()
		s.Detach(s.cursor)
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("Detach took %s, want 3s", took)
		}
		if got := len(r.all()); got != 2 {
			t.Errorf("%d attempts, want the 2 that were in flight", got)
		}
		if s.cursor.Through() != 1 { // a1 and b3 are settled, a2 is not
			t.Errorf("settled through %d, want 1", s.cursor.Through())
		}
	})
}

// TestRandomHistories lets answers fail, time out and refuse at random, and
// detaches and attaches in between. Every record settles exactly once, and per
// key the first attempts are in order.
func TestRandomHistories(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { randomHistory(t, seed) })
		})
	}
}

func randomHistory(t *testing.T, seed uint64) {
	plan := rand.New(rand.NewPCG(seed, 1))
	var fate func() int
	{
		rng := rand.New(rand.NewPCG(seed, 2))
		lock := make(chan struct{}, 1)
		fate = func() int {
			lock <- struct{}{}
			defer func() { <-lock }()
			return rng.IntN(100)
		}
	}
	r := &receiver{answer: func(ctx context.Context, _ attempt) deliver.Answer {
		f := fate()
		if f%3 == 0 && !sleep(ctx, time.Duration(f)*time.Millisecond) {
			return deliver.Answer{}
		}
		switch {
		case f < 10:
			return deliver.Answer{Reason: deliver.ReasonServerError}
		case f < 13:
			return deliver.Answer{Reason: deliver.ReasonThrottled, RetryAfter: time.Second}
		case f < 16:
			return deliver.Answer{Reason: deliver.ReasonRejected, Status: 400}
		case f < 17:
			return deliver.Answer{Reason: deliver.ReasonUnauthorized, Status: 401}
		case f < 19:
			<-ctx.Done()
			return deliver.Answer{}
		}
		return deliver.Answer{Reason: deliver.ReasonDelivered}
	}}
	tries := 0
	box := &letterBox{fail: func(deliver.DeadLetter) error {
		if fate() < 30 {
			return errors.New("disk full")
		}
		return nil
	}}
	s := begin(t, deliver.Config{Transport: r, DeadLetters: box, Timeout: 100 * time.Millisecond, Concurrency: 1 + plan.IntN(6),
		Retry: deliver.RetryPolicy{Initial: 10 * time.Millisecond, Max: time.Second, MaxAttempts: plan.IntN(2) * 4},
		Rand:  rand.New(rand.NewPCG(seed, 3))})
	const records = 300
	for s.n < records {
		s.put(fmt.Sprint("k", plan.IntN(8)))
		if plan.IntN(10) == 0 {
			time.Sleep(time.Duration(plan.IntN(200)) * time.Millisecond)
		}
		if plan.IntN(10) == 0 {
			s.log.Free()
		}
	}
	for s.cursor.Through() != records {
		if tries++; tries > 1000 {
			t.Fatalf("settled through %d of %d: %+v", s.cursor.Through(), records, s.State())
		}
		time.Sleep(time.Minute)
	}
	if keys := r.overlapping(); len(keys) > 0 {
		t.Errorf("two attempts in flight for keys %v", keys)
	}
	outcome := map[int]int{}
	last := map[string]int{}
	for _, a := range r.all() {
		if a.seq < last[a.key] {
			t.Errorf("key %s: %d was attempted after %d", a.key, a.seq, last[a.key])
		}
		last[a.key] = a.seq
		if a.reason == deliver.ReasonDelivered {
			outcome[a.seq]++
		}
	}
	for _, l := range box.all() {
		var seq int
		fmt.Sscan(l.Sequence, &seq)
		outcome[seq]++
	}
	for seq := 1; seq <= records; seq++ {
		if outcome[seq] != 1 {
			t.Errorf("record %d was delivered or dead-lettered %d times", seq, outcome[seq])
		}
	}
	if state := s.State(); state.Oldest != 0 || state.InFlight != 0 || state.Waiting != 0 {
		t.Errorf("state at the end: %+v", state)
	}
}
