package consumers_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/consumers"
	"github.com/shardline/shardline/internal/localaws"
	"github.com/shardline/shardline/pipeline"
)

// Tests of what only a service that fails on demand can show, over the real
// protocol.

const localPatience = 60 * time.Second

func (l local) stream(t *testing.T, shards int) string {
	t.Helper()
	arn, err := l.CreateStream(streamAccount, region, "hotels", shards)
	if err != nil {
		t.Fatal(err)
	}
	return arn
}

// source returns a source of the stream that runs until the test is over.
func (l local) source(t *testing.T, arn string, role *consumers.Role, changes ...func(*consumers.Config)) *consumers.Source {
	t.Helper()
	config := consumers.Config{Name: "hotels-a", StreamARN: arn, Role: role, Application: "ota-fanout", Base: l.base}
	for _, change := range changes {
		change(&config)
	}
	source, err := consumers.NewSource(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- source.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run source: %v", err)
		}
	})
	return source
}

func (l local) put(t *testing.T, arn string, n int) []string {
	t.Helper()
	var want []string
	for i := range n {
		data := fmt.Sprint(i)
		if _, _, err := l.Put(arn, "hotel-1", []byte(data)); err != nil {
			t.Fatal(err)
		}
		want = append(want, data)
	}
	return want
}

// collect reads until n records came, and returns the errors on the way.
func collect(t *testing.T, r pipeline.Reader, n int) (data []string, problems []error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), localPatience)
	defer cancel()
	for len(data) < n {
		if err := r.Wait(ctx); err != nil {
			t.Fatalf("%d of %d records: %v; errors %v", len(data), n, err, problems)
		}
		batch, err := r.Read(ctx)
		if err != nil {
			problems = append(problems, err)
		}
		for _, record := range batch.Records {
			data = append(data, string(record.Data))
		}
	}
	return data, problems
}

func TestFaultsLoseAndRepeatNothing(t *testing.T) {
	l := newLocal(t, localaws.Config{Unlimited: true})
	arn := l.stream(t, 1)
	want := l.put(t, arn, 30)
	kinds := []localaws.FaultKind{localaws.Throttle, localaws.Error500, localaws.DropBefore, localaws.DropAfter, localaws.ExpiredIterator, localaws.EmptyRead}
	for i, kind := range kinds {
		if _, err := l.AddFault(localaws.Fault{Operation: "kinesis.GetRecords", Kind: kind, Skip: i, Count: 1}); err != nil {
			t.Fatal(err)
		}
	}
	r := l.source(t, arn, l.role).Reader(checkpoint.Shard{ID: "shardId-000000000000"}, checkpoint.TrimHorizon)
	got, problems := collect(t, r, len(want))
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("read %v, want %v", got, want)
	}
	if len(problems) < 3 {
		t.Errorf("errors %v: the faults were not met", problems)
	}
	more := []string{"x"}
	if _, _, err := l.Put(arn, "hotel-1", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if got, _ := collect(t, r, 1); strings.Join(got, " ") != strings.Join(more, " ") {
		t.Errorf("then read %v, want %v: something came twice", got, more)
	}
}

// Subscriptions that break on the wire lose and repeat nothing, and end when
// the reader is closed.
func TestFanOutFaultsLoseAndRepeatNothing(t *testing.T) {
	l := newLocal(t, localaws.Config{Unlimited: true, Heartbeat: 20 * time.Millisecond})
	arn := l.stream(t, 1)
	want := l.put(t, arn, 30)
	for _, f := range []localaws.Fault{
		{Operation: "kinesis.DescribeStreamConsumer", Kind: localaws.Error500},
		{Operation: "kinesis.RegisterStreamConsumer", Kind: localaws.DropAfter}, // the answer is lost: it exists
		{Operation: "kinesis.SubscribeToShard", Kind: localaws.DropEvent},
		{Operation: "kinesis.SubscribeToShard", Kind: localaws.ErrorEvent, Skip: 2},
	} {
		f.Count = 1
		if _, err := l.AddFault(f); err != nil {
			t.Fatal(err)
		}
	}
	source := l.source(t, arn, l.role, func(c *consumers.Config) { c.Consumer = "shardline" })
	r := source.Reader(checkpoint.Shard{ID: "shardId-000000000000"}, checkpoint.TrimHorizon)
	defer r.Close()
	got, _ := collect(t, r, len(want))
	for n := 30; l.Stats().Calls["kinesis.SubscribeToShard"] < 3 || n < 40; n++ {
		if _, _, err := l.Put(arn, "hotel-1", fmt.Append(nil, n)); err != nil {
			t.Fatal(err)
		}
		read, _ := collect(t, r, 1)
		want, got = append(want, fmt.Sprint(n)), append(got, read...)
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("read %v, want %v", got, want)
	}
}

