package deliver_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/pipeline"
	"github.com/shardline/shardline/pipeline/deliver"
)

// shore is what a shard's worker does with one subscriber: it appends records,
// ends the subscriber's ways, and begins them on logs that have everything from
// the shard's beginning.
type shore struct {
	*stream
	records    []pipeline.Record
	main, side *pipeline.Log // nil: the way has ended
}

func newShore(s *stream) *shore { return &shore{stream: s, main: s.log} }

func (s *shore) put(keys ...string) {
	for _, key := range keys {
		r := pipeline.Record{Position: checkpoint.Number(strconv.Itoa(len(s.records)+1), 0), PartitionKey: key, Arrival: time.Now(),
			Data: []byte(fmt.Sprintf("<body n=%d/>", len(s.records)+1)), Description: pipeline.Description{Key: key}}
		s.records = append(s.records, r)
		for _, l := range []*pipeline.Log{s.main, s.side} {
			if l != nil {
				l.Append(r, false)
			}
		}
	}
	s.Wake(s.cursor)
}

func (s *shore) leave(way pipeline.Way) {
	s.Leave(s.cursor, way)
	switch way {
	case pipeline.Main:
		s.main = nil
	case pipeline.Side:
		s.side = nil
	}
}

// begin begins a way that has ended.
func (s *shore) begin(way pipeline.Way) {
	l := pipeline.NewLog()
	for _, r := range s.records {
		l.Append(r, false)
	}
	if way == pipeline.Main {
		s.main = l
	} else {
		s.side = l
	}
	l.Put(s.cursor, way)
	s.Wake(s.cursor)
}

func TestLeaveKeepsWhatWasAttempted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(ctx context.Context, a attempt) deliver.Answer {
			switch {
			case a.key == "flies" && a.seq == 2:
				sleep(ctx, time.Minute)
			case a.key == "waits" && a.number == 1:
				return deliver.Answer{Reason: deliver.ReasonServerError, RetryAfter: time.Minute}
			}
			return deliver.Answer{Reason: deliver.ReasonDelivered}
		}}
		s := newShore(begin(t, deliver.Config{Transport: r, Concurrency: 1, Timeout: time.Hour}))
		s.put("waits")
		synctest.Wait()
		s.put("flies", "fresh", "flies", "waits")
		synctest.Wait()
		s.leave(pipeline.Main)
		if n := s.Lanes(); n != 2 {
			t.Errorf("%d lanes are kept, want those of the two records that were attempted", n)
		}
		time.Sleep(time.Hour)
		if got := len(r.all()); got != 3 {
			t.Errorf("%d attempts, want the two kept records' and no other", got)
		}
		s.begin(pipeline.Main)
		time.Sleep(time.Hour)
		for key, want := range map[string]int{"flies": 2, "waits": 2, "fresh": 1} {
			if got := r.of(key, deliver.ReasonDelivered); len(got) != want || !slices.IsSorted(got) {
				t.Errorf("%s got %v, want %d records", key, got, want)
			}
		}
		if s.cursor.Through() != 5 || s.cursor.Parked() != 0 || len(r.overlapping()) > 0 {
			t.Errorf("settled through %d, %d keys parked, overlaps %v", s.cursor.Through(), s.cursor.Parked(), r.overlapping())
		}
	})
}

// A destination that is stopped keeps its probe, whose lane alone is of use to it.
func TestLeaveKeepsTheProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		down.Store(true)
		r := &receiver{answer: while(&down, deliver.ReasonUnauthorized)}
		s := newShore(begin(t, deliver.Config{Transport: r}))
		s.put("a")
		synctest.Wait()
		s.put("b", "c", "d")
		s.leave(pipeline.Main)
		if s.Lanes() != 1 || s.Wants() {
			t.Errorf("%d lanes, wants %v; want the probe's and no records", s.Lanes(), s.Wants())
		}
		time.Sleep(time.Hour)
		if n := len(r.all()); n < 12 {
			t.Errorf("%d attempts in an hour, want probes", n)
		}
		down.Store(false)
		time.Sleep(10 * time.Minute)
		if s.State().Held || !s.Wants() {
			t.Errorf("state %+v, wants %v; want open, and records", s.State(), s.Wants())
		}
		s.begin(pipeline.Main)
		time.Sleep(time.Minute)
		if s.cursor.Through() != 4 || len(r.of("a", deliver.ReasonDelivered)) != 1 {
			t.Errorf("settled through %d, a delivered %v times", s.cursor.Through(), len(r.of("a", deliver.ReasonDelivered)))
		}
	})
}

