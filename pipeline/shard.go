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

// shard serves one lease through one tenure. It is owned by serve; the lease's
// own goroutine reads the positions beside it.
type shard struct {
	worker *Worker
	source *epoch
	tenure *checkpoint.Tenure
	logger *zap.Logger

	reported *Gap   // owned by serve: the last gap, once it is durable
	closed   func() // the shard is no longer read here; once
	orders   orders

	mu      sync.Mutex
	plan    plan
	cursors []*Cursor         // of the subscribers in plan.starts, in step with served
	served  []Subscriber      // owned by serve
	ended   bool              // every cursor has settled the shard to its end
	ahead   bool              // the worker drained: save the greatest position
	frozen  *checkpoint.Saved // between two plans: nothing moves
}

// serve reads a shard for the worker's subscribers until it is at its end,
// the lease is to be given up, or the tenure is lost.
func (w *Worker) serve(ctx context.Context, t *checkpoint.Tenure) error {
	lease := t.Lease()
	src := w.epochOf(lease)
	if src == nil {
		return fmt.Errorf("lease %s: its source is not known (yet)", lease.Key)
	}
	s := &shard{worker: w, source: src, tenure: t, frozen: &lease.Saved,
		logger: w.logger.With(zap.String("source", src.name), zap.String("shard", lease.Shard))}
	s.orders = newOrders(lease.Acknowledged)
	t.Positions(s.obeying)
	defer w.metrics.serve(src.name, lease.Shard, t)()
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
	for {
		parents, err := w.parents(ctx, src, lease)
		if err != nil {
			return err
		}
		if saved, err = s.comply(ctx, lease, saved); err != nil {
			return err
		}
		again, err := s.run(ctx, lease, saved, parents)
		if err != nil || !again {
			return err
		}
		saved = s.saved()
	}
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
	return s.plan.form(s.live(), s.ahead)
}

// live is where the served subscribers stand. s.mu is held.
func (s *shard) live() map[string]checkpoint.Entry {
	live := make(map[string]checkpoint.Entry, len(s.cursors))
	for i, c := range s.cursors {
		e := c.place()
		if s.ended {
			e = checkpoint.Entry{At: checkpoint.ShardEnd}
		}
		live[s.served[i].Name()] = e
	}
	return live
}

// run serves one plan. It says true when the plan is out of date because a
// gate opened: then nothing is in flight, and saved says where everybody is.
func (s *shard) run(ctx context.Context, lease checkpoint.Lease, saved checkpoint.Saved, parents []checkpoint.Lease) (bool, error) {
	p, stopped := makePlan(saved, parents, s.newcomers(), s.worker.shared), s.stoppedNames()
	for name := range stopped {
		if entry, starts := p.starts[name]; starts { // it keeps its place
			p.absent[name] = entry
			delete(p.starts, name)
		}
	}
	s.forget(&p)
	if saved.Checkpoint != lease.Checkpoint && !ordered(saved.Checkpoint) { // it was resolved
		p.save = true
	}
	if p.shared {
		if s.source.anyOf(p.held) {
			return false, fmt.Errorf("lease %s: %w", lease.Key, errParentBehind)
		}
		if len(p.left) > 0 {
			s.logger.Warn("leases.shared_with_kcl: the checkpoint goes on without subscribers that are not configured any more",
				zap.Strings("subscribers", p.left))
		}
	}
	log := newLog(p.from())
	log.seen = s.source.newSeen(s.logger)
	defer log.seen.close()
	s.begin(p, log)
	if p.save {
		if err := s.save(ctx); err != nil {
			return false, fmt.Errorf("save the roster of %s: %w", lease.Key, err)
		}
	}

	attempts, cancelAttempts := context.WithCancelCause(ctx)
	defer cancelAttempts(nil)
	for i, d := range s.served {
		d.Attach(attempts, s.cursors[i])
	}
	reading, stopReading := context.WithCancelCause(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { stopReading(s.stopReason(reading, lease, p, stopped)) })

	err := s.read(reading, log, lease, p, stopped)
	stopReading(nil)
	watch.Wait()
	if errors.Is(err, errReplaced) && ctx.Err() == nil {
		err = s.outlive(ctx, log)
	}
	if err != nil && ctx.Err() == nil && (errors.Is(err, errDraining) || errors.Is(err, errGateOpened)) {
		s.drain(ctx, cancelAttempts)
	} else if err != nil {
		cancelAttempts(err)
	}
	for i, d := range s.served {
		d.Detach(s.cursors[i])
	}
	s.freeze()
	s.worker.budget.release(log.bytes)
	switch {
	case ctx.Err() != nil:
		return false, context.Cause(ctx)
	case errors.Is(err, errGateOpened):
		return true, nil
	case err == nil, errors.Is(err, errDraining):
		return false, nil
	}
	return false, err
}

