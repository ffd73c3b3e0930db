package deliver

import (
	"time"

	"github.com/shardline/shardline/pipeline"
)

var _ pipeline.Expirer = (*Destination)(nil)

// BeforeTrim implements pipeline.Expirer.
func (d *Destination) BeforeTrim() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.letters == nil {
		return 0
	}
	return d.beforeTrim
}

// Expire implements pipeline.Expirer. A stop of the destination does not stop its
// dead letters.
func (d *Destination) Expire(c *pipeline.Cursor, before time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	a := d.attached[c]
	if a == nil || d.letters == nil {
		return false
	}
	if before.After(a.expire) {
		a.expire = before
	}
	for _, l := range a.lanes {
		if l.letter == nil && d.expired(l) && (l.place == waiting || l.place == probing || l.place == held) {
			d.giveUp(l)
			d.refused.push(l)
		}
	}
	d.ready.dropIf(func(l *lane) bool {
		if l.of != a || !d.expired(l) {
			return false
		}
		d.giveUp(l)
		d.refused.push(l)
		return true
	})
	// Those that were not taken yet: others' lanes may be all that is ready.
	for d.refused.n < maxRefused {
		if e := d.takeOne(a); e == nil || !e.Arrival.Before(a.expire) {
			break
		}
	}
	d.take(a)
	d.kick()
	return true
}

// expired says whether a lane's record is given up before the stream trims it.
// d.mu is held.
func (d *Destination) expired(l *lane) bool {
	return d.letters != nil && l.entry.Arrival.Before(l.of.expire)
}

// giveUp takes a lane, unless it is in a queue, out of its place, and makes its
// record's dead letter, which is to be written. d.mu is held.
func (d *Destination) giveUp(l *lane) {
	switch l.place {
	case waiting:
		d.waiting.remove(l)
	case probing:
		d.stop.lane = nil
	}
	a := Answer{Reason: ReasonBeforeTrim, Detail: "not delivered in time: the stream is about to trim it"}
	l.letter, l.letters = d.letterOf(l, ReasonBeforeTrim, a, time.Now()), d.letters
}

// enter puts a lane into its queue. d.mu is held.
func (d *Destination) enter(l *lane) {
	if d.expired(l) {
		d.giveUp(l)
		d.refused.push(l)
		d.kickWriters()
		return
	}
	d.ready.push(l)
}
