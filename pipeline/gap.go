package pipeline

import (
	"context"
	"slices"

	"go.uber.org/zap"

	"github.com/shardline/shardline/checkpoint"
)

// gap reports records that the stream trimmed before they were read: once in a
// tenure by metric, log and, where the source has dead letters, a letter that
// is durable before anything behind the gap is appended.
func (s *shard) gap(ctx context.Context, places []checkpoint.Position, g Gap) error {
	if at, timed := g.From.Time(); timed && g.Since.IsZero() {
		g.Since = at
	}
	g.Certain = lost(places, s.plan.taken, g)
	s.mu.Lock()
	known := slices.ContainsFunc(s.reported, func(r Gap) bool { return r.From == g.From && r.To == g.To })
	s.mu.Unlock()
	if known {
		return nil
	}
	s.source.metrics.gaps.WithLabelValues(s.source.name).Inc()
	fields := []zap.Field{zap.Stringer("from", g.From)}
	if g.To != (checkpoint.Position{}) {
		fields = append(fields, zap.Stringer("to", g.To))
	}
	if !g.Since.IsZero() {
		fields = append(fields, zap.Time("since", g.Since))
	}
	if !g.Until.IsZero() {
		fields = append(fields, zap.Time("until", g.Until))
	}
	if _, timed := g.From.Time(); g.Certain {
		s.logger.Error("gap: the stream has trimmed records that were not settled; going on with the oldest that is left", fields...)
	} else if timed {
		s.logger.Error("possible gap: the stream no longer keeps all that arrived since the time of the position; some of it may be lost", fields...)
	} else {
		s.logger.Error("possible gap: the stream has trimmed the record of the position; records behind it may be lost", fields...)
	}
	if s.source.config.Gap != nil {
		err := s.source.durable(ctx, s, "the shard waits: a gap could not be dead-lettered", g.From, func() error {
			return s.source.config.Gap(ctx, s.info(), g)
		})
		if err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reported = append(s.reported, g)
	return nil
}

// lost says whether a record is known to lie in the gap: somebody of those in
// places stood at its beginning and had something to settle up to the checkpoint
// c, a record that lies in it too. A sequence number alone, or the shard's end,
// does not tell whether another record followed.
func lost(places []checkpoint.Position, c checkpoint.Position, g Gap) bool {
	before := g.To == (checkpoint.Position{}) || c.Compare(g.To) < 0
	return slices.Contains(places, g.From) && g.From.IsNumber() && c.IsNumber() && g.From.Compare(c) < 0 && before
}
