package pipeline

import (
	"context"
	"maps"
	"slices"

	"go.uber.org/zap"

	"github.com/shardline/shardline/checkpoint"
)

// obeying is what the lease saves: the positions, and which commands are in
// force with them (the model's Acknowledge). Those are looked at first, so that
// the positions of a command that is acknowledged are never older than it.
func (s *shard) obeying() checkpoint.Saved {
	acknowledged := s.orders.acknowledge(s.serves, func(name string) bool {
		_, due := s.orders.due(name)
		return due
	})
	saved := s.saved()
	saved.Acknowledged = acknowledged
	return saved
}

// serves says whether a destination is served: something of it may be in flight.
func (s *shard) serves(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.frozen == nil && slices.ContainsFunc(s.members, func(m *member) bool { return m.state != held && m.name() == name })
}

// ordered says whether the shard is served for a command's sake: one of the
// worker's subscribers is stopped, or somebody is to be set back or removed.
func (s *shard) ordered() bool {
	for name := range s.orders.now().Destinations {
		if _, due := s.orders.due(name); due {
			return true
		}
	}
	for name := range s.source.subscribed().initials {
		if s.orders.stopped(name) {
			return true
		}
	}
	return false
}

// comply does what commands ask of the positions of those of whom nothing is in
// flight (the model's Apply): those of replays are set, and whose removal has come
// to its second step leaves the roster. It is called again when somebody has left,
// and after a while.
func (s *shard) comply(ctx context.Context, lease checkpoint.Lease) {
	for name, wish := range s.orders.now().Destinations {
		version, due := s.orders.due(name)
		if !due || s.serves(name) {
			continue
		}
		if wish.Removal != nil {
			s.remove(name)
			s.logger.Warn("the destination is removed from the roster, by command", zap.String("destination", name), zap.String("id", wish.Removal.Command))
		} else if at, touched := wish.Replay.Where(lease.Key); touched {
			if err := s.setBack(ctx, name, at, wish.Replay.Command); err != nil {
				if ctx.Err() == nil {
					s.logger.Warn("a replay's position cannot be set: trying again", zap.String("destination", name), zap.Error(err))
				}
				continue
			}
		}
		s.orders.did(name, version)
	}
}

// remove takes a destination that is not served off the roster: where it stood is
// forgotten.
func (s *shard) remove(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plan.leave(name)
	delete(s.lacking, name)
}

// setBack sets a destination that is not served back to the smaller of its first
// unsettled position and that of a replay. Its keys' entries merge into that one.
func (s *shard) setBack(ctx context.Context, name string, at checkpoint.Position, command string) error {
	entry, known := s.placeOf(name)
	if !known {
		return nil
	}
	for _, p := range append(slices.Collect(maps.Values(entry.Keys)), entry.At) {
		var err error
		if at, err = lower(ctx, at, p, s.again); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	entry = checkpoint.Entry{At: at}
	if _, shut := s.plan.held[name]; shut {
		s.plan.held[name] = entry
	} else {
		s.plan.absent[name] = entry
	}
	delete(s.lacking, name)
	s.logger.Info("replay: position set", zap.String("destination", name), zap.Stringer("position", at), zap.String("id", command))
	return nil
}

// placeOf is where somebody stands who is not served; false: it is not on the
// roster.
func (s *shard) placeOf(name string) (checkpoint.Entry, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if entry, shut := s.plan.held[name]; shut {
		return entry, true
	}
	if entry, absent := s.plan.absent[name]; absent {
		return entry, true
	}
	return checkpoint.Entry{At: s.checkpoint}, slices.Contains(s.plan.roster, name)
}

// again reads the shard from behind a position.
func (s *shard) again(from checkpoint.Position) Reader {
	l := s.tenure.Lease()
	return guarded{s.source.config.Source.CatchUp(checkpoint.Shard{ID: l.Shard, HashFrom: l.HashFrom, HashTo: l.HashTo}, from), s.tenure}
}

// guarded reads while the tenure lasts: the shard's new owner is not to be
// disturbed.
type guarded struct {
	Reader
	tenure *checkpoint.Tenure
}

func (g guarded) Read(ctx context.Context) (Batch, error) {
	if !g.tenure.Valid() {
		return Batch{}, checkpoint.ErrLeaseLost
	}
	return g.Reader.Read(ctx)
}

// newcomers is where each of the worker's subscribers begins that is new here.
// Whoever is being removed is new nowhere: what is configured brings no name onto
// a roster that does not list it.
func (s *shard) newcomers() map[string]Initial {
	initials := s.subs().newcomers(s.source.retention())
	maps.DeleteFunc(initials, func(name string, _ Initial) bool { return s.orders.wish(name).Removal != nil })
	return initials
}

// withoutLeaving takes those out of a plan whose names leave the leases: parents
// that are not done yet list them.
func (s *shard) withoutLeaving(p *plan) {
	for name, wish := range s.orders.now().Destinations {
		if !wish.Removal.Leaving() {
			continue
		}
		p.leave(name)
	}
}

// infoOf is what a destination is told of the shard.
func (s *shard) infoOf(name string) ShardInfo {
	info := s.info()
	if r := s.orders.wish(name).Replayed; r != nil {
		info.Command, info.Until = r.Command, r.Until
	}
	return info
}
