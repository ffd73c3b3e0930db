package simulation

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"

	"github.com/shardline/shardline/consumers"
)

// client is the Kinesis service as one process reaches one stream of it.
type client struct {
	process *process
	stream  *stream
	stale   time.Duration // how old the present listing is, over all its pages; guarded by world.mu
}

var _ consumers.Client = (*client)(nil)

var errConnection = errors.New("connection reset")

// iteratorLife is how long the service keeps an iterator.
const iteratorLife = 5 * time.Minute

// call makes one call of op: with the process's gate, delays and faults; do
// runs under the world's lock.
func (c *client) call(ctx context.Context, op string, do func() error) error {
	p, w := c.process, c.process.world
	place := "kinesis " + op + " " + p.id + " " + c.stream.source
	if _, err := p.pass(); err != nil {
		return err
	}
	p.reach(op, false)
	wait := w.dice.span(place, time.Millisecond, 30*time.Millisecond)
	if w.fault(place, "stream: slow", 0.01) {
		wait = w.dice.span(place, time.Second, 12*time.Second)
	}
	if err := p.sleep(ctx, wait); err != nil {
		return err
	}
	if op == "GetRecords" || op == "GetShardIterator" {
		if w.fault(place, "stream: throttled", 0.03) {
			return &types.ProvisionedThroughputExceededException{Message: aws.String("Rate exceeded for shard")}
		}
	} else if w.fault(place, "stream: listing throttled", 0.05) {
		return &types.LimitExceededException{Message: aws.String("Rate exceeded")}
	}
	if w.fault(place, "stream: error", 0.02) {
		return &smithy.GenericAPIError{Code: "InternalFailure", Message: "an internal failure", Fault: smithy.FaultServer}
	}
	w.mu.Lock()
	err := c.allowed()
	if err == nil {
		err = do()
	}
	w.mu.Unlock()
	p.reach(op, true)
	if w.fault(place, "stream: answer lost", 0.01) {
		err = errConnection
	}
	if _, gate := p.pass(); gate != nil {
		return gate
	}
	return err
}

func (c *client) allowed() error {
	if !c.process.signs() {
		return &smithy.GenericAPIError{Code: "ExpiredTokenException", Message: "The security token included in the request is expired"}
	}
	if time.Now().Before(c.stream.denied) {
		return &smithy.GenericAPIError{Code: "AccessDeniedException", Message: "not authorized to perform: kinesis:*"}
	}
	return nil
}

// DescribeStreamSummary says when the stream was made.
func (c *client) DescribeStreamSummary(ctx context.Context, _ *kinesis.DescribeStreamSummaryInput, _ ...func(*kinesis.Options)) (*kinesis.DescribeStreamSummaryOutput, error) {
	err := c.call(ctx, "DescribeStreamSummary", func() error { return nil })
	if err != nil {
		return nil, err
	}
	return &kinesis.DescribeStreamSummaryOutput{StreamDescriptionSummary: &types.StreamDescriptionSummary{
		StreamARN: aws.String(c.stream.arn), StreamCreationTimestamp: aws.Time(c.stream.created), RetentionPeriodHours: aws.Int32(int32(retention / time.Hour))}}, nil
}

