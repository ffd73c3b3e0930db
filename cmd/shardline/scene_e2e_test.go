package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/internal/demo"
	"github.com/shardline/shardline/internal/localaws"
	"github.com/shardline/shardline/pipeline/deliver"
)

// The accounts of every scene: the workers and their tables have one of their
// own.
const (
	hotelsAccount  = "111111111111"
	resortsAccount = "222222222222"
	tablesAccount  = "333333333333"
	testRegion     = "eu-west-1"
	testExternalID = "partner-7"
	application    = "fanout"
)

// scene is what an end-to-end test plays in: a local AWS, receivers, and
// worker processes.
type scene struct {
	t           testing.TB
	aws         *localaws.Server
	own         localaws.Credentials
	environment []string // of the workers
	tables      *dynamodb.Client
	dir         string
	format      checkpoint.KeyFormat // of the table; empty: multi_stream
	streams     []*stream
	receivers   []*receiver
	started     int // worker processes
	*feed
}

// stream is a stream that the workers may read with a role.
type stream struct {
	name, account, arn, role string
}

// newScene has one stream of so many shards for each number, in two accounts
// by turns.
func newScene(t testing.TB, config localaws.Config, shards ...int) *scene {
	t.Helper()
	s := &scene{t: t, aws: localaws.New(config), dir: t.TempDir()}
	if err := s.aws.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.aws.Serve(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Errorf("local AWS: %v", err)
		}
	})
	own, err := s.aws.AddAccount(tablesAccount)
	if err != nil {
		t.Fatal(err)
	}
	s.own, s.environment = own, s.aws.Environment(own)
	s.tables = dynamodb.New(dynamodb.Options{Region: testRegion, BaseEndpoint: aws.String(s.aws.Endpoint()),
		Credentials: credentials.NewStaticCredentialsProvider(own.AccessKeyID, own.SecretAccessKey, own.SessionToken)})
	for i, n := range shards {
		account, name := hotelsAccount, fmt.Sprintf("hotels-%d", i)
		if i%2 == 1 {
			account, name = resortsAccount, fmt.Sprintf("resorts-%d", i)
		}
		s.addStream(account, name, n)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	s.feed = newFeed(s, seed)
	return s
}

// addStream makes a stream and the role that may read it, and nothing else.
func (s *scene) addStream(account, name string, shards int) *stream {
	s.t.Helper()
	if _, err := s.aws.AddAccount(account); err != nil {
		s.t.Fatal(err)
	}
	arn, err := s.aws.CreateStream(account, testRegion, name, shards)
	if err != nil {
		s.t.Fatal(err)
	}
	role, err := s.aws.AddRole(localaws.Role{Account: account, Name: name + "-reader",
		Trust: localaws.Trust{Principals: []string{tablesAccount}, ExternalID: testExternalID},
		Permissions: []localaws.Permission{ // as deploy/iam has them
			{Resources: []string{arn}, Actions: []string{
				"kinesis:DescribeStreamSummary", "kinesis:ListShards", "kinesis:GetShardIterator", "kinesis:GetRecords",
				"kinesis:RegisterStreamConsumer", "kinesis:DescribeStreamConsumer"}},
			{Resources: []string{arn + "/consumer/" + application + ":*"}, Actions: []string{
				"kinesis:DescribeStreamConsumer", "kinesis:SubscribeToShard"}}}})
	if err != nil {
		s.t.Fatal(err)
	}
	st := &stream{name: name, account: account, arn: arn, role: role}
	s.streams = append(s.streams, st)
	return st
}

// in is the scene for a subtest.
func (s *scene) in(t testing.TB) *scene {
	sub := *s
	sub.t = t
	return &sub
}

// receiver adds a receiver: a destination of that name in the configurations.
func (s *scene) receiver(name string) *receiver {
	r := newReceiver(s.t, name)
	s.receivers = append(s.receivers, r)
	return r
}

// start runs a worker with a configuration file, and more environment.
func (s *scene) start(config string, environment ...string) *process {
	s.t.Helper()
	s.started++
	name := fmt.Sprintf("w%d", s.started)
	environment = append([]string{"TEST_WORKER=" + name}, environment...)
	return startProcess(s.t, name, append(environment, s.environment...), "run", "--config", config)
}

