package deliver

import (
	"time"

	"go.uber.org/zap"
)

// Probes is how often a held destination is tried.
type Probes struct {
	Initial time.Duration // 0: 15 s
	Max     time.Duration // 0: 5 min
}

func (p Probes) withDefaults() Probes {
	if p.Initial <= 0 {
		p.Initial = 15 * time.Second
	}
	if p.Max <= 0 {
		p.Max = 5 * time.Minute
	}
	p.Max = max(p.Max, p.Initial)
	return p
}

// cause is why a destination is stopped.
type cause uint8

const (
	notStopped   cause = iota
	openCircuit        // failures in a row: the receiver is down
	heldByAnswer       // an answer that no record passes, or whose record's retries are used up
)

// stop is the state of a destination at which only probes start: one lane at a
// time tries, now and then, until an answer opens the destination again. An
// operator's hold (orders) is beside it and over it: then nobody probes. It is
// guarded by the destination's mutex.
type stop struct {
	cause    cause
	reason   Reason
	status   int
	since    time.Time
	interval time.Duration // until the next probe
	probeAt  time.Time
	prober   *lane // its probe is in flight: the circuit is half open; nil: none
	lane     *lane // the lane to probe with next; nil: any
	// alone: all that is known is that one key fails, lane's. Another one
	// probes as soon as it can, so that a key that never passes stops no other.
	alone bool
}

// downtime is for how long attempts did not start altogether.
type downtime struct {
	since  time.Time // zero: they do
	before time.Duration
}

func (t *downtime) at(now time.Time) time.Duration {
	if t.since.IsZero() {
		return t.before
	}
	return t.before + now.Sub(t.since)
}

// stopped says whether attempts do not start as they come. d.mu is held.
func (d *Destination) stopped() bool { return d.orders.all || d.stop.cause != notStopped }

// restated notes that what stops the destination has changed. d.mu is held.
func (d *Destination) restated(now time.Time) {
	d.round++
	switch stopped := d.stopped(); {
	case stopped && d.downtime.since.IsZero():
		d.downtime.since = now
	case !stopped && !d.downtime.since.IsZero():
		d.downtime = downtime{before: d.downtime.at(now)}
	}
	if !d.stopped() { // what was not taken while it lasted
		for _, a := range d.attached {
			d.take(a)
		}
	}
	d.kick()
	d.signal()
}

// mayProbe says whether a probe may start now. d.mu is held.
func (d *Destination) mayProbe(now time.Time) bool {
	h := &d.stop
	if d.orders.all || h.cause == notStopped || h.prober != nil {
		return false
	}
	return h.alone && d.ready.n > 0 || (h.lane != nil || d.ready.n > 0) && !h.probeAt.After(now)
}

// prober is the lane to probe with now; nil: none. d.mu is held.
func (d *Destination) prober(now time.Time) *lane {
	h := &d.stop
	if !d.mayProbe(now) {
		return nil
	}
	l := h.lane
	if l == nil || h.probeAt.After(now) {
		if l := d.ready.fresh(); l != nil {
			return l // one that has failed says less
		}
		return d.ready.pop()
	}
	h.lane, l.place = nil, parked
	return l
}

// nextProbe sets the time of the next probe. least is the receiver's wish.
// d.mu is held.
func (d *Destination) nextProbe(now time.Time, least time.Duration) {
	h := &d.stop
	pause := h.interval - h.interval/4 + jitter(h.interval/2, d.rng)
	h.probeAt = now.Add(max(pause, min(least, maxRetryAfter)))
	d.arm()
}

// heldAnswer takes an answer of class Hold: the destination is held, or stays
// so. d.mu is held.
func (d *Destination) heldAnswer(l *lane, reason Reason, a Answer, probe bool, now time.Time) {
	h := &d.stop
	first := h.cause != heldByAnswer
	line := ""
	switch {
	case !probe && (d.stopped() || l.round != d.round): // it began before what is known by now
		if l.place = parked; !l.of.closed {
			d.ready.push(l)
		}
		return
	case first:
		d.release(h.lane)
		*h = stop{cause: heldByAnswer, since: now, interval: d.probes.Initial}
		line = "destination held: no record is lost or skipped; probing until it passes"
	default:
		h.interval = min(2*h.interval, d.probes.Max)
		if reason != h.reason {
			line = "destination held for another reason"
		}
	}
	h.reason, h.status, h.prober = reason, a.Status, nil
	d.keep(l)
	if line != "" {
		fields := []zap.Field{zap.Stringer("reason", reason), zap.Int("status", a.Status),
			zap.String("code", a.Code), zap.String("to_do", reasons[reason].todo)}
		if a.Status == 0 { // these words are our own, not the receiver's
			fields = append(fields, zap.String("error", a.Detail))
		}
		d.logger.Error(line, fields...)
	}
	d.nextProbe(now, 0)
	if first {
		d.restated(now)
	}
	d.signal()
}

// probed takes any other answer of a probe. A retryable one leaves the circuit
// open, every other one opens the destination. The lane stays flying, unless it
// is to probe again. d.mu is held.
func (d *Destination) probed(l *lane, reason Reason, a Answer, now time.Time) {
	h := &d.stop
	h.prober = nil
	switch {
	case reason == ReasonCancelled || reason == ReasonUnsendable: // that tells nothing about the destination
		d.kick()
		d.signal()
	case h.cause == openCircuit && reason.Class() == Retry:
		h.interval = min(2*h.interval, max(d.retry.Max, d.breaker.OpenFor))
		h.reason, h.status = reason, a.Status
		d.rotate(l)
		d.nextProbe(now, a.RetryAfter)
		d.kick() // another key may probe at once
		d.signal()
	default:
		d.open(reason.String(), now)
	}
}

// open ends a stop. d.mu is held.
func (d *Destination) open(why string, now time.Time) {
	h := d.stop
	d.stop, d.failing = stop{}, failing{}
	line := "destination no longer held"
	if h.cause == openCircuit {
		line = "circuit closed"
	}
	d.logger.Info(line, zap.String("reason", why), zap.Duration("after", now.Sub(h.since)))
	d.release(h.lane)
	d.restated(now)
}

// release puts a lane that was held back to the others. d.mu is held.
func (d *Destination) release(l *lane) {
	if l != nil {
		d.enter(l)
	}
}

// signal lets everybody who drains see a change of the stop. d.mu is held.
func (d *Destination) signal() {
	for _, a := range d.attached {
		a.signal()
	}
}
