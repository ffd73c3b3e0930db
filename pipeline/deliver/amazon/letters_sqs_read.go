package amazon

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/shardline/shardline/pipeline/deliver"
	"github.com/shardline/shardline/pipeline/redrive"
)

const (
	// heldFor is how long a message is hidden from others, renewed thrice within
	// it while it is held here: after a crash it comes back as soon.
	heldFor = 5 * time.Minute
	// readWait is how long a read waits for messages, in seconds. Above 0 it is a
	// long poll, which asks all of the queue's servers: an empty answer is the end.
	readWait = 1
	// scanSkew is more than the service's clock and this one may differ by.
	scanSkew = time.Minute
	// maxHeldMessages is below the service's limit of messages in flight.
	maxHeldMessages = 100_000
	// maxHeldBytes bounds the letters that are held in memory.
	maxHeldBytes = 256 << 20
)

// held is the messages that are hidden from others.
type held struct {
	renewing sync.WaitGroup     // the goroutine that Scan starts; Release waits for it
	stop     context.CancelFunc // nil: Scan has not started it
	progress bool               // something was deleted since the last Scan

	mu       sync.Mutex // guards what is below
	messages map[*message]bool
	bytes    int
}

// message is one message that is held.
type message struct {
	receipt string
	size    int
	lost    error // it is no longer hidden: somebody else may have it
}

// Partial implements redrive.Queue: a FIFO queue gives no more of a group before
// what it gave is deleted.
func (s *SQSLetters) Partial() bool { return s.fifo }

// Scan implements redrive.Queue. What it finds stays hidden from others until
// it is done, or Release. Messages that are sent meanwhile do not keep it.
func (s *SQSLetters) Scan(ctx context.Context, _ redrive.Filter, found func(redrive.Found) error) error {
	s.hold(ctx)
	last := time.Now().Add(scanSkew)
	any, wait := false, int32(readWait)
	if s.held.progress { // it goes on where it stopped: only in the end does it have to be sure
		s.held.progress, wait = false, 0
	}
	for {
		out, err := s.client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: aws.String(s.queue), MaxNumberOfMessages: maxEntries,
			WaitTimeSeconds: wait, VisibilityTimeout: int32(heldFor / time.Second), MessageAttributeNames: []string{letterMark},
			MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameSentTimestamp}})
		if err != nil {
			return fmt.Errorf("receive from %s: %s", s.queue, failed(err).Detail)
		}
		if len(out.Messages) == 0 {
			if any || wait > 0 {
				return nil
			}
			wait = readWait
			continue
		}
		any = true
		late := true
		for _, m := range out.Messages {
			sent, err := strconv.ParseInt(m.Attributes[string(types.MessageSystemAttributeNameSentTimestamp)], 10, 64)
			late = late && err == nil && time.UnixMilli(sent).After(last)
			f, err := s.found(m)
			if err != nil {
				return err
			}
			if err := found(f); err != nil {
				return err
			}
		}
		if late {
			return nil
		}
	}
}

func (s *SQSLetters) found(received types.Message) (redrive.Found, error) {
	body := aws.ToString(received.Body)
	m := &message{receipt: aws.ToString(received.ReceiptHandle), size: len(body)}
	s.held.mu.Lock()
	s.held.messages[m] = true
	s.held.bytes += m.size
	count, size := len(s.held.messages), s.held.bytes
	s.held.mu.Unlock()
	if count > maxHeldMessages || size > maxHeldBytes {
		return redrive.Found{}, fmt.Errorf("queue %s has more than can be held at once (%d messages, %d MiB): redrive with --destination or --key from a FIFO queue, or take letters out first", s.queue, maxHeldMessages, maxHeldBytes>>20)
	}
	f := redrive.Found{Where: "message " + aws.ToString(received.MessageId), Place: m}
	if _, marked := received.MessageAttributes[letterMark]; !marked {
		f.Problem = fmt.Errorf("no dead letter: it has no attribute %s", letterMark)
		return f, nil
	}
	f.Letter, f.Problem = deliver.ParseDeadLetter([]byte(body))
	f.Loaded = f.Letter.DataIn == ""
	f.Size = len(f.Letter.Data)
	return f, nil
}

