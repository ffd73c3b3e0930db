package pipeline

import (
	"sync"

	"github.com/shardline/shardline/checkpoint"
)

// orders are what a shard is to obey, and what of it the lease says is in force.
type orders struct {
	mu           sync.Mutex
	desired      checkpoint.Desired
	acknowledged int64 // a version: what the lease says, or is about to
}

// desire implements obedient.
func (o *orders) desire(d checkpoint.Desired) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.desired = d
}

// acknowledge is the version to save: everything up to it is in force. busy and
// due are as in checkpoint.Desired.InForce.
func (o *orders) acknowledge(busy, due func(destination string) bool) int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.acknowledged = max(o.acknowledged, o.desired.InForce(busy, due))
	return o.acknowledged
}

// obeying is what the lease saves: the positions, and which commands are in
// force with them. Those are looked at first, so that the positions of a command
// that is acknowledged are never older than it.
func (s *shard) obeying() checkpoint.Saved {
	// Nothing stops a subscriber of this worker yet, so that no command that
	// wants one stopped is in force.
	yet := func(string) bool { return true }
	acknowledged := s.orders.acknowledge(yet, yet)
	saved := s.saved()
	saved.Acknowledged = acknowledged
	return saved
}
