package pipeline

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/shardline/shardline/checkpoint"
)

// Config is what a worker is made of.
type Config struct {
	ID        string // unique per process
	Store     checkpoint.Store
	Format    checkpoint.KeyFormat
	Failover  time.Duration
	MaxLeases int // 0: no limit
	// SharedWithKCL: KCL workers live on the lease table too. They serve nobody
	// who is behind a checkpoint, so nobody is put there.
	SharedWithKCL bool
	Sources       []SourceConfig
	Window        int64         // bytes of all shard logs
	DrainTimeout  time.Duration // for the attempts in flight when the worker stops
	Metrics       *Metrics
	LeaseMetrics  *checkpoint.Metrics
	Logger        *zap.Logger
	Clock         func() time.Duration // nil: a clock that runs through suspend
}

// Worker reads the shards whose leases it holds, and gives every record to
// the subscribers of its source.
type Worker struct {
	store        checkpoint.Store
	format       checkpoint.KeyFormat
	failover     time.Duration
	drainTimeout time.Duration
	shared       bool
	budget       *budget // of the shard logs
	catchUps     *budget // of the logs of catch-up
	room         *room   // of what lanes keep that no log has any more
	holder       *checkpoint.Holder
	desired      *desired
	sources      []*source
	metrics      *Metrics
	logger       *zap.Logger

	mu    sync.Mutex
	table error // of the lease table's last preparation or scan
}

var (
	errDraining = errors.New("the lease is to be given up")
	errNotYet   = errors.New("not reached yet")
)

// NewWorker wires a worker; it starts nothing.
func NewWorker(c Config) *Worker {
	w := &Worker{
		store: bounded{checkpoint.Measure(c.Store, c.LeaseMetrics), c.Failover / 2}, format: c.Format, failover: c.Failover, drainTimeout: c.DrainTimeout, shared: c.SharedWithKCL,
		budget: newBudget(c.Window), catchUps: newBudget(readBytes + max(c.Window/2, readAhead)), room: &room{limit: c.Window / 8}, metrics: c.Metrics, logger: c.Logger, table: errNotYet,
	}
	w.metrics.watch(w.budget, w.catchUps, w.room)
	w.desired = newDesired(w.store, c.Metrics, c.Logger)
	for _, s := range c.Sources {
		w.sources = append(w.sources, newSource(s, c.Format, c.Logger, c.Metrics))
	}
	w.desired.command(w.subscribers())
	w.holder = checkpoint.NewHolder(checkpoint.HolderConfig{
		Store: c.Store, Worker: c.ID, Failover: c.Failover, MaxLeases: c.MaxLeases, SharedWithKCL: c.SharedWithKCL,
		Wanted: w.wanted, Clock: c.Clock, Logger: c.Logger, Metrics: c.LeaseMetrics,
	})
	return w
}

// Run works until ctx ends: then it stops reading, drains, saves, releases
// its leases and returns nil. So it does when another process works under its
// id, and returns checkpoint.ErrSameWorker. Every goroutine has ended when it returns.
func (w *Worker) Run(ctx context.Context) error {
	if err := w.prepare(ctx); err != nil {
		return err
	}
	var discovery sync.WaitGroup
	discovering, stop := context.WithCancel(ctx)
	for _, s := range w.sources {
		discovery.Go(func() { w.discover(discovering, s) })
	}
	discovery.Go(func() { w.obey(discovering) })
	discovery.Go(func() { w.share(discovering) })
	err := w.holder.Run(ctx, w.serve)
	stop() // it may have ended by itself
	discovery.Wait()
	return err
}