// begin makes the cursors of a plan.
func (s *shard) begin(p plan, log *Log) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plan, s.cursors, s.served, s.frozen = p, nil, nil, nil
	s.ended, s.ahead = false, false
	for _, d := range s.source.subscribers {
		if start, ok := p.starts[d.Name()]; ok {
			c := newCursor(s.infoOf(d.Name()), start, s.tenure.Valid)
			c.put(Main, log.begin(), nil)
			s.cursors = append(s.cursors, c)
			s.served = append(s.served, d)
		}
	}
}

// freeze keeps what the plan has come to.
func (s *shard) freeze() {
	s.mu.Lock()
	defer s.mu.Unlock()
	saved := s.plan.form(s.live(), s.ahead)
	s.frozen = &saved
}

// drain lets every subscriber finish what it has begun, for as long as the
// drain time-out allows; then the attempts in flight are cancelled.
func (s *shard) drain(ctx context.Context, cancelAttempts context.CancelCauseFunc) {
	s.mu.Lock()
	s.ahead = true
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, s.worker.drainTimeout)
	defer cancel()
	var all sync.WaitGroup
	for i, d := range s.served {
		all.Go(func() {
			if err := d.Drain(ctx, s.cursors[i]); err != nil {
				s.logger.Warn("drain given up: some records will be delivered again",
					zap.String("destination", d.Name()), zap.Error(err))
			}
		})
	}
	all.Wait()
	if ctx.Err() != nil {
		cancelAttempts(context.Cause(ctx))
	}
}

// read appends the shard's records to the log until the shard's end is
// settled and saved (nil), a record can neither be read nor dead-lettered, or
// ctx ends.
func (s *shard) read(ctx context.Context, log *Log, lease checkpoint.Lease, p plan, stopped map[string]bool) error {
	if len(p.starts) == 0 {
		if lease.Finished() && !s.source.anyOf(p.held) && len(stopped) == 0 {
			return nil
		}
		<-ctx.Done()
		return context.Cause(ctx)
	}
	w := s.worker
	reader := s.source.config.Source.Reader(checkpoint.Shard{ID: lease.Shard, HashFrom: lease.HashFrom, HashTo: lease.HashTo}, p.from())
	defer reader.Close()
	unproven := p.unproven()
	for {
		if err := reader.Wait(ctx); err != nil {
			return context.Cause(ctx)
		}
		if err := w.budget.reserve(ctx, log, readBytes); err != nil {
			return err
		}
		if !s.tenure.Valid() { // the process stood still: a new owner's subscription is not to be taken from it
			w.budget.release(readBytes)
			return context.Cause(ctx)
		}
		before := log.bytes
		batch, err := reader.Read(ctx)
		if errors.Is(err, ErrShardGone) {
			batch, err = s.gone(ctx, log, lease, p)
		}
		var unkept error
		if err == nil && !batch.Continues {
			unkept = s.same(ctx)
		}
		if err == nil && unkept == nil && batch.Gap == nil {
			batch.Gap = unproven.gap(batch, s.source.source)
		}
		if err == nil && unkept == nil && batch.Gap != nil {
			unkept = s.gap(ctx, p, *batch.Gap)
		}
		if err == nil && unkept == nil {
			unkept = s.append(ctx, log, batch.Records)
		}
		w.budget.release(readBytes - (log.bytes - before))
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if unkept != nil { // the next read would begin behind what was not appended
			return unkept
		}
		s.source.read(lease.Shard, err)
		if err != nil || !batch.End {
			continue
		}
		return s.finish(ctx, log, lease, batch.Children)
	}
}

// wakeEvery is how many records are appended before the subscribers are woken.
const wakeEvery = 64

// append describes records, appends them, and wakes the subscribers. After an
// error the record that it is about, and those behind it, are not appended.
func (s *shard) append(ctx context.Context, log *Log, records []Record) error {
	info := s.info()
	for i := range records {
		r := &records[i]
		skipped := false
		var err error
		if r.Blank {
			skipped = true
		} else if r.Description, err = s.source.config.Describe(r.PartitionKey, r.Data); err != nil {
			s.wake() // what is before it does not wait for its dead letter
			if err := s.source.unreadable(ctx, s, *r, err); err != nil {
				return err
			}
			skipped = true
		} else if r.Fallback != "" {
			s.worker.metrics.keyless.WithLabelValues(s.source.name, r.Fallback).Inc()
		}
		if !skipped {
			r.Identity = info.Identity(r.Position)
		}
		log.append(*r, skipped)
		s.tenure.Appended(int64(len(r.Data)))
		if (i+1)%wakeEvery == 0 || i+1 == len(records) {
			s.wake()
		}
	}
	return nil
}

func (s *shard) info() ShardInfo {
	return ShardInfo{Source: s.source.name, Stream: s.source.stream, Shard: s.tenure.Lease().Shard}
}

// wake wakes the subscribers.
func (s *shard) wake() {
	for i, d := range s.served {
		d.Wake(s.cursors[i])
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
