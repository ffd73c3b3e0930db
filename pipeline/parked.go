package pipeline

import (
	"sync/atomic"

	"github.com/shardline/shardline/checkpoint"
)

// parked is a key of a subscriber that has fallen behind the others: it holds
// neither the log nor the checkpoint. Its own position governs it, and it gets
// its records on the side way. It is unparked when that has reached what the main
// way has passed, so that the main way never goes back (the model's Unpark).
type parked struct {
	at     checkpoint.Position // everything of the key up to it is settled
	passed checkpoint.Position // the main way has passed what this covers; TRIM_HORIZON: nothing
	lane   bool                // the subscriber has a lane with the key's first unsettled record
	side   bool                // that comes from the side way
	gate   bool                // a parent's records of the key are not settled: nothing of it is to be given
	bytes  int64               // of room that its lane's entry takes

	// holding: the main way no longer passes the key's records, but holds them
	// back until the key is unparked.
	holding  bool
	held     *Entry // the first of them
	complete bool   // the side way has come to the end of what was passed
}

// behind says whether the key has records that the main way has passed.
func (p *parked) behind(at checkpoint.Position) bool {
	return p.passed != checkpoint.TrimHorizon && !reached(at, p.passed)
}

// keyAt is the position up to which everything of a parked key is settled: never
// beyond what was passed, since the side way gives no more. mu is held.
func (c *Cursor) keyAt(key string, p *parked) checkpoint.Position {
	if _, ours := c.sidekeys[key]; !ours || !ordered(p.passed) {
		return p.at
	}
	done := c.side.done.Load()
	switch {
	case done.Index == 0 || reached(p.at, done.Position):
		return p.at
	case reached(done.Position, p.passed):
		return p.passed
	}
	return done.Position
}

// wayOfParked says on which way the entry of a lane came, if its key is parked.
func (c *Cursor) wayOfParked(key string) (Way, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch p := c.parked[key]; {
	case p == nil:
		return 0, false
	case p.side:
		return Side, true
	}
	return Kept, true
}

// Parked is how many keys are parked.
func (c *Cursor) Parked() int {
	if !c.special.Load() {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.parked)
}

// nextSpecial is Next with everything that there may be.
func (c *Cursor) nextSpecial() *Entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.adopt()
	if e := c.nextSide(); e != nil {
		return e
	}
	if e := c.nextMain(); e != nil {
		return e
	}
	for key, p := range c.parked {
		c.unpark(key, p)
	}
	e := c.nextMain()
	c.specially()
	return e
}

func (c *Cursor) nextMain() *Entry {
	if n := len(c.released); n > 0 {
		e := c.released[n-1]
		c.released = c.released[:n-1]
		return e
	}
	if c.main == nil {
		return nil
	}
	for e := c.main.next(); e != nil; e = c.main.next() {
		if !c.unsettled(e) {
			c.main.settle(e)
			continue
		}
		switch p := c.parked[e.Key]; {
		case p == nil:
			return e
		case !p.holding:
			c.pass(p, e)
		case p.held == nil:
			p.held = e
		}
	}
	return nil
}

// pass lets the main way go on without a parked key's entry.
func (c *Cursor) pass(p *parked, e *Entry) {
	if !reached(p.passed, e.Position) {
		p.passed = e.Position
	}
	c.main.settle(e)
}

// nextSide takes the next entry of a key that the side way takes.
func (c *Cursor) nextSide() *Entry {
	if c.side == nil {
		return nil
	}
	for e := c.side.next(); e != nil; e = c.side.next() {
		_, ours := c.sidekeys[e.Key]
		p := c.parked[e.Key]
		switch {
		case !ours || p == nil || e.skip == everybody || p.at.Covers(e.Position, e.Arrival):
		case !p.passed.Covers(e.Position, e.Arrival):
			// It is the main way's, which holds it back from now on.
			p.holding, p.complete = true, true
			if !p.lane && !reached(p.at, p.passed) {
				p.at = p.passed
			}
		default:
			p.lane, p.side = true, true
			return e
		}
		c.side.settle(e)
	}
	return nil
}

