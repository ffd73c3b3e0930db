package amazon_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	topic "github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	queue "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/shardline/shardline/pipeline/deliver"
	"github.com/shardline/shardline/pipeline/deliver/amazon"
)

// fifo is a FIFO queue or topic in memory, without de-duplication, so that
// every repetition shows. It fails as told.
type fifo struct {
	random *rand.Rand // nil: never

	mu         sync.Mutex
	landed     []landed
	calls      []int
	groups     []string
	ids        []string // of de-duplication
	attributes []map[string]string
}

// accept takes the entries of a call: which landed, or that the call failed.
func (f *fifo) accept(ctx context.Context, groups, ids, bodies []string) (taken []bool, err error) {
	time.Sleep(20 * time.Millisecond)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, len(bodies))
	dice := func(percent int) bool { return f.random != nil && f.random.IntN(100) < percent }
	if dice(5) {
		return nil, errBroken
	}
	taken = make([]bool, len(bodies))
	for _, i := range rand.New(rand.NewPCG(uint64(len(f.calls)), 1)).Perm(len(bodies)) { // in any order
		if taken[i] = !dice(20); taken[i] {
			var n int
			fmt.Sscan(bodies[i], &n)
			f.landed = append(f.landed, landed{groups[i], n})
			f.groups, f.ids = append(f.groups, groups[i]), append(f.ids, ids[i])
		}
	}
	if dice(5) {
		return nil, errBroken
	}
	return taken, nil
}

func (f *fifo) SendMessageBatch(ctx context.Context, in *sqs.SendMessageBatchInput, _ ...func(*sqs.Options)) (*sqs.SendMessageBatchOutput, error) {
	var groups, ids, bodies []string
	for _, e := range in.Entries {
		groups, ids, bodies = append(groups, *e.MessageGroupId), append(ids, *e.MessageDeduplicationId), append(bodies, *e.MessageBody)
		all := map[string]string{}
		for name, a := range e.MessageAttributes {
			all[name] = *a.StringValue
		}
		f.mu.Lock()
		f.attributes = append(f.attributes, all)
		f.mu.Unlock()
	}
	taken, err := f.accept(ctx, groups, ids, bodies)
	if err != nil {
		return nil, err
	}
	out := &sqs.SendMessageBatchOutput{}
	for i, e := range in.Entries {
		if taken[i] {
			out.Successful = append(out.Successful, queue.SendMessageBatchResultEntry{Id: e.Id})
		} else {
			out.Failed = append([]queue.BatchResultErrorEntry{{Id: e.Id, Code: aws.String("InternalError")}}, out.Failed...)
		}
	}
	return out, nil
}

func (f *fifo) PublishBatch(ctx context.Context, in *sns.PublishBatchInput, _ ...func(*sns.Options)) (*sns.PublishBatchOutput, error) {
	var groups, ids, bodies []string
	for _, e := range in.PublishBatchRequestEntries {
		groups, ids, bodies = append(groups, aws.ToString(e.MessageGroupId)), append(ids, aws.ToString(e.MessageDeduplicationId)), append(bodies, *e.Message)
	}
	taken, err := f.accept(ctx, groups, ids, bodies)
	if err != nil {
		return nil, err
	}
	out := &sns.PublishBatchOutput{}
	for i, e := range in.PublishBatchRequestEntries {
		if taken[i] {
			out.Successful = append(out.Successful, topic.PublishBatchResultEntry{Id: e.Id})
		} else {
			out.Failed = append([]topic.BatchResultErrorEntry{{Id: e.Id, Code: aws.String("InternalError")}}, out.Failed...)
		}
	}
	return out, nil
}

const queueURL = "https://sqs.eu-west-1.amazonaws.com/111111111111/hotels.fifo"

