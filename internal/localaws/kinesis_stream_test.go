package localaws_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/shardline/shardline/internal/localaws"
)

func TestListShards(t *testing.T) {
	clock := newClock()
	w := newWorld(t, localaws.Config{Now: clock.now, ListShardsPage: 2})
	arn := w.stream("hotels", 3)
	k := w.kinesis(w.a)
	start := clock.now()
	clock.advance(time.Hour)
	w.must(w.SplitShard(arn, "shardId-000000000000")) // 3 and 4
	split := clock.now()
	clock.advance(time.Hour)
	w.must(w.MergeShards(arn, "shardId-000000000004", "shardId-000000000001")) // 5
	clock.advance(time.Hour)

	var ids []string
	in := &kinesis.ListShardsInput{StreamARN: &arn}
	for pages := 1; ; pages++ {
		out, err := k.ListShards(background, in)
		w.must(err)
		for _, s := range out.Shards {
			ids = append(ids, *s.ShardId)
		}
		if in = (&kinesis.ListShardsInput{NextToken: out.NextToken}); out.NextToken == nil {
			if pages != 3 {
				t.Errorf("%d pages", pages)
			}
			break
		}
	}
	if len(ids) != 6 || !slices.IsSorted(ids) {
		t.Errorf("listed %v", ids)
	}

	first, err := k.ListShards(background, &kinesis.ListShardsInput{StreamARN: &arn})
	w.must(err)
	_, err = k.ListShards(background, &kinesis.ListShardsInput{NextToken: first.NextToken, StreamName: aws.String("hotels")})
	wantType[*types.InvalidArgumentException](t, err)
	_, err = k.ListShards(background, &kinesis.ListShardsInput{NextToken: aws.String("x")})
	wantType[*types.InvalidArgumentException](t, err)
	clock.advance(301 * time.Second)
	_, err = k.ListShards(background, &kinesis.ListShardsInput{NextToken: first.NextToken})
	wantType[*types.ExpiredNextTokenException](t, err)

	filtered := func(filter types.ShardFilter) string {
		var ids []string
		in := &kinesis.ListShardsInput{StreamARN: &arn, ShardFilter: &filter}
		for in != nil {
			out, err := k.ListShards(background, in)
			w.must(err)
			for _, s := range out.Shards {
				ids = append(ids, strings.TrimPrefix(*s.ShardId, "shardId-00000000000"))
			}
			if in = nil; out.NextToken != nil {
				in = &kinesis.ListShardsInput{NextToken: out.NextToken}
			}
		}
		return strings.Join(ids, "")
	}
	check := func(filter types.ShardFilter, want string) {
		t.Helper()
		if got := filtered(filter); got != want {
			t.Errorf("%s %v: shards %s, want %s", filter.Type, filter.Timestamp, got, want)
		}
	}
	check(types.ShardFilter{Type: types.ShardFilterTypeAtTrimHorizon}, "012")
	check(types.ShardFilter{Type: types.ShardFilterTypeFromTrimHorizon}, "012345")
	check(types.ShardFilter{Type: types.ShardFilterTypeAtLatest}, "235")
	check(types.ShardFilter{Type: types.ShardFilterTypeAfterShardId, ShardId: aws.String("shardId-000000000003")}, "45")
	check(types.ShardFilter{Type: types.ShardFilterTypeAtTimestamp, Timestamp: aws.Time(start.Add(time.Minute))}, "012")
	check(types.ShardFilter{Type: types.ShardFilterTypeAtTimestamp, Timestamp: aws.Time(split.Add(time.Minute))}, "1234")
	check(types.ShardFilter{Type: types.ShardFilterTypeFromTimestamp, Timestamp: aws.Time(split.Add(time.Minute))}, "12345")
	_, err = k.ListShards(background, &kinesis.ListShardsInput{StreamARN: &arn, ShardFilter: &types.ShardFilter{Type: types.ShardFilterTypeAtTimestamp, Timestamp: aws.Time(clock.now().Add(time.Hour))}})
	wantType[*types.InvalidArgumentException](t, err)

	// When the parents' retention has passed, the children stand at the trim
	// horizon.
	clock.advance(22 * time.Hour)
	check(types.ShardFilter{Type: types.ShardFilterTypeAtTrimHorizon}, "1234")
	clock.advance(2 * time.Hour)
	check(types.ShardFilter{Type: types.ShardFilterTypeAtTrimHorizon}, "235")
	check(types.ShardFilter{Type: types.ShardFilterTypeFromTrimHorizon}, "235")
	_, err = k.GetShardIterator(background, &kinesis.GetShardIteratorInput{StreamARN: &arn, ShardId: aws.String("shardId-000000000000"), ShardIteratorType: types.ShardIteratorTypeTrimHorizon})
	wantType[*types.ResourceNotFoundException](t, err)
}

