package redrive

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/shardline/shardline/pipeline/deliver"
)

const (
	// atOnce and atOnceBytes bound the letters that are loaded and on their way.
	atOnce      = 256
	atOnceBytes = 64 << 20
	// markEvery and markAfter bound what is delivered and not yet marked: as much
	// is delivered again after a crash.
	markEvery = 200
	markAfter = time.Second
	// markTries and markPause are for a queue that does not take marks.
	markTries = 5
	markPause = time.Second
	// endTime bounds marking and giving back after the end of a redrive.
	endTime = 30 * time.Second
)

// Config is what a redrive is made of.
type Config struct {
	Queue   Queue
	Filter  Filter
	Command string        // id, part of the idempotency keys
	Rate    float64       // letters a second; 0: as fast as the destinations are
	GiveUp  time.Duration // without any letter delivered or refused; 0: never

	Configured func(destination string) bool
	// Open makes a destination, with what wrap makes of its transport, and
	// letters for what it refuses.
	Open func(name string, wrap func(deliver.Transport) deliver.Transport, letters deliver.DeadLetters) (*deliver.Destination, error)
	// Stream reads the data of a letter from its stream; ErrGone: it is there no
	// more.
	Stream func(ctx context.Context, l *deliver.DeadLetter) ([]byte, error)
	// Tell is called with each letter that stays, one call at a time; nil: nobody
	// is told.
	Tell func(Stayed)
}

// Stayed is a letter that is still in the queue after its turn.
type Stayed struct {
	Found *Found
	Why   string
}

// Result counts records.
type Result struct {
	Delivered int
	Refused   int // again, by their destination
	Left      int // not attempted, or without an outcome
	Skipped   []Skipped
}

// redrive is one run. All of it is the goroutine's that runs it, but for the
// outcomes.
type redrive struct {
	Config
	result   Result
	receives map[string]*receiver
	outcomes chan outcome // as large as what may be on its way

	flying, bytes int
	marks         []*Found // delivered, and not yet done
	markSince     time.Time
	next          time.Time // no letter before it, by the rate
}

// outcome is what became of a letter.
type outcome struct {
	flight  *flight
	refused *deliver.DeadLetter // nil: it is delivered
}

// flight is a letter on its way.
type flight struct {
	chain *Chain
	item  Item
	size  int
}

// Run redrives what the filter means. With an error, too, the result says what
// was done.
func Run(ctx context.Context, c Config) (Result, error) {
	if c.Tell == nil {
		c.Tell = func(Stayed) {}
	}
	r := &redrive{Config: c, receives: make(map[string]*receiver), outcomes: make(chan outcome, atOnce)}
	err := r.rounds(ctx)
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTime)
	defer cancel()
	err = errors.Join(err, r.end(last))
	if failed := c.Queue.Release(last); failed != nil {
		err = errors.Join(err, failed)
	}
	return r.result, err
}

// rounds runs until the queue has no more: some give more only when what they
// gave is done.
func (r *redrive) rounds(ctx context.Context) error {
	for {
		found, err := Scanned(ctx, r.Queue, r.Filter)
		if err != nil {
			return err
		}
		plan := NewPlan(found, r.Configured)
		r.result.Skipped = append(r.result.Skipped, plan.Skipped...)
		before := r.result.Delivered
		if err := r.round(ctx, plan); err != nil {
			return err
		}
		if !r.Queue.Partial() || r.result.Delivered == before {
			return nil
		}
	}
}

