package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.uber.org/zap"

	"github.com/shardline/shardline/checkpoint"
)

// holes are the parts of the hash key space that nobody reads.
type holes struct {
	ranges []checkpoint.HashRange
	audits int // in a row that found these
}

// enoughAudits is how often the same holes have to be found: a reshard leaves
// some for a moment, while the listing is older than the leases.
const enoughAudits = 3

// closeHoles looks for holes after an audit. Those that stay are said, and closed
// by leases at the horizon: rather repeated than skipped. On a table that is
// shared with KCL workers they are only said: those close holes in their own
// way.
func (w *Worker) closeHoles(ctx context.Context, e *epoch, shards []checkpoint.Shard, leases []checkpoint.Lease) error {
	found := checkpoint.Holes(shards, leases)
	if !slices.Equal(found, e.holes.ranges) {
		if e.holes.audits >= enoughAudits && len(found) == 0 {
			e.logger.Info("every hash key is covered again")
		}
		e.holes = holes{ranges: found}
	}
	e.holes.audits++
	if len(found) == 0 || e.holes.audits < enoughAudits {
		w.metrics.holes.WithLabelValues(e.name).Set(0)
		return nil
	}
	w.metrics.holes.WithLabelValues(e.name).Set(float64(len(found)))
	if e.holes.audits == enoughAudits {
		e.logger.Error("records are not read: no lease covers a part of the hash key space, and no lineage explains it",
			zap.String("from", found[0].From), zap.String("to", found[0].To), zap.Int("holes", len(found)))
	}
	if w.shared {
		return nil
	}
	create, reset := checkpoint.Heal(shards, leases, found)
	for _, l := range reset {
		if !w.holder.Free(l) {
			continue
		}
		if err := w.store.Delete(ctx, l); err != nil && !errors.Is(err, checkpoint.ErrConflict) && !errors.Is(err, checkpoint.ErrNotFound) {
			return fmt.Errorf("delete lease %s: %w", l.Key, err)
		}
		e.logger.Error("lease removed that was at SHARD_END although its shard is open", zap.String("shard", l.Shard))
	}
	if err := w.createAll(ctx, e, create); err != nil {
		return err
	}
	w.holder.Scan()
	return nil
}
