package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap/zaptest"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/pipeline"
)

var errUnreadable = errors.New("unreadable")

// describeKeyed refuses the records of key x.
func describeKeyed(key string, _ []byte) (pipeline.Description, error) {
	if key == "x" {
		return pipeline.Description{}, errUnreadable
	}
	return pipeline.Description{Key: key}, nil
}

// runSource runs a worker with one source until stop is called.
func runSource(t *testing.T, store checkpoint.Store, source pipeline.SourceConfig) (stop func()) {
	t.Helper()
	return runFormat(t, store, checkpoint.MultiStream, source)
}

// runFormat is runSource with a table of a format.
func runFormat(t *testing.T, store checkpoint.Store, format checkpoint.KeyFormat, source pipeline.SourceConfig) (stop func()) {
	t.Helper()
	reg, began := prometheus.NewRegistry(), time.Now()
	w := pipeline.NewWorker(pipeline.Config{
		ID: fmt.Sprint("worker-", began.UnixNano()), Store: store, Format: format, Failover: 10 * time.Second,
		Sources: []pipeline.SourceConfig{source}, Window: 64 << 20, DrainTimeout: 5 * time.Second,
		Metrics: pipeline.NewMetrics(reg), LeaseMetrics: checkpoint.NewMetrics(reg), Logger: zaptest.NewLogger(t),
		Clock: func() time.Duration { return time.Since(began) },
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

// checkpointOf is the checkpoint of the only lease.
func checkpointOf(t *testing.T, store checkpoint.Store) checkpoint.Position {
	t.Helper()
	leases, err := store.List(t.Context())
	if err != nil || len(leases) != 1 {
		t.Fatalf("%d leases, %v; want one", len(leases), err)
	}
	return leases[0].Checkpoint
}

// TestUnreadableWithoutDeadLetters: no position passes a record that can
// neither be delivered nor dead-lettered (P2).
func TestUnreadableWithoutDeadLetters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, tape, a := &checkpoint.Memory{}, newTape("s-1"), newInbox("a")
		tape.put("s-1", "k 1", "x 2", "k 3")
		stop := runSource(t, store, pipeline.SourceConfig{Source: tape, Describe: describeKeyed,
			Subscribers: []pipeline.Subscription{{Subscriber: a}}})
		time.Sleep(5 * time.Second)
		expect(t, a, "k 1")
		tape.put("s-1", "k 4")
		time.Sleep(time.Minute)
		stop()
		expect(t, a, "")
		if at, want := checkpointOf(t, store), checkpoint.Number("1", 0); at != want {
			t.Errorf("checkpoint %s, want %s: record 2 is not settled", at, want)
		}
	})
}

// TestUnreadableWaits: while an unreadable record cannot be dead-lettered, the
// records before it are delivered, and no position passes it.
func TestUnreadableWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, tape, a := &checkpoint.Memory{}, newTape("s-1"), newInbox("a")
		tape.put("s-1", "k 1", "x 2", "k 3")
		var full atomic.Bool
		full.Store(true)
		stop := runSource(t, store, pipeline.SourceConfig{Source: tape, Describe: describeKeyed,
			Subscribers: []pipeline.Subscription{{Subscriber: a}},
			Unreadable: func(context.Context, pipeline.ShardInfo, pipeline.Record, error) error {
				if full.Load() {
					return errors.New("no space left")
				}
				return nil
			}})
		time.Sleep(30 * time.Second)
		expect(t, a, "k 1")
		if at, want := checkpointOf(t, store), checkpoint.Number("1", 0); at != want {
			t.Errorf("checkpoint %s, want %s", at, want)
		}
		synctest.Wait()
		full.Store(false)
		time.Sleep(time.Minute)
		expect(t, a, "k 3")
		stop()
		if at, want := checkpointOf(t, store), checkpoint.Number("3", 0); at != want {
			t.Errorf("checkpoint %s, want %s", at, want)
		}
	})
}

// TestBlankRecords: they are given to nobody, and positions move past them.
func TestBlankRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, tape, a := &checkpoint.Memory{}, newTape("s-1"), newInbox("a")
		tape.put("s-1", "x 1", "k 2", "x 3", "k 4", "x 5")
		for _, i := range []int{0, 2, 4} {
			tape.shards["s-1"].records[i].Blank = true // else describeKeyed refuses them
		}
		tape.shards["s-1"].records[4].Position.Sub = 7
		stop := runSource(t, store, pipeline.SourceConfig{Source: tape, Describe: describeKeyed,
			Subscribers: []pipeline.Subscription{{Subscriber: a}}})
		time.Sleep(30 * time.Second)
		expect(t, a, "k 2, k 4")
		if at, want := checkpointOf(t, store), checkpoint.Number("5", 7); at != want {
			t.Errorf("checkpoint %s, want %s", at, want)
		}
		stop()
	})
}

// TestArrivalsOutOfOrder begins at a time, near which the arrivals are not in
// the order of the records: what was delivered stays settled.
func TestArrivalsOutOfOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, tape, a := &checkpoint.Memory{}, newTape("s-1"), newInbox("a")
		at := time.Now()
		tape.put("s-1", "k 1", "k 2", "k 3")
		for i, r := range tape.shards["s-1"].records {
			tape.shards["s-1"].records[i].Arrival = r.Arrival.Add([]time.Duration{-2, 1, -1}[i] * time.Millisecond)
		}
		source := pipeline.SourceConfig{Source: tape, Describe: describeKeyed, Initial: pipeline.InitialTime(at),
			Subscribers: []pipeline.Subscription{{Subscriber: a}}}
		stop := runSource(t, store, source)
		time.Sleep(5 * time.Second)
		stop()
		expect(t, a, "k 2")
		if at, want := checkpointOf(t, store), checkpoint.Number("3", 0); at != want {
			t.Errorf("checkpoint %s, want %s", at, want)
		}
		stop = runSource(t, store, source)
		time.Sleep(5 * time.Second)
		stop()
		expect(t, a, "")
	})
}

// TestDeduplicate: what a producer sends twice under one key within the window
// is delivered once. Behind a restart, who had the first of them before it gets
// the second too.
func TestDeduplicate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, tape, a := &checkpoint.Memory{}, newTape("s-1"), newInbox("a")
		source := pipeline.SourceConfig{Source: tape, Describe: describeKeyed, Subscribers: []pipeline.Subscription{{Subscriber: a}},
			Deduplicate: &pipeline.Deduplication{Window: time.Minute, ID: func(data []byte) []byte { return data[2:] }}}
		stop := runSource(t, store, source)
		tape.put("s-1", "k a", "k b", "l a", "k a")
		time.Sleep(30 * time.Second)
		tape.put("s-1", "k b", "k c")
		time.Sleep(time.Minute)
		expect(t, a, "k a, k b, l a, k c")
		tape.put("s-1", "k a", "k b") // the window is over
		time.Sleep(30 * time.Second)
		expect(t, a, "k a, k b")
		tape.put("s-1", "k a")
		time.Sleep(5 * time.Second)
		stop()
		expect(t, a, "")
		if at, want := checkpointOf(t, store), checkpoint.Number("9", 0); at != want {
			t.Errorf("checkpoint %s, want that of the duplicate, %s", at, want)
		}
		late := newInbox("late")
		source.Subscribers = append(source.Subscribers, pipeline.Subscription{Subscriber: late})
		stop = runSource(t, store, source) // late gets all, from the first on
		tape.put("s-1", "k a")
		time.Sleep(5 * time.Second)
		stop()
		expect(t, a, "k a")
		expect(t, late, "k a, k b, l a, k c, k a, k b")
	})
}
