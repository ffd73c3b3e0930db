package deliver

import (
	"maps"
	"time"

	"github.com/shardline/shardline/pipeline"
)

var _ pipeline.Holdable = (*Destination)(nil)

// orders are what commands hold. They are guarded by the destination's mutex.
type orders struct {
	all  bool            // everything: not even a probe starts
	keys map[string]bool // these
}

// Hold implements pipeline.Holdable. What is in flight ends as it would.
func (d *Destination) Hold(all bool, keys map[string]bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := d.orders
	d.orders = orders{all: all, keys: maps.Clone(keys)}
	d.freeKeys()
	if before.all != all {
		d.restated(time.Now())
	}
	d.kick()
	d.signal()
}

// Release implements pipeline.Holdable: what the destination has stopped by
// itself is tried again at once, with all its retries.
func (d *Destination) Release(key string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	if key == "" && d.stop.cause != notStopped {
		if l := d.stop.lane; l != nil {
			d.forgive(l, now)
		}
		d.open("released by command", now)
	}
	d.releaseKeys(key, now)
	d.kick()
	d.signal()
}

// forgive makes a lane's attempts so far count no more for its limits. d.mu is
// held.
func (d *Destination) forgive(l *lane, now time.Time) {
	l.failures, l.unclear = 0, 0
	l.downBefore = d.downtime.at(now) - now.Sub(l.first) // its age is 0
}
