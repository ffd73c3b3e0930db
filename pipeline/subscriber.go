package pipeline

import (
	"context"
	"time"
)

// Subscriber gets the records of shards through cursors and settles them:
// each is delivered, dead-lettered, or filtered out.
//
// The worker attaches a cursor, wakes the subscriber whenever the cursor has
// records, and in the end drains (unless the tenure was lost) and detaches.
// A subscriber calls the methods of a cursor under a lock of its own, and
// never blocks in Attach and Wake.
type Subscriber interface {
	Name() string
	// Attach begins with a shard. ctx ends with the tenure: then attempts in
	// flight are cancelled and none starts.
	Attach(ctx context.Context, c *Cursor)
	// Wake says that c may have records to take.
	Wake(c *Cursor)
	// Leave ends one of c's ways: nothing more is taken on it, its lanes are
	// dropped, or kept (Cursor.Keep), and Cursor.Left is called, all before it
	// returns. It does not wait for what is in flight. The way Kept means the lanes
	// that were kept: they are dropped. Never blocks.
	Leave(c *Cursor, way Way)
	// Park parks the keys whose first unsettled records on the main way are at or
	// below an index, by Cursor.Park and PassHeld, if they are most at most and
	// it is those keys that are stuck, not the subscriber. It says false when it
	// did not. Never blocks.
	Park(c *Cursor, upTo uint64, most int) bool
	// Wants says whether the subscriber would take records that it is behind on,
	// if they were read. One that is down does not: that costs no reads. Never
	// blocks.
	Wants() bool
	// Slow says whether c is to be given up without waiting for all that was begun:
	// the subscriber is stopped, or a record is not settled although its first
	// attempt was longer ago than that. Never blocks.
	Slow(c *Cursor, than time.Duration) bool
	// Busy says whether anything of c is in flight. Never blocks.
	Busy(c *Cursor) bool
	// Drain begins no record above the highest on the main way that was begun
	// (attempted or settled), and none of parked keys, and returns nil when
	// everything on the main way up to that one is settled, so
	// that nothing is settled out of order. It gives up when ctx ends.
	Drain(ctx context.Context, c *Cursor) error
	// Detach begins no attempt any more and returns when nothing of c is in
	// flight. When the ctx of Attach has ended the attempts are cancelled, so
	// that it is soon.
	Detach(c *Cursor)
}