// store is the lease table as Shardline reads it.
func (s *scene) store() *checkpoint.DynamoDB {
	return checkpoint.NewDynamoDB(checkpoint.DynamoDBConfig{Client: s.tables, Table: application,
		StateTable: application + "-state", Format: cmp.Or(s.format, checkpoint.MultiStream)})
}

// leases are those of the table now, by shard; of a stream when one is given.
func (s *scene) leases() ([]checkpoint.Lease, error) {
	return s.store().List(context.Background())
}

// awaitLeases waits until all says nil of the table's leases, and returns them.
func (s *scene) awaitLeases(what string, all func(leases []checkpoint.Lease) error) []checkpoint.Lease {
	s.t.Helper()
	var leases []checkpoint.Lease
	await(s.t, what, func() error {
		var err error
		if leases, err = s.leases(); err != nil {
			return err
		}
		if len(leases) == 0 {
			return errors.New("no lease")
		}
		return all(leases)
	})
	return leases
}

// scan is a table's items as they are.
func (s *scene) scan(table string) *dynamodb.ScanOutput {
	s.t.Helper()
	out, err := s.tables.Scan(context.Background(), &dynamodb.ScanInput{TableName: &table, ConsistentRead: aws.Bool(true)})
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

// deadLetterFile is where every configuration of the scene puts dead letters.
func (s *scene) deadLetterFile() string { return filepath.Join(s.dir, "dead.jsonl") }

// letters are the dead letters that are whole, of every dead*.jsonl.
func (s *scene) letters() []deliver.DeadLetter {
	s.t.Helper()
	files, err := filepath.Glob(filepath.Join(s.dir, "dead*.jsonl"))
	if err != nil {
		s.t.Fatal(err)
	}
	var letters []deliver.DeadLetter
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			s.t.Fatal(err)
		}
		lines := bufio.NewScanner(bytes.NewReader(data))
		lines.Buffer(nil, 64<<20)
		for lines.Scan() {
			var l deliver.DeadLetter
			if json.Unmarshal(lines.Bytes(), &l) == nil { // else a crash cut it
				letters = append(letters, l)
			}
		}
	}
	return letters
}

// dead are the messages that were dead-lettered for a destination, or for
// their source.
func (s *scene) dead(destination string) map[demo.Digest]bool {
	dead := make(map[demo.Digest]bool)
	for _, l := range s.letters() {
		if l.Destination == destination || l.Destination == "" {
			dead[sha256.Sum256(l.Data)] = true
		}
	}
	return dead
}

// awaitThrough waits until each receiver has accepted everything that was put
// before the call, or the dead letters hold it.
func (s *scene) awaitThrough(receivers ...*receiver) {
	s.t.Helper()
	s.awaitSince(nil, receivers...)
}

// keepsUp says whether a receiver is close behind what was put: a feed that goes
// on regardless is more than a busy machine can deliver in the end.
func (s *scene) keepsUp(r *receiver) bool {
	r.mu.Lock()
	took := len(r.accepted)
	r.mu.Unlock()
	return len(s.messages()) < took+1500
}

// awaitSince waits like awaitThrough, for what was put after mark.
func (s *scene) awaitSince(mark map[string]int, receivers ...*receiver) {
	s.t.Helper()
	var wanted []message
	for _, m := range s.messages() {
		if m.index >= mark[m.key] {
			wanted = append(wanted, m)
		}
	}
	for _, r := range receivers {
		await(s.t, r.name+" has everything", func() error { return s.missing(r, wanted) })
	}
}

// missing says which of the messages a receiver has neither accepted nor
// refused for good.
func (s *scene) missing(r *receiver, wanted []message) error {
	var open []message
	for _, m := range wanted {
		if r.took(m.digest) == 0 {
			open = append(open, m)
		}
	}
	if len(open) > 0 {
		dead := s.dead(r.name)
		open = slices.DeleteFunc(open, func(m message) bool { return dead[m.digest] })
	}
	if len(open) > 0 {
		return fmt.Errorf("%d of %d messages are missing, %s number %d among them", len(open), len(wanted), open[0].key, open[0].index)
	}
	return nil
}