// prepare waits for the lease table. A table of another shape is an error; an
// unreachable one is tried again.
func (w *Worker) prepare(ctx context.Context) error {
	for wait := time.Second; ; wait = min(2*wait, 30*time.Second) {
		err := w.store.Prepare(ctx)
		if err == nil || errors.Is(err, checkpoint.ErrForeign) {
			w.noteTable(err)
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
		w.noteTable(err)
		if wait == time.Second {
			w.logger.Error("lease table not reachable: trying again", zap.Error(err))
		}
		if !sleep(ctx, wait) {
			return nil
		}
	}
}

func (w *Worker) noteTable(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.table = err
}

// Ready says nil when the lease table is reachable.
func (w *Worker) Ready() error {
	w.mu.Lock()
	err := w.table
	w.mu.Unlock()
	if err != nil {
		return fmt.Errorf("lease table: %w", err)
	}
	if err := w.holder.Err(); err != nil {
		return fmt.Errorf("lease table: %w", err)
	}
	return nil
}

// Alive is an error when the worker is stuck and has to be restarted.
func (w *Worker) Alive() error { return w.holder.Alive() }

// Held is how many leases the worker holds.
func (w *Worker) Held() int { return w.holder.Held() }

// Sources says how each source is.
func (w *Worker) Sources() []SourceState {
	states := make([]SourceState, 0, len(w.sources))
	for _, s := range w.sources {
		s.mu.Lock()
		state := s.state
		s.mu.Unlock()
		state.Shards = w.metrics.shardsOf(s.name)
		states = append(states, state)
	}
	return states
}

// epochOf is the epoch that a lease belongs to; nil: none that is known.
func (w *Worker) epochOf(l checkpoint.Lease) *epoch {
	for _, s := range w.sources {
		if e := s.current(); e != nil && e.owns(l) {
			return e
		}
	}
	return nil
}

// wanted says whether this worker has something to do for a lease (the
// model's Take): a source of its own, finished parents, and for a finished
// shard somebody of its own who is behind, or whom the roster lacks.
func (w *Worker) wanted(l checkpoint.Lease, all map[string]checkpoint.Lease) bool {
	s := w.epochOf(l)
	if s == nil {
		return false
	}
	var parents []checkpoint.Lease
	for _, id := range l.Parents {
		if p, ok := all[s.leaseKey(id)]; ok {
			if !p.Finished() {
				return false
			}
			parents = append(parents, p)
		}
	}
	if w.desired.last().Needs(l) {
		return true
	}
	initials := s.subscribed().initials
	open := func(name string) bool { return gateOpen(name, parents, w.shared) }
	if !l.Finished() {
		// On a shared table a shard is read for everybody at once or not at all.
		return !w.shared || !slices.ContainsFunc(slices.Collect(maps.Keys(initials)), func(name string) bool { return !open(name) })
	}
	for name := range initials {
		if !open(name) {
			continue
		}
		if _, behind := l.Behind[name]; behind {
			return true
		}
		if !w.shared && len(l.Roster) > 0 && !slices.Contains(l.Roster, name) {
			return true
		}
	}
	return false
}

// leasesOf reads the leases of an epoch.
func (w *Worker) leasesOf(ctx context.Context, e *epoch) ([]checkpoint.Lease, error) {
	all, err := w.store.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the leases: %w", err)
	}
	return slices.DeleteFunc(all, func(l checkpoint.Lease) bool { return !e.owns(l) }), nil
}

// createLeases creates the leases of a finished shard's children. The other
// parent of a merged child must have a lease, or be trimmed from the stream,
// unless the child has its lease already: then there is nothing to wait for.
func (w *Worker) createLeases(ctx context.Context, s *epoch, children []checkpoint.Shard, begin checkpoint.Position) error {
	for _, c := range children {
		if _, err := w.store.Get(ctx, s.leaseKey(c.ID)); err == nil {
			continue
		} else if !errors.Is(err, checkpoint.ErrNotFound) {
			return err
		}
		for _, parent := range c.Parents {
			if err := w.parentKnown(ctx, s, c.ID, parent); err != nil {
				return err
			}
		}
		l := checkpoint.Lease{Key: s.leaseKey(c.ID), Stream: s.id(), Shard: c.ID,
			Saved: checkpoint.Saved{Checkpoint: begin}, Parents: c.Parents, HashFrom: c.HashFrom, HashTo: c.HashTo}
		if err := w.store.Create(ctx, l); err != nil && !errors.Is(err, checkpoint.ErrExists) {
			return fmt.Errorf("create lease %s: %w", l.Key, err)
		}
	}
	w.holder.Scan()
	return nil
}

// parentKnown says nil when a child's parent has a lease, or is trimmed from
// the stream: a listing that has the child, but not the parent. One that lacks
// both may be older than either.
func (w *Worker) parentKnown(ctx context.Context, s *epoch, child, parent string) error {
	_, err := w.store.Get(ctx, s.leaseKey(parent))
	if !errors.Is(err, checkpoint.ErrNotFound) {
		return err
	}
	shards, err := s.shards(ctx)
	if err != nil {
		return err
	}
	listed := func(id string) bool {
		return slices.ContainsFunc(shards, func(x checkpoint.Shard) bool { return x.ID == id })
	}
	switch {
	case listed(parent):
		return fmt.Errorf("parent shard %s has no lease yet", parent)
	case !listed(child):
		return fmt.Errorf("shard %s is not listed yet", child)
	}
	return nil
}
