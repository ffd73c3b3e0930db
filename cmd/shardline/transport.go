package main

import (
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"go.uber.org/zap"

	"github.com/shardline/shardline/cmd/shardline/config"
	"github.com/shardline/shardline/consumers"
	"github.com/shardline/shardline/pipeline"
	"github.com/shardline/shardline/pipeline/deliver"
	"github.com/shardline/shardline/pipeline/deliver/amazon"
)

// transport makes what carries a destination's records; nil: HTTP, which the
// destination makes itself.
func (s *delivering) transport(c *config.Destination) (deliver.Transport, error) {
	of := "destination/" + c.Name
	batching := amazon.Batching{Concurrency: c.Concurrency, Linger: c.Linger}
	if c.Type != config.TypeHTTP && c.Type != config.TypeFile {
		batching.Called = s.metrics.Calls(c.Name)
	}
	switch c.Type {
	case config.TypeKinesis:
		client := kinesis.NewFromConfig(s.services.config(of, c.Stream.Region, c.Role))
		k := amazon.KinesisConfig{Client: client, StreamARN: c.Stream.String(), Key: s.key(c), Batching: batching}
		if c.Aggregate {
			shards, err := consumers.NewShardMap(consumers.Config{Name: of, StreamARN: c.Stream.String(), Client: client, Logger: s.logger})
			if err != nil {
				return nil, err
			}
			k.Aggregates = shards
		}
		return amazon.NewKinesis(k), nil
	case config.TypeSQS:
		return amazon.NewSQS(amazon.SQSConfig{Client: sqs.NewFromConfig(s.services.config(of, c.QueueRegion(s.config), c.Role)), QueueURL: c.Queue, Batching: batching})
	case config.TypeSNS:
		return amazon.NewSNS(amazon.SNSConfig{Client: sns.NewFromConfig(s.services.config(of, c.TopicRegion(), c.Role)), TopicARN: c.Topic, Batching: batching}), nil
	case config.TypeS3:
		return amazon.NewS3(amazon.S3Config{Client: objects(s.services.config(of, c.BucketRegion(s.config), c.Role)), Bucket: c.Bucket, Prefix: c.Prefix,
			Name: c.Name, Batching: batching}), nil
	case config.TypeFile:
		return deliver.NewFile(c.Path, s.logger.With(zap.String("destination", c.Name)))
	}
	return nil, nil
}

// key makes the partition key of a record in a destination's stream; nil: the
// record's own.
func (s *delivering) key(c *config.Destination) func(*pipeline.Record) (string, error) {
	if c.Key == config.KeyPartitionKey {
		return nil
	}
	describe, keyless := describe(c.Key), s.metrics.Keyless(c.Name, fallbacks(c.Key))
	return func(r *pipeline.Record) (string, error) {
		d, err := describe(r.PartitionKey, r.Data)
		if err != nil {
			return "", fmt.Errorf("%s: %w", c.Key, err)
		}
		if d.Fallback != "" {
			keyless(d.Fallback)
		}
		return d.Key, nil
	}
}
