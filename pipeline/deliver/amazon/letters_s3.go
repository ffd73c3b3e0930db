package amazon

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/shardline/shardline/pipeline/deliver"
)

const (
	// maxLetters bounds the letters of an object.
	maxLetters = 1000
	// letterLinger is how long an object waits for more letters: the next
	// record of a key waits as long.
	letterLinger = 250 * time.Millisecond
	// maxLetterBytes is more than the line of the largest record.
	maxLetterBytes = 32 << 20
	// letterType is the content type of an object. The name's .gz tells Athena
	// and others what to do; a content encoding would make clients unpack it
	// unasked.
	letterType = "application/gzip"
)

// S3Letters is dead letters in objects: lines of JSON, packed by gzip. An
// object is
//
//	PREFIXdestination=NAME/dt=2026-11-25/20261125T163000.123Z-0123456789abcdef.jsonl.gz
//
// by the time of its writing in UTC, which Athena, Glue and Hive know as a table
// partitioned by destination and dt. It holds the letters of one destination
// that came together, and is never written again: an object whose outcome is
// not known leaves its letters twice.
type S3Letters struct {
	name   string
	client Objects
	bucket string
	prefix string // of the objects' keys, as it is

	mu      sync.Mutex                  // guards batches
	batches map[string]*batches[[]byte] // by destination: as many as are configured

	cache objectCache // of whoever reads
}

// NewS3Letters makes a queue. It calls nothing. Name is for errors.
func NewS3Letters(name string, client Objects, bucket, prefix string) *S3Letters {
	return &S3Letters{name: name, client: client, bucket: bucket, prefix: prefix, batches: make(map[string]*batches[[]byte])}
}

// Put implements deliver.DeadLetters.
func (s *S3Letters) Put(ctx context.Context, letter deliver.DeadLetter) error {
	_, err := putLetter(ctx, s.batchesOf(&letter), letter.Line())
	return letterError(s.name, err)
}

// Close waits for the calls.
func (s *S3Letters) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.batches {
		b.close()
	}
	return nil
}

func (s *S3Letters) batchesOf(l *deliver.DeadLetter) *batches[[]byte] {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.batches[l.Destination]
	if b == nil {
		folder := destinationFolder(l.Destination)
		b = &batches[[]byte]{Batching: Batching{Concurrency: unbounded, Linger: letterLinger}, most: maxLetters, bytes: maxObjectBytes,
			size: func(line []byte) int { return len(line) },
			call: func(ctx context.Context, lines [][]byte) ([]deliver.Answer, error) { return s.put(ctx, folder, lines) }}
		s.batches[l.Destination] = b
	}
	return b
}

func (s *S3Letters) put(ctx context.Context, folder string, lines [][]byte) ([]deliver.Answer, error) {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	for _, line := range lines {
		w.Write(line) // a Buffer does not fail
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	now := time.Now().UTC()
	var random [8]byte
	rand.Read(random[:]) //nolint:errcheck // never fails
	key := fmt.Sprintf("%s%sdt=%s/%s-%s%s", s.prefix, folder, now.Format(time.DateOnly), now.Format("20060102T150405.000Z"), hex.EncodeToString(random[:]), letterSuffix)
	_, err := s.client.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String(s.bucket), Key: aws.String(key),
		Body: bytes.NewReader(packed.Bytes()), ContentType: aws.String(letterType)}, onceS3)
	if err != nil {
		return nil, err
	}
	answers := make([]deliver.Answer, len(lines))
	for i := range answers {
		answers[i] = delivered
	}
	return answers, nil
}

const letterSuffix = ".jsonl.gz"

func destinationFolder(destination string) string {
	if destination == "" {
		destination = sourceName
	}
	return "destination=" + destination + "/"
}

// letterFolder is where a letter's own object stands.
func letterFolder(l *deliver.DeadLetter) string {
	return destinationFolder(l.Destination) + "dt=" + l.Time.UTC().Format(time.DateOnly) + "/"
}
