package checkpoint_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/internal/localaws"
)

// Two workers over the wire, with answers lost and calls throttled: they
// share, one is killed, the other has everything; P3 holds all the while.
func TestHoldersOverTheWire(t *testing.T) {
	client, server := localTables(t)
	const shards, lease = 8, 2 * time.Second
	store := openTables(t, client)
	for i := range shards {
		if err := store.Create(t.Context(), shardLease(shardName(i))); err != nil {
			t.Fatal(err)
		}
	}
	for i, kind := range []localaws.FaultKind{localaws.DropAfter, localaws.DropBefore, localaws.Throttle, localaws.StaleRead} {
		if _, err := server.AddFault(localaws.Fault{Operation: "dynamodb.*", Kind: kind, Probability: 0.03, Seed: uint64(i)}); err != nil {
			t.Fatal(err)
		}
	}

	var mu sync.Mutex
	tenures := map[*checkpoint.Tenure]string{}
	owned := func() map[string]int {
		mu.Lock()
		defer mu.Unlock()
		n, owner := map[string]int{}, map[string]string{}
		for tenure, worker := range tenures {
			if tenure.Valid() {
				n[worker]++
				if shard := tenure.Lease().Shard; owner[shard] != "" {
					t.Errorf("%s is valid at %s and %s", shard, owner[shard], worker)
				} else {
					owner[shard] = worker
				}
			}
		}
		return n
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	start := func(worker string) *checkpoint.Holder {
		h := checkpoint.NewHolder(checkpoint.HolderConfig{Store: store, Worker: worker, Failover: lease})
		wg.Go(func() {
			err := h.Run(ctx, func(ctx context.Context, tenure *checkpoint.Tenure) error {
				mu.Lock()
				tenures[tenure] = worker
				mu.Unlock()
				defer func() {
					mu.Lock()
					defer mu.Unlock()
					delete(tenures, tenure)
				}()
				select {
				case <-ctx.Done():
				case <-tenure.Draining():
				}
				return nil
			})
			if err != nil && !errors.Is(err, checkpoint.ErrKilled) {
				t.Error(err)
			}
		})
		return h
	}
	until := func(what string, done func(map[string]int) bool) {
		t.Helper()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		deadline := time.After(time.Minute)
		for !done(owned()) {
			select {
			case <-tick.C:
			case <-deadline:
				t.Fatalf("%s: not within a minute, %v", what, owned())
			}
		}
	}
	a := start("a")
	until("one has all", func(n map[string]int) bool { return n["a"] == shards })
	start("b")
	until("two share", func(n map[string]int) bool { return n["a"] == shards/2 && n["b"] == shards/2 })
	a.Kill()
	until("the other has all", func(n map[string]int) bool { return fmt.Sprint(n) == fmt.Sprintf("map[b:%d]", shards) })
	server.ClearFaults()
	cancel()
	wg.Wait()
	left, err := store.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range left {
		if l.Owner != "" {
			t.Errorf("%s is still owned by %s", l.Key, l.Owner)
		}
	}
}
