package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/shardline/shardline/checkpoint"
)

// These end a tenure that began before its time.
var (
	errParentUnfinished = errors.New("a parent shard is not finished")
	errParentBehind     = errors.New("somebody is behind on a parent shard")
)

// shard serves one lease through one tenure. Three goroutines work on it: one
// reads the stream into the shard log, one catches up, and one watches the
// lease, the gates and the commands. The lease's own reads the positions beside
// them.
type shard struct {
	worker *Worker
	source *epoch
	tenure *checkpoint.Tenure
	logger *zap.Logger
	closed func() // the shard is no longer read here; once
	orders orders
	fallen chan struct{} // capacity 1: for catch-up: a member has changed
	joined chan struct{} // capacity 1: for the reading: likewise
	lefts  chan struct{} // capacity 1: for watch: a member that was leaving has left

	enlisted []*subscriptions // whose subscribers may be members, the present ones last; owned by run, and by watch while that runs
	leaving  sync.WaitGroup   // the members that leave while the shard is served

	stale    stale     // owned by the reading
	patience patience  // likewise
	drainBy  time.Time // when what drains is given up; of the watch, then of the drain

	mu         sync.Mutex
	plan       plan
	members    []*member
	log        *Log // the shard log; nil: the shard is at its end
	checkpoint checkpoint.Position
	final      bool                             // the shard is at its end, and the leases of its children exist
	atEnd      bool                             // the live members have settled it to its end: nobody joins them any more
	ahead      bool                             // the worker drains: save the greatest position
	frozen     *checkpoint.Saved                // before and after: nothing moves
	reported   []Gap                            // those that are durable
	letters    map[checkpoint.Position]struct{} // unreadable records that are
	pins       []*cluster                       // those that hold the log's tail for members who are about to join
	pinAfter   time.Time                        // not before this does a cluster
	lacking    map[string]time.Time             // when the first record arrived that those who have left had not settled, at the earliest
}

// serve reads a shard for the worker's subscribers until it is at its end,
// the lease is to be given up, or the tenure is lost.
func (w *Worker) serve(ctx context.Context, t *checkpoint.Tenure) error {
	lease := t.Lease()
	src := w.epochOf(lease)
	if src == nil {
		return fmt.Errorf("lease %s: its source is not known (yet)", lease.Key)
	}
	s := &shard{worker: w, source: src, tenure: t, frozen: &lease.Saved, checkpoint: lease.Checkpoint,
		fallen: make(chan struct{}, 1), joined: make(chan struct{}, 1), lefts: make(chan struct{}, 1),
		logger: w.logger.With(zap.String("source", src.name), zap.String("shard", lease.Shard))}
	s.orders = newOrders(lease.Acknowledged)
	t.Positions(s.obeying)
	defer w.metrics.serve(src.name, lease.Shard, s)()
	s.closed = sync.OnceFunc(func() { src.closed(lease.Shard) })
	defer s.closed()

	// No lane starts before what was commanded until the take is known.
	if _, err := w.desired.fresh(ctx); err != nil {
		return err
	}
	defer w.desired.watch(&s.orders)()
	saved, err := w.resolved(ctx, src.source, lease.Saved)
	if err != nil {
		return err
	}
	parents, err := w.parents(ctx, src, lease)
	if err != nil {
		return err
	}
	return s.run(ctx, lease, saved, parents)
}

// parents reads the leases of a lease's parents that still exist.
func (w *Worker) parents(ctx context.Context, src *epoch, lease checkpoint.Lease) ([]checkpoint.Lease, error) {
	var parents []checkpoint.Lease
	var without []string
	for _, id := range lease.Parents {
		p, err := w.store.Get(ctx, src.leaseKey(id))
		if errors.Is(err, checkpoint.ErrNotFound) {
			without = append(without, id)
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read parent lease of %s: %w", lease.Key, err)
		}
		if !p.Finished() {
			return nil, fmt.Errorf("lease %s: %w: %s", lease.Key, errParentUnfinished, id)
		}
		parents = append(parents, p)
	}
	firstSight := lease.Checkpoint != checkpoint.TrimHorizon && len(parents) == 0 // its parents never had leases
	if len(without) == 0 || ordered(lease.Checkpoint) || firstSight {
		return parents, nil
	}
	// It has not begun: a parent's lease that is not there may have been lost.
	shards, err := src.shards(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for the parents of %s: %w", lease.Key, err)
	}
	if !slices.ContainsFunc(shards, func(x checkpoint.Shard) bool { return slices.Contains(without, x.ID) }) {
		return parents, nil // trimmed; the table need not be scanned
	}
	leases, err := w.leasesOf(ctx, src)
	if err != nil {
		return nil, err
	}
	if unread := checkpoint.Unread(without, shards, leases); len(unread) > 0 {
		return nil, fmt.Errorf("lease %s: %w: %s has no lease, and gets one", lease.Key, errParentUnfinished, unread[0])
	}
	return parents, nil
}

// saved computes the saved form of now.
func (s *shard) saved() checkpoint.Saved {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.frozen != nil {
		return *s.frozen
	}
	saved := s.plan.form(s.checkpoint, s.stand(), s.ahead)
	s.checkpoint = saved.Checkpoint
	return saved
}

