package localaws_test

import (
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/shardline/shardline/internal/localaws"
)

// iterate returns a shard iterator.
func (w *world) iterate(k *kinesis.Client, stream, shard string, kind types.ShardIteratorType, sequence string) *string {
	w.t.Helper()
	in := &kinesis.GetShardIteratorInput{StreamARN: &stream, ShardId: &shard, ShardIteratorType: kind}
	if sequence != "" {
		in.StartingSequenceNumber = &sequence
	}
	out, err := k.GetShardIterator(background, in)
	w.must(err)
	return out.ShardIterator
}

func (w *world) get(k *kinesis.Client, iterator *string) *kinesis.GetRecordsOutput {
	w.t.Helper()
	out, err := k.GetRecords(background, &kinesis.GetRecordsInput{ShardIterator: iterator})
	w.must(err)
	return out
}

// readAll reads a shard from the trim horizon to the tip or its end.
func (w *world) readAll(k *kinesis.Client, stream, shard string) (data []string, last *kinesis.GetRecordsOutput) {
	w.t.Helper()
	it := w.iterate(k, stream, shard, types.ShardIteratorTypeTrimHorizon, "")
	for {
		out := w.get(k, it)
		for _, r := range out.Records {
			data = append(data, string(r.Data))
		}
		if it = out.NextShardIterator; it == nil || aws.ToInt64(out.MillisBehindLatest) == 0 {
			return data, out
		}
	}
}

func (w *world) shards(k *kinesis.Client, stream string, filter *types.ShardFilter) (ids []string) {
	w.t.Helper()
	out, err := k.ListShards(background, &kinesis.ListShardsInput{StreamARN: &stream, ShardFilter: filter})
	w.must(err)
	for _, s := range out.Shards {
		ids = append(ids, strings.TrimPrefix(*s.ShardId, "shardId-00000000000"))
	}
	return ids
}

func put(key, data string) types.PutRecordsRequestEntry {
	return types.PutRecordsRequestEntry{PartitionKey: &key, Data: []byte(data)}
}

func TestPutAndGet(t *testing.T) {
	w := newWorld(t, localaws.Config{})
	arn := w.stream("hotels", 1)
	k := w.kinesis(w.a)
	first, err := k.PutRecord(background, &kinesis.PutRecordInput{StreamName: aws.String("hotels"), PartitionKey: aws.String("h\"1é"), Data: []byte("one")})
	w.must(err)
	many, err := k.PutRecords(background, &kinesis.PutRecordsInput{StreamARN: &arn, Records: []types.PutRecordsRequestEntry{put("a", "two"), put("b", "")}})
	w.must(err)
	if *many.FailedRecordCount != 0 || len(many.Records) != 2 {
		t.Fatalf("put: %+v", many)
	}
	out := w.get(k, w.iterate(k, arn, "shardId-000000000000", types.ShardIteratorTypeTrimHorizon, ""))
	if len(out.Records) != 3 || *out.MillisBehindLatest != 0 || out.NextShardIterator == nil || out.ChildShards != nil {
		t.Fatalf("read: %+v", out)
	}
	if r := out.Records[0]; *r.PartitionKey != "h\"1é" || string(r.Data) != "one" || *r.SequenceNumber != *first.SequenceNumber || len(*r.SequenceNumber) != 56 {
		t.Errorf("first record: %+v", r)
	}
	if age := time.Since(*out.Records[0].ApproximateArrivalTimestamp); age < 0 || age > time.Minute {
		t.Errorf("arrived %s ago", age)
	}
	for i := 1; i < 3; i++ {
		if *out.Records[i].SequenceNumber <= *out.Records[i-1].SequenceNumber {
			t.Errorf("sequence number %s follows %s", *out.Records[i].SequenceNumber, *out.Records[i-1].SequenceNumber)
		}
	}
	if len(out.Records[2].Data) != 0 {
		t.Errorf("empty record has %q", out.Records[2].Data)
	}
}

