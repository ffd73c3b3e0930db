package amazon_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/consumers"
	"github.com/shardline/shardline/internal/localaws"
	"github.com/shardline/shardline/pipeline/deliver"
	"github.com/shardline/shardline/pipeline/deliver/amazon"
)

// What the services' own protocols and limits make of the transports: on the
// local AWS, and on servers that others wrote.

const (
	ownAccount = "111111111111"
	region     = "eu-west-1"
	perKey     = 12
	someKeys   = 15
)

// service is an AWS to test against.
type service struct {
	aws.Config
	t *testing.T
}

func newService(t *testing.T, endpoint, key, secret string) *service {
	return &service{t: t, Config: aws.Config{Region: region, BaseEndpoint: aws.String(endpoint), Credentials: credentials.NewStaticCredentialsProvider(key, secret, "")}}
}

func (s *service) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// unique is a name that no other test of the server has.
func (s *service) unique(suffix string) string {
	return fmt.Sprintf("shardline-%s-%d%s", strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(s.t.Name())), os.Getpid(), suffix)
}

func (s *service) queue(suffix string) (url, arn string) {
	client := sqs.NewFromConfig(s.Config)
	attributes := map[string]string{}
	if suffix == ".fifo" {
		attributes["FifoQueue"] = "true"
	}
	made, err := client.CreateQueue(s.t.Context(), &sqs.CreateQueueInput{QueueName: aws.String(s.unique(suffix)), Attributes: attributes})
	s.must(err)
	got, err := client.GetQueueAttributes(s.t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: made.QueueUrl, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameQueueArn}})
	s.must(err)
	return *made.QueueUrl, got.Attributes["QueueArn"]
}

// send sends records of several keys at once, each key's one after the other.
func (s *service) send(to deliver.Transport) {
	s.t.Helper()
	var all sync.WaitGroup
	for k := range someKeys {
		key := fmt.Sprint("Hôtel ", k)
		all.Go(func() {
			for n := 1; n <= perKey; n++ {
				if a := to.Send(s.t.Context(), message(key, 1000*k+n, strconv.Itoa(n))); a.Reason != deliver.ReasonDelivered {
					s.t.Errorf("%s %d: %v %s", key, n, a.Reason, a.Detail)
				}
			}
		})
	}
	all.Wait()
}

// received empties a queue, and holds what is there against what was sent: once
// each, in order per group, with the attributes.
func (s *service) received(url string, fifo bool) {
	s.t.Helper()
	client := sqs.NewFromConfig(s.Config)
	last, total := map[string]int{}, 0
	for empty := 0; empty < 3 && total < someKeys*perKey; {
		out, err := client.ReceiveMessage(s.t.Context(), &sqs.ReceiveMessageInput{QueueUrl: aws.String(url), MaxNumberOfMessages: 10, WaitTimeSeconds: 1, MessageAttributeNames: []string{"All"},
			MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll}})
		s.must(err)
		if len(out.Messages) == 0 {
			empty++
		}
		for _, m := range out.Messages {
			total++
			value := func(name string) string { return aws.ToString(m.MessageAttributes[name].StringValue) }
			group, n := m.Attributes["MessageGroupId"], 0
			fmt.Sscan(*m.Body, &n)
			if fifo && (group != value("key") || m.Attributes["MessageDeduplicationId"] != value("idempotency_key")) {
				s.t.Errorf("group %q and id %q of a message with key %q and idempotency key %q", group, m.Attributes["MessageDeduplicationId"], value("key"), value("idempotency_key"))
			}
			if value("type") != "OTA_PingRQ" || value("content_type") != "text/xml" || value("shard") != shardInfo.Shard {
				s.t.Errorf("attributes %v", m.MessageAttributes)
			}
			if key := value("key"); fifo && n != last[key]+1 {
				s.t.Errorf("%s: %d behind %d", key, n, last[key])
			}
			last[value("key")] = n
			_, err := client.DeleteMessage(s.t.Context(), &sqs.DeleteMessageInput{QueueUrl: aws.String(url), ReceiptHandle: m.ReceiptHandle})
			s.must(err)
		}
	}
	if total != someKeys*perKey || len(last) != someKeys {
		s.t.Errorf("%d messages of %d keys, want %d of %d", total, len(last), someKeys*perKey, someKeys)
	}
}

