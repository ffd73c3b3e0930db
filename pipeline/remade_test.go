package pipeline_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/pipeline"
)

// TestLeaseTableMadeAgain: the lease table is deleted and made again under a
// running worker, after a split. It goes on with what it knows of the stream's
// beginning: what was read may come again, nothing is skipped.
func TestLeaseTableMadeAgain(t *testing.T) {
	for _, tc := range []struct {
		name    string
		initial pipeline.Initial
		want    string
	}{
		{"from the horizon", pipeline.Initial{}, "o 1, k 1, k 2, k 3, k 4"},
		{"latest", pipeline.InitialLatest(), "k 1, k 2, k 3, k 4"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, tape, a := &checkpoint.Memory{}, newTape("s-1"), newInbox("a")
				tape.put("s-1", "o 1")
				time.Sleep(time.Hour)
				stop := runSource(t, store, pipeline.SourceConfig{Source: tape, Describe: describeKeyed, Initial: tc.initial,
					Subscribers: []pipeline.Subscription{{Subscriber: a}}})
				time.Sleep(10 * time.Second)
				tape.put("s-1", "k 1")
				time.Sleep(10 * time.Second)
				tape.split("s-1", "s-2", "s-3")
				tape.put("s-2", "k 2")
				time.Sleep(time.Minute)
				a.take()
				leases, err := store.List(t.Context())
				if err != nil || len(leases) != 3 {
					t.Fatalf("%d leases, %v", len(leases), err)
				}
				for _, l := range leases {
					for {
						if l, err = store.Get(t.Context(), l.Key); err != nil {
							t.Fatal(err)
						}
						if store.Delete(t.Context(), l) == nil {
							break
						}
					}
				}
				tape.put("s-2", "k 3", "k 4")
				time.Sleep(4 * time.Minute)
				stop()
				if got := a.take(); !strings.HasSuffix(got, tc.want) { // after what the tenures of the old leases gave
					t.Errorf("got %s, want %s in the end", got, tc.want)
				}
			})
		})
	}
}
