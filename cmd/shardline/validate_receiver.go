package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/cmd/shardline/config"
	"github.com/shardline/shardline/consumers"
	"github.com/shardline/shardline/pipeline/deliver"
)

// receiverTrial tries what one destination needs beside HTTP: its role, and its
// stream, queue, topic, bucket or file. It changes nothing.
type receiverTrial struct {
	config      *config.Config
	destination *config.Destination
	who         string
	lines       []triedLine
}

func (r *receiverTrial) thing() string { return "destination " + r.destination.Name }

func (r *receiverTrial) add(t checkpoint.Tried) {
	r.lines = append(r.lines, lineOf(r.thing(), t, r.who, r.destination.Role))
}

func (r *receiverTrial) skip(call, of, why string) {
	r.add(checkpoint.Tried{Call: call, Of: of, Skipped: why})
}

// run tries. base is nil where Shardline's own credentials cannot be used; start
// runs the credentials of the role.
func (r *receiverTrial) run(ctx context.Context, base *aws.Config, start func(func(context.Context) error)) {
	d := r.destination
	region, of := "", ""
	switch d.Type {
	case config.TypeHTTP:
		return
	case config.TypeFile:
		r.add(checkpoint.Tried{Call: "write", Of: d.Path, Err: deliver.TryFile(d.Path)})
		return
	case config.TypeKinesis:
		region, of = d.Stream.Region, d.Stream.String()
	case config.TypeSQS:
		region, of = d.QueueRegion(r.config), d.Queue
	case config.TypeSNS:
		region, of = d.TopicRegion(), d.Topic
	case config.TypeS3:
		region, of = d.BucketRegion(r.config), "arn:aws:s3:::"+d.Bucket
	}
	if base == nil {
		r.lines = append(r.lines, notTried(r.thing(), d.Type, of, needOwn))
		return
	}
	as, credentials := consumers.Assume(consumers.AssumeConfig{Name: "destination/" + d.Name, Region: region, Role: role(d.Role),
		Application: r.config.Application, Base: *base})
	if credentials != nil {
		start(credentials.Run)
		assumed := credentials.Try(ctx, *role(d.Role))
		r.add(assumed)
		if assumed.Err != nil {
			r.lines = append(r.lines, notTried(r.thing(), d.Type, of, "it needs the role"))
			return
		}
	}
	switch d.Type {
	case config.TypeKinesis:
		r.stream(ctx, kinesis.NewFromConfig(as), of)
	case config.TypeSQS:
		r.add(lookAt(ctx, "sqs:GetQueueAttributes", of, func(ctx context.Context) (string, error) { return lookAtQueue(ctx, sqs.NewFromConfig(as), of) }))
		r.skip("sqs:SendMessage", of, "it cannot be tried without sending a message")
	case config.TypeSNS:
		r.add(lookAt(ctx, "sns:GetTopicAttributes", of, func(ctx context.Context) (string, error) { return lookAtTopic(ctx, sns.NewFromConfig(as), of) }))
		r.skip("sns:Publish", of, "it cannot be tried without publishing a message")
	case config.TypeS3:
		r.add(lookAt(ctx, "s3:ListBucket", of, func(ctx context.Context) (string, error) { return lookAtBucket(ctx, objects(as), d.Bucket) }))
		r.skip("s3:PutObject", of+"/"+d.Prefix+"*", "it cannot be tried without writing an object")
	}
}

const (
	// noHashKey has the form of a hash key and is above the highest, so that no
	// shard takes it: the service refuses the call once it has found the caller
	// permitted and the stream there.
	noHashKey = "999999999999999999999999999999999999999"
	tryKey    = "shardline-validate"
)

func (r *receiverTrial) stream(ctx context.Context, client *kinesis.Client, of string) {
	r.add(try(ctx, "kinesis:PutRecords", of, func(ctx context.Context) (string, error) {
		_, err := client.PutRecords(ctx, &kinesis.PutRecordsInput{StreamARN: aws.String(of), Records: []types.PutRecordsRequestEntry{
			{PartitionKey: aws.String(tryKey), ExplicitHashKey: aws.String(noHashKey), Data: []byte{}}}})
		var api smithy.APIError
		if errors.As(err, &api) && strings.HasSuffix(api.ErrorCode(), "InvalidArgumentException") {
			return "permitted; nothing was put: the hash key is none", nil
		}
		return "", said(err)
	}))
	if !r.destination.Aggregate {
		return
	}
	r.add(try(ctx, "kinesis:ListShards", of, func(ctx context.Context) (string, error) {
		shards, err := consumers.NewShardMap(consumers.Config{Name: r.destination.Name, StreamARN: of, Client: client})
		if err != nil {
			return "", err
		}
		_, _, err = shards.Shard(ctx, tryKey)
		return "", err
	}))
}

func lookAtTopic(ctx context.Context, client *sns.Client, arn string) (string, error) {
	out, err := client.GetTopicAttributes(ctx, &sns.GetTopicAttributesInput{TopicArn: aws.String(arn)})
	var api smithy.APIError
	switch {
	case errors.As(err, &api) && api.ErrorCode() == "AuthorizationError": // as SNS calls it
		return "", refusal{&smithy.GenericAPIError{Code: "AccessDenied", Message: api.ErrorMessage()}}
	case err != nil:
		return "", said(err)
	}
	return "subscriptions: " + fmt.Sprint(out.Attributes["SubscriptionsConfirmed"]), nil
}
