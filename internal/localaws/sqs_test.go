package localaws_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"

	"github.com/shardline/shardline/internal/localaws"
)

// queue is a queue of account A and its client.
type queue struct {
	*sqs.Client
	w   *world
	url string
	arn string
}

func (w *world) queue(name string, attributes map[string]string) *queue {
	w.t.Helper()
	arn, err := w.CreateQueue(accountA, region, name, attributes)
	w.must(err)
	client := sqs.NewFromConfig(w.config(w.a))
	out, err := client.GetQueueUrl(background, &sqs.GetQueueUrlInput{QueueName: aws.String(name)})
	w.must(err)
	return &queue{client, w, *out.QueueUrl, arn}
}

// send sends a message; of a FIFO queue in a group, with the body as its
// deduplication id.
func (q *queue) send(body, group string) (*sqs.SendMessageOutput, error) {
	in := &sqs.SendMessageInput{QueueUrl: &q.url, MessageBody: &body}
	if group != "" {
		in.MessageGroupId, in.MessageDeduplicationId = &group, &body
	}
	return q.SendMessage(background, in)
}

func (q *queue) mustSend(body, group string) string {
	q.w.t.Helper()
	out, err := q.send(body, group)
	q.w.must(err)
	return *out.MessageId
}

func (q *queue) receive(most int) []types.Message {
	q.w.t.Helper()
	out, err := q.ReceiveMessage(background, &sqs.ReceiveMessageInput{QueueUrl: &q.url, MaxNumberOfMessages: int32(most),
		MessageAttributeNames: []string{"All"}, MessageSystemAttributeNames: []types.MessageSystemAttributeName{"All"}})
	q.w.must(err)
	return out.Messages
}

func (q *queue) delete(m types.Message) error {
	_, err := q.DeleteMessage(background, &sqs.DeleteMessageInput{QueueUrl: &q.url, ReceiptHandle: m.ReceiptHandle})
	return err
}

func bodies(messages []types.Message) string {
	var all []string
	for _, m := range messages {
		all = append(all, *m.Body)
	}
	return strings.Join(all, " ")
}

func TestQueueVisibility(t *testing.T) {
	clock := newClock()
	w := newWorld(t, localaws.Config{Now: clock.now})
	q := w.queue("letters", map[string]string{"VisibilityTimeout": "30"})
	for _, body := range []string{"a", "b"} {
		q.mustSend(body, "")
	}
	first := q.receive(10)
	if got := bodies(first); got != "a b" {
		t.Fatalf("received %q, want a b", got)
	}
	if got := bodies(q.receive(10)); got != "" {
		t.Errorf("received %q while both are in flight", got)
	}
	w.must(q.delete(first[0]))
	clock.advance(31 * time.Second)
	again := q.receive(10)
	if got := bodies(again); got != "b" || again[0].Attributes["ApproximateReceiveCount"] != "2" {
		t.Errorf("received %q for the %s. time, want b for the 2.", got, again[0].Attributes["ApproximateReceiveCount"])
	}
	// An older receipt of a standard queue still deletes.
	w.must(q.delete(first[1]))
	clock.advance(31 * time.Second)
	if got := bodies(q.receive(10)); got != "" {
		t.Errorf("received %q after all are deleted", got)
	}
	_, err := q.ChangeMessageVisibility(background, &sqs.ChangeMessageVisibilityInput{QueueUrl: &q.url, ReceiptHandle: again[0].ReceiptHandle})
	wantType[*types.MessageNotInflight](t, err)
}

