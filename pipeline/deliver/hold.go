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

// hold is the state of a destination at which only probes start. It is
// guarded by the destination's mutex.
type hold struct {
	on       bool
	reason   Reason
	status   int
	since    time.Time
	interval time.Duration // until the next probe
	probeAt  time.Time
	inFlight bool          // a probe is
	lane     *lane         // the lane to probe with; nil: any
	before   time.Duration // length of the holds that have ended
}

// length is for how long the destination has been held altogether.
func (h *hold) length(now time.Time) time.Duration {
	if h.on {
		return h.before + now.Sub(h.since)
	}
	return h.before
}

// probeDue says whether a probe may start.
func (h *hold) probeDue(now time.Time) bool {
	return h.on && !h.inFlight && !h.probeAt.After(now)
}

// heldAnswer takes an answer of class Hold: the destination is held, or stays
// so. d.mu is held.
func (d *Destination) heldAnswer(l *lane, reason Reason, a Answer, now time.Time) {
	h := &d.hold
	change := ""
	switch {
	case !h.on:
		*h = hold{on: true, since: now, interval: d.probes.Initial, before: h.before}
		change = "destination held: no record is lost or skipped; probing until it passes"
	case !l.probe: // it was in flight when the hold began
		if l.place = parked; !l.of.closed {
			d.ready.push(l)
		}
		return
	default:
		h.interval = min(2*h.interval, d.probes.Max)
		if reason != h.reason {
			change = "destination held for another reason"
		}
	}
	h.reason, h.status, h.inFlight = reason, a.Status, false
	h.probeAt = now.Add(h.interval - h.interval/4 + jitter(h.interval/2, d.rng))
	l.probe = false
	if l.place = parked; !l.of.closed {
		h.lane, l.place = l, probing
	}
	if change != "" {
		fields := []zap.Field{zap.Stringer("reason", reason), zap.Int("status", a.Status),
			zap.String("code", a.Code), zap.String("to_do", reasons[reason].todo)}
		if a.Status == 0 { // these words are our own, not the receiver's
			fields = append(fields, zap.String("error", a.Detail))
		}
		d.logger.Error(change, fields...)
	}
	d.arm()
	d.signal()
}

// probed takes any other answer of a probe: it ends the hold. d.mu is held.
func (d *Destination) probed(reason Reason, now time.Time) {
	h := &d.hold
	h.inFlight = false
	if reason != ReasonCancelled { // the end of a tenure tells nothing about the destination
		d.logger.Info("destination no longer held", zap.Stringer("reason", reason), zap.Duration("held", now.Sub(h.since)))
		*h = hold{before: h.length(now)}
	}
	d.kick()
	d.signal()
}

// signal lets everybody who drains see a change of the hold. d.mu is held.
func (d *Destination) signal() {
	for _, a := range d.attached {
		a.signal()
	}
}
