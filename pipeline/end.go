package pipeline

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/shardline/shardline/checkpoint"
)

// finish waits until everybody has settled the shard to its end, creates the
// leases of its children, and only then saves SHARD_END: KCL's order, without
// which the children would be stranded.
func (s *shard) finish(ctx context.Context, log *Log, lease checkpoint.Lease, children []checkpoint.Shard) error {
	if err := s.worker.budget.settled(ctx, log); err != nil {
		return err
	}
	if !lease.Finished() {
		if err := s.createChildren(ctx, lease, children); err != nil {
			return err
		}
	}
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	if err := s.save(ctx); err != nil {
		return fmt.Errorf("save the end of %s: %w", lease.Key, err)
	}
	s.logger.Info("shard finished", zap.Int("children", len(children)))
	return nil
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
func (s *shard) gone(ctx context.Context, log *Log, lease checkpoint.Lease, p plan) (Batch, error) {
	shards, err := s.source.shards(ctx)
	if err != nil {
		return Batch{}, err
	}
	batch := Batch{End: true, Gap: &Gap{From: p.from()}}
	if last := log.head; last.Index > 0 {
		batch.Gap.From, batch.Gap.Since = last.Position, last.Arrival
	}
	for _, c := range shards {
		for _, parent := range c.Parents {
			if parent == lease.Shard {
				batch.Children = append(batch.Children, c)
			}
		}
	}
	return batch, nil
}
