package main

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/cmd/shardline/config"
	"github.com/shardline/shardline/consumers"
	"github.com/shardline/shardline/pipeline/deliver"
	"github.com/shardline/shardline/pipeline/deliver/amazon"
)

// tryReceiver tries what a destination needs beside HTTP: its role, and its
// stream, queue, topic, bucket or file. Services starts the credentials.
func tryReceiver(ctx context.Context, cfg *config.Config, d *config.Destination, s *services, own bool, who string) []triedLine {
	thing := "destination " + d.Name
	lines := func(tried ...checkpoint.Tried) (all []triedLine) {
		for _, t := range tried {
			all = append(all, lineOf(thing, t, who, d.Role))
		}
		return all
	}
	region, of := "", ""
	switch d.Type {
	case config.TypeHTTP:
		return nil
	case config.TypeFile:
		return lines(checkpoint.Tried{Call: "write", Of: d.Path, Err: deliver.TryFile(d.Path)})
	case config.TypeKinesis:
		region, of = d.Stream.Region, d.Stream.String()
	case config.TypeSQS:
		region, of = d.QueueRegion(cfg), d.Queue
	case config.TypeSNS:
		region, of = d.TopicRegion(), d.Topic
	case config.TypeS3:
		region, of = d.BucketRegion(cfg), d.Bucket
	}
	if !own {
		return []triedLine{notTried(thing, d.Type, of, needOwn)}
	}
	as, credentials := consumers.Assume(consumers.AssumeConfig{Name: "destination/" + d.Name, Region: region, Role: role(d.Role),
		Application: cfg.Application, Base: s.base, Metrics: s.metrics, Logger: s.logger})
	var all []triedLine
	if credentials != nil {
		s.refresh(credentials.Run)
		assumed := credentials.Try(ctx, *role(d.Role))
		all = lines(assumed)
		if assumed.Err != nil {
			return append(all, notTried(thing, d.Type, of, "it needs the role"))
		}
	}
	switch d.Type {
	case config.TypeKinesis:
		client := kinesis.NewFromConfig(as)
		var shards amazon.Aggregates
		if d.Aggregate {
			listed, err := consumers.NewShardMap(consumers.Config{Name: d.Name, StreamARN: of, Client: client})
			if err != nil {
				return append(all, lines(checkpoint.Tried{Call: "kinesis:ListShards", Of: of, Err: err})...)
			}
			shards = listed
		}
		return append(all, lines(amazon.TryKinesis(ctx, client, of, shards)...)...)
	case config.TypeSQS:
		return append(all, lines(amazon.TryQueue(ctx, sqs.NewFromConfig(as), of, true)...)...)
	case config.TypeSNS:
		return append(all, lines(amazon.TryTopic(ctx, sns.NewFromConfig(as), of)...)...)
	}
	return append(all, lines(amazon.TryBucket(ctx, s3.NewFromConfig(as), of)...)...)
}
