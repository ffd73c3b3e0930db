package localaws_test

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/shardline/shardline/internal/localaws"
)

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
