package pipeline

import "time"

// Expirer is a Subscriber that can save records which the stream is about to
// trim, although nobody takes them.
type Expirer interface {
	// Expire gives up the records of c that arrived before a time: from now on
	// those that c gives and that are not in flight are dead-lettered instead of
	// attempted, and settled, also while the subscriber is held or its circuit is
	// open. The time never goes back. Expire says false when the subscriber has no
	// dead letters: then they are lost when the stream trims them. Never blocks.
	Expire(c *Cursor, before time.Time) bool
}
