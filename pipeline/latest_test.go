package pipeline_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/pipeline"
)

// TestLatestThroughReshard: the first worker pins latest and saves no position
// before it stops; the shard splits at that moment. The next worker gives
// everything that came since the first sight, of the parent and of its
// children, and nothing older.
func TestLatestThroughReshard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, tape, a := &checkpoint.Memory{}, newTape("s-1", "s-2"), newInbox("a")
		tape.put("s-1", "o 1")
		tape.put("s-2", "o 2")
		time.Sleep(time.Hour)
		source := pipeline.SourceConfig{Source: tape, Describe: describeKeyed, Initial: pipeline.InitialLatest(),
			Subscribers: []pipeline.Subscription{{Subscriber: a}}}
		a.setShut(true)
		stop := runSource(t, store, source)
		time.Sleep(10 * time.Second)
		tape.put("s-1", "k 1")
		time.Sleep(10 * time.Second)
		stop()
		tape.put("s-1", "k 2")
		tape.split("s-1", "s-3", "s-4")
		tape.split("s-2", "s-5")
		tape.put("s-3", "k 3")
		tape.split("s-3", "s-6")
		tape.put("s-6", "k 4")
		time.Sleep(time.Hour) // nobody is there
		a.setShut(false)
		stop = runSource(t, store, source)
		time.Sleep(3 * time.Minute)
		stop()
		expect(t, a, "k 1, k 2, k 3, k 4")
	})
}

// TestStartOfManyShards: the parents of shards at first sight never had leases.
// Nobody looks for them: the table is not scanned once per shard.
func TestStartOfManyShards(t *testing.T) {
	for _, initial := range []pipeline.Initial{{}, pipeline.InitialLatest()} {
		synctest.Test(t, func(t *testing.T) {
			tp, a := newTape(), newInbox("a")
			for i := range 78 {
				id := fmt.Sprintf("shardId-%012d", i)
				tp.shards[id] = &tapeShard{Shard: checkpoint.Shard{ID: id, Start: fmt.Sprint(i), Parents: []string{"trimmed"}}}
			}
			var scans atomic.Int64
			store := &checkpoint.Memory{Fault: func(op, _ string) checkpoint.Outcome {
				if op == "list" {
					scans.Add(1)
				}
				return checkpoint.None
			}}
			stop := runSource(t, store, pipeline.SourceConfig{Source: tp, Describe: describeKeyed, Initial: initial,
				Subscribers: []pipeline.Subscription{{Subscriber: a}}})
			time.Sleep(20 * time.Second)
			tp.put("shardId-000000000077", "k 1")
			time.Sleep(5 * time.Second)
			stop()
			expect(t, a, "k 1")
			if n := scans.Load(); n > 25 { // one a second at most
				t.Errorf("%d scans within 25 s", n)
			}
		})
	}
}
