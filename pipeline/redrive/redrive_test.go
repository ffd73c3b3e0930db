package redrive_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardline/shardline/pipeline/deliver"
	"github.com/shardline/shardline/pipeline/redrive"
)

// box is a queue in memory.
type box struct {
	letters []deliver.DeadLetter
	problem error // of Done, as often as fails says
	fails   int
	done    []string
	gone    map[string]error // of Load, by name
}

func (b *box) Partial() bool { return false }

func (b *box) Scan(_ context.Context, _ redrive.Filter, found func(redrive.Found) error) error {
	for i, l := range b.letters {
		if slices.Contains(b.done, l.ID()) {
			continue
		}
		if err := found(redrive.Found{Letter: l, Where: fmt.Sprint("letter ", i), Loaded: l.DataIn == ""}); err != nil {
			return err
		}
	}
	return nil
}

func (b *box) Load(_ context.Context, f *redrive.Found) error { return b.gone[name(&f.Letter)] }

func (b *box) Done(_ context.Context, _ string, letters []*redrive.Found) error {
	if b.fails > 0 {
		b.fails--
		return b.problem
	}
	for _, l := range letters {
		b.done = append(b.done, l.Letter.ID())
	}
	return nil
}

func (b *box) Release(context.Context) error { return nil }

// partner takes letters, or answers as told, and knows in which order they came.
type partner struct {
	answer func(name string) deliver.Answer // nil: delivered

	mu   sync.Mutex
	got  []string // delivered
	keys map[string]bool
	ids  map[string]string // idempotency key by name
}

func (p *partner) Send(_ context.Context, m *deliver.Message) deliver.Answer {
	n := m.Record.Key + "/" + strings.TrimPrefix(m.Record.Position.Sequence, "496000")
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ids == nil {
		p.ids, p.keys = make(map[string]string), make(map[string]bool)
	}
	p.ids[n] = m.IdempotencyKey()
	if p.keys[m.Record.Key] {
		p.got = append(p.got, "OVERLAP")
	}
	answer := deliver.Answer{Reason: deliver.ReasonDelivered}
	if p.answer != nil {
		answer = p.answer(n)
	}
	p.keys[m.Record.Key] = true
	p.mu.Unlock()
	time.Sleep(10 * time.Millisecond)
	p.mu.Lock()
	p.keys[m.Record.Key] = false
	if answer.Reason == deliver.ReasonDelivered {
		p.got = append(p.got, n)
	}
	return answer
}

func config(q redrive.Queue, p *partner) redrive.Config {
	return redrive.Config{Queue: q, Command: "again-1", GiveUp: time.Hour,
		Configured: func(name string) bool { return name != "removed" },
		Open: func(name string, wrap func(deliver.Transport) deliver.Transport, letters deliver.DeadLetters) (*deliver.Destination, error) {
			return deliver.New(deliver.Config{Name: name, Transport: wrap(p), DeadLetters: letters})
		},
		Stream: func(context.Context, *deliver.DeadLetter) ([]byte, error) { return nil, redrive.ErrGone },
	}
}

// of is what was delivered of a key, in order.
func (p *partner) of(key string) (numbers []string) {
	for _, n := range p.got {
		if k, number, _ := strings.Cut(n, "/"); k == key {
			numbers = append(numbers, number)
		}
	}
	return numbers
}

// Letters go in the order of their records, over shards too; one that is there
// twice goes once; what cannot be redriven is named and stays.
func TestRedriveInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		child := letter("a", "h1", 9, "x")
		child.Shard = "shardId-000000000007"
		again := letter("a", "h1", 3, "x")
		again.Time = again.Time.Add(time.Minute)
		gap := letter("", "", 1, "")
		gap.Gap, gap.Sequence = &deliver.GapNote{From: "1:0", To: "2:0"}, ""
		q := &box{letters: []deliver.DeadLetter{child, letter("a", "h1", 4, "x"), again, letter("a", "h1", 1, "x"), letter("a", "h2", 2, "x"),
			letter("a", "h1", 3, "x"), gap, letter("removed", "h1", 5, "x"), letter("", "h1", 6, "x")}}
		p := &partner{}
		result, err := redrive.Run(t.Context(), config(q, p))
		if err != nil {
			t.Fatal(err)
		}
		if got := p.of("h1"); !slices.Equal(got, []string{"01", "03", "04", "09"}) {
			t.Errorf("h1 got %q, want 01 03 04 and the child shard's 09", got)
		}
		if slices.Contains(p.got, "OVERLAP") {
			t.Error("two letters of a key were on their way at once")
		}
		var reasons []string
		for _, s := range result.Skipped {
			reasons = append(reasons, s.Reason)
		}
		slices.Sort(reasons)
		if !slices.Equal(reasons, []string{redrive.SkippedGap, redrive.SkippedNotConfigured, redrive.SkippedSource}) {
			t.Errorf("skipped for %q", reasons)
		}
		if result.Delivered != 5 || result.Refused != 0 || result.Left != 0 || len(q.done) != 6 {
			t.Errorf("result %+v, %d done; want 5 delivered, 6 letters of them done", result, len(q.done))
		}
	})
}

