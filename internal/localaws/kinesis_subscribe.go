package localaws

import (
	"bytes"
	"net/http"
	"strconv"
	"time"

	"github.com/aws/smithy-go/eventstream"
)

const (
	// subscribeInterval is how long after a SubscribeToShard that succeeded the
	// same consumer is refused the same shard.
	subscribeInterval = 5 * time.Second
	// callInterval is the least time between two calls.
	callInterval = time.Second
	// eventBytes bounds the records of one event, but for a single larger one.
	eventBytes = 1 << 20
)

// subscription is a SubscribeToShard that was granted. Its handler serves it;
// the stream's lock guards taken.
type subscription struct {
	call     *call
	stream   *stream
	shard    *shard
	consumer *streamConsumer
	channel  *channel
	began    time.Time
	taken    bool // another one took over

	n     uint64    // the next record is the first one from here on
	event time.Time // the next one is due, whether there are records or not
}

func subscribeToShard(c *call) ([]byte, *apiError) {
	var in struct {
		ConsumerARN, ShardId string
		StartingPosition     *startingPosition
	}
	if e := c.decode(&in); e != nil {
		return nil, e
	}
	if in.ConsumerARN == "" || in.StartingPosition == nil {
		return nil, refuse("ValidationException", "ConsumerARN and StartingPosition should be provided.")
	}
	st, sc, e := c.consumer(consumerRef{ConsumerARN: in.ConsumerARN}, in.ShardId)
	if e != nil {
		return nil, e
	}
	s := c.server
	now := s.now()
	st.mu.Lock()
	defer st.mu.Unlock()
	if e := st.checkReady(now); e != nil {
		return nil, e
	}
	if sc.deleted {
		return nil, consumerNotFound(sc.name, st)
	}
	if state := sc.state(now); state != "ACTIVE" {
		return nil, refuse("ResourceInUseException", "Consumer %s is not ACTIVE, instead in state %s", sc.arn, state)
	}
	s.trim(st, now)
	sh := st.find(in.ShardId)
	if sh == nil {
		return nil, refuse("ResourceNotFoundException", "Shard %s in stream %s under account %s does not exist", in.ShardId, st.name, st.account)
	}
	s.stats.subscribe(st.arn, sh.id)
	ch := sc.channels[sh.id]
	if ch == nil {
		ch = &channel{bytes: newBucket(readBytesPerSecond, now)}
		sc.channels[sh.id] = ch
	}
	called := ch.called
	ch.called = now
	switch {
	case now.Sub(called) < callInterval && !s.config.Unlimited:
		return nil, refuse("LimitExceededException", "Rate exceeded for consumer %s and shard %s", sc.arn, sh.id)
	case now.Sub(ch.granted) < subscribeInterval:
		return nil, refuse("ResourceInUseException", "Another active subscription exists for this consumer: %s:%s:%s:%s", st.account, st.name, sh.id, sc.name)
	}
	n, e := st.locate(sh, *in.StartingPosition, "startingPosition", now)
	if e != nil {
		return nil, e
	}
	if ch.current != nil {
		ch.current.taken = true
		st.wake()
	}
	ch.granted = now
	ch.current = &subscription{call: c, stream: st, shard: sh, consumer: sc, channel: ch, began: now, n: n, event: now}
	c.subscription = ch.current
	return nil, nil
}

// serve writes events until the subscription ends or the client has gone.
func (sub *subscription) serve(w http.ResponseWriter) {
	defer sub.leave()
	lifetime := sub.call.server.config.SubscriptionLifetime
	control := http.NewResponseController(w)
	// A client that reads nothing does not keep its subscription. The error is
	// a writer's that knows no deadlines: a test's own.
	_ = control.SetWriteDeadline(time.Now().Add(lifetime + subscribeInterval))
	w.Header().Set("Content-Type", "application/vnd.amazon.eventstream")
	w.Header().Set("X-Amzn-Requestid", requestID())
	w.WriteHeader(http.StatusOK)
	send := func(frame []byte) bool {
		_, err := w.Write(frame)
		return err == nil && control.Flush() == nil
	}
	if !send(frame(eventstream.EventMessageType, "initial-response", []byte("{}"))) {
		return
	}
	for {
		event, wait, more := sub.next()
		if event != nil {
			switch fault := sub.call.eventFault(resource{account: sub.stream.account, stream: sub.stream.name, shard: sub.shard.id}); fault {
			case DropEvent:
				send(event[:len(event)/2])
				panic(http.ErrAbortHandler) // closes the connection
			case ErrorEvent:
				send(exception(sub.call.internal()))
				return
			}
			if !send(event) {
				return
			}
		}
		if !more {
			return
		}
		if event == nil && !wait.pass(sub.call) {
			return
		}
	}
}

// leave says that nobody serves the subscription any more.
func (sub *subscription) leave() {
	sub.stream.mu.Lock()
	defer sub.stream.mu.Unlock()
	if sub.channel.current == sub {
		sub.channel.current = nil
	}
}

