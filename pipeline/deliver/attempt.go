package deliver

import (
	"context"
	"errors"
	"time"
)

var errAttemptTimeout = errors.New("the attempt's time is up")

// attempt sends a lane's entry once and says when the answer was there.
func (d *Destination) attempt(l *lane) (Answer, time.Time) {
	answer, now := l.sending.send(l.of.ctx, &l.message)
	l.sending.refused(l, &answer)
	d.metrics.attempted(answer.Reason, now.Sub(l.last))
	return answer, now
}

// send sends a message once and says when the answer was there. What ctx cut off
// is cancelled.
func (s *sending) send(ctx context.Context, m *Message) (Answer, time.Time) {
	limited := ctx
	if m.Deadline.IsZero() {
		m.Deadline = time.Now().Add(s.timeout)
	}
	if !s.punctual {
		var cancel context.CancelFunc
		limited, cancel = context.WithDeadlineCause(ctx, m.Deadline, errAttemptTimeout)
		defer cancel()
	}
	m.Body, m.Encoding = m.Record.Data, ""
	if s.gzip != nil && len(m.Body) > 0 {
		m.Body, m.Encoding = s.gzip.body(m.Body), "gzip"
	}
	answer := s.transport.Send(limited, m)
	now := time.Now()
	switch {
	case answer.Reason == ReasonDelivered:
	case ctx.Err() != nil:
		answer.Reason = ReasonCancelled // whatever it was, it may be the cancellation's work
	case answer.Reason != ReasonCancelled:
	case !now.Before(m.Deadline):
		answer.Reason = ReasonTimeout
	default:
		answer.Reason = ReasonConnection
	}
	return answer, now
}

// answered does with a lane what its answer means. The lane stays flying when
// it has a letter to write. d.mu is held.
func (d *Destination) answered(l *lane, answer Answer, now time.Time) {
	a, e := l.of, l.entry
	d.judge(l, answer, now)
	if l.of != a || l.entry != e || l.letter != nil || !d.expired(l) {
		return // most often: settled
	}
	switch l.place {
	case ready:
		d.ready.dropIf(func(x *lane) bool { return x == l })
	case waiting, probing, held:
	default:
		return
	}
	d.giveUp(l)
	l.place = flying
	d.kick() // another lane may have to probe now
}

// judge is answered but for records that the stream is about to trim.
func (d *Destination) judge(l *lane, answer Answer, now time.Time) {
	reason := answer.Reason
	class := reason.Class()
	d.log.answered(d, reason, now)
	if class == Delivered {
		d.passed = now
	}
	if answer.Warnings > 0 {
		d.log.warned(d, l, answer, now)
	}
	probe := d.stop.prober == l
	if class == Retry && reason != ReasonCancelled && !(probe && d.stop.cause == openCircuit) {
		l.failures++ // stale credentials use up nothing: they end soon, in one way or the other
		if reason == ReasonOTAUnclear {
			l.unclear++
		}
		age := now.Sub(l.first) - (d.downtime.at(now) - l.downBefore)
		if why, ok := d.retry.exhausted(l.failures, l.unclear, age); ok && reason != ReasonStaleCredentials {
			reason, class = why, d.onExhausted.class()
		}
	}
	if class == Refused && d.letters == nil {
		if class = Hold; d.onExhausted == ExhaustedHoldKey {
			class = HoldKey
		}
	}
	if class == HoldKey && len(l.of.held) >= maxHeldKeys {
		class = Hold
	}
	if class == Hold {
		d.heldAnswer(l, reason, answer, probe, now)
		return
	}
	if probe {
		d.probed(l, reason, answer, now)
	} else if l.round == d.round {
		d.count(l, answer, class == Retry, now)
	}
	switch {
	case class == Delivered:
		d.settle(l)
	case class == Refused:
		l.letter, l.letters = d.letterOf(l, reason, answer, now), d.letters
	case class == HoldKey && !l.of.closed:
		d.holdKey(l, reason, answer, now)
	case l.place != flying: // it is to probe
	case reason == ReasonCancelled || l.of.closed:
		l.place = parked
	default:
		d.waiting.add(l, now.Add(d.retry.pause(l.failures, answer.RetryAfter, d.rng)))
		d.arm()
	}
}

// written goes on with a lane whose dead letter is durable, or is not. d.mu is
// held.
func (d *Destination) written(l *lane, err error) {
	d.log.written(d, l.letter, err)
	switch {
	case err == nil:
		d.metrics.deadLettered(l.letter.reason)
		d.settle(l)
	case l.of.closed || l.of.ctx.Err() != nil:
		l.place = parked
	default:
		l.unsaved++
		d.waiting.add(l, time.Now().Add(letterPause(l.unsaved, d.rng)))
		d.arm()
	}
}

// settle settles a lane's entry and goes on to the key's next one. d.mu is
// held.
func (d *Destination) settle(l *lane) {
	a := l.of
	next := a.cursor.Settle(l.entry)
	next = d.passing(a, next)
	if next == nil {
		delete(a.lanes, l.key)
		d.recycle(l)
		d.hungry.push(a)
		return
	}
	l.reset(next)
	if !a.closed {
		d.enter(l)
	}
}
