package pipeline

import (
	"context"
	"slices"
	"time"

	"github.com/shardline/shardline/checkpoint"
)

// memberState is how a subscriber gets the records of a shard.
type memberState uint8

const (
	held    memberState = iota // its gate is shut: it gets nothing
	behind                     // a laggard: it gets them from catch-up, when it can take them
	live                       // from the shard log
	leaving                    // the worker goes on without it: what is in flight ends
	ended                      // it has settled the shard to its end, parked keys aside
)

// member is a subscriber of a shard, for one tenure.
type member struct {
	sub    Subscriber
	cursor *Cursor // nil: held

	// Guarded by the shard's mu.
	state   memberState
	gone    chan struct{} // closed when it has left; nil: it is not leaving
	retired bool          // the shard is to be given up: it begins nothing more
	rejoins time.Time     // not before this does it join the shard log
	since   time.Time     // its first unsettled record arrived no earlier, parked keys aside; zero: not known
	keys    time.Time     // likewise of its parked keys that have no lane
}

func (m *member) name() string { return m.sub.Name() }

// admit makes the cursor of a member that stands at start. keys are those whose
// gates are shut. s.mu is held.
func (s *shard) admit(m *member, start checkpoint.Entry, keys map[string]checkpoint.Position) {
	m.cursor = newCursor(s.infoOf(m.name()), start, s.tenure.Valid)
	m.cursor.keep = s.worker.room
	for key := range keys {
		m.cursor.shut(key)
	}
	m.state = behind
}

// join puts a member on the shard log, at the log's tail, behind which
// everything is that it has not settled. s.mu is held.
func (s *shard) join(m *member) {
	m.cursor.put(Main, s.log.begin(), nil)
	m.state = live
}

// leave takes a member off the shard log: it becomes a laggard. s.mu is held.
func (s *shard) leave(m *member, now time.Time) {
	m.look()
	m.sub.Leave(m.cursor, Main)
	m.state = behind
	m.rejoins = now.Add(rejoinAfter)
	s.signal()
}

// rejoinAfter keeps a member that leaves the shard log out of it for a moment,
// so that one at its limit does not come and go with every read.
const rejoinAfter = time.Second

// signal wakes whoever waits for a member to change.
func (s *shard) signal() {
	for _, ch := range []chan struct{}{s.fallen, s.joined} {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

// of are the members in a state. s.mu is held.
func (s *shard) of(state memberState) []*member {
	var ms []*member
	for _, m := range s.members {
		if m.state == state {
			ms = append(ms, m)
		}
	}
	return ms
}

// anyLive says whether somebody reads the shard log.
func (s *shard) anyLive() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.members, func(m *member) bool { return m.state == live })
}

