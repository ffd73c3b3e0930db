package consumers_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/consumers"
	"github.com/shardline/shardline/pipeline"
)

const streamARN = "arn:aws:kinesis:eu-west-1:111111111111:stream/hotels"

// fakeStream is a stream in memory, with the service's iterators and the
// faults that a test puts in. It is used by one goroutine.
type fakeStream struct {
	shards []*fakeShard
	page   int // shards per page of a listing; 0: all
	gone   bool
	// refusePositions makes the service refuse sequence numbers; dropped, the
	// iterators issued until then.
	refusePositions bool
	dropped         time.Time

	calls     []call
	faults    map[string][]fault // by operation, in the order they come
	noChild   bool               // answer without ChildShards at a shard's end
	emptyOf   int                // so many reads find nothing although they are not at the tip
	limit     int                // records per read; 0: as the call says
	listInput []kinesis.ListShardsInput
	listed    func(pages int) // called before every page with how many there were, this one among them
}

type fakeShard struct {
	id      string
	parents []string
	closed  bool
	trimmed int // records at the front that are gone
	records []types.Record
}

type call struct {
	operation string
	at        time.Time
	kind      types.ShardIteratorType
	sequence  string
}

// fault is an error, or a function that takes the call's place.
type fault struct {
	err  error
	hang bool // until the call's context ends
}

func newFakeStream(records int) *fakeStream {
	s := &fakeStream{faults: map[string][]fault{}, shards: []*fakeShard{{id: "shardId-000000000000"}}}
	s.put(0, records)
	return s
}

// put appends n records, the first with sequence number 100, in steps of 7.
func (s *fakeStream) put(shard, n int) {
	sh := s.shards[shard]
	for range n {
		i := len(sh.records)
		sh.records = append(sh.records, types.Record{
			SequenceNumber:              aws.String(strconv.Itoa(100 + 7*i)),
			PartitionKey:                aws.String(fmt.Sprintf("hotel-%d", i%3)),
			Data:                        fmt.Appendf(nil, "record %d", i),
			ApproximateArrivalTimestamp: aws.Time(time.Now()),
		})
	}
}

func (s *fakeStream) called(ctx context.Context, c call) error {
	c.at = time.Now()
	s.calls = append(s.calls, c)
	if f := s.faults[c.operation]; len(f) > 0 {
		s.faults[c.operation] = f[1:]
		if f[0].hang {
			<-ctx.Done()
			return ctx.Err()
		}
		if f[0].err != nil {
			return f[0].err
		}
	}
	if s.gone {
		return &types.ResourceNotFoundException{Message: aws.String("Stream hotels under account 111111111111 not found.")}
	}
	return nil
}

func (s *fakeStream) shard(id string) (*fakeShard, error) {
	for _, sh := range s.shards {
		if sh.id == id {
			return sh, nil
		}
	}
	return nil, &types.ResourceNotFoundException{Message: aws.String("Shard " + id + " does not exist")}
}

func (s *fakeStream) DescribeStreamSummary(ctx context.Context, in *kinesis.DescribeStreamSummaryInput, _ ...func(*kinesis.Options)) (*kinesis.DescribeStreamSummaryOutput, error) {
	if err := s.called(ctx, call{operation: "DescribeStreamSummary"}); err != nil {
		return nil, err
	}
	return &kinesis.DescribeStreamSummaryOutput{StreamDescriptionSummary: &types.StreamDescriptionSummary{
		StreamCreationTimestamp: aws.Time(time.Date(2025, 1, 2, 3, 4, 5, 678e6, time.UTC)), RetentionPeriodHours: aws.Int32(24)}}, nil
}

func (s *fakeStream) ListShards(ctx context.Context, in *kinesis.ListShardsInput, _ ...func(*kinesis.Options)) (*kinesis.ListShardsOutput, error) {
	s.listInput = append(s.listInput, *in)
	if s.listed != nil {
		s.listed(len(s.listInput))
	}
	if err := s.called(ctx, call{operation: "ListShards"}); err != nil {
		return nil, err
	}
	first := 0
	if in.ExclusiveStartShardId != nil {
		first = 1 + slices.IndexFunc(s.shards, func(sh *fakeShard) bool { return sh.id == *in.ExclusiveStartShardId })
	}
	last := len(s.shards)
	out := &kinesis.ListShardsOutput{}
	if s.page > 0 && first+s.page < last {
		last = first + s.page
		out.NextToken = aws.String("more")
	}
	for _, sh := range s.shards[first:last] {
		listed := types.Shard{ShardId: aws.String(sh.id), SequenceNumberRange: &types.SequenceNumberRange{StartingSequenceNumber: aws.String("1")},
			HashKeyRange: &types.HashKeyRange{StartingHashKey: aws.String("0"), EndingHashKey: aws.String("9")}}
		if sh.closed {
			listed.SequenceNumberRange.EndingSequenceNumber = aws.String("99999")
		}
		if len(sh.parents) > 0 {
			listed.ParentShardId = aws.String(sh.parents[0])
		}
		if len(sh.parents) > 1 {
			listed.AdjacentParentShardId = aws.String(sh.parents[1])
		}
		out.Shards = append(out.Shards, listed)
	}
	return out, nil
}