func TestWants(t *testing.T) {
	for _, c := range []struct {
		name string
		stop func(s *shore, r *receiver, down *atomic.Bool)
		want []bool // at once, while no probe is due; after an hour; after that with a record
	}{
		{"nothing", func(*shore, *receiver, *atomic.Bool) {}, []bool{true, true, true}},
		{"held, its probe's shard gone", func(s *shore, _ *receiver, down *atomic.Bool) {
			down.Store(true)
			s.put("a", "b")
			synctest.Wait()
			s.leave(pipeline.Main)
			s.leave(pipeline.Kept)
		}, []bool{false, true, false}},
		{"held, with its probe", func(s *shore, _ *receiver, down *atomic.Bool) {
			down.Store(true)
			s.put("a", "b")
			synctest.Wait()
			s.leave(pipeline.Main)
		}, []bool{false, false, false}},
		{"a command", func(s *shore, _ *receiver, _ *atomic.Bool) {
			s.Hold(true, nil)
			s.leave(pipeline.Main)
		}, []bool{false, false, false}},
		{"keys held by command", func(s *shore, _ *receiver, _ *atomic.Bool) {
			s.Hold(false, map[string]bool{"a": true})
		}, []bool{true, true, true}},
	} {
		for _, reason := range []deliver.Reason{deliver.ReasonUnauthorized, deliver.ReasonServerError} {
			t.Run(c.name+" "+reason.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var down atomic.Bool
					r := &receiver{answer: while(&down, reason)}
					s := newShore(begin(t, deliver.Config{Transport: r, Breaker: deliver.Breaker{Failures: 2}}))
					c.stop(s, r, &down)
					for i, want := range c.want {
						if i == 1 {
							time.Sleep(time.Hour)
						}
						if i == 2 && s.main == nil {
							s.begin(pipeline.Main)
							s.put("b")
							synctest.Wait()
						}
						if got := s.Wants(); got != want {
							t.Errorf("step %d: wants %v, want %v; state %+v", i, got, want, s.State())
						}
					}
				})
			})
		}
	}
}

