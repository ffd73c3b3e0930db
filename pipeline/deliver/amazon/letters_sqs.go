package amazon

import (
	"context"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/shardline/shardline/pipeline/deliver"
)

// Queue is the calls of a queue of dead letters; *sqs.Client has them.
type Queue interface {
	SendMessageBatch
	ReceiveMessage(ctx context.Context, in *sqs.ReceiveMessageInput, options ...func(*sqs.Options)) (*sqs.ReceiveMessageOutput, error)
	DeleteMessageBatch(ctx context.Context, in *sqs.DeleteMessageBatchInput, options ...func(*sqs.Options)) (*sqs.DeleteMessageBatchOutput, error)
	ChangeMessageVisibilityBatch(ctx context.Context, in *sqs.ChangeMessageVisibilityBatchInput, options ...func(*sqs.Options)) (*sqs.ChangeMessageVisibilityBatchOutput, error)
}

// SQSLetters is a dead letter queue of SQS, standard or FIFO. A letter is a
// message: its line of JSON, with attributes to filter by. In a FIFO queue a
// destination's key is a message group, and a record that is written twice
// within five minutes is there once.
type SQSLetters struct {
	name     string
	client   Queue
	queue    string // URL
	fifo     bool
	overflow *Overflow // nil: what is too large is read from the stream again
	batches  batches[types.SendMessageBatchRequestEntry]
	held     held
}

// NewSQSLetters makes a queue. It calls nothing. Name is for errors.
func NewSQSLetters(name string, client Queue, url string, overflow *Overflow) *SQSLetters {
	s := &SQSLetters{name: name, client: client, queue: url, fifo: strings.HasSuffix(url, fifoSuffix), overflow: overflow}
	s.batches = batches[types.SendMessageBatchRequestEntry]{Batching: Batching{Concurrency: unbounded, Linger: gatherLinger},
		most: maxEntries, bytes: maxQueueBytes, size: queueSize, call: s.put}
	return s
}

// letterMark is the attribute that every letter has: a message without it is
// somebody else's.
const letterMark = "shardline_dead_letter"

// Put implements deliver.DeadLetters.
func (s *SQSLetters) Put(ctx context.Context, letter deliver.DeadLetter) error {
	put := func(l *deliver.DeadLetter) (deliver.Answer, error) { return putLetter(ctx, &s.batches, s.entry(l)) }
	return letterError(s.name, reduced(ctx, &letter, queueSize(s.entry(&letter)), maxQueueBytes, s.overflow, put))
}

// Close waits for the calls.
func (s *SQSLetters) Close() error {
	s.batches.close()
	return nil
}

// noText replaces the two characters that JSON has as they are and SQS refuses.
var noText = strings.NewReplacer("\ufffe", `\ufffe`, "\uffff", `\uffff`)

func (s *SQSLetters) entry(l *deliver.DeadLetter) types.SendMessageBatchRequestEntry {
	body := noText.Replace(strings.TrimSuffix(string(l.Line()), "\n"))
	e := types.SendMessageBatchRequestEntry{MessageBody: aws.String(body), MessageAttributes: make(map[string]types.MessageAttributeValue)}
	for _, a := range letterAttributes(l) {
		if textOnly(a.value) == nil { // it is not empty either
			e.MessageAttributes[a.name] = types.MessageAttributeValue{DataType: aws.String(attributeType), StringValue: aws.String(a.value)}
		}
	}
	if s.fifo {
		e.MessageGroupId, e.MessageDeduplicationId = aws.String(letterGroup(l)), aws.String(l.RecordID())
	}
	return e
}

// letterAttributes are ten at most: so many a message may have. Their names are
// those of the letter.
func letterAttributes(l *deliver.DeadLetter) []attribute {
	return []attribute{
		{letterMark, "1"},
		{"destination", l.Destination},
		{"reason", l.Reason},
		{"source", l.Source},
		{"key", l.EscapedKey()},
		{"type", l.Type},
		{"shard", l.Shard},
		{"sequence_number", l.SequenceNumber()},
		{"time", l.Time.UTC().Format(time.RFC3339Nano)},
	}
}

func (s *SQSLetters) put(ctx context.Context, entries []types.SendMessageBatchRequestEntry) ([]deliver.Answer, error) {
	return sendMessages(ctx, s.client, s.queue, entries)
}
