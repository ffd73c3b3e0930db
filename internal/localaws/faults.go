package localaws

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// FaultKind is what a fault does.
type FaultKind string

// The kinds of faults.
const (
	Throttle        FaultKind = "throttle"         // the service's throttling error, without effect
	Error500        FaultKind = "error500"         // the service's internal error, without effect
	Delay           FaultKind = "delay"            // Fault.Delay before the operation
	DropBefore      FaultKind = "drop_before"      // the connection closes, without effect
	DropAfter       FaultKind = "drop_after"       // the connection closes after the effect: the answer is lost
	ExpiredIterator FaultKind = "expired_iterator" // kinesis.GetRecords
	EmptyRead       FaultKind = "empty_read"       // kinesis.GetRecords: nothing, though not at the tip
	PartialPut      FaultKind = "partial_put"      // kinesis.PutRecords and the batches of SQS and SNS: drawn per record or entry, which fails with InternalFailure
	DropEvent       FaultKind = "drop_event"       // kinesis.SubscribeToShard: drawn per event; the connection closes in the middle of it
	ErrorEvent      FaultKind = "error_event"      // kinesis.SubscribeToShard: drawn per event; the service's internal error instead of it
	StaleRead       FaultKind = "stale_read"       // dynamodb reads without ConsistentRead: each item as before its last write
)

// Fault makes operations fail on demand. Empty fields match everything.
type Fault struct {
	// Operation is "kinesis.GetRecords", "dynamodb.*" or "*".
	Operation string `json:"operation"`
	// Account is the account of the resource; for operations without one, the
	// caller's.
	Account string `json:"account,omitempty"`
	Stream  string `json:"stream,omitempty"` // name
	Shard   string `json:"shard,omitempty"`  // id; for puts, drawn per record
	Table   string `json:"table,omitempty"`  // name
	Queue   string `json:"queue,omitempty"`  // name
	Topic   string `json:"topic,omitempty"`  // name
	Bucket  string `json:"bucket,omitempty"` // name
	Role    string `json:"role,omitempty"`   // ARN, for sts.AssumeRole

	Kind FaultKind `json:"kind"`
	// Skip lets that many matching calls pass first.
	Skip int `json:"skip,omitempty"`
	// Count ends the fault after that many effects; 0: it lasts until removed.
	Count int `json:"count,omitempty"`
	// Probability of an effect on each matching call, drawn from Seed; 0: 1.
	Probability float64 `json:"probability,omitempty"`
	Seed        uint64  `json:"seed,omitempty"`
	// DelayMillis is the wait of a delay.
	DelayMillis int64 `json:"delay_ms,omitempty"`
}

// effects are what the matching faults ask of the operation itself.
type effects struct {
	dropBefore, dropAfter, emptyRead, staleRead bool
}

type activeFault struct {
	Fault
	id     int
	random *rand.Rand
	done   int
}

// faultSet holds the active faults.
type faultSet struct {
	some atomic.Bool // false: no need to look

	mu     sync.Mutex // guards the fields below
	active []*activeFault
	lastID int
}

// maxFaults bounds the active faults: more is a mistake of the test.
const maxFaults = 1000

// AddFault activates a fault and returns its number, for RemoveFault.
func (s *Server) AddFault(f Fault) (int, error) {
	kinds := []FaultKind{Throttle, Error500, Delay, DropBefore, DropAfter, ExpiredIterator, EmptyRead, PartialPut, DropEvent, ErrorEvent, StaleRead}
	if !slices.Contains(kinds, f.Kind) {
		return 0, fmt.Errorf("add fault: kind %q is none of %q", f.Kind, kinds)
	}
	if _, err := path.Match(f.Operation, ""); err != nil || f.Operation == "" {
		return 0, fmt.Errorf("add fault: operation %q is no pattern such as kinesis.GetRecords, dynamodb.* or *", f.Operation)
	}
	if f.Probability < 0 || f.Probability > 1 || f.Count < 0 || f.Skip < 0 || f.DelayMillis < 0 {
		return 0, fmt.Errorf("add fault: a probability is 0 to 1, and counts and delays are not negative")
	}
	if f.Kind == Delay && f.DelayMillis == 0 {
		return 0, fmt.Errorf("add fault: a delay needs its milliseconds")
	}
	set := &s.faults
	set.mu.Lock()
	defer set.mu.Unlock()
	if len(set.active) >= maxFaults {
		return 0, fmt.Errorf("add fault: %d are active", maxFaults)
	}
	set.lastID++
	set.active = append(set.active, &activeFault{Fault: f, id: set.lastID, random: rand.New(rand.NewPCG(f.Seed, 1))})
	set.some.Store(true)
	return set.lastID, nil
}

// RemoveFault ends a fault; one that has ended already is no error.
func (s *Server) RemoveFault(id int) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.active = slices.DeleteFunc(s.faults.active, func(f *activeFault) bool { return f.id == id })
	s.faults.some.Store(len(s.faults.active) > 0)
}

// ClearFaults ends all faults.
func (s *Server) ClearFaults() {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.active = nil
	s.faults.some.Store(false)
}

// draw returns the faults that take effect on one call, and counts them.
func (set *faultSet) draw(operation, caller string, r resource, wanted func(*Fault) bool) []Fault {
	if !set.some.Load() {
		return nil
	}
	set.mu.Lock()
	defer set.mu.Unlock()
	var drawn []Fault
	ended := false
	for _, f := range set.active {
		if !wanted(&f.Fault) || !f.matches(operation, caller, r) {
			continue
		}
		if f.Skip > 0 {
			f.Skip--
			continue
		}
		if f.Probability > 0 && f.random.Float64() >= f.Probability {
			continue
		}
		drawn = append(drawn, f.Fault)
		f.done++
		ended = ended || f.ended()
	}
	if ended {
		set.active = slices.DeleteFunc(set.active, (*activeFault).ended)
		set.some.Store(len(set.active) > 0)
	}
	return drawn
}

