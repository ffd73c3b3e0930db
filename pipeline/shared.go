package pipeline

import (
	"context"
	"fmt"
	"time"

	"github.com/shardline/shardline/checkpoint"
)

// resolved replaces a sentinel that says no more than "as configured", which a
// KCL worker wrote: AT_TIMESTAMP is the source's own time, if it has one, and
// LATEST, which KCL looks at anew at every start, is pinned to now.
func (w *Worker) resolved(ctx context.Context, s *source, saved checkpoint.Saved) (checkpoint.Saved, error) {
	switch initial := s.config.Initial; {
	case saved.Checkpoint == checkpoint.Latest:
		_, now, err := s.config.Source.Shards(ctx)
		if err != nil {
			return saved, fmt.Errorf("ask for the time at the tip: %w", err)
		}
		saved.Checkpoint = checkpoint.LatestAt(now.Add(-latestMargin))
	case saved.Checkpoint == checkpoint.At(time.UnixMilli(0)) && !initial.time.IsZero():
		saved.Checkpoint = s.retention().since(initial).position(saved.Checkpoint)
	}
	saved.Checkpoint = w.sentinel(s, saved.Checkpoint)
	return saved, nil
}

// sentinel is a checkpoint as all workers of its table understand it: KCL
// workers have no instant but their own of AT_TIMESTAMP, if that is how they
// are configured, which is as Shardline is.
func (w *Worker) sentinel(s *source, at checkpoint.Position) checkpoint.Position {
	t, timed := at.Time()
	switch initial := s.config.Initial; {
	case !timed || !w.shared:
		return at
	case initial.latest:
		return checkpoint.LatestAt(t)
	case initial.time.IsZero():
		return checkpoint.TrimHorizon
	}
	return at
}
