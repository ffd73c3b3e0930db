package consumers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"go.uber.org/zap"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/pipeline"
)

const (
	// silence is how long a subscription may go without an event: the service
	// sends one about every 5 s, records or not.
	silence = time.Minute
	// renewAfter and renewWithin are when a subscription is made anew: before
	// the service ends it, after 5 minutes, and spread over the shards.
	renewAfter  = 4*time.Minute + 15*time.Second
	renewWithin = 30 * time.Second
	// subscribeInterval is how long the service refuses another subscription
	// after one that succeeded, and subscribeSpread what is added at random.
	subscribeInterval = 5 * time.Second
	subscribeSpread   = time.Second
	// callInterval is the service's limit on calls.
	callInterval = time.Second
	// freshFor is how long a continuation may be used: less than any stream
	// keeps its records, so that nothing behind it can have been trimmed.
	freshFor = time.Hour
	// steady is how long a subscription has to last to be nobody else's, and
	// manyTaken how often one is taken away before it is no lease on the move.
	steady    = time.Minute
	manyTaken = 3
)

// fanOut reads one shard by enhanced fan-out, and by polling while its source
// has no consumer. The progress is one for both. It is owned by the goroutine
// that calls it.
//
// Wait waits for an event, and holds it until Read hands it out: nothing is
// reserved while nothing comes, and nobody asks for the event behind it.
type fanOut struct {
	*reader
	consumer *consumer

	subscription Subscription // nil: none
	arn          string       // of the consumer that the last one was made through
	began        time.Time    // when it succeeded
	renew        time.Time    // when it is to be made anew
	earliest     time.Time    // when the next one may be made
	event        *types.SubscribeToShardEvent
	problem      error // the subscription is over; Read has yet to say so

	// next is where the last event handed out says to continue: AFTER it, for
	// whole records came before it. It is no older than fresh, by the wall clock.
	// Empty: begin AT the progress, which shows what was trimmed.
	next  string
	fresh time.Time
	taken int // how often, in a row, somebody else had or took the subscription
}

// Close ends the subscription.
func (r *fanOut) Close() {
	if r.subscription != nil {
		r.subscription.Close()
		r.subscription, r.event, r.problem = nil, nil, nil
	}
}

// Wait returns when there is an event, or something else to do.
func (r *fanOut) Wait(ctx context.Context) error {
	if r.left() {
		return ctx.Err()
	}
	if r.subscription == nil {
		if err := r.consumer.await(ctx); err != nil {
			return err
		}
		return r.reader.Wait(ctx)
	}
	if r.event != nil || r.problem != nil {
		return ctx.Err()
	}
	limit := time.Now().Add(silence)
	if r.renew.Before(limit) {
		limit = r.renew
	}
	waiting, cancel := context.WithDeadline(ctx, limit)
	defer cancel()
	event, err := r.subscription.Next(waiting)
	switch {
	case err == nil:
		r.event = &event
	case ctx.Err() != nil:
		return ctx.Err()
	case waiting.Err() == nil:
		r.problem = err
	case !limit.Equal(r.renew):
		r.problem = &failure{call: "read shard " + r.shard, reason: reasonTimeout, cause: context.DeadlineExceeded,
			text: fmt.Sprintf("no event for %s, although the service sends one every few seconds", silence)}
	default:
		r.Close()
		r.taken = 0
		if time.Since(limit) > callInterval {
			// The process stood still. Before it subscribes it has to learn
			// whether it still has the shard.
			r.apart(callInterval)
		}
	}
	return nil
}

// Read hands out the event that Wait waited for, what is left of the last one
// first, or subscribes. Without a consumer it reads by polling.
func (r *fanOut) Read(ctx context.Context) (pipeline.Batch, error) {
	switch {
	case r.left() || r.end.End || r.ended || r.from == checkpoint.ShardEnd:
		return r.reader.Read(ctx)
	case r.event != nil:
		event := r.event
		r.event = nil
		return r.hand(event), nil
	case r.problem != nil:
		return pipeline.Batch{}, r.over(ctx)
	case r.subscription != nil:
		return pipeline.Batch{Lag: r.lag, Continues: true}, nil
	}
	arn := r.consumer.current()
	if arn == "" {
		return r.poll(ctx)
	}
	if time.Now().Before(r.earliest) {
		r.due = r.earliest
		return pipeline.Batch{Lag: r.lag, Continues: true}, nil
	}
	err := r.subscribe(ctx, arn)
	if err == nil {
		return pipeline.Batch{Lag: r.lag, Continues: true}, nil
	}
	if r.consumer.current() != arn {
		return r.poll(ctx)
	}
	return pipeline.Batch{}, err
}

// poll reads by polling.
func (r *fanOut) poll(ctx context.Context) (pipeline.Batch, error) {
	r.next = ""
	return r.reader.Read(ctx)
}

