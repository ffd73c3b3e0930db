package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/shardline/shardline/internal/localaws"
	"github.com/shardline/shardline/pipeline/deliver"
)

// receiversConfig has a destination of every type but http, each but the files
// in another account by its role, and reads the re-keyed stream as a second
// source: a fan-out of a fan-out.
const receiversConfig = `application: fanout
worker_id: ${TEST_WORKER}
region: eu-west-1
leases: {failover: 1s}
pipeline: {drain_timeout: 10s}
listen: {metrics: "127.0.0.1:0", api: "127.0.0.1:0"}
delivery: {retry: {initial: 20ms, max: 200ms}, breaker: {open_for: 100ms}}
sources:
  - name: hotels-0
    stream: %[1]s
    role: {arn: %[2]q, external_id: partner-7}
    initial_position: trim_horizon
    poll_interval: 200ms
    key: json:/hotel
    subscribers: [rekeyed, aggregated, queue, topic, archive, file]
    dead_letters: failed
  - name: rekeyed
    stream: %[3]s
    role: {arn: %[6]q}
    initial_position: trim_horizon
    poll_interval: 200ms
    subscribers: [again]
    dead_letters: failed
  - name: aggregated
    stream: %[4]s
    role: {arn: %[6]q}
    initial_position: trim_horizon
    poll_interval: 200ms
    subscribers: [opened]
    dead_letters: failed
destinations:
  - {name: rekeyed, type: kinesis, stream: %[3]q, role: {arn: %[5]q}, key: "json:/hotel", dead_letters: failed}
  - {name: aggregated, type: kinesis, stream: %[4]q, role: {arn: %[5]q}, key: "json:/hotel", aggregate: true, dead_letters: failed}
  - {name: queue, type: sqs, queue: "http://sqs.eu-west-1.amazonaws.com/222222222222/hotels.fifo", role: {arn: %[5]q}, dead_letters: failed}
  - {name: topic, type: sns, topic: "arn:aws:sns:eu-west-1:222222222222:hotels.fifo", role: {arn: %[5]q}, dead_letters: failed}
  - {name: archive, type: s3, bucket: hotels-archive, prefix: ota/, linger: 100ms, role: {arn: %[5]q}, dead_letters: failed}
  - {name: file, type: file, path: file.jsonl, dead_letters: failed}
  - {name: again, type: file, path: again.jsonl, dead_letters: failed}
  - {name: opened, type: file, path: opened.jsonl, dead_letters: failed}
dead_letter_queues:
  - {name: failed, type: file, path: dead.jsonl}
`

// receivers is an account that has one of everything.
type receivers struct {
	*scene
	config string
	writer string // the role of the destinations
	client aws.Config
	hotels map[string]int // messages so far
}

