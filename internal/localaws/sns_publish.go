package localaws

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"time"
	"unicode/utf8"
)

// published reads one message of a request, whose fields begin with prefix.
func (c *call) published(prefix string) sendEntry {
	body := c.form.Get(prefix + "Message")
	e := sendEntry{Id: c.form.Get(prefix + "Id"), MessageBody: &body, MessageGroupId: c.form.Get(prefix + "MessageGroupId"),
		MessageDeduplicationId: c.form.Get(prefix + "MessageDeduplicationId"), MessageAttributes: map[string]messageAttribute{}}
	for i := 1; ; i++ {
		at := fmt.Sprintf("%sMessageAttributes.entry.%d.", prefix, i)
		if !c.form.Has(at + "Name") {
			return e
		}
		text := c.form.Get(at + "Value.StringValue")
		e.MessageAttributes[c.form.Get(at+"Name")] = messageAttribute{DataType: c.form.Get(at + "Value.DataType"), StringValue: &text}
	}
}

// checkPublished says why a message cannot be published to the topic.
func (t *topic) checkPublished(e *sendEntry) *apiError {
	switch {
	case *e.MessageBody == "":
		return refuse("InvalidParameter", "Invalid parameter: Empty message")
	case !utf8.ValidString(*e.MessageBody):
		return refuse("InvalidParameter", "Invalid parameter: Message is not UTF-8")
	case e.size() > t.limit:
		return refuse("InvalidParameter", "Invalid parameter: Message too long")
	case t.fifo && e.MessageGroupId == "":
		return refuse("InvalidParameter", "Invalid parameter: The MessageGroupId parameter is required for FIFO topics")
	case e.MessageGroupId != "" && !fifoID.MatchString(e.MessageGroupId):
		return refuse("InvalidParameter", "Invalid parameter: MessageGroupId")
	case e.MessageDeduplicationId != "" && (!t.fifo || !fifoID.MatchString(e.MessageDeduplicationId)):
		return refuse("InvalidParameter", "Invalid parameter: MessageDeduplicationId Reason: The request includes MessageDeduplicationId parameter that is not valid for this topic type")
	case t.fifo && e.MessageDeduplicationId == "" && !t.byContent:
		return refuse("InvalidParameter", "Invalid parameter: The topic should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly")
	}
	for name, a := range e.MessageAttributes {
		if !attributeName.MatchString(name) || !dataType.MatchString(a.DataType) || *a.StringValue == "" {
			return refuse("ParameterValueInvalid", "The message attribute '%s' must contain non-empty message attribute value for message attribute type '%s'.", name, a.DataType)
		}
	}
	return nil
}

// publish hands a message on to the queues. t.mu is held.
func (t *topic) publish(e *sendEntry, now time.Time) *sent {
	unique := e.MessageDeduplicationId
	if t.fifo && unique == "" {
		sum := sha256.Sum256([]byte(*e.MessageBody))
		unique = hex.EncodeToString(sum[:])
	}
	s := &sent{id: requestID()}
	if t.fifo {
		known := false
		if s, known = t.recently(unique, now); known {
			return s
		}
	}
	for _, to := range t.queues {
		handed := *e
		if t.fifo {
			handed.MessageDeduplicationId = unique
		}
		if !to.raw {
			body := string(t.envelope(e, s, now))
			handed.MessageBody, handed.MessageAttributes = &body, nil
		}
		to.queue.mu.Lock()
		if handed.check(to.queue) == nil { // else the service would try again, and give up
			to.queue.add(&handed, "SNS", now)
		}
		to.queue.mu.Unlock()
	}
	return s
}

// envelope is what a queue gets that is not subscribed for raw messages.
func (t *topic) envelope(e *sendEntry, s *sent, now time.Time) []byte {
	attributes := map[string]map[string]string{}
	for name, a := range e.MessageAttributes {
		attributes[name] = map[string]string{"Type": a.DataType, "Value": *a.StringValue}
	}
	out, _ := encode(map[string]any{"Type": "Notification", "MessageId": s.id, "TopicArn": t.arn, "Message": *e.MessageBody,
		"Timestamp": now.UTC().Format("2006-01-02T15:04:05.000Z"), "MessageAttributes": attributes})
	return out
}

// publishedAnswer is what the service says of a message that it has.
func (t *topic) publishedAnswer(s *sent) string {
	answer := "<MessageId>" + s.id + "</MessageId>"
	if t.fifo {
		answer += "<SequenceNumber>" + sqsNumber(s.n) + "</SequenceNumber>"
	}
	return answer
}

func publish(c *call) ([]byte, *apiError) {
	t, e := c.topic(c.form.Get("TopicArn"))
	if e != nil {
		return nil, e
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	message := c.published("")
	if e := t.checkPublished(&message); e != nil {
		return nil, e
	}
	return []byte(t.publishedAnswer(t.publish(&message, c.server.now()))), nil
}

func publishBatch(c *call) ([]byte, *apiError) {
	t, e := c.topic(c.form.Get("TopicArn"))
	if e != nil {
		return nil, e
	}
	var ids []string
	var entries []sendEntry
	size := 0
	for i := 1; c.form.Has(fmt.Sprintf("PublishBatchRequestEntries.member.%d.Id", i)); i++ {
		entries = append(entries, c.published(fmt.Sprintf("PublishBatchRequestEntries.member.%d.", i)))
		ids = append(ids, entries[i-1].Id)
		size += entries[i-1].size()
	}
	if e := batch(ids); e != nil {
		return nil, e
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if size > t.limit {
		return nil, refuse("BatchRequestTooLong", "The length of all the messages put together is more than the limit.")
	}
	var taken, failed string
	for i := range entries {
		entry := &entries[i]
		e := t.checkPublished(entry)
		if e == nil {
			e = c.recordFault(resource{account: t.account, arn: t.arn, topic: t.name})
		}
		if e != nil {
			failed += fmt.Sprintf("<member><Id>%s</Id><Code>%s</Code><Message>%s</Message><SenderFault>%t</SenderFault></member>",
				entry.Id, escapeXML(e.code), escapeXML(e.message), e.status < http.StatusInternalServerError)
			continue
		}
		taken += "<member><Id>" + entry.Id + "</Id>" + t.publishedAnswer(t.publish(entry, c.server.now())) + "</member>"
	}
	return []byte("<Successful>" + taken + "</Successful><Failed>" + failed + "</Failed>"), nil
}
