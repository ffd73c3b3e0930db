package localaws

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The service's limits on stream consumers.
const (
	maxConsumers           = 20 // per stream
	registrationsPerSecond = 5  // per stream
)

// streamConsumer is a consumer that is registered with a stream, for enhanced
// fan-out. Its stream's lock guards it.
type streamConsumer struct {
	name, arn string
	created   time.Time
	until     time.Time // CREATING until then
	deleted   bool
	readers   map[string]bool     // other accounts that may subscribe
	channels  map[string]*channel // by shard
}

// channel is a consumer's way to one shard.
type channel struct {
	called, granted time.Time     // the last SubscribeToShard, and the last that succeeded
	current         *subscription // nil: none
	bytes           bucket
}

func (sc *streamConsumer) state(now time.Time) string {
	if now.Before(sc.until) {
		return "CREATING"
	}
	return "ACTIVE"
}

func (sc *streamConsumer) describe(now time.Time) map[string]any {
	return map[string]any{"ConsumerName": sc.name, "ConsumerARN": sc.arn, "ConsumerStatus": sc.state(now),
		"ConsumerCreationTimestamp": sc.created.Unix()}
}

// consumerRef is how requests name a consumer.
type consumerRef struct {
	StreamARN, ConsumerName, ConsumerARN string
}

// consumer finds the consumer of a request, checks that the caller may use it,
// and lets faults act. shard may be empty.
func (c *call) consumer(ref consumerRef, shard string) (*stream, *streamConsumer, *apiError) {
	streamARN, tail := ref.StreamARN, ref.ConsumerName
	if ref.ConsumerARN != "" {
		var ok bool
		if streamARN, tail, ok = strings.Cut(ref.ConsumerARN, "/consumer/"); !ok {
			return nil, nil, refuse("ValidationException", "1 validation error detected: Value '%s' at 'consumerARN' failed to satisfy constraint: Member must satisfy regular expression pattern: ^(arn):aws.*:kinesis:.*:\\d{12}:.*stream\\/[a-zA-Z0-9_.-]+\\/consumer\\/[a-zA-Z0-9_.-]+:[0-9]+", ref.ConsumerARN)
		}
		tail, _, _ = strings.Cut(tail, ":")
	}
	if streamARN == "" || tail == "" {
		return nil, nil, refuse("InvalidArgumentException", "Either ConsumerARN, or StreamARN and ConsumerName, should be provided.")
	}
	name, account, region, e := parseStreamARN(streamARN)
	if e != nil {
		return nil, nil, e
	}
	c.server.mu.RLock()
	st := c.server.streams[streamARN]
	c.server.mu.RUnlock()
	var found *streamConsumer
	shared := false
	arn := cmp.Or(ref.ConsumerARN, streamARN+"/consumer/"+tail+":0")
	if st != nil {
		st.mu.Lock()
		found = st.consumers[tail]
		if found != nil && ref.ConsumerARN != "" && found.arn != ref.ConsumerARN {
			found = nil // one of an earlier registration
		}
		if found != nil {
			arn, shared = found.arn, found.readers[c.caller.account]
		}
		st.mu.Unlock()
	}
	if account != c.caller.account && (!shared || !sharedOperations[c.operation]) {
		return nil, nil, c.denied(arn, "no resource-based policy allows")
	}
	if e := c.enter(resource{account: account, arn: arn, stream: name, shard: shard}); e != nil {
		return nil, nil, e
	}
	if st == nil || region != c.region {
		return nil, nil, streamNotFound(name, account)
	}
	if found == nil {
		return nil, nil, consumerNotFound(tail, st)
	}
	return st, found, nil
}

func consumerNotFound(name string, st *stream) *apiError {
	return refuse("ResourceNotFoundException", "Consumer %s in stream %s under account %s not found.", name, st.name, st.account)
}

func registerStreamConsumer(c *call) ([]byte, *apiError) {
	var in consumerRef
	if e := c.decode(&in); e != nil {
		return nil, e
	}
	if !streamName.MatchString(in.ConsumerName) {
		return nil, refuse("ValidationException", "1 validation error detected: Value '%s' at 'consumerName' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+", in.ConsumerName)
	}
	st, e := c.stream(streamRef{StreamARN: in.StreamARN}, "")
	if e != nil {
		return nil, e
	}
	now := c.server.now()
	st.mu.Lock()
	defer st.mu.Unlock()
	if e := st.checkReady(now); e != nil {
		return nil, e
	}
	if st.consumers[in.ConsumerName] != nil {
		return nil, refuse("ResourceInUseException", "Consumer %s in stream %s under account %s already exists.", in.ConsumerName, st.name, st.account)
	}
	if st.registrations.refill(now); st.registrations.tokens < 1 && !c.server.config.Unlimited {
		return nil, refuse("LimitExceededException", "Rate exceeded for the stream %s under account %s.", st.name, st.account)
	}
	st.registrations.tokens--
	if len(st.consumers) >= maxConsumers {
		return nil, refuse("LimitExceededException", "The stream %s under account %s has %d consumers, the most that are allowed.", st.name, st.account, maxConsumers)
	}
	sc := &streamConsumer{name: in.ConsumerName, arn: fmt.Sprintf("%s/consumer/%s:%d", st.arn, in.ConsumerName, st.consumerTime(now)),
		created: now.Truncate(time.Second), until: now.Add(c.server.config.StatusDelay), readers: map[string]bool{}, channels: map[string]*channel{}}
	if st.consumers == nil {
		st.consumers = map[string]*streamConsumer{}
	}
	st.consumers[sc.name] = sc
	description := sc.describe(now)
	description["ConsumerStatus"] = "CREATING" // the service's answer, always
	return encode(map[string]any{"Consumer": description})
}

// consumerTime is the number in a consumer's ARN: a consumer that is registered
// again has another one. The stream's lock is held.
func (st *stream) consumerTime(now time.Time) int64 {
	st.consumerStamp = max(now.Unix(), st.consumerStamp+1)
	return st.consumerStamp
}

func describeStreamConsumer(c *call) ([]byte, *apiError) {
	var in consumerRef
	if e := c.decode(&in); e != nil {
		return nil, e
	}
	st, sc, e := c.consumer(in, "")
	if e != nil {
		return nil, e
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	description := sc.describe(c.server.now())
	description["StreamARN"] = st.arn
	return encode(map[string]any{"ConsumerDescription": description})
}

func deregisterStreamConsumer(c *call) ([]byte, *apiError) {
	var in consumerRef
	if e := c.decode(&in); e != nil {
		return nil, e
	}
	st, sc, e := c.consumer(in, "")
	if e != nil {
		return nil, e
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	sc.deleted = true
	delete(st.consumers, sc.name)
	st.wake()
	return nil, nil
}

// listStreamConsumers answers in one page: a stream has few.
func listStreamConsumers(c *call) ([]byte, *apiError) {
	var in streamRef
	if e := c.decode(&in); e != nil {
		return nil, e
	}
	st, e := c.stream(in, "")
	if e != nil {
		return nil, e
	}
	now := c.server.now()
	st.mu.Lock()
	defer st.mu.Unlock()
	consumers := make([]map[string]any, 0, len(st.consumers))
	for _, sc := range st.consumers {
		consumers = append(consumers, sc.describe(now))
	}
	slices.SortFunc(consumers, func(a, b map[string]any) int {
		return cmp.Compare(a["ConsumerName"].(string), b["ConsumerName"].(string))
	})
	return encode(map[string]any{"Consumers": consumers})
}
