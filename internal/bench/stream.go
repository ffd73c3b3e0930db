package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/pipeline"
)

// stream is a source in this process that always has more records.
type stream struct {
	shards int
	keys   int
	bodies [][]byte
	reads  atomic.Int64
	made   time.Time
	pace   time.Duration // one record in this time; 0: batches, as fast as they go
}

const batch = 64 // records per read

func (s *stream) Name() string { return "bench" }

func (s *stream) Forget(string) {}

func (s *stream) Stream(context.Context) (pipeline.Stream, error) {
	return pipeline.Stream{ARN: "arn:aws:kinesis:eu-west-1:111111111111:stream/bench", Account: "111111111111", Name: "bench", Created: s.made}, nil
}

func (s *stream) Shards(context.Context) ([]checkpoint.Shard, time.Time, error) {
	shards := make([]checkpoint.Shard, s.shards)
	for i := range shards {
		shards[i] = checkpoint.Shard{ID: fmt.Sprintf("shardId-%012d", i), HashFrom: fmt.Sprint(i * 10), HashTo: fmt.Sprint(i*10 + 9), Start: fmt.Sprint(i + 1)}
	}
	shards[s.shards-1].HashTo = "340282366920938463463374607431768211455"
	return shards, time.Now(), nil
}

func (s *stream) Reader(shard checkpoint.Shard, from checkpoint.Position) pipeline.Reader {
	e := &endless{stream: s, shard: shard.ID}
	if n, err := strconv.ParseInt(from.Sequence, 10, 64); err == nil {
		e.n = n - firstSequence
	}
	return e
}

// firstSequence is the sequence number before a shard's first record.
const firstSequence = 49600000000000000

// endless reads a shard that never ends. The log's budget paces it.
type endless struct {
	stream *stream
	shard  string
	n      int64
	next   time.Time // with a pace: of the next record
}

func (e *endless) Wait(ctx context.Context) error {
	pace := e.stream.pace
	if pace == 0 {
		return ctx.Err()
	}
	if e.next.IsZero() { // the shards do not march in step
		e.next = time.Now().Add(rand.N(pace))
	}
	sleep(ctx, time.Until(e.next))
	e.next = e.next.Add(pace)
	return ctx.Err()
}

func (e *endless) Close() {}

func (e *endless) Read(context.Context) (pipeline.Batch, error) {
	e.stream.reads.Add(1)
	records := make([]pipeline.Record, batch)
	if e.stream.pace > 0 {
		records = records[:1]
	}
	now := time.Now()
	for i := range records {
		e.n++
		records[i] = pipeline.Record{
			Position:     checkpoint.Number(strconv.FormatInt(firstSequence+e.n, 10), 0),
			PartitionKey: e.shard[len(e.shard)-2:] + strconv.FormatUint(uint64(e.n)*0x9e3779b97f4a7c15>>32%uint64(e.stream.keys), 10),
			Data:         e.stream.bodies[e.n%int64(len(e.stream.bodies))],
			Arrival:      now,
		}
	}
	return pipeline.Batch{Records: records, Continues: e.n > int64(len(records))}, nil
}

// CatchUp implements pipeline.Source.
func (s *stream) CatchUp(shard checkpoint.Shard, from checkpoint.Position) pipeline.Reader {
	return s.Reader(shard, from)
}
