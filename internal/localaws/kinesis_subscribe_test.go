package localaws_test

import (
	"context"
	"errors"
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

const firstShard = "shardId-000000000000"

// register registers a consumer of a stream of account A and returns its ARN.
func (w *world) register(stream, name string) string {
	w.t.Helper()
	out, err := w.kinesis(w.a).RegisterStreamConsumer(background, &kinesis.RegisterStreamConsumerInput{StreamARN: &stream, ConsumerName: &name})
	w.must(err)
	return *out.Consumer.ConsumerARN
}

// subscription is an event stream that ends with the test.
type subscription struct {
	t *testing.T
	*kinesis.SubscribeToShardEventStream
}

func (w *world) trySubscribe(t *testing.T, k *kinesis.Client, consumer string, at types.StartingPosition) (*subscription, error) {
	ctx, cancel := context.WithTimeout(background, 30*time.Second)
	t.Cleanup(cancel)
	out, err := k.SubscribeToShard(ctx, &kinesis.SubscribeToShardInput{ConsumerARN: &consumer, ShardId: aws.String(firstShard), StartingPosition: &at})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { out.GetStream().Close() })
	return &subscription{t, out.GetStream()}, nil
}

func (w *world) subscribe(t *testing.T, consumer string, at types.StartingPosition) *subscription {
	t.Helper()
	sub, err := w.trySubscribe(t, w.kinesis(w.a), consumer, at)
	if err != nil {
		t.Fatal(err)
	}
	return sub
}

// next returns the next event; nil when there is none any more.
func (s *subscription) next() *types.SubscribeToShardEvent {
	event, ok := (<-s.Events()).(*types.SubscribeToShardEventStreamMemberSubscribeToShardEvent)
	if !ok {
		return nil
	}
	return &event.Value
}

// records reads until n came, and returns them with the last event.
func (s *subscription) records(n int) (records []types.Record, last *types.SubscribeToShardEvent) {
	s.t.Helper()
	for len(records) < n {
		event := s.next()
		if event == nil {
			s.t.Fatalf("%d records of %d, then %v", len(records), n, s.Err())
		}
		records, last = append(records, event.Records...), event
	}
	return records, last
}

func (w *world) putAll(stream string, data ...string) (sequences []string) {
	w.t.Helper()
	for _, d := range data {
		_, sequence, err := w.Put(stream, "k", []byte(d))
		w.must(err)
		sequences = append(sequences, sequence)
	}
	return sequences
}

func data(records []types.Record) string {
	var all []string
	for _, r := range records {
		all = append(all, string(r.Data))
	}
	return strings.Join(all, " ")
}

var fromHorizon = types.StartingPosition{Type: types.ShardIteratorTypeTrimHorizon}

func TestSubscribeBeginsAnywhere(t *testing.T) {
	w := newWorld(t, localaws.Config{Unlimited: true, Heartbeat: 20 * time.Millisecond})
	arn := w.stream("hotels", 1)
	sequences := w.putAll(arn, "a", "b", "c")
	for i, test := range []struct {
		at   types.StartingPosition
		want string // of what was there, and then d
	}{
		{fromHorizon, "a b c d"},
		{types.StartingPosition{Type: types.ShardIteratorTypeAtSequenceNumber, SequenceNumber: &sequences[1]}, "b c d"},
		{types.StartingPosition{Type: types.ShardIteratorTypeAfterSequenceNumber, SequenceNumber: &sequences[1]}, "c d"},
		{types.StartingPosition{Type: types.ShardIteratorTypeAtTimestamp, Timestamp: aws.Time(time.Now().Add(-time.Minute))}, "a b c d"},
		{types.StartingPosition{Type: types.ShardIteratorTypeLatest}, "d"},
	} {
		arn := arn
		if i > 0 { // d is there already
			arn = w.stream(fmt.Sprint("hotels-", i), 1)
			again := w.putAll(arn, "a", "b", "c")
			if test.at.SequenceNumber != nil {
				test.at.SequenceNumber = &again[1]
			}
		}
		sub := w.subscribe(t, w.register(arn, "reader"), test.at)
		first := sub.next()
		if first == nil || first.ContinuationSequenceNumber == nil || first.MillisBehindLatest == nil {
			t.Fatalf("%s: first event %+v, %v", test.at.Type, first, sub.Err())
		}
		w.putAll(arn, "d")
		got := first.Records
		more, _ := sub.records(len(strings.Fields(test.want)) - len(got))
		if got := data(append(got, more...)); got != test.want {
			t.Errorf("%s: %q, want %q", test.at.Type, got, test.want)
		}
	}
	for _, bad := range []types.StartingPosition{
		{Type: types.ShardIteratorTypeAtSequenceNumber, SequenceNumber: aws.String("12345")},
		{Type: types.ShardIteratorTypeAtTimestamp},
	} {
		arn := w.stream("refused-"+string(bad.Type)[:5], 1)
		_, err := w.trySubscribe(t, w.kinesis(w.a), w.register(arn, "reader"), bad)
		wantType[*types.InvalidArgumentException](t, err)
	}
}

