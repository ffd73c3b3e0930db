package checkpoint

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// Tenure is one uninterrupted ownership of a lease. Its goroutine, keep, is
// the only writer of the lease: renewals, saves and the release never race.
type Tenure struct {
	h     *Holder
	taken Lease
	// quiet is how long serve waits after the take: the old owner was alive and
	// not asked, and learns of its loss only when it writes.
	quiet time.Duration

	lost    func(cause error) // ends the tenure's context
	done    <-chan struct{}   // closed when it has ended
	reason  atomic.Pointer[string]
	until   atomic.Int64 // clock reading at which it ends unless renewed
	saved   atomic.Int64 // clock reading at which the last write was sent that left no positions unsaved
	expiry  *time.Timer  // lets go at until, also while a renewal hangs
	given   atomic.Bool  // somebody asked for it
	drained sync.Once
	drains  chan struct{}

	requests chan request
	pokes    chan struct{}
	appended atomic.Int64 // bytes since the throughput was last measured

	mu        sync.Mutex // guards positions
	positions func() Saved

	held     Lease         // as in the table after the last write; owned by keep
	failures int           // writes failed in a row; owned by keep
	measured time.Duration // clock reading when the throughput was last measured; owned by keep
	kBps     float64       // the throughput; owned by keep
	trouble  string        // the last save's error, for logging on change; owned by keep
}

// request asks keep for a write. done has room for one answer.
type request struct {
	children []string // nil: save
	done     chan error
}

func newTenure(h *Holder, l Lease, sent time.Duration) *Tenure {
	t := &Tenure{
		h: h, taken: l, held: l,
		drains: make(chan struct{}), requests: make(chan request), pokes: make(chan struct{}, 1),
	}
	t.until.Store(int64(sent + h.cfg.Failover - h.margin))
	t.saved.Store(int64(sent))
	t.measured, t.kBps = sent, l.Throughput
	return t
}

// Lease is the lease as it was taken.
func (t *Tenure) Lease() Lease { return t.taken.Clone() }

// Draining is closed when the worker stops or another worker asked for the
// lease: finish what is in flight and return.
func (t *Tenure) Draining() <-chan struct{} { return t.drains }

// Positions sets the function that says what to save; it is asked at every
// renewal, by the lease's goroutine, until the lease is released, after serve
// has returned too. It must not call the Tenure. Its checkpoint must not move
// back. Without one, renewals save nothing.
func (t *Tenure) Positions(f func() Saved) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.positions = f
}

// Appended counts bytes that were read: the work that the lease makes. It goes
// into the lease with the next renewal.
func (t *Tenure) Appended(bytes int64) { t.appended.Add(bytes) }

// measure brings the throughput up to date: smoothed, since it decides who
// serves the lease; to a tenth, since more digits cost room in every item.
func (t *Tenure) measure() {
	now := t.h.cfg.Clock()
	d := now - t.measured
	if d < t.h.cfg.Failover/10 {
		return
	}
	t.measured = now
	rate := float64(t.appended.Swap(0)) / 1024 / d.Seconds()
	t.kBps += (rate - t.kBps) * (1 - math.Exp(-d.Seconds()/smoothing.Seconds()))
}

// smoothing is the time within which the throughput follows a change by two
// thirds.
const smoothing = 30 * time.Second

// current is the lease as held, with the throughput as of now.
func (t *Tenure) current() Lease {
	l := t.held
	l.Throughput = math.Round(t.kBps*10) / 10
	return l
}

// Valid says whether this worker still owns the lease, whatever others do. It
// is asked before every attempt: the tenure ends at the time when the last
// successful renewal was sent + fail-over time − margin, on a clock that runs
// through suspend; no other worker can have taken the lease by then. A tenure
// found to have ended loses its context on the spot, so that a process that
// was stopped and goes on starts nothing.
func (t *Tenure) Valid() bool {
	select {
	case <-t.done:
		return false
	default:
	}
	if t.h.cfg.Clock() < time.Duration(t.until.Load()) {
		return true
	}
	t.lose(reasonExpired)
	return false
}

// Save returns nil when positions asked for after the call are in the table.
// Otherwise the error is ErrLeaseLost, ErrTooLarge, or ctx's. Whoever
// calls must not hold a lock that the positions function takes.
func (t *Tenure) Save(ctx context.Context) error { return t.request(ctx, nil) }

// Children writes the children's shard ids into the lease. After an error other
// than ErrLeaseLost and ctx's it may be asked again.
func (t *Tenure) Children(ctx context.Context, ids []string) error {
	return t.request(ctx, append([]string{}, ids...))
}