func newReceivers(t *testing.T) *receivers {
	s := newScene(t, localaws.Config{}, 2)
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	account, err := s.aws.AddAccount(resortsAccount)
	must("account", err)
	made := func(what string, f func() (string, error)) string {
		t.Helper()
		arn, err := f()
		must(what, err)
		return arn
	}
	stream := func(name string) string {
		return made(name, func() (string, error) { return s.aws.CreateStream(resortsAccount, testRegion, name, 2) })
	}
	rekeyed, aggregated := stream("rekeyed"), stream("aggregated")
	queue := made("queue", func() (string, error) { return s.aws.CreateQueue(resortsAccount, testRegion, "hotels.fifo", nil) })
	behind := made("queue", func() (string, error) { return s.aws.CreateQueue(resortsAccount, testRegion, "topic.fifo", nil) })
	topic := made("topic", func() (string, error) { return s.aws.CreateTopic(resortsAccount, testRegion, "hotels.fifo", nil) })
	must("subscribe", s.aws.SubscribeQueue(topic, behind, true))
	made("bucket", func() (string, error) { return s.aws.CreateBucket(resortsAccount, testRegion, "hotels-archive") })
	writer := made("role", func() (string, error) { // as deploy/iam has it
		return s.aws.AddRole(localaws.Role{Account: resortsAccount, Name: "writer", Trust: localaws.Trust{Principals: []string{tablesAccount}},
			Permissions: []localaws.Permission{
				{Resources: []string{rekeyed, aggregated}, Actions: []string{"kinesis:PutRecords", "kinesis:ListShards"}},
				{Resources: []string{queue}, Actions: []string{"sqs:SendMessage"}},
				{Resources: []string{topic}, Actions: []string{"sns:Publish"}},
				{Resources: []string{"arn:aws:s3:::hotels-archive/ota/*"}, Actions: []string{"s3:PutObject"}}}})
	})
	reader := made("role", func() (string, error) {
		return s.aws.AddRole(localaws.Role{Account: resortsAccount, Name: "reader", Trust: localaws.Trust{Principals: []string{tablesAccount}},
			Permissions: []localaws.Permission{{Resources: []string{rekeyed, aggregated}, Actions: []string{
				"kinesis:DescribeStreamSummary", "kinesis:ListShards", "kinesis:GetShardIterator", "kinesis:GetRecords"}}}})
	})
	config := filepath.Join(s.dir, "receivers.yaml")
	must("configuration", os.WriteFile(config, fmt.Appendf(nil, receiversConfig, s.streams[0].arn, s.streams[0].role, rekeyed, aggregated, writer, reader), 0o600))
	return &receivers{scene: s, config: config, writer: writer, hotels: make(map[string]int), client: aws.Config{Region: testRegion, BaseEndpoint: aws.String(s.aws.Endpoint()),
		Credentials: credentials.NewStaticCredentialsProvider(account.AccessKeyID, account.SecretAccessKey, "")}}
}

// some puts n messages for so many hotels, each under a partition key that is
// not the hotel.
func (r *receivers) some(n, hotels int) {
	for i := range n {
		hotel := fmt.Sprint("H", i%hotels)
		if _, _, err := r.aws.Put(r.streams[0].arn, "partition-"+hotel, fmt.Appendf(nil, `{"hotel": %q, "n": %d}`, hotel, r.hotels[hotel])); err != nil {
			r.t.Fatal(err)
		}
		r.hotels[hotel]++
	}
}

// arrived is a message at a receiver.
type arrived struct {
	Hotel string
	N     int
	key   string
}

func parseArrived(t testing.TB, data, key string) arrived {
	t.Helper()
	a := arrived{key: key}
	if err := json.Unmarshal([]byte(data), &a); err != nil {
		t.Fatalf("%.100q: %v", data, err)
	}
	return a
}

func (r *receivers) lines(data []byte) (all []arrived) {
	for line := range bytes.Lines(data) {
		var e deliver.Envelope
		if err := json.Unmarshal(line, &e); err != nil {
			continue // a kill has cut it
		}
		all = append(all, parseArrived(r.t, *e.Data, e.Key))
	}
	return all
}

func (r *receivers) file(name string) []arrived {
	data, err := os.ReadFile(filepath.Join(r.dir, name))
	if err != nil && !os.IsNotExist(err) {
		r.t.Fatal(err)
	}
	return r.lines(data)
}

func (r *receivers) objects() (all []arrived) {
	client := s3.NewFromConfig(r.client)
	out, err := client.ListObjectsV2(context.Background(), &s3.ListObjectsV2Input{Bucket: aws.String("hotels-archive"), Prefix: aws.String("ota/")})
	if err != nil || aws.ToBool(out.IsTruncated) {
		r.t.Fatal("list: ", err)
	}
	for _, o := range out.Contents { // by name, which is by time
		got, err := client.GetObject(context.Background(), &s3.GetObjectInput{Bucket: aws.String("hotels-archive"), Key: o.Key})
		if err != nil {
			r.t.Fatal(err)
		}
		data, err := io.ReadAll(got.Body)
		if err != nil || !strings.HasPrefix(*o.Key, "ota/20") || aws.ToString(got.ContentType) != "application/x-ndjson" {
			r.t.Fatal(*o.Key, *got.ContentType, err)
		}
		all = append(all, r.lines(data)...)
	}
	return all
}