// Every continuation leads to exactly what follows, also one without records.
func TestSubscribeContinues(t *testing.T) {
	clock := newClock()
	w := newWorld(t, localaws.Config{Now: clock.now, Heartbeat: 10 * time.Millisecond})
	arn := w.stream("hotels", 1)
	consumer := w.register(arn, "reader")
	at := fromHorizon
	for i := range 4 {
		sub := w.subscribe(t, consumer, at)
		event := sub.next()
		if i%2 == 0 && len(event.Records) != 0 {
			t.Errorf("round %d: %q, want nothing", i, data(event.Records))
		}
		if i%2 == 1 {
			if got, want := data(event.Records), fmt.Sprint(i-1); got != want {
				t.Errorf("round %d: %q, want %q", i, got, want)
			}
		}
		at = types.StartingPosition{Type: types.ShardIteratorTypeAfterSequenceNumber, SequenceNumber: event.ContinuationSequenceNumber}
		sub.Close()
		if i%2 == 0 {
			w.putAll(arn, fmt.Sprint(i))
		}
		clock.advance(5 * time.Second)
	}
}

func TestSubscriptionsOfOneConsumer(t *testing.T) {
	clock := newClock()
	w := newWorld(t, localaws.Config{Now: clock.now, Heartbeat: 10 * time.Millisecond})
	arn := w.stream("hotels", 1)
	consumer := w.register(arn, "reader")
	k := w.kinesis(w.a)
	first := w.subscribe(t, consumer, fromHorizon)
	_, err := w.trySubscribe(t, k, consumer, fromHorizon)
	wantCode(t, err, "LimitExceededException") // within the same second
	clock.advance(4900 * time.Millisecond)
	_, err = w.trySubscribe(t, k, consumer, fromHorizon)
	wantType[*types.ResourceInUseException](t, err)
	other := w.subscribe(t, w.register(arn, "other"), fromHorizon) // no concern of the first one's
	clock.advance(1100 * time.Millisecond)
	second := w.subscribe(t, consumer, fromHorizon)
	for first.next() != nil {
	}
	wantType[*types.ResourceInUseException](t, first.Err())
	w.putAll(arn, "x")
	for _, sub := range []*subscription{second, other} {
		if got, _ := sub.records(1); data(got) != "x" {
			t.Errorf("got %q", data(got))
		}
	}
	// It is over after five minutes, in order.
	clock.advance(5 * time.Minute)
	for second.next() != nil {
	}
	if err := second.Err(); err != nil {
		t.Errorf("ended with %v, want none", err)
	}
	if n := w.Stats().Subscriptions[arn+" "+firstShard]; n != 5 {
		t.Errorf("%d subscriptions counted, want 5", n)
	}
}

func TestSubscriptionEndsWithItsShard(t *testing.T) {
	w := newWorld(t, localaws.Config{Heartbeat: 10 * time.Millisecond})
	arn := w.stream("hotels", 1)
	w.putAll(arn, "a", "b")
	sub := w.subscribe(t, w.register(arn, "reader"), fromHorizon)
	records, last := sub.records(2)
	if last.ContinuationSequenceNumber == nil || len(last.ChildShards) > 0 {
		t.Errorf("an open shard: %+v", last)
	}
	w.must(w.SplitShard(arn, firstShard))
	for event := sub.next(); event != nil; event = sub.next() {
		last = event
		records = append(records, event.Records...)
	}
	if data(records) != "a b" || last.ContinuationSequenceNumber != nil || len(last.ChildShards) != 2 || sub.Err() != nil {
		t.Errorf("records %q, last event %+v, %v", data(records), last, sub.Err())
	}
	for _, child := range last.ChildShards {
		if !slices.Equal(child.ParentShards, []string{firstShard}) || child.HashKeyRange == nil {
			t.Errorf("child %+v", child)
		}
	}
}

