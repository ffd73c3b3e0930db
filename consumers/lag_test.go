package consumers_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/internal/localaws"
	"github.com/shardline/shardline/pipeline"
)

// TestLag puts records at 0 s, 10 s and 20 s by the service's clock and asks at
// 50 s: the lag is the age of the first one that the position does not cover.
func TestLag(t *testing.T) {
	began := time.Now().Truncate(time.Second)
	var passed atomic.Int64 // seconds
	l := newLocal(t, localaws.Config{Unlimited: true, Now: func() time.Time { return began.Add(time.Duration(passed.Load()) * time.Second) }})
	arn := l.stream(t, 1)
	const shard = "shardId-000000000000"
	var numbers []string
	for _, at := range []int64{0, 10, 20} {
		passed.Store(at)
		_, number, err := l.Put(arn, "hotel-1", []byte("a record"))
		if err != nil {
			t.Fatal(err)
		}
		numbers = append(numbers, number)
	}
	passed.Store(50)
	source := l.source(t, arn, l.role)
	for _, c := range []struct {
		name string
		at   checkpoint.Position
		want time.Duration
	}{
		{"nothing settled", checkpoint.TrimHorizon, 50 * time.Second},
		{"the first settled", checkpoint.Number(numbers[0], 0), 40 * time.Second},
		// The last record is at the tip for the service, and yet it waits.
		{"all but the last settled", checkpoint.Number(numbers[1], 0), 30 * time.Second},
		{"all settled", checkpoint.Number(numbers[2], 0), 0},
		{"from a time on", checkpoint.At(began.Add(5 * time.Second)), 40 * time.Second},
		{"from a time on, nothing since", checkpoint.At(began.Add(30 * time.Second)), 0},
		{"at the end", checkpoint.ShardEnd, 0},
	} {
		if got, err := source.Lag(t.Context(), shard, c.at); err != nil || got != c.want {
			t.Errorf("%s: %s, %v, want %s", c.name, got, err, c.want)
		}
	}
	if reads := l.Stats().Reads[arn+" "+shard]; reads != 6 {
		t.Errorf("%d reads for six lags", reads)
	}
	if _, err := source.Lag(t.Context(), shard, checkpoint.Number("1", 0)); err == nil {
		t.Error("a number of no record of the shard has a lag")
	}
	if err := l.DeleteStream(arn); err != nil {
		t.Fatal(err)
	}
	if _, err := source.Lag(t.Context(), shard, checkpoint.TrimHorizon); !errors.Is(err, pipeline.ErrStreamGone) {
		t.Errorf("no stream: %v", err)
	}
}