// receive empties a queue.
func (r *receivers) receive(queue string, into *[]arrived) {
	client := sqs.NewFromConfig(r.client)
	url := aws.String("http://localhost/" + resortsAccount + "/" + queue)
	for {
		out, err := client.ReceiveMessage(context.Background(), &sqs.ReceiveMessageInput{QueueUrl: url, MaxNumberOfMessages: 10, MessageAttributeNames: []string{"All"},
			MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll}})
		if err != nil {
			r.t.Fatal(err)
		}
		if len(out.Messages) == 0 {
			return
		}
		for _, m := range out.Messages {
			key := aws.ToString(m.MessageAttributes["key"].StringValue)
			if m.Attributes["MessageGroupId"] != key || len(m.MessageAttributes) > 10 {
				r.t.Errorf("group %q, key %q, %d attributes", m.Attributes["MessageGroupId"], key, len(m.MessageAttributes))
			}
			*into = append(*into, parseArrived(r.t, *m.Body, key))
			if _, err := client.DeleteMessage(context.Background(), &sqs.DeleteMessageInput{QueueUrl: url, ReceiptHandle: m.ReceiptHandle}); err != nil {
				r.t.Fatal(err)
			}
		}
	}
}

// complete says whether everything that was put is there.
func (r *receivers) complete(all []arrived) error {
	seen := map[string]map[int]bool{}
	for _, a := range all {
		if seen[a.Hotel] == nil {
			seen[a.Hotel] = map[int]bool{}
		}
		seen[a.Hotel][a.N] = true
	}
	for hotel, n := range r.hotels {
		if len(seen[hotel]) != n {
			return fmt.Errorf("%s has %d of %d", hotel, len(seen[hotel]), n)
		}
	}
	return nil
}

// judge holds what arrived against the promise of order; it returns how many
// came again.
func (r *receivers) judge(name string, all []arrived) (again int) {
	r.t.Helper()
	next, last := map[string]int{}, map[string]int{}
	for _, a := range all {
		switch {
		case a.key != a.Hotel:
			r.t.Errorf("%s: key %q for hotel %q", name, a.key, a.Hotel)
		case a.N > next[a.Hotel], a.N > last[a.Hotel]+1 && a.N != next[a.Hotel]:
			r.t.Errorf("%s: %s number %d, when %d was to come after %d", name, a.Hotel, a.N, next[a.Hotel], last[a.Hotel])
			return again
		case a.N < next[a.Hotel]:
			again++
		}
		last[a.Hotel] = a.N
		next[a.Hotel] = max(next[a.Hotel], a.N+1)
	}
	for hotel, n := range r.hotels {
		if last[hotel] != n-1 {
			r.t.Errorf("%s: the last of %s is %d of %d", name, hotel, last[hotel], n)
		}
	}
	return again
}

