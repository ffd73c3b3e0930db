package redrive_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	kinesistypes "github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"go.uber.org/zap"

	"github.com/shardline/shardline/internal/localaws"
	"github.com/shardline/shardline/pipeline/deliver"
	"github.com/shardline/shardline/pipeline/deliver/amazon"
	"github.com/shardline/shardline/pipeline/redrive"
)

const (
	account = "111111111111"
	region  = "eu-west-1"
	stream  = "arn:aws:kinesis:eu-west-1:111111111111:stream/hotels"
)

// letters is a dead letter queue as workers write it, and as it is read.
type letters interface {
	deliver.DeadLetters
	redrive.Queue
}

// cloud is an AWS, or what stands for one, with a bucket for data that is too
// large.
type cloud struct {
	*localaws.Server // nil: it is others'
	config           aws.Config
	name             string // of everything that a test makes there begins so
	bucket           *string
	overflow         *amazon.Overflow
	s3               *s3.Client // nil: it has none
}

func newCloud(t *testing.T) *cloud {
	t.Helper()
	server := localaws.New(localaws.Config{Unlimited: true})
	c, err := server.AddAccount(account)
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(server.Handler())
	t.Cleanup(h.Close)
	return newCloudAt(t, server, h.URL, credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, ""), true)
}

func newCloudAt(t *testing.T, server *localaws.Server, url string, keys aws.CredentialsProvider, objects bool) *cloud {
	t.Helper()
	config := aws.Config{Region: region, BaseEndpoint: aws.String(url), Credentials: keys}
	c := &cloud{Server: server, config: config, name: fmt.Sprintf("t%d", rand.Uint32())}
	if objects {
		c.bucket = aws.String(c.name + "-letters")
		c.s3 = s3.NewFromConfig(config, func(o *s3.Options) { o.UsePathStyle = true })
		c.overflow = &amazon.Overflow{Client: c.s3, Bucket: *c.bucket, Prefix: "overflow/"}
		if _, err := c.s3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: c.bucket,
			CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: region}}); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func (c *cloud) sqs(t *testing.T, name string, attributes map[string]string) (*sqs.Client, string) {
	t.Helper()
	client := sqs.NewFromConfig(c.config)
	out, err := client.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String(c.name + name), Attributes: attributes})
	if err != nil {
		t.Fatal(err)
	}
	return client, *out.QueueUrl
}

func (c *cloud) stream(t *testing.T) (*kinesis.Client, string) {
	t.Helper()
	client := kinesis.NewFromConfig(c.config)
	_, err := client.CreateStream(t.Context(), &kinesis.CreateStreamInput{StreamName: aws.String(c.name), ShardCount: aws.Int32(2)})
	var exists *kinesistypes.ResourceInUseException
	if err != nil && !errors.As(err, &exists) {
		t.Fatal(err)
	}
	var out *kinesis.DescribeStreamSummaryOutput
	for range 100 {
		if out, err = client.DescribeStreamSummary(t.Context(), &kinesis.DescribeStreamSummaryInput{StreamName: aws.String(c.name)}); err != nil {
			t.Fatal(err)
		}
		if out.StreamDescriptionSummary.StreamStatus == kinesistypes.StreamStatusActive {
			break
		}
		time.Sleep(50 * time.Millisecond) // others' servers take their time
	}
	return client, *out.StreamDescriptionSummary.StreamARN
}

// fileLetters is both sides of a file.
type fileLetters struct {
	*deliver.FileDeadLetters
	*redrive.File
}

