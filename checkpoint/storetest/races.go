package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/shardline/shardline/checkpoint"
)

// Of a hundred that write at once one wins.
func races(t *testing.T, s checkpoint.Store) {
	const many = 100
	race := func(what string, write func(i int) error) (winner int) {
		t.Helper()
		errs := make([]error, many)
		var wg sync.WaitGroup
		start := make(chan struct{})
		for i := range many {
			wg.Go(func() {
				<-start
				errs[i] = write(i)
			})
		}
		close(start)
		wg.Wait()
		winner = -1
		for i, err := range errs {
			switch {
			case err == nil && winner >= 0:
				t.Errorf("%s: %d and %d both won", what, winner, i)
			case err == nil:
				winner = i
			case !errors.Is(err, checkpoint.ErrConflict) && !errors.Is(err, checkpoint.ErrExists):
				t.Errorf("%s: %v", what, err)
			}
		}
		if winner < 0 {
			t.Errorf("%s: nobody won", what)
		}
		return winner
	}
	ctx := t.Context()
	l := lease("shardId-0")
	race("create", func(int) error { return s.Create(ctx, l) })
	w := race("take", func(i int) error {
		_, err := s.Take(ctx, l, fmt.Sprintf("worker-%d", i), fmt.Sprintf("tenure-%d", i))
		return err
	})
	got, err := s.Get(ctx, l.Key)
	must(t, err)
	if got.Owner != fmt.Sprintf("worker-%d", w) || got.Tenure != fmt.Sprintf("tenure-%d", w) || got.Counter != 1 {
		t.Errorf("worker-%d won, the table says %s", w, got.Owner)
	}
	w = race("renew", func(i int) error {
		_, err := s.Renew(ctx, got, &checkpoint.Saved{Checkpoint: number(i)})
		return err
	})
	got, err = s.Get(ctx, l.Key)
	must(t, err)
	if got.Checkpoint != number(w) || got.Counter != 2 {
		t.Errorf("%s won, the table says %s", number(w), got.Checkpoint)
	}
	w = race("ask", func(i int) error { return s.Ask(ctx, got, fmt.Sprintf("asker-%d", i)) })
	got, err = s.Get(ctx, l.Key)
	must(t, err)
	if got.Owner != fmt.Sprintf("asker-%d", w) {
		t.Errorf("asker-%d won, the table says %s", w, got.Owner)
	}
	race("take or release", func(i int) error {
		if i%2 == 0 {
			return s.Release(ctx, got, nil)
		}
		_, err := s.Take(ctx, got, "worker", fmt.Sprint(i))
		return err
	})
	got, err = s.Get(ctx, l.Key)
	must(t, err)
	race("delete", func(int) error { return s.Delete(ctx, got) })
}

// conditions holds each condition by itself: everything as it is but one.
func conditions(t *testing.T, s checkpoint.Store) {
	base := held(t, s, "shardId-0")
	base, err := s.Renew(t.Context(), base, &checkpoint.Saved{Checkpoint: number(1)})
	must(t, err)
	ctx := t.Context()
	spoil := map[string]func(l *checkpoint.Lease){
		"counter": func(l *checkpoint.Lease) { l.Counter-- },
		"owner":   func(l *checkpoint.Lease) { l.Owner = "worker-x" },
		"unowned": func(l *checkpoint.Lease) { l.Owner = "" },
		"tenure":  func(l *checkpoint.Lease) { l.Tenure = "tenure-x" },
		"no tenure": func(l *checkpoint.Lease) {
			l.Tenure = ""
		},
		"handover": func(l *checkpoint.Lease) { l.HandingOver = "worker-x" },
	}
	writes := map[string]struct {
		holds string
		write func(l checkpoint.Lease) error
	}{
		"take": {"counter owner unowned tenure no tenure", func(l checkpoint.Lease) error {
			_, err := s.Take(ctx, l, "worker-b", "t")
			return err
		}},
		"renew": {"counter tenure no tenure handover", func(l checkpoint.Lease) error {
			_, err := s.Renew(ctx, l, nil)
			return err
		}},
		"release":      {"counter tenure no tenure handover", func(l checkpoint.Lease) error { return s.Release(ctx, l, nil) }},
		"ask":          {"owner unowned tenure no tenure", func(l checkpoint.Lease) error { return s.Ask(ctx, l, "worker-b") }},
		"set children": {"tenure no tenure", func(l checkpoint.Lease) error { return s.SetChildren(ctx, l, []string{"c"}) }},
		"delete":       {"counter owner unowned tenure no tenure", func(l checkpoint.Lease) error { return s.Delete(ctx, l) }},
	}
	for name, w := range writes {
		for what, change := range spoil {
			if !strings.Contains(" "+w.holds+" ", " "+what+" ") {
				continue
			}
			l := base.Clone()
			change(&l)
			want(t, name+" with another "+what, w.write(l), checkpoint.ErrConflict)
		}
	}
	read(t, s, "after refused writes", base)
}

