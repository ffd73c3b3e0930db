package pipeline

import (
	"sync"

	"github.com/shardline/shardline/checkpoint"
)

// orders are what a shard is to obey, and what of it the lease says is in force.
type orders struct {
	news chan struct{} // capacity 1: there is something new

	mu           sync.Mutex
	desired      checkpoint.Desired
	acknowledged int64            // a version: what the lease says, or is about to
	done         map[string]int64 // by destination: the version whose replay or removal is done on this shard
}

func newOrders(acknowledged int64) orders {
	return orders{news: make(chan struct{}, 1), acknowledged: acknowledged, done: make(map[string]int64)}
}

// desire implements obedient.
func (o *orders) desire(d checkpoint.Desired) {
	o.mu.Lock()
	o.desired = d
	o.mu.Unlock()
	select {
	case o.news <- struct{}{}:
	default:
	}
}

// now is what is desired.
func (o *orders) now() checkpoint.Desired {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.desired
}

// wish is what is desired of one destination.
func (o *orders) wish(destination string) checkpoint.Wish { return o.now().Wish(destination) }

// stopped says whether a destination is to take nothing.
func (o *orders) stopped(destination string) bool { return o.wish(destination).Stopped() }

// due says whether a destination is still to be set back, or removed, here, and
// which version asks for that.
func (o *orders) due(destination string) (version int64, due bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch w := o.desired.Wish(destination); {
	case w.Removal.Leaving():
		version = w.Removal.Set
	case w.Replay != nil && w.Replay.Set > 0:
		version = w.Replay.Set
	default:
		return 0, false
	}
	return version, o.acknowledged < version && o.done[destination] < version
}

// did notes that what a version asked for of a destination is done: the next
// save says so.
func (o *orders) did(destination string, version int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.done[destination] = version
}

// acknowledge is the version to save: everything up to it is in force. busy and
// due are as in checkpoint.Desired.InForce.
func (o *orders) acknowledge(busy, due func(destination string) bool) int64 {
	version := o.now().InForce(busy, due)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.acknowledged = max(o.acknowledged, version)
	return o.acknowledged
}
