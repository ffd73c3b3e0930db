package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap/zaptest"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/pipeline"
)

// newWorker is a worker that reads a tape for nobody.
func newWorker(t *testing.T, id string, store checkpoint.Store, tp *tape) *pipeline.Worker {
	reg, began := prometheus.NewRegistry(), time.Now()
	return pipeline.NewWorker(pipeline.Config{
		ID: id, Store: store, Format: checkpoint.MultiStream, Failover: 10 * time.Second,
		Sources: []pipeline.SourceConfig{{Source: tp, Describe: describeKeyed, Subscribers: []pipeline.Subscription{{Subscriber: newInbox("a")}}}},
		Window:  64 << 20, DrainTimeout: 5 * time.Second,
		Metrics: pipeline.NewMetrics(reg), LeaseMetrics: checkpoint.NewMetrics(reg), Logger: zaptest.NewLogger(t),
		Clock: func() time.Duration { return time.Since(began) },
	})
}

// A lone worker reads every shard of a new application within seconds, although
// every call to the table takes a while.
func TestStartOfALoneWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tp := newTape()
		for i := range 78 {
			id := fmt.Sprintf("shardId-%012d", i)
			tp.shards[id] = &tapeShard{Shard: checkpoint.Shard{ID: id, Start: fmt.Sprint(i)}}
		}
		store := &checkpoint.Memory{Fault: func(string, string) checkpoint.Outcome {
			time.Sleep(60 * time.Millisecond)
			return checkpoint.None
		}}
		w := newWorker(t, "a", store, tp)
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx) }()
		time.Sleep(3 * time.Second)
		if n := w.Held(); n != 78 {
			t.Errorf("%d shards after 3 s, want 78", n)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A second process under one worker id ends by itself, all of it.
func TestSecondProcessEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tp, store := newTape("shardId-0", "shardId-1"), &checkpoint.Memory{}
		ctx, stop := context.WithCancel(context.Background())
		first, second := make(chan error, 1), make(chan error, 1)
		go func() { first <- newWorker(t, "a", store, tp).Run(ctx) }()
		time.Sleep(5 * time.Second)
		go func() { second <- newWorker(t, "a", store, tp).Run(ctx) }()
		select {
		case err := <-second:
			if !errors.Is(err, checkpoint.ErrSameWorker) {
				t.Errorf("the second one ended with %v, want ErrSameWorker", err)
			}
		case <-time.After(15 * time.Second):
			t.Error("the second one goes on")
		}
		stop()
		if err := <-first; err != nil {
			t.Errorf("the first one ended with %v", err)
		}
	})
}