// TestReceivers delivers to a destination of every type in another account,
// through failures of some records of a call, throttles, and a kill.
func TestReceivers(t *testing.T) {
	t.Parallel()
	r := newReceivers(t)
	for _, f := range []localaws.Fault{
		{Operation: "kinesis.PutRecords", Kind: localaws.PartialPut, Probability: .2},
		{Operation: "kinesis.PutRecords", Kind: localaws.DropAfter, Probability: .05},
		{Operation: "sqs.SendMessageBatch", Kind: localaws.PartialPut, Probability: .2},
		{Operation: "sqs.SendMessageBatch", Kind: localaws.DropAfter, Probability: .05},
		{Operation: "sqs.SendMessageBatch", Kind: localaws.Throttle, Probability: .05},
		{Operation: "sns.PublishBatch", Kind: localaws.PartialPut, Probability: .2},
		{Operation: "sns.PublishBatch", Kind: localaws.DropAfter, Probability: .05},
		{Operation: "s3.PutObject", Kind: localaws.Error500, Probability: .1},
		{Operation: "s3.PutObject", Kind: localaws.DropAfter, Probability: .05},
	} {
		f.Seed = r.seed
		if _, err := r.aws.AddFault(f); err != nil {
			t.Fatal(err)
		}
	}
	r.some(300, 15)
	first := r.start(r.config)
	await(t, "the first ones are there", func() error { return r.complete(r.file("file.jsonl")) })
	r.some(300, 15)
	await(t, "some more are there", func() error {
		if n := len(r.file("file.jsonl")); n < 350 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	first.kill()
	if err := r.aws.SplitShard(fmt.Sprintf("arn:aws:kinesis:%s:%s:stream/aggregated", testRegion, resortsAccount), "shardId-000000000000"); err != nil {
		t.Fatal(err)
	}
	r.some(300, 15)
	second := r.start(r.config)
	var queue, topic []arrived
	for name, all := range map[string]func() []arrived{
		"file": func() []arrived { return r.file("file.jsonl") }, "again": func() []arrived { return r.file("again.jsonl") },
		"opened": func() []arrived { return r.file("opened.jsonl") }, "archive": r.objects,
		"queue": func() []arrived { r.receive("hotels.fifo", &queue); return queue },
		"topic": func() []arrived { r.receive("topic.fifo", &topic); return topic },
	} {
		await(t, name+" has everything", func() error { return r.complete(all()) })
	}
	second.stop()
	for name, all := range map[string][]arrived{"file": r.file("file.jsonl"), "again": r.file("again.jsonl"), "opened": r.file("opened.jsonl"),
		"archive": r.objects(), "queue": queue, "topic": topic} {
		again := r.judge(name, all)
		t.Logf("%s: %d arrived, %d again", name, len(all), again)
		if again > 0 && slices.Contains([]string{"queue", "topic"}, name) {
			t.Errorf("%s: %d came again, although they have the same de-duplication id", name, again)
		}
	}
	if letters := r.letters(); len(letters) > 0 {
		t.Errorf("%d dead letters, the first %s: %s", len(letters), letters[0].Reason, letters[0].Detail)
	}
	stats := r.aws.Stats()
	t.Logf("calls: PutRecords %d, SendMessageBatch %d, PublishBatch %d, PutObject %d", stats.Calls["kinesis.PutRecords"], stats.Calls["sqs.SendMessageBatch"],
		stats.Calls["sns.PublishBatch"], stats.Calls["s3.PutObject"])
}

// TestReceiversHeld: what the role may not do holds the destination, with the
// reason; nothing goes to the dead letters, and everything comes when it may.
func TestReceiversHeld(t *testing.T) {
	t.Parallel()
	r := newReceivers(t)
	if err := r.aws.DenyActions(r.writer, "kinesis:PutRecords", "sqs:SendMessage", "sns:Publish", "s3:PutObject"); err != nil {
		t.Fatal(err)
	}
	r.some(50, 5)
	p := r.start(r.config)
	names := []string{"rekeyed", "aggregated", "queue", "topic", "archive"}
	await(t, "they are held", func() error {
		_, ready := p.readiness()
		for _, d := range ready.Destinations {
			if slices.Contains(names, d.Name) && !(d.Held && strings.HasPrefix(d.Reason, "unauthorized")) {
				return fmt.Errorf("%s: held %v, %s", d.Name, d.Held, d.Reason)
			}
		}
		return r.complete(r.file("file.jsonl"))
	})
	if err := r.aws.GrantRole(r.writer); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if code, stdout, stderr := r.command("destinations", "release", name, "--config", r.config); code != 0 {
			t.Fatalf("release %s: exit %d: %s%s", name, code, stdout, stderr)
		}
	}
	var queue, topic []arrived
	for name, all := range map[string]func() []arrived{"again": func() []arrived { return r.file("again.jsonl") }, "opened": func() []arrived { return r.file("opened.jsonl") },
		"archive": r.objects, "queue": func() []arrived { r.receive("hotels.fifo", &queue); return queue }, "topic": func() []arrived { r.receive("topic.fifo", &topic); return topic }} {
		await(t, name+" has everything", func() error { return r.complete(all()) })
		r.judge(name, all())
	}
	p.stop()
	if letters := r.letters(); len(letters) > 0 {
		t.Errorf("%d dead letters, the first %s: %s", len(letters), letters[0].Reason, letters[0].Detail)
	}
}