// pause is what to wait for: a change of the stream, or time.
type pause struct {
	changed <-chan struct{}
	most    time.Duration
}

// pass says false when the client or the server has gone.
func (p pause) pass(c *call) bool {
	timer := time.NewTimer(p.most)
	defer timer.Stop()
	select {
	case <-p.changed:
	case <-timer.C:
	case <-c.server.closing:
		return false
	case <-c.context.Done():
		return false
	}
	return true
}

// next returns the next event, or how long to wait for it, and whether
// anything follows.
func (sub *subscription) next() (event []byte, wait pause, more bool) {
	s, st, sh := sub.call.server, sub.stream, sub.shard
	now := s.now()
	st.mu.Lock()
	defer st.mu.Unlock()
	if !st.deleted {
		s.trim(st, now)
	}
	left := s.config.SubscriptionLifetime - now.Sub(sub.began)
	switch {
	case sub.taken:
		return exception(refuse("ResourceInUseException", "Another active subscription exists for this consumer: %s:%s:%s:%s", st.account, st.name, sh.id, sub.consumer.name)), wait, false
	case st.deleted:
		return exception(streamNotFound(st.name, st.account)), wait, false
	case sub.consumer.deleted:
		return exception(consumerNotFound(sub.consumer.name, st)), wait, false
	case !st.listed(sh):
		return exception(shardNotFound(sh.id, st)), wait, false
	case !sub.call.caller.allows("kinesis:SubscribeToShard", sub.consumer.arn):
		return exception(sub.call.denied(sub.consumer.arn, "no identity-based policy allows")), wait, false
	case left <= 0:
		return nil, wait, false
	}
	wait = pause{changed: st.change(), most: min(left, max(time.Millisecond, sub.event.Sub(now)))}
	if sub.channel.bytes.refill(now); sub.channel.bytes.tokens <= 0 && !s.config.Unlimited {
		full := time.Duration(-sub.channel.bytes.tokens / readBytesPerSecond * float64(time.Second))
		return nil, pause{most: min(left, full+time.Millisecond)}, true
	}
	records, size, behind := sh.collect(sub.n, maxGetRecords, eventBytes, now)
	if len(records) > 0 {
		sub.n = records[len(records)-1].n + 1
	}
	ended := sh.atEnd(sub.n)
	if len(records) == 0 && !ended && now.Before(sub.event) {
		return nil, wait, true
	}
	sub.channel.bytes.tokens -= float64(size)
	s.stats.add(0, int64(len(records)), 0, 0)
	sub.event = now.Add(s.config.Heartbeat)
	return frame(eventstream.EventMessageType, "SubscribeToShardEvent", sub.json(records, behind, ended)), wait, !ended
}

// json is an event's payload. The stream's lock is held.
func (sub *subscription) json(records []record, behind int64, ended bool) []byte {
	out := make([]byte, 0, answerSize(records))
	out = append(out, `{"MillisBehindLatest":`...)
	out = strconv.AppendInt(out, behind, 10)
	if ended {
		out = append(out, `,"ContinuationSequenceNumber":null`...)
		out = appendChildren(out, sub.shard.children)
	} else {
		out = append(append(out, `,"ContinuationSequenceNumber":"`...), sub.shard.sequence(max(sub.n, 1)-1)...)
		out = append(out, '"')
	}
	return append(sub.shard.appendRecords(out, records), '}')
}

// frame is one message of the event stream protocol; kind is its
// ":message-type", name what the event or exception is called.
func frame(kind, name string, payload []byte) []byte {
	header := eventstream.EventTypeHeader
	if kind == eventstream.ExceptionMessageType {
		header = eventstream.ExceptionTypeHeader
	}
	m := eventstream.Message{Payload: payload}
	m.Headers.Set(eventstream.MessageTypeHeader, eventstream.StringValue(kind))
	m.Headers.Set(header, eventstream.StringValue(name))
	m.Headers.Set(eventstream.ContentTypeHeader, eventstream.StringValue("application/x-amz-json-1.1"))
	var out bytes.Buffer
	if err := eventstream.NewEncoder().Encode(&out, m); err != nil {
		panic(err) // a buffer takes everything, and the headers are ours
	}
	return out.Bytes()
}

func exception(e *apiError) []byte {
	return frame(eventstream.ExceptionMessageType, e.code, append(appendQuoted([]byte(`{"message":`), e.message), '}'))
}

// change is closed at the next change of the stream. The stream's lock is held.
func (st *stream) change() <-chan struct{} {
	if st.changed == nil {
		st.changed = make(chan struct{})
	}
	return st.changed
}

// wake wakes the subscriptions. The stream's lock is held.
func (st *stream) wake() {
	if st.changed != nil {
		close(st.changed)
		st.changed = nil
	}
}
