package consumers

import (
	"context"
	"io"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// FanOutClient is what a Source calls to read by enhanced fan-out, and, while
// that is not to be had, by polling.
type FanOutClient interface {
	Client
	DescribeStreamConsumer(ctx context.Context, in *kinesis.DescribeStreamConsumerInput, options ...func(*kinesis.Options)) (*kinesis.DescribeStreamConsumerOutput, error)
	RegisterStreamConsumer(ctx context.Context, in *kinesis.RegisterStreamConsumerInput, options ...func(*kinesis.Options)) (*kinesis.RegisterStreamConsumerOutput, error)
	// Subscribe is SubscribeToShard. ctx bounds the call alone: what it
	// returns lasts until Close.
	Subscribe(ctx context.Context, in *kinesis.SubscribeToShardInput, options ...func(*kinesis.Options)) (Subscription, error)
}

// Subscription is one SubscribeToShard that succeeded. It is used by one
// goroutine.
type Subscription interface {
	// Next waits for the next event. io.EOF says that the service has ended the
	// subscription, or that the connection broke: the SDK does not tell. After
	// an error of the subscription there are no more events; after ctx's there
	// may be.
	Next(ctx context.Context) (types.SubscribeToShardEvent, error)
	// Close ends the subscription and returns when nothing of it runs any more.
	// It may be called again.
	Close()
}

// service is a Kinesis client with its event streams as Subscriptions.
type service struct{ *kinesis.Client }

var _ FanOutClient = service{}

// Subscribe implements FanOutClient.
func (s service) Subscribe(ctx context.Context, in *kinesis.SubscribeToShardInput, options ...func(*kinesis.Options)) (Subscription, error) {
	// The SDK takes the call's context for the whole life of its connection.
	life, end := context.WithCancelCause(context.WithoutCancel(ctx))
	ended := context.AfterFunc(ctx, func() { end(context.Cause(ctx)) })
	out, err := s.SubscribeToShard(life, in, append(options, ownProtocol)...)
	if err != nil {
		ended()
		end(nil)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, err
	}
	sub := &subscription{stream: out.GetStream(), end: end}
	if !ended() { // ctx ended between the answer and here
		sub.Close()
		return nil, context.Cause(ctx)
	}
	return sub, nil
}

// ownProtocol: the SDK's protocol keeps what it decodes events with, unguarded,
// so that subscriptions through one client must not share it.
func ownProtocol(o *kinesis.Options) { o.Protocol = kinesis.New(kinesis.Options{}).Options().Protocol }

// subscription is an event stream of the SDK, which decodes ahead of Next by
// two events at most.
type subscription struct {
	stream *kinesis.SubscribeToShardEventStream
	end    context.CancelCauseFunc
}

// Next implements Subscription.
func (s *subscription) Next(ctx context.Context) (types.SubscribeToShardEvent, error) {
	for {
		select {
		case event, more := <-s.stream.Events():
			if !more {
				if err := s.stream.Err(); err != nil {
					return types.SubscribeToShardEvent{}, err
				}
				return types.SubscribeToShardEvent{}, io.EOF
			}
			if e, ok := event.(*types.SubscribeToShardEventStreamMemberSubscribeToShardEvent); ok {
				return e.Value, nil
			} // else an event of a later version of the service
		case <-ctx.Done():
			return types.SubscribeToShardEvent{}, ctx.Err()
		}
	}
}

// Close implements Subscription.
func (s *subscription) Close() {
	s.end(nil)
	// The error is of reading, and was Next's; Close has none of its own.
	_ = s.stream.Close()
	for range s.stream.Events() { // until the SDK's goroutine is through
	}
}
