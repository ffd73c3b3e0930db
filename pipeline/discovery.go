package pipeline

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/shardline/shardline/checkpoint"
)

// discovery: how often a source's shards are listed, and how long to wait
// after an error.
const (
	discoverEvery   = time.Minute
	discoverBackoff = time.Second
	discoverMaxWait = 30 * time.Second
)

// discover identifies the stream, lists its shards and creates the leases
// that are missing, again and again until ctx ends.
func (w *Worker) discover(ctx context.Context, s *source) {
	backoff := discoverBackoff
	for {
		err := w.audit(ctx, s)
		if ctx.Err() != nil {
			return
		}
		s.listed(err)
		wait := discoverEvery
		if err != nil {
			wait, backoff = backoff, min(2*backoff, discoverMaxWait)
		} else {
			backoff = discoverBackoff
		}
		if e := s.current(); e != nil && e.garbage > 0 {
			wait = min(wait, w.failover)
		}
		if !s.rest(ctx, jitter(wait)) {
			return
		}
	}
}

// rest waits until the next audit is due, or somebody asks for it; false: ctx
// has ended.
func (s *source) rest(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.looks:
	case <-ctx.Done():
		return false
	}
	return true
}

// jitter is a random half of d, and the other half.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2) }

// audit creates the leases of a source that are missing and removes those
// that are through, or of an earlier epoch.
func (w *Worker) audit(ctx context.Context, s *source) error {
	e, shards, now, err := s.list(ctx)
	if err != nil {
		return err
	}
	leases, err := w.store.List(ctx)
	if err != nil {
		return fmt.Errorf("list the leases: %w", err)
	}
	// An application that has leases of the stream's earlier life has missed
	// what is in the new one.
	e.again = e.again || slices.ContainsFunc(leases, e.outlived)
	if err := w.sweep(ctx, e, leases); err != nil {
		return err
	}
	leases = slices.DeleteFunc(leases, func(l checkpoint.Lease) bool { return !e.owns(l) })
	initial, tip := e.begin(now, len(leases) > 0)
	w.withoutRosters(leases)
	first, err := w.first(ctx, e, shards, leases, initial, tip)
	if err != nil {
		return fmt.Errorf("decide on the first leases: %w", err)
	}
	create, remove := checkpoint.Audit(shards, leases, initial, tip, first)
	if len(create) > 0 && len(leases) > 0 {
		if leases, err = w.confirm(ctx, e, shards, leases, create); err != nil {
			return err
		}
		if len(leases) == 0 {
			return errors.New("the stream's leases are gone since they were listed")
		}
		w.withoutRosters(leases)
		create, remove = checkpoint.Audit(shards, leases, initial, tip, first)
	}
	if err := w.createAll(ctx, e, create); err != nil {
		return err
	}
	for _, l := range remove {
		if !w.holder.Free(l) {
			continue
		}
		if err := w.store.Delete(ctx, l); err != nil && !errors.Is(err, checkpoint.ErrConflict) && !errors.Is(err, checkpoint.ErrNotFound) {
			return fmt.Errorf("delete lease %s: %w", l.Key, err)
		}
		s.logger.Info("lease of a finished shard removed", zap.String("shard", l.Shard))
	}
	if len(create) > 0 {
		w.holder.Scan()
	}
	return w.closeHoles(ctx, e, shards, slices.Concat(leases, create))
}

// withoutRosters: on a table that is shared with KCL workers they say nothing,
// as the children that those make have none.
func (w *Worker) withoutRosters(leases []checkpoint.Lease) {
	for i := range leases {
		if w.shared {
			leases[i].Roster = nil
		}
	}
}

// first is where the stream's first leases begin when it begins at latest: all
// workers create the same ones, whatever each of them sees in its first
// listing. KCL workers make theirs by themselves.
func (w *Worker) first(ctx context.Context, e *epoch, shards []checkpoint.Shard, leases []checkpoint.Lease,
	initial checkpoint.Position, tip bool) (map[string]checkpoint.Position, error) {
	if !e.config.Initial.latest || e.again || w.shared || e.first != nil {
		return e.first, nil
	}
	proposal := make(map[string]checkpoint.Position)
	if len(leases) == 0 {
		create, _ := checkpoint.Audit(shards, nil, initial, tip, nil)
		for _, l := range create {
			proposal[l.Shard] = l.Checkpoint
		}
	}
	first, err := w.store.First(ctx, e.id(), proposal)
	if err == nil && (first != nil || len(leases) > 0) {
		if e.first = first; first == nil {
			e.first = map[string]checkpoint.Position{} // the leases are older than this rule, or not ours
		}
	}
	return first, err
}

// createAtOnce bounds the leases that one source creates at a time: a stream of
// hundreds of shards is read within seconds, and its table is not flooded.
const createAtOnce = 16

// createAll creates leases, ancestors first: none before those of its parents.
func (w *Worker) createAll(ctx context.Context, e *epoch, create []checkpoint.Lease) error {
	for len(create) > 0 {
		waiting := make(map[string]bool, len(create))
		for _, l := range create {
			waiting[l.Shard] = true
		}
		var now, later []checkpoint.Lease
		for _, l := range create {
			if slices.ContainsFunc(l.Parents, func(id string) bool { return waiting[id] }) {
				later = append(later, l)
			} else {
				now = append(now, l)
			}
		}
		if len(now) == 0 { // a circle: no service lists one
			now, later = later, nil
		}
		var g errgroup.Group
		g.SetLimit(createAtOnce)
		for _, l := range now {
			g.Go(func() error {
				l.Stream = e.id()
				l.Key = e.leaseKey(l.Shard)
				l.Checkpoint = w.sentinel(e.source, l.Checkpoint)
				err := w.store.Create(ctx, l)
				switch {
				case errors.Is(err, checkpoint.ErrExists):
					return nil
				case err != nil:
					return fmt.Errorf("create lease %s: %w", l.Key, err)
				}
				e.logger.Info("lease created", zap.String("shard", l.Shard), zap.Stringer("position", l.Checkpoint))
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
		create = later
	}
	return nil
}

// begin says where shards without leases begin, for checkpoint.Audit. Latest is
// the service's own time at first sight, less a margin for the seconds of its
// date and for clocks that differ between its hosts. What a first try could
// not create begins there too; by then a closed shard may hold something
// newer, so that this listing is no longer the tip. A stream that was made
// again has nothing that is older than the application: it begins at its
// beginning.
func (e *epoch) begin(now time.Time, leased bool) (initial checkpoint.Position, tip bool) {
	if e.config.Initial.latest && e.again {
		return checkpoint.TrimHorizon, false
	}
	tip = e.config.Initial.latest && (e.pinned.IsZero() || leased)
	if e.pinned.IsZero() {
		e.pinned = now.Add(-latestMargin)
	}
	return e.retention().since(e.config.Initial).position(checkpoint.At(e.pinned)), tip
}

const latestMargin = 5 * time.Second
