package amazon

import (
	"context"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"

	"github.com/shardline/shardline/pipeline/deliver"
)

const (
	// maxTopicBytes is SNS's limit of one message with its attributes, for
	// topics that are set to it. Others take 256 KiB, and say so.
	maxTopicBytes = 1 << 20
	// maxPublishBytes is the limit of a call to topics that are set to nothing;
	// one larger message goes alone.
	maxPublishBytes = 256 << 10
)

// PublishBatch is the call that an SNS makes; *sns.Client has it.
type PublishBatch interface {
	PublishBatch(ctx context.Context, in *sns.PublishBatchInput, options ...func(*sns.Options)) (*sns.PublishBatchOutput, error)
}

// SNSConfig is what an SNS is made of.
type SNSConfig struct {
	Client   PublishBatch
	TopicARN string
	Batching
}

// SNS is the transport to a topic. With a FIFO topic, by its name, groups and
// de-duplication are as with SQS. A standard topic gets the records of a key in
// order, one after the other, and hands them on as it likes.
type SNS struct {
	client  PublishBatch
	topic   string
	fifo    bool
	batches batches[types.PublishBatchRequestEntry]
}

// NewSNS makes a transport. It calls nothing.
func NewSNS(c SNSConfig) *SNS {
	if c.Linger <= 0 {
		c.Linger = gatherLinger
	}
	s := &SNS{client: c.Client, topic: c.TopicARN, fifo: strings.HasSuffix(c.TopicARN, fifoSuffix)}
	s.batches = batches[types.PublishBatchRequestEntry]{Batching: c.Batching, most: maxEntries, bytes: maxPublishBytes, call: s.put, size: topicSize}
	return s
}

// Send implements deliver.Transport.
func (s *SNS) Send(ctx context.Context, m *deliver.Message) deliver.Answer {
	body := string(m.Record.Data)
	if err := textOnly(body); err != nil {
		return unsendable("a topic takes text: %v", err)
	}
	e := types.PublishBatchRequestEntry{Message: aws.String(body), MessageAttributes: make(map[string]types.MessageAttributeValue)}
	if s.fifo {
		e.MessageGroupId, e.MessageDeduplicationId = aws.String(group(m)), aws.String(m.IdempotencyKey())
	}
	for _, a := range attributes(m) {
		e.MessageAttributes[a.name] = types.MessageAttributeValue{DataType: aws.String(attributeType), StringValue: aws.String(a.value)}
	}
	if n := topicSize(e); n > maxTopicBytes {
		return unsendable("it has %d bytes with its attributes; a topic takes %d at most", n, maxTopicBytes)
	}
	return s.batches.send(ctx, e)
}

func topicSize(e types.PublishBatchRequestEntry) int {
	n := len(*e.Message)
	for name, a := range e.MessageAttributes {
		n += len(name) + len(*a.DataType) + len(*a.StringValue)
	}
	return n
}

// Close waits for the calls.
func (s *SNS) Close() error {
	s.batches.close()
	return nil
}

// put publishes messages. They may fail one by one, see batches.
func (s *SNS) put(ctx context.Context, entries []types.PublishBatchRequestEntry) ([]deliver.Answer, error) {
	for i := range entries {
		entries[i].Id = aws.String(strconv.Itoa(i))
	}
	out, err := s.client.PublishBatch(ctx, &sns.PublishBatchInput{TopicArn: aws.String(s.topic), PublishBatchRequestEntries: entries},
		func(o *sns.Options) { o.Retryer = aws.NopRetryer{} })
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