func (r *redrive) round(ctx context.Context, plan *Plan) error {
	ready := plan.Chains
	left := plan.Letters // without an outcome
	defer func() { r.result.Left += left }()
	lastOutcome := time.Now()
	tick := time.NewTicker(markAfter)
	defer tick.Stop()
	for {
		pause, err := r.begin(ctx, &ready)
		if err != nil {
			return err
		}
		if r.flying == 0 && len(ready) == 0 {
			return r.mark(ctx)
		}
		var rate <-chan time.Time
		if pause > 0 {
			rate = time.After(pause)
		}
		select {
		case o := <-r.outcomes:
			left--
			lastOutcome = time.Now()
			if rest := r.came(o); rest != nil {
				ready = append(ready, rest)
			}
		case <-rate:
		case <-tick.C:
			if r.flying > 0 && r.GiveUp > 0 && time.Since(lastOutcome) > r.GiveUp {
				return fmt.Errorf("nothing was delivered for %s: %s", r.GiveUp, r.state())
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if len(r.marks) >= markEvery || len(r.marks) > 0 && time.Since(r.markSince) > markAfter {
			if err := r.mark(ctx); err != nil {
				return err
			}
		}
	}
}

// begin sends the heads of chains on their way, as many as may be. It says how
// long to wait for the rate; 0: until something has an outcome.
func (r *redrive) begin(ctx context.Context, ready *[]*Chain) (time.Duration, error) {
	for len(*ready) > 0 && r.flying < atOnce && (r.flying == 0 || r.bytes < atOnceBytes) {
		now := time.Now()
		if r.Rate > 0 && now.Before(r.next) {
			return r.next.Sub(now), nil
		}
		chain := (*ready)[0]
		*ready = (*ready)[1:]
		item := chain.Items[0]
		chain.Items = chain.Items[1:]
		err := r.load(ctx, item.First())
		switch {
		case errors.Is(err, ErrGone):
			r.Tell(Stayed{item.First(), err.Error()})
			if len(chain.Items) > 0 {
				*ready = append(*ready, chain)
			}
			continue
		case ctx.Err() != nil:
			return 0, context.Cause(ctx)
		case err != nil: // the key waits: what is behind must not overtake it
			r.Tell(Stayed{item.First(), err.Error()})
			for _, behind := range chain.Items {
				r.Tell(Stayed{behind.First(), "it waits for a letter of its key that could not be read"})
			}
			continue
		}
		if err := r.send(ctx, &flight{chain, item, max(item.First().Size, len(item.First().Letter.Data))}); err != nil {
			return 0, err
		}
		if r.Rate > 0 {
			r.next = now.Add(time.Duration(float64(time.Second) / r.Rate))
		}
	}
	return 0, nil
}

func (r *redrive) load(ctx context.Context, f *Found) error {
	if err := r.Queue.Load(ctx, f); err != nil || f.Loaded {
		return err
	}
	if f.Letter.DataIn != deliver.DataInStream {
		return fmt.Errorf("its data is in %q, which this version does not know", f.Letter.DataIn)
	}
	data, err := r.Stream(ctx, &f.Letter)
	if err != nil {
		return err
	}
	f.Letter.Data, f.Loaded = data, true
	return nil
}

func (r *redrive) send(ctx context.Context, f *flight) error {
	name := f.chain.Destination
	to := r.receives[name]
	if to == nil {
		to = newReceiver(r.outcomes)
		var err error
		if to.destination, err = r.Open(name, to.wrap, to); err != nil {
			return err
		}
		r.receives[name] = to
	}
	r.flying++
	r.bytes += f.size
	to.send(ctx, f, r.Command)
	return nil
}

// came goes on with the chain of a letter that has its outcome; nil: there is no
// more of it.
func (r *redrive) came(o outcome) *Chain {
	f := o.flight
	r.flying--
	r.bytes -= f.size
	for _, l := range f.item.Letters {
		l.Letter.Data = nil
	}
	if o.refused != nil {
		r.result.Refused++
		r.Tell(Stayed{f.item.First(), "refused again: " + o.refused.Reason + ": " + o.refused.Detail})
	} else {
		r.result.Delivered++
		if len(r.marks) == 0 {
			r.markSince = time.Now()
		}
		r.marks = append(r.marks, f.item.Letters...)
	}
	r.receives[f.chain.Destination].free(f)
	if len(f.chain.Items) == 0 {
		return nil
	}
	return f.chain
}

// mark takes what is delivered out of the queue.
func (r *redrive) mark(ctx context.Context) error {
	if len(r.marks) == 0 {
		return nil
	}
	var err error
	for try := range markTries {
		if try > 0 {
			select {
			case <-time.After(markPause):
			case <-ctx.Done():
				return errors.Join(context.Cause(ctx), err)
			}
		}
		if err = r.Queue.Done(ctx, r.Command, r.marks); err == nil {
			r.marks = nil
			return nil
		}
	}
	return fmt.Errorf("letters that are delivered are still in the queue: %w", err)
}

// end waits for what is on its way, which it cancels, and marks what is
// delivered.
func (r *redrive) end(ctx context.Context) error {
	var errs []error
	for _, to := range r.receives {
		errs = append(errs, to.close())
	}
	for {
		select {
		case o := <-r.outcomes:
			r.result.Left--
			r.came(o)
			continue
		default:
		}
		break
	}
	return errors.Join(append(errs, r.mark(ctx))...)
}

// state is why destinations do not go on.
func (r *redrive) state() string {
	text := ""
	for name, to := range r.receives {
		s := to.destination.State()
		why := fmt.Sprintf("%d keys wait for a retry", s.Waiting)
		if s.Held {
			why = "it is held: " + s.Reason
		}
		if text != "" {
			text += "; "
		}
		text += fmt.Sprintf("destination %s: %s", name, why)
	}
	return text
}
