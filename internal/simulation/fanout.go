package simulation

import (
	"context"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/shardline/shardline/consumers"
)

const (
	// subscriptionLife is how long the service keeps a subscription at most.
	subscriptionLife = 5 * time.Minute
	// subscribeInterval is how long it refuses another one.
	subscribeInterval = 5 * time.Second
	// heartbeat is how often it sends an event although there is no record.
	heartbeat = 5 * time.Second
	// consumerName is the stream consumer of all processes.
	consumerName = "simulation"
)

var _ consumers.FanOutClient = (*client)(nil)

// subscription is a process's stream of events of one shard.
type subscription struct {
	client *client
	shard  *shard
	place  string
	began  time.Time
	life   time.Duration

	over  bool // ended by the service or by Close; guarded by world.mu
	index int  // of the next record; guarded by world.mu
	last  uint64
	sent  time.Time // when the last event was sent; guarded by world.mu
}

// DescribeStreamConsumer finds the stream consumer.
func (c *client) DescribeStreamConsumer(ctx context.Context, in *kinesis.DescribeStreamConsumerInput, _ ...func(*kinesis.Options)) (*kinesis.DescribeStreamConsumerOutput, error) {
	var out *kinesis.DescribeStreamConsumerOutput
	err := c.call(ctx, "DescribeStreamConsumer", func() error {
		at := c.stream.consumer
		if at.IsZero() {
			return &types.ResourceNotFoundException{Message: aws.String("Consumer not found")}
		}
		out = &kinesis.DescribeStreamConsumerOutput{ConsumerDescription: &types.ConsumerDescription{
			ConsumerARN: aws.String(c.consumerARN()), ConsumerStatus: consumerStatus(at)}}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// RegisterStreamConsumer makes the stream consumer, unless others have taken
// the stream's twenty.
func (c *client) RegisterStreamConsumer(ctx context.Context, in *kinesis.RegisterStreamConsumerInput, _ ...func(*kinesis.Options)) (*kinesis.RegisterStreamConsumerOutput, error) {
	var out *kinesis.RegisterStreamConsumerOutput
	err := c.call(ctx, "RegisterStreamConsumer", func() error {
		switch {
		case !c.stream.consumer.IsZero():
			return &types.ResourceInUseException{Message: aws.String("Consumer exists")}
		case c.process.world.fault("register "+c.process.id, "fan-out: no consumer to be had", 0.2):
			return &types.LimitExceededException{Message: aws.String("20 consumers are registered")}
		}
		c.stream.consumer = time.Now()
		out = &kinesis.RegisterStreamConsumerOutput{Consumer: &types.Consumer{
			ConsumerARN: aws.String(c.consumerARN()), ConsumerStatus: types.ConsumerStatusCreating}}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (c *client) consumerARN() string { return c.stream.arn + "/consumer/" + consumerName + ":1" }

func consumerStatus(made time.Time) types.ConsumerStatus {
	if time.Since(made) < time.Second {
		return types.ConsumerStatusCreating
	}
	return types.ConsumerStatusActive
}

// Subscribe begins a subscription. It takes the shard from one that is older.
func (c *client) Subscribe(ctx context.Context, in *kinesis.SubscribeToShardInput, _ ...func(*kinesis.Options)) (consumers.Subscription, error) {
	c.process.world.subscribes(c.process, c.stream, aws.ToString(in.ShardId))
	var s *subscription
	err := c.call(ctx, "SubscribeToShard", func() error {
		w := c.process.world
		h, err := c.shard(aws.ToString(in.ShardId))
		if err != nil {
			return err
		}
		at := in.StartingPosition
		index, err := c.index(h, at.Type, aws.ToString(at.SequenceNumber), at.Timestamp)
		if err != nil {
			return err
		}
		if old := h.subscription; old != nil && time.Since(old.began) < subscribeInterval {
			w.happened("fan-out: subscription in use")
			return &types.ResourceInUseException{Message: aws.String("Another active subscription exists for this consumer")}
		} else if old != nil && !old.over {
			w.happened("fan-out: subscription taken over")
			old.over = true
		}
		now := time.Now()
		s = &subscription{client: c, shard: h, place: "events " + c.process.id + " " + c.stream.source + h.id, began: now, sent: now, index: index, last: h.start,
			life: subscriptionLife}
		if w.dice.chance(s.place, 0.3) && !w.calm.Load() {
			s.life = w.dice.span(s.place, 0, subscriptionLife)
		}
		h.subscription = s
		w.happened("fan-out: subscription")
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Next waits for the next event.
func (s *subscription) Next(ctx context.Context) (types.SubscribeToShardEvent, error) {
	p, w := s.client.process, s.client.process.world
	for {
		frozen, err := p.pass()
		if err != nil {
			return types.SubscribeToShardEvent{}, err
		}
		if frozen && w.dice.chance(s.place, 0.5) {
			return types.SubscribeToShardEvent{}, errConnection
		}
		p.reach("event", false)
		event, ready, err := s.next()
		if err != nil {
			return types.SubscribeToShardEvent{}, err
		}
		if ready {
			p.reach("event", true)
			_, err := p.pass()
			return event, err
		}
		if err := p.sleep(ctx, 100*time.Millisecond); err != nil {
			return types.SubscribeToShardEvent{}, err
		}
	}
}

// next is the event that the service has now, if it has one.
func (s *subscription) next() (event types.SubscribeToShardEvent, ready bool, err error) {
	w, h := s.client.process.world, s.shard
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case s.over:
		return event, false, io.EOF
	case time.Since(s.began) > s.life:
		w.happened("fan-out: the service ends a subscription")
		s.over = true
		return event, false, io.EOF
	case h.gone:
		s.over = true
		return event, false, &types.ResourceNotFoundException{Message: aws.String("Shard " + h.id + " does not exist")}
	}
	if err := s.client.allowed(); err != nil {
		s.over = true
		return event, false, err
	}
	beat := time.Since(s.sent) >= heartbeat
	if s.index >= len(h.records) && h.closed.IsZero() && !beat {
		return event, false, nil
	}
	if w.fault(s.place, "fan-out: subscription breaks", 0.02) {
		s.over = true
		return event, false, errConnection
	}
	s.sent = time.Now()
	out := &kinesis.GetRecordsOutput{}
	s.index = s.client.records(out, h, max(s.index, h.trimmed), s.place)
	event.Records, event.MillisBehindLatest, event.ChildShards = out.Records, out.MillisBehindLatest, out.ChildShards
	if len(out.Records) > 0 {
		s.last = h.records[s.index-1].outer
	}
	if out.NextShardIterator == nil {
		s.over = true
		return event, true, nil
	}
	event.ContinuationSequenceNumber = aws.String(sequence(s.last))
	return event, true, nil
}

// Close ends the subscription.
func (s *subscription) Close() {
	w := s.client.process.world
	w.mu.Lock()
	defer w.mu.Unlock()
	s.over = true
}

// subscribes checks that a process that subscribes has the shard: one that has
// lost it would take the subscription from the new owner.
func (w *world) subscribes(p *process, s *stream, shard string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := s.byID[shard]
	if h == nil || p.crashed() || p.suspended() {
		return
	}
	key := w.leaseKey(h)
	if until := p.renewed[key] + w.check.failover; p.view() >= until {
		w.check.broken("P3", "%s subscribes to %s %s after its tenure has ended", p.id, h.name(), p.view()-until)
	}
}