// A call that hangs ends with its context, and a subscription does not.
func TestSubscribeEndsWithItsContext(t *testing.T) {
	l := newLocal(t, localaws.Config{Heartbeat: 20 * time.Millisecond})
	arn := l.stream(t, 1)
	source := l.source(t, arn, l.role, func(c *consumers.Config) { c.Consumer = "shardline" })
	r := source.Reader(checkpoint.Shard{ID: "shardId-000000000000"}, checkpoint.TrimHorizon)
	defer r.Close()
	if err := r.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := l.AddFault(localaws.Fault{Operation: "kinesis.SubscribeToShard", Kind: localaws.Delay, DelayMillis: 60_000, Count: 1}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, checkpoint.ErrLeaseLost)
	defer cancel()
	start := time.Now()
	if _, err := r.Read(ctx); !errors.Is(err, checkpoint.ErrLeaseLost) || time.Since(start) > 10*time.Second {
		t.Errorf("read: %v after %v, want the cause of its end", err, time.Since(start))
	}
	want := l.put(t, arn, 2)
	// The call may have landed: then the service refuses the next one for a while.
	if got, problems := collect(t, r, 2); strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("then read %v, errors %v", got, problems)
	}
}

func TestRefusedRoleIsNamedAndTriedAgain(t *testing.T) {
	l := newLocal(t, localaws.Config{})
	arn := l.stream(t, 1)
	want := l.put(t, arn, 3)
	if err := l.RevokeRole(l.role.ARN); err != nil {
		t.Fatal(err)
	}
	source := l.source(t, arn, l.role)
	if _, err := source.Stream(t.Context()); !errors.Is(err, pipeline.ErrDenied) || !strings.Contains(err.Error(), l.role.ARN) || strings.Contains(err.Error(), "partner-7") {
		t.Errorf("describe: %v, want ErrDenied that names the role, and no external id", err)
	}
	r := source.Reader(checkpoint.Shard{ID: "shardId-000000000000"}, checkpoint.TrimHorizon)
	if _, err := r.Read(t.Context()); !errors.Is(err, pipeline.ErrDenied) || !strings.Contains(err.Error(), l.role.ARN) {
		t.Errorf("read: %v, want ErrDenied that names the role", err)
	}
	// Another source of the same worker is not concerned.
	if err := l.AllowAccount(arn, ownAccount); err != nil {
		t.Fatal(err)
	}
	if got, problems := collect(t, l.source(t, arn, nil).Reader(checkpoint.Shard{ID: "shardId-000000000000"}, checkpoint.TrimHorizon), 3); len(problems) > 0 {
		t.Errorf("the other source read %v with errors %v", got, problems)
	}
	if err := l.GrantRole(l.role.ARN); err != nil {
		t.Fatal(err)
	}
	if got, _ := collect(t, r, 3); strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("after the grant: read %v, want %v", got, want)
	}
}

func TestWrongExternalIDIsDenied(t *testing.T) {
	l := newLocal(t, localaws.Config{})
	role := *l.role
	role.ExternalID = "partner-8"
	if _, err := l.source(t, l.stream(t, 1), &role).Stream(t.Context()); !errors.Is(err, pipeline.ErrDenied) || !strings.Contains(err.Error(), role.ARN) {
		t.Errorf("error %v, want ErrDenied that names the role", err)
	}
}

func TestReadingGoesOnThroughExpiringSessions(t *testing.T) {
	// Sessions of two seconds are refreshed about every second: three of them
	// have to pass without one refused read.
	l := newLocal(t, localaws.Config{SessionLifetime: 2 * time.Second})
	arn := l.stream(t, 1)
	source := l.source(t, arn, l.role)
	r := source.Reader(checkpoint.Shard{ID: "shardId-000000000000"}, checkpoint.TrimHorizon)
	for n := 0; l.Stats().Calls["sts.AssumeRole"] < 4; n++ {
		want := fmt.Sprint(n)
		if _, _, err := l.Put(arn, "hotel-1", []byte(want)); err != nil {
			t.Fatal(err)
		}
		if got, problems := collect(t, r, 1); len(problems) > 0 || len(got) != 1 || got[0] != want {
			t.Fatalf("read %v, errors %v, want %s", got, problems, want)
		}
	}
}

