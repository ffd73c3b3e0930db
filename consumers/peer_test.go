package consumers_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/sts"
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
