package pipeline

import (
	"sync/atomic"

	"github.com/shardline/shardline/checkpoint"
)

// ShardInfo says where a cursor's records come from.
type ShardInfo struct {
	Source string
	Stream Stream
	Shard  string
}

// Cursor is one subscriber's place in one shard's log, and what it has
// settled behind it. Its methods are called one at a time, by the subscriber;
// only settledThrough may be called beside them.
type Cursor struct {
	info  ShardInfo
	log   *Log
	valid func() bool
	start checkpoint.Entry // what was settled before this tenure

	taken *Entry                // the last entry that Next has passed
	done  atomic.Pointer[Entry] // everything up to it is settled
	past  atomic.Bool           // Next has passed an entry that start does not cover
	out   []uint64              // settled ahead of done: a ring of bits by index, a power of two words
}

func newCursor(info ShardInfo, log *Log, start checkpoint.Entry, valid func() bool) *Cursor {
	c := &Cursor{info: info, log: log, valid: valid, start: start, taken: log.tail, out: make([]uint64, 1)}
	c.done.Store(log.tail)
	return c
}

// Shard says where the records come from.
func (c *Cursor) Shard() ShardInfo { return c.info }

// Valid says whether an attempt may start now: the tenure is held.
func (c *Cursor) Valid() bool { return c.valid() }

// Next takes the next entry of the log that is not settled yet for this
// subscriber; nil: there is none now.
func (c *Cursor) Next() *Entry {
	for {
		e := c.taken.next.Load()
		if e == nil {
			return nil
		}
		c.taken = e
		before := c.settledBefore(e)
		if !before {
			c.past.Store(true)
		}
		if !before && !e.skipped {
			return e
		}
		c.Settle(e)
	}
}

// Following is the next unsettled entry with e's key among those that Next
// has taken; nil: there is none, and Next will come to it.
func (c *Cursor) Following(e *Entry) *Entry {
	for {
		e = e.sameKey.Load()
		if e == nil || e.Index > c.taken.Index {
			return nil
		}
		if !c.settled(e.Index) {
			return e
		}
	}
}

// Settle marks an entry that Next has taken as settled.
func (c *Cursor) Settle(e *Entry) {
	done := c.done.Load()
	if e.Index != done.Index+1 {
		c.mark(done.Index, e.Index)
		return
	}
	from := done.Index
	done = e
	for {
		next := done.next.Load()
		if next == nil || next.Index > c.taken.Index || !c.unmark(next.Index) {
			break
		}
		done = next
	}
	c.done.Store(done)
	c.log.moved(from)
}

// Through is the index up to which everything is settled.
func (c *Cursor) Through() uint64 { return c.done.Load().Index }

// settledThrough is the position up to which everything is settled, and the
// parked keys below it as long as nothing has moved. Behind a start that is a
// time, arrivals need not be in order: what it covers may come again later, and
// is no way back.
func (c *Cursor) settledThrough() checkpoint.Entry {
	e := c.done.Load()
	for next := e.next.Load(); next != nil && next.skipped; next = e.next.Load() {
		e = next // settled for everybody, also for who has not come to it yet
	}
	covered := len(c.start.Keys) == 0 && c.start.At.Covers(e.Position, e.Arrival) && (c.start.At.IsNumber() || !c.past.Load())
	if e.Index == 0 || covered {
		return c.start
	}
	return checkpoint.Entry{At: e.Position}
}

func (c *Cursor) settledBefore(e *Entry) bool {
	at := c.start.At
	if p, ok := c.start.Keys[e.Key]; ok {
		at = p
	}
	return at.Covers(e.Position, e.Arrival)
}

// settled says whether an entry between done and taken is settled.
func (c *Cursor) settled(index uint64) bool {
	done := c.done.Load().Index
	if index <= done {
		return true
	}
	return index-done < uint64(len(c.out)*64) && c.out[c.word(index)]&(1<<(index&63)) != 0
}

func (c *Cursor) word(index uint64) uint64 { return index >> 6 & uint64(len(c.out)-1) }

func (c *Cursor) mark(done, index uint64) {
	// One word is left free, so that done+1 and the highest mark never share one.
	for index-done > uint64(len(c.out)-1)*64 {
		c.grow(done)
	}
	c.out[c.word(index)] |= 1 << (index & 63)
}

func (c *Cursor) unmark(index uint64) bool {
	w, bit := c.word(index), uint64(1)<<(index&63)
	set := c.out[w]&bit != 0
	c.out[w] &^= bit
	return set
}

func (c *Cursor) grow(done uint64) {
	old, size := c.out, uint64(len(c.out))
	c.out = make([]uint64, 2*size)
	for w := done >> 6; w < done>>6+size; w++ {
		c.out[w&(2*size-1)] = old[w&(size-1)]
	}
}
