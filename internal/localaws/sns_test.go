package localaws_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"

	"github.com/shardline/shardline/internal/localaws"
)

// snsEntry is an entry of a batch; of a FIFO topic in a group, with the body as
// its de-duplication id.
func snsEntry(id int, body, group string) types.PublishBatchRequestEntry {
	e := types.PublishBatchRequestEntry{Id: aws.String(fmt.Sprint(id)), Message: aws.String(body),
		MessageAttributes: map[string]types.MessageAttributeValue{"type": {DataType: aws.String("String"), StringValue: aws.String("OTA_PingRQ")}}}
	if group != "" {
		e.MessageGroupId, e.MessageDeduplicationId = aws.String(group), aws.String(body)
	}
	return e
}

func TestTopicToQueue(t *testing.T) {
	w := newWorld(t, localaws.Config{})
	client := sns.NewFromConfig(w.config(w.a))
	q, enveloped := w.queue("hotels.fifo", nil), w.queue("enveloped.fifo", nil)
	made, err := client.CreateTopic(background, &sns.CreateTopicInput{Name: aws.String("hotels.fifo"), Attributes: map[string]string{"FifoTopic": "true"}})
	w.must(err)
	for _, to := range []*queue{q, enveloped} {
		in := &sns.SubscribeInput{TopicArn: made.TopicArn, Protocol: aws.String("sqs"), Endpoint: aws.String(to.arn)}
		if to == q {
			in.Attributes = map[string]string{"RawMessageDelivery": "true"}
		}
		_, err = client.Subscribe(background, in)
		w.must(err)
	}
	_, err = w.AddFault(localaws.Fault{Operation: "sns.PublishBatch", Kind: localaws.PartialPut, Skip: 1, Count: 1})
	w.must(err)
	in := &sns.PublishBatchInput{TopicArn: made.TopicArn, PublishBatchRequestEntries: []types.PublishBatchRequestEntry{
		snsEntry(1, "<a&b>", "H1"), snsEntry(2, "second", "H1"), snsEntry(3, "", "H1"), snsEntry(4, "fourth", "H2")}}
	out, err := client.PublishBatch(background, in)
	w.must(err)
	if len(out.Successful) != 2 || aws.ToString(out.Successful[1].Id) != "4" || aws.ToString(out.Successful[1].SequenceNumber) == "" {
		t.Errorf("taken: %+v", out.Successful)
	}
	if len(out.Failed) != 2 || aws.ToString(out.Failed[0].Code) != "InternalError" || out.Failed[0].SenderFault || !out.Failed[1].SenderFault {
		t.Errorf("failed: %+v", out.Failed)
	}
	_, err = client.PublishBatch(background, &sns.PublishBatchInput{TopicArn: made.TopicArn, PublishBatchRequestEntries: in.PublishBatchRequestEntries[:2]})
	w.must(err)
	var bodies []string
	for _, m := range q.receive(10) {
		bodies = append(bodies, *m.Body+" "+*m.MessageAttributes["type"].StringValue)
	}
	if want := "[<a&b> OTA_PingRQ second OTA_PingRQ fourth OTA_PingRQ]"; fmt.Sprint(bodies) != want && fmt.Sprint(bodies) != "[<a&b> OTA_PingRQ fourth OTA_PingRQ second OTA_PingRQ]" {
		t.Errorf("%v, want %s: once each, in order per group", bodies, want)
	}
	if got := enveloped.receive(1); len(got) != 1 || !strings.Contains(*got[0].Body, `"Message":"`) || !strings.Contains(*got[0].Body, `"TopicArn":"`+*made.TopicArn) {
		t.Errorf("enveloped: %+v", got)
	}
}

func TestTopicRefusals(t *testing.T) {
	w := newWorld(t, localaws.Config{})
	client := sns.NewFromConfig(w.config(w.a))
	fifo, err := w.CreateTopic(accountA, region, "hotels.fifo", nil)
	w.must(err)
	standard, err := w.CreateTopic(accountA, region, "hotels", nil)
	w.must(err)
	publish := func(topic string, e types.PublishBatchRequestEntry) error {
		_, err := client.PublishBatch(background, &sns.PublishBatchInput{TopicArn: aws.String(topic), PublishBatchRequestEntries: []types.PublishBatchRequestEntry{e}}, func(o *sns.Options) { o.Retryer = aws.NopRetryer{} })
		return err
	}
	wantCode(t, publish("arn:aws:sns:eu-west-1:"+accountA+":nobody", snsEntry(1, "x", "")), "NotFound")
	wantCode(t, publish("arn:aws:sns:eu-west-1:"+accountB+":hotels", snsEntry(1, "x", "")), "AuthorizationError")
	wantCode(t, publish(standard, snsEntry(1, strings.Repeat("x", 256<<10), "")), "BatchRequestTooLong")
	if _, err := client.Publish(background, &sns.PublishInput{TopicArn: aws.String(fifo), Message: aws.String("x")}); err == nil {
		t.Error("a FIFO topic takes a message without a group")
	}
	_, err = w.AddFault(localaws.Fault{Operation: "sns.PublishBatch", Topic: "hotels", Kind: localaws.Throttle, Count: 1})
	w.must(err)
	wantCode(t, publish(standard, snsEntry(1, "x", "")), "Throttled")
	if err := w.SubscribeQueue(standard, w.queue("hotels.fifo", nil).arn, true); err == nil {
		t.Error("a standard topic hands on to a FIFO queue")
	}
	got, err := client.GetTopicAttributes(background, &sns.GetTopicAttributesInput{TopicArn: aws.String(fifo)})
	if err != nil || got.Attributes["FifoTopic"] != "true" || got.Attributes["TopicArn"] != fifo {
		t.Errorf("%v %v", got, err)
	}
}
