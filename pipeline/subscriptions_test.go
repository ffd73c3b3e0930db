package pipeline_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/pipeline"
)

// reconfigure gives the last worker's source other subscribers.
func (f *fleet) reconfigure(initial pipeline.Initial, subscribers ...pipeline.Subscriber) {
	f.t.Helper()
	var subs []pipeline.Subscription
	for _, s := range subscribers {
		subs = append(subs, pipeline.Subscription{Subscriber: s, Initial: initial})
	}
	if err := f.worker.Reconfigure(f.t.Context(), f.tape.Name(), subs); err != nil {
		f.t.Fatal(err)
	}
}

// TestReconfigure adds and removes destinations while a shard is read: who stays
// gets every record once, who is new what its initial position says, and who
// comes back what it lacks.
func TestReconfigure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{t: t, tape: newTape("s-1"), store: &checkpoint.Memory{}}
		stays, goes, late, old := newInbox("stays"), newInbox("goes"), newInbox("late"), newInbox("old")
		put := func(records ...string) {
			f.tape.put("s-1", records...)
			time.Sleep(30 * time.Second)
			synctest.Wait()
		}
		stop := f.start(pipeline.Initial{}, stays, goes)
		put("k 1")
		expect(t, stays, "k 1")
		expect(t, goes, "k 1")

		f.reconfigure(pipeline.InitialLatest(), stays, late) // goes is removed
		if n := goes.attached(); n != 0 {
			t.Errorf("who was removed has %d cursors when Reconfigure returns", n)
		}
		put("k 2")
		expect(t, stays, "k 2")
		expect(t, goes, "")
		expect(t, late, "k 2")

		f.reconfigure(pipeline.Initial{}, stays, late, old) // the oldest record
		put("k 3")
		expect(t, stays, "k 3")
		expect(t, late, "k 3")
		expect(t, old, "k 1, k 2, k 3")

		f.reconfigure(pipeline.InitialLatest(), stays, goes) // goes is back, at its place
		put("k 4")
		expect(t, stays, "k 4")
		expect(t, goes, "k 2, k 3, k 4")
		expect(t, old, "")
		stop()

		// The lease keeps the places of those that were removed.
		stop = f.start(pipeline.InitialLatest(), stays, goes, late, old)
		put("k 5")
		stop()
		expect(t, stays, "k 5")
		expect(t, goes, "k 5")
		expect(t, late, "k 4, k 5")
		expect(t, old, "k 4, k 5")
	})
}

// TestReconfigureWaits removes a destination that is stuck with an attempt: the
// others go on, and the call waits for it, or gives up with its context.
func TestReconfigureWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{t: t, tape: newTape("s-1"), store: &checkpoint.Memory{}}
		stays, stuck := newInbox("stays"), newInbox("stuck")
		stuck.detaching = time.Minute
		stop := f.start(pipeline.Initial{}, stays, stuck)
		f.tape.put("s-1", "k 1")
		time.Sleep(10 * time.Second)
		began := time.Now()
		short, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := f.worker.Reconfigure(short, f.tape.Name(), []pipeline.Subscription{{Subscriber: stays}}); err == nil {
			t.Error("it did not wait")
		}
		f.tape.put("s-1", "k 2")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		expect(t, stays, "k 1, k 2")
		f.reconfigure(pipeline.Initial{}, stays, stuck) // it is back when it has left
		if took := time.Since(began); took < time.Minute || took > 70*time.Second {
			t.Errorf("it took %s, want a minute", took)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		expect(t, stays, "")
		expect(t, stuck, "k 1, k 2")
		stop()
		for _, box := range []*inbox{stays, stuck} {
			if n := box.attached(); n != 0 {
				t.Errorf("%s: %d cursors are attached after the end", box.name, n)
			}
		}
		if err := f.worker.Reconfigure(t.Context(), "nobody", nil); err == nil {
			t.Error("an unknown source")
		}
	})
}

