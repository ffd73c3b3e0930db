package consumers_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/eventstream"
	"github.com/aws/smithy-go/middleware"

	"github.com/shardline/shardline/consumers"
	"github.com/shardline/shardline/consumers/readertest"
)

// peer is the URL of the server of others that the variable names.
func peer(t *testing.T, variable string) string {
	t.Helper()
	endpoint := os.Getenv(variable)
	if endpoint == "" {
		t.Skipf("%s is not set: no server that others wrote to test against (make test-peers)", variable)
	}
	return endpoint
}

// TestPeerKinesisMock has its accounts as access key ids of 12 digits, and
// anyone may read any stream by its ARN.
func TestPeerKinesisMock(t *testing.T) {
	endpoint := peer(t, "SHARDLINE_PEER_KINESIS_MOCK")
	readertest.Run(t, readertest.Env{
		Admin: account(endpoint, streamAccount, "secret", ""),
		Base:  account(endpoint, ownAccount, "secret", ""),
	})
}

// TestPeerKinesisMockFanOut reads it by enhanced fan-out. It leaves the frame
// out that the service's answer begins with, without which the SDK reads
// nothing: a transport of the test puts it there.
func TestPeerKinesisMockFanOut(t *testing.T) {
	endpoint := peer(t, "SHARDLINE_PEER_KINESIS_MOCK")
	base := account(endpoint, ownAccount, "secret", "")
	first := &initialResponse{}
	base.HTTPClient = &http.Client{Transport: first}
	reshard := "the peer ends no subscription of a shard that is split or merged, and names no children"
	readertest.Run(t, readertest.Env{FanOut: true, Base: base, Admin: account(endpoint, streamAccount, "secret", ""),
		LeftOut: map[string]string{"Split": reshard, "Merge": reshard, "Missing": "the peer takes subscriptions of shards that do not exist"}})
	if first.polled.Load() > 0 || first.subscribed.Load() == 0 {
		t.Errorf("%d reads by polling, %d subscriptions", first.polled.Load(), first.subscribed.Load())
	}
}

// initialResponse puts the first frame before the answers of SubscribeToShard,
// and counts.
type initialResponse struct{ subscribed, polled atomic.Int64 }

func (i *initialResponse) RoundTrip(r *http.Request) (*http.Response, error) {
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	if operation == "GetRecords" {
		i.polled.Add(1)
	}
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil || operation != "SubscribeToShard" || answer.StatusCode != http.StatusOK {
		return answer, err
	}
	i.subscribed.Add(1)
	m := eventstream.Message{Payload: []byte("{}")}
	m.Headers.Set(eventstream.MessageTypeHeader, eventstream.StringValue(eventstream.EventMessageType))
	m.Headers.Set(eventstream.EventTypeHeader, eventstream.StringValue("initial-response"))
	m.Headers.Set(eventstream.ContentTypeHeader, eventstream.StringValue("application/x-amz-json-1.1"))
	var frame bytes.Buffer
	if err := eventstream.NewEncoder().Encode(&frame, m); err != nil {
		return nil, err
	}
	answer.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(&frame, answer.Body), answer.Body}
	return answer, nil
}

// TestPeerMoto reads with assumed roles. moto's keys are bound to the account
// of the role that they were issued for, and other accounts' streams do not
// exist for them: so what the source reads it reads through its role.
func TestPeerMoto(t *testing.T) {
	base := account(peer(t, "SHARDLINE_PEER_MOTO"), "AKIAIOSFODNN7EXAMPLE", "secret", "")
	role := &consumers.Role{ARN: "arn:aws:iam::" + streamAccount + ":role/shardline-reader", ExternalID: "partner-7"}
	admin := base.Copy()
	admin.Credentials = aws.NewCredentialsCache(consumers.AssumeRole(sts.NewFromConfig(base), consumers.Role{ARN: "arn:aws:iam::" + streamAccount + ":role/admin"}, "readertest"))
	reshard := "the peer goes on putting into closed shards and names no children"
	readertest.Run(t, readertest.Env{Admin: admin, Base: base, Role: role,
		LeftOut: map[string]string{"Split": reshard, "Merge": reshard, "Pages": "the peer ignores ExclusiveStartShardId"}})
}

// TestPeerKinesalite reads a server that knows streams by their names alone:
// a middleware of the test puts the name in the place of the ARN that
// Shardline sends, and changes nothing else.
func TestPeerKinesalite(t *testing.T) {
	config := account(peer(t, "SHARDLINE_PEER_KINESALITE"), "AKIAIOSFODNN7EXAMPLE", "secret", "")
	config.APIOptions = append(config.APIOptions, byName)
	readertest.Run(t, readertest.Env{Admin: config, Base: config})
}

func byName(stack *middleware.Stack) error {
	return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("byName",
		func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
			swap := func(name, arn **string) {
				if *arn != nil {
					_, n, _ := strings.Cut(**arn, "stream/")
					*name, *arn = aws.String(n), nil
				}
			}
			switch p := in.Parameters.(type) {
			case *kinesis.DescribeStreamSummaryInput:
				swap(&p.StreamName, &p.StreamARN)
			case *kinesis.ListShardsInput:
				swap(&p.StreamName, &p.StreamARN)
			case *kinesis.GetShardIteratorInput:
				swap(&p.StreamName, &p.StreamARN)
			case *kinesis.GetRecordsInput:
				p.StreamARN = nil
			case *kinesis.PutRecordsInput:
				swap(&p.StreamName, &p.StreamARN)
			}
			return next.HandleInitialize(ctx, in)
		}), middleware.Before)
}
