package amazon_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/pipeline"
	"github.com/shardline/shardline/pipeline/deliver"
)

var shardInfo = pipeline.ShardInfo{
	Source: "hotels",
	Stream: pipeline.Stream{ARN: "arn:aws:kinesis:eu-west-1:111111111111:stream/hotels", Account: "111111111111", Name: "hotels", Created: time.Unix(1700000000, 0)},
	Shard:  "shardId-000000000000",
}

// message is record n of a key.
func message(key string, n int, data string) *deliver.Message {
	return &deliver.Message{Shard: &shardInfo, Attempt: 1, Record: record(key, n, data)}
}

func record(key string, n int, data string) *pipeline.Record {
	return &pipeline.Record{Position: checkpoint.Number(strconv.Itoa(n), 0), PartitionKey: key, Data: []byte(data), Arrival: time.Unix(1700000000, 0),
		Description: pipeline.Description{Key: key, Type: "OTA_PingRQ", ContentType: "text/xml", SOAP: "1.1", Action: "urn:ping"}}
}

// letterBox is dead letters in memory.
type letterBox struct {
	mu      sync.Mutex
	letters []deliver.DeadLetter
}

func (b *letterBox) Put(_ context.Context, l deliver.DeadLetter) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.letters = append(b.letters, l)
	return nil
}

// throughDestination delivers records 1 to n, spread over keys, through a
// destination with that transport, and returns those that became dead letters,
// by number. It is for a synctest bubble.
func throughDestination(t *testing.T, transport deliver.Transport, n, keys, concurrency int, seed uint64, data func(n int) string) map[string]string {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 7))
	box := &letterBox{}
	d, err := deliver.New(deliver.Config{Name: "out", Transport: transport, DeadLetters: box, Concurrency: concurrency, Rand: rng})
	if err != nil {
		t.Fatal(err)
	}
	log := pipeline.NewLog()
	cursor := log.Attach(shardInfo, checkpoint.Entry{}, func() bool { return true })
	ctx, cancel := context.WithCancel(t.Context())
	d.Attach(ctx, cursor)
	for i := 1; i <= n; i++ {
		log.Append(*record(fmt.Sprint("key-", rng.IntN(keys)), i, data(i)), false)
	}
	d.Wake(cursor)
	for start := time.Now(); cursor.Through() < uint64(n); time.Sleep(time.Second) {
		if time.Since(start) > 24*time.Hour {
			t.Fatalf("seed %d: settled through %d of %d after a day: %+v", seed, cursor.Through(), n, d.State())
		}
	}
	synctest.Wait()
	cancel()
	d.Detach(cursor)
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	refused := make(map[string]string)
	for _, l := range box.letters {
		refused[l.Sequence] = l.Reason + ": " + l.Detail
	}
	return refused
}

// landed is what a receiver has, in its order.
type landed struct {
	key string
	n   int
}

// inOrder holds what a receiver has against the promise: for every key, what
// comes first comes in order without gap, and a step back is followed by
// everything behind it. Refused records have gone elsewhere.
func inOrder(t *testing.T, seed uint64, got []landed, want map[string][]int) {
	t.Helper()
	highest := make(map[string]int) // place of the highest so far, plus 1
	last := make(map[string]int)
	for _, l := range got {
		at := -1
		for i, n := range want[l.key] {
			if n == l.n {
				at = i
			}
		}
		switch {
		case at < 0:
			t.Fatalf("seed %d: %s has %d, which nobody sent there", seed, l.key, l.n)
		case at > last[l.key] && at != highest[l.key]:
			t.Fatalf("seed %d: %s: %d came before those in front of it", seed, l.key, l.n)
		}
		last[l.key] = at + 1
		highest[l.key] = max(highest[l.key], at+1)
	}
	for key, all := range want {
		if highest[key] != len(all) {
			t.Errorf("seed %d: %s has %d of %d", seed, key, highest[key], len(all))
		}
	}
}

// sent is which records each key has, by the same draw as throughDestination.
func sent(n, keys int, seed uint64, refused map[string]string) map[string][]int {
	rng := rand.New(rand.NewPCG(seed, 7))
	want := make(map[string][]int)
	for i := 1; i <= n; i++ {
		key := fmt.Sprint("key-", rng.IntN(keys))
		if _, gone := refused[strconv.Itoa(i)]; !gone {
			want[key] = append(want[key], i)
		}
	}
	return want
}
