package consumers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/shardline/shardline/pipeline"
)

// reason is why a call failed: a closed set, and the label of the metric.
type reason string

const (
	reasonThrottled  reason = "throttled"
	reasonDenied     reason = "denied"
	reasonGone       reason = "not_found"
	reasonIterator   reason = "expired_iterator"
	reasonInUse      reason = "in_use" // somebody else subscribed to the shard as the same consumer
	reasonArgument   reason = "invalid_argument"
	reasonTimeout    reason = "timeout"
	reasonConnection reason = "unavailable" // answers of 500 and above, and broken connections
	reasonOther      reason = "other"
)

var reasons = []reason{reasonThrottled, reasonDenied, reasonGone, reasonIterator, reasonInUse,
	reasonArgument, reasonTimeout, reasonConnection, reasonOther}

// failure is a call that failed: what it was, why, and the service's words.
type failure struct {
	call    string // operation and object: "get records of shard shardId-000000000000"
	reason  reason
	code    string // the service's error code; empty: no answer, or none in it
	text    string
	meaning error // sentinel of package pipeline, or nil
	cause   error
}

func (f *failure) Error() string {
	if f.meaning != nil {
		return fmt.Sprintf("%s: %v: %s", f.call, f.meaning, f.text)
	}
	return f.call + ": " + f.text
}

func (f *failure) Unwrap() []error {
	if f.meaning == nil {
		return []error{f.cause}
	}
	return []error{f.meaning, f.cause}
}

// codes by what they mean. A code may come with a suffix "Exception", with a
// namespace before a "#", or without either: it depends on the service's
// protocol.
var (
	deniedCodes = map[string]bool{
		"AccessDenied": true, "NotAuthorized": true, "UnauthorizedOperation": true, "OptInRequired": true,
		"UnrecognizedClient": true, "InvalidClientTokenId": true, "InvalidAccessKeyId": true,
		"ExpiredToken": true, "RequestExpired": true, "InvalidToken": true,
		"InvalidSignature": true, "SignatureDoesNotMatch": true, "IncompleteSignature": true,
		"MissingAuthenticationToken": true, "RegionDisabled": true,
		"KMSAccessDenied": true, "KMSDisabled": true, "KMSInvalidState": true, "KMSNotFound": true, "KMSOptInRequired": true,
	}
	// staleCodes are denials that new credentials may end.
	staleCodes = map[string]bool{
		"UnrecognizedClient": true, "InvalidClientTokenId": true, "InvalidAccessKeyId": true,
		"ExpiredToken": true, "InvalidToken": true,
	}
	throttleCodes = func() map[string]bool {
		codes := map[string]bool{"KMSThrottling": true}
		for code := range retry.DefaultThrottleErrorCodes {
			codes[strings.TrimSuffix(code, "Exception")] = true
		}
		return codes
	}()
	codeReasons = map[string]reason{
		"ResourceNotFound": reasonGone,
		"ExpiredIterator":  reasonIterator,
		"ResourceInUse":    reasonInUse,
		"InvalidArgument":  reasonArgument, "Validation": reasonArgument, "ValidationError": reasonArgument,
		"InternalFailure": reasonConnection, "InternalServerError": reasonConnection, "InternalError": reasonConnection,
		"ServiceUnavailable": reasonConnection,
		"RequestTimeout":     reasonTimeout,
	}
)

// failed says why a call failed. It returns nil without an error.
func failed(call string, err error) *failure {
	if err == nil {
		return nil
	}
	f := &failure{call: call, cause: err}
	var inner *failure
	if errors.As(err, &inner) { // the credentials, fetched on the way
		f.reason, f.text, f.cause = inner.reason, inner.Error(), inner
		return f
	}
	var api smithy.APIError
	status := 0
	var answer *smithyhttp.ResponseError
	if errors.As(err, &answer) && answer.Response != nil {
		status = answer.HTTPStatusCode()
	}
	if errors.As(err, &api) {
		f.code = plainCode(api.ErrorCode())
		f.text = api.ErrorCode()
		if m := api.ErrorMessage(); m != "" {
			f.text += ": " + m
		}
	} else {
		f.text = plainText(err)
	}
	f.reason = reasonOf(err, f.code, status)
	switch f.reason {
	case reasonThrottled:
		f.meaning = pipeline.ErrThrottled
	case reasonDenied:
		f.meaning = pipeline.ErrDenied
	}
	return f
}

func reasonOf(err error, code string, status int) reason {
	switch {
	case throttleCodes[code]:
		return reasonThrottled
	case deniedCodes[code]:
		return reasonDenied
	}
	if r, known := codeReasons[code]; known {
		return r
	}
	var sent *smithyhttp.RequestSendError
	var network net.Error
	switch {
	case status == 429:
		return reasonThrottled
	case status == 401 || status == 403:
		return reasonDenied
	case status >= 500:
		return reasonConnection
	case errors.Is(err, context.DeadlineExceeded) || errors.As(err, &network) && network.Timeout():
		return reasonTimeout
	case errors.As(err, &sent):
		return reasonConnection
	}
	return reasonOther
}

// stale says whether credentials fetched anew may succeed.
func (f *failure) stale() bool { return staleCodes[f.code] }

func plainCode(code string) string {
	if i := strings.LastIndexByte(code, '#'); i >= 0 {
		code = code[i+1:]
	}
	return strings.TrimSuffix(code, "Exception")
}

// plainText is the error without the SDK's own prefix, which repeats the call.
func plainText(err error) string {
	var operation *smithy.OperationError
	if errors.As(err, &operation) && operation.Err != nil {
		return operation.Err.Error()
	}
	return err.Error()
}