func (t *Tenure) request(ctx context.Context, children []string) error {
	r := request{children: children, done: make(chan error, 1)}
	select {
	case t.requests <- r:
	case <-t.done:
		return ErrLeaseLost
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.done:
	}
	select {
	case err := <-r.done: // it was written before the tenure ended
		return err
	default:
		return ErrLeaseLost
	}
}

// keep renews the lease while serve runs, then releases it. It returns
// serve's error, or ErrLeaseLost or ErrKilled.
func (t *Tenure) keep(base context.Context, serve Serve) error {
	ctx, lost := context.WithCancelCause(base)
	t.lost, t.done = lost, ctx.Done()
	defer lost(ErrLeaseLost) // what outlives serve must not think it owns the lease
	t.expiry = time.AfterFunc(time.Hour, t.expire)
	defer t.expiry.Stop()
	if t.expire(); ctx.Err() == nil {
		if err := t.serveUntilDone(ctx, serve); ctx.Err() == nil {
			t.release(ctx)
			return err
		}
	}
	if errors.Is(context.Cause(ctx), ErrKilled) {
		return ErrKilled
	}
	reason := *t.reason.Load()
	t.h.cfg.Metrics.lost.WithLabelValues(reason).Inc()
	t.h.log.Warn("lease lost", zap.String("lease", t.taken.Key), zap.String("reason", reason))
	return ErrLeaseLost
}

func (t *Tenure) serveUntilDone(ctx context.Context, serve Serve) error {
	served := make(chan error, 1)
	begin := func() { go func() { served <- serve(ctx, t) }() }
	var quiet <-chan time.Time // nil: serve has begun
	var drains <-chan struct{}
	if t.quiet > 0 {
		quiet, drains = time.After(t.quiet), t.drains
	} else {
		begin()
	}
	// Renewals of many leases that were taken together drift apart.
	interval := func() time.Duration { return t.h.spread(t.h.cfg.Failover/4, t.h.cfg.Failover/3) }
	renewal := time.NewTimer(t.h.spread(0, t.h.cfg.Failover/3))
	defer renewal.Stop()
	for {
		counter := t.held.Counter
		select {
		case err := <-served:
			return err
		case <-ctx.Done():
			if quiet != nil {
				return context.Cause(ctx)
			}
			return <-served
		case <-quiet:
			now, known, err := t.read(ctx, false)
			if err != nil {
				return err
			}
			if !known {
				quiet = time.After(t.pause(3))
				continue
			}
			t.adopt(now)
			quiet, drains = nil, nil
			begin()
			continue
		case <-drains:
			return nil // there is nothing to finish
		case <-renewal.C:
			_ = t.write(ctx, nil) // it logged it, or the tenure has ended
			renewal.Reset(interval())
			continue
		case <-t.pokes:
			_ = t.write(ctx, nil)
		case r := <-t.requests:
			t.answer(ctx, r)
		}
		if t.held.Counter != counter { // not every request renews
			renewal.Reset(interval())
		}
	}
}

// answer does one request, and every save that already waits beside it.
func (t *Tenure) answer(ctx context.Context, r request) {
	saves := []request{}
	for more := true; more; {
		if r.children != nil {
			r.done <- t.setChildren(ctx, r.children)
		} else {
			saves = append(saves, r)
		}
		select {
		case r = <-t.requests:
		default:
			more = false
		}
	}
	if len(saves) == 0 {
		return
	}
	err := t.write(ctx, saves)
	for _, r := range saves {
		r.done <- err
	}
}

// expire loses the tenure when its time has run out, or sets the timer anew.
func (t *Tenure) expire() {
	if t.Valid() {
		t.expiry.Reset(time.Duration(t.until.Load()) - t.h.cfg.Clock())
	}
}

// lose ends the tenure; the first reason counts.
func (t *Tenure) lose(reason string) {
	t.reason.CompareAndSwap(nil, &reason)
	t.lost(ErrLeaseLost)
}

// extend counts a renewal that was sent at sent.
func (t *Tenure) extend(sent time.Duration) {
	t.until.Store(int64(sent + t.h.cfg.Failover - t.h.margin))
	t.expire()
}

func (t *Tenure) drain(why string) {
	t.drained.Do(func() {
		t.h.log.Info("lease drains", zap.String("lease", t.taken.Key), zap.String("why", why))
		close(t.drains)
	})
}

func (t *Tenure) isDraining() bool {
	select {
	case <-t.drains:
		return true
	default:
		return false
	}
}

// mine says whether the lease counts as this worker's: it is not being handed
// to another.
func (t *Tenure) mine() bool { return !t.given.Load() }

func (t *Tenure) poke() {
	select {
	case t.pokes <- struct{}{}:
	default:
	}
}
