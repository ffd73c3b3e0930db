package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"go.uber.org/zap"

	"github.com/shardline/shardline/checkpoint"
)

// Holdable is a subscriber that operators can hold: it begins no attempt while
// it is held, and keeps its place.
type Holdable interface {
	// Hold says what commands hold from now on, the whole of it: everything, or
	// these keys. What they no longer hold goes on.
	Hold(all bool, keys map[string]bool)
	// Release ends what the subscriber holds by itself: everything when key is
	// empty, otherwise the key.
	Release(key string)
}

// obedient obeys the desired state: a shard.
type obedient interface {
	// desire is called with what is desired from now on. It must not block.
	desire(d checkpoint.Desired)
}

// desired is what the worker knows of the desired state. One goroutine reads at
// a time, consistently, so that what is known never goes back.
type desired struct {
	store   checkpoint.Store
	metrics *Metrics
	logger  *zap.Logger
	reading chan struct{} // capacity 1: whoever has put something in reads

	telling   sync.Mutex            // held while somebody is told, so that all are told in turn; before mu
	holdables map[string][]Holdable // by name; guarded by telling
	mu        sync.Mutex
	now       checkpoint.Desired
	known     bool
	obeying   map[obedient]bool
	next      *lookup // the reading that comes next; nil: nobody has asked
	failing   error   // of the last reading
}

// lookup is one reading, for all who asked before it began.
type lookup struct {
	done chan struct{} // closed when the rest is set
	now  checkpoint.Desired
	err  error
}

func newDesired(store checkpoint.Store, m *Metrics, logger *zap.Logger) *desired {
	return &desired{store: store, metrics: m, logger: logger, reading: make(chan struct{}, 1), obeying: map[obedient]bool{}}
}

// command says who can be held from now on, and tells them what is.
func (d *desired) command(subscribers []Subscriber) {
	d.telling.Lock()
	defer d.telling.Unlock()
	d.holdables = map[string][]Holdable{}
	for _, s := range subscribers {
		if h, ok := s.(Holdable); ok && !slices.Contains(d.holdables[s.Name()], h) {
			d.holdables[s.Name()] = append(d.holdables[s.Name()], h)
		}
	}
	d.mu.Lock()
	now, known := d.now, d.known
	d.mu.Unlock()
	if known {
		d.hold(now)
	}
}

// fresh is what is desired at a moment after the call: whoever has taken a lease
// obeys every command that was given before that. Callers share readings.
func (d *desired) fresh(ctx context.Context) (checkpoint.Desired, error) {
	d.mu.Lock()
	if d.next == nil {
		d.next = &lookup{done: make(chan struct{})}
	}
	l := d.next
	d.mu.Unlock()
	select {
	case d.reading <- struct{}{}:
		d.mu.Lock()
		mine := d.next == l
		if mine {
			d.next = nil
		}
		d.mu.Unlock()
		if mine {
			l.now, l.err = d.store.Desired(ctx)
			d.learn(l.now, l.err)
			close(l.done)
		}
		<-d.reading
	case <-l.done:
	case <-ctx.Done():
		return checkpoint.Desired{}, context.Cause(ctx)
	}
	<-l.done
	if errors.Is(l.err, context.Canceled) && ctx.Err() == nil { // it was somebody else's
		return d.fresh(ctx)
	}
	if l.err != nil {
		return checkpoint.Desired{}, fmt.Errorf("read the desired state: %w", l.err)
	}
	return l.now, nil
}

// learn tells everybody what was read, when it is news. Who has the reading
// calls it.
func (d *desired) learn(now checkpoint.Desired, err error) {
	d.telling.Lock()
	defer d.telling.Unlock()
	d.mu.Lock()
	before, known, failing := d.now, d.known, d.failing
	d.failing = err
	if err == nil {
		d.now, d.known = now, true
	}
	var obeying []obedient
	for o := range d.obeying {
		obeying = append(obeying, o)
	}
	d.mu.Unlock()
	switch {
	case err != nil:
		if failing == nil {
			d.logger.Error("the desired state cannot be read: commands take effect when it can; trying again", zap.Error(err))
		}
		return
	case failing != nil:
		d.logger.Info("the desired state is read again")
	}
	if known && now.Version == before.Version {
		return
	}
	if now.Version < before.Version {
		d.logger.Error("the desired state went back: the state table was replaced; what it says now is in force",
			zap.Int64("before", before.Version), zap.Int64("now", now.Version))
	}
	d.hold(now)
	d.release(before, now, known)
	d.metrics.desire(now)
	for _, o := range obeying {
		o.desire(now)
	}
}

// hold tells the subscribers what commands hold. d.telling is held.
func (d *desired) hold(now checkpoint.Desired) {
	for name, holdables := range d.holdables {
		w := now.Wish(name)
		keys := make(map[string]bool, len(w.Keys))
		for key := range w.Keys {
			keys[key] = true
		}
		for _, h := range holdables {
			h.Hold(w.Hold != nil || w.Stopped(), keys)
		}
	}
}

// release notes the commands that are new, and tells the subscribers what those
// release. d.telling is held.
func (d *desired) release(before, now checkpoint.Desired, known bool) {
	for _, c := range now.Commands {
		if !known || c.Version <= before.Version {
			continue // what is held here began later
		}
		d.logger.Info("command", zap.String("command", string(c.Verb)), zap.Strings("destinations", c.Destinations), zap.Int("keys", len(c.Keys)),
			zap.String("id", c.ID), zap.Int64("version", c.Version), zap.String("by", c.By))
		if c.Verb != checkpoint.ReleaseVerb {
			continue
		}
		for _, name := range c.Destinations {
			for _, h := range d.holdables[name] {
				if len(c.Keys) == 0 {
					h.Release("")
				}
				for _, key := range c.Keys {
					h.Release(key)
				}
			}
		}
	}
}

// watch tells o what is desired now, and what is from then on, until the
// function that it returns is called.
func (d *desired) watch(o obedient) (stop func()) {
	d.telling.Lock()
	defer d.telling.Unlock()
	d.mu.Lock()
	d.obeying[o] = true
	now := d.now
	d.mu.Unlock()
	o.desire(now)
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.obeying, o)
	}
}

// last is what was read last.
func (d *desired) last() checkpoint.Desired {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.now
}

// obey reads the desired state as often as the leases are scanned, until ctx
// ends, and takes the steps of the commands that have some.
func (w *Worker) obey(ctx context.Context) {
	for sleep(ctx, jitter(w.failover/5)) { // a tenth of it, and up to a fifth
		if d, err := w.desired.fresh(ctx); err == nil && d.Stepping() {
			w.step(ctx, d)
		}
	}
}