func TestDeletedStreamIsGone(t *testing.T) {
	l := newLocal(t, localaws.Config{})
	arn := l.stream(t, 1)
	source := l.source(t, arn, l.role)
	r := source.Reader(checkpoint.Shard{ID: "shardId-000000000000"}, checkpoint.TrimHorizon)
	if _, err := r.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := l.DeleteStream(arn); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(t.Context()); !errors.Is(err, pipeline.ErrStreamGone) {
		t.Errorf("read: %v, want ErrStreamGone", err)
	}
	if _, err := source.Stream(t.Context()); !errors.Is(err, pipeline.ErrStreamGone) {
		t.Errorf("describe: %v, want ErrStreamGone", err)
	}
}

func TestLargeReadsComeWhole(t *testing.T) {
	// 24 MiB are more than two reads of the service's 10 MB.
	l := newLocal(t, localaws.Config{Unlimited: true})
	arn := l.stream(t, 1)
	for i := range 24 {
		if _, _, err := l.Put(arn, "hotel-1", []byte(strings.Repeat(fmt.Sprint(i%10), 1<<20-7))); err != nil {
			t.Fatal(err)
		}
	}
	got, problems := collect(t, l.source(t, arn, l.role).Reader(checkpoint.Shard{ID: "shardId-000000000000"}, checkpoint.TrimHorizon), 24)
	if len(problems) > 0 || len(got) != 24 {
		t.Fatalf("%d records, errors %v", len(got), problems)
	}
	for i, data := range got {
		if len(data) != 1<<20-7 || data[0] != byte('0'+i%10) {
			t.Errorf("record %d: %d bytes that begin with %c", i, len(data), data[0])
		}
	}
}

func TestProducerOnAFaultyService(t *testing.T) {
	l := newLocal(t, localaws.Config{Unlimited: true})
	arn := l.stream(t, 2)
	for _, f := range []localaws.Fault{
		{Kind: localaws.PartialPut, Probability: 0.2, Seed: 1},
		{Kind: localaws.DropAfter, Skip: 1, Count: 2},
		{Kind: localaws.Throttle, Skip: 3, Count: 2},
	} {
		f.Operation = "kinesis.PutRecords"
		if _, err := l.AddFault(f); err != nil {
			t.Fatal(err)
		}
	}
	acked := map[string]int{}
	p := consumers.NewProducer(consumers.ProducerConfig{Client: kinesis.NewFromConfig(l.admin), StreamARN: arn,
		OnAck: func(m consumers.Message, _ string, _ checkpoint.Position) { acked[m.Key]++ }})
	done := make(chan error, 1)
	go func() { done <- p.Run(t.Context()) }()
	const keys, each = 10, 15
	for i := range each {
		for k := range keys {
			if err := p.Put(t.Context(), consumers.Message{Key: fmt.Sprintf("hotel-%d", k), Data: fmt.Append(nil, i)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), localPatience)
	defer cancel()
	if err := errors.Join(p.Close(ctx), <-done); err != nil {
		t.Fatal(err)
	}
	counts := p.Produced()
	if counts.Acknowledged != keys*each || counts.Unknown == 0 || counts.Retries == 0 {
		t.Errorf("produced %+v: want %d acknowledged, and the faults met", counts, keys*each)
	}
	// What is in the stream: per key 0, 1, 2, … where one may be repeated at once.
	next := map[string]int{}
	source := l.source(t, arn, l.role)
	for _, shard := range []string{"shardId-000000000000", "shardId-000000000001"} {
		r := source.Reader(checkpoint.Shard{ID: shard}, checkpoint.TrimHorizon)
		for {
			if err := r.Wait(ctx); err != nil {
				t.Fatal(err)
			}
			batch, err := r.Read(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, record := range batch.Records {
				switch key := record.PartitionKey; string(record.Data) {
				case fmt.Sprint(next[key]):
					next[key]++
				case fmt.Sprint(next[key] - 1):
				default:
					t.Fatalf("%s: %s follows %d", key, record.Data, next[key]-1)
				}
			}
			if len(batch.Records) == 0 && batch.Lag == 0 {
				break
			}
		}
	}
	for k := range keys {
		if key := fmt.Sprintf("hotel-%d", k); next[key] != each || acked[key] != each {
			t.Errorf("%s: %d in the stream, %d acknowledged, want %d", key, next[key], acked[key], each)
		}
	}
}
