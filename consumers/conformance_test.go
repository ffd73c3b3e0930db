package consumers_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"

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

// TestPeers runs the suite on servers that others wrote, as far as the
// environment names them.
func TestPeers(t *testing.T) {
	peers := []struct {
		name, variable string
		test           func(t *testing.T, endpoint string)
	}{
		{"kinesis", "SHARDLINE_PEER_KINESIS", testPeerKinesis},
		{"sts", "SHARDLINE_PEER_STS", testPeerSTS},
	}
	none := true
	for _, peer := range peers {
		if endpoint := os.Getenv(peer.variable); endpoint != "" {
			none = false
			t.Run(peer.name, func(t *testing.T) { peer.test(t, endpoint) })
		}
	}
	if none {
		t.Skip("no peer: SHARDLINE_PEER_KINESIS or SHARDLINE_PEER_STS has to be its URL (make test-peers)")
	}
}

// testPeerKinesis is for kinesis-mock. Its accounts are access key ids of 12
// digits, and anyone may read any stream by its ARN.
func testPeerKinesis(t *testing.T, endpoint string) {
	readertest.Run(t, readertest.Env{
		Admin: account(endpoint, streamAccount, "secret", ""),
		Base:  account(endpoint, ownAccount, "secret", ""),
	})
}

// testPeerSTS is for moto. Its keys are bound to the account of the role that
// they were issued for, and other accounts' streams do not exist for them: so
// what the source reads it reads through its role.
func testPeerSTS(t *testing.T, endpoint string) {
	base := account(endpoint, "AKIAIOSFODNN7EXAMPLE", "secret", "")
	role := &consumers.Role{ARN: "arn:aws:iam::" + streamAccount + ":role/shardline-reader", ExternalID: "partner-7"}
	admin := base.Copy()
	admin.Credentials = consumers.NewCredentials(consumers.CredentialsConfig{Name: "admin", Application: "readertest",
		Role: consumers.Role{ARN: "arn:aws:iam::" + streamAccount + ":role/admin"}, STS: sts.NewFromConfig(base)})
	reshard := "the peer goes on putting into closed shards and names no children"
	readertest.Run(t, readertest.Env{Admin: admin, Base: base, Role: role,
		LeftOut: map[string]string{"Split": reshard, "Merge": reshard, "Pages": "the peer ignores ExclusiveStartShardId"}})
}
