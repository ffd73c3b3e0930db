package consumers_test

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/shardline/shardline/consumers"
)

const (
	fakeHeartbeat = 5 * time.Second
	fakeLifetime  = 5 * time.Minute
)

// fakeFanOut is a stream in memory with one consumer, and the service's rules
// for subscriptions. The consumer's calls may come from any goroutine; all
// else is of one.
type fakeFanOut struct {
	*fakeStream
	t testing.TB

	mu         sync.Mutex // guards the fields below
	generation int        // of the consumer; 0: it is not registered
	creating   int        // so many looks find it CREATING
	refusals   []error    // of RegisterStreamConsumer, in the order they come
	registered []time.Time

	called, granted time.Time         // SubscribeToShard
	current         *fakeSubscription // nil: none
	open            int               // subscriptions that are not closed
	eventFaults     []eventFault      // one for each event, in the order they come
	idle            bool              // continuations go on although there are no records
	emptyFirst      bool              // the first event of a subscription has no records
}

// eventFault happens instead of an event.
type eventFault struct {
	err    error
	silent bool // for ever
}

func newFakeFanOut(t testing.TB, records int) *fakeFanOut {
	return &fakeFanOut{fakeStream: newFakeStream(records), t: t}
}

func (f *fakeFanOut) arn() string {
	return fmt.Sprintf("%s/consumer/fanout:%d", streamARN, f.generation)
}

func (f *fakeFanOut) status() types.ConsumerStatus {
	if f.creating > 0 {
		f.creating--
		return types.ConsumerStatusCreating
	}
	return types.ConsumerStatusActive
}

func (f *fakeFanOut) DescribeStreamConsumer(_ context.Context, in *kinesis.DescribeStreamConsumerInput, _ ...func(*kinesis.Options)) (*kinesis.DescribeStreamConsumerOutput, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if *in.StreamARN != streamARN || *in.ConsumerName != "fanout" {
		f.t.Errorf("described consumer %s of %s", *in.ConsumerName, *in.StreamARN)
	}
	if f.generation == 0 {
		return nil, &types.ResourceNotFoundException{Message: aws.String("Consumer fanout not found.")}
	}
	return &kinesis.DescribeStreamConsumerOutput{ConsumerDescription: &types.ConsumerDescription{
		ConsumerARN: aws.String(f.arn()), ConsumerStatus: f.status()}}, nil
}

func (f *fakeFanOut) RegisterStreamConsumer(_ context.Context, in *kinesis.RegisterStreamConsumerInput, _ ...func(*kinesis.Options)) (*kinesis.RegisterStreamConsumerOutput, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.registered = append(f.registered, time.Now())
	if len(f.refusals) > 0 {
		err := f.refusals[0]
		f.refusals = f.refusals[1:]
		if _, exists := err.(*types.ResourceInUseException); exists {
			f.generation++
		}
		return nil, err
	}
	f.generation++
	f.creating++ // the answer's, always
	return &kinesis.RegisterStreamConsumerOutput{Consumer: &types.Consumer{
		ConsumerARN: aws.String(f.arn()), ConsumerStatus: f.status()}}, nil
}

func (f *fakeFanOut) deregister() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.generation = 0
}

