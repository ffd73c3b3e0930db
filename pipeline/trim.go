package pipeline

import "time"

// Ager is a Subscriber that says how old what it has in hand is.
type Ager interface {
	// Oldest is when the oldest record of c arrived that the subscriber has taken
	// and not settled; false: there is none. Never blocks.
	Oldest(c *Cursor) (time.Time, bool)
}

// untilTrim tells of each member how long it is until the stream trims the first
// record that it has not settled, parked keys too. Where nothing is unsettled it
// is the whole retention; of those of whom it is not known nothing is told.
func (s *shard) untilTrim(tell func(destination string, left time.Duration)) {
	kept := s.source.retention().kept
	if kept <= 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	left := func(name string, at time.Time) { tell(name, min(kept, max(0, kept-time.Since(at)))) }
	for _, m := range s.members {
		if at, known := m.unsettled(); known {
			left(m.name(), at)
		} else if at, known := s.lacking[m.name()]; known {
			left(m.name(), at)
		}
	}
	for name := range s.plan.absent {
		_, ours := s.source.subscribed().initials[name]
		if at, known := s.lacking[name]; ours && known { // a command has stopped it
			left(name, at)
		}
	}
}

// remember notes what members have not settled that end: with their plan, after
// which who is stopped is no member, or alone. s.mu is held.
func (s *shard) remember(members []*member) {
	if s.lacking == nil {
		s.lacking = make(map[string]time.Time)
	}
	for _, m := range members {
		if at, known := m.unsettled(); known {
			s.lacking[m.name()] = at
		}
	}
}

// unsettled is when the first record arrived that the member has not settled, at
// the earliest: now, when there is none. It says false when that is not known
// here: what a gate holds stands on a parent, and a laggard's place is looked at
// when catch-up reads for it. s.mu is held.
func (m *member) unsettled() (time.Time, bool) {
	if m.state == held {
		return time.Time{}, false
	}
	at, known := time.Now(), m.state == live || m.state == ended
	older := func(t time.Time, ok bool) {
		if !ok || t.IsZero() {
			return
		}
		known = true
		if t.Before(at) {
			at = t
		}
	}
	older(m.cursor.oldest())
	if m.state == behind {
		older(m.since, true)
	}
	if m.cursor.Parked() > 0 {
		older(m.keys, true)
	}
	if a, ok := m.sub.(Ager); ok {
		older(a.Oldest(m.cursor))
	}
	return at, known
}
