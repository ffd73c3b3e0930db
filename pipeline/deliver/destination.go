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
	hold     hold
	running  int // goroutines, at most concurrency
	starting int // those of them that have not looked for a lane yet
	inFlight int // attempts
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
	took := d.takeOne(a)
	d.hungry.push(a)
	return d.refill() || took
}

// takeTo makes lanes for what the cursor has up to an index. d.mu is held.
func (d *Destination) takeTo(a *attachment, index uint64) {
	for a.taken < index && d.takeOne(a) {
	}
}

// refill makes lanes until as many are ready as may be in flight: with more,
// every destination would have a lane for every key in the window, and with the
// oldest entry of each shard in turn none waits for another's. It says whether
// it made any. d.mu is held.
func (d *Destination) refill() bool {
	took := false
	for d.ready.n < d.concurrency {
		a := d.hungry.pop()
		if a == nil {
			break
		}
		if d.takeOne(a) {
			took = true
			d.hungry.push(a)
		}
	}
	return took
}

// takeOne takes an entry, and makes a lane when its key has none; false: there
// is no entry. d.mu is held.
func (d *Destination) takeOne(a *attachment) bool {
	if a.closed || a.limit != noLimit {
		return false
	}
	e := a.cursor.Next()
	if e == nil {
		return false
	}
	if a.cursor.Way(e) == pipeline.Main {
		a.taken = e.Index
	}
	if a.lanes[e.Key] == nil {
		l := d.newLane(a, e)
		a.lanes[e.Key] = l
		d.ready.push(l)
	}
	return true
}

// Leave implements pipeline.Subscriber. Lanes whose records were attempted
// are kept, with what is known of their attempts, as far as there is room.
func (d *Destination) Leave(c *pipeline.Cursor, way pipeline.Way) {
	d.mu.Lock()
	defer d.mu.Unlock()
	a := d.attached[c]
	if a == nil {
		return
	}
	var dropped []*lane
	for _, l := range a.lanes {
		if c.Way(l.entry) != way {
			continue
		}
		flying := l.place == flying
		if (flying || l.attempts > 0) && c.Keep(l.entry, flying) {
			continue
		}
		dropped = append(dropped, l)
	}
	d.drop(dropped)
	c.Left(way)
	if way == pipeline.Main {
		a.begun, a.taken = 0, 0 // they count entries of that log
	}
	d.take(a) // keys may have been unparked
	d.kick()
}

// Park implements pipeline.Subscriber.
func (d *Destination) Park(c *pipeline.Cursor, upTo uint64, most int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	a := d.attached[c]
	if a == nil || d.hold.on {
		return false // it is not a few keys
	}
	d.takeTo(a, upTo) // what was not even taken may be stuck, too
	var stuck []*lane
	for _, l := range a.lanes {
		if l.entry.Index <= upTo && c.Way(l.entry) == pipeline.Main {
			stuck = append(stuck, l)
		}
	}
	if len(stuck) > most {
		return false
	}
	c.PassHeld(upTo)
	var dropped []*lane
	for _, l := range stuck {
		if !c.Park(l.entry, l.place == flying) {
			dropped = append(dropped, l)
		}
	}
	d.drop(dropped)
	d.take(a)
	d.kick()
	return true
}

// Wants implements pipeline.Subscriber: a destination that is held wants a
// record to probe with, when that is due and it has none.
func (d *Destination) Wants() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.hold.on || d.hold.lane == nil && d.ready.n == 0 && d.hold.probeDue(time.Now())
}

// drop forgets lanes that are not flying. d.mu is held.
func (d *Destination) drop(lanes []*lane) {
	if len(lanes) == 0 {
		return
	}
	for _, l := range lanes {
		if l.place == waiting {
			d.waiting.remove(l)
		}
		if d.hold.lane == l {
			d.hold.lane = nil
		}
		l.dropped = true
	}
	d.ready.dropIf(func(l *lane) bool { return l.dropped })
	d.refused.dropIf(func(l *lane) bool { return l.dropped })
	for _, l := range lanes {
		l.of.cursor.Drop(l.entry)
		delete(l.of.lanes, l.key)
		d.recycle(l)
	}
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
	held := d.hold.on && !d.hold.inFlight && d.hold.probeAt.After(deadline)
	for _, l := range a.lanes {
		late := false
		switch l.place {
		case parked:
			late = true
		case ready, probing:
			late = held && l.letter == nil
		case waiting:
			late = l.due.After(deadline) || held && l.letter == nil
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
	if d.hold.lane != nil && d.hold.lane.of == a {
		d.hold.lane = nil
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

// State is what operators see of a destination.
type State struct {
	Name     string
	Held     bool
	Since    time.Time     // of Held
	Reason   string        // of Held
	InFlight int           // attempts
	Waiting  int           // keys that wait for a retry
	Oldest   time.Duration // age, since it arrived in the stream, of the oldest record that is not settled; 0: there is none
}

// State says how the destination is.
func (d *Destination) State() State {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := State{Name: d.name, Held: d.hold.on, InFlight: d.inFlight, Waiting: len(d.waiting)}
	if d.hold.on {
		s.Since, s.Reason = d.hold.since, d.hold.reason.String()
		if d.hold.status != 0 {
			s.Reason = fmt.Sprintf("%s (HTTP %d): %s", s.Reason, d.hold.status, reasons[d.hold.reason].todo)
		} else {
			s.Reason = fmt.Sprintf("%s: %s", s.Reason, reasons[d.hold.reason].todo)
		}
	}
	var oldest time.Time
	for _, a := range d.attached {
		for _, l := range a.lanes {
			if at := l.entry.Arrival; oldest.IsZero() || at.Before(oldest) {
				oldest = at
			}
		}
	}
	if !oldest.IsZero() {
		s.Oldest = max(time.Since(oldest), 0) // by two clocks
	}
	return s
}