func TestPark(t *testing.T) {
	stuck := func(_ context.Context, a attempt) deliver.Answer {
		if a.key == "stuck" && a.number < 5 {
			return deliver.Answer{Reason: deliver.ReasonServerError, RetryAfter: time.Hour}
		}
		return deliver.Answer{Reason: deliver.ReasonDelivered}
	}
	hangs := func(ctx context.Context, a attempt) deliver.Answer {
		sleep(ctx, time.Hour)
		return deliver.Answer{Reason: deliver.ReasonDelivered}
	}
	hangsAlone := func(ctx context.Context, a attempt) deliver.Answer {
		if a.key == "stuck" {
			return hangs(ctx, a)
		}
		return deliver.Answer{Reason: deliver.ReasonDelivered}
	}
	for _, c := range []struct {
		name   string
		config deliver.Config
		answer func(context.Context, attempt) deliver.Answer
		before func(s *shore)
		after  time.Duration // of the first attempts
		most   int
		want   bool
	}{
		{name: "a key that waits for its retry", answer: stuck, most: 1, want: true},
		{name: "too many keys", answer: stuck, most: 0},
		{name: "a key that is held", answer: stuck, most: 1, want: true,
			config: deliver.Config{OnExhausted: deliver.ExhaustedHoldKey, Retry: deliver.RetryPolicy{MaxAttempts: 1}}},
		{name: "a key that a command holds", most: 1, want: true,
			before: func(s *shore) { s.Hold(false, map[string]bool{"stuck": true}) }},
		{name: "every key at its limit", most: 2, config: deliver.Config{KeyRateLimit: .01}},
		{name: "a key whose attempts hang", answer: hangsAlone, after: time.Second, most: 10, want: true, config: deliver.Config{Timeout: 2 * time.Hour}},
		{name: "an attempt that has just begun", answer: hangsAlone, after: 200 * time.Millisecond, most: 10, config: deliver.Config{Timeout: 2 * time.Hour}},
		{name: "all attempts hang", answer: hangs, most: 10, config: deliver.Config{Timeout: 2 * time.Hour}},
		{name: "all are slow", answer: hangs, most: 10, config: deliver.Config{Timeout: 2 * time.Hour, Concurrency: 1}},
		{name: "a limit of all", most: 10, config: deliver.Config{RateLimit: .01}},
		{name: "a command holds all", most: 10, before: func(s *shore) { s.Hold(true, nil) }},
		{name: "an open circuit", answer: stuck, most: 10, config: deliver.Config{Breaker: deliver.Breaker{Failures: 1}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &receiver{answer: c.answer}
				c.config.Transport = r
				s := newShore(begin(t, c.config))
				if c.before != nil {
					c.before(s)
				}
				s.put("stuck", "other", "stuck", "stuck", "other")
				time.Sleep(c.after)
				synctest.Wait()
				if got := s.Park(s.cursor, 5, c.most); got != c.want {
					t.Fatalf("Park: %v, want %v; state %+v", got, c.want, s.State())
				}
				parked := s.cursor.Parked()
				if parked > 0 != c.want {
					t.Errorf("%d keys parked", parked)
				}
				if c.want && s.cursor.Through() < 1 {
					t.Errorf("settled through %d, want further: its key is parked", s.cursor.Through())
				}
				s.Hold(false, nil)
				for range 20 {
					time.Sleep(time.Hour)
					s.Release("")
					if s.side != nil {
						s.leave(pipeline.Side)
					}
					if s.cursor.Parked() > 0 {
						s.begin(pipeline.Side)
					}
				}
				if got := r.of("stuck", deliver.ReasonDelivered); !slices.Equal(got, []int{1, 3, 4}) {
					t.Errorf("the key got %v, want [1 3 4]", got)
				}
				if s.cursor.Through() != 5 || s.cursor.Parked() != 0 || len(r.overlapping()) > 0 {
					t.Errorf("settled through %d, %d keys parked, overlaps %v", s.cursor.Through(), s.cursor.Parked(), r.overlapping())
				}
			})
		})
	}
}

// What drains keeps to its way: kept lanes and those of parked keys begin
// nothing.
func TestDrainBeginsNothingOfParkedKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(ctx context.Context, a attempt) deliver.Answer {
			switch {
			case a.key == "stuck" && a.number == 1:
				return deliver.Answer{Reason: deliver.ReasonServerError, RetryAfter: 10 * time.Second}
			case a.key == "slow":
				sleep(ctx, 15*time.Second)
			}
			return deliver.Answer{Reason: deliver.ReasonDelivered}
		}}
		s := newShore(begin(t, deliver.Config{Transport: r, Timeout: time.Minute}))
		s.put("stuck", "slow", "quick")
		synctest.Wait()
		if !s.Park(s.cursor, 1, 1) {
			t.Fatal("not parked")
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		start := time.Now()
		if err := s.Drain(ctx, s.cursor); err != nil || time.Since(start) != 15*time.Second {
			t.Errorf("Drain: %v after %s, want nil after 15s", err, time.Since(start))
		}
		if n := len(r.of("stuck", deliver.ReasonDelivered)); n != 0 || s.cursor.Through() != 3 {
			t.Errorf("%d deliveries of the parked key, settled through %d; want 0 and 3", n, s.cursor.Through())
		}
	})
}

// TestRandomWays ends and begins ways, parks keys, holds and releases at random
// while answers fail at random: every record is delivered or dead-lettered
// once, and those of a key in their order.
func TestRandomWays(t *testing.T) {
	for seed := range uint64(150) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { randomWays(t, seed) })
		})
	}
}

