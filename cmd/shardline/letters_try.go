package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/cmd/shardline/config"
	"github.com/shardline/shardline/consumers"
	"github.com/shardline/shardline/pipeline/deliver"
)

// tryTimeout bounds one call that is tried.
const tryTimeout = 10 * time.Second

// looking is why a permission that only looking needs is no problem.
const looking = "looking needs %s, which workers do not need"

// tryLetters looks at a dead letter queue, and writes nothing: there is no letter
// to write. start runs the credentials of its role.
func tryLetters(ctx context.Context, c *config.Config, q *config.DeadLetterQueue, base aws.Config, start func(func(context.Context) error), who string) (lines []triedLine) {
	thing := "dead letters " + q.Name
	add := func(t checkpoint.Tried) { lines = append(lines, lineOf(thing, t, who, q.Role)) }
	if q.Type == config.TypeFile {
		add(checkpoint.Tried{Call: "write", Of: q.Path, Err: deliver.TryFile(q.Path)})
		return lines
	}
	region := map[string]string{config.TypeSQS: q.QueueRegion(c), config.TypeKinesis: q.Stream.Region, config.TypeS3: q.BucketRegion(c)}[q.Type]
	own, credentials := consumers.Assume(consumers.AssumeConfig{Name: "dead_letters/" + q.Name, Region: region, Role: role(q.Role), Application: c.Application, Base: base})
	if credentials != nil {
		start(credentials.Run)
		assumed := credentials.Try(ctx, *role(q.Role))
		add(assumed)
		if assumed.Err != nil {
			return lines
		}
	}
	look := func(call, of string, f func(ctx context.Context) (string, error)) { add(lookAt(ctx, call, of, f)) }
	switch q.Type {
	case config.TypeSQS:
		look("sqs:GetQueueAttributes", q.Queue, func(ctx context.Context) (string, error) { return lookAtQueue(ctx, sqs.NewFromConfig(own), q.Queue) })
	case config.TypeKinesis:
		look("kinesis:DescribeStreamSummary", q.Stream.String(), func(ctx context.Context) (string, error) {
			return lookAtStream(ctx, kinesis.NewFromConfig(own), q.Stream.String())
		})
	case config.TypeS3:
		look("s3:ListBucket", "arn:aws:s3:::"+q.Bucket, func(ctx context.Context) (string, error) { return lookAtBucket(ctx, objects(own), q.Bucket) })
	}
	if q.S3 != nil {
		there := own.Copy()
		there.Region = q.OverflowRegion(c)
		look("s3:ListBucket", "arn:aws:s3:::"+q.S3.Bucket, func(ctx context.Context) (string, error) { return lookAtBucket(ctx, objects(there), q.S3.Bucket) })
	}
	return lines
}

// lookAt makes a call that workers do not make: who may not make it misses
// nothing.
func lookAt(ctx context.Context, call, of string, f func(ctx context.Context) (string, error)) checkpoint.Tried {
	t := try(ctx, call, of, f)
	if missing := t.Missing(); missing != "" {
		t.Skipped, t.Err = fmt.Sprintf(looking, missing), nil
	}
	return t
}

func try(ctx context.Context, call, of string, f func(ctx context.Context) (string, error)) checkpoint.Tried {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	t := checkpoint.Tried{Call: call, Of: of}
	t.Detail, t.Err = f(ctx)
	return t
}

func lookAtQueue(ctx context.Context, client *sqs.Client, url string) (string, error) {
	out, err := client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: aws.String(url), AttributeNames: []types.QueueAttributeName{
		types.QueueAttributeNameApproximateNumberOfMessages, types.QueueAttributeNameMessageRetentionPeriod, types.QueueAttributeNameMaximumMessageSize}})
	if err != nil {
		return "", said(err)
	}
	seconds, _ := strconv.Atoi(out.Attributes["MessageRetentionPeriod"])
	return fmt.Sprintf("%s messages; kept for %s; up to %s bytes each", out.Attributes["ApproximateNumberOfMessages"],
		time.Duration(seconds)*time.Second, out.Attributes["MaximumMessageSize"]), nil
}

func lookAtStream(ctx context.Context, client *kinesis.Client, arn string) (string, error) {
	out, err := client.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamARN: aws.String(arn)})
	if err != nil || out.StreamDescriptionSummary == nil {
		return "", said(err)
	}
	return fmt.Sprintf("letters are kept for %dh", aws.ToInt32(out.StreamDescriptionSummary.RetentionPeriodHours)), nil
}

func lookAtBucket(ctx context.Context, client *s3.Client, bucket string) (string, error) {
	if _, err := client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: aws.String(bucket), MaxKeys: aws.Int32(1)}); err != nil {
		return "", said(err)
	}
	return "it is there", nil
}

// said is the service's answer without the SDK's own words.
func said(err error) error {
	var api smithy.APIError
	if errors.As(err, &api) {
		return refusal{api}
	}
	return err
}

type refusal struct{ smithy.APIError }

func (r refusal) Error() string { return r.ErrorCode() + ": " + r.ErrorMessage() }
func (r refusal) Unwrap() error { return r.APIError }
