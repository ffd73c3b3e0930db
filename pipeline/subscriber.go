package pipeline

import "context"

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
	// Drain begins no record above the highest that was begun (attempted or
	// settled) and returns nil when everything up to that one is settled, so
	// that nothing is settled out of order. It gives up when ctx ends.
	Drain(ctx context.Context, c *Cursor) error
	// Detach begins no attempt any more and returns when nothing of c is in
	// flight. When the ctx of Attach has ended the attempts are cancelled, so
	// that it is soon.
	Detach(c *Cursor)
}