func TestFIFOGroups(t *testing.T) {
	clock := newClock()
	w := newWorld(t, localaws.Config{Now: clock.now})
	q := w.queue("letters.fifo", nil)
	for _, m := range []string{"a1", "a2", "b1", "a3"} {
		q.mustSend(m, m[:1])
	}
	first := q.receive(2)
	if got := bodies(first); got != "a1 a2" {
		t.Fatalf("received %q, want the group's first two", got)
	}
	// a3 waits: its group is in flight.
	if got := bodies(q.receive(10)); got != "b1" {
		t.Errorf("received %q, want the other group alone", got)
	}
	w.must(q.delete(first[0]))
	if got := bodies(q.receive(10)); got != "" {
		t.Errorf("received %q while a2 is in flight", got)
	}
	clock.advance(31 * time.Second)
	if err := q.delete(first[1]); err == nil {
		t.Error("a receipt that has expired deletes")
	}
	if got := bodies(q.receive(10)); got != "a2 b1 a3" {
		t.Errorf("received %q, want what is left, in order", got)
	}
}

func TestFIFODeduplication(t *testing.T) {
	clock := newClock()
	w := newWorld(t, localaws.Config{Now: clock.now})
	q := w.queue("letters.fifo", nil)
	id := q.mustSend("a", "g")
	w.must(q.delete(q.receive(1)[0]))
	clock.advance(4 * time.Minute)
	if again := q.mustSend("a", "h"); again != id {
		t.Errorf("sent again within five minutes: message %s, want %s", again, id)
	}
	if got := bodies(q.receive(10)); got != "" {
		t.Errorf("received %q: it was sent before", got)
	}
	clock.advance(61 * time.Second)
	if q.mustSend("a", "g") == id || bodies(q.receive(10)) != "a" {
		t.Error("after five minutes it is no other message")
	}
}

func TestMessageLimits(t *testing.T) {
	w := newWorld(t, localaws.Config{})
	small := w.queue("small", map[string]string{"MaximumMessageSize": "1024"})
	large := w.queue("large.fifo", nil)
	text := func(n int) *string { return aws.String(strings.Repeat("x", n)) }
	attribute := map[string]types.MessageAttributeValue{"name": {DataType: aws.String("String"), StringValue: text(100)}} // 110 bytes
	for name, c := range map[string]struct {
		in   sqs.SendMessageInput
		code string // empty: it is sent
	}{
		"the limit":              {sqs.SendMessageInput{QueueUrl: &small.url, MessageBody: text(1024)}, ""},
		"above the limit":        {sqs.SendMessageInput{QueueUrl: &small.url, MessageBody: text(1025)}, "InvalidParameterValue"},
		"attributes count":       {sqs.SendMessageInput{QueueUrl: &small.url, MessageBody: text(915), MessageAttributes: attribute}, "InvalidParameterValue"},
		"with attributes":        {sqs.SendMessageInput{QueueUrl: &small.url, MessageBody: text(914), MessageAttributes: attribute}, ""},
		"control characters":     {sqs.SendMessageInput{QueueUrl: &small.url, MessageBody: aws.String("a\x00b")}, "InvalidMessageContents"},
		"no body":                {sqs.SendMessageInput{QueueUrl: &small.url, MessageBody: aws.String("")}, "MissingParameter"},
		"no group":               {sqs.SendMessageInput{QueueUrl: &large.url, MessageBody: text(1), MessageDeduplicationId: text(1)}, "MissingParameter"},
		"no deduplication id":    {sqs.SendMessageInput{QueueUrl: &large.url, MessageBody: text(1), MessageGroupId: text(1)}, "InvalidParameterValue"},
		"long group":             {sqs.SendMessageInput{QueueUrl: &large.url, MessageBody: text(1), MessageDeduplicationId: text(1), MessageGroupId: text(129)}, "InvalidParameterValue"},
		"one mebibyte":           {sqs.SendMessageInput{QueueUrl: &large.url, MessageBody: text(1 << 20), MessageDeduplicationId: text(1), MessageGroupId: text(128)}, ""},
		"above one mebibyte":     {sqs.SendMessageInput{QueueUrl: &large.url, MessageBody: text(1<<20 + 1), MessageDeduplicationId: text(1), MessageGroupId: text(128)}, "InvalidParameterValue"},
		"deduplication standard": {sqs.SendMessageInput{QueueUrl: &small.url, MessageBody: text(1), MessageDeduplicationId: text(1)}, "InvalidParameterValue"},
		"another queue":          {sqs.SendMessageInput{QueueUrl: aws.String(small.url + "x"), MessageBody: text(1)}, "AWS.SimpleQueueService.NonExistentQueue"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := small.SendMessage(background, &c.in)
			switch {
			case c.code == "" && err != nil:
				t.Errorf("not sent: %v", err)
			case c.code != "":
				wantCode(t, err, c.code)
			}
		})
	}
	_, err := small.SendMessage(background, &sqs.SendMessageInput{QueueUrl: aws.String(small.url + "x"), MessageBody: text(1)})
	wantType[*types.QueueDoesNotExist](t, err)
}

