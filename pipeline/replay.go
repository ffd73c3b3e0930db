package pipeline

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/shardline/shardline/checkpoint"
)

// step takes the steps of replays and removals whose time has come (the model's
// SetPositions, Recreate and Resume). Every worker tries: whoever is first
// writes, so that a command outlives whoever gave it.
func (w *Worker) step(ctx context.Context, d checkpoint.Desired) {
	var mine []string
	for _, s := range w.sources {
		if e := s.current(); e != nil {
			mine = append(mine, e.id())
		}
	}
	// What an old scan says of a lease stays true: it can only be too careful.
	// It may lack a lease, which counts.
	scan := slices.Collect(maps.Values(w.holder.Snapshot()))
	if d.Step(scan, mine, time.Now()).Version == d.Version {
		return
	}
	if err := w.stepNow(ctx, d); err != nil && ctx.Err() == nil && !errors.Is(err, checkpoint.ErrConflict) {
		w.logger.Warn("a step of a command: trying again", zap.Error(err))
	}
}

func (w *Worker) stepNow(ctx context.Context, d checkpoint.Desired) error {
	leases, err := w.store.ListNow(ctx)
	if err != nil {
		return fmt.Errorf("list the leases: %w", err)
	}
	var made []string
	for _, s := range w.sources {
		e := s.current()
		if e == nil {
			continue
		}
		ours := slices.DeleteFunc(slices.Clone(leases), func(l checkpoint.Lease) bool { return !e.owns(l) })
		complete, err := w.makeAgain(ctx, e, d, ours)
		if err != nil {
			return err
		}
		if complete {
			made = append(made, e.id())
		}
	}
	next := d.Step(leases, made, time.Now())
	if next.Version == d.Version {
		return nil
	}
	if err := w.store.SetDesired(ctx, d.Version, next); err != nil {
		return err
	}
	for name, before := range d.Destinations {
		switch after := next.Wish(name); {
		case before.Replay != nil && after.Replay == nil:
			w.logger.Info("replay: every position is set; the destination goes on", zap.String("destination", name), zap.String("id", before.Replay.Command))
		case before.Replay != nil && before.Replay.Set == 0 && after.Replay.Set > 0:
			w.logger.Info("replay: the destination is paused on every shard; its positions are set now", zap.String("destination", name), zap.String("id", before.Replay.Command))
		case before.Removal != nil && !before.Removal.Leaving() && after.Removal.Leaving():
			w.logger.Info("removal: the destination has stopped on every shard; it leaves the rosters now", zap.String("destination", name), zap.String("id", before.Removal.Command))
		case before.Removal != nil && after.Removal == nil:
			w.logger.Info("the destination was removed from every roster", zap.String("destination", name), zap.String("id", before.Removal.Command))
		}
	}
	return nil
}

// makeAgain makes the leases again that replays need of a stream and that were
// removed. It says true when there was none to make.
func (w *Worker) makeAgain(ctx context.Context, e *epoch, d checkpoint.Desired, leases []checkpoint.Lease) (bool, error) {
	var shards []checkpoint.Shard
	var again []checkpoint.Lease // each with everybody who is replayed
	for name, wish := range d.Destinations {
		r := wish.Replay
		if r == nil || r.Set == 0 || slices.Contains(r.Streams, e.id()) {
			continue
		}
		if shards == nil {
			var err error
			if shards, err = e.shards(ctx); err != nil {
				return false, err
			}
		}
		for _, l := range checkpoint.Again(shards, leases, name, r) {
			l.Stream, l.Key = e.id(), e.leaseKey(l.Shard)
			at, touched := r.Where(l.Key)
			if !touched {
				continue
			}
			i := slices.IndexFunc(again, func(x checkpoint.Lease) bool { return x.Key == l.Key })
			if i < 0 {
				i, l.Behind = len(again), make(map[string]checkpoint.Entry)
				again = append(again, l)
			}
			again[i].Behind[name] = checkpoint.Entry{At: at}
			again[i].Acknowledged = max(again[i].Acknowledged, l.Acknowledged)
		}
	}
	for _, l := range again {
		l.Roster = slices.DeleteFunc(l.Roster, func(name string) bool { return d.Wish(name).Removal != nil })
		if err := w.store.Create(ctx, l); err != nil && !errors.Is(err, checkpoint.ErrExists) {
			return false, fmt.Errorf("create lease %s again: %w", l.Key, err)
		}
		e.logger.Info("lease made again for a replay", zap.String("shard", l.Shard),
			zap.Strings("destinations", slices.Sorted(maps.Keys(l.Behind))))
	}
	if len(again) > 0 {
		w.holder.Scan()
	}
	return len(again) == 0, nil
}

// lower is the smaller of two positions: whoever stands there has every record
// before it that it does not have from both. A time and a sequence number are
// compared by the arrival of the first record at the number. reader reads the shard
// from a position on.
func lower(ctx context.Context, a, b checkpoint.Position, reader func(from checkpoint.Position) Reader) (checkpoint.Position, error) {
	ta, timedA := a.Time()
	tb, timedB := b.Time()
	switch {
	case a == b, b == checkpoint.ShardEnd:
		return a, nil
	case a == checkpoint.ShardEnd:
		return b, nil
	case a == checkpoint.TrimHorizon, b == checkpoint.TrimHorizon:
		return checkpoint.TrimHorizon, nil
	case timedA && timedB && tb.Before(ta):
		return b, nil
	case timedA && timedB:
		return a, nil
	case timedA && b.IsNumber():
		return lowerOf(ctx, b, a, ta, reader)
	case timedB && a.IsNumber():
		return lowerOf(ctx, a, b, tb, reader)
	}
	return checkpoint.Lowest(a, b), nil
}

// lowerTimeout bounds the reading of one record. What it was for is tried again.
const lowerTimeout = 15 * time.Second

// lowerOf compares a number with a time, by the first record that comes: the
// number's own, or the one behind it. When it arrived at the time or later, so
// did all that is not settled, and the time covers no more than the number.
// When the number's own record was trimmed the number stays, so that the gap is
// seen.
func lowerOf(ctx context.Context, number, time checkpoint.Position, t time.Time, reader func(from checkpoint.Position) Reader) (checkpoint.Position, error) {
	ctx, cancel := context.WithTimeout(ctx, lowerTimeout)
	defer cancel()
	r := reader(number)
	defer r.Close()
	for {
		if err := r.Wait(ctx); err != nil {
			return number, fmt.Errorf("read the record at %s: %w", number, context.Cause(ctx))
		}
		batch, err := r.Read(ctx)
		switch {
		case ctx.Err() != nil:
			return number, fmt.Errorf("read the record at %s: %w", number, context.Cause(ctx))
		case errors.Is(err, ErrShardGone):
			return number, nil
		case err != nil: // Wait backs off
		case batch.Gap != nil:
			return number, nil
		case len(batch.Records) > 0 && !batch.Records[0].Arrival.Before(t):
			return time, nil
		case len(batch.Records) > 0:
			return number, nil
		case batch.End, batch.Tip:
			return time, nil // there is nothing behind the number
		}
	}
}

// CommandOf is the id of the command that delivers a record again; empty: none
// does.
func (s *ShardInfo) CommandOf(r *Record) string {
	if !s.Until.IsZero() && !r.Arrival.Before(s.Until) {
		return "" // it came later
	}
	return s.Command
}
