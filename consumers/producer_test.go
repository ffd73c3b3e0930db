package consumers_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/consumers"
	"github.com/shardline/shardline/pipeline"
)

// fakePuts takes records, and fails some: seeded.
type fakePuts struct {
	mu          sync.Mutex // guards all
	random      *rand.Rand
	taken       map[string][][]string // by key, in order: the data of each record's messages
	next        int
	out         map[string]bool // keys in an outstanding call
	problems    []string
	refuse      float64 // share of records that a call refuses
	fail        float64 // share of calls that fail as a whole, taken or not
	err         error   // of every call
	latency     time.Duration
	largest     int            // records in one call
	largestData map[string]int // of one record, by key
	calls       int
}

func newFakePuts(seed uint64) *fakePuts {
	return &fakePuts{random: rand.New(rand.NewPCG(seed, 0)), taken: map[string][][]string{}, out: map[string]bool{}, largestData: map[string]int{}, latency: 5 * time.Millisecond}
}

func (s *fakePuts) problem(format string, args ...any) {
	s.problems = append(s.problems, fmt.Sprintf(format, args...))
}

func (s *fakePuts) PutRecords(ctx context.Context, in *kinesis.PutRecordsInput, _ ...func(*kinesis.Options)) (*kinesis.PutRecordsOutput, error) {
	bytes := 0
	s.mu.Lock()
	s.calls++
	s.largest = max(s.largest, len(in.Records))
	for _, r := range in.Records {
		if s.out[*r.PartitionKey] {
			s.problem("key %s is in two outstanding records", *r.PartitionKey)
		}
		s.out[*r.PartitionKey] = true
		s.largestData[*r.PartitionKey] = max(s.largestData[*r.PartitionKey], len(r.Data))
		bytes += len(r.Data) + len(*r.PartitionKey)
	}
	if len(in.Records) > 500 || bytes > 10<<20 {
		s.problem("a call of %d records, %d bytes", len(in.Records), bytes)
	}
	s.mu.Unlock()

	time.Sleep(s.latency)

	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range in.Records {
		delete(s.out, *r.PartitionKey)
	}
	if s.err != nil {
		return nil, s.err
	}
	failing := s.random.Float64() < s.fail
	if failing && s.random.IntN(2) == 0 {
		return nil, errors.New("connection reset before anything was taken")
	}
	out := &kinesis.PutRecordsOutput{}
	for _, r := range in.Records {
		if s.random.Float64() < s.refuse {
			out.Records = append(out.Records, types.PutRecordsResultEntry{ErrorCode: aws.String("ProvisionedThroughputExceededException"), ErrorMessage: aws.String("Rate exceeded")})
			continue
		}
		s.next++
		messages := []string{string(r.Data)}
		if users, _, err := consumers.Deaggregate(r.Data, checkpoint.Shard{}); err == nil {
			messages = nil
			for _, u := range users {
				if u.PartitionKey != *r.PartitionKey {
					s.problem("a message of key %s under key %s", u.PartitionKey, *r.PartitionKey)
				}
				messages = append(messages, string(u.Data))
			}
		}
		s.taken[*r.PartitionKey] = append(s.taken[*r.PartitionKey], messages)
		out.Records = append(out.Records, types.PutRecordsResultEntry{ShardId: aws.String(shard0), SequenceNumber: aws.String(fmt.Sprint(s.next))})
	}
	if failing {
		return nil, errors.New("connection reset after the records were taken")
	}
	return out, nil
}

// producing runs a producer for f, and returns Run's error.
func producing(t *testing.T, config consumers.ProducerConfig, f func(p *consumers.Producer)) error {
	t.Helper()
	config.StreamARN = streamARN
	p := consumers.NewProducer(config)
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { done <- p.Run(ctx) }()
	f(p)
	cancel()
	return <-done
}

