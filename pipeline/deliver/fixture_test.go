package deliver_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/pipeline"
	"github.com/shardline/shardline/pipeline/deliver"
)

// receiver is a transport in memory. It notes every attempt and answers as
// told: without a word it takes everything at once.
type receiver struct {
	// answer says what becomes of an attempt; nil: delivered. It may wait.
	answer func(ctx context.Context, a attempt) deliver.Answer

	mu       sync.Mutex
	attempts []attempt
	flying   map[string]int // by key
	most     int            // in flight at once
	now      int
	overlaps []string // keys with two attempts in flight
}

type attempt struct {
	key    string
	seq    int
	number int // as in X-Shardline-Attempt
	at     time.Time
	reason deliver.Reason
}

func (r *receiver) Send(ctx context.Context, m *deliver.Message) deliver.Answer {
	seq, err := strconv.Atoi(m.Record.Position.Sequence)
	if err != nil {
		panic(err)
	}
	a := attempt{key: m.Record.Key, seq: seq, number: m.Attempt, at: time.Now()}
	r.mu.Lock()
	if r.flying == nil {
		r.flying = make(map[string]int)
	}
	if r.flying[a.key]++; r.flying[a.key] > 1 {
		r.overlaps = append(r.overlaps, a.key)
	}
	r.now++
	r.most = max(r.most, r.now)
	r.mu.Unlock()

	answer := deliver.Answer{Reason: deliver.ReasonDelivered}
	if r.answer != nil {
		answer = r.answer(ctx, a)
	}

	r.mu.Lock()
	defer r.mu.Unlock()
	r.flying[a.key]--
	r.now--
	a.reason = answer.Reason
	r.attempts = append(r.attempts, a)
	return answer
}

// all is every attempt that has ended, in the order of their ends.
func (r *receiver) all() []attempt {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.attempts)
}

// of is the numbers of the records of a key whose attempts ended so.
func (r *receiver) of(key string, reason deliver.Reason) []int {
	var seqs []int
	for _, a := range r.all() {
		if a.key == key && a.reason == reason {
			seqs = append(seqs, a.seq)
		}
	}
	return seqs
}

// peak is the most attempts that were in flight at once.
func (r *receiver) peak() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.most
}

// overlapping is the keys that had two attempts in flight.
func (r *receiver) overlapping() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.overlaps)
}

func (r *receiver) inFlight() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

// letterBox is dead letters in memory.
type letterBox struct {
	fail func(l deliver.DeadLetter) error // nil: never

	mu      sync.Mutex
	letters []deliver.DeadLetter
}

func (b *letterBox) Put(_ context.Context, l deliver.DeadLetter) error {
	if b.fail != nil {
		if err := b.fail(l); err != nil {
			return err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.letters = append(b.letters, l)
	return nil
}

func (b *letterBox) all() []deliver.DeadLetter {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.letters)
}

// stream is a shard with one destination.
type stream struct {
	*deliver.Destination
	t      testing.TB
	log    *pipeline.Log
	cursor *pipeline.Cursor
	cancel context.CancelFunc // ends the tenure
	valid  atomic.Bool        // what the cursor's Valid says
	n      int
}

var shardInfo = pipeline.ShardInfo{
	Source: "hotels",
	Stream: pipeline.Stream{ARN: "arn:aws:kinesis:eu-west-1:111111111111:stream/hotels", Account: "111111111111", Name: "hotels", Created: time.Unix(1700000000, 0)},
	Shard:  "shardId-000000000000",
}

// begin makes a destination with a cursor. What the configuration lacks is
// filled in; the jitter is seeded.
func begin(t testing.TB, c deliver.Config) *stream {
	t.Helper()
	if c.Name == "" {
		c.Name = "channel"
	}
	if c.DeadLetters == nil && c.OnExhausted == deliver.ExhaustedDeadLetter {
		c.DeadLetters = &letterBox{}
	}
	if c.Rand == nil {
		c.Rand = rand.New(rand.NewPCG(1, 2))
	}
	d, err := deliver.New(c)
	if err != nil {
		t.Fatal(err)
	}
	s := &stream{Destination: d, t: t}
	s.attach()
	t.Cleanup(func() {
		s.cancel()
		s.Detach(s.cursor)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// attach begins a tenure on a new shard.
func (s *stream) attach() { s.attachTo(pipeline.NewLog()) }

// attachTo begins a tenure on a shard with that log.
func (s *stream) attachTo(log *pipeline.Log) {
	s.log, s.n = log, 0
	s.valid.Store(true)
	s.cursor = s.log.Attach(shardInfo, checkpoint.Entry{}, s.valid.Load)
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.Attach(ctx, s.cursor)
}

// put appends a record for each key and wakes the destination. Records are
// numbered from 1.
func (s *stream) put(keys ...string) {
	for _, key := range keys {
		s.n++
		s.log.Append(pipeline.Record{
			Position: checkpoint.Number(strconv.Itoa(s.n), 0), PartitionKey: key, Arrival: time.Now(),
			Data:        []byte(fmt.Sprintf("<body n=%d/>", s.n)),
			Description: pipeline.Description{Key: key, Type: "OTA_HotelAvailNotifRQ", ContentType: "text/xml; charset=utf-8"},
		}, false)
	}
	s.Wake(s.cursor)
}

func answerWith(reason deliver.Reason) deliver.Answer {
	return deliver.Answer{Reason: reason, Status: 500}
}
