package checkpoint_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardline/shardline/checkpoint"
)

const failover = 10 * time.Second

// fleet is several workers on one table, inside a synctest bubble. check, which
// runs all the time, holds P3: no two tenures of a shard are valid at once.
type fleet struct {
	t     *testing.T
	table *checkpoint.Memory
	start time.Time

	mu      sync.Mutex
	tenures map[string][]*visit // by shard
	workers map[string]*worker
	kcls    []*kcl
	both    map[string]time.Duration // since when a shard is served, and a KCL worker thinks that it holds it
	stop    chan struct{}
	wg      sync.WaitGroup
}

// visit is one call of serve.
type visit struct {
	worker string
	tenure *checkpoint.Tenure
	began  time.Duration
	ended  time.Duration // 0: not yet
	cause  error
}

type worker struct {
	*checkpoint.Holder
	client *checkpoint.Memory
	cancel context.CancelFunc
	done   chan struct{}
	err    error

	mu     sync.Mutex
	drain  time.Duration // how long serve drains
	fail   error         // what serve returns at once
	linger time.Duration // how long serve goes on after its context ended
	n      int64         // the positions' progress
	fault  func(op, key string) checkpoint.Outcome
	calls  map[string]int // by operation
}

func (w *worker) set(change func(w *worker)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(w)
}

func (w *worker) called(op string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.calls[op]
}

func newFleet(t *testing.T, shards int) *fleet {
	f := &fleet{t: t, table: &checkpoint.Memory{}, start: time.Now(), tenures: map[string][]*visit{},
		workers: map[string]*worker{}, both: map[string]time.Duration{}, stop: make(chan struct{})}
	for i := range shards {
		s := checkpoint.Shard{ID: shardName(i)}
		if err := f.table.Create(t.Context(), checkpoint.NewLease(checkpoint.SingleStream, "", s, checkpoint.TrimHorizon)); err != nil {
			t.Fatal(err)
		}
	}
	f.wg.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				f.check()
			case <-f.stop:
				return
			}
		}
	})
	return f
}

func shardName(i int) string { return fmt.Sprintf("shardId-%012d", i) }

// check is the invariant (P3).
func (f *fleet) check() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for shard, visits := range f.tenures {
		valid := ""
		for _, v := range visits {
			if v.ended == 0 && v.tenure.Valid() {
				if valid != "" {
					f.t.Errorf("%s: %s is valid at %s and so is %s", f.now(), shard, valid, v.worker)
				}
				valid = v.worker
			}
		}
		f.checkKCL(shard, valid)
	}
}

func (f *fleet) now() time.Duration { return time.Since(f.start) }

func (f *fleet) add(id string, change ...func(*checkpoint.HolderConfig)) *worker {
	w := &worker{client: f.table.Client(), done: make(chan struct{}), calls: map[string]int{}}
	w.client.Fault = func(op, key string) checkpoint.Outcome {
		w.mu.Lock()
		w.calls[op]++
		fault := w.fault
		w.mu.Unlock()
		if fault == nil {
			return checkpoint.None
		}
		return fault(op, key)
	}
	seed := uint64(len(f.workers) + 1)
	cfg := checkpoint.HolderConfig{
		Store: w.client, Worker: id, Failover: failover, Clock: f.now,
		Rand: rand.New(rand.NewPCG(seed, seed)),
	}
	for _, c := range change {
		c(&cfg)
	}
	w.Holder = checkpoint.NewHolder(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	f.mu.Lock()
	f.workers[fmt.Sprintf("%s#%d", id, len(f.workers))] = w // two may have one id
	f.mu.Unlock()
	f.wg.Go(func() {
		defer close(w.done)
		w.err = w.Run(ctx, func(ctx context.Context, t *checkpoint.Tenure) error { return f.serve(ctx, w, id, t) })
	})
	return w
}

func (f *fleet) serve(ctx context.Context, w *worker, id string, t *checkpoint.Tenure) error {
	v := &visit{worker: id, tenure: t, began: f.now()}
	f.mu.Lock()
	shard := t.Lease().Shard
	f.tenures[shard] = append(f.tenures[shard], v)
	for _, k := range f.kcls {
		if k.believes(shard) {
			f.t.Errorf("%s: %s begins with %s, and %s thinks that it holds it", f.now(), id, shard, k.id)
		}
	}
	f.mu.Unlock()
	f.check()
	defer func() {
		f.mu.Lock()
		v.ended = f.now()
		f.mu.Unlock()
	}()
	w.mu.Lock()
	fail := w.fail
	w.mu.Unlock()
	if fail != nil {
		return fail
	}
	w.mu.Lock()
	linger := w.linger
	w.mu.Unlock()
	before := t.Lease().Checkpoint
	t.Positions(func() checkpoint.Saved {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.n == 0 {
			return checkpoint.Saved{Checkpoint: before}
		}
		return checkpoint.Saved{Checkpoint: checkpoint.Number(fmt.Sprint(w.n), 0), Roster: []string{"a"}}
	})
	select {
	case <-ctx.Done():
		time.Sleep(linger)
		v.cause = context.Cause(ctx)
		return v.cause
	case <-t.Draining():
	}
	w.mu.Lock()
	d := w.drain
	w.mu.Unlock()
	select {
	case <-ctx.Done():
		v.cause = context.Cause(ctx)
		return v.cause
	case <-time.After(d):
		return nil
	}
}

// owned is the number of shards that each worker serves in a valid tenure.
func (f *fleet) owned() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := map[string]int{}
	for _, visits := range f.tenures {
		for _, v := range visits {
			if v.ended == 0 && v.tenure.Valid() {
				n[v.worker]++
			}
		}
	}
	return n
}

// visits of a shard, a copy.
func (f *fleet) visits(shard string) []visit {
	f.mu.Lock()
	defer f.mu.Unlock()
	var vs []visit
	for _, v := range f.tenures[shard] {
		vs = append(vs, *v)
	}
	return vs
}

func (f *fleet) lease(i int) checkpoint.Lease {
	l, err := f.table.Get(context.Background(), shardName(i))
	if err != nil {
		f.t.Fatal(err)
	}
	return l
}

// close stops whoever still runs, and waits.
func (f *fleet) close() {
	for _, w := range f.workers {
		w.cancel()
		<-w.done
		if w.err != nil && !errors.Is(w.err, checkpoint.ErrKilled) && !errors.Is(w.err, checkpoint.ErrSameWorker) {
			f.t.Errorf("Run: %v", w.err)
		}
	}
	for _, k := range f.kcls {
		k.kill()
	}
	close(f.stop)
	f.wg.Wait()
}

// bubble runs test in fake time with a fleet of so many shards.
func bubble(t *testing.T, shards int, test func(t *testing.T, f *fleet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, shards)
		defer f.close()
		test(t, f)
	})
}

func expectOwned(t *testing.T, f *fleet, want map[string]int) {
	t.Helper()
	if got := f.owned(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("at %s leases are served by %v, want %v", f.now(), got, want)
	}
}