func TestProducerKeepsOrderPerKeyThroughFailures(t *testing.T) {
	for seed := range uint64(20) {
		aggregate := seed%2 == 1
		t.Run(fmt.Sprintf("seed=%d,aggregate=%v", seed, aggregate), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				service := newFakePuts(seed)
				service.refuse, service.fail = 0.3, 0.4
				acknowledged, last := map[string][]string{}, map[string]checkpoint.Position{}
				config := consumers.ProducerConfig{Client: service, Aggregate: aggregate, OnAck: func(m consumers.Message, shard string, at checkpoint.Position) {
					if shard != shard0 || !at.IsNumber() || m.Tag != "tag" {
						t.Errorf("acknowledged %+v as %s in %s", m, at, shard)
					}
					if before, any := last[m.Key]; any && at.Compare(before) <= 0 {
						t.Errorf("%s: position %s after %s", m.Key, at, before)
					}
					last[m.Key] = at
					acknowledged[m.Key] = append(acknowledged[m.Key], string(m.Data))
				}}
				const keys, each = 13, 40
				err := producing(t, config, func(p *consumers.Producer) {
					for i := range each {
						for k := range keys {
							if err := p.Put(t.Context(), consumers.Message{Key: fmt.Sprintf("hotel-%d", k), Data: fmt.Appendf(nil, "%03d", i), Tag: "tag"}); err != nil {
								t.Fatal(err)
							}
						}
						time.Sleep(time.Millisecond) // fake time: batches go meanwhile
					}
					if err := p.Close(t.Context()); err != nil {
						t.Fatal(err)
					}
					if got := p.Produced(); got.Acknowledged != keys*each || got.Pending != 0 || got.Retries == 0 || got.Unknown == 0 {
						t.Errorf("produced %+v, want %d acknowledged, with retries and unknown outcomes", got, keys*each)
					}
				})
				if err != nil {
					t.Fatalf("run: %v", err)
				}
				for _, problem := range service.problems {
					t.Error(problem)
				}
				for k := range keys {
					key := fmt.Sprintf("hotel-%d", k)
					for i, data := range acknowledged[key] {
						if data != fmt.Sprintf("%03d", i) {
							t.Fatalf("%s: acknowledgement %d is of %s", key, i, data)
						}
					}
					// Each record of the stream continues the one before it, or
					// repeats it, as many messages as may be behind that.
					want, first, aggregates := 0, 0, 0
					for i, record := range service.taken[key] {
						if record[0] != fmt.Sprintf("%03d", want) {
							if want = first; record[0] != fmt.Sprintf("%03d", want) {
								t.Fatalf("%s: %v breaks the order at %d", key, service.taken[key], i)
							}
						}
						first = want
						for _, data := range record {
							if data != fmt.Sprintf("%03d", want) {
								t.Fatalf("%s: record %v is not in order", key, record)
							}
							want++
						}
						if len(record) > 1 {
							aggregates++
						}
					}
					if aggregate != (aggregates > 0) {
						t.Errorf("%s: %d aggregated records, want some: %v", key, aggregates, aggregate)
					}
					if want != each {
						t.Fatalf("%s: %d of %d messages in the stream", key, want, each)
					}
				}
			})
		})
	}
}

func TestProducerBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := newFakePuts(1)
		err := producing(t, consumers.ProducerConfig{Client: service}, func(p *consumers.Producer) {
			for i := range 1200 {
				if err := p.Put(t.Context(), consumers.Message{Key: fmt.Sprintf("hotel-%d", i), Data: []byte("x")}); err != nil {
					t.Fatal(err)
				}
			}
			for i := range 3 { // 3 × 4 MiB, of which one call takes one
				if err := p.Put(t.Context(), consumers.Message{Key: fmt.Sprintf("large-%d", i), Data: make([]byte, 4<<20)}); err != nil {
					t.Fatal(err)
				}
			}
			if err := p.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
		if err != nil || len(service.problems) > 0 {
			t.Fatalf("%v %v", err, service.problems)
		}
		if service.largest != 500 || service.calls > 10 {
			t.Errorf("%d calls of up to %d records, want at most 10 with one of 500", service.calls, service.largest)
		}
	})
}

