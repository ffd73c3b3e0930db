package checkpoint

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// ErrKilled is what Run returns after Kill.
var ErrKilled = errors.New("holder killed")

// atOnce bounds the takes, and the outstanding requests for a hand-over, of
// one worker: a lone one takes a hundred leases within a second, and nobody
// bursts a table that was provisioned for renewals.
const atOnce = 16

// HolderConfig is what NewHolder needs.
type HolderConfig struct {
	Store Store
	// Worker is this process's id. Two processes must not share one.
	Worker string
	// Failover is how long a lease may stand unrenewed before others take it;
	// the same for all workers of a table. Leases are renewed and positions
	// saved about every third of it, the table scanned about every tenth.
	Failover time.Duration
	// MaxLeases bounds what this worker holds; 0: no limit.
	MaxLeases int
	// SharedWithKCL: workers of the Kinesis Client Library live on the table
	// too; leases are balanced with them, by their rules. Otherwise one that
	// renews a lease is an alarm.
	SharedWithKCL bool
	// Wanted says whether this worker would serve l, given all leases of the
	// last scan: its source is configured, its parents are finished, there is
	// something to do. Leases that nobody wants do not count in the balance.
	// It is called by Run only, and must not change what it is given.
	Wanted func(l Lease, all map[string]Lease) bool
	// Clock is a monotonic clock that runs through suspend; nil: CLOCK_BOOTTIME.
	Clock func() time.Duration
	// Rand is for jitter, random order and tenures; used under a lock. nil:
	// seeded by the system.
	Rand    *mathrand.Rand
	Logger  *zap.Logger // nil: none
	Metrics *Metrics    // nil: none
}

// Holder takes, renews, balances and gives up leases.
type Holder struct {
	cfg    HolderConfig
	store  Store
	log    *zap.Logger
	margin time.Duration
	// process tells this process from another one under the same worker id.
	process string
	killed  chan struct{}
	kill    sync.Once
	nudge   chan struct{}
	beat    atomic.Pointer[time.Time] // when the loop of passes last came round; nil: it has not begun

	randMu sync.Mutex // guards rand
	rand   *mathrand.Rand

	mu       sync.Mutex         // guards what follows
	tenures  map[string]*Tenure // until serve has returned: a shard is served once at a time
	failures map[string]failure // leases whose serve function failed here; bounded by the table
	snapshot sightings          // the last scan; its map is never changed
	scanned  chan struct{}      // closed when snapshot is replaced
	scanErr  error              // of the last scan
}

// failure keeps this worker from a lease whose serve function failed.
type failure struct {
	until time.Duration
	wait  time.Duration
	text  string
}

// NewHolder makes a Holder. It starts nothing.
func NewHolder(cfg HolderConfig) *Holder {
	h := &Holder{
		cfg: cfg, store: cfg.Store, log: cfg.Logger,
		killed: make(chan struct{}), nudge: make(chan struct{}, 1), rand: cfg.Rand,
		tenures: map[string]*Tenure{}, failures: map[string]failure{}, scanned: make(chan struct{}),
		// The margin covers what the fail-over time does not: the clocks of
		// two machines that run at different rates, and the moment between
		// asking Valid and acting on it.
		margin: max(cfg.Failover/10, 50*time.Millisecond),
	}
	if h.cfg.Clock == nil {
		h.cfg.Clock = BootTime
	}
	if h.cfg.Wanted == nil {
		h.cfg.Wanted = func(Lease, map[string]Lease) bool { return true }
	}
	if h.log == nil {
		h.log = zap.NewNop()
	}
	if h.cfg.Metrics == nil {
		h.cfg.Metrics = NewMetrics(nil)
	}
	h.store = Measure(cfg.Store, h.cfg.Metrics)
	if h.rand == nil {
		var seed [32]byte
		_, _ = rand.Read(seed[:]) // never fails
		h.rand = mathrand.New(mathrand.NewChaCha8(seed))
	}
	h.process = h.hex(processDigits)
	return h
}

