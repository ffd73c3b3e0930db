package pipeline_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/pipeline"
)

// holdable is an inbox that says what commands hold: it takes nothing while all
// of it is held.
type holdable struct {
	*inbox
	mu    sync.Mutex
	tells []string
}

func (h *holdable) Hold(all bool, keys map[string]bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tells = append(h.tells, fmt.Sprint("hold ", all, " ", slices.Sorted(maps.Keys(keys))))
	h.setShut(all)
	h.inbox.mu.Lock()
	in := slices.Collect(maps.Keys(h.in))
	h.inbox.mu.Unlock()
	for _, c := range in {
		h.Wake(c)
	}
}

func (h *holdable) Release(key string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tells = append(h.tells, fmt.Sprintf("release %q", key))
}

// told is what it was told since the last call.
func (h *holdable) told() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	told := strings.Join(h.tells, "; ")
	h.tells = nil
	return told
}

// order gives a command that is applied.
func order(t *testing.T, s checkpoint.Store, verb checkpoint.Verb, keys ...string) checkpoint.Answer {
	t.Helper()
	a, err := checkpoint.Give(t.Context(), s, checkpoint.Command{Verb: verb, Destinations: []string{"d"}, Keys: keys}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestHold holds and releases a destination: in force within a scan, before the
// first record of a worker that starts later, and acknowledged in the lease.
func TestHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{t: t, tape: newTape("s"), store: &checkpoint.Memory{}}
		d := &holdable{inbox: newInbox("d")}
		stop := f.start(pipeline.Initial{}, d)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		d.told()
		hold := order(t, f.store, checkpoint.HoldVerb)
		time.Sleep(2 * time.Second) // between two scans there is at most a fifth of the fail-over time
		synctest.Wait()
		if got := d.told(); got != "hold true []" {
			t.Errorf("told %q", got)
		}
		time.Sleep(4 * time.Second) // a renewal
		leases, _ := f.store.ListNow(t.Context())
		if a := checkpoint.Acknowledgements(leases, hold.Version); len(a) != 1 || a[0].Obedience != checkpoint.InForce {
			t.Errorf("acknowledgements %+v", a)
		}
		order(t, f.store, checkpoint.HoldVerb, "k")
		order(t, f.store, checkpoint.ReleaseVerb, "k2")
		time.Sleep(2 * time.Second)
		if got := d.told(); got != `hold true [k]; release "k2"` && got != `hold true [k]; hold true [k]; release "k2"` {
			t.Errorf("told %q", got)
		}
		stop()

		f.tape.put("s", "k 1")
		later := &holdable{inbox: newInbox("d")}
		stop = f.start(pipeline.Initial{}, later)
		time.Sleep(20 * time.Second)
		synctest.Wait()
		expect(t, later.inbox, "")
		if got := later.told(); got != "hold true [k]" { // a release from before its time is none of its business
			t.Errorf("told %q", got)
		}
		order(t, f.store, checkpoint.ReleaseVerb)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := later.told(); got != `hold false []; release ""` {
			t.Errorf("told %q", got)
		}
		stop()
	})
}

// TestNoLaneBeforeTheDesiredState lets the state table fail: a lease that was
// taken begins nothing until what is desired is known.
func TestNoLaneBeforeTheDesiredState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		broken := true
		store := &checkpoint.Memory{Fault: func(op, _ string) checkpoint.Outcome {
			mu.Lock()
			defer mu.Unlock()
			if broken && op == "desired" {
				return checkpoint.Fail
			}
			return checkpoint.None
		}}
		f := &fleet{t: t, tape: newTape("s"), store: store}
		d := &holdable{inbox: newInbox("d")}
		f.tape.put("s", "k 1")
		stop := f.start(pipeline.Initial{}, d)
		time.Sleep(time.Minute)
		synctest.Wait()
		expect(t, d.inbox, "")
		mu.Lock()
		broken = false
		mu.Unlock()
		time.Sleep(time.Minute)
		synctest.Wait()
		expect(t, d.inbox, "k 1")
		stop()
	})
}

// tenures of many leases that are taken at once share readings of the desired
// state, each of which begins after the take.
func TestReadingsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		readings := 0
		store := &checkpoint.Memory{Fault: func(op, _ string) checkpoint.Outcome {
			time.Sleep(10 * time.Millisecond)
			if op == "desired" {
				mu.Lock()
				defer mu.Unlock()
				readings++
			}
			return checkpoint.None
		}}
		tp := newTape()
		for i := range 78 {
			id := fmt.Sprintf("shardId-%012d", i)
			tp.shards[id] = &tapeShard{Shard: checkpoint.Shard{ID: id, Start: fmt.Sprint(i)}}
		}
		w := newWorker(t, "a", store, tp)
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx) }()
		time.Sleep(3 * time.Second)
		mu.Lock()
		n := readings
		mu.Unlock()
		if held := w.Held(); held != 78 || n > 30 {
			t.Errorf("%d leases held, %d readings; want 78, and readings that are shared", held, n)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
