package deliver

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/shardline/shardline/pipeline"
)

// Destination delivers records through one transport. It implements
// pipeline.Subscriber.
type Destination struct {
	name    string
	metrics *series
	logger  *zap.Logger

	workers sync.WaitGroup // the goroutines that attempt; Close waits for them

	// mu guards everything below, the attachments and lanes, and the calls of
	// cursors. Each lane is in exactly one place, and in the map of its
	// attachment as long as its key has entries that are taken and unsettled.
	mu      sync.Mutex
	sending *sending // that attempts begin with
	policy
	attached map[*pipeline.Cursor]*attachment
	hungry   hungry    // attachments whose cursors may have more to take
	ready    queue     // lanes to attempt
	refused  queue     // lanes whose dead letter is to be written: a hold does not stop them
	waiting  timetable // lanes that are due later
	orders   orders    // what commands hold
	stop     stop      // what the destination's answers hold
	failing  failing   // failures in a row
	downtime downtime
	pace     pace    // of attempts
	paces    paces   // of each key's
	share    float64 // of the limits, this worker's
	round    uint64  // counts the changes of what stops the destination
	running  int     // goroutines, at most concurrency
	starting int     // those of them that have not looked for a lane yet
	writers  writers
	inFlight int       // attempts
	passed   time.Time // when an attempt last delivered
	timer    *time.Timer
	timerAt  time.Time // when it fires; zero: it does not
	rng      *rand.Rand
	free     *lane // lanes to use again
	freed    int   // how many
	log      changes
}

const (
	noLimit = math.MaxUint64
	// maxFree bounds the lanes kept for use again: about what one wake takes.
	maxFree = 256
)

// New makes a destination. It starts nothing.
func New(c Config) (*Destination, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	s, err := newSending(c)
	if err != nil {
		return nil, err
	}
	d := &Destination{
		name: c.Name, sending: s, policy: c.policy(),
		logger: c.Logger.With(zap.String("destination", c.Name)), rng: c.Rand,
		attached: make(map[*pipeline.Cursor]*attachment),
	}
	d.share = 1
	d.setPace()
	d.metrics = c.Metrics.add(d)
	return d, nil
}

// Name implements pipeline.Subscriber.
func (d *Destination) Name() string { return d.name }

// Attach implements pipeline.Subscriber.
func (d *Destination) Attach(ctx context.Context, c *pipeline.Cursor) {
	// A context of its own, so that attempts of different destinations do not
	// meet at the lock of the tenure's.
	ctx, cancel := context.WithCancel(ctx)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.attached[c] = &attachment{cursor: c, shard: c.Shard(), ctx: ctx, cancel: cancel,
		lanes: make(map[string]*lane), limit: noLimit, changed: make(chan struct{}, 1)}
}

// Wake implements pipeline.Subscriber.
func (d *Destination) Wake(c *pipeline.Cursor) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if a := d.attached[c]; a != nil {
		d.take(a)
		d.kick()
	}
}

// take makes lanes for what the cursor has, as far as they are needed now, but
// takes one entry at least: that lets a cursor change its way. It says whether
// a lane was made. d.mu is held.
func (d *Destination) take(a *attachment) bool {
	took := d.takeOne(a) != nil
	d.hungry.push(a)
	return d.refill() || took
}

// takeTo makes lanes for what the cursor has up to an index. d.mu is held.
func (d *Destination) takeTo(a *attachment, index uint64) {
	for a.taken < index && d.takeOne(a) != nil {
	}
}

// refill makes lanes until as many are ready as may be in flight: with more,
// every destination would have a lane for every key in the window, and with the
// oldest entry of each shard in turn none waits for another's. It says whether
// it made any. d.mu is held.
func (d *Destination) refill() bool {
	took := false
	for d.ready.n < d.concurrency && d.refused.n < maxRefused {
		a := d.hungry.pop()
		if a == nil {
			break
		}
		if d.takeOne(a) != nil {
			took = true
			d.hungry.push(a)
		}
	}
	return took
}

// takeOne takes an entry, and makes a lane when its key has none; nil: there is
// no entry that the filter lets pass. d.mu is held.
func (d *Destination) takeOne(a *attachment) *pipeline.Entry {
	if a.closed || a.limit != noLimit {
		return nil
	}
	for e := a.cursor.Next(); e != nil; e = a.cursor.Next() {
		if a.cursor.Way(e) == pipeline.Main {
			a.taken = e.Index
		}
		if a.lanes[e.Key] == nil {
			first := d.passing(a, e)
			if first == nil {
				continue
			}
			l := d.newLane(a, first)
			a.lanes[e.Key] = l
			d.enter(l)
		}
		return e
	}
	return nil
}