func TestReshardLosesNothing(t *testing.T) {
	w := newWorld(t, localaws.Config{Unlimited: true})
	arn := w.stream("hotels", 2)
	k := w.kinesis(w.a)
	sent := 0
	send := func() {
		var entries []types.PutRecordsRequestEntry
		for range 100 {
			entries = append(entries, put(fmt.Sprint("hotel-", sent%37), fmt.Sprint(sent)))
			sent++
		}
		_, err := k.PutRecords(background, &kinesis.PutRecordsInput{StreamARN: &arn, Records: entries})
		w.must(err)
	}
	send()
	_, err := k.SplitShard(background, &kinesis.SplitShardInput{StreamARN: &arn, ShardToSplit: aws.String("shardId-000000000000"), NewStartingHashKey: aws.String("1000000000000000000000000000000000000")})
	w.must(err)
	send()
	_, err = k.MergeShards(background, &kinesis.MergeShardsInput{StreamARN: &arn, ShardToMerge: aws.String("shardId-000000000003"), AdjacentShardToMerge: aws.String("shardId-000000000001")})
	w.must(err)
	send()
	scaled, err := k.UpdateShardCount(background, &kinesis.UpdateShardCountInput{StreamARN: &arn, TargetShardCount: aws.Int32(4), ScalingType: types.ScalingTypeUniformScaling})
	w.must(err)
	if *scaled.CurrentShardCount != 2 || *scaled.TargetShardCount != 4 {
		t.Errorf("scaled: %+v", scaled)
	}
	send()

	list, err := k.ListShards(background, &kinesis.ListShardsInput{StreamARN: &arn})
	w.must(err)
	got := map[string]bool{}
	lastOf := map[string]string{} // key to last sequence number, parents before children
	open := new(big.Int)
	for _, s := range list.Shards { // ids grow from parent to child
		data, end := w.readAll(k, arn, *s.ShardId)
		for _, d := range data {
			if got[d] {
				t.Errorf("record %s twice", d)
			}
			got[d] = true
		}
		out := w.get(k, w.iterate(k, arn, *s.ShardId, types.ShardIteratorTypeTrimHorizon, ""))
		for _, r := range out.Records {
			if *r.SequenceNumber <= lastOf[*r.PartitionKey] {
				t.Errorf("key %s: %s follows %s", *r.PartitionKey, *r.SequenceNumber, lastOf[*r.PartitionKey])
			}
			lastOf[*r.PartitionKey] = *r.SequenceNumber
		}
		closed := s.SequenceNumberRange.EndingSequenceNumber != nil
		if closed != (end.NextShardIterator == nil) || closed != (len(end.ChildShards) > 0) {
			t.Errorf("shard %s: closed %v, next iterator %v, children %d", *s.ShardId, closed, end.NextShardIterator, len(end.ChildShards))
		}
		if !closed {
			from, _ := new(big.Int).SetString(*s.HashKeyRange.StartingHashKey, 10)
			to, _ := new(big.Int).SetString(*s.HashKeyRange.EndingHashKey, 10)
			open.Add(open, to.Sub(to, from)).Add(open, big.NewInt(1))
		}
	}
	if len(got) != sent {
		t.Errorf("%d of %d records", len(got), sent)
	}
	if open.Cmp(new(big.Int).Lsh(big.NewInt(1), 128)) != 0 {
		t.Errorf("open shards cover %s", open)
	}
	_, end := w.readAll(k, arn, "shardId-000000000003")
	if c := end.ChildShards; len(c) != 1 || *c[0].ShardId != "shardId-000000000004" || !slices.Equal(c[0].ParentShards, []string{"shardId-000000000003", "shardId-000000000001"}) {
		t.Errorf("children of the merge: %+v", c)
	}
	_, err = k.SplitShard(background, &kinesis.SplitShardInput{StreamARN: &arn, ShardToSplit: aws.String("shardId-000000000000"), NewStartingHashKey: aws.String("5")})
	wantType[*types.InvalidArgumentException](t, err)
}

func TestStreamsOfAnotherAccount(t *testing.T) {
	w := newWorld(t, localaws.Config{})
	arn := w.stream("hotels", 1)
	foreign := w.kinesis(w.b)
	_, err := foreign.ListShards(background, &kinesis.ListShardsInput{StreamName: aws.String("hotels")})
	wantType[*types.ResourceNotFoundException](t, err)
	_, err = foreign.ListShards(background, &kinesis.ListShardsInput{StreamARN: &arn})
	wantType[*types.AccessDeniedException](t, err)
	// An iterator does not carry its maker's permission.
	it := w.iterate(w.kinesis(w.a), arn, "shardId-000000000000", types.ShardIteratorTypeLatest, "")
	_, err = foreign.GetRecords(background, &kinesis.GetRecordsInput{ShardIterator: it})
	wantType[*types.AccessDeniedException](t, err)

	w.must(w.AllowAccount(arn, accountB))
	w.get(foreign, w.iterate(foreign, arn, "shardId-000000000000", types.ShardIteratorTypeTrimHorizon, ""))
	_, err = foreign.SplitShard(background, &kinesis.SplitShardInput{StreamARN: &arn, ShardToSplit: aws.String("shardId-000000000000"), NewStartingHashKey: aws.String("5")})
	wantType[*types.AccessDeniedException](t, err)
	_, err = foreign.ListShards(background, &kinesis.ListShardsInput{StreamName: aws.String("hotels")})
	wantType[*types.ResourceNotFoundException](t, err)

	config := w.config(w.a)
	config.Region = "us-east-1"
	_, err = kinesis.NewFromConfig(config).ListShards(background, &kinesis.ListShardsInput{StreamName: aws.String("hotels")})
	wantType[*types.ResourceNotFoundException](t, err)
}

