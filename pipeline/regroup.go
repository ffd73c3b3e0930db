package pipeline

import (
	"context"
	"slices"

	"go.uber.org/zap"

	"github.com/shardline/shardline/checkpoint"
)

// subs are the source's subscribers as the shard knows them. They are owned by
// run, and by watch while that runs.
func (s *shard) subs() *subscriptions { return s.enlisted[len(s.enlisted)-1] }

// regroup brings the members into line with the source's subscribers, without
// those whom commands stop: who is left out or stopped leaves, and who is new or
// goes on joins. Nobody else notices. It is called again when somebody has left.
func (s *shard) regroup() {
	if s.subs() != s.source.subscribed() {
		s.enlisted = append(s.enlisted, s.source.enlist())
	}
	subs, newcomers := s.subs(), s.newcomers()
	s.mu.Lock()
	defer s.mu.Unlock()
	anyLeaving := false
	for _, m := range slices.Clone(s.members) {
		switch {
		case m.state == leaving:
			anyLeaving = true
		case slices.Contains(subs.subscribers, m.sub) && !s.orders.stopped(m.name()):
		case m.state == held: // its place stands in the plan
			s.drop(m)
		default:
			s.dismiss(m)
			anyLeaving = true
		}
	}
	founders := len(s.plan.roster) == 0 // nobody was here before: the checkpoint is theirs
	for _, d := range subs.subscribers {
		name := d.Name()
		initial, may := newcomers[name]
		if may && !slices.Contains(s.plan.roster, name) {
			at := s.checkpoint
			if !founders {
				at = initial.position(at)
			}
			s.plan.add(name, at)
		}
		if s.orders.stopped(name) || slices.ContainsFunc(s.members, func(m *member) bool { return m.name() == name }) {
			continue // one that is leaving still has the name
		}
		if entry, reads := s.plan.enter(name); reads {
			s.members = append(s.members, &member{sub: d})
			s.logger.Info("destination joins", zap.String("destination", name), zap.Stringer("position", entry.At))
		}
	}
	if !anyLeaving {
		for _, old := range s.enlisted[:len(s.enlisted)-1] {
			s.source.delist(old)
		}
		s.enlisted = s.enlisted[len(s.enlisted)-1:]
	}
	s.signal()
}

// add puts a name on the roster that stands at a position.
func (p *plan) add(name string, at checkpoint.Position) {
	p.roster = slices.DeleteFunc(union(p.roster, []string{name}), func(n string) bool { return n == checkpoint.Nobody })
	p.absent[name] = checkpoint.Entry{At: at}
	p.save = true
}

// enter lets somebody on the roster join who is absent: it is held, until its gate
// is looked at and the item has the roster. reads: it has something to read here,
// from the entry on.
func (p *plan) enter(name string) (entry checkpoint.Entry, reads bool) {
	if entry, shut := p.held[name]; shut {
		return entry, true
	}
	entry, absent := p.absent[name]
	delete(p.absent, name)
	if !absent || entry.At == checkpoint.ShardEnd && len(entry.Keys) == 0 {
		return entry, false // it is through
	}
	p.held[name] = entry
	return entry, true
}

// leave takes a name out of a plan.
func (p *plan) leave(name string) {
	p.roster = checkpoint.Without(p.roster, name)
	delete(p.starts, name)
	delete(p.held, name)
	delete(p.absent, name)
}

// dismiss lets a member leave while the shard is served: it takes nothing and
// begins nothing any more, and what is in flight ends. s.mu is held.
func (s *shard) dismiss(m *member) {
	s.remember([]*member{m})
	m.state, m.gone = leaving, make(chan struct{})
	m.quit()
	s.leaving.Go(func() {
		defer close(m.gone)
		m.sub.Detach(m.cursor)
		s.left(m)
	})
}

// left notes that nothing of a member is in flight any more. Its place is kept.
func (s *shard) left(m *member) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m.cursor.Left(Main) // what is settled ahead of its position is said by key
	m.cursor.Left(Side)
	entry := m.cursor.place()
	m.cursor.release()
	s.drop(m)
	delete(s.plan.starts, m.name())
	s.plan.absent[m.name()] = entry
	s.logger.Info("destination has left: its place is kept", zap.String("destination", m.name()), zap.Stringer("position", entry.At))
	s.signal()
	select {
	case s.lefts <- struct{}{}:
	default:
	}
}

// drop forgets a member. s.mu is held.
func (s *shard) drop(m *member) {
	s.members = slices.DeleteFunc(s.members, func(x *member) bool { return x == m })
}

// saveRoster says whether the item has the roster of the plan: before it does,
// nobody new gets anything. Watch calls it, again after a while when it did not.
func (s *shard) saveRoster(ctx context.Context) bool {
	s.mu.Lock()
	unsaved := s.plan.save
	s.mu.Unlock()
	if !unsaved {
		return true
	}
	if err := s.tenure.Save(ctx); err != nil {
		if ctx.Err() == nil {
			s.logger.Warn("save the roster: trying again", zap.Error(err))
		}
		return false
	}
	s.rosterSaved()
	return true
}

func (s *shard) rosterSaved() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plan.save = false
}
