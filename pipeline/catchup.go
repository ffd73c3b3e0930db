package pipeline

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/shardline/shardline/checkpoint"
)

// catchUp reads a shard again for those who are behind: laggards, and parked
// keys. There is one per shard, with a pace of its own; live reading comes first.
// It reads in clusters: who stands near to somebody else shares the reading, and
// clusters take turns, so that who is minutes behind does not wait for who is
// days behind.
//
// It is owned by the goroutine that runs it, but for what s.mu guards.
type catchUp struct {
	s        *shard
	clusters []*cluster
	next     int       // whose turn it is
	due      time.Time // of the next read
	expires  time.Time // when it is to look for what the stream is about to trim
}

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

const (
	// maxClusters bounds the places at which a shard is read again.
	maxClusters = 4
	// turn is for how long a cluster may read while somebody waits for a place.
	turn = 5 * time.Second
	// readAhead is how much a cluster's log may hold before it is full.
	readAhead = 1 << 20
	// catchUpPause is between two reads of a shard's catch-up: it leaves the live
	// reading three of the five calls a second that the service allows.
	catchUpPause = 500 * time.Millisecond
	// look is how often catch-up looks at those whom it serves.
	look = 100 * time.Millisecond
	// idleLook is how often it looks whether somebody who is behind can take
	// records again.
	idleLook = time.Second
	// quietLook is how often it looks when nobody is behind: who falls behind
	// says so.
	quietLook = 10 * time.Second
)

// run serves whoever is behind until ctx ends.
func (c *catchUp) run(ctx context.Context) {
	defer c.close()
	for ctx.Err() == nil {
		if now := time.Now(); !now.Before(c.expires) {
			c.s.expire(c.s.source.retention())
			c.expires = now.Add(expireEvery)
		}
		outside := c.place(ctx)
		c.settle()
		if cl := c.turn(); cl != nil {
			c.read(ctx, cl)
		}
		c.retire(len(outside) > 0)
		c.wait(ctx, len(outside) > 0)
	}
}

// wait returns when there may be something to do.
func (c *catchUp) wait(ctx context.Context, waiting bool) {
	pause := idleLook
	switch {
	case len(c.clusters) > 0:
		pause = look
	case !waiting && !c.s.anyBehind():
		pause = quietLook
	}
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-c.s.fallen:
	case <-t.C:
	case <-ctx.Done():
	}
}

// anyBehind says whether somebody is behind, or has parked keys.
func (s *shard) anyBehind() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.members, func(m *member) bool {
		return m.state == behind || m.state != held && m.cursor.Parked() > 0
	})
}

// demand is a way of a member that is on no log.
type demand struct {
	m    *member
	way  Way
	keys []string // Side
	at   checkpoint.Position
}

// demands are those that could take records now, the lowest first.
func (c *catchUp) demands() []demand {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	var ds []demand
	r := s.source.retention()
	for _, m := range s.members {
		if m.state == held || m.state == leaving || m.retired {
			continue
		}
		main, keys := m.cursor.wants()
		main = main && m.state == behind
		if !main && len(keys) == 0 {
			continue
		}
		if !m.sub.Wants() { // what the stream is about to trim is saved all the same
			before := m.saves(r)
			main = main && m.since.Before(before)
			if !m.keys.Before(before) {
				keys = nil
			}
		}
		if main {
			ds = append(ds, demand{m: m, way: Main, at: m.cursor.place().At})
		}
		if len(keys) > 0 {
			d := demand{m: m, way: Side}
			var positions []checkpoint.Position
			for key, at := range keys {
				d.keys = append(d.keys, key)
				positions = append(positions, at)
			}
			d.at = checkpoint.Lowest(positions...)
			ds = append(ds, d)
		}
	}
	slices.SortStableFunc(ds, func(a, b demand) int { return a.at.Compare(b.at) })
	return ds
}