func TestTrimming(t *testing.T) {
	clock := newClock()
	w := newWorld(t, localaws.Config{Now: clock.now, StreamBytes: 100 << 10})
	arn := w.stream("hotels", 1)
	k := w.kinesis(w.a)
	const shard = "shardId-000000000000"
	var numbers []string
	for i := range 4 {
		_, n, err := w.Put(arn, "k", []byte(fmt.Sprint(i)))
		w.must(err)
		numbers = append(numbers, n)
		clock.advance(time.Hour)
	}
	read := func(kind types.ShardIteratorType, n string) (got string) {
		clock.advance(time.Second)
		for _, r := range w.get(k, w.iterate(k, arn, shard, kind, n)).Records {
			got += string(r.Data)
		}
		return got
	}
	clock.advance(20*time.Hour + time.Second)
	if got := read(types.ShardIteratorTypeTrimHorizon, ""); got != "123" {
		t.Errorf("after retention %q", got)
	}
	w.must(w.TrimShard(arn, shard, numbers[2]))
	if got := read(types.ShardIteratorTypeAtSequenceNumber, numbers[0]); got != "23" {
		t.Errorf("after TrimShard %q", got)
	}
	for i := range 30 {
		_, _, err := w.Put(arn, "k", []byte(strings.Repeat("x", 10<<10)+fmt.Sprint(i)))
		w.must(err)
	}
	stats := w.Stats()
	if stats.TrimmedForSpace == 0 || stats.Trimmed != stats.TrimmedForSpace+2 || stats.RecordsIn != 34 {
		t.Errorf("stats %+v", stats)
	}
	w.must(w.TrimShard(arn, shard, "LATEST"))
	if got := read(types.ShardIteratorTypeTrimHorizon, ""); got != "" {
		t.Errorf("after all is trimmed %q", got)
	}
}

func TestMillisBehindLatest(t *testing.T) {
	clock := newClock()
	w := newWorld(t, localaws.Config{Now: clock.now})
	arn := w.stream("hotels", 1)
	k := w.kinesis(w.a)
	for range 3 {
		_, _, err := w.Put(arn, "k", []byte("x"))
		w.must(err)
		clock.advance(10 * time.Second)
	}
	it := w.iterate(k, arn, "shardId-000000000000", types.ShardIteratorTypeTrimHorizon, "")
	for _, want := range []int64{30_000, 20_000, 0, 0} {
		out, err := k.GetRecords(background, &kinesis.GetRecordsInput{ShardIterator: it, Limit: aws.Int32(1)})
		w.must(err)
		if *out.MillisBehindLatest != want {
			t.Errorf("behind by %d, want %d", *out.MillisBehindLatest, want)
		}
		it = out.NextShardIterator
	}
}

func TestClosedShardThatWasReadToItsTip(t *testing.T) {
	w := newWorld(t, localaws.Config{})
	arn := w.stream("hotels", 1)
	k := w.kinesis(w.a)
	out := w.get(k, w.iterate(k, arn, "shardId-000000000000", types.ShardIteratorTypeTrimHorizon, ""))
	w.must(w.SplitShard(arn, "shardId-000000000000"))
	end := w.get(k, out.NextShardIterator)
	if end.NextShardIterator != nil || len(end.Records) != 0 || len(end.ChildShards) != 2 {
		t.Fatalf("end: %+v", end)
	}
	if c := end.ChildShards[1]; *c.ShardId != "shardId-000000000002" || !slices.Equal(c.ParentShards, []string{"shardId-000000000000"}) ||
		*c.HashKeyRange.StartingHashKey != "170141183460469231731687303715884105728" || *c.HashKeyRange.EndingHashKey != "340282366920938463463374607431768211455" {
		t.Errorf("child: %s %v %+v", *c.ShardId, c.ParentShards, c.HashKeyRange)
	}
}

