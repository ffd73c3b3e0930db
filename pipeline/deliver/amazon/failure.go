package amazon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/shardline/shardline/pipeline"
	"github.com/shardline/shardline/pipeline/deliver"
)

// codes is the one table from the services' error codes to reasons. A code
// comes with or without "Exception", and with a name space before a "#" or a
// ".": it depends on the service's protocol.
var codes = func() map[string]deliver.Reason {
	table := make(map[string]deliver.Reason)
	set := func(r deliver.Reason, codes ...string) {
		for _, code := range codes {
			table[code] = r
		}
	}
	for code := range retry.DefaultThrottleErrorCodes {
		set(deliver.ReasonThrottled, plain(code))
	}
	set(deliver.ReasonThrottled, "ProvisionedThroughputExceeded", "LimitExceeded", "Throttled", "RequestThrottled", "SlowDown", "OverLimit")
	set(deliver.ReasonServerError, "InternalFailure", "InternalServerError", "InternalError", "ServiceUnavailable", "Unavailable",
		"ResourceInUse", "ConcurrentAccess", "OperationAborted", "ConditionalRequestConflict",
		"BadDigest", "IncompleteBody", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch") // damaged on the way
	set(deliver.ReasonTimeout, "RequestTimeout", "RequestTimeoutException")
	set(deliver.ReasonUnauthorized, "AccessDenied", "AuthorizationError", "NotAuthorized", "UnauthorizedOperation", "OptInRequired",
		"UnrecognizedClient", "InvalidClientTokenId", "InvalidAccessKeyId", "ExpiredToken", "InvalidToken", "TokenRefreshRequired",
		"InvalidSignature", "SignatureDoesNotMatch", "IncompleteSignature", "RequestExpired", "RequestTimeTooSkewed",
		"MissingAuthenticationToken", "RegionDisabled", "InvalidSecurity", "NotSignedUp", "AccountProblem", "AllAccessDisabled")
	set(deliver.ReasonNotFound, "ResourceNotFound", "QueueDoesNotExist", "NonExistentQueue", "QueueDeletedRecently", "InvalidAddress",
		"NotFound", "NoSuchBucket", "InvalidBucketName")
	set(deliver.ReasonRedirect, "PermanentRedirect", "TemporaryRedirect", "Redirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraint")
	return table
}()

// plain is an error code without what the protocol adds.
func plain(code string) string {
	if i := strings.LastIndexAny(code, "#"); i >= 0 {
		code = code[i+1:]
	}
	code = strings.TrimPrefix(code, "AWS.SimpleQueueService.")
	return strings.TrimSuffix(code, "Exception")
}

// reasonOf is what an error code means, or else a status of HTTP. sender says
// that the service blames the request.
func reasonOf(code string, status int, sender bool) deliver.Reason {
	code = plain(code)
	if r, known := codes[code]; known {
		return r
	}
	if upper := strings.ToUpper(code); strings.HasPrefix(upper, "KMS") { // Kms, KMS and KMS. by service
		if strings.Contains(upper, "THROTTL") {
			return deliver.ReasonThrottled
		}
		return deliver.ReasonEncryption
	}
	switch {
	case status == http.StatusTooManyRequests:
		return deliver.ReasonThrottled
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return deliver.ReasonUnauthorized
	case status == http.StatusNotFound:
		return deliver.ReasonNotFound
	case status/100 == 3:
		return deliver.ReasonRedirect
	case status >= 500 || status == 0 && !sender:
		return deliver.ReasonServerError
	}
	return deliver.ReasonRejected
}

// recordFailed is what the failure of one record of a call means.
func recordFailed(code, message string, sender bool) deliver.Answer {
	return deliver.Answer{Reason: reasonOf(code, 0, sender), Code: code, Detail: line(code + ": " + message)}
}

// noCredentials is how the SDK begins its error when it did not get so far as
// to send the call.
const noCredentials = "get identity: "

// failed is what the failure of a call means for its records.
func failed(err error) deliver.Answer {
	text := plainText(err)
	a := deliver.Answer{Detail: line(strings.TrimPrefix(text, noCredentials))}
	var network net.Error
	var canceled *aws.RequestCanceledError
	var answer *smithyhttp.ResponseError
	var api smithy.APIError
	if errors.As(err, &answer) && answer.Response != nil {
		a.Status = answer.HTTPStatusCode()
	}
	switch {
	case errors.As(err, &canceled) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		a.Reason = deliver.ReasonTimeout // nobody waits for it any more
	case errors.Is(err, pipeline.ErrThrottled):
		a.Reason = deliver.ReasonThrottled
	case errors.Is(err, pipeline.ErrDenied):
		a.Reason = deliver.ReasonUnauthorized
	case strings.HasPrefix(text, noCredentials):
		// Whatever the service of roles has against the call: it is not the
		// record's fault.
		a.Reason = deliver.ReasonSecretUnavailable
	case errors.As(err, &api):
		a.Code = api.ErrorCode()
		a.Reason = reasonOf(a.Code, a.Status, api.ErrorFault() == smithy.FaultClient)
		a.Detail = line(a.Code + ": " + api.ErrorMessage())
	case errors.As(err, &network) && network.Timeout():
		a.Reason = deliver.ReasonTimeout
	case a.Status >= 300:
		a.Reason = reasonOf("", a.Status, true)
	case a.Status != 0:
		a.Reason = deliver.ReasonBrokenAnswer
	default:
		a.Reason = deliver.ReasonConnection
	}
	return a
}

// plainText is the error without the SDK's own prefixes: the call is known, and
// a request that was not sent has no answer.
func plainText(err error) string {
	var sent *smithyhttp.RequestSendError
	if errors.As(err, &sent) && sent.Err != nil {
		return sent.Err.Error()
	}
	var operation *smithy.OperationError
	if errors.As(err, &operation) && operation.Err != nil {
		return operation.Err.Error()
	}
	return err.Error()
}

// line is text from outside on one line, and not long.
func line(s string) string {
	const longest = 300
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "\uFFFD")), " ")
	if len(s) > longest {
		s = strings.ToValidUTF8(s[:longest], "") + "…"
	}
	return s
}

// unsendable is the answer for a record that the service takes in no case.
func unsendable(format string, args ...any) deliver.Answer {
	return deliver.Answer{Reason: deliver.ReasonUnsendable, Detail: line(fmt.Sprintf(format, args...))}
}

var delivered = deliver.Answer{Reason: deliver.ReasonDelivered}
