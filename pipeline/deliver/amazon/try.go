package amazon

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	kinesistypes "github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/pipeline/deliver"
)

const (
	// tryTimeout bounds one call that is tried.
	tryTimeout = 10 * time.Second
	// noHashKey has the form of a hash key and is above the highest, so that no
	// shard takes it: the service refuses the call once it has found the caller
	// permitted and the stream there.
	noHashKey = "999999999999999999999999999999999999999"
)

// trial collects what comes of the calls to one receiver. They change nothing.
type trial struct {
	of    string
	tried []checkpoint.Tried
}

func (t *trial) try(ctx context.Context, call string, f func(ctx context.Context) (string, error)) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	detail, err := f(ctx)
	var api smithy.APIError
	if errors.As(err, &api) && api.ErrorMessage() != "" {
		err = refused{api}
	}
	t.tried = append(t.tried, checkpoint.Tried{Call: call, Of: t.of, Detail: detail, Err: err})
}

// look tries a call that a worker itself does not make: who may not make it is
// told so, and nothing is missing.
func (t *trial) look(ctx context.Context, call string, f func(ctx context.Context) (string, error)) {
	t.try(ctx, call, f)
	last := &t.tried[len(t.tried)-1]
	if last.Err != nil && failed(last.Err).Reason == deliver.ReasonUnauthorized {
		last.Skipped, last.Err = "it is not permitted, and a worker does not need it", nil
	}
}

func (t *trial) skip(call, why string) {
	t.tried = append(t.tried, checkpoint.Tried{Call: call, Of: t.of, Skipped: why})
}

// refused is the service's answer without the SDK's own words.
type refused struct{ smithy.APIError }

func (r refused) Error() string { return r.ErrorCode() + ": " + r.ErrorMessage() }
func (r refused) Unwrap() error { return r.APIError }

// TryKinesis tries what a destination needs of a stream. Shards lists the
// stream's shards; nil: the destination does not aggregate.
func TryKinesis(ctx context.Context, client PutRecords, stream string, shards Aggregates) []checkpoint.Tried {
	t := trial{of: stream}
	t.try(ctx, "kinesis:PutRecords", func(ctx context.Context) (string, error) {
		_, err := client.PutRecords(ctx, &kinesis.PutRecordsInput{StreamARN: aws.String(stream), Records: []kinesistypes.PutRecordsRequestEntry{
			{PartitionKey: aws.String("shardline-validate"), ExplicitHashKey: aws.String(noHashKey), Data: []byte{}}}}, once)
		var api smithy.APIError
		switch {
		case errors.As(err, &api) && plain(api.ErrorCode()) == "InvalidArgument":
			return "permitted; nothing was put: the hash key is none", nil
		case err == nil:
			return "permitted", nil
		}
		return "", err
	})
	if shards != nil {
		t.try(ctx, "kinesis:ListShards", func(ctx context.Context) (string, error) {
			id, _, err := shards.Shard(ctx, "shardline-validate")
			return id, err
		})
	}
	return t.tried
}

// TryQueue looks for a queue. Fifo says that it has to be a FIFO queue.
func TryQueue(ctx context.Context, client *sqs.Client, url string, fifo bool) []checkpoint.Tried {
	t := trial{of: url}
	t.look(ctx, "sqs:GetQueueAttributes", func(ctx context.Context) (string, error) {
		out, err := client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: aws.String(url), AttributeNames: []sqstypes.QueueAttributeName{sqstypes.QueueAttributeNameAll}},
			func(o *sqs.Options) { o.Retryer = aws.NopRetryer{} })
		switch {
		case err != nil:
			return "", err
		case fifo && out.Attributes["FifoQueue"] != "true":
			return "", errors.New("it is no FIFO queue")
		}
		return fmt.Sprintf("messages of %s bytes at most", out.Attributes["MaximumMessageSize"]), nil
	})
	t.skip("sqs:SendMessage", "it cannot be tried without sending a message")
	return t.tried
}

// TryTopic looks for a topic.
func TryTopic(ctx context.Context, client *sns.Client, topic string) []checkpoint.Tried {
	t := trial{of: topic}
	t.look(ctx, "sns:GetTopicAttributes", func(ctx context.Context) (string, error) {
		out, err := client.GetTopicAttributes(ctx, &sns.GetTopicAttributesInput{TopicArn: aws.String(topic)}, func(o *sns.Options) { o.Retryer = aws.NopRetryer{} })
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("subscriptions: %s", out.Attributes["SubscriptionsConfirmed"]), nil
	})
	t.skip("sns:Publish", "it cannot be tried without publishing a message")
	return t.tried
}

// TryBucket looks for a bucket.
func TryBucket(ctx context.Context, client *s3.Client, bucket string) []checkpoint.Tried {
	t := trial{of: bucket}
	t.look(ctx, "s3:ListBucket", func(ctx context.Context) (string, error) {
		_, err := client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: aws.String(bucket)}, func(o *s3.Options) { o.Retryer = aws.NopRetryer{} })
		var answer *smithyhttp.ResponseError
		if errors.As(err, &answer) && answer.Response != nil { // the answer to HEAD has no words
			switch answer.HTTPStatusCode() {
			case http.StatusNotFound:
				return "", fmt.Errorf("there is no bucket %s", bucket)
			case http.StatusMovedPermanently, http.StatusBadRequest:
				return "", fmt.Errorf("bucket %s is in another region: %s", bucket, answer.Response.Header.Get("X-Amz-Bucket-Region"))
			}
		}
		return "", err
	})
	t.skip("s3:PutObject", "it cannot be tried without writing an object")
	return t.tried
}