// run serves the members until the shard is at its end for everybody, the lease is
// to be given up, or the tenure is lost.
func (s *shard) run(ctx context.Context, lease checkpoint.Lease, saved checkpoint.Saved, parents []checkpoint.Lease) error {
	s.enlisted = []*subscriptions{s.source.enlist()}
	defer func() {
		for _, subs := range s.enlisted {
			s.source.delist(subs)
		}
	}()
	p := makePlan(saved, parents, s.newcomers(), s.worker.shared)
	s.withoutLeaving(&p)
	if saved.Checkpoint != lease.Checkpoint && !ordered(saved.Checkpoint) { // it was resolved
		p.save = true
	}
	if p.shared {
		if s.subs().anyOf(p.held) {
			return fmt.Errorf("lease %s: %w", lease.Key, errParentBehind)
		}
		if len(p.left) > 0 {
			s.logger.Warn("leases.shared_with_kcl: the checkpoint goes on without subscribers that are not configured any more",
				zap.Strings("subscribers", p.left))
		}
	}
	s.begin(p, parents)
	if p.save {
		if err := s.save(ctx); err != nil {
			return fmt.Errorf("save the roster of %s: %w", lease.Key, err)
		}
		s.rosterSaved()
	}

	attempts, cancelAttempts := context.WithCancelCause(ctx)
	defer cancelAttempts(nil)
	s.attach(attempts)
	working, stop := context.WithCancelCause(ctx)
	var beside sync.WaitGroup
	beside.Go(func() { stop(s.watch(working, attempts, lease)) })
	beside.Go(func() { (&catchUp{s: s}).run(working) })
	err := s.read(working, lease)
	stop(nil)
	beside.Wait()
	if errors.Is(err, errReplaced) && ctx.Err() == nil {
		err = s.outlive(ctx)
	}
	if errors.Is(err, errDraining) && ctx.Err() == nil {
		s.drain(ctx, cancelAttempts)
	} else if err != nil {
		cancelAttempts(err)
	}
	s.leaving.Wait()
	s.detach()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, errDraining):
		return nil
	}
	return err
}

// begin makes the members of a plan. Those that have settled what the checkpoint
// says read the shard log, the others are behind.
func (s *shard) begin(p plan, parents []checkpoint.Lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plan, s.members, s.checkpoint, s.frozen = p, nil, p.taken, nil
	s.log, s.atEnd, s.ahead, s.pins, s.stale, s.drainBy = nil, false, false, nil, stale{}, time.Time{}
	if s.final = p.taken == checkpoint.ShardEnd; !s.final {
		s.log = s.newLog(p.taken)
	}
	for _, d := range s.subs().subscribers {
		m := &member{sub: d}
		entry, starts := p.starts[d.Name()]
		if s.orders.stopped(d.Name()) { // it keeps its place
			if starts {
				p.absent[d.Name()] = entry
				delete(p.starts, d.Name())
			}
			continue
		}
		if _, shut := p.held[d.Name()]; !starts && !shut {
			continue // it is through
		}
		s.members = append(s.members, m)
		if !starts {
			continue
		}
		s.admit(m, entry, heldKeys(d.Name(), parents))
		switch {
		case entry.At == checkpoint.ShardEnd:
			m.state = ended
		case s.log != nil && p.reached(d.Name(), entry.At, p.taken):
			s.join(m)
		}
	}
}

// attach gives the members' cursors to their subscribers.
func (s *shard) attach(attempts context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.members {
		if m.state != held {
			m.sub.Attach(attempts, m.cursor)
		}
	}
}

// detach ends everything, and keeps what it has come to.
func (s *shard) detach() {
	s.mu.Lock()
	members := slices.DeleteFunc(slices.Clone(s.members), func(m *member) bool { return m.state == held })
	s.remember(members)
	s.mu.Unlock()
	for _, m := range members {
		m.sub.Detach(m.cursor)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range members {
		m.cursor.Left(Main) // what is settled ahead of its position is said by key
		m.cursor.Left(Side)
	}
	saved := s.plan.form(s.checkpoint, s.stand(), s.ahead)
	s.frozen = &saved
	for _, m := range members {
		m.cursor.release()
	}
	if s.log != nil {
		s.worker.budget.release(s.log.bytes)
		s.log.seen.close()
	}
}

// newLog makes a log of the shard's.
func (s *shard) newLog(origin checkpoint.Position) *Log {
	l := newLog(origin)
	l.seen = s.source.newSeen(s.logger)
	return l
}

// drainAll waits until the members have finished what they have begun.
func (s *shard) drainAll(ctx context.Context, members []*member, cancelAttempts context.CancelCauseFunc) {
	if s.drainBy.IsZero() {
		s.drainBy = time.Now().Add(s.worker.drainTimeout)
	}
	ctx, cancel := context.WithDeadline(ctx, s.drainBy)
	defer cancel()
	var all sync.WaitGroup
	for _, m := range members {
		all.Go(func() {
			if m.gone != nil {
				select {
				case <-m.gone:
				case <-ctx.Done():
				}
				return
			}
			if err := m.sub.Drain(ctx, m.cursor); err != nil {
				s.logger.Warn("drain given up: some records will be delivered again",
					zap.String("destination", m.name()), zap.Error(err))
			}
		})
	}
	all.Wait()
	if ctx.Err() != nil {
		cancelAttempts(context.Cause(ctx))
	}
}

func (s *shard) info() ShardInfo {
	return ShardInfo{Source: s.source.name, Stream: s.source.stream, Shard: s.tenure.Lease().Shard}
}

// wake wakes the live members.
func (s *shard) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.members {
		if m.state == live {
			m.sub.Wake(m.cursor)
		}
	}
}

// sleep says false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
