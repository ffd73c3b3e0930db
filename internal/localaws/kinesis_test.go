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

func TestReadLimits(t *testing.T) {
	clock := newClock()
	w := newWorld(t, localaws.Config{Now: clock.now})
	arn := w.stream("hotels", 2)
	k := w.kinesis(w.a)
	it := w.iterate(k, arn, "shardId-000000000000", types.ShardIteratorTypeLatest, "")
	for range 5 {
		w.get(k, it)
	}
	_, err := k.GetRecords(background, &kinesis.GetRecordsInput{ShardIterator: it})
	wantType[*types.ProvisionedThroughputExceededException](t, err)
	w.get(k, w.iterate(k, arn, "shardId-000000000001", types.ShardIteratorTypeLatest, "")) // each shard has its own
	clock.advance(200 * time.Millisecond)
	w.get(k, it)
	if n := w.Stats().Reads[arn+" shardId-000000000000"]; n != 7 {
		t.Errorf("%d reads counted, want 7", n)
	}

	// 12 MB: 10 MB at most in one read, which blocks the shard until its 2 MB/s
	// are made up.
	for range 12 {
		_, _, err := w.Put(arn, "k", make([]byte, 1<<20))
		w.must(err)
	}
	out, err := k.ListShards(background, &kinesis.ListShardsInput{StreamARN: &arn})
	w.must(err)
	for _, s := range out.Shards {
		clock.advance(time.Second)
		first := w.get(k, w.iterate(k, arn, *s.ShardId, types.ShardIteratorTypeTrimHorizon, ""))
		if len(first.Records) == 0 {
			continue
		}
		if len(first.Records) != 9 { // 10 MiB hold nine such records with their keys
			t.Errorf("read %d records of 1 MB", len(first.Records))
		}
		clock.advance(3 * time.Second)
		_, err = k.GetRecords(background, &kinesis.GetRecordsInput{ShardIterator: first.NextShardIterator})
		wantType[*types.ProvisionedThroughputExceededException](t, err)
		clock.advance(time.Second)
		if rest := w.get(k, first.NextShardIterator); len(rest.Records) != 3 || *rest.MillisBehindLatest != 0 {
			t.Errorf("then %d records, behind by %d ms", len(rest.Records), *rest.MillisBehindLatest)
		}
	}
}

func TestWriteLimits(t *testing.T) {
	clock := newClock()
	w := newWorld(t, localaws.Config{Now: clock.now})
	arn := w.stream("hotels", 1)
	k := w.kinesis(w.a)
	entries := make([]types.PutRecordsRequestEntry, 500)
	for i := range entries {
		entries[i] = put("k", "x")
	}
	send := func(entries []types.PutRecordsRequestEntry) (failed int32, out *kinesis.PutRecordsOutput) {
		t.Helper()
		out, err := k.PutRecords(background, &kinesis.PutRecordsInput{StreamARN: &arn, Records: entries})
		w.must(err)
		return *out.FailedRecordCount, out
	}
	send(entries)
	send(entries[:499])
	failed, out := send(entries[:2]) // 1,000 a second: one more passes
	if failed != 1 || out.Records[0].SequenceNumber == nil || aws.ToString(out.Records[1].ErrorCode) != "ProvisionedThroughputExceededException" || out.Records[1].SequenceNumber != nil {
		t.Errorf("%d failed: %+v", failed, out.Records)
	}
	if message := aws.ToString(out.Records[1].ErrorMessage); !strings.Contains(message, "shardId-000000000000 in stream hotels under account 111111111111") {
		t.Errorf("message %q", message)
	}
	_, err := k.PutRecord(background, &kinesis.PutRecordInput{StreamARN: &arn, PartitionKey: aws.String("k"), Data: []byte("x")})
	wantType[*types.ProvisionedThroughputExceededException](t, err)

	clock.advance(time.Second)
	big := put("k", strings.Repeat("x", 400<<10))
	if failed, _ := send([]types.PutRecordsRequestEntry{big, big, big}); failed != 1 { // 1 MiB a second
		t.Errorf("%d of three 400 KiB records failed", failed)
	}
	clock.advance(time.Second)
	if failed, _ := send([]types.PutRecordsRequestEntry{put("k", strings.Repeat("x", 5<<20))}); failed != 0 {
		t.Error("a record of 5 MiB on an idle shard failed")
	}

	for _, test := range []struct {
		name    string
		entries []types.PutRecordsRequestEntry
		want    string
	}{
		{"501 records", append(entries, put("k", "x")), "ValidationException"},
		{"long key", []types.PutRecordsRequestEntry{put(strings.Repeat("é", 257), "x")}, "ValidationException"},
		{"empty key", []types.PutRecordsRequestEntry{put("", "x")}, "ValidationException"},
		{"large record", []types.PutRecordsRequestEntry{put("k", strings.Repeat("x", 10<<20))}, "ValidationException"},
		{"large request", []types.PutRecordsRequestEntry{put("k", strings.Repeat("x", 6<<20)), put("k", strings.Repeat("x", 5<<20))}, "InvalidArgumentException"},
		{"bad hash key", []types.PutRecordsRequestEntry{{PartitionKey: aws.String("k"), Data: []byte("x"), ExplicitHashKey: aws.String("340282366920938463463374607431768211456")}}, "InvalidArgumentException"},
	} {
		_, err := k.PutRecords(background, &kinesis.PutRecordsInput{StreamARN: &arn, Records: test.entries})
		if err == nil {
			t.Errorf("%s passes", test.name)
		}
		wantCode(t, err, test.want)
	}
}

func TestExplicitHashKey(t *testing.T) {
	w := newWorld(t, localaws.Config{})
	arn := w.stream("hotels", 2)
	k := w.kinesis(w.a)
	for key, want := range map[string]string{
		"0": "shardId-000000000000",
		"170141183460469231731687303715884105727": "shardId-000000000000",
		"170141183460469231731687303715884105728": "shardId-000000000001",
		"340282366920938463463374607431768211455": "shardId-000000000001",
	} {
		out, err := k.PutRecord(background, &kinesis.PutRecordInput{StreamARN: &arn, PartitionKey: aws.String("k"), Data: []byte("x"), ExplicitHashKey: &key})
		w.must(err)
		if *out.ShardId != want {
			t.Errorf("%s is on %s", key, *out.ShardId)
		}
	}
	out, err := k.PutRecord(background, &kinesis.PutRecordInput{StreamARN: &arn, PartitionKey: aws.String("a"), Data: []byte("x")})
	w.must(err)
	if *out.ShardId != "shardId-000000000000" { // MD5("a") = 0cc1…
		t.Errorf("a is on %s", *out.ShardId)
	}
}

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
