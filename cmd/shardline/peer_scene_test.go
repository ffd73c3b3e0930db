package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
)

const (
	peerAccount  = "111111111111" // on kinesis-mock, the access key id
	peerFailover = 5 * time.Second
	// peerPatience is for steps that take KCL workers half a minute on an idle
	// machine: they sleep at their start, and take leases at every second
	// fail-over time.
	peerPatience = 5 * time.Minute
	peerLook     = 300 * time.Millisecond
	peerFeed     = 400 * time.Millisecond // kinesis-mock is slow
	peerKeys     = 16
)

// peerVariable is what the run script of the peers says.
func peerVariable(t testing.TB, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		t.Skipf("%s is not set: nothing that others wrote to test against (make test-peers)", name)
	}
	return value
}

// peerScene is one application that Shardline and KCL workers share, with its
// stream on kinesis-mock and its table on DynamoDB Local.
type peerScene struct {
	t                       testing.TB
	dir                     string
	application             string // the stream's name too
	arn                     string
	kinesisURL, dynamodbURL string
	kinesis                 *kinesis.Client
	tables                  *dynamodb.Client
	receiver                *receiver // Shardline's destination
	shardlines              []*process
	kcls                    []*kclWorker
	started                 int
	owners                  []string // of the leases, as they changed while somebody looked

	mu  sync.Mutex
	put []peerRecord // acknowledged, in the order of each key
}

// peerRecord is a record of the stream; data tells it from every other.
type peerRecord struct {
	key             string
	index           int // among its key's, from 0
	data            string
	shard, sequence string
}

func newPeerScene(t testing.TB, shards int32) *peerScene {
	t.Helper()
	s := &peerScene{t: t, dir: t.TempDir(), application: fmt.Sprintf("fleet-%08x", rand.Uint32()),
		kinesisURL: peerVariable(t, "SHARDLINE_PEER_KINESIS_MOCK"), dynamodbURL: peerVariable(t, "SHARDLINE_PEER_DYNAMODB_LOCAL")}
	keys := credentials.NewStaticCredentialsProvider(peerAccount, "secret", "")
	s.kinesis = kinesis.New(kinesis.Options{Region: testRegion, BaseEndpoint: &s.kinesisURL, Credentials: keys})
	s.tables = dynamodb.New(dynamodb.Options{Region: testRegion, BaseEndpoint: &s.dynamodbURL, Credentials: keys})
	s.receiver = newReceiver(t, "channel")
	s.receiver.keepBodies = true
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("owners of the leases:\n%s", strings.Join(s.owners, "\n"))
		}
	})
	if _, err := s.kinesis.CreateStream(t.Context(), &kinesis.CreateStreamInput{StreamName: &s.application, ShardCount: &shards}); err != nil {
		t.Fatalf("create stream: %v", err)
	}
	s.awaitActive()
	return s
}

// nextName names a worker.
func (s *peerScene) nextName(kind string) string {
	s.started++
	return fmt.Sprintf("%s-%d", kind, s.started)
}

// await is like the other scenes' await, with the patience that KCL workers
// need, and without looking so often that peers have more to do with it than
// with the workers.
func (s *peerScene) await(what string, condition func() error) {
	s.t.Helper()
	ticker := time.NewTicker(peerLook)
	defer ticker.Stop()
	began := time.Now()
	for {
		err := condition()
		took := time.Since(began).Round(time.Second / 10)
		if err == nil {
			s.t.Logf("%s: after %s", what, took)
			return
		}
		if took > peerPatience {
			s.t.Fatalf("%s: still not after %s: %v", what, took, err)
		}
		<-ticker.C
	}
}

func (s *peerScene) awaitActive() {
	s.t.Helper()
	waiter := kinesis.NewStreamExistsWaiter(s.kinesis, func(o *kinesis.StreamExistsWaiterOptions) {
		o.MinDelay, o.MaxDelay = 50*time.Millisecond, time.Second
	})
	out, err := waiter.WaitForOutput(s.t.Context(), &kinesis.DescribeStreamInput{StreamName: &s.application}, peerPatience)
	if err != nil {
		s.t.Fatalf("wait for the stream: %v", err)
	}
	s.arn = *out.StreamDescription.StreamARN
}

// startShardline runs a worker; leases is what its configuration has more of under
// that name.
func (s *peerScene) startShardline(leases string) *process {
	s.t.Helper()
	name := s.nextName("shardline")
	p := startProcess(s.t, name, append(s.environment(), "TEST_WORKER="+name), "run", "--config", s.config(leases))
	s.shardlines = append(s.shardlines, p)
	return p
}

func (s *peerScene) environment() []string {
	return []string{"AWS_ACCESS_KEY_ID=" + peerAccount, "AWS_SECRET_ACCESS_KEY=secret",
		"AWS_ENDPOINT_URL_KINESIS=" + s.kinesisURL, "AWS_ENDPOINT_URL_DYNAMODB=" + s.dynamodbURL}
}

// config writes a configuration file and returns its path.
func (s *peerScene) config(leases string) string {
	s.t.Helper()
	text := fmt.Sprintf(`application: %s
worker_id: ${TEST_WORKER:-nobody}
region: %s
leases: {failover: %s, key_format: single_stream%s}
pipeline: {drain_timeout: 10s}
listen: {metrics: "127.0.0.1:0", api: ""}
sources:
  - {name: hotels, stream: %q, initial_position: trim_horizon, poll_interval: 1s, subscribers: all_destinations, dead_letters: failed}
destinations:
  - {name: channel, type: http, url: %q, headers: {X-Worker: "${TEST_WORKER:-nobody}"}, dead_letters: failed}
dead_letter_queues:
  - {name: failed, type: file, path: %q}
`, s.application, testRegion, peerFailover, more(leases), s.arn, s.receiver.url, filepath.Join(s.dir, "dead.jsonl"))
	path := filepath.Join(s.dir, fmt.Sprintf("config-%d.yaml", s.started))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}