// settled says whether every member has settled the shard to its end, parked
// keys too, and no command is to be waited for.
func (s *shard) settled() bool {
	if s.ordered() {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return !slices.ContainsFunc(s.members, func(m *member) bool { return m.state != ended || m.cursor.Parked() > 0 })
}

// relieve is called while the shard log has no room for the next read. Where
// few keys of a member hold it up, they are parked. Where a member holds it up
// and a faster one would wait for it, it leaves. If nobody is faster, all wait.
func (s *shard) relieve(log *Log) {
	now := time.Now()
	if !s.patience.over(now) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	through := log.passed.Load()
	if slices.ContainsFunc(s.pins, func(cl *cluster) bool { return cl.pin.taken.Index <= through }) {
		s.unpin(now)
	}
	half := through + (log.head.Index-through+1)/2
	s.makeWay(half, len(log.byKey), now)
}

// patience is for how long in all a reader has waited for room. A moment costs
// less than to read again for whoever makes way; many moments are somebody who
// is slower than the stream.
type patience struct {
	last time.Time // when it last waited
	used time.Duration
}

const (
	// mostPatience is for how long a reader waits before somebody makes way.
	mostPatience = 250 * time.Millisecond
	// patienceBack is after how long without waiting it is as at first.
	patienceBack = 2 * time.Second
)

// over says whether the reader has waited for long enough. It is called every
// relieveEvery while it waits.
func (p *patience) over(now time.Time) bool {
	switch since := now.Sub(p.last); {
	case since > patienceBack:
		p.used = 0
	default:
		p.used += min(since, relieveEvery)
	}
	p.last = now
	return p.used >= mostPatience
}

// makeWay parks or takes off the shard log whatever of the live members has not
// come to an index. s.mu is held.
func (s *shard) makeWay(upTo uint64, keys int, now time.Time) {
	members := s.of(live)
	fastest := uint64(0)
	for _, m := range members {
		fastest = max(fastest, m.cursor.through())
	}
	for _, m := range members {
		switch {
		case m.cursor.through() >= upTo:
		case m.park(upTo, mostParked(m.cursor, keys)):
			s.signal()
		case fastest >= upTo && !s.worker.shared:
			s.leave(m, now)
		}
	}
}

// maxParked bounds the parked keys of a destination on a shard: with more of
// them it is the destination that is slow.
const maxParked = 100

// mostParked is how many keys more may be parked of a member: a part of those
// that the log holds.
func mostParked(c *Cursor, keys int) int {
	if keys < 2 {
		return 0
	}
	return min(max(1, keys/4), maxParked-c.Parked())
}

// parkStale parks keys that have held up the checkpoint for long, however much
// room the log has. upTo is the head of the log of parkAfter ago.
func (s *shard) parkStale(upTo uint64, keys int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.of(live) {
		if m.cursor.through() < upTo {
			m.park(upTo, mostParked(m.cursor, keys))
			s.signal()
		}
	}
}

// park parks the member's keys that are stuck at or below an index. s.mu is held.
func (m *member) park(upTo uint64, most int) bool {
	if !m.sub.Park(m.cursor, upTo, most) {
		return false
	}
	m.keys = time.Time{}
	return true
}

// parkAfter is for how long a key may hold up the checkpoint.
const parkAfter = 30 * time.Second

// stand is where the served members stand. s.mu is held.
func (s *shard) stand() map[string]standing {
	places := make(map[string]standing, len(s.members))
	for _, m := range s.members {
		if m.state != held {
			places[m.name()] = standing{Entry: m.cursor.place(), live: m.state == live || m.state == ended}
		}
	}
	return places
}

// count tells how each member is.
func (s *shard) count(tell func(destination string, laggard bool, keys int)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.members {
		keys := 0
		if m.cursor != nil {
			keys = m.cursor.Parked()
		}
		tell(m.name(), m.state == behind, keys)
	}
}

// quit ends everything that is left of a member's ways but what is in flight.
// s.mu is held.
func (m *member) quit() {
	for _, way := range []Way{Main, Side, Kept} {
		m.sub.Leave(m.cursor, way)
	}
}

// slowly is after how long a record that was attempted, and is not settled, makes
// its subscriber slow.
const slowly = 250 * time.Millisecond

// retireSlow ends those who are slow before the shard is given up,
// while the others go on: nobody waits for attempts that hang.
// It returns when nothing of them is in flight, or most of the drain time-out is
// over.
func (s *shard) retireSlow(ctx context.Context) {
	s.drainBy = time.Now().Add(s.worker.drainTimeout)
	end := time.NewTimer(s.worker.drainTimeout * 3 / 4)
	defer end.Stop()
	ticker := time.NewTicker(relieveEvery)
	defer ticker.Stop()
	for s.retiring() {
		select {
		case <-ticker.C:
		case <-end.C:
			return
		case <-s.source.over:
			return
		case <-ctx.Done():
			return
		}
	}
}

// retiring retires whoever is to be, and says whether something of them is in
// flight.
func (s *shard) retiring() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	busy := false
	for _, m := range s.members {
		if m.state == held || m.state == leaving {
			busy = busy || m.state == leaving
			continue
		}
		if !m.retired && m.sub.Slow(m.cursor, slowly) && !s.worker.shared {
			if m.state == live {
				s.leave(m, time.Now())
			}
			m.quit()
			m.retired = true
		}
		busy = busy || m.retired && m.sub.Busy(m.cursor)
	}
	return busy
}

// drain lets every member finish what it has begun, for as long as the drain
// time-out allows; then the attempts in flight are cancelled.
func (s *shard) drain(ctx context.Context, cancelAttempts context.CancelCauseFunc) {
	s.mu.Lock()
	s.ahead = true
	for _, m := range s.of(behind) {
		m.quit()
	}
	for _, m := range s.of(ended) {
		m.quit()
	}
	members := slices.DeleteFunc(slices.Clone(s.members), func(m *member) bool { return m.state == held })
	s.mu.Unlock()
	s.drainAll(ctx, members, cancelAttempts)
}
