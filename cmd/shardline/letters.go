package main

import (
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"go.uber.org/zap"

	"github.com/shardline/shardline/cmd/shardline/config"
	"github.com/shardline/shardline/pipeline/deliver"
	"github.com/shardline/shardline/pipeline/deliver/amazon"
	"github.com/shardline/shardline/pipeline/redrive"
)

// letterQueue is a dead letter queue, as workers write it.
type letterQueue interface {
	deliver.DeadLetters
	io.Closer
}

// awsLetters is a dead letter queue in AWS, which is written and read by the
// same calls.
type awsLetters interface {
	letterQueue
	redrive.Queue
}

// newLetters makes a dead letter queue for a worker.
func newLetters(c *config.Config, q *config.DeadLetterQueue, s *services, logger *zap.Logger) (letterQueue, error) {
	if queue := newAWSLetters(c, q, s); queue != nil {
		return queue, nil
	}
	file, err := deliver.NewFileDeadLetters(q.Path, logger)
	if err != nil {
		return nil, fmt.Errorf("dead_letter_queues: %s: %w", q.Name, err)
	}
	return file, nil
}

// readLetters makes a dead letter queue for whoever reads it.
func readLetters(c *config.Config, q *config.DeadLetterQueue, s *services) redrive.Queue {
	if queue := newAWSLetters(c, q, s); queue != nil {
		return queue
	}
	return redrive.NewFile(q.Path)
}

// newAWSLetters makes a queue in AWS; nil: it is a file.
func newAWSLetters(c *config.Config, q *config.DeadLetterQueue, s *services) awsLetters {
	region := map[string]string{config.TypeSQS: q.QueueRegion(c), config.TypeKinesis: q.Stream.Region, config.TypeS3: q.BucketRegion(c)}[q.Type]
	if q.Type == config.TypeFile {
		return nil
	}
	own := s.config("dead_letters/"+q.Name, region, q.Role)
	var overflow *amazon.Overflow
	if q.S3 != nil {
		there := own.Copy()
		there.Region = q.OverflowRegion(c)
		overflow = &amazon.Overflow{Client: objects(there), Bucket: q.S3.Bucket, Prefix: q.S3.Prefix}
	}
	switch q.Type {
	case config.TypeSQS:
		return amazon.NewSQSLetters(q.Name, sqs.NewFromConfig(own), q.Queue, overflow)
	case config.TypeKinesis:
		return amazon.NewKinesisLetters(q.Name, kinesis.NewFromConfig(own), q.Stream.String(), overflow)
	}
	return amazon.NewS3Letters(q.Name, objects(own), q.Bucket, q.Prefix)
}

// objects makes a client for objects. Behind an endpoint that is configured,
// buckets are in the path: it has no names for each.
func objects(c aws.Config) *s3.Client {
	return s3.NewFromConfig(c, func(o *s3.Options) { o.UsePathStyle = o.BaseEndpoint != nil })
}