func randomWays(t *testing.T, seed uint64) {
	dice, fate := rand.New(rand.NewPCG(seed, 1)), rand.New(rand.NewPCG(seed, 2))
	var mu sync.Mutex
	var calm atomic.Bool
	r := &receiver{answer: func(ctx context.Context, a attempt) deliver.Answer {
		mu.Lock()
		f := fate.IntN(100)
		mu.Unlock()
		if f%3 == 0 && !sleep(ctx, time.Duration(f)*time.Millisecond) {
			return deliver.Answer{}
		}
		switch {
		case calm.Load():
		case a.key == "k0" && f < 80, f < 15:
			return deliver.Answer{Reason: deliver.ReasonServerError}
		case f < 18:
			return deliver.Answer{Reason: deliver.ReasonThrottled, RetryAfter: time.Second}
		case f < 21:
			return deliver.Answer{Reason: deliver.ReasonRejected, Status: 400}
		case f < 22:
			return deliver.Answer{Reason: deliver.ReasonUnauthorized, Status: 401}
		}
		return deliver.Answer{Reason: deliver.ReasonDelivered}
	}}
	box := &letterBox{fail: func(deliver.DeadLetter) error {
		mu.Lock()
		defer mu.Unlock()
		if !calm.Load() && fate.IntN(4) == 0 {
			return fmt.Errorf("disk full")
		}
		return nil
	}}
	c := deliver.Config{Transport: r, DeadLetters: box, Timeout: 500 * time.Millisecond, Concurrency: 1 + dice.IntN(4),
		OnExhausted: []deliver.OnExhausted{deliver.ExhaustedDeadLetter, deliver.ExhaustedHold, deliver.ExhaustedHoldKey}[dice.IntN(3)],
		Retry:       deliver.RetryPolicy{Initial: 10 * time.Millisecond, Max: time.Second, MaxAttempts: dice.IntN(3) * 3},
		Breaker:     deliver.Breaker{Failures: dice.IntN(2) * 4, OpenFor: 200 * time.Millisecond},
		Probes:      deliver.Probes{Initial: 100 * time.Millisecond, Max: time.Second},
		Rand:        rand.New(rand.NewPCG(seed, 3))}
	if dice.IntN(3) == 0 {
		c.RateLimit, c.KeyRateLimit = 100, 20
	}
	s := newShore(begin(t, c))
	key := func() string { return fmt.Sprint("k", dice.IntN(6)) }
	for step := 0; step < 400; step++ {
		switch n := dice.IntN(20); {
		case n < 8:
			s.put(key(), key())
		case n < 12:
			time.Sleep(time.Duration(dice.IntN(300)) * time.Millisecond)
		case n == 12 && s.main != nil:
			s.leave(pipeline.Main)
		case n <= 13 && s.main == nil:
			s.begin(pipeline.Main)
		case n == 14 && s.side != nil:
			s.leave(pipeline.Side)
		case n <= 15 && s.side == nil:
			s.begin(pipeline.Side)
		case n == 16 && s.main != nil:
			s.Park(s.cursor, s.cursor.Through()+1+uint64(dice.IntN(5)), 1+dice.IntN(3))
		case n == 17:
			s.Hold(dice.IntN(3) == 0, map[string]bool{key(): true})
		case n == 18:
			s.Hold(false, nil)
			s.Release([]string{"", key()}[dice.IntN(2)])
		case n == 19 && dice.IntN(4) == 0:
			s.leave(pipeline.Kept)
		}
		if dice.IntN(3) > 0 {
			synctest.Wait()
		}
	}
	calm.Store(true)
	s.Hold(false, nil)
	for tries := 0; s.main == nil || s.cursor.Through() != uint64(len(s.records)) || s.cursor.Parked() > 0; tries++ {
		if tries > 200 {
			t.Fatalf("settled through %d of %d, %d keys parked: %+v", s.cursor.Through(), len(s.records), s.cursor.Parked(), s.State())
		}
		s.Release("")
		if s.main == nil {
			s.begin(pipeline.Main)
		}
		if s.side != nil {
			s.leave(pipeline.Side)
		}
		s.begin(pipeline.Side)
		time.Sleep(10 * time.Second)
	}
	if keys := r.overlapping(); len(keys) > 0 {
		t.Errorf("two attempts in flight for keys %v", keys)
	}
	outcome, last := map[int]int{}, map[string]int{}
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
		seq, _ := strconv.Atoi(l.Sequence)
		outcome[seq]++
	}
	for seq := 1; seq <= len(s.records); seq++ {
		if outcome[seq] != 1 {
			t.Errorf("record %d of %s was delivered or dead-lettered %d times", seq, s.records[seq-1].Key, outcome[seq])
		}
	}
	if n := s.Lanes(); n != 0 {
		t.Errorf("%d lanes at the end", n)
	}
}