// hold begins to renew what Scan finds.
func (s *SQSLetters) hold(ctx context.Context) {
	if s.held.stop != nil {
		return
	}
	ctx, s.held.stop = context.WithCancel(ctx)
	s.held.messages = make(map[*message]bool)
	s.held.renewing.Go(func() {
		tick := time.NewTicker(heldFor / 3)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				_ = s.hide(ctx, heldFor) // the next tick is in time
			case <-ctx.Done():
				return
			}
		}
	})
}

// hide sets for how long all that is held stays hidden from now on.
func (s *SQSLetters) hide(ctx context.Context, d time.Duration) error {
	s.held.mu.Lock()
	var all []*message
	for m := range s.held.messages {
		all = append(all, m)
	}
	s.held.mu.Unlock()
	var first error
	for len(all) > 0 {
		some := all[:min(len(all), maxEntries)]
		all = all[len(some):]
		var entries []types.ChangeMessageVisibilityBatchRequestEntry
		for i, m := range some {
			entries = append(entries, types.ChangeMessageVisibilityBatchRequestEntry{Id: aws.String(strconv.Itoa(i)),
				ReceiptHandle: aws.String(m.receipt), VisibilityTimeout: int32(d / time.Second)})
		}
		out, err := s.client.ChangeMessageVisibilityBatch(ctx, &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: aws.String(s.queue), Entries: entries})
		if err != nil {
			first = errors.Join(first, fmt.Errorf("hold messages of %s: %s", s.queue, failed(err).Detail))
			continue
		}
		s.held.mu.Lock()
		for _, e := range out.Failed {
			if i, err := strconv.Atoi(aws.ToString(e.Id)); err == nil && i >= 0 && i < len(some) && e.SenderFault {
				some[i].lost = errors.New("the message came back into the queue meanwhile: somebody else may have it")
				delete(s.held.messages, some[i])
				s.held.bytes -= some[i].size
			}
		}
		s.held.mu.Unlock()
	}
	return first
}

// Load implements redrive.Queue.
func (s *SQSLetters) Load(ctx context.Context, f *redrive.Found) error {
	s.held.mu.Lock()
	lost := f.Place.(*message).lost
	s.held.mu.Unlock()
	if lost != nil || f.Loaded {
		return lost
	}
	return s.overflow.load(ctx, f)
}

// Done implements redrive.Queue.
func (s *SQSLetters) Done(ctx context.Context, _ string, letters []*redrive.Found) error {
	var problems error
	for len(letters) > 0 {
		some := letters[:min(len(letters), maxEntries)]
		letters = letters[len(some):]
		problems = errors.Join(problems, s.delete(ctx, some))
	}
	return problems
}

func (s *SQSLetters) delete(ctx context.Context, letters []*redrive.Found) error {
	var entries []types.DeleteMessageBatchRequestEntry
	for i, f := range letters {
		entries = append(entries, types.DeleteMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: aws.String(f.Place.(*message).receipt)})
	}
	out, err := s.client.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: aws.String(s.queue), Entries: entries})
	if err != nil {
		return fmt.Errorf("delete from %s: %s", s.queue, failed(err).Detail)
	}
	for _, e := range out.Failed {
		err = errors.Join(err, fmt.Errorf("delete from %s: %s: %s", s.queue, aws.ToString(e.Code), aws.ToString(e.Message)))
	}
	for _, e := range out.Successful {
		i, idErr := strconv.Atoi(aws.ToString(e.Id))
		if idErr != nil || i < 0 || i >= len(letters) {
			continue
		}
		m := letters[i].Place.(*message)
		s.held.mu.Lock()
		delete(s.held.messages, m)
		s.held.bytes -= m.size
		s.held.mu.Unlock()
		s.held.progress = true
		// The letter is gone: an object that stays is litter, and no letter.
		err = errors.Join(err, s.overflow.remove(ctx, &letters[i].Letter))
	}
	return err
}

// Release implements redrive.Queue: everybody can receive again what is still
// held.
func (s *SQSLetters) Release(ctx context.Context) error {
	if s.held.stop == nil {
		return nil
	}
	s.held.stop()
	s.held.renewing.Wait()
	return s.hide(ctx, 0)
}