// unpark gives a key back to the main way, when that has passed nothing that
// is not settled. mu is held.
func (c *Cursor) unpark(key string, p *parked) {
	at := c.keyAt(key, p)
	if p.lane || p.gate || p.behind(at) {
		return
	}
	delete(c.parked, key)
	delete(c.sidekeys, key)
	if ordered(at) && !reached(c.start, at) && (c.main == nil || !reached(c.main.taken.Position, at)) {
		if c.ahead == nil {
			c.ahead = make(map[string]checkpoint.Position)
		}
		c.ahead[key] = at
	}
	for p.held != nil && at.Covers(p.held.Position, p.held.Arrival) { // by the lane that was kept
		next := c.main.following(p.held)
		c.main.settle(p.held)
		p.held = next
	}
	if p.held != nil {
		c.released = append(c.released, p.held)
	}
}

// settleSpecial is Settle with everything that there may be.
func (c *Cursor) settleSpecial(e *Entry) *Entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.parked[e.Key]
	if p == nil {
		if c.main == nil || e.log != c.main.log {
			return nil // its way has ended, and its lane was not kept
		}
		next := c.main.following(e)
		c.main.settle(e)
		return next
	}
	var next *Entry
	if p.side {
		next = c.side.following(e)
		c.side.settle(e)
		if _, ours := c.sidekeys[e.Key]; !ours { // it is read anew
			for dropped := next; dropped != nil; {
				after := c.side.following(dropped)
				c.side.settle(dropped)
				dropped = after
			}
			next = nil
		}
	}
	if !reached(p.at, e.Position) {
		p.at = e.Position
	}
	c.keep.release(p)
	if next == nil {
		p.lane, p.side = false, false
		if p.complete && !reached(p.at, p.passed) {
			p.at = p.passed
		}
		c.unpark(e.Key, p)
		c.specially()
	}
	return next
}

// Keep keeps the lane of an entry, which is the key's first unsettled one, while
// its way ends. It says false when there is no room for it, unless must is set:
// then the lane is to be dropped.
func (c *Cursor) Keep(e *Entry, must bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.parked[e.Key]
	if p == nil {
		p = &parked{at: c.firstAt(e), holding: true}
	}
	if !c.keep.reserve(p, e.bytes(), must) {
		return false
	}
	p.lane = true
	c.parked[e.Key] = p
	c.special.Store(true)
	return true
}

// Park lets the main way go on without the key of an entry, which is its first
// unsettled one, and keeps its lane. It says false when there is no room for
// that, unless must is set: then the key is parked, but the lane is to be
// dropped.
func (c *Cursor) Park(e *Entry, must bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.parked[e.Key]
	if p == nil {
		p = &parked{at: c.firstAt(e)}
		c.parked[e.Key] = p
	}
	p.lane = c.keep.reserve(p, e.bytes(), must)
	c.passFrom(p, e)
	c.special.Store(true)
	return p.lane
}

// PassHeld lets the main way go on without those entries that it holds back for
// parked keys, the first of which is at or below an index.
func (c *Cursor) PassHeld(upTo uint64) {
	if !c.special.Load() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.parked {
		if p.held != nil && p.held.Index <= upTo {
			c.passFrom(p, p.held)
		}
	}
}

// passFrom passes what the main way has taken of a key. A side way that was
// through with the key does not see these records: it is read anew. mu is held.
func (c *Cursor) passFrom(p *parked, e *Entry) {
	if p.complete {
		p.at = c.keyAt(e.Key, p)
		delete(c.sidekeys, e.Key)
		p.complete = false
	}
	for e != nil {
		next := c.main.following(e)
		c.pass(p, e)
		e = next
	}
	p.held, p.holding = nil, false
}

// Drop says that the lane of a parked key is no more; the key gets its records
// anew.
func (c *Cursor) Drop(e *Entry) {
	if !c.special.Load() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.parked[e.Key]; p != nil {
		p.lane, p.side = false, false
		c.keep.release(p)
	}
}