// TestReconfigureSavesFirst: who is new gets nothing before the write has landed
// that lists it; others do.
func TestReconfigureSavesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var slow atomic.Bool
		store := &checkpoint.Memory{Fault: func(op, _ string) checkpoint.Outcome {
			if op == "renew" && slow.Load() {
				time.Sleep(4 * time.Second)
			}
			return checkpoint.None
		}}
		f := &fleet{t: t, tape: newTape("s-1"), store: store}
		stays, late := newInbox("stays"), newInbox("late")
		stop := f.start(pipeline.Initial{}, stays)
		f.tape.put("s-1", "k 1")
		settle(10 * time.Second)
		slow.Store(true)
		f.reconfigure(pipeline.Initial{}, stays, late)
		f.tape.put("s-1", "k 2")
		settle(3 * time.Second)
		expect(t, stays, "k 1, k 2")
		expect(t, late, "")
		if n := late.attached(); n != 0 {
			t.Errorf("it has %d cursors before it is listed", n)
		}
		settle(15 * time.Second)
		expect(t, late, "k 1, k 2")
		slow.Store(false)
		stop()
	})
}

// TestReconfigureInFlight removes a destination while it has a record in flight
// and another one settled ahead of that, and brings it back: the attempt ends by
// itself, and each record comes once. So it is when the worker stops in between.
func TestReconfigureInFlight(t *testing.T) {
	for _, stops := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			f := &fleet{t: t, tape: newTape("s-1"), store: &checkpoint.Memory{}}
			stays, goes := newInbox("stays"), &flying{inbox: newInbox("goes"), key: "a", lands: make(chan struct{})}
			stop := f.start(pipeline.Initial{}, stays, goes)
			f.tape.put("s-1", "a 1", "b 1", "a 2", "b 2")
			settle(5 * time.Second)
			expect(t, stays, "a 1, b 1, a 2, b 2")
			expect(t, goes.inbox, "a 1, b 1, b 2")

			gone := make(chan struct{})
			go func() {
				defer close(gone)
				f.reconfigure(pipeline.Initial{}, stays)
			}()
			f.tape.put("s-1", "b 3")
			settle(20 * time.Second)
			expect(t, stays, "b 3")
			select {
			case <-gone:
				t.Error("it has left with a record in flight")
			default:
			}
			close(goes.lands)
			<-gone
			if goes.cancelled {
				t.Error("the attempt was cancelled")
			}
			expect(t, goes.inbox, "")
			if stops {
				stop()
				stop = f.start(pipeline.Initial{}, stays, goes)
			} else {
				f.reconfigure(pipeline.Initial{}, stays, goes)
			}
			settle(20 * time.Second)
			expect(t, stays, "")
			expect(t, goes.inbox, "a 2, b 3")
			stop()
		})
	}
}

// flying is an inbox whose records of one key are in flight until lands is
// closed: the key's next one is not begun before.
type flying struct {
	*inbox
	key   string
	lands chan struct{}

	ctx       context.Context //nolint:containedctx // of the attachment
	flights   sync.WaitGroup
	lane      *pipeline.Entry // nil: nothing is in flight
	closed    bool
	cancelled bool
}

func (d *flying) Attach(ctx context.Context, c *pipeline.Cursor) {
	d.mu.Lock()
	d.ctx, d.closed = ctx, false
	d.mu.Unlock()
	d.inbox.Attach(ctx, c)
}

func (d *flying) Wake(c *pipeline.Cursor) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for !d.closed {
		e := c.Next()
		if e == nil {
			return
		}
		if e.Key == d.key && d.lane != nil {
			continue // its lane comes to it
		}
		d.fly(c, e)
	}
}

// fly delivers a record, and then those that follow it.
func (d *flying) fly(c *pipeline.Cursor, e *pipeline.Entry) {
	d.got = append(d.got, string(e.Data))
	if e.Key != d.key {
		c.Settle(e)
		return
	}
	d.lane = e
	d.flights.Go(func() {
		select {
		case <-d.lands:
		case <-d.ctx.Done():
			d.cancelled = true
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		d.lane = nil
		if next := c.Settle(e); next != nil && !d.closed {
			d.fly(c, next)
		}
	})
}

func (d *flying) Leave(c *pipeline.Cursor, way pipeline.Way) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if way != pipeline.Kept && d.lane != nil && c.Way(d.lane) == way {
		c.Keep(d.lane, true)
	}
	c.Left(way)
}

func (d *flying) Detach(c *pipeline.Cursor) {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.flights.Wait()
	d.inbox.Detach(c)
}