// Serve does the work of one tenure, until ctx ends (with cause ErrLeaseLost
// or ErrKilled: stop at once, save nothing) or t.Draining closes (stop
// reading, finish what is in flight, return nil). When it returns, with or
// without error, the lease is released with the positions of that moment.
// After an error this worker stays away from the lease for a growing time.
type Serve func(ctx context.Context, t *Tenure) error

// Run holds leases until ctx ends, or until it is found that another process
// works under this worker's id and this one has to give way (ErrSameWorker).
// Then it drains: it takes nothing more,
// closes every tenure's Draining, waits for the serve functions, releases the
// leases with their last positions, and returns. How long a drain may
// take is the serve functions' to decide; Kill cuts it short.
func (h *Holder) Run(ctx context.Context, serve Serve) error {
	base, end := context.WithCancelCause(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-h.killed:
			end(ErrKilled)
		case <-base.Done():
		}
	})
	p := &passes{
		Holder: h, serve: serve, seen: sightings{failover: h.cfg.Failover, worker: h.cfg.Worker},
		pending: map[string]pendingTake{}, asked: map[string]bool{}, twins: twins{worker: h.cfg.Worker, process: h.process},
		foreign: foreigners{shared: h.cfg.SharedWithKCL, failover: h.cfg.Failover, log: h.log, metrics: h.cfg.Metrics},
	}
	refused := p.run(ctx, base)
	h.beat.Store(nil) // a drain takes its time
	h.mu.Lock()
	for _, t := range h.tenures {
		t.drain("the worker stops")
	}
	h.mu.Unlock()
	p.wg.Wait()
	end(nil)
	wg.Wait()
	select {
	case <-h.killed:
		return ErrKilled
	default:
		return refused
	}
}

// Kill ends Run as a crash would: the tenures' contexts end at once with cause
// ErrKilled, and nothing more is written. The leases are left to expire. It
// does not wait for Run.
func (h *Holder) Kill() { h.kill.Do(func() { close(h.killed) }) }

// Scan asks for a scan soon, for example when a parent's end was saved and its
// children may be taken.
func (h *Holder) Scan() {
	select {
	case h.nudge <- struct{}{}:
	default:
	}
}

// Snapshot is the last scan by lease key, nil before the first. It may lack
// what this worker itself wrote since.
func (h *Holder) Snapshot() map[string]Lease {
	h.mu.Lock()
	defer h.mu.Unlock()
	return all(h.snapshot.leases)
}

func all(seen map[string]sighting) map[string]Lease {
	if seen == nil {
		return nil
	}
	leases := make(map[string]Lease, len(seen))
	for key, s := range seen {
		leases[key] = s.lease
	}
	return leases
}

// Worker is the id under which the leases are held.
func (h *Holder) Worker() string { return h.cfg.Worker }

// Scanned is closed when there is a newer Snapshot.
func (h *Holder) Scanned() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.scanned
}

// Free says whether nobody holds a lease that was read just now: it is without
// owner, or still as a scan saw it a fail-over time ago. Scans that fail, or an
// own process that stood still, make no lease free.
func (h *Holder) Free(l Lease) bool {
	if l.Owner == "" {
		return true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	s, ok := h.snapshot.leases[l.Key]
	if !ok || h.tenures[l.Key] != nil || !s.lease.as(l) {
		return false
	}
	_, free := h.snapshot.free(s, h.cfg.Clock())
	return free
}

// call bounds one call to the store: a renewal that hangs must leave time for
// another one within the fail-over time.
func (h *Holder) call(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, h.cfg.Failover/4)
}

// spread is a random duration in [low, high).
func (h *Holder) spread(low, high time.Duration) time.Duration {
	if high <= low {
		return low
	}
	h.randMu.Lock()
	defer h.randMu.Unlock()
	return low + time.Duration(h.rand.Int64N(int64(high-low)))
}

// newTenure is the tenure of a take.
func (h *Holder) newTenure() string { return tenureOf(h.cfg.Worker, h.process, h.hex(16)) }

// hex is so many random hexadecimal digits, at most 16.
func (h *Holder) hex(digits int) string {
	h.randMu.Lock()
	defer h.randMu.Unlock()
	return fmt.Sprintf("%016x", h.rand.Uint64())[:digits]
}

// sleep waits, or returns false when ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