// queues make a queue of each kind. What they make again is the same queue.
var queues = map[string]func(t *testing.T, c *cloud, dir string) letters{
	"file": func(t *testing.T, _ *cloud, dir string) letters {
		path := filepath.Join(dir, "failed.jsonl")
		w, err := deliver.NewFileDeadLetters(path, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { w.Close() })
		return fileLetters{w, redrive.NewFile(path)}
	},
	"sqs": func(t *testing.T, c *cloud, _ string) letters {
		client, url := c.sqs(t, "failed", nil)
		return amazon.NewSQSLetters("failed", client, url, c.overflow)
	},
	"sqs fifo": func(t *testing.T, c *cloud, _ string) letters {
		client, url := c.sqs(t, "failed.fifo", map[string]string{"FifoQueue": "true"})
		return amazon.NewSQSLetters("failed", client, url, c.overflow)
	},
	"sqs of small messages": func(t *testing.T, c *cloud, _ string) letters {
		client, url := c.sqs(t, "small", map[string]string{"MaximumMessageSize": "4096"})
		return amazon.NewSQSLetters("failed", client, url, c.overflow)
	},
	"kinesis": func(t *testing.T, c *cloud, _ string) letters {
		client, arn := c.stream(t)
		return amazon.NewKinesisLetters("failed", client, arn, c.overflow)
	},
	"s3": func(_ *testing.T, c *cloud, _ string) letters {
		return amazon.NewS3Letters("failed", c.s3, *c.bucket, "dead/")
	},
}

var letterTime = time.Date(2026, 3, 1, 6, 0, 0, 0, time.UTC)

// letter is one of a destination and key, with a number that orders it.
func letter(destination, key string, number int, data string) deliver.DeadLetter {
	return deliver.DeadLetter{Time: letterTime.Add(time.Duration(number) * time.Second), Destination: destination, Reason: "rejected",
		Source: "hotels", Stream: stream, StreamCreated: letterTime.Add(-time.Hour), Shard: "shardId-000000000000",
		Sequence: strconv.Itoa(49600000 + number), Arrival: letterTime, PartitionKey: key, Key: key, Data: []byte(data)}
}

func name(l *deliver.DeadLetter) string {
	return fmt.Sprintf("%s/%s/%s", l.Destination, l.Key, strings.TrimPrefix(l.Sequence, "496000"))
}

// drain reads all that a queue has, with its data. What is found is taken out,
// as far as done says so, and the rest is given back.
func drain(t *testing.T, q redrive.Queue, f redrive.Filter, done func(name string) bool) []string {
	t.Helper()
	var names []string
	for {
		found, err := redrive.Scanned(t.Context(), q, f)
		if err != nil {
			t.Fatal(err)
		}
		var out []*redrive.Found
		for _, l := range found {
			if l.Problem != nil {
				t.Fatalf("%s: %v", l.Where, l.Problem)
			}
			if err := q.Load(t.Context(), l); err != nil {
				t.Fatal(err)
			}
			if want := strings.Repeat(name(&l.Letter)+" ", len(l.Letter.Data)/max(1, len(name(&l.Letter))+1)); string(l.Letter.Data) != want {
				t.Errorf("%s has %d bytes of other data", name(&l.Letter), len(l.Letter.Data))
			}
			names = append(names, name(&l.Letter))
			if done(name(&l.Letter)) {
				out = append(out, l)
			}
		}
		if err := q.Done(t.Context(), "c1", out); err != nil {
			t.Fatal(err)
		}
		if !q.Partial() || len(out) == 0 {
			break
		}
	}
	if err := q.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

// Every queue keeps letters of any size, gives back what is not done, and
// nothing of what is.
func TestQueues(t *testing.T) {
	for kind := range queues {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			testQueue(t, newCloud(t), kind)
		})
	}
}

