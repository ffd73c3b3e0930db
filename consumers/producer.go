package consumers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/shardline/shardline/checkpoint"
)

const (
	// maxBatchRecords is the service's limit of one PutRecords call.
	maxBatchRecords = 500
	// maxBatchBytes is half of the service's limit, so that a batch that has
	// to be repeated costs less; one larger message goes alone.
	maxBatchBytes = 5 << 20
	// maxData and maxKey are the service's limits of one record. Streams that
	// are not set to large records take 1 MiB, and say so.
	maxData = 10 << 20
	maxKey  = 256
	// maxAggregate bounds the messages in one aggregated record, as the Kinesis
	// Producer Library does by default: a message of its own may be larger.
	maxAggregate = 50 << 10
	// maxHeld and maxHeldBytes bound what Put accepts before acknowledgement:
	// some full batches for every sender.
	maxHeld      = 10_000
	maxHeldBytes = 64 << 20
	// senders are the batches that may be outstanding.
	senders = 4
	// linger is how long a batch that is not full waits for more.
	linger = 10 * time.Millisecond
	// putInitial and putLongest bound the back-off of one key.
	putInitial = 100 * time.Millisecond
	putLongest = 5 * time.Second
)

// ErrClosed is the error of Put after Close.
var ErrClosed = errors.New("producer closed")

// Message is what to put. Tag is the caller's, and comes back in OnAck.
type Message struct {
	Key  string // partition key
	Data []byte // not to be changed before the acknowledgement
	Tag  any
}

// ProducerClient is what a Producer calls; *kinesis.Client has it.
type ProducerClient interface {
	PutRecords(ctx context.Context, in *kinesis.PutRecordsInput, options ...func(*kinesis.Options)) (*kinesis.PutRecordsOutput, error)
}

// ProducerConfig says where to put messages.
type ProducerConfig struct {
	Client    ProducerClient
	StreamARN string
	// Credentials are what the client signs with, if they are refreshed: when
	// the service calls them stale, messages wait for others. nil: that is the
	// end.
	Credentials *Credentials
	// Aggregate makes one aggregated record of messages of one key that wait
	// together.
	Aggregate bool
	// OnAck is called for every message that the service acknowledged, with
	// where it is, one call at a time, in order per key. It must not call the
	// Producer.
	OnAck func(m Message, shard string, at checkpoint.Position)
}

// Produced counts what a Producer did.
type Produced struct {
	Acknowledged int64
	Pending      int64 // accepted by Put, not acknowledged
	Retries      int64 // messages that were put again
	// Unknown counts messages of calls whose outcome is unknown (a time-out, a
	// broken connection, an answer of 500). They are put again, so each may be
	// in the stream twice; a call that was given up may even take effect late,
	// behind newer messages of its key. No producer can prevent that.
	Unknown int64
	// LastError is of the last message that has to be put again, nil when none
	// had to.
	LastError error
}

// Producer puts messages into a stream. Messages of one key are in the stream
// in the order of their Put: a message goes only when the one before it is
// acknowledged. Keys go in parallel, so one key alone makes a round trip per
// message, or per aggregate of messages.
//
// An aggregate holds messages of one key, and goes under that key: so it is in
// the right shard whatever is split or merged meanwhile, no reader drops it, and
// what keeps order is the same with and without aggregates.
type Producer struct {
	config ProducerConfig

	wake chan struct{} // holds one: Run has to look again

	ackMu sync.Mutex // one OnAck at a time; taken before mu

	// mu guards the fields below. changed is closed, and made anew, when room
	// was made, nothing is held any more, or err was set.
	mu      sync.Mutex
	lanes   *lanes
	counts  Produced
	closed  bool
	flush   int // Flush calls that wait: batches do not linger
	err     error
	changed chan struct{}
}

// NewProducer wires a producer; Run sends.
func NewProducer(c ProducerConfig) *Producer {
	if c.OnAck == nil {
		c.OnAck = func(Message, string, checkpoint.Position) {}
	}
	return &Producer{config: c, wake: make(chan struct{}, 1), lanes: newLanes(c.Aggregate), changed: make(chan struct{})}
}

// Put accepts a message, and waits while too much is held. The error of a
// message that the service would refuse names the limit; after a failure that
// repeating cannot end it is that of Run.
func (p *Producer) Put(ctx context.Context, m Message) error {
	if n := utf8.RuneCountInString(m.Key); n == 0 || n > maxKey {
		return fmt.Errorf("put message: key of %d characters, allowed are 1 to %d", n, maxKey)
	}
	if !utf8.ValidString(m.Key) {
		return fmt.Errorf("put message: key %q is not UTF-8", m.Key)
	}
	if len(m.Data) > maxData {
		return fmt.Errorf("put message of key %q: %d bytes, allowed are %d", m.Key, len(m.Data), maxData)
	}
	for {
		p.mu.Lock()
		switch {
		case p.err != nil:
			defer p.mu.Unlock()
			return p.err
		case p.closed:
			p.mu.Unlock()
			return ErrClosed
		case p.lanes.held == 0 || p.lanes.held < maxHeld && p.lanes.bytes+size(m) <= maxHeldBytes:
			p.lanes.put(m, time.Now())
			p.mu.Unlock()
			p.wakeRun()
			return nil
		}
		changed := p.changed
		p.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Flush waits until everything put so far is acknowledged; nobody may put
// meanwhile. It needs Run.
func (p *Producer) Flush(ctx context.Context) error {
	p.mu.Lock()
	p.flush++
	p.mu.Unlock()
	p.wakeRun()
	defer func() {
		p.mu.Lock()
		p.flush--
		p.mu.Unlock()
	}()
	for {
		p.mu.Lock()
		held, err, changed := p.lanes.held, p.err, p.changed
		p.mu.Unlock()
		switch {
		case held == 0:
			return nil
		case err != nil:
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%d messages not acknowledged: %w", held, ctx.Err())
		}
	}
}

// Close refuses further messages, waits until all are acknowledged, and lets
// Run return.
func (p *Producer) Close(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	p.announce()
	p.mu.Unlock()
	return p.Flush(ctx)
}

// Produced says what was done so far.
func (p *Producer) Produced() Produced {
	p.mu.Lock()
	defer p.mu.Unlock()
	counts := p.counts
	counts.Pending = int64(p.lanes.held)
	return counts
}
