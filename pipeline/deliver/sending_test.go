package deliver_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardline/shardline/pipeline/deliver"
)

// closing is a receiver that notes when it is closed.
type closing struct {
	receiver
	closed atomic.Bool
}

func (c *closing) Close() error {
	c.closed.Store(true)
	return nil
}

// set changes a destination.
func (s *stream) set(c deliver.Config) {
	s.t.Helper()
	c.Name = "channel"
	next, err := s.Prepare(c)
	if err != nil {
		s.t.Fatal(err)
	}
	next.Apply()
}

// TestNext changes a destination while attempts are in flight: they end as they
// began, what comes next goes the new way, in order, and the old way is closed
// when nobody uses it.
func TestNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cancelled := false
		old := &closing{receiver: receiver{answer: func(ctx context.Context, _ attempt) deliver.Answer {
			select {
			case <-time.After(5 * time.Second):
			case <-ctx.Done():
				cancelled = true
			}
			return deliver.Answer{Reason: deliver.ReasonDelivered}
		}}}
		fresh := &closing{}
		s := begin(t, deliver.Config{Transport: old, Timeout: 6 * time.Second, Concurrency: 2})
		s.put("a", "a", "b", "b", "c")
		synctest.Wait()
		if n := old.inFlight(); n != 2 {
			t.Fatalf("%d attempts in flight, want 2", n)
		}
		time.Sleep(time.Second)
		s.set(deliver.Config{Transport: fresh, Timeout: time.Second, Concurrency: 8, DeadLetters: &letterBox{}})
		synctest.Wait()
		if got := fresh.of("c", deliver.ReasonDelivered); !slices.Equal(got, []int{5}) || len(fresh.all()) != 1 {
			t.Errorf("at once, in the new way: %v; the other keys have an attempt in flight", fresh.all())
		}
		if old.closed.Load() {
			t.Error("closed with attempts in flight")
		}
		time.Sleep(5 * time.Second)
		if cancelled {
			t.Error("an attempt in flight was cancelled")
		}
		for key, seqs := range map[string][2][]int{"a": {{1}, {2}}, "b": {{3}, {4}}} {
			if got := [2][]int{old.of(key, deliver.ReasonDelivered), fresh.of(key, deliver.ReasonDelivered)}; fmt.Sprint(got) != fmt.Sprint(seqs) {
				t.Errorf("key %s: old and new way %v, want %v", key, got, seqs)
			}
		}
		if !old.closed.Load() || fresh.closed.Load() {
			t.Errorf("closed: the old one %v, the new one %v", old.closed.Load(), fresh.closed.Load())
		}
	})
}

// TestNextConcurrency raises and lowers the attempts in flight.
func TestNextConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(context.Context, attempt) deliver.Answer {
			time.Sleep(time.Second)
			return deliver.Answer{Reason: deliver.ReasonDelivered}
		}}
		s := begin(t, deliver.Config{Transport: r, Concurrency: 2})
		for i := range 100 {
			s.put(fmt.Sprintf("k%d", i))
		}
		for _, n := range []int{2, 8, 1, 4} {
			s.set(deliver.Config{Transport: r, Concurrency: n, DeadLetters: &letterBox{}})
			time.Sleep(1500 * time.Millisecond) // those that were in flight end
			if got := r.inFlight(); got != n {
				t.Errorf("%d attempts in flight, want %d", got, n)
			}
			time.Sleep(500 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		if n := len(r.all()); n != 100 {
			t.Errorf("%d of 100 delivered", n)
		}
	})
}

// TestNextEndsAHold: whoever corrects a password does not wait for a probe.
func TestNextEndsAHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wrong := &receiver{answer: func(context.Context, attempt) deliver.Answer {
			return deliver.Answer{Reason: deliver.ReasonUnauthorized, Status: 401}
		}}
		right := &receiver{}
		s := begin(t, deliver.Config{Transport: wrong})
		s.put("a", "b", "a")
		time.Sleep(time.Hour)
		synctest.Wait()
		if !s.State().Held {
			t.Fatal("not held")
		}
		s.set(deliver.Config{Transport: right, OnExhausted: deliver.ExhaustedHold})
		synctest.Wait()
		if s.State().Held || !slices.Equal(right.of("a", deliver.ReasonDelivered), []int{1, 3}) || !slices.Equal(right.of("b", deliver.ReasonDelivered), []int{2}) {
			t.Errorf("held %v, delivered %v", s.State().Held, right.all())
		}
	})
}

// TestNextLetters: a dead letter that is being written goes where it was meant
// for, also when there are none any more.
func TestNextLetters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(context.Context, attempt) deliver.Answer {
			return deliver.Answer{Reason: deliver.ReasonRejected, Status: 400}
		}}
		var full atomic.Bool
		full.Store(true)
		first := &letterBox{fail: func(deliver.DeadLetter) error {
			if full.Load() {
				return fmt.Errorf("no space left on device")
			}
			return nil
		}}
		s := begin(t, deliver.Config{Transport: r, DeadLetters: first})
		s.put("a")
		time.Sleep(time.Second / 4)
		s.set(deliver.Config{Transport: r, OnExhausted: deliver.ExhaustedHold})
		full.Store(false)
		time.Sleep(time.Minute)
		if n := len(first.all()); n != 1 {
			t.Errorf("%d dead letters, want 1", n)
		}
		s.put("a")
		synctest.Wait()
		if !s.State().Held || len(first.all()) != 1 {
			t.Errorf("without dead letters: held %v, %d letters", s.State().Held, len(first.all()))
		}
	})
}

func TestNextRefuses(t *testing.T) {
	r := &receiver{}
	s := begin(t, deliver.Config{Transport: r})
	for _, test := range []struct {
		config deliver.Config
		want   string
	}{
		{deliver.Config{Name: "other", Transport: r, DeadLetters: &letterBox{}}, "it cannot become other"},
		{deliver.Config{Name: "channel", Transport: r}, "dead letters are needed"},
		{deliver.Config{Name: "channel", URL: "ftp://x", DeadLetters: &letterBox{}}, "url: it must begin with http"},
	} {
		if _, err := s.Prepare(test.config); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v, want %s", err, test.want)
		}
	}
	// What is discarded changes nothing, and is closed.
	unused := &closing{}
	next, err := s.Prepare(deliver.Config{Name: "channel", Transport: unused, DeadLetters: &letterBox{}})
	if err != nil {
		t.Fatal(err)
	}
	next.Discard()
	if !unused.closed.Load() {
		t.Error("what was discarded is not closed")
	}
}