// testQueue holds one kind of queue in a cloud.
func testQueue(t *testing.T, c *cloud, kind string) {
	make, dir := queues[kind], t.TempDir()
	q := make(t, c, dir)
	var want []string
	put := func(destination, key string, number, size int) {
		if c.overflow == nil { // large ones would be left in the stream
			size = min(size, 1000)
		}
		l := letter(destination, key, number, "")
		n := name(&l)
		l.Data = bytes.Repeat([]byte(n+" "), max(1, size/(len(n)+1)))
		if err := q.Put(t.Context(), l); err != nil {
			t.Fatal(err)
		}
		want = append(want, n)
	}
	put("a", "h1", 1, 10)
	put("a", "h2", 2, 900<<10) // with its base64 above a message's or a record's first limit
	put("a", "h2", 3, 9<<20)   // above every limit
	put("b", "h\x01\ufffe\u00e9", 4, 10)
	put("b", strings.Repeat("long", 60), 5, 10)
	slices.Sort(want)

	none := func(string) bool { return false }
	if !q.Partial() {
		if got := drain(t, q, redrive.Filter{}, none); !slices.Equal(got, want) {
			t.Errorf("found %q, want %q", got, want)
		}
	}
	// Some are done; another reader finds the others.
	first := drain(t, make(t, c, dir), redrive.Filter{Destination: "a"}, func(n string) bool { return n != want[1] })
	if !slices.Equal(first, want[:3]) && !(q.Partial() && slices.Equal(first, want[:2])) {
		t.Errorf("found %q of destination a, want %q", first, want[:3])
	}
	rest := drain(t, make(t, c, dir), redrive.Filter{}, func(string) bool { return true })
	if q.Partial() { // the rest of a group may have come with its first, or wait behind it
		rest = slices.DeleteFunc(rest, func(n string) bool { return n == want[2] })
	}
	if expected := slices.Concat(want[1:2], want[3:]); !slices.Equal(rest, expected) {
		t.Errorf("found %q after some were done, want %q", rest, expected)
	}
	if left := drain(t, make(t, c, dir), redrive.Filter{}, none); len(left) != 0 {
		t.Errorf("found %q after all were done", left)
	}
	if objects := c.objects(t); len(objects) != 0 {
		t.Errorf("objects %q are left", objects)
	}
}

func (c *cloud) objects(t *testing.T) (keys []string) {
	t.Helper()
	if c.s3 == nil {
		return nil
	}
	out, err := c.s3.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: c.bucket})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range out.Contents {
		keys = append(keys, *o.Key)
	}
	return keys
}