func (f *activeFault) ended() bool { return f.Count > 0 && f.done >= f.Count }

func (f *Fault) matches(operation, caller string, r resource) bool {
	account := r.account
	if account == "" {
		account = caller
	}
	if ok, _ := path.Match(f.Operation, operation); !ok {
		return false
	}
	return equalOrEmpty(f.Account, account) && equalOrEmpty(f.Stream, r.stream) && equalOrEmpty(f.Shard, r.shard) &&
		equalOrEmpty(f.Table, r.table) && equalOrEmpty(f.Queue, r.queue) && equalOrEmpty(f.Topic, r.topic) && equalOrEmpty(f.Bucket, r.bucket) && equalOrEmpty(f.Role, r.role)
}

func equalOrEmpty(want, got string) bool { return want == "" || want == got }

// perRecord says whether a fault of a put is drawn for each record.
func (f *Fault) perRecord() bool {
	return f.Kind == PartialPut || (f.Kind == Throttle && f.Shard != "")
}

// perEvent says whether a fault of a subscription is drawn for each event.
func (f *Fault) perEvent() bool { return f.Kind == DropEvent || f.Kind == ErrorEvent }

// eventFault is what happens to one event of a subscription; empty: nothing.
func (c *call) eventFault(r resource) FaultKind {
	if drawn := c.server.faults.draw(c.service+"."+c.operation, c.caller.account, r, (*Fault).perEvent); len(drawn) > 0 {
		return drawn[0].Kind
	}
	return ""
}

// fault applies the faults that match the call before its effect.
func (c *call) fault(r resource) *apiError {
	put := c.operation == "PutRecords" || c.operation == "PutRecord" || (c.service == "sqs" || c.service == "sns") && strings.HasSuffix(c.operation, "Batch")
	var failure *apiError
	for _, f := range c.server.faults.draw(c.service+"."+c.operation, c.caller.account, r,
		func(f *Fault) bool { return (!put || !f.perRecord()) && !f.perEvent() }) {
		switch f.Kind {
		case Throttle:
			failure = c.throttled()
		case Error500:
			failure = c.internal()
		case ExpiredIterator:
			failure = refuse("ExpiredIteratorException", "Iterator expired.")
		case Delay:
			c.wait(time.Duration(f.DelayMillis) * time.Millisecond)
		case DropBefore:
			c.effects.dropBefore = true
			failure = refuse("Dropped", "the connection is closed before the effect")
		case DropAfter:
			c.effects.dropAfter = true
		case EmptyRead:
			c.effects.emptyRead = true
		case StaleRead:
			c.effects.staleRead = true
		}
	}
	return failure
}

// recordFault fails one record of a put.
func (c *call) recordFault(r resource) *apiError {
	drawn := c.server.faults.draw(c.service+"."+c.operation, c.caller.account, r, (*Fault).perRecord)
	switch {
	case len(drawn) == 0:
		return nil
	case drawn[0].Kind == Throttle:
		return c.throttled()
	}
	return c.internal()
}

// wait lasts for d or until the client has gone.
func (c *call) wait(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.context.Done():
	}
}

func (c *call) throttled() *apiError {
	switch {
	case c.service == "sts":
		return refuse("Throttling", "Rate exceeded")
	case c.service == "s3":
		return &apiError{status: http.StatusServiceUnavailable, code: "SlowDown", message: "Please reduce your request rate."}
	case c.service == "sns":
		return &apiError{status: http.StatusTooManyRequests, code: "Throttled", message: "Rate exceeded"}
	case c.service == "sqs":
		return &apiError{status: http.StatusForbidden, code: "RequestThrottled", message: "Request is throttled."}
	case c.service == "kinesis" && !dataOperations[c.operation]:
		return refuse("LimitExceededException", "Rate exceeded")
	case c.service == "kinesis":
		return refuse("ProvisionedThroughputExceededException", "Rate exceeded for the stream")
	case dataOperations[c.operation]:
		return refuse("ProvisionedThroughputExceededException", "The level of configured provisioned throughput for the table was exceeded. Consider increasing your provisioning level with the UpdateTable API")
	default:
		return refuse("ThrottlingException", "Rate of requests exceeds the allowed throughput.")
	}
}

// dataOperations throttle with ProvisionedThroughputExceededException.
var dataOperations = map[string]bool{
	"GetRecords": true, "GetShardIterator": true, "PutRecord": true, "PutRecords": true,
	"GetItem": true, "PutItem": true, "UpdateItem": true, "DeleteItem": true, "Scan": true, "Query": true,
	"BatchGetItem": true, "BatchWriteItem": true,
}

func (c *call) internal() *apiError {
	e := &apiError{status: http.StatusInternalServerError, code: "InternalFailure", message: "The request processing has failed because of an unknown error, exception or failure."}
	switch c.service {
	case "dynamodb":
		e.code, e.message = "InternalServerError", "Internal server error"
	case "kinesis":
		e.code = "InternalFailureException"
	case "s3", "sns":
		e.code, e.message = "InternalError", "We encountered an internal error. Please try again."
	case "secretsmanager":
		e.code = "InternalServiceError"
	}
	return e
}