// TestProducerAggregates: what waits together goes in one record of a bounded
// size; what goes alone goes as it is, unless it would be taken for an aggregate.
func TestProducerAggregates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		like := consumers.Aggregate([]consumers.UserRecord{{PartitionKey: "x", Data: []byte("y")}})
		service := newFakePuts(1)
		err := producing(t, consumers.ProducerConfig{Client: service, Aggregate: true}, func(p *consumers.Producer) {
			put := func(key string, data []byte) {
				if err := p.Put(t.Context(), consumers.Message{Key: key, Data: data}); err != nil {
					t.Fatal(err)
				}
			}
			for range 100 {
				put("small", make([]byte, 1000)) // 50 of them and their keys are below 50 KiB
			}
			put("alone", []byte("z"))
			put("like", like)
			put("large", make([]byte, 1<<20))
			put("large", []byte("behind it"))
			if err := p.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
		if err != nil || len(service.problems) > 0 {
			t.Fatalf("%v %v", err, service.problems)
		}
		for key, want := range map[string][]int{"small": {50, 50}, "alone": {1}, "like": {1}, "large": {1, 1}} {
			var got []int
			for _, record := range service.taken[key] {
				got = append(got, len(record))
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: records of %v messages, want %v", key, got, want)
			}
		}
		if got := service.taken["like"][0][0]; got != string(like) {
			t.Errorf("a message that looks aggregated: %q, want it as it was put", got)
		}
		if got := service.largestData["small"]; got > 52<<10 {
			t.Errorf("a record of %d bytes, want at most about 50 KiB", got)
		}
		if got := service.largestData["alone"]; got != 1 {
			t.Errorf("a message of one byte became %d", got)
		}
	})
}

func TestProducerSendsWithoutFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := newFakePuts(1)
		acknowledged := make(chan string, 1)
		config := consumers.ProducerConfig{Client: service, OnAck: func(m consumers.Message, _ string, _ checkpoint.Position) { acknowledged <- m.Key }}
		_ = producing(t, config, func(p *consumers.Producer) {
			start := time.Now()
			if err := p.Put(t.Context(), consumers.Message{Key: "hotel"}); err != nil {
				t.Fatal(err)
			}
			<-acknowledged
			if d := time.Since(start); d > 50*time.Millisecond {
				t.Errorf("acknowledged after %v, want a short linger and the latency", d)
			}
		})
	})
}

func TestProducerIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := newFakePuts(1)
		service.refuse = 1
		_ = producing(t, consumers.ProducerConfig{Client: service}, func(p *consumers.Producer) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			n := 0
			for ; ; n++ {
				if err := p.Put(ctx, consumers.Message{Key: fmt.Sprintf("hotel-%d", n%100)}); err != nil {
					if !errors.Is(err, context.DeadlineExceeded) {
						t.Fatal(err)
					}
					break
				}
			}
			if n != 10_000 {
				t.Errorf("%d messages accepted, want 10,000", n)
			}
			if err := p.Flush(ctx); err == nil || !strings.Contains(err.Error(), "10000 messages not acknowledged") {
				t.Errorf("flush: %v, want what is missing", err)
			}
			if got := p.Produced(); got.LastError == nil || !strings.Contains(got.LastError.Error(), "Rate exceeded") {
				t.Errorf("last error %v, want the service's words", got.LastError)
			}
		})
	})
}

func TestProducerEndsWhenRepeatingCannotHelp(t *testing.T) {
	for name, test := range map[string]struct{ err, want error }{
		"denied":         {&types.AccessDeniedException{Message: aws.String("no")}, pipeline.ErrDenied},
		"no such stream": {&types.ResourceNotFoundException{Message: aws.String("no")}, pipeline.ErrStreamGone},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				service := newFakePuts(1)
				service.err = test.err
				err := producing(t, consumers.ProducerConfig{Client: service}, func(p *consumers.Producer) {
					if err := p.Put(t.Context(), consumers.Message{Key: "hotel"}); err != nil {
						t.Fatal(err)
					}
					if err := p.Close(t.Context()); !errors.Is(err, test.want) {
						t.Errorf("close: %v, want %v", err, test.want)
					}
					if err := p.Put(t.Context(), consumers.Message{Key: "hotel"}); !errors.Is(err, test.want) {
						t.Errorf("put: %v, want %v", err, test.want)
					}
				})
				if !errors.Is(err, test.want) {
					t.Errorf("run: %v, want %v", err, test.want)
				}
			})
		})
	}
}

func TestProducerRefusesWhatTheServiceWould(t *testing.T) {
	p := consumers.NewProducer(consumers.ProducerConfig{})
	for _, m := range []consumers.Message{{}, {Key: strings.Repeat("é", 257)}, {Key: "hotel", Data: make([]byte, 10<<20+1)}, {Key: "h\xff"}} {
		if err := p.Put(t.Context(), m); err == nil {
			t.Errorf("key of %d bytes, data of %d: accepted", len(m.Key), len(m.Data))
		}
	}
}
