package pipeline

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/shardline/shardline/checkpoint"
)

// ShardInfo says where a cursor's records come from.
type ShardInfo struct {
	Source string
	Stream Stream
	Shard  string
	// Command is the id of the command that delivers the records again which
	// arrived before Until (zero: all of them), as part of their idempotency
	// keys; empty: none does.
	Command string
	Until   time.Time
}

// Way is one of the two ways on which a cursor takes entries.
type Way uint8

const (
	// Main is the way of all records but those of parked keys: along the
	// shard's log, or, for a laggard, along a catch-up's.
	Main Way = iota
	// Side is the way of parked keys, along a catch-up's log.
	Side
	// Kept is no way: the entry's log has forgotten it, and its lane alone has
	// it still.
	Kept
)

// Cursor is one subscriber's place in one shard for one tenure: what it has
// settled, which keys are parked, and the logs that it takes entries from.
// The upper-case methods are called one at a time, by the subscriber under a
// lock of its own; the others by the worker, beside them.
type Cursor struct {
	info  ShardInfo
	valid func() bool

	// special says that there is more to look at than the main way: whatever
	// mu guards. While it is false, Next and Settle take no lock.
	special atomic.Bool

	// These change under the subscriber's lock and mu.
	main, side *walk // nil: on no log
	start      checkpoint.Position
	ahead      map[string]checkpoint.Position // of keys: settled further than start
	past       atomic.Bool                    // the main way has passed an entry that start does not cover

	mu       sync.Mutex
	pending  *walk               // the next main way, from the next call of Next on
	sidekeys map[string]struct{} // the keys that the side way takes
	parked   map[string]*parked
	released []*Entry // of keys that were unparked: first entries on the main way that Next gives anew
	keep     *room    // for the entries of lanes whose log forgets them; nil: as much as there is
}

// newCursor makes a cursor that is on no log. start says what was settled
// before; keys that lie behind its position are parked.
func newCursor(info ShardInfo, start checkpoint.Entry, valid func() bool) *Cursor {
	c := &Cursor{info: info, valid: valid, start: start.At, parked: make(map[string]*parked)}
	for key, at := range start.Keys {
		if at == start.At {
			continue
		}
		if !reached(at, start.At) && (ordered(start.At) || !ordered(at)) { // a record's position is behind a time that nothing was read from
			c.parked[key] = &parked{at: at, passed: start.At, holding: true}
			continue
		}
		if c.ahead == nil {
			c.ahead = make(map[string]checkpoint.Position)
		}
		c.ahead[key] = at
	}
	c.special.Store(len(c.parked) > 0)
	return c
}

// Shard says where the records come from.
func (c *Cursor) Shard() ShardInfo { return c.info }

// Valid says whether an attempt may start now: the tenure is held.
func (c *Cursor) Valid() bool { return c.valid() }

// Next takes the next entry that is not settled yet for this subscriber; nil:
// there is none now. An entry whose key has a lane already is for that lane,
// which comes to it through Settle.
func (c *Cursor) Next() *Entry {
	if c.special.Load() {
		return c.nextSpecial()
	}
	if c.main == nil {
		return nil
	}
	for e := c.main.next(); e != nil; e = c.main.next() {
		if c.unsettled(e) {
			return e
		}
		c.main.settle(e)
	}
	return nil
}

// unsettled says whether an entry that the main way has come to is the
// subscriber's to settle.
func (c *Cursor) unsettled(e *Entry) bool {
	at := c.atOf(e.Key)
	before := at.Covers(e.Position, e.Arrival)
	if !before && !c.past.Load() {
		c.past.Store(true)
	}
	return !before && !e.skipped(at)
}

// atOf is the position up to which everything of a key was settled before the
// main way.
func (c *Cursor) atOf(key string) checkpoint.Position {
	if p, ok := c.ahead[key]; ok && further(p, c.start) {
		return p
	}
	return c.start
}

// Settle marks an entry that Next or Settle gave as settled. It returns the
// next entry with that key among those taken; nil: there is none, the lane
// ends, and Next will come to it.
func (c *Cursor) Settle(e *Entry) *Entry {
	if c.main == nil || e.log != c.main.log || c.special.Load() {
		return c.settleSpecial(e)
	}
	next := c.main.following(e)
	c.main.settle(e)
	return next
}

// Way says on which way the entry of a lane came.
func (c *Cursor) Way(e *Entry) Way {
	if c.special.Load() {
		if way, parked := c.wayOfParked(e.Key); parked {
			return way
		}
	}
	if c.main == nil || e.log != c.main.log {
		return Kept
	}
	return Main
}

// Through is the index up to which everything on the main way is settled.
func (c *Cursor) Through() uint64 {
	if c.main == nil {
		return 0
	}
	return c.main.done.Load().Index
}

