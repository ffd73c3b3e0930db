package deliver

import (
	"slices"
	"time"

	"github.com/shardline/shardline/pipeline"
)

// Leave implements pipeline.Subscriber. Lanes whose records were attempted
// are kept, with what is known of their attempts, as far as there is room, and
// the lane to probe with in any case.
func (d *Destination) Leave(c *pipeline.Cursor, way pipeline.Way) {
	d.mu.Lock()
	defer d.mu.Unlock()
	a := d.attached[c]
	if a == nil {
		return
	}
	var dropped []*lane
	for _, l := range a.lanes {
		if c.Way(l.entry) != way {
			continue
		}
		must := l.place == flying || l == d.stop.lane
		if way == pipeline.Kept {
			if l.place == flying {
				continue
			}
		} else if (must || l.attempts > 0 || l.place == held) && c.Keep(l.entry, must) {
			continue
		}
		dropped = append(dropped, l)
	}
	d.drop(dropped)
	c.Left(way)
	if way == pipeline.Main {
		a.begun, a.taken = 0, 0 // they count entries of that log
	}
	d.take(a) // keys may have been unparked
	d.kick()
}

// stuckAfter is for how long an attempt is in flight before its key is stuck.
const stuckAfter = 250 * time.Millisecond

// Park implements pipeline.Subscriber. A lane that waits for its first turn, or
// whose attempt has just begun, is not stuck, nor is one while nothing else
// passes: then the whole destination is slow or down, or all will be well in a
// moment.
func (d *Destination) Park(c *pipeline.Cursor, upTo uint64, most int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	a := d.attached[c]
	now := time.Now()
	if a == nil || d.stopped() || d.pace.every > 0 && d.ready.n > 0 && d.pace.tokens(now) == 0 {
		return false // it is not a few keys
	}
	d.takeTo(a, upTo) // what was not even taken may be stuck, too
	var stuck []*lane
	for _, l := range a.lanes {
		if l.entry.Index > upTo || c.Way(l.entry) != pipeline.Main {
			continue
		}
		if l.letter == nil && (l.place == ready && l.attempts == 0 || l.place == flying && now.Sub(l.last) < stuckAfter) {
			return false
		}
		if l.place != held && !d.passes(l) {
			return false
		}
		stuck = append(stuck, l)
	}
	if len(stuck) > most {
		return false
	}
	c.PassHeld(upTo)
	var dropped []*lane
	for _, l := range stuck {
		if !c.Park(l.entry, l.place == flying) {
			dropped = append(dropped, l)
		}
	}
	d.drop(dropped)
	d.take(a)
	d.kick()
	return true
}

// passes says whether something has passed since a lane began to hold up others:
// with its first attempt, or its key's limit. d.mu is held.
func (d *Destination) passes(l *lane) bool {
	if l.attempts == 0 && l.place == waiting {
		return d.passed.After(l.due.Add(-interval(d.keyRateLimit)))
	}
	return !d.passed.Before(l.first)
}

// Slow implements pipeline.Subscriber.
func (d *Destination) Slow(c *pipeline.Cursor, than time.Duration) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	a := d.attached[c]
	if a == nil || len(a.lanes) == 0 {
		return false
	}
	if d.stopped() {
		return true
	}
	now := time.Now()
	for _, l := range a.lanes {
		if l.attempts > 0 && now.Sub(l.first) > than {
			return true
		}
	}
	return false
}

// beforeProbe is how long before a probe a record is wanted that has not failed
// yet.
const beforeProbe = 2 * time.Second

// Wants implements pipeline.Subscriber: a destination that is stopped wants a
// record to probe with, when that is due and it has none anywhere. One that a
// command holds wants nothing.
func (d *Destination) Wants() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := &d.stop
	switch {
	case d.orders.all:
		return false
	case h.cause == notStopped:
		return true
	case h.alone: // another key's record probes at once
		return true
	case h.cause == openCircuit && h.prober == nil && !d.ready.anyFresh():
		return time.Until(h.probeAt) < beforeProbe // all that has failed may be these
	case h.prober != nil || h.lane != nil || d.ready.n > 0 || h.probeAt.After(time.Now()):
		return false
	}
	return !slices.ContainsFunc(d.waiting, func(l *lane) bool { return l.letter == nil }) // it probes when it is due
}

// Busy implements pipeline.Subscriber.
func (d *Destination) Busy(c *pipeline.Cursor) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	a := d.attached[c]
	return a != nil && a.busy > 0
}

// drop forgets lanes that are not flying. d.mu is held.
func (d *Destination) drop(lanes []*lane) {
	if len(lanes) == 0 {
		return
	}
	for _, l := range lanes {
		if l.place == waiting {
			d.waiting.remove(l)
		}
		if d.stop.lane == l {
			d.stop.lane = nil
		}
		l.dropped = true
	}
	d.ready.dropIf(func(l *lane) bool { return l.dropped })
	d.refused.dropIf(func(l *lane) bool { return l.dropped })
	for _, l := range lanes {
		l.of.cursor.Drop(l.entry)
		delete(l.of.lanes, l.key)
		d.recycle(l)
	}
}
