package deliver

import (
	"time"

	"github.com/shardline/shardline/pipeline/opentravel"
)

// Class is what becomes of a record after an attempt.
type Class uint8

const (
	// Retry: the same record is attempted again, with back-off.
	Retry Class = iota
	// Delivered: the record is settled.
	Delivered
	// Refused: this record will never pass; it goes to the dead letters.
	Refused
	// Hold: no record will pass until somebody acts; the destination is held.
	Hold
	// HoldKey: the record waits until somebody acts, and its key with it.
	HoldKey
)

// Reason says why an attempt ended as it did. The set is closed: it is the
// label of the metrics too.
type Reason uint8

const (
	// ReasonCancelled: the tenure ended during the attempt. It is the zero
	// value: what says nothing has delivered nothing.
	ReasonCancelled Reason = iota
	ReasonDelivered
	ReasonConnection        // no connection, a broken one, or an answer that is not HTTP
	ReasonUnknownHost       // the host's name leads nowhere
	ReasonTLS               // a certificate is not accepted, or TLS is not spoken
	ReasonTimeout           // the attempt's time was up
	ReasonThrottled         // 429
	ReasonTryLater          // 408, 425, and what the destination's codes make retryable
	ReasonServerError       // 5xx but 501 and 505, and statuses that HTTP does not define
	ReasonBrokenAnswer      // 2xx, but the body that decides broke off
	ReasonUnwritable        // a file that takes nothing: its disk is full or fails
	ReasonOTARetryable      // the body asks to try again
	ReasonOTAUnclear        // the body decides nothing
	ReasonRejected          // 4xx that no other reason names, 501, 505
	ReasonOTAPermanent      // the body says that this message will never pass
	ReasonUnsendable        // no request can be made of the record
	ReasonUnauthorized      // 401, 403, 407
	ReasonNotFound          // 404
	ReasonRedirect          // 3xx
	ReasonOTAHold           // the body refuses the sender
	ReasonEncryption        // the key that encrypts the receiver's data cannot be used
	ReasonSettings          // the receiver refuses how it is called, whatever the record
	ReasonSecretUnavailable // a credential cannot be read, nothing was sent
	ReasonStaleCredentials  // 401, and newer credentials may be there soon
	ReasonStatusHold        // a status that the destination's own codes make a hold
	// The reasons from here on are no outcomes of an attempt, but of the
	// retry policy; they stand in dead letters and holds.
	ReasonMaxAttempts
	ReasonMaxAge
	ReasonBeforeTrim // the stream was about to trim the record
	// And those from here on are of a source, once for all its subscribers.
	ReasonUnreadable  // the record could not be read or keyed
	ReasonGap         // the stream trimmed records before they were read
	ReasonPossibleGap // it may have
	reasonCount
)

// outcomes is how many reasons are outcomes of attempts.
const outcomes = int(ReasonMaxAttempts)

// reasons is the one table of what reasons are called and mean.
var reasons = [reasonCount]struct {
	name  string
	class Class
	todo  string // for whoever reads that the destination is held
}{
	ReasonCancelled:         {"cancelled", Retry, ""},
	ReasonDelivered:         {"delivered", Delivered, ""},
	ReasonConnection:        {"connection", Retry, "check that the receiver is up and reachable from here"},
	ReasonUnknownHost:       {"unknown_host", Retry, "correct the host in the destination's URL, or its DNS"},
	ReasonTLS:               {"tls", Retry, "renew the certificate that is refused, or correct the destination's tls settings"},
	ReasonTimeout:           {"timeout", Retry, "ask the receiver why it is slow, or raise the time-out"},
	ReasonThrottled:         {"throttled", Retry, "lower the destination's concurrency"},
	ReasonTryLater:          {"try_later", Retry, "ask the receiver"},
	ReasonServerError:       {"server_error", Retry, "ask the receiver"},
	ReasonBrokenAnswer:      {"broken_answer", Retry, "ask the receiver why its answers break off"},
	ReasonUnwritable:        {"unwritable", Retry, "free the disk"},
	ReasonOTARetryable:      {"ota_retryable", Retry, "ask the receiver"},
	ReasonOTAUnclear:        {"ota_unclear", Retry, "ask the receiver what its answer means"},
	ReasonRejected:          {"rejected", Refused, "look at the receiver's answer; without dead letters a refused record holds its destination"},
	ReasonOTAPermanent:      {"ota_permanent", Refused, "look at the receiver's answer; without dead letters a refused record holds its destination"},
	ReasonUnsendable:        {"unsendable", Refused, "correct the record, its key, or the URL's template"},
	ReasonUnauthorized:      {"unauthorized", Hold, "correct the destination's credentials, here or at the receiver"},
	ReasonNotFound:          {"not_found", Hold, "correct the destination's URL, or the stream, queue, topic, bucket or file that it names"},
	ReasonRedirect:          {"redirect", Hold, "set the destination's URL to where the receiver has moved; redirects are not followed"},
	ReasonOTAHold:           {"ota_hold", Hold, "correct the credentials that the messages or the destination carry"},
	ReasonEncryption:        {"encryption", Hold, "let the destination's credentials use the key that encrypts the stream, queue, topic or bucket, or enable it"},
	ReasonSettings:          {"settings", Hold, "correct what the answer names in the destination's settings"},
	ReasonSecretUnavailable: {"secret_unavailable", Hold, "make the secret of the destination's headers or credentials readable, or its role to be had"},
	ReasonStaleCredentials:  {"stale_credentials", Retry, "correct the destination's credentials, here or at the receiver"},
	ReasonStatusHold:        {"status_hold", Hold, "look at the receiver's answer; the destination's codes make this status a hold"},
	ReasonMaxAttempts:       {"max_attempts", Refused, "repair the receiver; a destination that is held goes on when a probe passes, a key when it is released"},
	ReasonMaxAge:            {"max_age", Refused, "repair the receiver; a destination that is held goes on when a probe passes, a key when it is released"},
	ReasonBeforeTrim:        {"before_trim", Refused, ""},
	ReasonUnreadable:        {"unreadable", Refused, ""},
	ReasonGap:               {"gap", Refused, ""},
	ReasonPossibleGap:       {"possible_gap", Refused, ""},
}