func TestMessageBatch(t *testing.T) {
	w := newWorld(t, localaws.Config{})
	q := w.queue("letters", map[string]string{"MaximumMessageSize": "1024"})
	entries := func(sizes ...int) (all []types.SendMessageBatchRequestEntry) {
		for i, n := range sizes {
			all = append(all, types.SendMessageBatchRequestEntry{Id: aws.String(fmt.Sprint(i)), MessageBody: aws.String(strings.Repeat("x", n))})
		}
		return all
	}
	send := func(entries []types.SendMessageBatchRequestEntry) (*sqs.SendMessageBatchOutput, error) {
		return q.SendMessageBatch(background, &sqs.SendMessageBatchInput{QueueUrl: &q.url, Entries: entries})
	}
	out, err := send(entries(1, 2000, 3)) // one is too long: the others go
	w.must(err)
	if len(out.Successful) != 2 || len(out.Failed) != 1 || *out.Failed[0].Id != "1" || !out.Failed[0].SenderFault {
		t.Errorf("answer is %+v, want the second failed alone", out)
	}
	w.AddFault(localaws.Fault{Operation: "sqs.SendMessageBatch", Queue: "letters", Kind: localaws.PartialPut, Skip: 1, Count: 1})
	out, err = send(entries(1, 1))
	w.must(err)
	if len(out.Successful) != 1 || len(out.Failed) != 1 || *out.Failed[0].Id != "1" || out.Failed[0].SenderFault {
		t.Errorf("answer is %+v, want the second failed by the service", out)
	}
	_, err = send(entries(slices.Repeat([]int{1}, 11)...))
	wantType[*types.TooManyEntriesInBatchRequest](t, err)
	_, err = send(entries(1<<19, 1<<19, 1))
	wantType[*types.BatchRequestTooLong](t, err)
	_, err = send(nil)
	if err == nil {
		t.Error("an empty batch is sent")
	}
}

func TestQueueAcrossAccounts(t *testing.T) {
	w := newWorld(t, localaws.Config{})
	q := w.queue("letters", nil)
	b := sqs.NewFromConfig(w.config(w.b))
	in := &sqs.SendMessageInput{QueueUrl: &q.url, MessageBody: aws.String("a")}
	_, err := b.SendMessage(background, in)
	var api smithy.APIError
	if !errors.As(err, &api) || !strings.Contains(api.ErrorCode(), "AccessDenied") {
		t.Errorf("error is %v, want access denied", err)
	}
	w.must(w.AllowAccount(q.arn, accountB))
	if _, err := b.SendMessage(background, in); err != nil {
		t.Errorf("not sent though the queue allows the account: %v", err)
	}
}

// A long poll ends when a message arrives.
func TestQueueLongPoll(t *testing.T) {
	w := newWorld(t, localaws.Config{})
	q := w.queue("letters", nil)
	received := make(chan string)
	go func() {
		out, err := q.ReceiveMessage(background, &sqs.ReceiveMessageInput{QueueUrl: &q.url, WaitTimeSeconds: 20})
		if err != nil {
			received <- err.Error()
			return
		}
		received <- bodies(out.Messages)
	}()
	q.mustSend("a", "")
	if got := <-received; got != "a" {
		t.Errorf("received %q, want a", got)
	}
}
