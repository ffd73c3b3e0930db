package pipeline_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/pipeline"
)

// TestLower compares positions of a shard with the records 1, 2, 3 that arrived
// at 0 s, 10 s and 20 s, of which the first was trimmed where it says so.
func TestLower(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tp, trimmed := newTape("s"), newTape("s")
		start := time.Now()
		for _, r := range []string{"k 1", "k 2", "k 3"} {
			tp.put("s", r)
			trimmed.put("s", r)
			time.Sleep(10 * time.Second)
		}
		trimmed.shards["s"].trimmed = 2
		number := func(n string) checkpoint.Position { return checkpoint.Number(n, 0) }
		at := func(seconds int) checkpoint.Position {
			return checkpoint.At(start.Add(time.Duration(seconds) * time.Second))
		}
		for _, tt := range []struct {
			a, b, want checkpoint.Position
		}{
			{number("1"), number("2"), number("1")},
			{at(5), at(15), at(5)},
			{number("2"), checkpoint.TrimHorizon, checkpoint.TrimHorizon},
			{checkpoint.ShardEnd, at(5), at(5)},
			{checkpoint.ShardEnd, number("1"), number("1")},
			{checkpoint.ShardEnd, checkpoint.ShardEnd, checkpoint.ShardEnd},
			{number("2"), at(5), at(5)},          // 2 arrived at 10 s: from 5 s on it comes, too
			{number("2"), at(10), at(10)},        // and from 10 s on
			{number("2"), at(11), number("2")},   // but not from 11 s on
			{number("3"), at(1000), number("3")}, // 3 arrived at 20 s
		} {
			for _, pair := range [][2]checkpoint.Position{{tt.a, tt.b}, {tt.b, tt.a}} {
				got, err := pipeline.Lower(t.Context(), pair[0], pair[1], func(from checkpoint.Position) pipeline.Reader {
					return tp.Reader(checkpoint.Shard{ID: "s"}, from)
				})
				if err != nil || got != tt.want {
					t.Errorf("%s and %s: %s, %v; want %s", pair[0], pair[1], got, err, tt.want)
				}
			}
		}
		got, err := pipeline.Lower(t.Context(), number("1"), at(15), func(from checkpoint.Position) pipeline.Reader {
			return trimmed.Reader(checkpoint.Shard{ID: "s"}, from)
		})
		if err != nil || got != number("1") {
			t.Errorf("what was trimmed is not skipped unseen: %s, %v", got, err)
		}
	})
}