// queues delivers to a FIFO queue, twice within the time of de-duplication.
func (s *service) queues() {
	url, _ := s.queue(".fifo")
	q, err := amazon.NewSQS(amazon.SQSConfig{Client: sqs.NewFromConfig(s.Config), QueueURL: url, Batching: amazon.Batching{Concurrency: someKeys}})
	s.must(err)
	defer q.Close()
	s.send(q)
	if a := q.Send(s.t.Context(), message("Hôtel 0", 1, "1")); a.Reason != deliver.ReasonDelivered {
		s.t.Errorf("again: %v %s", a.Reason, a.Detail)
	}
	s.received(url, true)
	gone, err := amazon.NewSQS(amazon.SQSConfig{Client: sqs.NewFromConfig(s.Config), QueueURL: strings.TrimSuffix(url, ".fifo") + "-gone.fifo", Batching: amazon.Batching{Concurrency: 1}})
	s.must(err)
	defer gone.Close()
	if a := gone.Send(s.t.Context(), message("H1", 1, "1")); a.Reason != deliver.ReasonNotFound {
		s.t.Errorf("a queue that is not there: %v %s", a.Reason, a.Detail)
	}
}

// topics delivers to topics of both kinds that hand on to queues.
func (s *service) topics() {
	client := sns.NewFromConfig(s.Config)
	for _, suffix := range []string{".fifo", ""} {
		url, queue := s.queue(suffix)
		attributes := map[string]string{}
		if suffix == ".fifo" {
			attributes["FifoTopic"] = "true"
		}
		made, err := client.CreateTopic(s.t.Context(), &sns.CreateTopicInput{Name: aws.String(s.unique(suffix)), Attributes: attributes})
		s.must(err)
		_, err = client.Subscribe(s.t.Context(), &sns.SubscribeInput{TopicArn: made.TopicArn, Protocol: aws.String("sqs"), Endpoint: aws.String(queue),
			Attributes: map[string]string{"RawMessageDelivery": "true"}})
		s.must(err)
		topic := amazon.NewSNS(amazon.SNSConfig{Client: client, TopicARN: *made.TopicArn, Batching: amazon.Batching{Concurrency: someKeys}})
		s.send(topic)
		topic.Close()
		s.received(url, suffix == ".fifo")
	}
	gone := amazon.NewSNS(amazon.SNSConfig{Client: client, TopicARN: "arn:aws:sns:eu-west-1:" + ownAccount + ":gone", Batching: amazon.Batching{Concurrency: 1}})
	defer gone.Close()
	if a := gone.Send(s.t.Context(), message("H1", 1, "1")); a.Reason != deliver.ReasonNotFound {
		s.t.Errorf("a topic that is not there: %v %s", a.Reason, a.Detail)
	}
}

// buckets delivers to objects.
func (s *service) buckets() {
	client := s3.NewFromConfig(s.Config, func(o *s3.Options) { o.UsePathStyle = true })
	bucket := strings.TrimSuffix(s.unique(""), "-")
	_, err := client.CreateBucket(s.t.Context(), &s3.CreateBucketInput{Bucket: aws.String(bucket),
		CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: region}})
	s.must(err)
	to := amazon.NewS3(amazon.S3Config{Client: client, Bucket: bucket, Prefix: "ota/", Name: "archive", Batching: amazon.Batching{Concurrency: someKeys}})
	defer to.Close()
	s.send(to)
	listed, err := client.ListObjectsV2(s.t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String(bucket), Prefix: aws.String("ota/")})
	s.must(err)
	records := map[string]bool{}
	for _, o := range listed.Contents {
		got, err := client.GetObject(s.t.Context(), &s3.GetObjectInput{Bucket: aws.String(bucket), Key: o.Key})
		s.must(err)
		data, err := io.ReadAll(got.Body)
		s.must(err)
		for text := range strings.Lines(string(data)) {
			var e deliver.Envelope
			s.must(json.Unmarshal([]byte(text), &e))
			records[e.Key+" "+*e.Data] = true
		}
	}
	if len(records) != someKeys*perKey {
		s.t.Errorf("%d records in %d objects, want %d", len(records), len(listed.Contents), someKeys*perKey)
	}
	gone := amazon.NewS3(amazon.S3Config{Client: client, Bucket: bucket + "-gone", Name: "archive", Batching: amazon.Batching{Concurrency: 1}})
	defer gone.Close()
	if a := gone.Send(s.t.Context(), message("H1", 1, "1")); a.Reason != deliver.ReasonNotFound {
		s.t.Errorf("a bucket that is not there: %v %s", a.Reason, a.Detail)
	}
}

