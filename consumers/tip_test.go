package consumers_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/pipeline"
)

// TestTip: a batch is at the tip when the answer was and nothing of it is left,
// and not when there was no answer.
func TestTip(t *testing.T) {
	tips := func(t *testing.T, r pipeline.Reader, n int) (got []string) {
		for range n {
			batch, err := step(t, r)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprint(len(batch.Records), " ", batch.Tip))
		}
		return got
	}
	equal := func(t *testing.T, got []string, want ...string) {
		if !slices.Equal(got, want) {
			t.Errorf("records and tips %q, want %q", got, want)
		}
	}
	t.Run("polling", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newFakeStream(3)
			s.putAggregate(users("b", pipeline.ReadRecords+1)...)
			s.limit, s.emptyOf = 2, 1
			got := tips(t, newSource(t, s, nil).Reader(checkpoint.Shard{ID: shard0}, horizon), 5)
			// nothing found, two records, one with a part of the aggregate, the rest, nothing there
			equal(t, got, "0 false", "2 false", "10000 false", "2 false", "0 true")
		})
	})
	t.Run("fan-out", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFakeFanOut(t, 0)
			f.emptyFirst = true
			r := newFanOutTest(t, f, horizon)
			// subscribed, an event
			equal(t, tips(t, r, 2), "0 false", "0 true")
		})
	})
}