func TestStreamsComeAndGo(t *testing.T) {
	clock := newClock()
	w := newWorld(t, localaws.Config{Now: clock.now, StatusDelay: 10 * time.Second})
	k := w.kinesis(w.a)
	name := aws.String("hotels")
	create := func() error {
		_, err := k.CreateStream(background, &kinesis.CreateStreamInput{StreamName: name, ShardCount: aws.Int32(2)})
		return err
	}
	status := func() types.StreamStatus {
		out, err := k.DescribeStreamSummary(background, &kinesis.DescribeStreamSummaryInput{StreamName: name})
		w.must(err)
		return out.StreamDescriptionSummary.StreamStatus
	}
	w.must(create())
	wantType[*types.ResourceInUseException](t, create())
	if s := status(); s != types.StreamStatusCreating {
		t.Errorf("status %s", s)
	}
	_, err := k.PutRecord(background, &kinesis.PutRecordInput{StreamName: name, PartitionKey: name, Data: []byte("x")})
	wantType[*types.ResourceNotFoundException](t, err)
	clock.advance(10 * time.Second)
	if s := status(); s != types.StreamStatusActive {
		t.Errorf("status %s", s)
	}
	split := &kinesis.SplitShardInput{StreamName: name, ShardToSplit: aws.String("shardId-000000000000"), NewStartingHashKey: aws.String("77")}
	_, err = k.SplitShard(background, split)
	w.must(err)
	split.ShardToSplit = aws.String("shardId-000000000001")
	_, err = k.SplitShard(background, split)
	wantType[*types.ResourceInUseException](t, err)
	clock.advance(10 * time.Second)
	_, err = k.SplitShard(background, split) // 77 is outside
	wantType[*types.InvalidArgumentException](t, err)
	_, err = k.MergeShards(background, &kinesis.MergeShardsInput{StreamName: name, ShardToMerge: aws.String("shardId-000000000001"), AdjacentShardToMerge: aws.String("shardId-000000000002")})
	wantType[*types.InvalidArgumentException](t, err) // a gap lies between
	_, err = k.UpdateShardCount(background, &kinesis.UpdateShardCountInput{StreamName: name, TargetShardCount: aws.Int32(7), ScalingType: types.ScalingTypeUniformScaling})
	wantType[*types.LimitExceededException](t, err)

	described, err := k.DescribeStream(background, &kinesis.DescribeStreamInput{StreamName: name})
	w.must(err)
	before := described.StreamDescription
	if len(before.Shards) != 4 || before.Shards[0].SequenceNumberRange.EndingSequenceNumber == nil || *before.Shards[3].ParentShardId != "shardId-000000000000" {
		t.Errorf("described %+v", before.Shards)
	}
	it := w.iterate(k, *before.StreamARN, "shardId-000000000001", types.ShardIteratorTypeLatest, "")
	_, err = k.DeleteStream(background, &kinesis.DeleteStreamInput{StreamName: name})
	w.must(err)
	_, err = k.GetRecords(background, &kinesis.GetRecordsInput{ShardIterator: it})
	wantType[*types.ResourceNotFoundException](t, err)
	w.must(create())
	clock.advance(10 * time.Second)
	_, err = k.GetRecords(background, &kinesis.GetRecordsInput{ShardIterator: it})
	wantType[*types.InvalidArgumentException](t, err)
	again, err := k.DescribeStreamSummary(background, &kinesis.DescribeStreamSummaryInput{StreamName: name})
	w.must(err)
	if !again.StreamDescriptionSummary.StreamCreationTimestamp.After(*before.StreamCreationTimestamp) {
		t.Error("a stream made again has the creation time of the first")
	}
	list, err := k.ListStreams(background, nil)
	w.must(err)
	if !slices.Equal(list.StreamNames, []string{"hotels"}) || *list.HasMoreStreams {
		t.Errorf("listed %+v", list)
	}
	_, err = k.IncreaseStreamRetentionPeriod(background, &kinesis.IncreaseStreamRetentionPeriodInput{StreamName: name, RetentionPeriodHours: aws.Int32(48)})
	w.must(err)
}

// TestOnDemand: the shards of an on-demand stream are the service's to split
// and merge, and callers see its mode.
func TestOnDemand(t *testing.T) {
	w := newWorld(t, localaws.Config{})
	k := w.kinesis(w.a)
	name := aws.String("elastic")
	_, err := k.CreateStream(background, &kinesis.CreateStreamInput{StreamName: name,
		StreamModeDetails: &types.StreamModeDetails{StreamMode: types.StreamModeOnDemand}})
	w.must(err)
	summary, err := k.DescribeStreamSummary(background, &kinesis.DescribeStreamSummaryInput{StreamName: name})
	w.must(err)
	d := summary.StreamDescriptionSummary
	if d.StreamModeDetails.StreamMode != types.StreamModeOnDemand || *d.OpenShardCount != 4 {
		t.Errorf("mode %s, %d shards; want ON_DEMAND and 4", d.StreamModeDetails.StreamMode, *d.OpenShardCount)
	}
	for _, call := range []func() error{
		func() error {
			_, err := k.UpdateShardCount(background, &kinesis.UpdateShardCountInput{StreamName: name, TargetShardCount: aws.Int32(8), ScalingType: types.ScalingTypeUniformScaling})
			return err
		},
		func() error {
			_, err := k.MergeShards(background, &kinesis.MergeShardsInput{StreamName: name, ShardToMerge: aws.String("shardId-000000000000"), AdjacentShardToMerge: aws.String("shardId-000000000001")})
			return err
		},
		func() error {
			_, err := k.SplitShard(background, &kinesis.SplitShardInput{StreamName: name, ShardToSplit: aws.String("shardId-000000000000"), NewStartingHashKey: aws.String("1000")})
			return err
		},
	} {
		wantType[*types.ValidationException](t, call())
	}
	if err := w.Scale(*d.StreamARN, 6); err != nil {
		t.Fatal(err)
	}
	summary, err = k.DescribeStreamSummary(background, &kinesis.DescribeStreamSummaryInput{StreamName: name})
	w.must(err)
	if n := *summary.StreamDescriptionSummary.OpenShardCount; n != 6 {
		t.Errorf("%d shards after it scaled, want 6", n)
	}
}
