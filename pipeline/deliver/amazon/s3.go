package amazon

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/shardline/shardline/pipeline/deliver"
)

const (
	// maxObjectBytes ends an object that gathers.
	maxObjectBytes = 8 << 20
	// maxObjectRecords bounds the records of an object; concurrency does too.
	maxObjectRecords = 10_000
	// objectLinger is how long an object waits for more records.
	objectLinger = time.Second
	// objectType is the content type of JSON lines.
	objectType = "application/x-ndjson"
)

// PutObject is the call that an S3 makes; *s3.Client has it.
type PutObject interface {
	PutObject(ctx context.Context, in *s3.PutObjectInput, options ...func(*s3.Options)) (*s3.PutObjectOutput, error)
}

// S3Config is what an S3 is made of.
type S3Config struct {
	Client PutObject
	Bucket string
	Prefix string // of the objects' keys, as it is
	Name   string // of the destination: objects have it in their keys
	Batching
}

// S3 is the transport to objects of JSON lines. An object is
// PREFIX2026/11/25/16/NAME-20261125T163000.123Z-0123456789abcdef.jsonl by the
// time of its writing in UTC, and holds the records that waited together. None
// is ever written again: an object whose outcome is not known leaves its
// records twice.
type S3 struct {
	client  PutObject
	bucket  string
	prefix  string
	name    string
	batches batches[[]byte]
}

// NewS3 makes a transport. It calls nothing.
func NewS3(c S3Config) *S3 {
	if c.Linger <= 0 {
		c.Linger = objectLinger
	}
	s := &S3{client: c.Client, bucket: c.Bucket, prefix: c.Prefix, name: c.Name}
	s.batches = batches[[]byte]{Batching: c.Batching, most: maxObjectRecords, bytes: maxObjectBytes, call: s.put, size: func(line []byte) int { return len(line) }}
	return s
}

// Send implements deliver.Transport.
func (s *S3) Send(ctx context.Context, m *deliver.Message) deliver.Answer {
	return s.batches.send(ctx, m.Line())
}

// Close waits for the calls.
func (s *S3) Close() error {
	s.batches.close()
	return nil
}

// put writes an object. A record's content is never why one is refused: then it
// is the bucket, or how it is called.
func (s *S3) put(ctx context.Context, lines [][]byte) ([]deliver.Answer, error) {
	_, err := s.client.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String(s.bucket), Key: aws.String(s.key(time.Now().UTC())),
		Body: bytes.NewReader(bytes.Join(lines, nil)), ContentType: aws.String(objectType)},
		func(o *s3.Options) { o.Retryer = aws.NopRetryer{} })
	answer := delivered
	if err != nil {
		if answer = failed(err); answer.Reason.Class() == deliver.Refused {
			answer.Reason = deliver.ReasonSettings
		}
	}
	answers := make([]deliver.Answer, len(lines))
	for i := range answers {
		answers[i] = answer
	}
	return answers, nil
}

func (s *S3) key(now time.Time) string {
	var random [8]byte
	rand.Read(random[:]) //nolint:errcheck // never fails
	return fmt.Sprintf("%s%s/%s-%s-%s.jsonl", s.prefix, now.Format("2006/01/02/15"), s.name, now.Format("20060102T150405.000Z"), hex.EncodeToString(random[:]))
}
