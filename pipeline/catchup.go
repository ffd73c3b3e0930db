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

func (c *catchUp) close() {
	for _, cl := range c.clusters {
		c.endCluster(cl)
		c.drop(cl)
	}
	c.clusters = nil
}
