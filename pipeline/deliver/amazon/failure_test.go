package amazon_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/shardline/shardline/pipeline"
	"github.com/shardline/shardline/pipeline/deliver"
	"github.com/shardline/shardline/pipeline/deliver/amazon"
)

// failing is a service that fails as it is told.
type failing struct{ err error }

func (f failing) PutRecords(context.Context, *kinesis.PutRecordsInput, ...func(*kinesis.Options)) (*kinesis.PutRecordsOutput, error) {
	return nil, f.err
}

// TestFailures is the table of what failures of a call mean.
func TestFailures(t *testing.T) {
	answered := func(status int, err error) error {
		return &smithy.OperationError{ServiceID: "Kinesis", OperationName: "PutRecords", Err: &smithyhttp.ResponseError{
			Response: &smithyhttp.Response{Response: &http.Response{StatusCode: status}}, Err: err}}
	}
	code := func(status int, code string) error {
		return answered(status, &smithy.GenericAPIError{Code: code, Message: "no"})
	}
	credentials := func(err error) error {
		return &smithy.OperationError{ServiceID: "Kinesis", OperationName: "PutRecords", Err: fmt.Errorf("get identity: get credentials: %w", err)}
	}
	for _, c := range []struct {
		name string
		err  error
		want deliver.Reason
	}{
		{"kinesis throttles", code(400, "ProvisionedThroughputExceededException"), deliver.ReasonThrottled},
		{"sqs throttles", code(403, "RequestThrottled"), deliver.ReasonThrottled},
		{"sns throttles", code(429, "Throttled"), deliver.ReasonThrottled},
		{"s3 throttles", code(503, "SlowDown"), deliver.ReasonThrottled},
		{"a throttle without a code", answered(429, errors.New("not XML")), deliver.ReasonThrottled},
		{"kms throttles kinesis", code(400, "KMSThrottlingException"), deliver.ReasonThrottled},
		{"kms throttles sqs", code(400, "KmsThrottled"), deliver.ReasonThrottled},
		{"internal", code(500, "InternalFailure"), deliver.ReasonServerError},
		{"internal, of another kind", code(500, "SomethingNew"), deliver.ReasonServerError},
		{"unavailable without a code", answered(503, errors.New("not XML")), deliver.ReasonServerError},
		{"s3's own time-out", code(400, "RequestTimeout"), deliver.ReasonTimeout},
		{"damaged on the way", code(400, "BadDigest"), deliver.ReasonServerError},
		{"denied by JSON", code(400, "com.amazon.coral.service#AccessDeniedException"), deliver.ReasonUnauthorized},
		{"denied by XML", code(403, "AccessDenied"), deliver.ReasonUnauthorized},
		{"denied by sns", code(403, "AuthorizationError"), deliver.ReasonUnauthorized},
		{"denied without a code", answered(403, errors.New("not XML")), deliver.ReasonUnauthorized},
		{"expired", code(400, "ExpiredTokenException"), deliver.ReasonUnauthorized},
		{"kinesis without its key", code(400, "KMSAccessDeniedException"), deliver.ReasonEncryption},
		{"kinesis with a key that is off", code(400, "KMSDisabledException"), deliver.ReasonEncryption},
		{"sqs without its key", code(400, "KmsNotFound"), deliver.ReasonEncryption},
		{"s3 with a key that is off", code(400, "KMS.DisabledException"), deliver.ReasonEncryption},
		{"no stream", code(400, "ResourceNotFoundException"), deliver.ReasonNotFound},
		{"no queue", code(400, "QueueDoesNotExist"), deliver.ReasonNotFound},
		{"no queue, by its old name", code(400, "AWS.SimpleQueueService.NonExistentQueue"), deliver.ReasonNotFound},
		{"no queue at all", code(404, "InvalidAddress"), deliver.ReasonNotFound},
		{"no topic", code(404, "NotFound"), deliver.ReasonNotFound},
		{"no bucket", code(404, "NoSuchBucket"), deliver.ReasonNotFound},
		{"another region's bucket", code(301, "PermanentRedirect"), deliver.ReasonRedirect},
		{"another region's signature", code(400, "AuthorizationHeaderMalformed"), deliver.ReasonRedirect},
		{"invalid for kinesis", code(400, "ValidationException"), deliver.ReasonRejected},
		{"invalid for sqs", code(400, "InvalidMessageContents"), deliver.ReasonRejected},
		{"too large", code(400, "InvalidParameterValue"), deliver.ReasonRejected},
		{"too large for sns", code(400, "InvalidParameter"), deliver.ReasonRejected},
		{"something new", code(400, "SomethingNew"), deliver.ReasonRejected},
		{"an answer that breaks off", answered(200, errors.New("unexpected EOF")), deliver.ReasonBrokenAnswer},
		{"no connection", errBroken, deliver.ReasonConnection},
		{"not sent", answered(0, &smithyhttp.RequestSendError{Err: errBroken}), deliver.ReasonConnection},
		{"given up", &smithy.OperationError{Err: context.Canceled}, deliver.ReasonTimeout},
		// The role's service refuses for its own reasons, which are not the
		// record's: an invalid duration must not empty a stream.
		{"the role cannot be assumed", credentials(fmt.Errorf("assume role: %w: no", pipeline.ErrDenied)), deliver.ReasonUnauthorized},
		{"the role's service throttles", credentials(fmt.Errorf("assume role: %w: no", pipeline.ErrThrottled)), deliver.ReasonThrottled},
		{"the role's duration is wrong", credentials(&smithy.GenericAPIError{Code: "ValidationError", Message: "no"}), deliver.ReasonSecretUnavailable},
		{"no credentials", credentials(errors.New("no EC2 IMDS role found")), deliver.ReasonSecretUnavailable},
	} {
		synctest.Test(t, func(t *testing.T) {
			k := amazon.NewKinesis(amazon.KinesisConfig{Client: failing{c.err}, StreamARN: "arn", Batching: amazon.Batching{Concurrency: 1}})
			a := k.Send(t.Context(), message("a", 1, "x"))
			if a.Reason != c.want || a.Detail == "" || strings.Contains(a.Detail, "operation error") || strings.Contains(a.Detail, "StatusCode: 0") {
				t.Errorf("%s: %v %q, want %v", c.name, a.Reason, a.Detail, c.want)
			}
			k.Close()
		})
	}
}
