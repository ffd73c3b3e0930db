package localaws

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// message is one message of a queue; the queue's mutex guards it.
type message struct {
	id, body   string
	attributes map[string]messageAttribute
	group      string
	unique     string // deduplication id
	n          uint64
	sender     string
	sent       time.Time
	first      time.Time // received first
	received   int
	visible    time.Time // from when it may be received
	handle     string    // of the last receipt; empty: never received
}

type messageAttribute struct {
	DataType    string
	StringValue *string `json:",omitempty"`
	BinaryValue []byte  `json:",omitempty"`
}

// sendEntry is one message to send.
type sendEntry struct {
	Id                      string // of a batch
	MessageBody             *string
	DelaySeconds            *int
	MessageAttributes       map[string]messageAttribute
	MessageGroupId          string
	MessageDeduplicationId  string
	MessageSystemAttributes map[string]messageAttribute
}

var (
	fifoID        = regexp.MustCompile("^[a-zA-Z0-9!\"#$%&'()*+,./:;<=>?@\\[\\\\\\]^_`{|}~-]{1,128}$")
	attributeName = regexp.MustCompile(`^[a-zA-Z0-9_.-]{1,256}$`)
	dataType      = regexp.MustCompile(`^(String|Number|Binary)(\..{1,240})?$`)
	batchID       = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,80}$`)
)

// size is what counts for the limits.
func (e *sendEntry) size() int {
	n := 0
	if e.MessageBody != nil {
		n = len(*e.MessageBody)
	}
	for name, a := range e.MessageAttributes {
		n += len(name) + len(a.DataType) + len(a.BinaryValue)
		if a.StringValue != nil {
			n += len(*a.StringValue)
		}
	}
	return n
}

// check says why a message cannot be sent to the queue.
func (e *sendEntry) check(q *queue) *apiError {
	switch {
	case e.MessageBody == nil || *e.MessageBody == "":
		return refuse("MissingParameter", "The request must contain the parameter MessageBody.")
	case !validMessage(*e.MessageBody):
		return refuse("InvalidMessageContents", "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF")
	case e.size() > q.limit:
		return refuse("InvalidParameterValue", "One or more parameters are invalid. Reason: Message must be shorter than %d bytes.", q.limit)
	case len(e.MessageAttributes) > maxAttributes:
		return refuse("InvalidParameterValue", "Number of message attributes [%d] exceeds the allowed maximum [%d].", len(e.MessageAttributes), maxAttributes)
	case e.DelaySeconds != nil && (*e.DelaySeconds < 0 || *e.DelaySeconds > 900 || q.fifo && *e.DelaySeconds != 0):
		return refuse("InvalidParameterValue", "Value %d for parameter DelaySeconds is invalid. Reason: The request include parameter that is not valid for this queue type.", *e.DelaySeconds)
	case q.fifo && e.MessageGroupId == "":
		return refuse("MissingParameter", "The request must contain the parameter MessageGroupId.")
	case e.MessageGroupId != "" && !fifoID.MatchString(e.MessageGroupId):
		return refuse("InvalidParameterValue", "Value %s for parameter MessageGroupId is invalid. Reason: MessageGroupId can only include alphanumeric and punctuation characters. 1 to 128 in length.", e.MessageGroupId)
	case e.MessageDeduplicationId != "" && !q.fifo:
		return refuse("InvalidParameterValue", "Value %s for parameter MessageDeduplicationId is invalid. Reason: The request includes a parameter that is not valid for this queue type.", e.MessageDeduplicationId)
	case e.MessageDeduplicationId != "" && !fifoID.MatchString(e.MessageDeduplicationId):
		return refuse("InvalidParameterValue", "Value %s for parameter MessageDeduplicationId is invalid. Reason: MessageDeduplicationId can only include alphanumeric and punctuation characters. 1 to 128 in length.", e.MessageDeduplicationId)
	case q.fifo && e.MessageDeduplicationId == "" && !q.byContent:
		return refuse("InvalidParameterValue", "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly")
	}
	for name, a := range e.MessageAttributes {
		switch {
		case !attributeName.MatchString(name):
			return refuse("InvalidParameterValue", "Message attribute name '%s' is invalid.", name)
		case !dataType.MatchString(a.DataType):
			return refuse("InvalidParameterValue", "The type of message attribute '%s' is invalid. You must use only the following supported type prefixes: Binary, Number, String.", name)
		case a.StringValue == nil && len(a.BinaryValue) == 0 || a.StringValue != nil && (*a.StringValue == "" || !validMessage(*a.StringValue)):
			return refuse("InvalidParameterValue", "Message attribute '%s' must contain a non-empty value of type '%s'.", name, a.DataType)
		}
	}
	return nil
}

// validMessage says whether the service takes all characters of a text.
func validMessage(s string) bool {
	for i, r := range s {
		switch {
		case r == utf8.RuneError:
			if _, n := utf8.DecodeRuneInString(s[i:]); n == 1 {
				return false
			}
		case r < ' ' && r != '\t' && r != '\n' && r != '\r', r == 0xFFFE, r == 0xFFFF:
			return false
		}
	}
	return true
}

// add puts a message into the queue, or finds the one that it repeats. The
// queue's mutex is held.
func (q *queue) add(e *sendEntry, sender string, now time.Time) *message {
	unique := e.MessageDeduplicationId
	if q.fifo && unique == "" {
		sum := sha256.Sum256([]byte(*e.MessageBody))
		unique = hex.EncodeToString(sum[:])
	}
	scope := unique
	if q.perGroup {
		scope = e.MessageGroupId + "\n" + unique
	}
	if old := q.seen[scope]; q.fifo && old != nil && now.Sub(old.at) < deduplicationTime {
		return &message{id: old.id, n: old.n}
	}
	q.lastN++
	delay := q.delay
	if e.DelaySeconds != nil {
		delay = time.Duration(*e.DelaySeconds) * time.Second
	}
	m := &message{id: requestID(), body: *e.MessageBody, attributes: e.MessageAttributes, group: e.MessageGroupId, unique: unique,
		n: q.lastN, sender: sender, sent: now, visible: now.Add(delay)}
	q.messages = append(q.messages, m)
	if q.fifo {
		q.seen[scope] = &sent{id: m.id, n: m.n, at: now}
	}
	close(q.arrived)
	q.arrived = make(chan struct{})
	return m
}

// sentAnswer is what the service says of a message that it has.
func sentAnswer(q *queue, e *sendEntry, m *message) map[string]string {
	answer := map[string]string{"MessageId": m.id, "MD5OfMessageBody": md5Hex(*e.MessageBody)}
	if len(e.MessageAttributes) > 0 {
		answer["MD5OfMessageAttributes"] = attributesMD5(e.MessageAttributes)
	}
	if q.fifo {
		answer["SequenceNumber"] = sqsNumber(m.n)
	}
	return answer
}

// sqsNumber is a sequence number of 20 digits, as the service's are.
func sqsNumber(n uint64) string { return strconv.FormatUint(18_800_000_000_000_000_000/2+n, 10) }

func md5Hex(s string) string {
	sum := md5.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

// attributesMD5 is the sum that clients may check, as the developer guide has it.
func attributesMD5(attributes map[string]messageAttribute) string {
	h := md5.New()
	put := func(b []byte) {
		var n [4]byte
		binary.BigEndian.PutUint32(n[:], uint32(len(b)))
		h.Write(n[:])
		h.Write(b)
	}
	for _, name := range slices.Sorted(maps.Keys(attributes)) {
		a := attributes[name]
		put([]byte(name))
		put([]byte(a.DataType))
		if a.StringValue != nil {
			h.Write([]byte{1})
			put([]byte(*a.StringValue))
		} else {
			h.Write([]byte{2})
			put(a.BinaryValue)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

func sendMessage(c *call) ([]byte, *apiError) {
	var in struct {
		QueueUrl string
		sendEntry
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
	if e := in.check(q); e != nil {
		return nil, e
	}
	return encode(sentAnswer(q, &in.sendEntry, q.add(&in.sendEntry, c.caller.userID, c.server.now())))
}

// batchFailure is an entry of a batch that failed.
type batchFailure struct {
	Id          string
	SenderFault bool
	Code        string
	Message     string
}

func failedEntry(id string, e *apiError) batchFailure {
	return batchFailure{Id: id, SenderFault: e.status < 500, Code: e.code, Message: e.message}
}

// batch checks what all batches have in common.
func batch(ids []string) *apiError {
	switch {
	case len(ids) == 0:
		return refuse("EmptyBatchRequest", "There should be at least one entry in the request.")
	case len(ids) > maxBatch:
		return refuse("TooManyEntriesInBatchRequest", "Maximum number of entries per request are %d. You have sent %d.", maxBatch, len(ids))
	}
	for i, id := range ids {
		if !batchID.MatchString(id) {
			return refuse("InvalidBatchEntryId", "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long.")
		}
		if slices.Contains(ids[:i], id) {
			return refuse("BatchEntryIdsNotDistinct", "Id %s repeated.", id)
		}
	}
	return nil
}

func sendMessageBatch(c *call) ([]byte, *apiError) {
	var in struct {
		QueueUrl string
		Entries  []sendEntry
	}
	if e := c.decode(&in); e != nil {
		return nil, e
	}
	q, e := c.queueByURL(in.QueueUrl)
	if e != nil {
		return nil, e
	}
	var ids []string
	size := 0
	for i := range in.Entries {
		ids = append(ids, in.Entries[i].Id)
		size += in.Entries[i].size()
	}
	if e := batch(ids); e != nil {
		return nil, e
	}
	if size > maxMessageSize {
		return nil, refuse("BatchRequestTooLong", "Batch requests cannot be longer than %d bytes. You have sent %d bytes.", maxMessageSize, size)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	var answer struct {
		Successful []map[string]string
		Failed     []batchFailure
	}
	for i := range in.Entries {
		entry := &in.Entries[i]
		e := entry.check(q)
		if e == nil {
			e = c.recordFault(resource{account: q.account, arn: q.arn, queue: q.name})
		}
		if e != nil {
			answer.Failed = append(answer.Failed, failedEntry(entry.Id, e))
			continue
		}
		sent := sentAnswer(q, entry, q.add(entry, c.caller.userID, c.server.now()))
		sent["Id"] = entry.Id
		answer.Successful = append(answer.Successful, sent)
	}
	return encode(answer)
}

// receiptHandle is random, as long as the service's are at the least.
func receiptHandle() string {
	var b [96]byte
	randomBytes(b[:])
	return base64.StdEncoding.EncodeToString(b[:])
}
