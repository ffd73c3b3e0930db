package pipeline_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/pipeline"
)

// TestOldScan lets a worker see the child of a shard, whose lease was removed,
// as it stood before it had begun: the parent is not read again on the strength
// of that.
func TestOldScan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{t: t, tape: newTape("p")}
		f.tape.put("p", "x 1", "x 2")
		f.tape.split("p", "c")
		f.tape.put("c", "x 3")

		id := checkpoint.StreamID("111111111111", "tape", time.Unix(1, 0))
		key := func(shard string) string { return checkpoint.LeaseKey(checkpoint.MultiStream, id, shard) }
		store := &checkpoint.Memory{}
		f.store = store
		writes := store.Client()
		l := checkpoint.NewLease(checkpoint.MultiStream, id, checkpoint.Shard{ID: "c", Parents: []string{"p"}}, checkpoint.TrimHorizon)
		if err := writes.Create(context.Background(), l); err != nil {
			t.Fatal(err)
		}
		l, err := writes.Take(context.Background(), l, "another", "tenure")
		if err != nil {
			t.Fatal(err)
		}
		begun := checkpoint.Saved{Checkpoint: checkpoint.Number("1", 0), Roster: []string{"d"}}
		if _, err := writes.Renew(context.Background(), l, &begun); err != nil {
			t.Fatal(err)
		}
		store.Stale = func(k string) bool { return k == key("c") }

		box := newInbox("d")
		stop := f.start(pipeline.Initial{}, box)
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if _, err := writes.Get(context.Background(), key("p")); !errors.Is(err, checkpoint.ErrNotFound) {
			t.Errorf("the parent's lease: %v, want none", err)
		}
		expect(t, box, "")
		stop()
	})
}
