package consumers

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"go.uber.org/zap"
)

const (
	// activeTries bounds the waiting for a consumer to become ACTIVE, a second
	// or so between two looks; the service takes some seconds.
	activeTries = 12
	// registerInitial and registerLongest bound the back-off between attempts
	// to get a consumer: the service allows five registrations a second and
	// stream, and polling goes on meanwhile.
	registerInitial = time.Second
	registerLongest = 5 * time.Minute
	// decisionPatience is how long a reader waits to learn whether there is a
	// consumer before it polls.
	decisionPatience = 15 * time.Second
)

// consumer is the stream consumer of a source that is read by enhanced
// fan-out. Run keeps it registered; readers subscribe through it, and poll
// while there is none.
type consumer struct {
	source *Source
	name   string
	client FanOutClient
	logger *zap.Logger

	decided chan struct{} // closed when it is known for the first time whether there is one
	dropped chan struct{} // holds one: run has to look again

	mu       sync.Mutex // guards the fields below
	arn      string     // empty: there is none
	failures int        // since a subscription succeeded
	said     bool       // that it is read by polling, or by enhanced fan-out again
	known    bool       // decided is closed
	proven   bool       // a subscription succeeded since arn was set
}

func newConsumer(s *Source, name string, client FanOutClient) *consumer {
	s.metrics.fanOut.WithLabelValues(s.name).Set(0)
	return &consumer{source: s, name: name, client: client, logger: s.logger.With(zap.String("consumer", name)),
		decided: make(chan struct{}), dropped: make(chan struct{}, 1)}
}

// run gets the consumer, and gets it again when it is dropped, until ctx ends.
func (c *consumer) run(ctx context.Context) {
	for {
		arn, err := c.acquire(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			c.have(arn)
			select {
			case <-c.dropped:
			case <-ctx.Done():
				return
			}
		} else {
			c.lack(err)
		}
		if pause(ctx, c.backoff()) != nil {
			return
		}
	}
}

// acquire finds the consumer, or registers it, and waits until it is active.
func (c *consumer) acquire(ctx context.Context) (string, error) {
	state := types.ConsumerStatus("unknown")
	for try := range activeTries {
		if err := pause(ctx, min(time.Second, time.Duration(try)*200*time.Millisecond)); err != nil {
			return "", err
		}
		arn, status, err := c.describe(ctx)
		if f := failed("", err); f != nil && f.reason == reasonGone {
			arn, status, err = c.register(ctx)
			if f := failed("", err); f != nil && f.reason == reasonInUse {
				continue // another worker was faster
			}
		}
		if err != nil {
			return "", err
		}
		if status == types.ConsumerStatusActive && arn != "" {
			return arn, nil
		}
		state = status
	}
	return "", fmt.Errorf("consumer %s of %s is still %s", c.name, c.source.arn, state)
}

func (c *consumer) describe(ctx context.Context) (string, types.ConsumerStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	out, err := c.client.DescribeStreamConsumer(ctx, &kinesis.DescribeStreamConsumerInput{
		StreamARN: aws.String(c.source.arn), ConsumerName: aws.String(c.name)})
	if err != nil {
		return "", "", streamFailed("describe consumer "+c.name+" of "+c.source.arn, err)
	}
	if d := out.ConsumerDescription; d != nil {
		return aws.ToString(d.ConsumerARN), d.ConsumerStatus, nil
	}
	return "", "", fmt.Errorf("describe consumer %s of %s: the answer is empty", c.name, c.source.arn)
}

func (c *consumer) register(ctx context.Context) (string, types.ConsumerStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	out, err := c.client.RegisterStreamConsumer(ctx, &kinesis.RegisterStreamConsumerInput{
		StreamARN: aws.String(c.source.arn), ConsumerName: aws.String(c.name)}, once)
	if err != nil {
		f := streamFailed("register consumer "+c.name+" with "+c.source.arn, err)
		if f.code == "LimitExceeded" {
			f.text += " (a stream has 20 consumers at most: deregister one that nobody uses, or read by polling)"
		}
		return "", "", f
	}
	if out.Consumer == nil {
		return "", "", fmt.Errorf("register consumer %s with %s: the answer is empty", c.name, c.source.arn)
	}
	c.logger.Info("stream consumer registered", zap.String("consumer_arn", aws.ToString(out.Consumer.ConsumerARN)))
	return aws.ToString(out.Consumer.ConsumerARN), out.Consumer.ConsumerStatus, nil
}

// await returns when it is known whether there is a consumer, or has not been
// known for long.
func (c *consumer) await(ctx context.Context) error {
	select {
	case <-c.decided:
		return ctx.Err()
	default:
	}
	t := time.NewTimer(decisionPatience)
	defer t.Stop()
	select {
	case <-c.decided:
	case <-t.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// current is the consumer's ARN; empty: there is none.
func (c *consumer) current() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.arn
}

func (c *consumer) have(arn string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.arn, c.proven = arn, false
	c.decide(1)
}

// lack says, once, that the source is read by polling.
func (c *consumer) lack(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.arn = ""
	c.failures++
	if !c.said {
		c.said = true
		c.logger.Warn("no enhanced fan-out: reading by polling, and trying again now and then", zap.Error(err))
	}
	c.decide(0)
}

// decide says whether there is a consumer. c.mu is held.
func (c *consumer) decide(value float64) {
	c.source.metrics.fanOut.WithLabelValues(c.source.name).Set(value)
	if !c.known {
		c.known = true
		close(c.decided)
	}
}

// drop gives up the consumer arn, which cannot be subscribed through.
func (c *consumer) drop(arn string, err error) {
	if c.current() != arn {
		return // somebody did already
	}
	c.lack(err)
	select {
	case c.dropped <- struct{}{}:
	default: // run has yet to take the last one
	}
}

// subscribed says that a subscription through arn succeeded.
func (c *consumer) subscribed(arn string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.arn != arn || c.proven {
		return
	}
	c.proven, c.failures, c.said = true, 0, false
	c.logger.Info("reading by enhanced fan-out", zap.String("consumer_arn", arn))
}

func (c *consumer) backoff() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return backoff(max(1, c.failures), registerInitial, registerLongest)
}
