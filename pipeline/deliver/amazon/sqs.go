package amazon

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/shardline/shardline/pipeline/deliver"
)

const (
	// maxEntries is the services' limit of one SendMessageBatch or PublishBatch.
	maxEntries = 10
	// maxQueueBytes is SQS's limit of one message with its attributes, and of
	// all messages of a call.
	maxQueueBytes = 1 << 20
	// fifoSuffix is how the names of FIFO queues and topics end.
	fifoSuffix = ".fifo"
)

// SendMessageBatch is the call that an SQS makes; *sqs.Client has it.
type SendMessageBatch interface {
	SendMessageBatch(ctx context.Context, in *sqs.SendMessageBatchInput, options ...func(*sqs.Options)) (*sqs.SendMessageBatchOutput, error)
}

// SQSConfig is what an SQS is made of.
type SQSConfig struct {
	Client   SendMessageBatch
	QueueURL string // of a FIFO queue
	Batching
}

// SQS is the transport to a FIFO queue. A key is a message group; the record's
// idempotency key is the de-duplication id, so that what is sent again within
// five minutes is there once.
type SQS struct {
	client  SendMessageBatch
	queue   string
	batches batches[types.SendMessageBatchRequestEntry]
}

// NewSQS makes a transport. It calls nothing. A standard queue is refused: it
// keeps no order.
func NewSQS(c SQSConfig) (*SQS, error) {
	if !strings.HasSuffix(c.QueueURL, fifoSuffix) {
		return nil, fmt.Errorf("queue %s: it is no FIFO queue, whose name ends in .fifo: a standard queue keeps no order", c.QueueURL)
	}
	if c.Linger <= 0 {
		c.Linger = gatherLinger
	}
	q := &SQS{client: c.Client, queue: c.QueueURL}
	q.batches = batches[types.SendMessageBatchRequestEntry]{Batching: c.Batching, most: maxEntries, bytes: maxQueueBytes, call: q.put, size: queueSize}
	return q, nil
}

// Send implements deliver.Transport.
func (q *SQS) Send(ctx context.Context, m *deliver.Message) deliver.Answer {
	body := string(m.Record.Data)
	if err := textOnly(body); err != nil {
		return unsendable("a queue takes text: %v", err)
	}
	e := types.SendMessageBatchRequestEntry{MessageBody: aws.String(body), MessageGroupId: aws.String(group(m)),
		MessageDeduplicationId: aws.String(m.IdempotencyKey()), MessageAttributes: make(map[string]types.MessageAttributeValue)}
	for _, a := range attributes(m) {
		e.MessageAttributes[a.name] = types.MessageAttributeValue{DataType: aws.String(attributeType), StringValue: aws.String(a.value)}
	}
	if n := queueSize(e); n > maxQueueBytes {
		return unsendable("it has %d bytes with its attributes; a queue takes %d at most", n, maxQueueBytes)
	}
	return q.batches.send(ctx, e)
}

func queueSize(e types.SendMessageBatchRequestEntry) int {
	n := len(*e.MessageBody)
	for name, a := range e.MessageAttributes {
		n += len(name) + len(*a.DataType) + len(*a.StringValue)
	}
	return n
}

// Close waits for the calls.
func (q *SQS) Close() error {
	q.batches.close()
	return nil
}

// put sends messages. They may fail one by one: of each group there is one at
// most, see batches.
func (q *SQS) put(ctx context.Context, entries []types.SendMessageBatchRequestEntry) ([]deliver.Answer, error) {
	return sendMessages(ctx, q.client, q.queue, entries)
}

func sendMessages(ctx context.Context, client SendMessageBatch, queue string, entries []types.SendMessageBatchRequestEntry) ([]deliver.Answer, error) {
	for i := range entries {
		entries[i].Id = aws.String(strconv.Itoa(i))
	}
	out, err := client.SendMessageBatch(ctx, &sqs.SendMessageBatchInput{QueueUrl: aws.String(queue), Entries: entries},
		func(o *sqs.Options) { o.Retryer = aws.NopRetryer{} })
	if err != nil {
		return nil, err
	}
	results := newResults(len(entries))
	for _, e := range out.Successful {
		results.set(aws.ToString(e.Id), delivered)
	}
	for _, e := range out.Failed {
		results.set(aws.ToString(e.Id), recordFailed(aws.ToString(e.Code), aws.ToString(e.Message), e.SenderFault))
	}
	return results, nil
}

// results are the answers of a call whose entries are known by their place.
type results []deliver.Answer

// newResults are those of an answer that says nothing.
func newResults(n int) results {
	r := make(results, n)
	for i := range r {
		r[i] = deliver.Answer{Reason: deliver.ReasonBrokenAnswer, Detail: "the answer has no result for the record"}
	}
	return r
}

func (r results) set(id string, a deliver.Answer) {
	if i, err := strconv.Atoi(id); err == nil && i >= 0 && i < len(r) {
		r[i] = a
	}
}