// Left ends a way. The subscriber has dropped the lanes whose entries were
// taken on it, or keeps them by Keep; what is in flight may still settle.
func (c *Cursor) Left(way Way) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.adopt()
	switch {
	case way == Main && c.main != nil:
		c.leftMain()
	case way == Side && c.side != nil:
		c.leftSide()
	}
	c.specially()
}

func (c *Cursor) leftMain() {
	w, at := c.main, c.settledThrough()
	ahead := make(map[string]checkpoint.Position)
	for key, p := range c.ahead {
		if further(p, at) {
			ahead[key] = p
		}
	}
	for e := w.done.Load().next.Load(); e != nil && e.Index <= w.taken.Index; e = e.next.Load() {
		// What a time covers may come behind what it does not: that says nothing.
		at := c.atOf(e.Key)
		if !e.skipped(at) && !at.Covers(e.Position, e.Arrival) && w.settled(e.Index) && c.parked[e.Key] == nil && !reached(ahead[e.Key], e.Position) {
			ahead[e.Key] = e.Position
		}
	}
	for _, p := range c.parked {
		p.held = nil
	}
	c.main, c.start, c.ahead, c.released = nil, at, ahead, nil
	w.log.leave(w)
}

// settledThrough is the position up to which everything but parked keys is
// settled. Behind a start that is a time, arrivals need not be in order: what it
// covers may come again later, and is no way back. mu is held.
func (c *Cursor) settledThrough() checkpoint.Position {
	w := c.mainWalk()
	if w == nil {
		return c.start
	}
	e := w.done.Load()
	for next := e.next.Load(); next != nil && next.skip == everybody; next = e.next.Load() {
		e = next // settled for everybody, also for who has not come to it yet
	}
	covered := c.start.Covers(e.Position, e.Arrival) && (c.start.IsNumber() || !c.past.Load())
	if e.Index == 0 || covered {
		return c.start
	}
	return e.Position
}

// place is where the subscriber stands: its position, and its parked keys with
// theirs, and the keys that were settled further than the position
// before its log.
func (c *Cursor) place() checkpoint.Entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := checkpoint.Entry{At: c.settledThrough()}
	for key, p := range c.parked {
		at := c.keyAt(key, p)
		if !p.gate && !p.behind(at) && (!ordered(at) || reached(e.At, at)) {
			continue // nothing of it was passed: what governs the others governs it
		}
		if e.Keys == nil {
			e.Keys = make(map[string]checkpoint.Position, len(c.parked))
		}
		e.Keys[key] = at
	}
	for key, at := range c.ahead {
		if _, is := e.Keys[key]; is || reached(e.At, at) {
			continue
		}
		if e.Keys == nil {
			e.Keys = make(map[string]checkpoint.Position, len(c.ahead))
		}
		e.Keys[key] = at
	}
	return e
}

// put begins a way along a log. The main way is changed at the subscriber's
// next call of Next. keys are those that the side way takes: parked ones
// without a lane.
func (c *Cursor) put(way Way, w *walk, keys []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if way == Main {
		c.pending = w
	} else {
		c.side, c.sidekeys = w, make(map[string]struct{}, len(keys))
		for _, key := range keys {
			c.sidekeys[key] = struct{}{}
		}
	}
	c.special.Store(true)
}

// adopt changes the main way to the one that was put. mu is held.
func (c *Cursor) adopt() {
	if c.pending != nil {
		c.main, c.pending = c.pending, nil
		c.past.Store(false)
	}
}

// on says whether a way is on a log.
func (c *Cursor) on(way Way, l *Log) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.side
	if way == Main {
		w = c.mainWalk()
	}
	return w != nil && w.log == l
}

// oldest is when the first entry of the main way arrived that is not settled;
// false: there is none.
func (c *Cursor) oldest() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mainWalk().oldest()
}

// mainWalk is the main way, as it is or will be. mu is held.
func (c *Cursor) mainWalk() *walk {
	if c.pending != nil {
		return c.pending
	}
	return c.main
}

// oldestOfKeys is oldest of the side way.
func (c *Cursor) oldestOfKeys() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.side.oldest()
}

// through is the index up to which everything on the main way is settled.
func (c *Cursor) through() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w := c.mainWalk(); w != nil {
		return w.done.Load().Index
	}
	return 0
}

// finish says that the subscriber is at the shard's end. The main way has been
// left.
func (c *Cursor) finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.start, c.ahead = checkpoint.ShardEnd, nil
}

// specially sets special anew. mu is held.
func (c *Cursor) specially() {
	c.special.Store(c.pending != nil || c.side != nil || len(c.parked) > 0 || len(c.released) > 0)
}

// further says whether a position is known to be behind another: a key that had
// nothing settled is not, once its subscriber has gone on without it.
func further(p, at checkpoint.Position) bool { return ordered(p) && !reached(at, p) }

// reached says whether whoever is at a position has settled everything up to
// another.
func reached(at, upTo checkpoint.Position) bool {
	return at == upTo || ordered(at) && ordered(upTo) && at.Compare(upTo) >= 0
}
