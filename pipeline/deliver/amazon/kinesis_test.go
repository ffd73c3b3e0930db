package amazon_test

import (
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"

	"github.com/shardline/shardline/pipeline"
	"github.com/shardline/shardline/pipeline/deliver"
	"github.com/shardline/shardline/pipeline/deliver/amazon"
)

// stream is a stream in memory that fails as told.
type stream struct {
	random  *rand.Rand // nil: never fails
	shards  int        // 0: 1
	latency time.Duration
	refuse  func(types.PutRecordsRequestEntry) bool // makes the service refuse the whole call

	mu      sync.Mutex
	records []types.PutRecordsRequestEntry
	calls   []int // records in each
	dropped int   // aggregates that came into another shard than their records belong to
}

var errBroken = errors.New("connection reset by peer")

func refusal(code string) error {
	return &smithy.OperationError{ServiceID: "Kinesis", OperationName: "PutRecords", Err: &smithy.GenericAPIError{Code: code, Message: "no", Fault: smithy.FaultClient}}
}

func (s *stream) PutRecords(ctx context.Context, in *kinesis.PutRecordsInput, _ ...func(*kinesis.Options)) (*kinesis.PutRecordsOutput, error) {
	time.Sleep(s.latency)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, len(in.Records))
	dice := func(percent int) bool { return s.random != nil && s.random.IntN(100) < percent }
	for _, r := range in.Records {
		if s.refuse != nil && s.refuse(r) {
			return nil, refusal("ValidationException")
		}
	}
	switch {
	case dice(5):
		return nil, refusal("ProvisionedThroughputExceededException")
	case dice(5):
		return nil, errBroken // before it landed
	}
	if dice(1) {
		s.shards++
	}
	out := &kinesis.PutRecordsOutput{}
	for _, r := range in.Records {
		if dice(20) {
			out.Records = append(out.Records, types.PutRecordsResultEntry{ErrorCode: aws.String("InternalFailure"), ErrorMessage: aws.String("once more")})
			continue
		}
		shard := shardOf(aws.ToString(r.PartitionKey), s.shards)
		if r.ExplicitHashKey != nil {
			fmt.Sscan(*r.ExplicitHashKey, &shard)
			shard %= max(s.shards, 1)
		}
		if r.ExplicitHashKey == nil || s.within(r, shard) {
			s.records = append(s.records, r)
		} else {
			s.dropped++
		}
		out.Records = append(out.Records, types.PutRecordsResultEntry{SequenceNumber: aws.String("1"), ShardId: aws.String(fmt.Sprint("shard-", shard, "-of-", s.shards))})
	}
	if dice(5) {
		return nil, errBroken // after it landed
	}
	return out, nil
}

// within says whether an aggregate's records belong to the shard: readers drop
// it otherwise.
func (s *stream) within(r types.PutRecordsRequestEntry, shard int) bool {
	for key := range unpack(aws.ToString(r.PartitionKey), string(r.Data)) {
		if shardOf(key, s.shards) != shard {
			return false
		}
	}
	return true
}

func shardOf(key string, shards int) int {
	sum := md5.Sum([]byte(key))
	return int(sum[0]) % max(shards, 1)
}

// landed is the user records that are not in an aggregate that readers drop.
func (s *stream) landed() (all []landed) {
	for _, r := range s.records {
		for key, data := range unpack(aws.ToString(r.PartitionKey), string(r.Data)) {
			var n int
			fmt.Sscan(data, &n)
			all = append(all, landed{key, n})
		}
	}
	return all
}

// TestKinesisOrder puts through calls that fail as a whole, before and after
// they landed, and record by record.
func TestKinesisOrder(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			s := &stream{random: rand.New(rand.NewPCG(seed, 1)), latency: 20 * time.Millisecond}
			k := amazon.NewKinesis(amazon.KinesisConfig{Client: s, StreamARN: "arn", Batching: amazon.Batching{Concurrency: 50}})
			refused := throughDestination(t, k, 1000, 100, 50, seed, func(n int) string { return fmt.Sprint(n) })
			if len(refused) > 0 {
				t.Errorf("seed %d: refused %v", seed, refused)
			}
			inOrder(t, seed, s.landed(), sent(1000, 100, seed, nil))
			if len(s.calls) > 1000 {
				t.Errorf("seed %d: %d calls for 1000 records in some 1600 attempts", seed, len(s.calls))
			}
		})
	}
}

// TestKinesisGathers is about how many records a call has.
func TestKinesisGathers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stream{latency: 20 * time.Millisecond}
		k := amazon.NewKinesis(amazon.KinesisConfig{Client: s, StreamARN: "arn", Batching: amazon.Batching{Concurrency: 1000}})
		var all sync.WaitGroup
		start := time.Now()
		for i := range 1000 {
			all.Go(func() { k.Send(t.Context(), message(fmt.Sprint(i), i, "x")) })
		}
		all.Wait()
		if took := time.Since(start); took != 20*time.Millisecond {
			t.Errorf("took %v: full calls lingered", took)
		}
		if fmt.Sprint(s.calls) != "[500 500]" {
			t.Errorf("calls of %v records, want 500 and 500", s.calls)
		}
		s.calls = nil
		start = time.Now()
		k.Send(t.Context(), message("a", 1, "x"))
		if took := time.Since(start); took != 30*time.Millisecond {
			t.Errorf("a record alone took %v, want 10 ms more than the call", took)
		}
		s.calls = nil
		for range 3 {
			all.Go(func() { k.Send(t.Context(), message("big", 1, strings.Repeat("x", 3<<20))) })
		}
		all.Wait()
		if fmt.Sprint(s.calls) != "[1 1 1]" {
			t.Errorf("calls of %v records, want three of one: two have too many bytes for a call", s.calls)
		}
		k.Close()
	})
}