func TestIterators(t *testing.T) {
	clock := newClock()
	w := newWorld(t, localaws.Config{Now: clock.now})
	arn := w.stream("hotels", 1)
	k := w.kinesis(w.a)
	const shard = "shardId-000000000000"
	var numbers []string
	var times []time.Time
	for i := range 5 {
		_, n, err := w.Put(arn, "k", []byte(fmt.Sprint(i)))
		w.must(err)
		numbers, times = append(numbers, n), append(times, clock.now())
		clock.advance(time.Second)
	}
	read := func(in *kinesis.GetShardIteratorInput) string {
		t.Helper()
		clock.advance(time.Second) // for the limit on reads
		in.StreamARN, in.ShardId = &arn, aws.String(shard)
		it, err := k.GetShardIterator(background, in)
		w.must(err)
		var got string
		for _, r := range w.get(k, it.ShardIterator).Records {
			got += string(r.Data)
		}
		return got
	}
	for _, test := range []struct {
		in   kinesis.GetShardIteratorInput
		want string
	}{
		{kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeTrimHorizon}, "01234"},
		{kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeLatest}, ""},
		{kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeAtSequenceNumber, StartingSequenceNumber: &numbers[2]}, "234"},
		{kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeAfterSequenceNumber, StartingSequenceNumber: &numbers[2]}, "34"},
		{kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeAfterSequenceNumber, StartingSequenceNumber: &numbers[4]}, ""},
		{kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeAtTimestamp, Timestamp: &times[3]}, "34"},
		{kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeAtTimestamp, Timestamp: aws.Time(times[3].Add(time.Millisecond))}, "4"},
		{kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeAtTimestamp, Timestamp: aws.Time(times[4].Add(time.Millisecond))}, ""},
		{kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeAtTimestamp, Timestamp: aws.Time(times[0].Add(-time.Hour))}, "01234"},
	} {
		if got := read(&test.in); got != test.want {
			t.Errorf("%s: read %q, want %q", test.in.ShardIteratorType, got, test.want)
		}
	}

	// LATEST stays where it was made.
	clock.advance(time.Second)
	latest := w.iterate(k, arn, shard, types.ShardIteratorTypeLatest, "")
	_, _, err := w.Put(arn, "k", []byte("5"))
	w.must(err)
	if out := w.get(k, latest); len(out.Records) != 1 || string(out.Records[0].Data) != "5" {
		t.Errorf("LATEST reads %d records", len(out.Records))
	}

	for _, bad := range []struct {
		in   kinesis.GetShardIteratorInput
		want string
	}{
		{kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeAtTimestamp, Timestamp: aws.Time(clock.now().Add(time.Second))}, "InvalidArgumentException"},
		{kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeAtTimestamp}, "InvalidArgumentException"},
		{kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeAtSequenceNumber, StartingSequenceNumber: aws.String("5")}, "InvalidArgumentException"},
		{kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeAtSequenceNumber, StartingSequenceNumber: aws.String("05")}, "ValidationException"},
		{kinesis.GetShardIteratorInput{ShardIteratorType: "SOMEWHERE"}, "ValidationException"},
		{kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeLatest, ShardId: aws.String("shardId-000000000009")}, "ResourceNotFoundException"},
	} {
		bad.in.StreamARN = &arn
		if bad.in.ShardId == nil {
			bad.in.ShardId = aws.String(shard)
		}
		_, err := k.GetShardIterator(background, &bad.in)
		wantCode(t, err, bad.want)
	}

	_, err = k.GetRecords(background, &kinesis.GetRecordsInput{ShardIterator: aws.String("AAAA")})
	wantType[*types.InvalidArgumentException](t, err)
	_, err = k.GetRecords(background, &kinesis.GetRecordsInput{ShardIterator: latest, Limit: aws.Int32(10001)})
	wantType[*types.ValidationException](t, err)
	clock.advance(5 * time.Minute)
	w.get(k, latest)
	clock.advance(time.Millisecond)
	_, err = k.GetRecords(background, &kinesis.GetRecordsInput{ShardIterator: latest})
	wantType[*types.ExpiredIteratorException](t, err)
}
