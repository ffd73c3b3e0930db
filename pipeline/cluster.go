package pipeline

import (
	"slices"
	"time"

	"github.com/shardline/shardline/checkpoint"
)

// cluster is a place at which catch-up reads, and who is there.
type cluster struct {
	log      *Log
	reader   Reader
	unproven *unproven
	main     []*member // whose main way is here
	side     []*member // whose side way is here
	began    time.Time
	through  uint64              // how far its log was free when it last got smaller
	moved    time.Time           // when that was
	last     checkpoint.Position // the last record that was read
	complete time.Time           // what arrived before it was read; zero: not known
	fresh    bool                // nothing was read yet: it may reach those who wait for a place
	tip      bool
	end      bool
	over     bool  // it reads no more: its members are to go elsewhere
	pin      *walk // on the shard log: what is behind it is kept until the members are there
}

// takes says whether a cluster's log has what a demand lacks, from the first
// record on, and has come to it.
func (cl *cluster) takes(d demand) bool {
	tail := cl.log.origin()
	switch {
	case cl.over:
		return false
	case d.at == tail:
		return true
	}
	return ordered(d.at) && ordered(tail) && d.at.Compare(tail) >= 0 && ordered(cl.last) && d.at.Compare(cl.last) <= 0
}

func (cl *cluster) wake() {
	for _, m := range slices.Concat(cl.main, cl.side) {
		m.sub.Wake(m.cursor)
	}
}

// settle looks at what the clusters' members have come to: who is near the head
// joins the shard log, who is through leaves, and what holds up the others is
// parked.
func (c *catchUp) settle() {
	for _, cl := range c.clusters {
		c.s.worker.catchUps.release(cl.log.free())
		cl.side = slices.DeleteFunc(cl.side, func(m *member) bool { return !m.cursor.on(Side, cl.log) || c.sideThrough(cl, m) })
		cl.main = slices.DeleteFunc(cl.main, func(m *member) bool { return !m.cursor.on(Main, cl.log) || c.mainThrough(cl, m) })
		c.look(cl)
		c.joining(cl)
		c.relieve(cl)
	}
}

// look notes how old what the members of a cluster lack is.
func (c *catchUp) look(cl *cluster) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if cl.fresh {
		return
	}
	for _, m := range cl.main {
		m.look()
		if _, lacks := m.cursor.oldest(); !lacks && cl.complete.After(m.since) {
			m.since = cl.complete
		}
	}
	for _, m := range cl.side {
		if at, lacks := m.cursor.oldestOfKeys(); lacks {
			m.keys = at
		} else if cl.complete.After(m.keys) {
			m.keys = cl.complete
		}
	}
}

// joining brings the members of a cluster that is near the head onto the shard
// log. From the moment that it is near, the shard log keeps what comes, so that
// they meet without a gap; while that is too much it does not.
func (c *catchUp) joining(cl *cluster) {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if cl.tip {
		for _, m := range cl.side {
			m.cursor.holdBack()
		}
	}
	now := time.Now()
	ready := slices.ContainsFunc(cl.main, func(m *member) bool { return !now.Before(m.rejoins) })
	if cl.pin == nil && cl.tip && ready && s.log != nil && !s.atEnd && now.After(s.pinAfter) {
		cl.pin = s.log.begin()
		s.pins = append(s.pins, cl)
	}
	if cl.pin == nil {
		return
	}
	cl.main = slices.DeleteFunc(cl.main, func(m *member) bool {
		if m.state != behind || m.retired {
			return false
		}
		if now.Before(m.rejoins) || !reached(m.cursor.place().At, cl.pin.taken.Position) {
			return false
		}
		m.sub.Leave(m.cursor, Main)
		s.join(m)
		s.signal()
		m.sub.Wake(m.cursor)
		return true
	})
	if len(cl.main) == 0 {
		s.dropPin(cl)
	}
}

// unpin lets the shard log go on without those who are about to join it.
func (s *shard) unpin(now time.Time) {
	for len(s.pins) > 0 {
		s.dropPin(s.pins[0])
		s.pinAfter = now.Add(pinPause)
	}
}

// pinPause is how long nobody joins a shard log after one that had no room for
// it.
const pinPause = 5 * time.Second

// dropPin: s.mu is held.
func (s *shard) dropPin(cl *cluster) {
	s.pins = slices.DeleteFunc(s.pins, func(x *cluster) bool { return x == cl })
	if cl.pin != nil {
		cl.pin.log.leave(cl.pin)
		cl.pin = nil
	}
}

// sideThrough says whether nothing of a member's side way is left to do here.
func (c *catchUp) sideThrough(cl *cluster, m *member) bool {
	if cl.end && m.cursor.sideAt() == cl.log.head.Index {
		m.cursor.sideEnded()
	}
	if m.cursor.sideLeft() > 0 && !cl.over {
		return false
	}
	m.sub.Leave(m.cursor, Side)
	return true
}

