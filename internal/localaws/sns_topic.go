package localaws

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

var snsOperations = map[string]operation{
	"CreateTopic":        createTopic,
	"GetTopicAttributes": getTopicAttributes,
	"Subscribe":          subscribeQueue,
	"Publish":            publish,
	"PublishBatch":       publishBatch,
}

const (
	maxTopics = 1000 // per server
	// defaultTopicSize and maxTopicSize are of one message, and of a batch.
	defaultTopicSize = 256 << 10
	maxTopicSize     = 1 << 20
)

var topicName = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,251}(\.fifo)?$`)

// topic is one topic of SNS. It hands on to queues alone.
type topic struct {
	account, region, name, arn string
	fifo                       bool

	mu        sync.Mutex // guards everything below; taken before a queue's
	limit     int        // MaximumMessageSize
	byContent bool       // ContentBasedDeduplication
	queues    []topicQueue
	seen      map[string]*sent // FIFO: by deduplication id
	lastN     uint64
}

// topicQueue is a subscription.
type topicQueue struct {
	arn   string // its own
	queue *queue
	raw   bool // RawMessageDelivery
}

func topicARN(region, account, name string) string {
	return "arn:aws:sns:" + region + ":" + account + ":" + name
}

// CreateTopic makes a topic and returns its ARN. A name that ends in .fifo
// makes a FIFO topic. Attributes are those of the service.
func (s *Server) CreateTopic(account, region, name string, attributes map[string]string) (string, error) {
	s.mu.RLock()
	_, ok := s.accounts[account]
	s.mu.RUnlock()
	if !ok {
		return "", fmt.Errorf("create topic %s: there is no account %s", name, account)
	}
	t, e := s.createTopic(account, region, name, attributes)
	if e != nil {
		return "", e.asError("create topic " + name)
	}
	return t.arn, nil
}

// SubscribeQueue makes a topic hand on to a queue, raw or in the service's
// envelope.
func (s *Server) SubscribeQueue(topicARN, queueARN string, raw bool) error {
	s.mu.RLock()
	t := s.topics[topicARN]
	s.mu.RUnlock()
	if t == nil {
		return fmt.Errorf("subscribe %s: there is no topic %s", queueARN, topicARN)
	}
	if _, e := s.subscribeQueue(t, queueARN, raw); e != nil {
		return e.asError("subscribe " + queueARN)
	}
	return nil
}

func (s *Server) createTopic(account, region, name string, attributes map[string]string) (*topic, *apiError) {
	t := &topic{account: account, region: region, name: name, arn: topicARN(region, account, name), fifo: strings.HasSuffix(name, ".fifo"),
		limit: defaultTopicSize, seen: map[string]*sent{}}
	if !topicName.MatchString(name) {
		return nil, refuse("InvalidParameter", "Invalid parameter: Topic Name")
	}
	for name, value := range attributes {
		number, err := strconv.Atoi(value)
		switch {
		case name == "FifoTopic" && value == strconv.FormatBool(t.fifo):
		case name == "ContentBasedDeduplication" && t.fifo:
			t.byContent = value == "true"
		case name == "MaximumMessageSize" && err == nil && number >= 1<<10 && number <= maxTopicSize:
			t.limit = number
		default:
			return nil, refuse("InvalidParameter", "Invalid parameter: Attributes Reason: %s", name)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.topics[t.arn]; old != nil {
		return old, nil
	}
	if len(s.topics) >= maxTopics {
		return nil, refuse("TopicLimitExceeded", "the local AWS has %d topics at most", maxTopics)
	}
	s.topics[t.arn] = t
	return t, nil
}

func (s *Server) subscribeQueue(t *topic, queueARN string, raw bool) (string, *apiError) {
	s.mu.RLock()
	q := s.queues[queueARN]
	s.mu.RUnlock()
	switch {
	case q == nil:
		return "", refuse("InvalidParameter", "Invalid parameter: SQS endpoint ARN")
	case q.fifo && !t.fifo:
		return "", refuse("InvalidParameter", "Invalid parameter: Invalid parameter: Endpoint Reason: FIFO SQS Queues can not be subscribed to standard SNS topics")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.queues {
		if s.queue == q {
			return s.arn, nil
		}
	}
	subscription := topicQueue{arn: t.arn + ":" + requestID(), queue: q, raw: raw}
	t.queues = append(t.queues, subscription)
	return subscription.arn, nil
}

// topic finds the topic of a request, checks that the caller may use it, and
// lets faults act.
func (c *call) topic(arn string) (*topic, *apiError) {
	parts := strings.Split(arn, ":")
	if len(parts) != 6 || parts[2] != "sns" || !accountID.MatchString(parts[4]) {
		return nil, refuse("InvalidParameter", "Invalid parameter: TopicArn")
	}
	c.server.mu.RLock()
	t := c.server.topics[arn]
	c.server.mu.RUnlock()
	if parts[4] != c.caller.account {
		return nil, c.denied(arn, "no resource-based policy allows")
	}
	if e := c.enter(resource{account: parts[4], arn: arn, topic: parts[5]}); e != nil {
		return nil, e
	}
	if t == nil || parts[3] != c.region {
		return nil, &apiError{status: 404, code: "NotFound", message: "Topic does not exist"}
	}
	return t, nil
}

// formMap reads a map of the query protocol: PREFIX.entry.1.KEY and
// PREFIX.entry.1.VALUE.
func (c *call) formMap(prefix, key, value string) map[string]string {
	all := map[string]string{}
	for i := 1; ; i++ {
		at := fmt.Sprintf("%s.entry.%d.", prefix, i)
		if !c.form.Has(at + key) {
			return all
		}
		all[c.form.Get(at+key)] = c.form.Get(at + value)
	}
}

func createTopic(c *call) ([]byte, *apiError) {
	name := c.form.Get("Name")
	if e := c.enter(resource{account: c.caller.account, arn: topicARN(c.region, c.caller.account, name), topic: name}); e != nil {
		return nil, e
	}
	t, e := c.server.createTopic(c.caller.account, c.region, name, c.formMap("Attributes", "key", "value"))
	if e != nil {
		return nil, e
	}
	return fmt.Appendf(nil, "<TopicArn>%s</TopicArn>", t.arn), nil
}

func subscribeQueue(c *call) ([]byte, *apiError) {
	t, e := c.topic(c.form.Get("TopicArn"))
	if e != nil {
		return nil, e
	}
	if c.form.Get("Protocol") != "sqs" {
		return nil, refuse("InvalidParameter", "Invalid parameter: the local AWS hands on to sqs alone")
	}
	raw := c.formMap("Attributes", "key", "value")["RawMessageDelivery"] == "true"
	arn, e := c.server.subscribeQueue(t, c.form.Get("Endpoint"), raw)
	if e != nil {
		return nil, e
	}
	return fmt.Appendf(nil, "<SubscriptionArn>%s</SubscriptionArn>", arn), nil
}

func getTopicAttributes(c *call) ([]byte, *apiError) {
	t, e := c.topic(c.form.Get("TopicArn"))
	if e != nil {
		return nil, e
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	out := []byte("<Attributes>")
	add := func(name, value string) {
		out = fmt.Appendf(out, "<entry><key>%s</key><value>%s</value></entry>", name, escapeXML(value))
	}
	add("TopicArn", t.arn)
	add("Owner", t.account)
	add("SubscriptionsConfirmed", strconv.Itoa(len(t.queues)))
	if t.fifo {
		add("FifoTopic", "true")
		add("ContentBasedDeduplication", strconv.FormatBool(t.byContent))
	}
	return append(out, "</Attributes>"...), nil
}

// recently says whether a FIFO topic has had a message, and notes it. t.mu is
// held.
func (t *topic) recently(unique string, now time.Time) (*sent, bool) {
	if old := t.seen[unique]; old != nil && now.Sub(old.at) < deduplicationTime {
		return old, true
	}
	t.lastN++
	s := &sent{id: requestID(), n: t.lastN, at: now}
	t.seen[unique] = s
	return s, false
}