// What is no letter is found as that, and stays.
func TestForeignContents(t *testing.T) {
	whole := letter("a", "h1", 1, "x")
	foreign := map[string]func(t *testing.T, c *cloud, dir string, q letters){
		"file": func(t *testing.T, _ *cloud, dir string, _ letters) {
			file, err := os.OpenFile(filepath.Join(dir, "failed.jsonl"), os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			half := string(whole.Line())[:100]
			fmt.Fprintf(file, "no json\n{\"a\": 1}\n%s\n%s", half, half) // the last one is still being written
		},
		"sqs": func(t *testing.T, c *cloud, _ string, _ letters) {
			client, url := c.sqs(t, "failed", nil)
			if _, err := client.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &url, MessageBody: aws.String(string(whole.Line()))}); err != nil {
				t.Fatal(err)
			}
		},
		"kinesis": func(t *testing.T, c *cloud, _ string, _ letters) {
			client, arn := c.stream(t)
			_, err := client.PutRecord(t.Context(), &kinesis.PutRecordInput{StreamARN: &arn, PartitionKey: aws.String("k"), Data: []byte("<xml/>")})
			if err != nil {
				t.Fatal(err)
			}
		},
		"s3": func(t *testing.T, c *cloud, _ string, _ letters) {
			for _, key := range []string{"dead/destination=a/readme.txt", "dead/destination=a/dt=2026-03-01/x.jsonl.gz"} {
				if _, err := c.s3.PutObject(t.Context(), &s3.PutObjectInput{Bucket: c.bucket, Key: &key, Body: strings.NewReader("no gzip")}); err != nil {
					t.Fatal(err)
				}
			}
		},
	}
	problems := map[string]int{"file": 3, "sqs": 1, "kinesis": 1, "s3": 2}
	for kind, spoil := range foreign {
		t.Run(kind, func(t *testing.T) {
			c, dir := newCloud(t), t.TempDir()
			q := queues[kind](t, c, dir)
			if err := q.Put(t.Context(), whole); err != nil {
				t.Fatal(err)
			}
			spoil(t, c, dir, q)
			for range 2 { // they stay
				found, err := redrive.Scanned(t.Context(), q, redrive.Filter{})
				if err != nil {
					t.Fatal(err)
				}
				plan := redrive.NewPlan(found, func(string) bool { return true })
				if plan.Letters != 1 || len(plan.Skipped) != problems[kind] {
					t.Errorf("%d letters and %d skipped, want 1 and %d: %+v", plan.Letters, len(plan.Skipped), problems[kind], plan.Skipped)
				}
				for _, s := range plan.Skipped {
					if s.Reason != redrive.SkippedForeign || s.Why == "" || s.Found.Where == "" {
						t.Errorf("skipped as %+v", s)
					}
				}
				if err := q.Release(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// A queue that fails says so within the time of one try, and a letter whose
// answer was lost may be there twice, never not at all.
func TestQueuesFail(t *testing.T) {
	operations := map[string]string{"sqs": "sqs.SendMessageBatch", "sqs fifo": "sqs.SendMessageBatch", "kinesis": "kinesis.PutRecords", "s3": "s3.PutObject"}
	for kind, operation := range operations {
		for _, fault := range []localaws.FaultKind{localaws.Throttle, localaws.Error500, localaws.DropBefore, localaws.DropAfter, localaws.PartialPut} {
			if fault == localaws.PartialPut && kind == "s3" {
				continue
			}
			t.Run(kind+" "+string(fault), func(t *testing.T) {
				t.Parallel()
				c := newCloud(t)
				q := queues[kind](t, c, "")
				if _, err := c.AddFault(localaws.Fault{Operation: operation, Kind: fault, Count: 1}); err != nil {
					t.Fatal(err)
				}
				l := letter("a", "h1", 1, "a/h1/01 ")
				if err := q.Put(t.Context(), l); err == nil || !strings.Contains(err.Error(), "dead letters failed: ") {
					t.Fatalf("error is %v, want one that names the queue", err)
				}
				if err := q.Put(t.Context(), l); err != nil {
					t.Fatal(err)
				}
				found := drain(t, q, redrive.Filter{}, func(string) bool { return true })
				most := 1
				if fault == localaws.DropAfter && kind != "sqs fifo" { // there its id is known
					most = 2
				}
				if len(found) < 1 || len(found) > most {
					t.Errorf("found %q, want it %d times at most", found, most)
				}
			})
		}
	}
}

// Without an overflow, data that a queue does not take is left in the stream.
func TestLettersByPosition(t *testing.T) {
	c := newCloud(t)
	client, url := c.sqs(t, "small", map[string]string{"MaximumMessageSize": "4096"})
	q := amazon.NewSQSLetters("failed", client, url, nil)
	if err := q.Put(t.Context(), letter("a", "h1", 1, strings.Repeat("x", 5000))); err != nil {
		t.Fatal(err)
	}
	found, err := redrive.Scanned(t.Context(), q, redrive.Filter{})
	if err != nil || len(found) != 1 {
		t.Fatalf("found %d letters, %v", len(found), err)
	}
	if l := found[0].Letter; l.DataIn != deliver.DataInStream || len(l.Data) != 0 {
		t.Errorf("data in %q, %d bytes of it; want a reference to the stream", l.DataIn, len(l.Data))
	}
}

// A caller that gives up waits no longer, whatever the service does.
func TestPutEndsWithItsContext(t *testing.T) {
	c := newCloud(t)
	if _, err := c.AddFault(localaws.Fault{Operation: "s3.PutObject", Kind: localaws.Delay, DelayMillis: 5000}); err != nil {
		t.Fatal(err)
	}
	q := amazon.NewS3Letters("failed", c.s3, *c.bucket, "")
	ctx, cancel := context.WithCancelCause(t.Context())
	over := errors.New("the tenure is over")
	cancel(over)
	if err := q.Put(ctx, letter("a", "h1", 1, "x")); !errors.Is(err, over) {
		t.Errorf("error is %v, want the cause", err)
	}
}

// A FIFO queue gives a group's letters in pieces, each when the one before is
// done: all of them come, in order.
func TestLongGroups(t *testing.T) {
	c := newCloud(t)
	q := queues["sqs fifo"](t, c, "")
	want := map[string][]string{}
	for i := range 70 {
		key := fmt.Sprint("h", i%2)
		if err := q.Put(t.Context(), letter("a", key, 10+i, "x")); err != nil {
			t.Fatal(err)
		}
		want[key] = append(want[key], fmt.Sprint(10+i))
	}
	p := &partner{}
	result, err := redrive.Run(t.Context(), config(q, p))
	if err != nil || result.Delivered != 70 || result.Left != 0 {
		t.Fatalf("%+v, %v; want 70 delivered", result, err)
	}
	for key, numbers := range want {
		if got := p.of(key); !slices.Equal(got, numbers) {
			t.Errorf("%s got %q", key, got)
		}
	}
}