func (r Reason) String() string {
	if r >= reasonCount {
		return "unknown"
	}
	return reasons[r].name
}

// Class is what the reason means for the record.
func (r Reason) Class() Class {
	if r >= reasonCount {
		return Retry
	}
	return reasons[r].class
}

// Answer is what came of one attempt.
type Answer struct {
	Reason     Reason
	Status     int           // of HTTP; 0: there was none
	RetryAfter time.Duration // the receiver's wish; 0: it has none
	Code       string        // of the body's error; empty: there was none
	Detail     string        // in words, one line, without body or secrets; empty when delivered
	Body       []byte        // the beginning of the answer's body; nil when delivered
	Warnings   int           // in the body: the receiver took the message, but perhaps not all of it
	Notes      []string      // the first of them, each in words on one line
	Call       uint64        // the same for attempts that failed in one call; 0: this one had its own
}

// Response says what counts as delivered.
type Response uint8

const (
	// ResponseStatus: the HTTP status alone.
	ResponseStatus Response = iota
	// ResponseOpenTravel: also the body.
	ResponseOpenTravel
)

// statusReason is the table from HTTP status to reason.
func statusReason(status int) Reason {
	switch status {
	case 401, 403, 407:
		return ReasonUnauthorized
	case 404:
		return ReasonNotFound
	case 408, 425:
		return ReasonTryLater
	case 429:
		return ReasonThrottled
	case 501, 505:
		return ReasonRejected
	}
	switch status / 100 {
	case 2:
		return ReasonDelivered
	case 3:
		return ReasonRedirect
	case 4:
		return ReasonRejected
	}
	return ReasonServerError
}

// statusReason is the reason of a status, with the destination's own classes over
// the table.
func (h *HTTP) statusReason(status int) Reason {
	reason := statusReason(status)
	class, own := h.statuses[status]
	if !own || reason.Class() == class {
		return reason
	}
	switch class {
	case Retry:
		return ReasonTryLater
	case Refused:
		return ReasonRejected
	case Hold:
		return ReasonStatusHold
	}
	return reason
}

// needsBody says whether the body takes part in what an answer means.
//
// With ResponseOpenTravel a status about the way or the sender speaks for
// itself: 3xx, 401, 403, 407, 408, 425 and 429. Otherwise the body decides
// when it has a verdict, since SOAP stacks answer a bad message with 500 and
// a passing weakness with 200. A body without a verdict leaves a status of
// failure as it is, and makes a 2xx unclear.
func needsBody(response Response, status int) bool {
	if response != ResponseOpenTravel {
		return false
	}
	switch statusReason(status) {
	case ReasonRedirect, ReasonUnauthorized, ReasonTryLater, ReasonThrottled:
		return false
	}
	return true
}

// bodyReason is the reason of an answer for which needsBody. Success in the
// body does not turn a status of failure.
func bodyReason(byStatus Reason, class opentravel.Class) Reason {
	switch class {
	case opentravel.Delivered:
		return byStatus
	case opentravel.Retryable:
		return ReasonOTARetryable
	case opentravel.Permanent:
		return ReasonOTAPermanent
	case opentravel.Hold:
		return ReasonOTAHold
	}
	if byStatus == ReasonDelivered {
		return ReasonOTAUnclear
	}
	return byStatus
}
