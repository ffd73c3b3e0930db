package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/shardline/shardline/checkpoint"
)

// finish waits until the live members have settled the shard to its end,
// creates the leases of its children, and only then saves SHARD_END: KCL's
// order, without which the children would be stranded. Entries of those who are
// behind stay on the lease.
func (s *shard) finish(ctx context.Context, log *Log, lease checkpoint.Lease, children []checkpoint.Shard) error {
	if err := s.toEnd(ctx, log); err != nil {
		return err
	}
	if err := s.createChildren(ctx, lease, children); err != nil {
		return err
	}
	s.mu.Lock()
	for _, m := range s.of(live) {
		m.sub.Leave(m.cursor, Main)
		m.cursor.finish()
		m.state = ended
	}
	s.final, s.log, s.checkpoint = true, nil, checkpoint.ShardEnd
	log.seen.close()
	s.worker.budget.release(log.free())
	s.mu.Unlock()
	if err := s.save(ctx); err != nil {
		return fmt.Errorf("save the end of %s: %w", lease.Key, err)
	}
	s.logger.Info("shard finished", zap.Int("children", len(children)))
	s.signal()
	return nil
}

// laggardsAtEnd is for how long the first at a shard's end waits for the others.
const laggardsAtEnd = time.Second

// toEnd waits until the live members have settled what was appended. One second
// after the first of them, the others leave. On a table that is shared with KCL
// workers everybody is waited for.
func (s *shard) toEnd(ctx context.Context, log *Log) error {
	var since time.Time // when the first was through
	for {
		s.worker.budget.release(log.free())
		all, first := s.endOf(log, !since.IsZero() && time.Since(since) >= laggardsAtEnd)
		if all {
			return nil
		}
		if first && since.IsZero() {
			since = time.Now()
		}
		if !s.anyLive() {
			if err := s.base(ctx); err != nil {
				return err
			}
			return errNobodyLive
		}
		log.blocked.Store(false)
		if !log.wait(ctx, nil, time.After(relieveEvery)) {
			return context.Cause(ctx)
		}
	}
}

// endOf says whether all live members, of whom there is one, are through with
// the log, and whether one is. Those who are not make way when it is time.
func (s *shard) endOf(log *Log, now bool) (all, first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now && !s.worker.shared {
		s.unpin(time.Now())
		s.makeWay(log.head.Index, len(log.byKey), time.Now())
	}
	all = len(s.pins) == 0
	for _, m := range s.of(live) {
		if m.cursor.through() == log.head.Index {
			first = true
		} else {
			all = false
		}
	}
	if s.worker.shared && slices.ContainsFunc(s.members, func(m *member) bool { return m.state != live || m.cursor.Parked() > 0 }) {
		all = false
	}
	s.atEnd = all && first
	return s.atEnd, first
}

// endMember notes that a laggard has settled the shard to its end, which is the
// end of a log. It says false when the shard is not at its end, or the laggard not
// on that log any more.
func (s *shard) endMember(m *member, l *Log) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.final || m.state != behind || !m.cursor.on(Main, l) {
		return false
	}
	m.sub.Leave(m.cursor, Main)
	m.cursor.finish()
	m.state = ended
	s.signal()
	return true
}

// finished says whether the shard is at its end.
func (s *shard) finished() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.final
}

// save saves the positions. While the table refuses them but the lease is
// renewed, it tries again, until the lease is to be given up.
func (s *shard) save(ctx context.Context) error {
	for wait := time.Second; ; wait = min(2*wait, 30*time.Second) {
		err := s.tenure.Save(ctx)
		if !errors.Is(err, checkpoint.ErrNotSaved) && !errors.Is(err, checkpoint.ErrTooLarge) {
			return err
		}
		select {
		case <-time.After(wait):
		case <-s.tenure.Draining():
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// createChildren tries until the leases of all children exist. They begin at
// TRIM_HORIZON. When the shard held nothing newer than the time at which the
// source begins, its children may hold older records too: they begin at that
// time.
func (s *shard) createChildren(ctx context.Context, lease checkpoint.Lease, children []checkpoint.Shard) error {
	begin := checkpoint.TrimHorizon
	saved := s.saved().Checkpoint
	// KCL's children begin at TRIM_HORIZON whatever; and so it is when nothing older is left.
	if t, timed := saved.Time(); timed && !s.worker.shared && !t.Before(s.source.retention().horizon) {
		begin = saved
	}
	ids := make([]string, 0, len(children))
	for _, c := range children {
		ids = append(ids, c.ID)
	}
	for wait := time.Second; ; wait = min(2*wait, 30*time.Second) {
		err := s.worker.createLeases(ctx, s.source, children, begin)
		if err == nil && len(ids) > 0 {
			err = s.tenure.Children(ctx, ids)
		}
		if err == nil {
			return nil
		}
		if wait == time.Second {
			s.logger.Warn("create the leases of the children: trying again", zap.Error(err))
		}
		if !sleep(ctx, wait) {
			return context.Cause(ctx)
		}
	}
}

// gone is the end of a shard that the stream trimmed before it was read to its
// end: a gap, and the shards that continue it.
func (s *shard) gone(ctx context.Context, log *Log, lease checkpoint.Lease) (Batch, error) {
	shards, err := s.source.shards(ctx)
	if err != nil {
		return Batch{}, err
	}
	batch := Batch{End: true, Gap: &Gap{From: log.head.Position, Since: log.head.Arrival}}
	for _, c := range shards {
		if c.ID == lease.Shard && !c.Closed { // its children are not in it yet
			return Batch{}, fmt.Errorf("shard %s is gone, and a listing has it open: that one is old", lease.Shard)
		}
		for _, parent := range c.Parents {
			if parent == lease.Shard {
				batch.Children = append(batch.Children, c)
			}
		}
	}
	return batch, nil
}
