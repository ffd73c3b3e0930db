package localaws

import (
	"slices"
	"strconv"
	"time"
)

// expire forgets what is older than the retention and the deduplication
// interval. The queue's mutex is held.
func (q *queue) expire(now time.Time) {
	q.messages = slices.DeleteFunc(q.messages, func(m *message) bool {
		old := now.Sub(m.sent) >= q.retention
		if old {
			delete(q.handles, m.handle)
		}
		return old
	})
	for unique, s := range q.seen {
		if now.Sub(s.at) >= deduplicationTime {
			delete(q.seen, unique)
		}
	}
}

// flying says whether somebody has received the message and may delete it.
func (m *message) flying(now time.Time) bool { return m.handle != "" && now.Before(m.visible) }

func (q *queue) counts(now time.Time) (visible, delayed, flying int) {
	for _, m := range q.messages {
		switch {
		case m.flying(now):
			flying++
		case now.Before(m.visible):
			delayed++
		default:
			visible++
		}
	}
	return visible, delayed, flying
}

// take receives up to most messages. Of a FIFO queue's group it gives the first
// ones, and nothing while one of it is in flight. The queue's mutex is held.
func (q *queue) take(most int, visibility time.Duration, now time.Time) []*message {
	q.expire(now)
	blocked := map[string]bool{}
	if q.fifo {
		for _, m := range q.messages {
			if m.flying(now) {
				blocked[m.group] = true
			}
		}
	}
	var taken []*message
	for _, m := range q.messages {
		if len(taken) == most {
			break
		}
		if q.fifo && blocked[m.group] {
			continue
		}
		if now.Before(m.visible) {
			if q.fifo {
				blocked[m.group] = true
			}
			continue
		}
		// A standard queue's older receipt handles stay good for deleting.
		if q.fifo {
			delete(q.handles, m.handle)
		}
		m.handle = receiptHandle()
		q.handles[m.handle] = m
		m.visible = now.Add(visibility)
		m.received++
		if m.first.IsZero() {
			m.first = now
		}
		taken = append(taken, m)
	}
	return taken
}

func receiveMessage(c *call) ([]byte, *apiError) {
	var in struct {
		QueueUrl                    string
		MaxNumberOfMessages         *int
		VisibilityTimeout           *int
		WaitTimeSeconds             *int
		AttributeNames              []string
		MessageSystemAttributeNames []string
		MessageAttributeNames       []string
		ReceiveRequestAttemptId     string
	}
	if e := c.decode(&in); e != nil {
		return nil, e
	}
	q, e := c.queueByURL(in.QueueUrl)
	if e != nil {
		return nil, e
	}
	most, wait, visibility := 1, q.wait, q.visibility
	if in.MaxNumberOfMessages != nil {
		if most = *in.MaxNumberOfMessages; most < 1 || most > maxBatch {
			return nil, refuse("InvalidParameterValue", "Value %d for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided.", most)
		}
	}
	if in.WaitTimeSeconds != nil {
		if wait = *in.WaitTimeSeconds; wait < 0 || wait > maxWait {
			return nil, refuse("InvalidParameterValue", "Value %d for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20, if provided.", wait)
		}
	}
	if in.VisibilityTimeout != nil {
		if *in.VisibilityTimeout < 0 || *in.VisibilityTimeout > maxVisibility {
			return nil, refuse("InvalidParameterValue", "Value %d for parameter VisibilityTimeout is invalid. Reason: Must be between 0 and 43200, if provided.", *in.VisibilityTimeout)
		}
		visibility = time.Duration(*in.VisibilityTimeout) * time.Second
	}
	until := time.Now().Add(time.Duration(wait) * time.Second)
	for {
		q.mu.Lock()
		now := c.server.now()
		if _, _, flying := q.counts(now); flying >= maxInFlight {
			q.mu.Unlock()
			return nil, &apiError{status: 403, code: "OverLimit", message: "Too many messages in flight"}
		}
		taken := q.take(most, visibility, now)
		if len(taken) > 0 || !time.Now().Before(until) || c.context.Err() != nil {
			system := append(in.AttributeNames, in.MessageSystemAttributeNames...)
			out, e := receivedAnswer(q, taken, system, in.MessageAttributeNames)
			q.mu.Unlock()
			return out, e
		}
		arrived := q.arrived
		q.mu.Unlock()
		timer := time.NewTimer(min(time.Until(until), 100*time.Millisecond)) // messages become visible again
		select {
		case <-arrived:
		case <-timer.C:
		case <-c.context.Done():
		case <-c.server.closing:
			until = time.Time{}
		}
		timer.Stop()
	}
}

