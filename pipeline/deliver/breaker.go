package deliver

import (
	"time"

	"go.uber.org/zap"
)

// Breaker opens the circuit of a destination after failures in a row: attempts
// whose answers are to be tried again. While it is open, one lane at a time
// probes, first after OpenFor, then less and less often, up to RetryPolicy.Max
// (or OpenFor, when that is longer). The first other answer closes it.
type Breaker struct {
	Failures int           // 0: it never opens
	OpenFor  time.Duration // 0: 15 s
}

func (b Breaker) withDefaults() Breaker {
	if b.OpenFor <= 0 {
		b.OpenFor = 15 * time.Second
	}
	return b
}

// failing counts failures in a row.
type failing struct {
	n       int
	call    uint64 // of the last of them: all failures of one call are one
	key     string // of the first of them
	several bool   // not all are of that key
}

// count takes the answer of an attempt that began while the destination was as
// it is now: what began earlier, and ends after the circuit has opened or
// closed, tells nothing new. It opens the circuit when there are too many
// failures. again: the lane's record is to be attempted again. The lane stays
// flying, unless it is to probe. d.mu is held.
func (d *Destination) count(l *lane, a Answer, again bool, now time.Time) {
	reason := a.Reason
	switch {
	case reason == ReasonCancelled || reason == ReasonStaleCredentials || reason == ReasonUnsendable:
		return // none of the receiver's
	case reason.Class() != Retry:
		d.failing = failing{}
		return
	}
	f := &d.failing
	if a.Call != 0 && a.Call == f.call {
		f.several = f.several || f.key != l.key
		return
	}
	f.call = a.Call
	switch {
	case f.n == 0:
		f.key = l.key
	case f.key != l.key:
		f.several = true
	}
	f.n++
	if d.breaker.Failures <= 0 || f.n < d.breaker.Failures || d.stopped() {
		return
	}
	d.stop = stop{cause: openCircuit, reason: reason, status: a.Status, since: now, interval: d.breaker.OpenFor, alone: !f.several}
	if d.stop.alone && again {
		d.keep(l)
	}
	d.metrics.opened.Inc()
	d.logger.Error("circuit open: no attempts but probes until one passes; no record is lost or skipped", zap.Stringer("reason", reason),
		zap.Int("status", a.Status), zap.Int("failures", f.n), zap.Bool("one_key", d.stop.alone), zap.String("to_do", reasons[reason].todo))
	d.nextProbe(now, a.RetryAfter)
	d.restated(now)
}

// rotate lets another lane probe next, so that a record that never passes keeps
// no circuit open. d.mu is held.
func (d *Destination) rotate(l *lane) {
	h := &d.stop
	if h.alone && h.lane == nil { // it is still the only key that is known to fail
		d.keep(l)
		return
	}
	h.alone = false
	d.release(h.lane)
	h.lane = nil
	if l.place = parked; !l.of.closed {
		d.ready.push(l)
	}
}

// keep holds a lane back to probe with. d.mu is held.
func (d *Destination) keep(l *lane) {
	if l.place = parked; !l.of.closed {
		d.stop.lane, l.place = l, probing
	}
}