// What is given or returned may be changed afterwards.
func copies(t *testing.T, s checkpoint.Store) {
	l := held(t, s, "shardId-0")
	save := checkpoint.Saved{Checkpoint: number(1), Roster: []string{"a"},
		Behind: map[string]checkpoint.Entry{"a": {At: number(0), Keys: map[string]checkpoint.Position{"k": number(0)}}}}
	expect := save.Clone()
	l, err := s.Renew(t.Context(), l, &save)
	must(t, err)
	spoil := func(s checkpoint.Saved) {
		s.Roster[0] = "spoilt"
		s.Behind["a"].Keys["k"] = number(99)
		s.Behind["b"] = checkpoint.Entry{}
	}
	spoil(save)
	key := l.Key
	spoil(l.Saved)
	for range 2 {
		got, err := s.Get(t.Context(), key)
		must(t, err)
		if !got.Saved.Equal(expect) {
			t.Fatalf("positions changed from outside: %+v", got.Saved)
		}
		spoil(got.Saved)
		got.Parents[0] = "spoilt"
		all, err := s.List(t.Context())
		must(t, err)
		if len(all) != 1 || !all[0].Saved.Equal(expect) {
			t.Fatalf("positions changed from outside: %+v", all)
		}
		spoil(all[0].Saved)
	}
}

func list(t *testing.T, s checkpoint.Store) {
	all, err := s.List(t.Context())
	must(t, err)
	if len(all) != 0 {
		t.Errorf("%d leases in an empty table", len(all))
	}
	keys := map[string]bool{}
	for i := range 150 {
		l := lease(fmt.Sprintf("shardId-%012d", i))
		must(t, s.Create(t.Context(), l))
		keys[l.Key] = true
	}
	all, err = s.List(t.Context())
	must(t, err)
	for _, l := range all {
		if !keys[l.Key] {
			t.Errorf("lease %s twice or unknown", l.Key)
		}
		delete(keys, l.Key)
		if l.Stream != Stream || l.Key != Stream+":"+l.Shard {
			t.Errorf("lease %s: stream %s, shard %s", l.Key, l.Stream, l.Shard)
		}
	}
	if len(keys) > 0 {
		t.Errorf("%d leases are not listed", len(keys))
	}
	must(t, s.Prepare(t.Context())) // again, on a full table
}

// A call whose context has ended fails, with no sentinel: its outcome is not
// known.
func canceled(t *testing.T, s checkpoint.Store) {
	l := held(t, s, "shardId-0")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Renew(ctx, l, nil)
	if !errors.Is(err, context.Canceled) || errors.Is(err, checkpoint.ErrConflict) {
		t.Errorf("renew: %v, want context canceled", err)
	}
	if _, err := s.Get(ctx, l.Key); !errors.Is(err, context.Canceled) {
		t.Errorf("get: %v, want context canceled", err)
	}
	read(t, s, "after cancelled calls", l)
}
