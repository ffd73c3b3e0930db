package simulation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/shardline/shardline/checkpoint"
)

// store is the lease table as one process reaches it. The table itself is the
// real one in memory; delays, faults and the process's gate are here, and every
// write that lands is shown to the checker.
type store struct {
	process *process
	table   *checkpoint.Memory
	stale   *checkpoint.Memory // the same table, whose scans may be a little old
}

var _ checkpoint.Store = (*store)(nil)

// staleness bounds how old a scan may be that is not consistent.
const staleness = 2 * time.Second

var errUnknown = errors.New("connection reset: outcome unknown")

func newStore(p *process, table *checkpoint.Memory) *store {
	s := &store{process: p, table: table, stale: table.Client()}
	s.stale.Stale = func(key string) bool { // called under world.mu
		return time.Since(p.world.written[key]) < staleness && p.world.fault("scan "+p.id, "store: stale scan", 0.2)
	}
	return s
}

// call makes one call: do has the effect, under the world's lock.
func (s *store) call(ctx context.Context, op, key string, do func(ctx context.Context) error) error {
	p, w := s.process, s.process.world
	place := "store " + op + " " + p.id
	sent := p.view()
	frozen, err := p.pass()
	if err != nil {
		if w.over.Load() {
			err = checkpoint.ErrNotFound // lets the dead rest who would try for ever
		}
		return fmt.Errorf("%s %s: %w", op, key, err)
	}
	if !p.reaches() {
		return fmt.Errorf("%s %s: %w", op, key, errors.Join(p.sleep(ctx, time.Minute), errUnknown))
	}
	if op == "desired" && !p.hears() {
		return fmt.Errorf("%s %s: %w", op, key, checkpoint.ErrThrottled)
	}
	p.reach(op, false)
	if frozen && w.dice.chance(place, 0.5) {
		// The process was frozen between deciding to write and writing: its
		// time-outs are over, but the write goes out first.
		w.happened("store: write of a frozen process")
		ctx = context.WithoutCancel(ctx)
	}
	wait := w.dice.span(place, time.Millisecond, 20*time.Millisecond)
	if w.fault(place, "store: slow", 0.02) {
		wait = w.dice.span(place, 100*time.Millisecond, 3*time.Second)
	}
	if err := p.sleep(ctx, wait); err != nil {
		if !errors.Is(err, errCrashed) && w.dice.chance(place, 0.5) {
			_ = s.land(key, op, sent, do) // it was on its way
		}
		return fmt.Errorf("%s %s: %w", op, key, err)
	}
	switch {
	case w.fault(place, "store: throttled", 0.03):
		return fmt.Errorf("%s %s: %w", op, key, checkpoint.ErrThrottled)
	case w.fault(place, "store: error before the write", 0.03):
		return fmt.Errorf("%s %s: %w", op, key, errUnknown)
	case w.fault(place, "store: hangs", 0.01):
		err := p.sleep(ctx, time.Minute)
		return fmt.Errorf("%s %s: %w", op, key, errors.Join(err, errUnknown))
	case !read(op) && w.fault(place, "store: write lands late", 0.01):
		late := w.dice.span(place, 0, longest(op))
		w.background.Go(func() {
			time.Sleep(late)
			_ = s.land(key, op, sent, do)
		})
		return fmt.Errorf("%s %s: %w", op, key, errUnknown)
	}
	err = s.land(key, op, sent, do)
	p.reach(op, true)
	if err == nil && w.fault(place, "store: error after the write", 0.03) {
		err = fmt.Errorf("%s %s: %w", op, key, errUnknown)
	}
	if _, gate := p.pass(); gate != nil {
		return gate
	}
	return err
}

// read says whether an operation changes nothing.
func read(op string) bool {
	return op == "get" || op == "list" || op == "list_now" || op == "desired"
}

// longest is how late a write may land. Conditions keep those of a lease's
// owner harmless however late they are. The creation of the first leases has
// none: it relies on a service that does not hold a call for long.
func longest(op string) time.Duration {
	if op == "create" {
		return staleness
	}
	return 15 * time.Second
}

// land lets a call reach the table and shows the checker what it did.
func (s *store) land(key, op string, sent time.Duration, do func(ctx context.Context) error) error {
	w := s.process.world
	w.mu.Lock()
	defer w.mu.Unlock()
	ctx := context.Background() // the table has no delays of its own
	if key == "" {
		return do(ctx)
	}
	before, found := w.lease(key)
	err := do(ctx)
	after, still := w.lease(key)
	if err == nil && op != "get" {
		w.written[key] = time.Now()
		w.check.wrote(write{op: op, process: s.process, sent: sent, key: key, before: before, found: found, after: after, still: still})
	}
	return err
}

// lease reads an item of the table; w.mu is held.
func (w *world) lease(key string) (checkpoint.Lease, bool) {
	l, err := w.table.Get(context.Background(), key)
	return l, err == nil
}

