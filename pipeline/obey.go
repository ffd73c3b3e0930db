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

// serves says whether a destination is served by the plan of now: something of
// it may be in flight.
func (s *shard) serves(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.frozen == nil && slices.ContainsFunc(s.members, func(m *member) bool { return m.state != held && m.name() == name })
}

// stoppedNames are the worker's subscribers of the source that commands stop.
func (s *shard) stoppedNames() map[string]bool {
	stopped := map[string]bool{}
	for name := range s.subs().initials {
		if s.orders.stopped(name) {
			stopped[name] = true
		}
	}
	return stopped
}

// changed says whether a plan without these has to be made anew, since others
// are stopped now, or somebody is to be set back or removed.
func (s *shard) changed(stopped map[string]bool) bool {
	for name := range s.orders.now().Destinations {
		if _, due := s.orders.due(name); due {
			return true
		}
	}
	return !maps.Equal(stopped, s.stoppedNames())
}

// comply does what commands ask of the saved form between two plans, when
// nothing is in flight (the model's Apply): positions of replays are set, and
// whose removal has come to its second step leaves it.
func (s *shard) comply(ctx context.Context, lease checkpoint.Lease, saved checkpoint.Saved) (checkpoint.Saved, error) {
	saved = saved.Clone()
	done := map[string]int64{}
	for name, wish := range s.orders.now().Destinations {
		version, due := s.orders.due(name)
		if wish.Removal.Leaving() {
			saved.Leave(name)
		}
		if !due {
			continue
		}
		done[name] = version
		if wish.Removal != nil {
			s.logger.Warn("the destination is removed from the roster, by command", zap.String("destination", name), zap.String("id", wish.Removal.Command))
			continue
		}
		at, touched := wish.Replay.Where(lease.Key)
		entry, behind := saved.Behind[name]
		if !touched || !behind && !slices.Contains(saved.Roster, name) {
			continue
		}
		if !behind {
			entry = checkpoint.Entry{At: saved.Checkpoint}
		}
		for _, p := range append(slices.Collect(maps.Values(entry.Keys)), entry.At) {
			var err error
			if at, err = lower(ctx, at, p, s.again); err != nil {
				return saved, err
			}
		}
		if saved.Behind == nil {
			saved.Behind = map[string]checkpoint.Entry{}
		}
		saved.Behind[name] = checkpoint.Entry{At: at}
		s.logger.Info("replay: position set", zap.String("destination", name), zap.Stringer("position", at), zap.String("id", wish.Replay.Command))
	}
	s.mu.Lock()
	s.frozen = &saved
	for name := range done {
		delete(s.lacking, name)
	}
	s.mu.Unlock()
	for name, version := range done {
		s.orders.did(name, version)
	}
	return saved, nil
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

// forget takes those out of a plan whose names leave the leases: parents that are
// not done yet list them.
func (s *shard) forget(p *plan) {
	for name, wish := range s.orders.now().Destinations {
		if !wish.Removal.Leaving() {
			continue
		}
		p.roster = checkpoint.Without(p.roster, name)
		delete(p.starts, name)
		delete(p.held, name)
		delete(p.absent, name)
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