// mainThrough says whether a member's main way has ended here.
func (c *catchUp) mainThrough(cl *cluster, m *member) bool {
	s := c.s
	if cl.end && m.cursor.through() == cl.log.head.Index && s.endMember(m, cl.log) {
		return true
	}
	if !cl.over {
		return false
	}
	c.leave(cl, m)
	return true
}

// leave takes a member off a cluster's log, unless it reads the shard log by now.
func (c *catchUp) leave(cl *cluster, m *member) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if m.cursor.on(Main, cl.log) {
		m.sub.Leave(m.cursor, Main)
	}
}

// park parks keys of a member that hold up a cluster.
func (c *catchUp) park(cl *cluster, m *member, upTo uint64) bool {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return m.park(upTo, mostParked(m.cursor, len(cl.log.byKey)))
}

// stuckAfter is for how long a cluster whose log does not get smaller is waited
// for, when it is full or others need the room.
const stuckAfter = 2 * time.Second

// relieve parks keys that hold up a member, and sends away what keeps a cluster
// from reading on, or others from reading at all.
func (c *catchUp) relieve(cl *cluster) {
	now := time.Now()
	through := cl.log.passed.Load()
	if cl.log.bytes == 0 || through != cl.through {
		cl.through, cl.moved = through, now
		return
	}
	pressed := c.s.worker.catchUps.pressed(now)
	if now.Sub(cl.moved) < stuckAfter {
		return
	}
	cl.moved = now
	full := cl.log.bytes >= readAhead
	upTo := through + 1
	if pressed {
		upTo = cl.log.head.Index
	}
	cl.side = slices.DeleteFunc(cl.side, func(m *member) bool {
		if !full && !pressed || m.cursor.sideAt() >= upTo {
			return false
		}
		m.sub.Leave(m.cursor, Side)
		return true
	})
	cl.main = slices.DeleteFunc(cl.main, func(m *member) bool {
		if m.cursor.through() >= upTo || c.park(cl, m, upTo) {
			return false
		}
		if !pressed && (!full || len(cl.main)+len(cl.side) == 1) {
			return false // it keeps nobody waiting
		}
		c.leave(cl, m)
		return true
	})
	c.s.worker.catchUps.release(cl.log.free()) // who was sent away does not come back to the same place
}

// retire ends clusters that nobody is in, and the one that has read for longest
// while others wait for a place.
func (c *catchUp) retire(waiting bool) {
	now := time.Now()
	if waiting && len(c.clusters) == maxClusters {
		oldest := slices.MinFunc(c.clusters, func(a, b *cluster) int { return a.began.Compare(b.began) })
		if now.Sub(oldest.began) >= turn {
			c.endCluster(oldest)
		}
	}
	for _, cl := range c.clusters {
		if c.overtaken(cl) || !c.wanted(cl) {
			c.endCluster(cl)
		}
	}
	c.clusters = slices.DeleteFunc(c.clusters, func(cl *cluster) bool {
		if len(cl.main)+len(cl.side) > 0 {
			return false
		}
		c.drop(cl)
		return true
	})
}

// wanted says whether somebody in a cluster can take records, or has to save
// them: who is down keeps what it has in its lanes, and costs no reads and no
// memory.
func (c *catchUp) wanted(cl *cluster) bool {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	r := c.s.source.retention()
	wants := func(m *member) bool { return m.sub.Wants() || m.sub.Busy(m.cursor) }
	return slices.ContainsFunc(cl.main, func(m *member) bool { return wants(m) || m.since.Before(m.saves(r)) }) ||
		slices.ContainsFunc(cl.side, func(m *member) bool { return wants(m) || m.keys.Before(m.saves(r)) })
}

// overtaken says whether another cluster is about to read what this one reads:
// its members go there.
func (c *catchUp) overtaken(cl *cluster) bool {
	return slices.ContainsFunc(c.clusters, func(x *cluster) bool {
		return x != cl && x.began.Before(cl.began) && !cl.fresh && ordered(cl.last) && ordered(x.last) && x.last.Compare(cl.last) >= 0 &&
			x.takes(demand{at: cl.log.origin()})
	})
}

// endCluster sends everybody away.
func (c *catchUp) endCluster(cl *cluster) {
	cl.over = true
	for _, m := range cl.side {
		m.sub.Leave(m.cursor, Side)
	}
	for _, m := range cl.main {
		c.leave(cl, m)
	}
	cl.main, cl.side = nil, nil
}

// drop gives back what a cluster had.
func (c *catchUp) drop(cl *cluster) {
	c.s.mu.Lock()
	c.s.dropPin(cl)
	c.s.mu.Unlock()
	cl.reader.Close()
	c.s.worker.catchUps.release(cl.log.free())
	cl.log.seen.close()
}