// passing is the first entry of a key, from e on, that the filter lets pass; nil:
// there is none among those taken. The ones before it settle. d.mu is held.
func (d *Destination) passing(a *attachment, e *pipeline.Entry) *pipeline.Entry {
	for e != nil && d.filter != nil {
		if passes(d.filter, a.shard.Source, &e.Record) {
			break
		}
		d.metrics.filtered.Inc()
		e = a.cursor.Settle(e)
	}
	return e
}

// Drain implements pipeline.Subscriber. It gives up early when nothing more
// can settle before ctx's deadline: then waiting helps nobody.
func (d *Destination) Drain(ctx context.Context, c *pipeline.Cursor) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	a := d.attached[c]
	if a == nil {
		return nil
	}
	begun := a.begun
	a.limit = begun
	c.PassHeld(begun) // parked keys go on elsewhere
	for {
		if deadline, ok := ctx.Deadline(); ok {
			a.limit = min(a.limit, d.stuck(a, deadline)-1)
		}
		if a.busy == 0 && c.Through() >= a.limit {
			if a.limit == begun {
				return nil
			}
			return fmt.Errorf("drain shard %s: a record waits for a retry or a probe that comes too late", a.shard.Shard)
		}
		d.mu.Unlock()
		select {
		case <-a.changed:
		case <-ctx.Done():
		}
		d.mu.Lock()
		if ctx.Err() != nil {
			return fmt.Errorf("drain shard %s: %w", a.shard.Shard, context.Cause(ctx))
		}
	}
}

// stuck is the lowest index within the limit that cannot settle before
// deadline; noLimit: there is none.
func (d *Destination) stuck(a *attachment, deadline time.Time) uint64 {
	low := uint64(noLimit)
	stopped := d.orders.all || d.stop.cause != notStopped && d.stop.prober == nil && d.stop.probeAt.After(deadline)
	for _, l := range a.lanes {
		late := false
		switch l.place {
		case parked, held:
			late = true
		case ready, probing:
			late = stopped && l.letter == nil
		case waiting:
			late = l.due.After(deadline) || stopped && l.letter == nil
		}
		if late && l.entry.Index <= a.limit && a.cursor.Way(l.entry) == pipeline.Main {
			low = min(low, l.entry.Index)
		}
	}
	return low
}

// Detach implements pipeline.Subscriber.
func (d *Destination) Detach(c *pipeline.Cursor) {
	d.mu.Lock()
	defer d.mu.Unlock()
	a := d.attached[c]
	if a == nil {
		return
	}
	a.closed = true
	d.hungry.drop(a)
	d.ready.dropIf(func(l *lane) bool { return l.of == a })
	d.refused.dropIf(func(l *lane) bool { return l.of == a })
	for _, l := range a.lanes {
		if l.place == waiting {
			d.waiting.remove(l)
		}
	}
	if d.stop.lane != nil && d.stop.lane.of == a {
		d.stop.lane = nil
	}
	for a.busy > 0 { // each ends: its time is bounded, and so is a dead letter's
		d.mu.Unlock()
		<-a.changed
		d.mu.Lock()
	}
	delete(d.attached, c)
	a.cancel()
	for _, l := range a.lanes {
		d.recycle(l)
	}
	d.refill()
	d.kick() // somebody else's lane may have to probe now
}

// Close waits for the goroutines and closes the connections. Every cursor
// must be detached.
func (d *Destination) Close() error {
	d.mu.Lock()
	if d.timer != nil {
		d.timer.Stop()
	}
	d.mu.Unlock()
	d.workers.Wait()
	d.metrics.remove(d)
	d.sending.close()
	return nil
}

// newLane makes a lane for an entry. d.mu is held.
func (d *Destination) newLane(a *attachment, e *pipeline.Entry) *lane {
	l := d.free
	if l == nil {
		l = new(lane)
	} else {
		d.free = l.next
		d.freed--
	}
	*l = lane{of: a, key: e.Key, entry: e}
	return l
}

// recycle keeps a lane for use again. d.mu is held.
func (d *Destination) recycle(l *lane) {
	*l = lane{}
	if d.freed < maxFree {
		l.next = d.free
		d.free = l
		d.freed++
	}
}
