package checkpoint_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardline/shardline/checkpoint"
)

// TestAlive: a loop of passes that no longer comes round is stuck; one that
// has not begun, and one that drains, is not.
func TestAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		store := &checkpoint.Memory{}
		if err := store.Create(t.Context(), checkpoint.Lease{Key: "s", Shard: "s"}); err != nil {
			t.Fatal(err)
		}
		var block atomic.Bool
		h := checkpoint.NewHolder(checkpoint.HolderConfig{Store: store, Worker: "w", Failover: 3 * time.Second,
			Wanted: func(checkpoint.Lease, map[string]checkpoint.Lease) bool {
				if block.Load() {
					<-stuck
				}
				return true
			}})
		if err := h.Alive(); err != nil {
			t.Errorf("before Run: %v", err)
		}
		ctx, stop := context.WithCancel(context.Background())
		done, drained := make(chan error), make(chan struct{})
		go func() {
			done <- h.Run(ctx, func(_ context.Context, t *checkpoint.Tenure) error {
				<-t.Draining()
				<-drained
				return nil
			})
		}()
		time.Sleep(10 * time.Minute)
		if err := h.Alive(); err != nil {
			t.Errorf("while it works: %v", err)
		}
		block.Store(true)
		time.Sleep(10 * time.Minute)
		if h.Alive() == nil {
			t.Error("a stuck loop counts as alive")
		}
		close(stuck)
		stop()
		time.Sleep(10 * time.Minute)
		if err := h.Alive(); err != nil {
			t.Errorf("while it drains: %v", err)
		}
		close(drained)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