// place brings demands to clusters, and returns those that have to wait for
// a place.
func (c *catchUp) place(ctx context.Context) []demand {
	var outside []demand
	for _, d := range c.demands() {
		if c.joinLog(d) {
			continue
		}
		i := slices.IndexFunc(c.clusters, func(cl *cluster) bool { return cl.takes(d) })
		switch {
		case i >= 0:
			c.add(c.clusters[i], d)
		case len(c.clusters) < maxClusters && !slices.ContainsFunc(c.clusters, func(cl *cluster) bool { return cl.fresh }):
			c.begin(d)
		default:
			outside = append(outside, d)
		}
	}
	return outside
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

// add gives a demand a place in a cluster, unless it was met meanwhile.
func (c *catchUp) add(cl *cluster, d demand) {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	main, keys := d.m.cursor.wants()
	switch {
	case d.m.retired:
		return
	case d.way == Main && main && d.m.state == behind:
		cl.main = append(cl.main, d.m)
	case d.way == Side && len(keys) > 0 && d.m.state != leaving:
		for _, key := range d.keys {
			if _, still := keys[key]; !still {
				return // it is looked at again
			}
		}
		cl.side = append(cl.side, d.m)
	default:
		return
	}
	d.m.cursor.put(d.way, cl.log.begin(), d.keys)
	d.m.sub.Wake(d.m.cursor)
}

// begin makes a cluster for a demand.
func (c *catchUp) begin(d demand) {
	s, lease, from := c.s, c.s.tenure.Lease(), d.at
	if t, timed := from.Time(); timed && t.Before(s.source.retention().horizon) {
		from = checkpoint.TrimHorizon // what is left before that time shows that nothing behind it was trimmed
	}
	cl := &cluster{log: s.newLog(from), last: from, fresh: true, began: time.Now(), moved: time.Now(),
		reader:   s.source.config.Source.CatchUp(checkpoint.Shard{ID: lease.Shard, HashFrom: lease.HashFrom, HashTo: lease.HashTo}, from),
		unproven: newUnproven(from, []checkpoint.Position{d.at})}
	c.clusters = append(c.clusters, cl)
	c.add(cl, d)
}

// joinLog puts a laggard on the shard log if that still holds everything that
// it lacks.
func (c *catchUp) joinLog(d demand) bool {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if main, _ := d.m.cursor.wants(); d.way != Main || !main || d.m.retired || s.log == nil || s.atEnd || d.m.state != behind || time.Now().Before(d.m.rejoins) || !reached(d.at, s.log.origin()) {
		return false
	}
	w := s.log.begin() // holds the tail while it is looked at again
	if !reached(d.at, w.taken.Position) {
		s.log.leave(w)
		return false
	}
	d.m.cursor.put(Main, w, nil)
	d.m.state = live
	s.signal()
	d.m.sub.Wake(d.m.cursor)
	return true
}

// turn is the cluster that reads next; nil: none may now.
func (c *catchUp) turn() *cluster {
	if time.Now().Before(c.due) {
		return nil
	}
	for range c.clusters {
		cl := c.clusters[c.next%len(c.clusters)]
		c.next++
		if !cl.over && !cl.end && cl.log.bytes < readAhead {
			return cl
		}
	}
	return nil
}

// read reads once for a cluster.
func (c *catchUp) read(ctx context.Context, cl *cluster) {
	s := c.s
	call, cancel := context.WithTimeout(ctx, look)
	waited := cl.reader.Wait(call) // its own pace: it backs off after errors
	cancel()
	if waited != nil || !s.worker.catchUps.tryReserve(readBytes) {
		return
	}
	before := cl.log.bytes
	defer func() { s.worker.catchUps.release(readBytes - (cl.log.bytes - before)) }()
	if !s.tenure.Valid() {
		return
	}
	c.due = time.Now().Add(catchUpPause)
	s.source.metrics.catchUpReads.WithLabelValues(s.source.name).Inc()
	batch, err := cl.reader.Read(ctx)
	switch {
	case errors.Is(err, ErrShardGone):
		batch = Batch{End: true, Gap: &Gap{From: cl.last}}
	case err != nil:
		return
	case !batch.Continues && s.same(ctx) != nil:
		cl.over = true // the next read would begin behind what was not appended
		return
	}
	s.source.metrics.catchUpRecords.WithLabelValues(s.source.name).Add(float64(len(batch.Records)))
	gap := batch.Gap
	if gap == nil {
		gap = cl.unproven.gap(batch, s.source.source)
	}
	if gap != nil && s.gap(ctx, cl.unproven.all, *gap) != nil {
		cl.over = true
		return
	}
	for i := range batch.Records {
		if s.describe(ctx, cl.log, &batch.Records[i]) != nil {
			cl.over = true // what follows is not in the log
			break
		}
	}
	if n := len(batch.Records); n > 0 && !cl.over {
		cl.last = batch.Records[n-1].Position
	}
	cl.fresh = false
	if batch.Tip {
		cl.complete = s.source.retention().at
	}
	cl.tip, cl.end = batch.Tip, batch.End && !cl.over
	cl.wake()
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
	m.sub.Leave(m.cursor, Main)
	return true
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
		if m.cursor.through() >= upTo || m.sub.Park(m.cursor, upTo, mostParked(m.cursor, len(cl.log.byKey))) {
			return false
		}
		if !pressed && (!full || len(cl.main)+len(cl.side) == 1) {
			return false // it keeps nobody waiting
		}
		m.sub.Leave(m.cursor, Main)
		return true
	})
}

// retire ends clusters that nobody is in, and the one that has read for longest
// while others wait for a place.
func (c *catchUp) retire(waiting bool) {
	now := time.Now()
	if waiting {
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
		m.sub.Leave(m.cursor, Main)
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

func (c *catchUp) close() {
	for _, cl := range c.clusters {
		c.endCluster(cl)
		c.drop(cl)
	}
	c.clusters = nil
}
