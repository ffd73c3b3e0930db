package consumers_test

import (
	"context"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/shardline/shardline/consumers"
	"github.com/shardline/shardline/consumers/readertest"
	"github.com/shardline/shardline/internal/localaws"
)

const (
	streamAccount = "111111111111"
	ownAccount    = "333333333333"
	region        = "eu-west-1"
)

// account is a configuration of an account's own keys.
func account(endpoint, id, secret, token string) aws.Config {
	return aws.Config{Region: region, BaseEndpoint: aws.String(endpoint),
		Credentials: credentials.NewStaticCredentialsProvider(id, secret, token)}
}

// local is a local AWS with two accounts and a role between them.
type local struct {
	*localaws.Server
	admin aws.Config // of the streams' account
	base  aws.Config // of Shardline's own
	role  *consumers.Role
}

func newLocal(t *testing.T, config localaws.Config) local {
	t.Helper()
	config.Region = region
	server := localaws.New(config)
	if err := server.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("local AWS: %v", err)
		}
	})
	add := func(id string) localaws.Credentials {
		keys, err := server.AddAccount(id)
		if err != nil {
			t.Fatal(err)
		}
		return keys
	}
	streams, own := add(streamAccount), add(ownAccount)
	arn, err := server.AddRole(localaws.Role{Account: streamAccount, Name: "shardline-reader",
		Trust: localaws.Trust{Principals: []string{ownAccount}, ExternalID: "partner-7"}})
	if err != nil {
		t.Fatal(err)
	}
	// The base configuration comes as a process gets it, from its environment.
	t.Setenv("AWS_ENDPOINT_URL", server.Endpoint())
	t.Setenv("AWS_ACCESS_KEY_ID", own.AccessKeyID)
	t.Setenv("AWS_SECRET_ACCESS_KEY", own.SecretAccessKey)
	t.Setenv("AWS_SESSION_TOKEN", own.SessionToken)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	base, _, err := consumers.NewBase(t.Context(), consumers.BaseConfig{Region: region})
	if err != nil {
		t.Fatal(err)
	}
	return local{
		Server: server, base: base,
		admin: account(server.Endpoint(), streams.AccessKeyID, streams.SecretAccessKey, streams.SessionToken),
		role:  &consumers.Role{ARN: arn, ExternalID: "partner-7", Duration: 15 * time.Minute},
	}
}

func TestReaderOnLocalAWS(t *testing.T) {
	l := newLocal(t, localaws.Config{ListShardsPage: 2, StatusDelay: 20 * time.Millisecond})
	readertest.Run(t, readertest.Env{Admin: l.admin, Base: l.base, Role: l.role, Drop: l.TrimShard})
}

func TestFanOutReaderOnLocalAWS(t *testing.T) {
	l := newLocal(t, localaws.Config{Unlimited: true, ListShardsPage: 2, StatusDelay: 20 * time.Millisecond, Heartbeat: 50 * time.Millisecond})
	readertest.Run(t, readertest.Env{Admin: l.admin, Base: l.base, Role: l.role, Drop: l.TrimShard, FanOut: true})
	if stats := l.Stats(); stats.Calls["kinesis.GetRecords"] > 0 || stats.Calls["kinesis.SubscribeToShard"] < 20 {
		t.Errorf("calls %v: it was not read by enhanced fan-out alone", stats.Calls)
	}
}