// TestKinesisRefusedCall: one record that the service refuses the call for is
// found, and alone goes to the dead letters.
func TestKinesisRefusedCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stream{refuse: func(r types.PutRecordsRequestEntry) bool { return strings.HasSuffix(string(r.Data), "37") }}
		k := amazon.NewKinesis(amazon.KinesisConfig{Client: s, StreamARN: "arn", Batching: amazon.Batching{Concurrency: 100}})
		refused := throughDestination(t, k, 1000, 100, 100, 1, func(n int) string { return fmt.Sprint(n) })
		if len(refused) != 10 || !strings.Contains(refused["37"], "ValidationException: no") {
			t.Errorf("refused %v, want 37, 137 and so on", refused)
		}
		inOrder(t, 1, s.landed(), sent(1000, 100, 1, refused))
	})
}

// TestKinesisManyRefused: so many records that the service refuses calls for
// that an attempt's time does not suffice to find them all. What is found
// counts: all of them are found in the end, and the others delivered.
func TestKinesisManyRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stream{latency: 500 * time.Millisecond, refuse: func(r types.PutRecordsRequestEntry) bool { return strings.HasSuffix(string(r.Data), "7") }}
		k := amazon.NewKinesis(amazon.KinesisConfig{Client: s, StreamARN: "arn", Batching: amazon.Batching{Concurrency: 200}})
		refused := throughDestination(t, k, 1000, 200, 200, 1, func(n int) string { return fmt.Sprint(n) })
		if len(refused) != 100 {
			t.Errorf("%d refused, want 7, 17 and so on", len(refused))
		}
		inOrder(t, 1, s.landed(), sent(1000, 200, 1, refused))
	})
}

// TestKinesisAllHere: a call that has every attempt does not linger.
func TestKinesisAllHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stream{latency: 20 * time.Millisecond}
		k := amazon.NewKinesis(amazon.KinesisConfig{Client: s, StreamARN: "arn", Batching: amazon.Batching{Concurrency: 64}})
		start := time.Now()
		throughDestination(t, k, 640, 640, 64, 1, func(n int) string { return fmt.Sprint(n) })
		if len(s.calls) > 20 || time.Since(start) > 2*time.Second {
			t.Errorf("%d calls of %v records, after %v", len(s.calls), s.calls, time.Since(start))
		}
	})
}

// TestKinesisGivenUp: an attempt that was given up before its call began sends
// nothing; the call of the others goes on, and one that nobody waits for ends.
func TestKinesisGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stream{latency: time.Minute}
		k := amazon.NewKinesis(amazon.KinesisConfig{Client: s, StreamARN: "arn", Batching: amazon.Batching{Concurrency: 100, Linger: time.Second}})
		send := func(key string, after time.Duration) (answer func() deliver.Answer) {
			ctx, cancel := context.WithTimeout(t.Context(), after)
			got := make(chan deliver.Answer, 1)
			go func() { defer cancel(); got <- k.Send(ctx, message(key, 1, key)) }()
			return func() deliver.Answer { return <-got }
		}
		start := time.Now()
		early, late, stays := send("early", time.Millisecond), send("late", 2*time.Second), send("stays", time.Hour)
		if a := early(); a.Reason != deliver.ReasonCancelled || time.Since(start) != time.Millisecond {
			t.Errorf("early: %v after %v", a.Reason, time.Since(start))
		}
		if a := late(); a.Reason != deliver.ReasonCancelled || time.Since(start) != 2*time.Second {
			t.Errorf("late: %v after %v", a.Reason, time.Since(start))
		}
		if a := stays(); a.Reason != deliver.ReasonDelivered {
			t.Errorf("stays: %v %s", a.Reason, a.Detail)
		}
		got := s.landed()
		slices.SortFunc(got, func(a, b landed) int { return strings.Compare(a.key, b.key) })
		if fmt.Sprint(got) != "[{late 0} {stays 0}]" {
			t.Errorf("landed %v, want late, whose call had begun, and stays", got)
		}
		nobody := send("nobody", 2*time.Second)
		nobody()
		k.Close()
		if len(s.records) != 2 {
			t.Errorf("a call that nobody waited for landed")
		}
	})
}