func newSQS(t *testing.T, client amazon.SendMessageBatch, concurrency int) *amazon.SQS {
	t.Helper()
	q, err := amazon.NewSQS(amazon.SQSConfig{Client: client, QueueURL: queueURL, Batching: amazon.Batching{Concurrency: concurrency}})
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// TestFIFOOrder sends through calls that fail as a whole, before and after they
// landed, and entry by entry.
func TestFIFOOrder(t *testing.T) {
	for name, make := range map[string]func(*fifo) deliver.Transport{
		"sqs": func(f *fifo) deliver.Transport { return newSQS(t, f, 50) },
		"sns": func(f *fifo) deliver.Transport {
			return amazon.NewSNS(amazon.SNSConfig{Client: f, TopicARN: "arn:aws:sns:eu-west-1:111111111111:hotels.fifo", Batching: amazon.Batching{Concurrency: 50}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(20) {
				synctest.Test(t, func(t *testing.T) {
					f := &fifo{random: rand.New(rand.NewPCG(seed, 1))}
					refused := throughDestination(t, make(f), 1000, 100, 50, seed, func(n int) string { return fmt.Sprint(n) })
					if len(refused) > 0 {
						t.Errorf("seed %d: refused %v", seed, refused)
					}
					inOrder(t, seed, f.landed, sent(1000, 100, seed, nil))
					ids := map[string]int{}
					for i, id := range f.ids {
						if n, again := ids[id]; again && n != f.landed[i].n || len(id) > 128 {
							t.Fatalf("seed %d: the de-duplication id %q of %d is %d's too, or too long", seed, id, f.landed[i].n, n)
						}
						ids[id] = f.landed[i].n
					}
					if len(ids) != 1000 {
						t.Errorf("seed %d: %d de-duplication ids for 1000 records", seed, len(ids))
					}
				})
			}
		})
	}
}

func TestSQSMessage(t *testing.T) {
	f := &fifo{}
	q := newSQS(t, f, 1)
	defer q.Close()
	valid := regexp.MustCompile("^[!-~]{1,128}$")
	for key, want := range map[string]string{
		"H1":                     "H1",
		"a b/é%":                 "a%20b/%C3%A9%25",
		strings.Repeat("x", 128): strings.Repeat("x", 128),
		strings.Repeat("x", 129): "sha256-",
		strings.Repeat("é", 40):  "sha256-",
	} {
		if a := q.Send(t.Context(), message(key, 7, "<a/>")); a.Reason != deliver.ReasonDelivered {
			t.Errorf("key %q: %v %s", key, a.Reason, a.Detail)
			continue
		}
		if got := f.groups[len(f.groups)-1]; !strings.HasPrefix(got, want) || !valid.MatchString(got) {
			t.Errorf("key %q: group %q, want %q", key, got, want)
		}
	}
	if a := q.Send(t.Context(), message("H1", 7, "<a/>")); a.Reason != deliver.ReasonDelivered {
		t.Error(a.Detail)
	}
	m := message("H1", 7, "")
	want := map[string]string{"sequence_number": "7", "key": "H1", "type": "OTA_PingRQ", "arrival": "2023-11-14T22:13:20Z", "source": "hotels",
		"shard": "shardId-000000000000", "content_type": "text/xml", "action": "urn:ping", "idempotency_key": m.IdempotencyKey()}
	if got := f.attributes[len(f.attributes)-1]; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("attributes %v, want %v", got, want)
	}
	for name, data := range map[string]string{"empty": "", "not UTF-8": "\xff", "U+0000": "a\x00", "U+FFFF": "\uffff", "too large": strings.Repeat("x", 1<<20)} {
		if a := q.Send(t.Context(), message("H1", 1, data)); a.Reason != deliver.ReasonUnsendable || a.Detail == "" {
			t.Errorf("%s: %v %s, want unsendable", name, a.Reason, a.Detail)
		}
	}
	for _, data := range []string{"\ufffd", "\t\r\n", "😀"} {
		if a := q.Send(t.Context(), message("H1", 1, data)); a.Reason != deliver.ReasonDelivered {
			t.Errorf("%q: %v %s", data, a.Reason, a.Detail)
		}
	}
}

func TestSQSStandard(t *testing.T) {
	_, err := amazon.NewSQS(amazon.SQSConfig{QueueURL: "https://sqs.eu-west-1.amazonaws.com/111111111111/hotels"})
	if err == nil || !strings.Contains(err.Error(), "keeps no order") {
		t.Errorf("%v, want that a standard queue keeps no order", err)
	}
}

// TestFIFOCalls is about the limits of a call.
func TestFIFOCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fifo{}
		q := newSQS(t, f, 25)
		send := func(n int, data string) {
			var all sync.WaitGroup
			for i := range n {
				all.Go(func() {
					if a := q.Send(t.Context(), message(fmt.Sprint(i), i, data)); a.Reason != deliver.ReasonDelivered {
						t.Error(a.Detail)
					}
				})
			}
			all.Wait()
		}
		send(25, "x")
		if len(f.calls) != 3 {
			t.Errorf("calls of %v messages, want 10, 10 and 5", f.calls)
		}
		f.calls = nil
		send(3, strings.Repeat("x", 500<<10)) // a third of them is more than 1 MiB
		if len(f.calls) != 2 {
			t.Errorf("calls of %v messages, want 2 and 1 for their bytes", f.calls)
		}
		q.Close()
	})
}

// TestSNSStandard: a standard topic takes neither groups nor ids.
func TestSNSStandard(t *testing.T) {
	f := &fifo{}
	s := amazon.NewSNS(amazon.SNSConfig{Client: f, TopicARN: "arn:aws:sns:eu-west-1:111111111111:hotels", Batching: amazon.Batching{Concurrency: 1}})
	defer s.Close()
	if a := s.Send(t.Context(), message("H1", 1, "x")); a.Reason != deliver.ReasonDelivered || f.groups[0] != "" || f.ids[0] != "" {
		t.Errorf("%v %s, group %q, id %q", a.Reason, a.Detail, f.groups[0], f.ids[0])
	}
}

// silent answers with results for nobody.
type silent struct{}

func (silent) SendMessageBatch(context.Context, *sqs.SendMessageBatchInput, ...func(*sqs.Options)) (*sqs.SendMessageBatchOutput, error) {
	return &sqs.SendMessageBatchOutput{Successful: []queue.SendMessageBatchResultEntry{{Id: aws.String("7")}, {}}}, nil
}

func TestSQSHalfAnswer(t *testing.T) {
	q := newSQS(t, silent{}, 1)
	defer q.Close()
	if a := q.Send(t.Context(), message("H1", 1, "x")); a.Reason != deliver.ReasonBrokenAnswer {
		t.Errorf("%v, want a broken answer", a.Reason)
	}
}
