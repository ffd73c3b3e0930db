package checkpoint_test

import (
	"errors"
	"testing"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/checkpoint/storetest"
)

func TestMemory(t *testing.T) {
	storetest.Run(t, func(*testing.T) checkpoint.Store { return &checkpoint.Memory{} })
}

func TestMemoryFaults(t *testing.T) {
	renewed := func(outcome checkpoint.Outcome) (table, client *checkpoint.Memory, l checkpoint.Lease, err error) {
		table = &checkpoint.Memory{}
		l = checkpoint.NewLease(checkpoint.SingleStream, "", checkpoint.Shard{ID: "s"}, checkpoint.TrimHorizon)
		if err := table.Create(t.Context(), l); err != nil {
			t.Fatal(err)
		}
		l, err = table.Take(t.Context(), l, "a", "t")
		if err != nil {
			t.Fatal(err)
		}
		client = table.Client()
		client.Fault = func(string, string) checkpoint.Outcome { return outcome }
		_, err = client.Renew(t.Context(), l, &checkpoint.Saved{Checkpoint: checkpoint.Number("5", 0)})
		return table, client, l, err
	}
	sentinels := []error{checkpoint.ErrConflict, checkpoint.ErrThrottled, checkpoint.ErrTooLarge, checkpoint.ErrNotFound}
	for _, tt := range []struct {
		outcome checkpoint.Outcome
		lands   bool
		err     error // nil with outcome None; errFault is any that is no sentinel
	}{
		{checkpoint.Fail, false, nil}, {checkpoint.Landed, true, nil}, {checkpoint.Late, false, nil},
		{checkpoint.Throttle, false, checkpoint.ErrThrottled}, {checkpoint.TooLarge, false, checkpoint.ErrTooLarge},
	} {
		table, _, l, err := renewed(tt.outcome)
		if err == nil {
			t.Fatalf("outcome %d: no error", tt.outcome)
		}
		for _, s := range sentinels {
			if errors.Is(err, s) != (s == tt.err) {
				t.Errorf("outcome %d: error %v", tt.outcome, err)
			}
		}
		got, err := table.Get(t.Context(), "s")
		if err != nil {
			t.Fatal(err)
		}
		if (got.Counter == l.Counter+1) != tt.lands {
			t.Errorf("outcome %d: counter %d", tt.outcome, got.Counter)
		}
		if tt.outcome == checkpoint.Late {
			if _, err := table.Renew(t.Context(), l, nil); !errors.Is(err, checkpoint.ErrConflict) {
				t.Errorf("renewal after a late one: %v, want a conflict", err)
			}
			if got, _ := table.Get(t.Context(), "s"); got.Checkpoint != checkpoint.Number("5", 0) {
				t.Errorf("the late one did not land: %s", got.Checkpoint)
			}
		}
	}
	table, client, l, _ := renewed(checkpoint.None)
	client.Stale = func(string) bool { return true }
	old, err := client.List(t.Context())
	if err != nil || len(old) != 1 || old[0].Counter != l.Counter {
		t.Errorf("stale list: %+v, %v", old, err)
	}
	if now, _ := table.List(t.Context()); now[0].Counter != l.Counter+1 {
		t.Error("the other client is stale, too")
	}
}