func TestKinesisKeys(t *testing.T) {
	s := &stream{}
	k := amazon.NewKinesis(amazon.KinesisConfig{Client: s, StreamARN: "arn", Batching: amazon.Batching{Concurrency: 1},
		Key: func(r *pipeline.Record) (string, error) {
			if r.Key == "none" {
				return "", errors.New("not XML")
			}
			return string(r.Data), nil
		}})
	defer k.Close()
	for _, c := range []struct {
		key, data string
		want      deliver.Reason
	}{
		{"a", "H1", deliver.ReasonDelivered},
		{"a", "", deliver.ReasonUnsendable},
		{"a", strings.Repeat("é", 256), deliver.ReasonDelivered},
		{"a", strings.Repeat("é", 257), deliver.ReasonUnsendable},
		{"none", "x", deliver.ReasonUnsendable},
	} {
		if a := k.Send(t.Context(), message(c.key, 1, c.data)); a.Reason != c.want {
			t.Errorf("%s %.10s: %v %s, want %v", c.key, c.data, a.Reason, a.Detail, c.want)
		}
	}
	if got := aws.ToString(s.records[0].PartitionKey); got != "H1" {
		t.Errorf("put under %q, want H1", got)
	}
	if a := k.Send(t.Context(), message("a", 1, strings.Repeat("x", 10<<20))); a.Reason != deliver.ReasonUnsendable {
		t.Errorf("a record of more than 10 MiB: %v", a.Reason)
	}
}

// aggregates is a stream's shards as they were last looked at, and a format
// that the test can read.
type aggregates struct {
	stream *stream
	mu     sync.Mutex
	shards int
	err    error
	looks  int
}

func (a *aggregates) Shard(_ context.Context, key string) (string, string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err != nil {
		return "", "", a.err
	}
	if a.shards == 0 {
		a.stream.mu.Lock()
		a.shards = max(a.stream.shards, 1)
		a.stream.shards = a.shards
		a.stream.mu.Unlock()
		a.looks++
	}
	n := shardOf(key, a.shards)
	return fmt.Sprint("shard-", n, "-of-", a.shards), fmt.Sprint(n), nil
}

func (a *aggregates) Forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.shards = 0
}

func (a *aggregates) Aggregate(keys []string, data [][]byte) []byte {
	text := "aggregate"
	for i := range keys {
		text += "\n" + keys[i] + "\t" + string(data[i])
	}
	return []byte(text)
}

func (a *aggregates) Looks(data []byte) bool { return strings.HasPrefix(string(data), "aggregate") }

func unpack(key, data string) func(yield func(string, string) bool) {
	return func(yield func(string, string) bool) {
		users, aggregated := strings.CutPrefix(data, "aggregate")
		if !aggregated {
			yield(key, data)
			return
		}
		for _, user := range strings.Split(users, "\n")[1:] {
			key, data, _ := strings.Cut(user, "\t")
			if !yield(key, data) {
				return
			}
		}
	}
}

// TestKinesisAggregates puts aggregated records through the same failures, and
// through splits: what readers keep is in order.
func TestKinesisAggregates(t *testing.T) {
	dropped := 0
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			s := &stream{random: rand.New(rand.NewPCG(seed, 1)), latency: 20 * time.Millisecond, shards: 2}
			a := &aggregates{stream: s}
			k := amazon.NewKinesis(amazon.KinesisConfig{Client: s, StreamARN: "arn", Aggregates: a, Batching: amazon.Batching{Concurrency: 50}})
			refused := throughDestination(t, k, 1000, 100, 50, seed, func(n int) string { return fmt.Sprint(n) })
			if len(refused) > 0 {
				t.Errorf("seed %d: refused %v", seed, refused)
			}
			inOrder(t, seed, s.landed(), sent(1000, 100, seed, nil))
			if len(s.records) > 900 {
				t.Errorf("seed %d: %d records for 1000 user records", seed, len(s.records))
			}
			dropped += s.dropped
		})
	}
	if dropped == 0 {
		t.Error("no aggregate ever came into another shard: this test tests nothing")
	}
}

// TestKinesisStaleAggregate: what came into another shard is not delivered.
func TestKinesisStaleAggregate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stream{shards: 1}
		a := &aggregates{stream: s}
		k := amazon.NewKinesis(amazon.KinesisConfig{Client: s, StreamARN: "arn", Aggregates: a, Batching: amazon.Batching{Concurrency: 2}})
		pair := func(want deliver.Reason) {
			t.Helper()
			var all sync.WaitGroup
			for _, key := range []string{"a", "b"} {
				all.Go(func() {
					if got := k.Send(t.Context(), message(key, 1, key)); got.Reason != want {
						t.Errorf("%s: %v %s, want %v", key, got.Reason, got.Detail, want)
					}
				})
			}
			all.Wait()
		}
		pair(deliver.ReasonDelivered)
		if len(s.records) != 1 {
			t.Errorf("%d records, want one aggregate", len(s.records))
		}
		s.shards = 3
		pair(deliver.ReasonTryLater)
		pair(deliver.ReasonDelivered)
		if a.looks != 2 {
			t.Errorf("the shards were listed %d times, want 2", a.looks)
		}
		a.Forget()
		a.err = refusal("AccessDeniedException")
		pair(deliver.ReasonUnauthorized)
		k.Close()
	})
}
