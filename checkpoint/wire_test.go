package checkpoint_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/internal/localaws"
)

// Every kind of call over the wire fails once, in every way and at several
// moments of a life: taking, saving with a new roster and with more behind than
// an item holds, a hand-over, a release. Nobody loses a lease, and in the end
// the positions of the end are in the tables, overflow and roster included.
func TestOneFaultOnTheWire(t *testing.T) {
	for _, table := range []string{"app", "app-state"} {
		for _, op := range []string{"UpdateItem", "PutItem", "GetItem", "DeleteItem", "Scan"} {
			for _, kind := range []localaws.FaultKind{localaws.Throttle, localaws.Error500, localaws.DropBefore, localaws.DropAfter} {
				for _, skip := range []int{0, 2, 7} {
					if table == "app-state" && (op == "UpdateItem" || op == "Scan") || table == "app" && (op == "PutItem" || op == "DeleteItem") {
						continue // not called by the workers
					}
					fault := localaws.Fault{Operation: "dynamodb." + op, Table: table, Kind: kind, Skip: skip, Count: 1}
					t.Run(fmt.Sprintf("%s/%s/%s/%d", table, op, kind, skip), func(t *testing.T) { synctest.Test(t, func(t *testing.T) { oneFault(t, fault) }) })
				}
			}
		}
	}
}

func oneFault(t *testing.T, fault localaws.Fault) {
	client, server, _ := meteredTables(t)
	start := time.Now()
	open := func() *checkpoint.DynamoDB {
		s := checkpoint.NewDynamoDB(checkpoint.DynamoDBConfig{Client: client, Table: "app", StateTable: "app-state", Format: checkpoint.MultiStream, Create: true})
		if err := s.Prepare(t.Context()); err != nil {
			t.Fatal(err)
		}
		return s
	}
	store := open()
	const leases = 2
	for i := range leases {
		if err := store.Create(t.Context(), shardLease(shardName(i))); err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex
	step := int64(1)
	saved := func() checkpoint.Saved {
		mu.Lock()
		defer mu.Unlock()
		s := checkpoint.Saved{Checkpoint: checkpoint.Number(fmt.Sprint(step), 0), Roster: []string{"a", "b", fmt.Sprint("c", step/10)}}
		if step%2 == 0 { // with and without overflow
			s.Behind = map[string]checkpoint.Entry{"a": {At: checkpoint.TrimHorizon, Keys: map[string]checkpoint.Position{}}}
			for i := range 200 {
				s.Behind["a"].Keys[fmt.Sprintf("hotel-%d", i)] = checkpoint.Number(fmt.Sprint(step), int64(i))
			}
		}
		return s
	}
	worker := func(id string) (h *checkpoint.Holder, stop func()) {
		h = checkpoint.NewHolder(checkpoint.HolderConfig{Store: open(), Worker: id, Failover: failover, Clock: func() time.Duration { return time.Since(start) }})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() {
			done <- h.Run(ctx, func(ctx context.Context, tenure *checkpoint.Tenure) error {
				tenure.Positions(saved)
				select {
				case <-ctx.Done():
					t.Errorf("%s loses %s: %v", id, tenure.Lease().Shard, context.Cause(ctx))
				case <-tenure.Draining():
				}
				return nil
			})
		}()
		return h, func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("%s: %v", id, err)
			}
		}
	}
	if _, err := server.AddFault(fault); err != nil {
		t.Fatal(err)
	}
	advance := func(seconds int) {
		for range seconds {
			time.Sleep(time.Second)
			mu.Lock()
			step++
			mu.Unlock()
		}
	}
	a, stopA := worker("a")
	advance(12)
	b, stopB := worker("b")
	advance(15)
	if a.Held() != 1 || b.Held() != 1 {
		t.Errorf("a and b hold %d and %d", a.Held(), b.Held())
	}
	stopA()
	advance(12) // the fault may be of the scan that would tell, and the next one is a third of a fail-over time later
	if b.Held() != leases {
		t.Errorf("b holds %d", b.Held())
	}
	stopB()
	fresh, err := open().List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range fresh {
		if l.Owner != "" || !l.Equal(saved()) {
			t.Errorf("%s: owner %q at %s, roster %v, %v behind; want %s", l.Shard, l.Owner, l.Checkpoint, l.Roster, slices.Collect(maps.Keys(l.Behind)), saved().Checkpoint)
		}
	}
}