// hand turns an event into a batch. The next read says that the batch was
// appended: from then on, and not before, a subscription begins behind it.
func (r *fanOut) hand(e *types.SubscribeToShardEvent) pipeline.Batch {
	r.metrics.reads.Inc()
	r.failures = 0
	r.lag = time.Duration(aws.ToInt64(e.MillisBehindLatest)) * time.Millisecond
	r.metrics.lag.Set(r.lag.Seconds())
	next := aws.ToString(e.ContinuationSequenceNumber)
	if next != "" && (len(e.Records) > 0 || r.beyond(next)) {
		r.next, r.fresh = next, r.began.Round(0)
	}
	records, gap := r.take(e.Records)
	if len(records) > 0 {
		r.refused = false
	}
	if next == "" {
		r.Close()
		r.through(e.ChildShards)
	}
	batch := pipeline.Batch{Records: records, Lag: r.lag, Tip: r.lag == 0 && !r.left(), Gap: gap, Continues: !r.anew}
	r.anew = false
	return r.closing(batch)
}

// beyond says whether a sequence number is behind the progress. To continue
// AFTER the progress's own record would skip what of an aggregated record is
// not settled yet.
func (r *fanOut) beyond(next string) bool {
	return !r.from.IsNumber() || checkpoint.Number(next, 0).Compare(checkpoint.Number(r.from.Sequence, 0)) > 0
}

// subscribe makes a subscription that continues where the last event ended.
func (r *fanOut) subscribe(ctx context.Context, arn string) error {
	if ctx.Err() != nil {
		return r.fail(ctx, ctx.Err())
	}
	at := r.start()
	after := r.next != "" && now().Sub(r.fresh) < freshFor
	if after {
		at = types.StartingPosition{Type: types.ShardIteratorTypeAfterSequenceNumber, SequenceNumber: aws.String(r.next)}
	}
	var latest time.Time
	if at.Type == types.ShardIteratorTypeLatest {
		var err error
		if _, latest, err = r.source.Shards(ctx); err != nil {
			return r.fail(ctx, err)
		}
	}
	call, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	r.metrics.reads.Inc()
	r.apart(callInterval)
	subscription, err := r.consumer.client.Subscribe(call, &kinesis.SubscribeToShardInput{
		ConsumerARN: aws.String(arn), ShardId: aws.String(r.shard), StartingPosition: &at}, once)
	if err != nil {
		f := streamFailed("subscribe to shard "+r.shard, err)
		if f.reason == reasonArgument && after {
			r.next = ""
		} else if f.reason == reasonArgument {
			r.refuse(at, f)
		}
		return r.failedSubscription(ctx, arn, f)
	}
	r.consumer.subscribed(arn)
	r.subscription, r.arn, r.began, r.anew = subscription, arn, time.Now(), true
	r.apart(subscribeInterval)
	r.renew = r.began.Add(renewAfter + rand.N(renewWithin))
	r.iterator = ""
	if !after {
		r.next = ""
		r.proving = r.from.IsNumber()
	}
	if !latest.IsZero() {
		// The next subscription must not skip what arrives from here on.
		r.from = checkpoint.At(latest.Add(-latestMargin))
	}
	return nil
}

// over says why the subscription is over, and ends it.
func (r *fanOut) over(ctx context.Context) error {
	problem, lasted := r.problem, time.Since(r.began)
	r.Close()
	if lasted >= steady {
		r.taken = 0
	}
	var f *failure
	switch {
	case errors.Is(problem, io.EOF) && lasted >= renewAfter:
		return nil // its time was over: nobody asked for the next event so long
	case errors.Is(problem, io.EOF):
		f = &failure{call: "read shard " + r.shard, reason: reasonConnection, cause: problem,
			text: fmt.Sprintf("the subscription ended after %s", lasted.Round(time.Millisecond))}
	case !errors.As(problem, &f):
		f = streamFailed("read shard "+r.shard, problem)
	}
	return r.failedSubscription(ctx, r.arn, f)
}

// apart keeps the next subscription at a distance from now.
func (r *fanOut) apart(d time.Duration) {
	if at := time.Now().Add(d + rand.N(subscribeSpread)); at.After(r.earliest) {
		r.earliest = at
	}
}

// failedSubscription finds out what the failure of a subscription means, and
// what to do about it.
func (r *fanOut) failedSubscription(ctx context.Context, arn string, f *failure) error {
	var err error = f
	r.apart(callInterval) // a process that stood still learns first whether it still has the shard
	switch {
	case f.reason == reasonGone:
		if err = r.gone(ctx, f); err == error(f) && f.meaning == nil {
			r.consumer.drop(arn, f) // stream and shard are there: it is the consumer that is not
		}
	case f.reason == reasonDenied && !f.stale():
		r.consumer.drop(arn, f)
	case f.reason == reasonInUse:
		r.apart(subscribeInterval)
		r.contended(f)
	}
	err = r.fail(ctx, err)
	if r.earliest.After(r.due) {
		r.due = r.earliest
	}
	return err
}

// contended counts the times that the subscription was somebody else's. Now and
// then it is another worker's that has just lost the shard's lease, or taken it.
// A consumer has no owner: two applications under one name take each other's
// subscriptions for ever.
func (r *fanOut) contended(f *failure) {
	r.taken++
	if r.taken < manyTaken {
		return
	}
	f.text += fmt.Sprintf(" (somebody else reads as the consumer %q too: give each application its own consumer_name)", r.consumer.name)
	if r.taken == manyTaken {
		r.logger.Error("somebody else subscribes as the same stream consumer, again and again: each application needs its own consumer_name",
			zap.String("consumer", r.consumer.name), zap.Error(f))
	}
}
