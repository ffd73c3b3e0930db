package simulation

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/pipeline/deliver"
)

// mood is how a receiver answers for a while.
type mood int

const (
	healthy  mood = iota
	slow          // every answer takes seconds
	failing       // 503
	hanging       // no answer
	closed        // no connection
	refusing      // 401: the destination is held
)

var moods = map[mood]string{slow: "is slow", failing: "fails", hanging: "hangs", closed: "is down", refusing: "answers 401"}

// receiver is what a destination sends to, for all processes.
type receiver struct {
	name  string
	mood  mood      // guarded by world.mu
	until time.Time // of mood; guarded by world.mu

	sick    *sick // in a history of isolation; nil: it is well; guarded by world.mu
	wasSick *sick // as it is, or would be
}

// reply is a receiver's answer as the sender sees it.
type reply struct {
	status int
	err    error
}

var errReset = errors.New("connection reset by peer")

// message is one attempt as it arrives at a receiver.
type message struct {
	source   string
	position checkpoint.Position
	key      string
	body     []byte
	number   int
}

// receive is one attempt, from when it leaves a process until the process has
// its answer.
func (w *world) receive(ctx context.Context, p *process, to *receiver, m message) reply {
	frozen, err := p.pass()
	switch {
	case err != nil:
		return reply{err: err}
	case ctx.Err() != nil:
		return reply{err: ctx.Err()}
	case frozen:
		return reply{err: errReset} // its connection was closed in the meantime
	}
	p.reach("attempt", false)
	a := w.arrive(p, to, m)
	if a == nil {
		return reply{err: errReset}
	}
	answer, after := w.answer(to, a)
	switch err := p.sleep(ctx, after); {
	case err != nil:
		answer = reply{err: err}
	case answer.err == nil:
		p.reach("attempt", true)
	}
	frozen, err = p.pass()
	if err != nil {
		answer = reply{err: err}
	} else if frozen {
		answer = reply{err: errReset}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.check.ended(a, answer.err == nil && answer.status == 200, answer.err == nil && answer.status == 400)
	return answer
}

// arrive notes the beginning of an attempt; nil: the process is dead, or sends
// what is no record.
func (w *world) arrive(p *process, to *receiver, m message) *attempt {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p.crashed() {
		return nil
	}
	n, _ := parseSequence(m.position.Sequence)
	r := w.byNumber[spot{n, m.position.Sub}]
	switch {
	case r == nil || r.void || r.shard.stream.source != m.source:
		w.check.broken("P2", "%s gets record %q of %s, which does not exist", to.name, m.position, m.source)
		return nil
	case !bytes.Equal(r.body, m.body) || r.key != m.key:
		w.check.broken("P2", "%s gets %s changed: key %q, body %q", to.name, r.name(), m.key, m.body)
	}
	a := &attempt{process: p, truth: w.truthOf(r.shard.stream, to.name, w.check.starts[to.name]), record: r, number: m.number}
	w.check.began(a)
	return a
}

// answer is what a receiver says to an attempt, and after which time.
func (w *world) answer(to *receiver, a *attempt) (reply, time.Duration) {
	place := "receiver " + to.name + " " + a.process.id
	quick := w.dice.span(place, time.Millisecond, 60*time.Millisecond)
	w.mu.Lock()
	now := to.mood
	if time.Now().After(to.until) {
		now = healthy
	}
	ill := to.sick != nil && (to.sick.key == "" || to.sick.key == a.record.key)
	if ill {
		now = to.sick.mood
	}
	w.mu.Unlock()
	switch {
	case w.calm.Load() && !ill:
		return reply{status: 200}, quick
	case now == slow || w.fault(place, "receiver: slow answer", 0.02):
		return reply{status: 200}, w.dice.span(place, time.Second, 6*time.Second)
	case now == failing || w.fault(place, "receiver: 503", 0.03):
		return reply{status: 503}, quick
	case now == hanging || w.fault(place, "receiver: hangs", 0.005):
		return reply{err: errReset}, time.Hour
	case now == closed:
		return reply{err: errReset}, quick
	case now == refusing:
		return reply{status: 401}, quick
	case w.fault(place, "receiver: 400", 0.02):
		return reply{status: 400}, quick
	case w.fault(place, "receiver: answer lost", 0.02):
		return reply{err: errReset}, quick
	}
	return reply{status: 200}, quick
}

// gap takes a source's note of records that the stream trimmed. Here a stream
// trims only what everybody has settled and saved: none can be known to be lost.
func (w *world) gap(ctx context.Context, p *process, letter deliver.DeadLetter) error {
	if _, err := p.pass(); err != nil {
		return err
	}
	if err := p.sleep(ctx, w.dice.span("letters "+p.id, time.Millisecond, 30*time.Millisecond)); err != nil {
		return err
	}
	if w.fault("letters "+p.id, "dead letters: disk full", 0.2) {
		return errors.New("no space left on device")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if letter.Reason != deliver.ReasonPossibleGap.String() {
		w.check.broken("P2", "%s reports a %s from %s to %s in %s: nothing was lost", p.id, letter.Reason, letter.Gap.From, letter.Gap.To, letter.Shard)
	}
	w.happened("possible gap")
	return nil
}

// letter writes a dead letter: its destination is empty when the record could not
// be read and the letter is its source's.
func (w *world) letter(ctx context.Context, p *process, letter deliver.DeadLetter) error {
	name, at := letter.Destination, checkpoint.Number(letter.Sequence, letter.SubSequence)
	if _, err := p.pass(); err != nil {
		return err
	}
	place := "letters " + p.id
	p.reach("letter", false)
	if err := p.sleep(ctx, w.dice.span(place, time.Millisecond, 30*time.Millisecond)); err != nil {
		return err
	}
	if w.fault(place, "dead letters: disk full", 0.2) {
		return errors.New("no space left on device")
	}
	if p.crashed() {
		return errCrashed
	}
	w.mu.Lock()
	n, _ := parseSequence(at.Sequence)
	if r := w.byNumber[spot{n, at.Sub}]; r == nil || r.void || r.shard.stream.source != letter.Source {
		w.check.broken("P2", "a dead letter for %s has record %s of %s, which does not exist", name, at, letter.Source)
	} else if name == "" {
		r.durable = r.unreadable
		w.happened("dead letter of a source")
	} else {
		t := w.truthOf(r.shard.stream, name, w.check.starts[name])
		if letter.Reason == deliver.ReasonBeforeTrim.String() {
			w.check.savedBefore(t, r)
		}
		w.check.deadLettered(t, r)
		w.happened("dead letter")
	}
	w.mu.Unlock()
	p.reach("letter", true)
	_, err := p.pass()
	return err
}
