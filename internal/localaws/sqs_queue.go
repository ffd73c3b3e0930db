package localaws

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

var sqsOperations = map[string]operation{
	"CreateQueue":                  createQueue,
	"DeleteQueue":                  deleteQueue,
	"GetQueueUrl":                  getQueueURL,
	"GetQueueAttributes":           getQueueAttributes,
	"PurgeQueue":                   purgeQueue,
	"SendMessage":                  sendMessage,
	"SendMessageBatch":             sendMessageBatch,
	"ReceiveMessage":               receiveMessage,
	"DeleteMessage":                deleteMessage,
	"DeleteMessageBatch":           deleteMessageBatch,
	"ChangeMessageVisibility":      changeVisibility,
	"ChangeMessageVisibilityBatch": changeVisibilityBatch,
}

const (
	maxQueues = 1000 // per server

	minMessageSize    = 1 << 10
	maxMessageSize    = 1 << 20 // also of one request's messages together
	maxBatch          = 10
	maxAttributes     = 10 // of one message
	maxInFlight       = 120_000
	maxVisibility     = 12 * 60 * 60 // seconds
	maxWait           = 20           // seconds
	deduplicationTime = 5 * time.Minute
)

var queueName = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,75}(\.fifo)?$`)

// queue is one queue of SQS.
type queue struct {
	account, region, name, arn string
	fifo                       bool
	created                    time.Time
	attributes                 map[string]string // as they were set

	mu         sync.Mutex // guards everything below
	limit      int        // MaximumMessageSize
	visibility time.Duration
	retention  time.Duration
	delay      time.Duration
	wait       int                 // ReceiveMessageWaitTimeSeconds
	byContent  bool                // ContentBasedDeduplication
	perGroup   bool                // DeduplicationScope is messageGroup
	messages   []*message          // in the order they were sent
	seen       map[string]*sent    // FIFO: by deduplication id
	lastN      uint64              // of the last message
	arrived    chan struct{}       // closed when a message is sent
	policies   map[string]bool     // accounts that may use the queue
	handles    map[string]*message // the receipt handles that are known
}

// sent is what a FIFO queue remembers of a message for the interval.
type sent struct {
	id string
	n  uint64
	at time.Time
}

// queueByURL finds the queue of a request, checks that the caller may use it,
// and lets faults act. The URL's host is not looked at, as in the service.
func (c *call) queueByURL(text string) (*queue, *apiError) {
	if text == "" {
		return nil, refuse("MissingParameter", "The request must contain the parameter QueueUrl.")
	}
	parts := strings.Split(text, "/")
	if len(parts) < 5 || !accountID.MatchString(parts[len(parts)-2]) || !queueName.MatchString(parts[len(parts)-1]) {
		return nil, &apiError{status: 404, code: "InvalidAddress", message: "The address " + text + " is not valid for this endpoint."}
	}
	return c.queue(parts[len(parts)-2], parts[len(parts)-1])
}

func (c *call) queue(account, name string) (*queue, *apiError) {
	arn := queueARN(c.region, account, name)
	c.server.mu.RLock()
	q := c.server.queues[arn]
	c.server.mu.RUnlock()
	if account != c.caller.account && (q == nil || !q.allowsAccount(c.caller.account)) {
		return nil, c.denied(arn, "no resource-based policy allows")
	}
	if e := c.enter(resource{account: account, arn: arn, queue: name}); e != nil {
		return nil, e
	}
	if q == nil {
		return nil, refuse("QueueDoesNotExist", "The specified queue does not exist.")
	}
	return q, nil
}

func queueARN(region, account, name string) string {
	return "arn:aws:sqs:" + region + ":" + account + ":" + name
}

func (q *queue) allowsAccount(id string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.policies[id]
}

func (s *Server) allowQueue(arn, account string) error {
	s.mu.RLock()
	q := s.queues[arn]
	s.mu.RUnlock()
	if q == nil {
		return fmt.Errorf("queue %s: there is none", arn)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.policies[account] = true
	return nil
}

// queueURL is the queue's, at the host that the request came to.
func (c *call) queueURL(q *queue) string {
	return "http://" + c.host + "/" + q.account + "/" + q.name
}

// CreateQueue makes a queue and returns its ARN. A name that ends in .fifo
// makes a FIFO queue. Attributes are those of the service.
func (s *Server) CreateQueue(account, region, name string, attributes map[string]string) (string, error) {
	s.mu.RLock()
	_, ok := s.accounts[account]
	s.mu.RUnlock()
	if !ok {
		return "", fmt.Errorf("create queue %s: there is no account %s", name, account)
	}
	if attributes == nil {
		attributes = map[string]string{}
	}
	if strings.HasSuffix(name, ".fifo") {
		attributes["FifoQueue"] = "true"
	}
	q, e := s.createQueue(account, region, name, attributes)
	if e != nil {
		return "", e.asError("create queue " + name)
	}
	return q.arn, nil
}

func (s *Server) createQueue(account, region, name string, attributes map[string]string) (*queue, *apiError) {
	q := &queue{account: account, region: region, name: name, arn: queueARN(region, account, name), created: s.now(),
		limit: maxMessageSize, visibility: 30 * time.Second, retention: 4 * 24 * time.Hour,
		seen: map[string]*sent{}, policies: map[string]bool{}, handles: map[string]*message{}, arrived: make(chan struct{}), attributes: attributes}
	q.fifo = attributes["FifoQueue"] == "true"
	if !queueName.MatchString(name) || strings.HasSuffix(name, ".fifo") != q.fifo || len(name) > 80 {
		return nil, refuse("InvalidParameterValue", "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length. The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with .fifo suffix and be 1 to 80 in length.")
	}
	if e := q.set(attributes); e != nil {
		return nil, e
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.queues[q.arn]; old != nil {
		for name, value := range attributes {
			if old.attributes[name] != value {
				return nil, refuse("QueueNameExists", "A queue already exists with the same name and a different value for attribute %s", name)
			}
		}
		return old, nil
	}
	if len(s.queues) >= maxQueues {
		return nil, refuse("OverLimit", "the local AWS has %d queues at most", maxQueues)
	}
	s.queues[q.arn] = q
	return q, nil
}

// set reads the attributes of a new queue.
func (q *queue) set(attributes map[string]string) *apiError {
	for name, text := range attributes {
		number, least, most := 0, 0, 0
		switch name {
		case "MaximumMessageSize":
			least, most = minMessageSize, maxMessageSize
		case "VisibilityTimeout":
			most = maxVisibility
		case "MessageRetentionPeriod":
			least, most = 60, 14*24*60*60
		case "DelaySeconds":
			most = 900
		case "ReceiveMessageWaitTimeSeconds":
			most = maxWait
		case "FifoQueue", "ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit":
			if name != "FifoQueue" && !q.fifo {
				return refuse("InvalidAttributeName", "Unknown Attribute %s.", name)
			}
			q.byContent = q.byContent || name == "ContentBasedDeduplication" && text == "true"
			q.perGroup = q.perGroup || name == "DeduplicationScope" && text == "messageGroup"
			continue
		default:
			return refuse("InvalidAttributeName", "Unknown Attribute %s.", name)
		}
		number, err := strconv.Atoi(text)
		if err != nil || number < least || number > most {
			return refuse("InvalidAttributeValue", "Invalid value for the parameter %s.", name)
		}
		switch name {
		case "MaximumMessageSize":
			q.limit = number
		case "VisibilityTimeout":
			q.visibility = time.Duration(number) * time.Second
		case "MessageRetentionPeriod":
			q.retention = time.Duration(number) * time.Second
		case "DelaySeconds":
			q.delay = time.Duration(number) * time.Second
		case "ReceiveMessageWaitTimeSeconds":
			q.wait = number
		}
	}
	return nil
}

func createQueue(c *call) ([]byte, *apiError) {
	var in struct {
		QueueName  string
		Attributes map[string]string
	}
	if e := c.decode(&in); e != nil {
		return nil, e
	}
	if e := c.enter(resource{account: c.caller.account, arn: queueARN(c.region, c.caller.account, in.QueueName), queue: in.QueueName}); e != nil {
		return nil, e
	}
	q, e := c.server.createQueue(c.caller.account, c.region, in.QueueName, in.Attributes)
	if e != nil {
		return nil, e
	}
	return encode(map[string]string{"QueueUrl": c.queueURL(q)})
}

func deleteQueue(c *call) ([]byte, *apiError) {
	q, e := c.namedQueue()
	if e != nil {
		return nil, e
	}
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	delete(c.server.queues, q.arn)
	return []byte("{}"), nil
}

// namedQueue is the queue of an operation that needs nothing else.
func (c *call) namedQueue() (*queue, *apiError) {
	var in struct{ QueueUrl string }
	if e := c.decode(&in); e != nil {
		return nil, e
	}
	return c.queueByURL(in.QueueUrl)
}

func getQueueURL(c *call) ([]byte, *apiError) {
	var in struct{ QueueName, QueueOwnerAWSAccountId string }
	if e := c.decode(&in); e != nil {
		return nil, e
	}
	account := in.QueueOwnerAWSAccountId
	if account == "" {
		account = c.caller.account
	}
	q, e := c.queue(account, in.QueueName)
	if e != nil {
		return nil, e
	}
	return encode(map[string]string{"QueueUrl": c.queueURL(q)})
}

func purgeQueue(c *call) ([]byte, *apiError) {
	q, e := c.namedQueue()
	if e != nil {
		return nil, e
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.messages = nil
	clear(q.handles)
	return []byte("{}"), nil
}

func getQueueAttributes(c *call) ([]byte, *apiError) {
	var in struct {
		QueueUrl       string
		AttributeNames []string
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
	now := c.server.now()
	q.expire(now)
	visible, delayed, flying := q.counts(now)
	seconds := func(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }
	all := map[string]string{
		"QueueArn": q.arn, "MaximumMessageSize": strconv.Itoa(q.limit), "VisibilityTimeout": seconds(q.visibility),
		"MessageRetentionPeriod": seconds(q.retention), "DelaySeconds": seconds(q.delay),
		"ReceiveMessageWaitTimeSeconds": strconv.Itoa(q.wait), "CreatedTimestamp": strconv.FormatInt(q.created.Unix(), 10),
		"LastModifiedTimestamp": strconv.FormatInt(q.created.Unix(), 10), "SqsManagedSseEnabled": "true",
		"ApproximateNumberOfMessages": strconv.Itoa(visible), "ApproximateNumberOfMessagesDelayed": strconv.Itoa(delayed),
		"ApproximateNumberOfMessagesNotVisible": strconv.Itoa(flying),
	}
	if q.fifo {
		all["FifoQueue"], all["ContentBasedDeduplication"] = "true", strconv.FormatBool(q.byContent)
	}
	answer := map[string]string{}
	for _, name := range in.AttributeNames {
		if name == "All" {
			answer = all
			break
		}
		if value, ok := all[name]; ok {
			answer[name] = value
		} else if name == "FifoQueue" || name == "ContentBasedDeduplication" || name == "Policy" || name == "RedrivePolicy" || name == "KmsMasterKeyId" {
			continue // not set
		} else {
			return nil, refuse("InvalidAttributeName", "Unknown Attribute %s.", name)
		}
	}
	return encode(map[string]any{"Attributes": answer})
}
