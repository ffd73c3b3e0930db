package deliver

import (
	"time"

	"github.com/shardline/shardline/pipeline"
)

// kick starts goroutines for the lanes that may start, and sets the timer for
// those that may later. d.mu is held.
func (d *Destination) kick() {
	want := 0
	switch {
	case !d.stopped() && d.pace.every == 0:
		want = d.ready.n
	case !d.stopped():
		want = min(d.ready.n, d.pace.tokens(time.Now()))
	case d.mayProbe(time.Now()) && d.pace.tokens(time.Now()) > 0:
		want = 1
	}
	for d.starting < want && d.running < d.concurrency {
		d.running++
		d.starting++
		d.workers.Go(d.work)
	}
	d.kickWriters()
	d.arm()
}

// arm sets the timer for the lane or the probe that is due first. A probe that
// is due already needs no timer: whoever looks for a lane next takes it. d.mu
// is held.
func (d *Destination) arm() {
	var next time.Time
	if len(d.waiting) > 0 {
		next = d.waiting[0].due
	}
	h := &d.stop
	if h.cause != notStopped && h.prober == nil && (next.IsZero() || h.probeAt.Before(next)) && h.probeAt.After(time.Now()) {
		next = h.probeAt
	}
	if d.pace.every > 0 && (d.ready.n > 0 || h.lane != nil) {
		if at := d.pace.at(); (next.IsZero() || at.Before(next)) && at.After(time.Now()) {
			next = at
		}
	}
	if next.IsZero() || !d.timerAt.IsZero() && !next.Before(d.timerAt) {
		return
	}
	d.timerAt = next
	if d.timer == nil {
		d.timer = time.AfterFunc(time.Until(next), d.fire)
		return
	}
	d.timer.Reset(time.Until(next))
}

// fire makes ready what is due. It is the timer's, and never blocks.
func (d *Destination) fire() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.timerAt = time.Time{}
	now := time.Now()
	for l := d.waiting.due(now); l != nil; l = d.waiting.due(now) {
		if l.letter != nil {
			d.refused.push(l)
		} else {
			d.ready.push(l)
		}
	}
	d.kick()
}

// work attempts ready lanes, one after the other, until there is none.
func (d *Destination) work() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.starting--
	for l := d.begin(); l != nil; l = d.begin() {
		a := l.of
		d.inFlight++
		d.mu.Unlock()
		answer, now := d.attempt(l)
		d.mu.Lock()
		d.inFlight--
		if s := l.sending; s.done() {
			d.mu.Unlock()
			s.close()
			d.mu.Lock()
		}
		d.answered(l, answer, now)
		switch {
		case l.letter == nil || l.place != flying:
		case a.closed:
			l.place = parked
		default:
			d.refused.push(l)
			d.kickWriters()
		}
		a.busy--
		a.signal()
	}
	d.running--
	if d.pace.every > 0 {
		d.kick() // what is ready waits for a token
	}
}

// signal wakes whoever waits in Drain or Detach. The destination's mutex is
// held.
func (a *attachment) signal() {
	if a.closed || a.limit != noLimit {
		select {
		case a.changed <- struct{}{}:
		default:
		}
	}
}

// begin takes the lane that is next in turn and may start now; nil: there is
// none. d.mu is held.
func (d *Destination) begin() *lane {
	for d.running <= d.concurrency { // else it was lowered, and others go on
		if d.refill() {
			d.kick()
		}
		l := d.turn()
		if l == nil {
			return nil
		}
		if d.drains(l) {
			continue
		}
		if d.keyHeld(l) {
			l.place = held
			continue
		}
		if d.over(l) {
			continue
		}
		now := time.Now()
		if !d.takeTokens(l, now) {
			continue
		}
		a := l.of
		l.place = flying
		a.busy++
		if d.stop.cause != notStopped {
			d.stop.prober = l
		}
		if l.attempts == 0 {
			l.first, l.downBefore = now, d.downtime.at(now)
		}
		l.attempts++
		l.last, l.round, l.probe = now, d.round, d.stop.cause == heldByAnswer
		l.sending = d.sending
		l.sending.users++
		l.message = Message{Shard: &a.shard, Record: &l.entry.Record, Attempt: l.attempts, Start: now, Deadline: now.Add(d.sending.timeout)}
		if a.cursor.Way(l.entry) == pipeline.Main {
			a.begun = max(a.begun, l.entry.Index)
		}
		return l
	}
	return nil
}

// drains says whether a lane stays parked because its shard drains. d.mu is
// held.
func (d *Destination) drains(l *lane) bool {
	a := l.of
	return a.limit != noLimit && (l.entry.Index > a.limit || a.cursor.Way(l.entry) != pipeline.Main)
}

// over says whether the tenure is over: then a shard's lanes stay parked until
// Detach. d.mu is held.
func (d *Destination) over(l *lane) bool {
	a := l.of
	if !a.closed && a.ctx.Err() == nil && a.cursor.Valid() {
		return false
	}
	a.closed = true
	a.signal()
	return true
}

// takeTokens takes those that an attempt needs. When its key has none, the lane
// waits for it, and it says false. d.mu is held.
func (d *Destination) takeTokens(l *lane, now time.Time) bool {
	if d.paces.every > 0 {
		if at := d.paces.at(l.key); at.After(now) {
			d.waiting.add(l, at)
			d.arm()
			return false
		}
		d.paces.take(l.key, now)
	}
	if d.pace.every > 0 {
		d.pace.take(now) // turn has looked
	}
	return true
}

// turn is the next lane to attempt. d.mu is held.
func (d *Destination) turn() *lane {
	if d.pace.every > 0 && d.pace.tokens(time.Now()) == 0 {
		return nil
	}
	if d.stopped() {
		return d.prober(time.Now())
	}
	return d.ready.pop()
}