// ListShards lists the shards that the stream still knows, two a page, as they
// are or were a moment ago.
func (c *client) ListShards(ctx context.Context, in *kinesis.ListShardsInput, _ ...func(*kinesis.Options)) (*kinesis.ListShardsOutput, error) {
	w := c.process.world
	out := &kinesis.ListShardsOutput{}
	err := c.call(ctx, "ListShards", func() error {
		from, asOf := 0, time.Now()
		for i, h := range c.stream.shards {
			if h.id <= aws.ToString(in.ExclusiveStartShardId) {
				from = i + 1
			}
		}
		if from == 0 {
			c.stale = 0
			if w.fault("listing "+c.process.id, "stream: stale listing", 0.1) {
				c.stale = w.dice.span("listing "+c.process.id, 0, 5*time.Second)
			}
		}
		asOf = asOf.Add(-c.stale)
		for i := from; i < len(c.stream.shards); i++ {
			h := c.stream.shards[i]
			if h.gone || h.created.After(asOf) && i > 0 {
				continue
			}
			if len(out.Shards) == 2 {
				out.NextToken = aws.String("more") // pages are asked for by the last shard
				break
			}
			out.Shards = append(out.Shards, listed(h, asOf))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func listed(h *shard, asOf time.Time) types.Shard {
	s := types.Shard{ShardId: aws.String(h.id),
		HashKeyRange:        &types.HashKeyRange{StartingHashKey: aws.String(hashKey(h.from, false)), EndingHashKey: aws.String(hashKey(h.last, true))},
		SequenceNumberRange: &types.SequenceNumberRange{StartingSequenceNumber: aws.String(sequence(h.start))}}
	if len(h.parents) > 0 {
		s.ParentShardId = aws.String(h.parents[0].id)
	}
	if len(h.parents) > 1 {
		s.AdjacentParentShardId = aws.String(h.parents[1].id)
	}
	if !h.closed.IsZero() && !h.closed.After(asOf) {
		s.SequenceNumberRange.EndingSequenceNumber = aws.String(sequence(h.end))
	}
	return s
}

// iterator is "shard index issued", nothing that a client may look into.
func iterator(h *shard, index int) *string {
	return aws.String(fmt.Sprint(h.id, " ", index, " ", time.Now().UnixNano()))
}

func (c *client) shard(id string) (*shard, error) {
	if h := c.stream.byID[id]; h != nil && !h.gone {
		return h, nil
	}
	return nil, &types.ResourceNotFoundException{Message: aws.String("Shard " + id + " does not exist")}
}

// GetShardIterator finds a place in a shard.
func (c *client) GetShardIterator(ctx context.Context, in *kinesis.GetShardIteratorInput, _ ...func(*kinesis.Options)) (*kinesis.GetShardIteratorOutput, error) {
	out := &kinesis.GetShardIteratorOutput{}
	err := c.call(ctx, "GetShardIterator", func() error {
		h, err := c.shard(aws.ToString(in.ShardId))
		if err != nil {
			return err
		}
		index, err := c.index(h, in.ShardIteratorType, aws.ToString(in.StartingSequenceNumber), in.Timestamp)
		out.ShardIterator = iterator(h, index)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// index is where a reading begins.
func (c *client) index(h *shard, kind types.ShardIteratorType, number string, at *time.Time) (int, error) {
	n, ok := parseSequence(number)
	index := h.trimmed
	switch kind {
	case types.ShardIteratorTypeTrimHorizon:
		ok = true
	case types.ShardIteratorTypeAtSequenceNumber:
		index = h.first(n)
		c.process.world.happened("stream: read again at the position")
	case types.ShardIteratorTypeAfterSequenceNumber:
		index = h.first(n + 1)
	case types.ShardIteratorTypeAtTimestamp:
		index, ok = h.since(*at), true
	case types.ShardIteratorTypeLatest:
		index, ok = len(h.records), true
	}
	if !ok {
		return 0, &types.InvalidArgumentException{Message: aws.String("StartingSequenceNumber is invalid")}
	}
	return max(index, h.trimmed), nil
}

// GetRecords reads a few records.
func (c *client) GetRecords(ctx context.Context, in *kinesis.GetRecordsInput, _ ...func(*kinesis.Options)) (*kinesis.GetRecordsOutput, error) {
	w := c.process.world
	out := &kinesis.GetRecordsOutput{}
	err := c.call(ctx, "GetRecords", func() error {
		parts := strings.Fields(aws.ToString(in.ShardIterator))
		if len(parts) != 3 {
			return &types.InvalidArgumentException{Message: aws.String("Iterator is invalid")}
		}
		h, err := c.shard(parts[0])
		if err != nil {
			return err
		}
		index, _ := strconv.Atoi(parts[1])
		issued, _ := strconv.ParseInt(parts[2], 10, 64)
		place := "records " + c.process.id + " " + c.stream.source + h.id
		if time.Since(time.Unix(0, issued)) > iteratorLife || w.fault(place, "stream: expired iterator", 0.02) {
			return &types.ExpiredIteratorException{Message: aws.String("Iterator expired")}
		}
		c.stream.reads++
		c.records(out, h, max(index, h.trimmed), place)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// records fills in what a read at index gives: some of the records, sometimes
// none although there are more. It returns the index behind them.
func (c *client) records(out *kinesis.GetRecordsOutput, h *shard, index int, place string) int {
	w := c.process.world
	n := min(len(h.records)-index, 1+w.dice.below(place, 40))
	if w.plenty {
		n = min(len(h.records)-index, 500)
	}
	if n > 0 && w.fault(place, "stream: empty read that is not the tip", 0.05) {
		n = 0
	}
	n = h.whole(index+n) - index // never a part of an aggregate
	for i, r := range h.records[index : index+n] {
		if i > 0 && h.records[index+i-1].outer == r.outer {
			continue
		}
		out.Records = append(out.Records, types.Record{ApproximateArrivalTimestamp: aws.Time(r.arrival), Data: r.data,
			PartitionKey: aws.String(r.partitionKey), SequenceNumber: aws.String(sequence(r.outer))})
	}
	index += n
	out.MillisBehindLatest = aws.Int64(0)
	if index < len(h.records) {
		out.MillisBehindLatest = aws.Int64(max(1, time.Since(h.records[index].arrival).Milliseconds()))
	}
	if index < len(h.records) || h.closed.IsZero() {
		out.NextShardIterator = iterator(h, index)
		return index
	}
	if w.fault(place, "stream: end without children", 0.2) {
		return index
	}
	for _, child := range h.children {
		s := types.ChildShard{ShardId: aws.String(child.id), HashKeyRange: listed(child, time.Now()).HashKeyRange}
		for _, p := range child.parents {
			s.ParentShards = append(s.ParentShards, p.id)
		}
		out.ChildShards = append(out.ChildShards, s)
	}
	return index
}