func TestSubscriptionIsCut(t *testing.T) {
	for name, test := range map[string]struct {
		cut  func(w *world, stream, consumer, role string)
		want string // code; empty: an end like any other
	}{
		"stream deleted": {func(w *world, stream, _, _ string) { w.must(w.DeleteStream(stream)) }, "ResourceNotFoundException"},
		"role revoked":   {func(w *world, _, _, role string) { w.must(w.RevokeRole(role)) }, "AccessDeniedException"},
		"connection lost": {func(w *world, _, _, _ string) {
			w.fault(localaws.Fault{Operation: "kinesis.SubscribeToShard", Kind: localaws.DropEvent})
		}, ""},
		"internal error": {func(w *world, _, _, _ string) {
			w.fault(localaws.Fault{Operation: "kinesis.SubscribeToShard", Kind: localaws.ErrorEvent, Shard: firstShard})
		}, "InternalFailureException"},
		"consumer deregistered": {func(w *world, _, consumer, _ string) {
			_, err := w.kinesis(w.a).DeregisterStreamConsumer(background, &kinesis.DeregisterStreamConsumerInput{ConsumerARN: &consumer})
			w.must(err)
		}, "ResourceNotFoundException"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, localaws.Config{Heartbeat: 10 * time.Millisecond})
			arn := w.stream("hotels", 1)
			consumer := w.register(arn, "reader")
			role := w.role(localaws.Role{Name: "reader", Trust: localaws.Trust{Principals: []string{accountB}}})
			sub, err := w.trySubscribe(t, w.kinesis(w.assume(w.b, role)), consumer, fromHorizon)
			if err != nil {
				t.Fatal(err)
			}
			if sub.next() == nil {
				t.Fatalf("no event: %v", sub.Err())
			}
			test.cut(w, arn, consumer, role)
			for sub.next() != nil {
			}
			if err := sub.Err(); test.want != "" {
				wantCode(t, err, test.want)
			} else if err != nil { // the SDK takes a cut connection for an end
				t.Errorf("ended with %v", err)
			}
		})
	}
}

func TestConsumers(t *testing.T) {
	clock := newClock()
	w := newWorld(t, localaws.Config{Now: clock.now, StatusDelay: time.Second})
	arn := w.stream("hotels", 1)
	clock.advance(time.Second)
	k := w.kinesis(w.a)
	consumer := w.register(arn, "reader")
	if want := fmt.Sprintf("%s/consumer/reader:%d", arn, clock.now().Unix()); consumer != want {
		t.Errorf("ARN %s, want %s", consumer, want)
	}
	describe := func(in kinesis.DescribeStreamConsumerInput) (*types.ConsumerDescription, error) {
		out, err := k.DescribeStreamConsumer(background, &in)
		if err != nil {
			return nil, err
		}
		return out.ConsumerDescription, nil
	}
	byName := kinesis.DescribeStreamConsumerInput{StreamARN: &arn, ConsumerName: aws.String("reader")}
	d, err := describe(byName)
	w.must(err)
	if d.ConsumerStatus != types.ConsumerStatusCreating || *d.ConsumerARN != consumer || *d.StreamARN != arn {
		t.Errorf("consumer %+v", d)
	}
	_, err = w.trySubscribe(t, k, consumer, fromHorizon)
	wantType[*types.ResourceInUseException](t, err)
	clock.advance(time.Second)
	d, err = describe(kinesis.DescribeStreamConsumerInput{ConsumerARN: &consumer})
	w.must(err)
	if d.ConsumerStatus != types.ConsumerStatusActive {
		t.Errorf("consumer %+v", d)
	}
	_, err = k.RegisterStreamConsumer(background, &kinesis.RegisterStreamConsumerInput{StreamARN: &arn, ConsumerName: aws.String("reader")})
	wantType[*types.ResourceInUseException](t, err)
	_, err = describe(kinesis.DescribeStreamConsumerInput{StreamARN: &arn, ConsumerName: aws.String("nobody")})
	wantType[*types.ResourceNotFoundException](t, err)
	_, err = describe(kinesis.DescribeStreamConsumerInput{ConsumerARN: aws.String(arn + "/consumer/reader:1")})
	wantType[*types.ResourceNotFoundException](t, err)
	for i := range 19 {
		clock.advance(time.Second)
		w.register(arn, fmt.Sprint("reader-", i))
	}
	clock.advance(time.Second)
	_, err = k.RegisterStreamConsumer(background, &kinesis.RegisterStreamConsumerInput{StreamARN: &arn, ConsumerName: aws.String("one-more")})
	wantType[*types.LimitExceededException](t, err)
	list, err := k.ListStreamConsumers(background, &kinesis.ListStreamConsumersInput{StreamARN: &arn})
	w.must(err)
	summary, err := k.DescribeStreamSummary(background, &kinesis.DescribeStreamSummaryInput{StreamARN: &arn})
	w.must(err)
	if n := *summary.StreamDescriptionSummary.ConsumerCount; len(list.Consumers) != 20 || n != 20 || *list.Consumers[0].ConsumerName != "reader" {
		t.Errorf("%d consumers listed, %d counted", len(list.Consumers), n)
	}
	_, err = k.DeregisterStreamConsumer(background, &kinesis.DeregisterStreamConsumerInput{StreamARN: &arn, ConsumerName: aws.String("reader")})
	w.must(err)
	if again := w.register(arn, "reader"); again == consumer {
		t.Errorf("registered again under the same ARN %s", again)
	}
	_, err = k.DeleteStream(background, &kinesis.DeleteStreamInput{StreamARN: &arn})
	wantType[*types.ResourceInUseException](t, err)
	_, err = k.DeleteStream(background, &kinesis.DeleteStreamInput{StreamARN: &arn, EnforceConsumerDeletion: aws.Bool(true)})
	w.must(err)
	quick := w.stream("burst", 1)
	clock.advance(time.Second)
	for i := range 5 {
		w.register(quick, fmt.Sprint("x", i))
	}
	_, err = k.RegisterStreamConsumer(background, &kinesis.RegisterStreamConsumerInput{StreamARN: &quick, ConsumerName: aws.String("x5")})
	wantType[*types.LimitExceededException](t, err) // six in a second
}