func (s *fakeStream) GetShardIterator(ctx context.Context, in *kinesis.GetShardIteratorInput, _ ...func(*kinesis.Options)) (*kinesis.GetShardIteratorOutput, error) {
	if err := s.called(ctx, call{operation: "GetShardIterator", kind: in.ShardIteratorType, sequence: aws.ToString(in.StartingSequenceNumber)}); err != nil {
		return nil, err
	}
	sh, err := s.shard(*in.ShardId)
	if err != nil {
		return nil, err
	}
	if s.refusePositions && in.ShardIteratorType == types.ShardIteratorTypeAtSequenceNumber {
		return nil, &types.InvalidArgumentException{Message: aws.String("StartingSequenceNumber is invalid")}
	}
	return &kinesis.GetShardIteratorOutput{ShardIterator: s.iterator(sh.id, sh.index(in.ShardIteratorType, in.StartingSequenceNumber, in.Timestamp))}, nil
}

// index is where a reading begins.
func (sh *fakeShard) index(kind types.ShardIteratorType, sequence *string, from *time.Time) int {
	index := sh.trimmed
	after := func(skip func(types.Record) bool) {
		for index < len(sh.records) && skip(sh.records[index]) {
			index++
		}
	}
	switch kind {
	case types.ShardIteratorTypeAtSequenceNumber, types.ShardIteratorTypeAfterSequenceNumber:
		at, _ := strconv.Atoi(*sequence)
		after(func(r types.Record) bool {
			n, _ := strconv.Atoi(*r.SequenceNumber)
			return n < at || n == at && kind == types.ShardIteratorTypeAfterSequenceNumber
		})
	case types.ShardIteratorTypeAtTimestamp:
		after(func(r types.Record) bool { return r.ApproximateArrivalTimestamp.Before(*from) })
	case types.ShardIteratorTypeLatest:
		index = len(sh.records)
	}
	return index
}

func (s *fakeStream) iterator(shard string, index int) *string {
	return aws.String(fmt.Sprintf("%s/%d/%d", shard, index, time.Now().UnixNano()))
}

func (s *fakeStream) GetRecords(ctx context.Context, in *kinesis.GetRecordsInput, _ ...func(*kinesis.Options)) (*kinesis.GetRecordsOutput, error) {
	if err := s.called(ctx, call{operation: "GetRecords"}); err != nil {
		return nil, err
	}
	parts := strings.Split(*in.ShardIterator, "/")
	sh, err := s.shard(parts[0])
	if err != nil {
		return nil, err
	}
	index, _ := strconv.Atoi(parts[1])
	issued, _ := strconv.ParseInt(parts[2], 10, 64)
	if time.Since(time.Unix(0, issued)) > 5*time.Minute || !time.Unix(0, issued).After(s.dropped) {
		return nil, &types.ExpiredIteratorException{Message: aws.String("Iterator expired.")}
	}
	index = max(index, sh.trimmed)
	out := &kinesis.GetRecordsOutput{}
	limit := int(*in.Limit)
	if s.limit > 0 {
		limit = s.limit
	}
	if s.emptyOf > 0 {
		s.emptyOf--
		limit = 0
	}
	last := min(len(sh.records), index+limit)
	out.Records = slices.Clone(sh.records[index:last])
	if last < len(sh.records) {
		out.MillisBehindLatest = aws.Int64(5000)
	} else {
		out.MillisBehindLatest = aws.Int64(0)
	}
	if last == len(sh.records) && sh.closed {
		out.ChildShards = s.children(sh)
		return out, nil
	}
	out.NextShardIterator = s.iterator(sh.id, last)
	return out, nil
}

// children are what the end of a shard names.
func (s *fakeStream) children(sh *fakeShard) (children []types.ChildShard) {
	for _, c := range s.shards {
		if !s.noChild && slices.Contains(c.parents, sh.id) {
			children = append(children, types.ChildShard{ShardId: aws.String(c.id), ParentShards: c.parents,
				HashKeyRange: &types.HashKeyRange{StartingHashKey: aws.String("0"), EndingHashKey: aws.String("9")}})
		}
	}
	return children
}

func serviceError(code, message string) error {
	return &smithy.OperationError{ServiceID: "Kinesis", OperationName: "GetRecords",
		Err: &smithy.GenericAPIError{Code: code, Message: message}}
}

func newSource(t *testing.T, s consumers.Client, change func(*consumers.Config)) *consumers.Source {
	t.Helper()
	config := consumers.Config{Name: "hotels-a", StreamARN: streamARN, PollInterval: time.Second, Client: s}
	if change != nil {
		change(&config)
	}
	source, err := consumers.NewSource(config)
	if err != nil {
		t.Fatal(err)
	}
	return source
}

// step waits and reads once.
func step(t *testing.T, r pipeline.Reader) (pipeline.Batch, error) {
	t.Helper()
	if err := r.Wait(t.Context()); err != nil {
		t.Fatalf("wait: %v", err)
	}
	return r.Read(t.Context())
}

// read reads n times and returns the sequence numbers that came.
func read(t *testing.T, r pipeline.Reader, n int) []string {
	t.Helper()
	var got []string
	for range n {
		batch, err := step(t, r)
		if err != nil {
			t.Fatalf("read: %v", err)
		}
		for _, record := range batch.Records {
			got = append(got, record.Position.Sequence)
		}
	}
	return got
}

// sequences are those of the records from first on, n of them.
func sequences(first, n int) []string {
	var s []string
	for i := range n {
		s = append(s, strconv.Itoa(100+7*(first+i)))
	}
	return s
}

const shard0 = "shardId-000000000000"

var horizon = checkpoint.TrimHorizon