// What is refused again stays, and the key goes on; what cannot be read holds
// its key back, unless it is gone for good.
func TestRedriveThatDoesNotPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lost := letter("a", "h3", 1, "")
		lost.DataIn = deliver.DataInStream
		q := &box{letters: []deliver.DeadLetter{letter("a", "h1", 1, "x"), letter("a", "h1", 2, "x"),
			letter("a", "h2", 1, "x"), letter("a", "h2", 2, "x"), lost, letter("a", "h3", 2, "x")},
			gone: map[string]error{"a/h2/01": errors.New("the bucket is closed")}}
		p := &partner{answer: func(name string) deliver.Answer {
			if name == "h1/01" {
				return deliver.Answer{Reason: deliver.ReasonRejected, Detail: "still wrong"}
			}
			return deliver.Answer{Reason: deliver.ReasonDelivered}
		}}
		var stayed []string
		c := config(q, p)
		c.Tell = func(s redrive.Stayed) { stayed = append(stayed, name(&s.Found.Letter)+": "+s.Why) }
		result, err := redrive.Run(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(p.got)
		if !slices.Equal(p.got, []string{"h1/02", "h3/02"}) {
			t.Errorf("delivered %q, want h1/02 and h3/02", p.got)
		}
		slices.Sort(stayed)
		want := []string{"a/h1/01: refused again: rejected: still wrong", "a/h2/01: the bucket is closed",
			"a/h2/02: it waits for a letter of its key that could not be read", "a/h3/01: it is gone"}
		if !slices.Equal(stayed, want) {
			t.Errorf("stayed %q, want %q", stayed, want)
		}
		if result.Delivered != 2 || result.Refused != 1 || result.Left != 3 || len(q.done) != 2 {
			t.Errorf("result %+v, %d done", result, len(q.done))
		}
	})
}

// A redrive that ends before its queue took a mark repeats, under the same
// idempotency key; another redrive has another key.
func TestRedriveResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &box{letters: []deliver.DeadLetter{letter("a", "h1", 1, "x")}, problem: errors.New("no space left"), fails: 100}
		p := &partner{}
		_, err := redrive.Run(t.Context(), config(q, p))
		if err == nil || !strings.Contains(err.Error(), "no space left") {
			t.Fatalf("error is %v, want that the queue took no mark", err)
		}
		first := p.ids["h1/01"]
		q.fails = 0
		if _, err := redrive.Run(t.Context(), config(q, p)); err != nil {
			t.Fatal(err)
		}
		if p.ids["h1/01"] != first || len(p.got) != 2 || len(q.done) != 1 {
			t.Errorf("resumed: key %s after %s, delivered %q, %d done", p.ids["h1/01"], first, p.got, len(q.done))
		}
		q.done = nil
		c := config(q, p)
		c.Command = "again-2"
		if _, err := redrive.Run(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if p.ids["h1/01"] == first {
			t.Error("another redrive has the same idempotency key")
		}
	})
}

// A destination that is held ends the redrive after a while, which says why, and
// everything stays.
func TestRedriveGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &box{letters: []deliver.DeadLetter{letter("a", "h1", 1, "x"), letter("a", "h2", 2, "x")}}
		p := &partner{answer: func(string) deliver.Answer {
			return deliver.Answer{Reason: deliver.ReasonUnauthorized, Status: 401}
		}}
		c := config(q, p)
		c.GiveUp = time.Minute
		start := time.Now()
		result, err := redrive.Run(t.Context(), c)
		if err == nil || !strings.Contains(err.Error(), "destination a: it is held: unauthorized (HTTP 401)") {
			t.Errorf("error is %v, want that the destination is held, and why", err)
		}
		if took := time.Since(start); took < time.Minute || took > time.Minute+5*time.Second {
			t.Errorf("it took %s, want a minute", took)
		}
		if result.Delivered != 0 || result.Left != 2 || len(q.done) != 0 {
			t.Errorf("result %+v, %d done; want all left", result, len(q.done))
		}
	})
}

// The rate is kept: eleven letters at two a second take five seconds.
func TestRedriveRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &box{}
		for i := range 11 {
			q.letters = append(q.letters, letter("a", fmt.Sprint("h", i), i+10, "x"))
		}
		c := config(q, &partner{})
		c.Rate = 2
		start := time.Now()
		result, err := redrive.Run(t.Context(), c)
		if took := time.Since(start); err != nil || result.Delivered != 11 || took < 5*time.Second || took > 6*time.Second {
			t.Errorf("%+v in %s, %v; want 11 in five seconds", result, took, err)
		}
	})
}

// A redrive that is stopped marks what was delivered, and leaves the rest.
func TestRedriveStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &box{}
		for i := range 20 {
			q.letters = append(q.letters, letter("a", "h1", i+10, "x"))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 95*time.Millisecond) // 9 letters of 10 ms
		defer cancel()
		p := &partner{}
		result, err := redrive.Run(ctx, config(q, p))
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error is %v, want the deadline", err)
		}
		if result.Delivered != len(p.got) || len(q.done) != len(p.got) || result.Delivered+result.Left != 20 || result.Delivered < 9 {
			t.Errorf("result %+v, %d done, %d delivered", result, len(q.done), len(p.got))
		}
	})
}
