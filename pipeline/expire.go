package pipeline

import "time"

// Expirer is a Subscriber that can save records which the stream is about to
// trim, although nobody takes them.
type Expirer interface {
	// BeforeTrim is how long before the stream trims a record it is to be saved; 0:
	// never.
	BeforeTrim() time.Duration
	// Expire gives up the records of c that arrived before a time: from now on
	// those that c gives and that are not in flight are dead-lettered instead of
	// attempted, and settled, also while the subscriber is held or its circuit is
	// open. The time never goes back. Expire says false when the subscriber has no
	// dead letters: then they are lost when the stream trims them. Never blocks.
	Expire(c *Cursor, before time.Time) bool
}

// expireEvery is how often the members' records are looked at for those that the
// stream is about to trim. While nobody is behind it is less often: every quietLook.
const expireEvery = time.Second

// expire has the members save what the stream is about to trim.
func (s *shard) expire(r retention) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.members {
		if m.state == held || m.state == leaving || m.state == ended && m.cursor.Parked() == 0 {
			continue
		}
		if m.state == live {
			m.look()
		}
		if before := m.saves(r); !before.IsZero() && (m.since.Before(before) || m.cursor.Parked() > 0) {
			m.sub.(Expirer).Expire(m.cursor, before)
		}
	}
}

// saves is the time before which a record arrived that the member is to save;
// zero: it saves none.
func (m *member) saves(r retention) time.Time {
	e, ok := m.sub.(Expirer)
	if !ok || r.horizon.IsZero() {
		return time.Time{}
	}
	before := e.BeforeTrim()
	if before <= 0 {
		return time.Time{}
	}
	return r.horizon.Add(before)
}

// look notes when the member's first unsettled record arrived, if that is on its
// log.
func (m *member) look() {
	if at, ok := m.cursor.oldest(); ok {
		m.since = at
	}
}