// Subscribe holds the client to the service's pace.
func (f *fakeFanOut) Subscribe(ctx context.Context, in *kinesis.SubscribeToShardInput, _ ...func(*kinesis.Options)) (consumers.Subscription, error) {
	if since := time.Since(f.called); since < time.Second {
		f.t.Errorf("two calls of SubscribeToShard within %v: more than one a second", since)
	}
	f.called = time.Now()
	if f.current != nil && !f.current.closed {
		f.t.Error("a second subscription beside an open one")
	}
	at := in.StartingPosition
	if err := f.fakeStream.called(ctx, call{operation: "SubscribeToShard", kind: at.Type, sequence: aws.ToString(at.SequenceNumber)}); err != nil {
		return nil, err
	}
	f.mu.Lock()
	registered := f.generation > 0 && *in.ConsumerARN == f.arn()
	f.mu.Unlock()
	if !registered {
		return nil, &types.ResourceNotFoundException{Message: aws.String("Consumer " + *in.ConsumerARN + " not found.")}
	}
	if time.Since(f.granted) < 5*time.Second {
		return nil, &types.ResourceInUseException{Message: aws.String("Another active subscription exists for this consumer")}
	}
	sh, err := f.shard(*in.ShardId)
	if err != nil {
		return nil, err
	}
	if f.refusePositions && at.Type == types.ShardIteratorTypeAtSequenceNumber {
		return nil, &types.InvalidArgumentException{Message: aws.String("StartingSequenceNumber is invalid")}
	}
	f.granted = time.Now()
	f.open++
	sub := &fakeSubscription{f: f, shard: sh, began: time.Now(), index: sh.index(at.Type, at.SequenceNumber, at.Timestamp), first: true}
	// What it says to continue from before any record: the position itself.
	sub.next = aws.ToString(at.SequenceNumber)
	if sub.next == "" {
		sub.next = "1"
	}
	f.current = sub
	return sub, nil
}

type fakeSubscription struct {
	f      *fakeFanOut
	shard  *fakeShard
	began  time.Time
	index  int
	next   string
	first  bool
	over   bool
	closed bool
}

func (s *fakeSubscription) Next(ctx context.Context) (types.SubscribeToShardEvent, error) {
	if s.closed || s.over {
		s.f.t.Error("the next event of a subscription that is over")
	}
	event, err := s.await(ctx)
	s.over = err != nil && ctx.Err() == nil
	return event, err
}

// await waits for a heartbeat, unless there are records: they come from the
// goroutine that waits.
func (s *fakeSubscription) await(ctx context.Context) (e types.SubscribeToShardEvent, err error) {
	if faults := s.f.eventFaults; len(faults) > 0 {
		s.f.eventFaults = faults[1:]
		switch {
		case faults[0].silent:
			<-ctx.Done()
			return e, ctx.Err()
		case faults[0].err != nil:
			return e, faults[0].err
		}
	}
	for start := time.Now(); ; {
		if ctx.Err() != nil {
			return e, ctx.Err()
		}
		left := fakeLifetime - time.Since(s.began)
		if left <= 0 {
			return e, io.EOF
		}
		heartbeat := fakeHeartbeat - time.Since(start)
		s.index = max(s.index, s.shard.trimmed)
		empty := s.first && s.f.emptyFirst
		end := s.shard.closed && s.index == len(s.shard.records)
		if s.index < len(s.shard.records) || end || empty || heartbeat <= 0 {
			s.first = false
			return s.event(empty), nil
		}
		select {
		case <-time.After(min(left, heartbeat)):
		case <-ctx.Done():
		}
	}
}

func (s *fakeSubscription) event(empty bool) (e types.SubscribeToShardEvent) {
	last := len(s.shard.records)
	if s.f.limit > 0 {
		last = min(last, s.index+s.f.limit)
	}
	if empty {
		last = s.index
	}
	e.Records = slices.Clone(s.shard.records[s.index:last])
	s.index = last
	if len(e.Records) > 0 {
		s.next = *e.Records[len(e.Records)-1].SequenceNumber
	} else if s.f.idle {
		s.next = strconv.Itoa(100 + 7*last - 1) // just before the next record
	}
	e.ContinuationSequenceNumber = aws.String(s.next)
	e.MillisBehindLatest = aws.Int64(0)
	if last < len(s.shard.records) {
		e.MillisBehindLatest = aws.Int64(5000)
	} else if s.shard.closed {
		e.ContinuationSequenceNumber = nil
		e.ChildShards = s.f.children(s.shard)
	}
	return e
}

func (s *fakeSubscription) Close() {
	if !s.closed {
		s.closed = true
		s.f.open--
	}
}