// firstAt is the position of the key of an entry on the main way that is its
// first unsettled one. mu is held.
func (c *Cursor) firstAt(e *Entry) checkpoint.Position {
	at := c.atOf(e.Key)
	if ordered(e.before) && !reached(at, e.before) {
		return e.before
	}
	return at
}

// leftSide ends the side way. mu is held.
func (c *Cursor) leftSide() {
	w := c.side
	for key := range c.sidekeys {
		if p := c.parked[key]; p != nil {
			p.at = c.keyAt(key, p)
			p.complete = false
		}
	}
	for e := w.done.Load().next.Load(); e != nil && e.Index <= w.taken.Index; e = e.next.Load() {
		p := c.parked[e.Key]
		if _, ours := c.sidekeys[e.Key]; ours && p != nil && e.skip != everybody && w.settled(e.Index) &&
			p.passed.Covers(e.Position, e.Arrival) && !p.at.Covers(e.Position, e.Arrival) && !reached(p.at, e.Position) {
			p.at = e.Position
		}
	}
	c.side, c.sidekeys = nil, nil
	for key, p := range c.parked {
		p.side = false
		c.unpark(key, p)
	}
	w.log.leave(w)
}

// wants says whether the subscriber is on no main way, and which parked keys
// have records to read on the side way, each with its position.
func (c *Cursor) wants() (main bool, keys map[string]checkpoint.Position) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.side == nil {
		for key, p := range c.parked {
			if !p.lane && !p.gate && p.behind(p.at) {
				if keys == nil {
					keys = make(map[string]checkpoint.Position)
				}
				keys[key] = p.at
			}
		}
	}
	return c.main == nil && c.pending == nil, keys
}

// sideAt is the index up to which everything on the side way is settled.
func (c *Cursor) sideAt() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.side == nil {
		return 0
	}
	return c.side.done.Load().Index
}

// sideLeft is how many keys are still to be read on the side way, or have a lane
// with records of it.
func (c *Cursor) sideLeft() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for key := range c.sidekeys {
		if p := c.parked[key]; p != nil && (!p.complete || p.side) {
			n++
		}
	}
	return n
}

// sideEnded says that the shard has nothing behind what the side way has
// settled.
func (c *Cursor) sideEnded() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key := range c.sidekeys {
		if p := c.parked[key]; p != nil && !p.lane {
			if p.complete = true; !reached(p.at, p.passed) {
				p.at = p.passed
			}
		}
	}
}

// holdBack makes the main way hold back what comes of the keys on the side
// way, which is near.
func (c *Cursor) holdBack() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key := range c.sidekeys {
		if p := c.parked[key]; p != nil {
			p.holding = true
		}
	}
}

// shut closes the gate of a key: it is parked, and gets nothing.
func (c *Cursor) shut(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.parked[key]
	if p == nil {
		p = &parked{at: c.start, holding: true}
		c.parked[key] = p
	}
	p.gate = true
	c.special.Store(true)
}

// opens says whether a gate is shut of a key that is not in keys any more.
func (c *Cursor) opens(keys map[string]checkpoint.Position) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, p := range c.parked {
		if _, shut := keys[key]; p.gate && !shut {
			return true
		}
	}
	return false
}

// open opens the gates of keys that are in keys no more; the subscriber is to be
// woken. It returns how many it opened.
func (c *Cursor) open(keys map[string]checkpoint.Position) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for key, p := range c.parked {
		if _, shut := keys[key]; p.gate && !shut {
			p.gate = false
			n++
		}
	}
	return n
}

// release gives back the room of lanes that are no more.
func (c *Cursor) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.parked {
		c.keep.release(p)
	}
}

// room bounds the bytes of entries that lanes keep after their log has
// forgotten them, over the whole worker.
type room struct {
	limit int64
	used  atomic.Int64
}

func (r *room) reserve(p *parked, n int64, must bool) bool {
	if r == nil || p.bytes > 0 {
		return true
	}
	if r.used.Add(n) > r.limit && !must {
		r.used.Add(-n)
		return false
	}
	p.bytes = n
	return true
}

func (r *room) release(p *parked) {
	if r != nil && p.bytes > 0 {
		r.used.Add(-p.bytes)
		p.bytes = 0
	}
}