// streams delivers to a stream, each record by itself and aggregated, and reads
// it as a source does, which drops aggregates that are in the wrong shard.
func (s *service) streams() {
	client := kinesis.NewFromConfig(s.Config)
	for _, aggregate := range []bool{false, true} {
		name := s.unique(fmt.Sprint("-", aggregate))
		_, err := client.CreateStream(s.t.Context(), &kinesis.CreateStreamInput{StreamName: aws.String(name), ShardCount: aws.Int32(3)})
		s.must(err)
		active := kinesis.NewStreamExistsWaiter(client, func(o *kinesis.StreamExistsWaiterOptions) { o.MinDelay, o.MaxDelay = 100*time.Millisecond, time.Second })
		made, err := active.WaitForOutput(s.t.Context(), &kinesis.DescribeStreamInput{StreamName: aws.String(name)}, 30*time.Second)
		s.must(err)
		arn := *made.StreamDescription.StreamARN
		c := amazon.KinesisConfig{Client: client, StreamARN: arn, Batching: amazon.Batching{Concurrency: someKeys}}
		if aggregate {
			c.Aggregates, err = consumers.NewShardMap(consumers.Config{Name: "out", StreamARN: arn, Client: client})
			s.must(err)
		}
		to := amazon.NewKinesis(c)
		s.send(to)
		s.must(to.Close())
		s.read(client, arn)
	}
}

// read reads a stream to its end, and holds what is there against what was sent.
func (s *service) read(client *kinesis.Client, arn string) {
	s.t.Helper()
	source, err := consumers.NewSource(consumers.Config{Name: "out", StreamARN: arn, Client: client, PollInterval: 200 * time.Millisecond})
	s.must(err)
	shards, _, err := source.Shards(s.t.Context())
	s.must(err)
	last, total := map[string]int{}, 0
	for _, shard := range shards {
		reader := source.Reader(shard, checkpoint.TrimHorizon)
		for empty := 0; empty < 2; {
			s.must(reader.Wait(s.t.Context()))
			batch, err := reader.Read(s.t.Context())
			s.must(err)
			if len(batch.Records) == 0 {
				empty++
			}
			for _, r := range batch.Records {
				if r.Blank {
					continue
				}
				n, err := strconv.Atoi(string(r.Data))
				if err != nil || n != last[r.PartitionKey]+1 {
					s.t.Errorf("%s: %q behind %d", r.PartitionKey, r.Data, last[r.PartitionKey])
				}
				last[r.PartitionKey] = n
				total++
			}
		}
		reader.Close()
	}
	if total != someKeys*perKey || len(last) != someKeys {
		s.t.Errorf("%d records of %d keys, want %d of %d", total, len(last), someKeys*perKey, someKeys)
	}
}

func (s *service) all() {
	for name, run := range map[string]func(*service){"Streams": (*service).streams, "Queues": (*service).queues, "Topics": (*service).topics, "Buckets": (*service).buckets} {
		s.t.Run(name, func(t *testing.T) { run(&service{t: t, Config: s.Config}) })
	}
}

func TestLocalAWS(t *testing.T) {
	server := localaws.New(localaws.Config{Region: region})
	if err := server.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx) }()
	defer func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	account, err := server.AddAccount(ownAccount)
	if err != nil {
		t.Fatal(err)
	}
	newService(t, server.Endpoint(), account.AccessKeyID, account.SecretAccessKey).all()
}

// peer is the URL of the server of others that the variable names.
func peer(t *testing.T, variable string) string {
	t.Helper()
	endpoint := os.Getenv(variable)
	if endpoint == "" {
		t.Skipf("%s is not set: no server that others wrote to test against (make test-peers)", variable)
	}
	return endpoint
}

// TestPeerMoto has the account of any key that it does not know.
func TestPeerMoto(t *testing.T) {
	newService(t, peer(t, "SHARDLINE_PEER_MOTO"), "AKIAIOSFODNN7EXAMPLE", "secret").all()
}

// TestPeerKinesisMock has streams alone; their account is the access key's id.
func TestPeerKinesisMock(t *testing.T) {
	newService(t, peer(t, "SHARDLINE_PEER_KINESIS_MOCK"), ownAccount, "secret").streams()
}

// TestPeerElasticMQ has queues alone.
func TestPeerElasticMQ(t *testing.T) {
	newService(t, peer(t, "SHARDLINE_PEER_ELASTICMQ"), "AKIAIOSFODNN7EXAMPLE", "secret").queues()
}
