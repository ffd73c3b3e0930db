// Package readertest holds a Kinesis source to what the pipeline expects of
// it, on a service that speaks the real protocol: the local AWS, and emulators
// that others wrote.
//
// Each test makes a stream of its own, puts records through the service's own
// client and remembers what was acknowledged; a source then has to read exactly
// that. Nothing sleeps: readers pace themselves, and what never comes ends with
// a deadline that names what is missing.
package readertest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go/middleware"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/consumers"
	"github.com/shardline/shardline/pipeline"
)

// Env is a service under test.
type Env struct {
	Admin aws.Config      // of the streams' account: makes, fills and reshards them
	Base  aws.Config      // what a source starts from
	Role  *consumers.Role // assumed by the source; nil: Base reads
	// FanOut reads by enhanced fan-out instead of polling.
	FanOut bool
	// LeftOut names tests that the service cannot pass, with its reason.
	LeftOut map[string]string
	// Drop removes a shard's records before a sequence number, as retention
	// does; nil: the service has no such thing, and the test is left out.
	Drop func(streamARN, shard, before string) error
}

// patience ends a test whose records do not come.
const patience = 90 * time.Second

// Run runs the suite.
func Run(t *testing.T, env Env) {
	tests := []struct {
		name string
		test func(t *testing.T, env Env)
	}{
		{"Identity", testIdentity},
		{"EmptyStream", testEmptyStream},
		{"ReadsAllInOrder", testReadsAllInOrder},
		{"RestartAtEveryPosition", testRestartAtEveryPosition},
		{"Latest", testLatest},
		{"Time", testTime},
		{"Sizes", testSizes},
		{"Missing", testMissing},
		{"Split", testSplit},
		{"Merge", testMerge},
		{"Pages", testPages},
		{"Trimmed", testTrimmed},
		{"Producer", testProducer},
		{"ProducerAggregates", testProducerAggregates},
		{"Aggregated", testAggregated},
		{"OutOfRange", testOutOfRange},
	}
	for _, test := range tests {
		reason, left := env.LeftOut[test.name]
		if test.name == "Trimmed" && env.Drop == nil {
			reason, left = "records cannot be dropped on demand", true
		}
		if left {
			t.Logf("%s left out: %s", test.name, reason)
			continue
		}
		t.Run(test.name, func(t *testing.T) { test.test(t, env) })
	}
}

// stream is a stream of one test.
type stream struct {
	t      *testing.T
	admin  *kinesis.Client
	name   string
	arn    string
	env    Env
	source *consumers.Source
	fanOut int                 // readers by enhanced fan-out
	put    int                 // records so far
	acked  map[string][]string // data by shard, in the order of sequence numbers
}

func newStream(t *testing.T, env Env, shards int32) *stream {
	t.Helper()
	s := &stream{t: t, admin: kinesis.NewFromConfig(env.Admin), name: fmt.Sprintf("readertest-%016x", rand.Uint64()), env: env, acked: map[string][]string{}}
	_, err := s.admin.CreateStream(t.Context(), &kinesis.CreateStreamInput{StreamName: aws.String(s.name), ShardCount: aws.Int32(shards)})
	if err != nil {
		t.Fatalf("create stream: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second)
		defer cancel()
		if _, err := s.admin.DeleteStream(ctx, &kinesis.DeleteStreamInput{StreamName: aws.String(s.name), EnforceConsumerDeletion: aws.Bool(true)}); err != nil {
			t.Logf("delete stream: %v", err)
		}
	})
	s.active()
	s.source = s.newSource(env)
	return s
}

// newSource returns a source of the stream that runs until the test is over.
func (s *stream) newSource(env Env, changes ...func(*consumers.Config)) *consumers.Source {
	s.t.Helper()
	config := consumers.Config{Name: s.name, StreamARN: s.arn, Role: env.Role,
		Application: "readertest", PollInterval: 200 * time.Millisecond, Base: env.Base}
	for _, change := range changes {
		change(&config)
	}
	source, err := consumers.NewSource(config)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan error, 1)
	go func() { done <- source.Run(ctx) }()
	s.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Errorf("run source: %v", err)
		}
	})
	return source
}

// reader reads a shard until the test is over. Each one by enhanced fan-out is
// a consumer of its own: the service refuses a second subscription within five
// seconds.
func (s *stream) reader(shard string, from checkpoint.Position) pipeline.Reader {
	return s.readerOf(checkpoint.Shard{ID: shard}, from)
}

// readerOf is reader for a shard whose hash keys are known.
func (s *stream) readerOf(shard checkpoint.Shard, from checkpoint.Position, changes ...func(*consumers.Config)) pipeline.Reader {
	if s.env.FanOut {
		s.fanOut++
		changes = append(changes, func(c *consumers.Config) { c.Consumer = fmt.Sprintf("reader-%d", s.fanOut) })
	}
	source := s.source
	if len(changes) > 0 {
		source = s.newSource(s.env, changes...)
	}
	r := source.Reader(shard, from)
	s.t.Cleanup(r.Close)
	return r
}

