package amazon_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"regexp"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/shardline/shardline/pipeline/deliver"
	"github.com/shardline/shardline/pipeline/deliver/amazon"
)

// bucket is a bucket in memory that fails as told.
type bucket struct {
	random *rand.Rand // nil: never
	err    error

	mu      sync.Mutex
	keys    []string
	objects [][]byte
}

func (b *bucket) PutObject(_ context.Context, in *s3.PutObjectInput, _ ...func(*s3.Options)) (*s3.PutObjectOutput, error) {
	time.Sleep(50 * time.Millisecond)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return nil, b.err
	}
	dice := func(percent int) bool { return b.random != nil && b.random.IntN(100) < percent }
	if dice(15) {
		return nil, errBroken
	}
	data, err := io.ReadAll(in.Body)
	if err != nil {
		return nil, err
	}
	b.keys, b.objects = append(b.keys, *in.Key), append(b.objects, data)
	if dice(15) {
		return nil, errBroken
	}
	return &s3.PutObjectOutput{}, nil
}

func (b *bucket) landed(t *testing.T) (all []landed) {
	for _, object := range b.objects {
		for line := range bytes.Lines(object) {
			var e deliver.Envelope
			if err := json.Unmarshal(line, &e); err != nil {
				t.Fatal(err)
			}
			var n int
			fmt.Sscan(*e.Data, &n)
			all = append(all, landed{e.Key, n})
		}
	}
	return all
}

func newS3(b *bucket, concurrency int) *amazon.S3 {
	return amazon.NewS3(amazon.S3Config{Client: b, Bucket: "archive", Prefix: "hotels/", Name: "archive", Batching: amazon.Batching{Concurrency: concurrency}})
}

func TestS3Order(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			b := &bucket{random: rand.New(rand.NewPCG(seed, 1))}
			refused := throughDestination(t, newS3(b, 50), 500, 100, 50, seed, func(n int) string { return fmt.Sprint(n) })
			if len(refused) > 0 {
				t.Errorf("seed %d: refused %v", seed, refused)
			}
			inOrder(t, seed, b.landed(t), sent(500, 100, seed, nil))
		})
	}
}

func TestS3Objects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bucket{}
		s := newS3(b, 100)
		var all sync.WaitGroup
		start := time.Now()
		for i := range 30 {
			all.Go(func() { s.Send(t.Context(), message(fmt.Sprint(i), i, "x")) })
		}
		all.Wait()
		if took := time.Since(start); took != time.Second+50*time.Millisecond || len(b.objects) != 1 {
			t.Errorf("%d objects after %v, want one after a second and its writing", len(b.objects), took)
		}
		// synctest begins at midnight of 2000-01-01 UTC.
		if !regexp.MustCompile(`^hotels/2000/01/01/00/archive-20000101T000001\.000Z-[0-9a-f]{16}\.jsonl$`).MatchString(b.keys[0]) {
			t.Errorf("key %s", b.keys[0])
		}
		// What the bucket refuses is nobody's record.
		b.err = refusal("InvalidRequest")
		if a := s.Send(t.Context(), message("a", 1, "x")); a.Reason != deliver.ReasonSettings {
			t.Errorf("%v, want settings", a.Reason)
		}
		b.err = refusal("NoSuchBucket")
		if a := s.Send(t.Context(), message("a", 1, "x")); a.Reason != deliver.ReasonNotFound {
			t.Errorf("%v, want not_found", a.Reason)
		}
		s.Close()
	})
}