func (s *store) Prepare(ctx context.Context) error {
	return s.call(ctx, "prepare", "", s.table.Prepare)
}

func (s *store) List(ctx context.Context) ([]checkpoint.Lease, error) {
	return result(func(into *[]checkpoint.Lease) error {
		return s.call(ctx, "list", "", func(ctx context.Context) (err error) {
			*into, err = s.stale.List(ctx)
			return err
		})
	})
}

func (s *store) Get(ctx context.Context, key string) (checkpoint.Lease, error) {
	return result(func(into *checkpoint.Lease) error {
		return s.call(ctx, "get", key, func(ctx context.Context) (err error) {
			*into, err = s.table.Get(ctx, key)
			return err
		})
	})
}

// result is what a call puts into a place of its own: one that lands late
// writes there when its caller has long had an error.
func result[T any](call func(into *T) error) (T, error) {
	into, none := new(T), *new(T)
	if err := call(into); err != nil {
		return none, err
	}
	return *into, nil
}

func (s *store) First(ctx context.Context, stream string, proposal map[string]checkpoint.Position) (map[string]checkpoint.Position, error) {
	return result(func(into *map[string]checkpoint.Position) error {
		return s.call(ctx, "first", "", func(ctx context.Context) (err error) {
			*into, err = s.table.First(ctx, stream, proposal)
			return err
		})
	})
}

func (s *store) ListNow(ctx context.Context) ([]checkpoint.Lease, error) {
	return result(func(into *[]checkpoint.Lease) error {
		return s.call(ctx, "list_now", "", func(ctx context.Context) (err error) {
			*into, err = s.table.ListNow(ctx)
			return err
		})
	})
}

func (s *store) Desired(ctx context.Context) (checkpoint.Desired, error) {
	return result(func(into *checkpoint.Desired) error {
		return s.call(ctx, "desired", "", func(ctx context.Context) (err error) {
			*into, err = s.table.Desired(ctx)
			return err
		})
	})
}

func (s *store) SetDesired(ctx context.Context, before int64, d checkpoint.Desired) error {
	d = d.Clone()
	return s.call(ctx, "set_desired", "", func(ctx context.Context) error {
		was, err := s.table.Desired(ctx)
		if err == nil {
			err = s.table.SetDesired(ctx, before, d)
		}
		if err == nil {
			s.process.world.check.desires(was, d)
		}
		return err
	})
}

func (s *store) Create(ctx context.Context, l checkpoint.Lease) error {
	return s.call(ctx, "create", l.Key, func(ctx context.Context) error { return s.table.Create(ctx, l) })
}

func (s *store) Take(ctx context.Context, seen checkpoint.Lease, owner, tenure string) (checkpoint.Lease, error) {
	return result(func(into *checkpoint.Lease) error {
		return s.call(ctx, "take", seen.Key, func(ctx context.Context) (err error) {
			*into, err = s.table.Take(ctx, seen, owner, tenure)
			return err
		})
	})
}

func (s *store) Renew(ctx context.Context, held checkpoint.Lease, save *checkpoint.Saved) (checkpoint.Lease, error) {
	held, save = held.Clone(), clone(save)
	if save != nil && s.process.world.fault("large "+s.process.id, "store: positions too large", 0.005) {
		return checkpoint.Lease{}, fmt.Errorf("renew %s: %w", held.Key, checkpoint.ErrTooLarge)
	}
	return result(func(into *checkpoint.Lease) error {
		return s.call(ctx, "renew", held.Key, func(ctx context.Context) (err error) {
			*into, err = s.table.Renew(ctx, held, save)
			return err
		})
	})
}

func (s *store) Release(ctx context.Context, held checkpoint.Lease, save *checkpoint.Saved) error {
	held, save = held.Clone(), clone(save)
	return s.call(ctx, "release", held.Key, func(ctx context.Context) error { return s.table.Release(ctx, held, save) })
}

func (s *store) Ask(ctx context.Context, seen checkpoint.Lease, owner string) error {
	return s.call(ctx, "ask", seen.Key, func(ctx context.Context) error { return s.table.Ask(ctx, seen, owner) })
}

func (s *store) SetChildren(ctx context.Context, held checkpoint.Lease, children []string) error {
	held = held.Clone()
	return s.call(ctx, "set_children", held.Key, func(ctx context.Context) error { return s.table.SetChildren(ctx, held, children) })
}

func (s *store) Delete(ctx context.Context, seen checkpoint.Lease) error {
	return s.call(ctx, "delete", seen.Key, func(ctx context.Context) error { return s.table.Delete(ctx, seen) })
}

// clone keeps a late write from seeing what its caller makes of the positions.
func clone(s *checkpoint.Saved) *checkpoint.Saved {
	if s == nil {
		return nil
	}
	c := s.Clone()
	return &c
}
