package pipeline_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/pipeline"
)

// onFirst gives the first call of op the outcome.
func onFirst(op string, outcome checkpoint.Outcome) (fault func(op, key string) checkpoint.Outcome, met func() bool) {
	var once sync.Once
	hit := make(chan struct{})
	return func(o, _ string) checkpoint.Outcome {
			result := checkpoint.None
			if o == op {
				once.Do(func() { close(hit); result = outcome })
			}
			return result
		}, func() bool {
			select {
			case <-hit:
				return true
			default:
				return false
			}
		}
}

var outcomes = []checkpoint.Outcome{checkpoint.Fail, checkpoint.Landed, checkpoint.Late, checkpoint.Throttle, checkpoint.Hang}

// A creation whose outcome is not known is tried again: the leases are there,
// once, and the source is up.
func TestUnknownOutcomeOfACreation(t *testing.T) {
	for _, outcome := range outcomes {
		t.Run(fmt.Sprint(outcome), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tp := newTape("shardId-0", "shardId-1", "shardId-2")
				fault, met := onFirst("create", outcome)
				w := newWorker(t, "a", &checkpoint.Memory{Fault: fault}, tp)
				ctx, stop := context.WithCancel(context.Background())
				done := make(chan error, 1)
				go func() { done <- w.Run(ctx) }()
				time.Sleep(10 * time.Second)
				if n := w.Held(); n != 3 || !met() {
					t.Errorf("%d shards are read, want 3; fault met: %t", n, met())
				}
				if s := w.Sources()[0]; !s.Up {
					t.Errorf("source is down: %s", s.Reason)
				}
				stop()
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// So is the removal of a finished shard's lease, and the children are read.
func TestUnknownOutcomeOfARemoval(t *testing.T) {
	for _, outcome := range outcomes {
		t.Run(fmt.Sprint(outcome), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tp := newTape("shardId-0")
				fault, met := onFirst("delete", outcome)
				store := &checkpoint.Memory{Fault: fault}
				w := newWorker(t, "a", store, tp)
				ctx, stop := context.WithCancel(context.Background())
				done := make(chan error, 1)
				go func() { done <- w.Run(ctx) }()
				time.Sleep(5 * time.Second)
				tp.put("shardId-0", "k 1")
				tp.split("shardId-0", "shardId-1", "shardId-2")
				time.Sleep(10 * time.Second)
				tp.put("shardId-1", "k 2")
				tp.put("shardId-2", "k 3")
				time.Sleep(4 * time.Minute)
				leases, err := store.List(t.Context())
				if err != nil || len(leases) != 2 || w.Held() != 2 || !met() {
					t.Errorf("%d leases, %d held, %v; want 2; fault met: %t", len(leases), w.Held(), err, met())
				}
				if s := w.Sources()[0]; !s.Up {
					t.Errorf("source is down: %s", s.Reason)
				}
				stop()
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// Writes to the lease table do not grow with subscribers, nor with what they
// settle: a lease is written once per renewal.
func TestWritesDoNotGrow(t *testing.T) {
	for _, subscribers := range []int{1, 60} {
		t.Run(fmt.Sprint(subscribers), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				writes := 0
				store := &checkpoint.Memory{Fault: func(op, _ string) checkpoint.Outcome {
					mu.Lock()
					defer mu.Unlock()
					if op != "list" && op != "get" && op != "desired" {
						writes++
					}
					return checkpoint.None
				}}
				f := &fleet{t: t, tape: newTape("shardId-0", "shardId-1"), store: store}
				var inboxes []pipeline.Subscriber
				for i := range subscribers {
					inboxes = append(inboxes, newInbox(fmt.Sprint("s", i)))
				}
				stop := f.start(f.first, inboxes...)
				defer stop()
				time.Sleep(20 * time.Second)
				mu.Lock()
				writes = 0
				mu.Unlock()
				for i := range 6000 { // ten minutes
					f.tape.put(fmt.Sprint("shardId-", i%2), fmt.Sprint("k ", i))
					time.Sleep(100 * time.Millisecond)
				}
				mu.Lock()
				defer mu.Unlock()
				// Two leases, renewed every 2.5 to 3.3 s.
				if writes < 2*600*3/10 || writes > 2*600*4/10 {
					t.Errorf("%d writes within ten minutes, want 360 to 480", writes)
				}
			})
		})
	}
}

// A hanging question for the stream's first leases is asked again.
func TestFirstThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fault, met := onFirst("first", checkpoint.Hang)
		a := newInbox("a")
		tp := newTape("shardId-0")
		stop := runSource(t, &checkpoint.Memory{Fault: fault}, pipeline.SourceConfig{Source: tp, Describe: describeKeyed,
			Initial: pipeline.InitialLatest(), Subscribers: []pipeline.Subscription{{Subscriber: a}}})
		time.Sleep(20 * time.Second)
		tp.put("shardId-0", "k 1")
		time.Sleep(10 * time.Second)
		stop()
		if !met() {
			t.Error("the fault was not met")
		}
		expect(t, a, "k 1")
	})
}
