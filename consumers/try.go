package consumers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/pipeline"
)

const (
	// tryTimeout bounds one call that is tried.
	tryTimeout = 10 * time.Second
	// firstShard is tried where the shards cannot be listed.
	firstShard = "shardId-000000000000"
)

// Identity is who Shardline is with its own credentials, as an ARN. The call
// needs no permission.
func Identity(ctx context.Context, base aws.Config) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	out, err := sts.NewFromConfig(base).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", failed("ask who these credentials are", err)
	}
	return aws.ToString(out.Arn), nil
}

// Try assumes the role, if there is one. Run has to run.
func (c *Credentials) Try(ctx context.Context, role Role) checkpoint.Tried {
	ctx, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	value, err := c.Retrieve(ctx)
	t := checkpoint.Tried{Call: "sts:AssumeRole", Of: role.ARN, Err: err}
	if err == nil {
		t.Detail = "credentials for " + time.Until(value.Expires).Round(time.Minute).String()
	}
	return t
}

// Try tries every call that reading the stream needs, and changes nothing: one
// record at most is read, from the tip of one shard. With the name of a stream
// consumer it looks for that too. Run has to run.
func (s *Source) Try(ctx context.Context, role *Role, consumer string) []checkpoint.Tried {
	t := trial{source: s, of: s.arn}
	if s.credentials != nil && role != nil {
		assumed := s.credentials.Try(ctx, *role)
		t.tried = append(t.tried, assumed)
		if assumed.Err != nil {
			for _, call := range []string{"DescribeStreamSummary", "ListShards", "GetShardIterator", "GetRecords"} {
				t.skip(call, "it needs the role")
			}
			return t.tried
		}
	}
	if err := t.describe(ctx); errors.Is(err, pipeline.ErrStreamGone) {
		return t.tried
	}
	t.read(ctx, t.list(ctx))
	if consumer != "" {
		t.consumer(ctx, consumer)
	}
	return t.tried
}

// trial collects what comes of the calls to one stream.
type trial struct {
	source *Source
	of     string // the resource that the next calls are about, as policies name it
	tried  []checkpoint.Tried
}

func (t *trial) try(ctx context.Context, call string, f func(ctx context.Context) (string, error)) error {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	detail, err := f(ctx)
	var known *failure
	if err != nil && !errors.As(err, &known) {
		err = streamFailed("stream "+t.source.arn, err)
	}
	t.tried = append(t.tried, checkpoint.Tried{Call: "kinesis:" + call, Of: t.of, Detail: detail, Err: err})
	return err
}

func (t *trial) skip(call, why string) {
	t.tried = append(t.tried, checkpoint.Tried{Call: "kinesis:" + call, Of: t.of, Skipped: why})
}

func (t *trial) describe(ctx context.Context) error {
	return t.try(ctx, "DescribeStreamSummary", func(ctx context.Context) (string, error) {
		out, err := t.source.client.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamARN: aws.String(t.source.arn)})
		if err != nil || out.StreamDescriptionSummary == nil {
			return "", err
		}
		d := out.StreamDescriptionSummary
		words := []string{string(d.StreamStatus), fmt.Sprintf("retention %dh", aws.ToInt32(d.RetentionPeriodHours)), fmt.Sprintf("open shards: %d", aws.ToInt32(d.OpenShardCount))}
		if d.EncryptionType == types.EncryptionTypeKms {
			words = append(words, "encrypted with "+aws.ToString(d.KeyId))
		}
		return strings.Join(words, ", "), nil
	})
}

// list returns a shard to read: an open one; one that most streams have when
// the listing does not tell.
func (t *trial) list(ctx context.Context) string {
	shard := firstShard
	_ = t.try(ctx, "ListShards", func(ctx context.Context) (string, error) {
		shards, _, err := t.source.Shards(ctx)
		if err != nil {
			return "", err
		}
		for _, listed := range shards {
			if !listed.Closed {
				shard = listed.ID
			}
		}
		return fmt.Sprintf("shards: %d", len(shards)), nil
	})
	return shard
}

func (t *trial) read(ctx context.Context, shard string) {
	var iterator *string
	err := t.try(ctx, "GetShardIterator", func(ctx context.Context) (string, error) {
		out, err := t.source.client.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{StreamARN: aws.String(t.source.arn), ShardId: aws.String(shard),
			ShardIteratorType: types.ShardIteratorTypeLatest})
		if err == nil {
			iterator = out.ShardIterator
		}
		return shard, err
	})
	if err != nil || iterator == nil {
		t.skip("GetRecords", "it needs an iterator")
		return
	}
	_ = t.try(ctx, "GetRecords", func(ctx context.Context) (string, error) {
		_, err := t.source.client.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: iterator, StreamARN: aws.String(t.source.arn), Limit: aws.Int32(1)})
		if f := failed("", err); f != nil && f.reason == reasonThrottled {
			return shard + ": permitted, and throttled: others read it too", nil
		}
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%s, read at the tip", shard), nil
	})
}

// consumer looks for a stream consumer. Registering one, and subscribing, which
// takes the shard from whoever else does so with its name, are not tried.
func (t *trial) consumer(ctx context.Context, name string) {
	client, ok := t.source.client.(FanOutClient)
	if !ok {
		t.skip("DescribeStreamConsumer", "the client has no enhanced fan-out")
		return
	}
	missing := false
	_ = t.try(ctx, "DescribeStreamConsumer", func(ctx context.Context) (string, error) {
		out, err := client.DescribeStreamConsumer(ctx, &kinesis.DescribeStreamConsumerInput{StreamARN: aws.String(t.source.arn), ConsumerName: aws.String(name)})
		if f := failed("", err); f != nil && f.reason == reasonGone {
			missing = true
			return "there is no consumer " + name + " yet", nil
		}
		if err != nil || out.ConsumerDescription == nil {
			return "", err
		}
		return "consumer " + name + " is " + string(out.ConsumerDescription.ConsumerStatus), nil
	})
	if missing {
		t.skip("RegisterStreamConsumer", "a worker registers "+name+" when it starts; that cannot be tried without doing it")
	}
	t.of = t.source.arn + "/consumer/" + name + ":*"
	t.skip("SubscribeToShard", "it cannot be tried without taking the shard from a reader of the same name")
}