// active waits until the stream is.
func (s *stream) active() {
	s.t.Helper()
	waiter := kinesis.NewStreamExistsWaiter(s.admin, func(o *kinesis.StreamExistsWaiterOptions) {
		o.MinDelay, o.MaxDelay = 50*time.Millisecond, 500*time.Millisecond
	})
	out, err := waiter.WaitForOutput(s.t.Context(), &kinesis.DescribeStreamInput{StreamName: aws.String(s.name)}, patience)
	if err != nil {
		s.t.Fatalf("wait for the stream: %v", err)
	}
	s.arn = *out.StreamDescription.StreamARN
}

// add puts n records under key, one call each: their sequence numbers are in
// the order of the calls.
func (s *stream) add(key string, n int) {
	s.t.Helper()
	for range n {
		s.addData(key, fmt.Sprintf("%s/%d", key, s.put))
	}
}

func (s *stream) addData(key, data string) (shard, sequence string) {
	s.t.Helper()
	shard, sequence = s.putRecord(key, []byte(data))
	s.acked[shard] = append(s.acked[shard], data)
	return shard, sequence
}

// addAggregate puts an aggregated record of n user records for each of the
// keys, under the first of them.
func (s *stream) addAggregate(n int, keys ...string) (shard, sequence string) {
	s.t.Helper()
	var users []consumers.UserRecord
	var data []string
	for i := range n * len(keys) {
		data = append(data, fmt.Sprintf("%s/%d.%d", keys[i%len(keys)], s.put, i))
		users = append(users, consumers.UserRecord{PartitionKey: keys[i%len(keys)], Data: []byte(data[i])})
	}
	shard, sequence = s.putRecord(keys[0], consumers.Aggregate(users))
	s.acked[shard] = append(s.acked[shard], data...)
	return shard, sequence
}

func (s *stream) putRecord(key string, data []byte) (shard, sequence string) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		out, err := s.admin.PutRecord(s.t.Context(), &kinesis.PutRecordInput{StreamName: aws.String(s.name), PartitionKey: aws.String(key), Data: data})
		var throttled *types.ProvisionedThroughputExceededException
		if errors.As(err, &throttled) && time.Now().Before(deadline) {
			continue // after the SDK's own back-off
		}
		if err != nil {
			s.t.Fatalf("put record %d: %v", s.put, err)
		}
		s.put++
		return *out.ShardId, *out.SequenceNumber
	}
}

// shards lists the stream's shards.
func (s *stream) shards() []checkpoint.Shard {
	s.t.Helper()
	shards, _, err := s.source.Shards(s.t.Context())
	if err != nil {
		s.t.Fatalf("list shards: %v", err)
	}
	return shards
}

// only is the one shard of a stream that has one.
func (s *stream) only() string {
	s.t.Helper()
	shards := s.shards()
	if len(shards) != 1 {
		s.t.Fatalf("%d shards, want 1", len(shards))
	}
	return shards[0].ID
}

// read reads with r until enough, called after every batch, is true.
func (s *stream) read(r pipeline.Reader, enough func(all []pipeline.Record, last pipeline.Batch) bool) ([]pipeline.Record, pipeline.Batch) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	var all []pipeline.Record
	for {
		if err := r.Wait(ctx); err != nil {
			s.t.Fatalf("%d records came, and what the test waits for did not: %v", len(all), err)
		}
		batch, err := r.Read(ctx)
		if errors.Is(err, pipeline.ErrThrottled) {
			continue
		}
		if err != nil {
			s.t.Fatalf("read: %v", err)
		}
		all = append(all, batch.Records...)
		if enough(all, batch) {
			return all, batch
		}
	}
}

// atLeast is enough with n records, and with one further batch to show what
// must not come.
func atLeast(n int) func([]pipeline.Record, pipeline.Batch) bool {
	more := true
	return func(all []pipeline.Record, last pipeline.Batch) bool {
		if len(all) < n {
			return false
		}
		enough := !more || last.End
		more = false
		return enough
	}
}

func atEnd(_ []pipeline.Record, last pipeline.Batch) bool { return last.End }

// expect compares records with the data that was acknowledged.
func (s *stream) expect(what string, got []pipeline.Record, want []string) {
	s.t.Helper()
	var data []string
	for i, r := range got {
		if !r.Blank {
			data = append(data, string(r.Data))
		}
		if i > 0 && r.Position.Compare(got[i-1].Position) <= 0 {
			s.t.Errorf("%s: position %s follows %s", what, r.Position, got[i-1].Position)
		}
		if r.Arrival.IsZero() || r.PartitionKey == "" {
			s.t.Errorf("%s: record %s has arrival %v, key %q", what, r.Position, r.Arrival, r.PartitionKey)
		}
	}
	if !slices.Equal(data, want) {
		s.t.Errorf("%s: read %d records, want %d:\n%s\nwant\n%s", what, len(data), len(want), brief(data), brief(want))
	}
}

func brief(data []string) string {
	var b strings.Builder
	for _, d := range data {
		fmt.Fprintf(&b, " %.40q", d)
	}
	return b.String()
}

// limitPages makes every page of ListShards hold n shards.
func limitPages(n int32) func(*middleware.Stack) error {
	return func(stack *middleware.Stack) error {
		return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("limitPages",
			func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
				if list, ok := in.Parameters.(*kinesis.ListShardsInput); ok {
					list.MaxResults = aws.Int32(n)
				}
				return next.HandleInitialize(ctx, in)
			}), middleware.Before)
	}
}