// receivedAnswer is the received messages with the attributes that are asked
// for. The queue's mutex is held.
func receivedAnswer(q *queue, taken []*message, system, attributes []string) ([]byte, *apiError) {
	type received struct {
		MessageId, ReceiptHandle, Body, MD5OfBody string
		Attributes                                map[string]string           `json:",omitempty"`
		MessageAttributes                         map[string]messageAttribute `json:",omitempty"`
		MD5OfMessageAttributes                    string                      `json:",omitempty"`
	}
	milliseconds := func(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }
	var answer struct {
		Messages []received `json:",omitempty"`
	}
	for _, m := range taken {
		r := received{MessageId: m.id, ReceiptHandle: m.handle, Body: m.body, MD5OfBody: md5Hex(m.body), Attributes: map[string]string{}}
		all := map[string]string{"SentTimestamp": milliseconds(m.sent), "SenderId": m.sender,
			"ApproximateReceiveCount": strconv.Itoa(m.received), "ApproximateFirstReceiveTimestamp": milliseconds(m.first)}
		if m.group != "" {
			all["MessageGroupId"] = m.group
		}
		if q.fifo {
			all["MessageDeduplicationId"], all["SequenceNumber"] = m.unique, sqsNumber(m.n)
		}
		for name, value := range all {
			if slices.Contains(system, "All") || slices.Contains(system, name) {
				r.Attributes[name] = value
			}
		}
		wanted := map[string]messageAttribute{}
		for name, a := range m.attributes {
			if slices.ContainsFunc(attributes, func(pattern string) bool {
				return pattern == "All" || pattern == name || len(pattern) > 1 && match(pattern, name)
			}) {
				wanted[name] = a
			}
		}
		if len(wanted) > 0 {
			r.MessageAttributes, r.MD5OfMessageAttributes = wanted, attributesMD5(wanted)
		}
		answer.Messages = append(answer.Messages, r)
	}
	return encode(answer)
}

// receipt is one message to delete or to hide.
type receipt struct {
	Id                string // of a batch
	ReceiptHandle     string
	VisibilityTimeout *int
}

// remove deletes a message; one that is gone already is no error. The queue's
// mutex is held.
func (q *queue) remove(r receipt, now time.Time) *apiError {
	m := q.handles[r.ReceiptHandle]
	switch {
	case m == nil && len(r.ReceiptHandle) < 64:
		return refuse("ReceiptHandleIsInvalid", "The input receipt handle is invalid.")
	case m == nil:
		return nil
	case q.fifo && !m.flying(now):
		return refuse("InvalidParameterValue", "Value %s for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired.", r.ReceiptHandle)
	}
	q.messages = slices.DeleteFunc(q.messages, func(other *message) bool { return other == m })
	return nil
}

// hide sets how long a message stays in flight. The queue's mutex is held.
func (q *queue) hide(r receipt, now time.Time) *apiError {
	m := q.handles[r.ReceiptHandle]
	switch {
	case r.VisibilityTimeout == nil || *r.VisibilityTimeout < 0 || *r.VisibilityTimeout > maxVisibility:
		return refuse("InvalidParameterValue", "Value for parameter VisibilityTimeout is invalid. Reason: VisibilityTimeout must be an integer between 0 and 43200.")
	case m == nil:
		return refuse("ReceiptHandleIsInvalid", "The input receipt handle is invalid.")
	case m.handle != r.ReceiptHandle || !m.flying(now) || !slices.Contains(q.messages, m):
		return refuse("MessageNotInflight", "The message referred to isn't in flight.")
	}
	m.visible = now.Add(time.Duration(*r.VisibilityTimeout) * time.Second)
	return nil
}

func deleteMessage(c *call) ([]byte, *apiError)         { return c.receipt((*queue).remove) }
func deleteMessageBatch(c *call) ([]byte, *apiError)    { return c.receipts((*queue).remove) }
func changeVisibility(c *call) ([]byte, *apiError)      { return c.receipt((*queue).hide) }
func changeVisibilityBatch(c *call) ([]byte, *apiError) { return c.receipts((*queue).hide) }

func (c *call) receipt(act func(*queue, receipt, time.Time) *apiError) ([]byte, *apiError) {
	var in struct {
		QueueUrl string
		receipt
	}
	if e := c.decode(&in); e != nil {
		return nil, e
	}
	q, e := c.queueByURL(in.QueueUrl)
	if e != nil {
		return nil, e
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if e := act(q, in.receipt, c.server.now()); e != nil {
		return nil, e
	}
	return []byte("{}"), nil
}

func (c *call) receipts(act func(*queue, receipt, time.Time) *apiError) ([]byte, *apiError) {
	var in struct {
		QueueUrl string
		Entries  []receipt
	}
	if e := c.decode(&in); e != nil {
		return nil, e
	}
	q, e := c.queueByURL(in.QueueUrl)
	if e != nil {
		return nil, e
	}
	var ids []string
	for _, entry := range in.Entries {
		ids = append(ids, entry.Id)
	}
	if e := batch(ids); e != nil {
		return nil, e
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	var answer struct {
		Successful []map[string]string
		Failed     []batchFailure
	}
	for _, entry := range in.Entries {
		e := c.recordFault(resource{account: q.account, arn: q.arn, queue: q.name})
		if e == nil {
			e = act(q, entry, c.server.now())
		}
		if e != nil {
			answer.Failed = append(answer.Failed, failedEntry(entry.Id, e))
			continue
		}
		answer.Successful = append(answer.Successful, map[string]string{"Id": entry.Id})
	}
	return encode(answer)
}