func TestConsumerOfAnotherAccount(t *testing.T) {
	w := newWorld(t, localaws.Config{Heartbeat: 10 * time.Millisecond})
	arn := w.stream("hotels", 1)
	consumer := w.register(arn, "reader")
	k := w.kinesis(w.b)
	_, err := w.trySubscribe(t, k, consumer, fromHorizon)
	wantType[*types.AccessDeniedException](t, err)
	w.must(w.AllowAccount(arn, accountB)) // the stream's policy does not do
	_, err = w.trySubscribe(t, k, consumer, fromHorizon)
	wantType[*types.AccessDeniedException](t, err)
	_, err = k.RegisterStreamConsumer(background, &kinesis.RegisterStreamConsumerInput{StreamARN: &arn, ConsumerName: aws.String("own")})
	wantType[*types.AccessDeniedException](t, err)
	w.must(w.AllowAccount(consumer, accountB))
	_, err = k.DescribeStreamConsumer(background, &kinesis.DescribeStreamConsumerInput{StreamARN: &arn, ConsumerName: aws.String("reader")})
	w.must(err)
	sub, err := w.trySubscribe(t, k, consumer, fromHorizon)
	if err != nil || sub.next() == nil {
		t.Errorf("subscribed: %v", err)
	}
	if err := w.AllowAccount(arn+"/consumer/reader:1", accountB); err == nil {
		t.Error("a consumer that is not there is allowed")
	}

	narrow := w.role(localaws.Role{Name: "narrow", Trust: localaws.Trust{Principals: []string{accountB}}, Permissions: []localaws.Permission{
		{Actions: []string{"kinesis:SubscribeToShard"}, Resources: []string{arn + "/consumer/other:*"}}}})
	_, err = w.trySubscribe(t, w.kinesis(w.assume(w.b, narrow)), consumer, fromHorizon)
	wantType[*types.AccessDeniedException](t, err)
}

// A consumer gets 2 MB a second from a shard, and polling its own 2 MB beside.
func TestSubscriptionsHaveTheirOwnBytes(t *testing.T) {
	w := newWorld(t, localaws.Config{Heartbeat: 10 * time.Millisecond})
	arn := w.stream("hotels", 1)
	k := w.kinesis(w.a)
	megabyte := strings.Repeat("x", 1<<20-1)
	w.putAll(arn, megabyte, megabyte, megabyte, megabyte)
	sub := w.subscribe(t, w.register(arn, "reader"), fromHorizon)
	start := time.Now()
	records, _ := sub.records(4)
	// Two come at once, the third when the bucket is not empty, the fourth half
	// a second behind it.
	if took := time.Since(start); len(records) != 4 || took < 400*time.Millisecond {
		t.Errorf("%d MB came within %v", len(records), took)
	}
	it := w.iterate(k, arn, firstShard, types.ShardIteratorTypeTrimHorizon, "")
	out, err := k.GetRecords(background, &kinesis.GetRecordsInput{ShardIterator: it})
	w.must(err)
	if len(out.Records) != 4 {
		t.Errorf("%d records by polling, want 4", len(out.Records))
	}
}

func TestServeEndsSubscriptions(t *testing.T) {
	w := newWorld(t, localaws.Config{})
	w.must(w.Listen("127.0.0.1:0"))
	ctx, cancel := context.WithCancel(background)
	done := make(chan error, 1)
	go func() { done <- w.Serve(ctx) }()
	w.endpoint = w.Endpoint()
	arn := w.stream("hotels", 1)
	sub := w.subscribe(t, w.register(arn, "reader"), fromHorizon)
	sub.next()
	cancel()
	start := time.Now()
	if err := <-done; err != nil || time.Since(start) > 1500*time.Millisecond {
		t.Errorf("served: %v, after %v", err, time.Since(start))
	}
	if sub.next() != nil || errors.Is(sub.Err(), context.DeadlineExceeded) {
		t.Errorf("after the end: %v", sub.Err())
	}
}
