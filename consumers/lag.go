package consumers

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/shardline/shardline/checkpoint"
)

// Lag is how far behind the shard's tip whoever stands at at is: the age of the
// first record that it does not cover, 0 when there is none. It costs one read
// of one record, of the five reads a second that a shard answers to everybody.
// Errors are those of Stream.
func (s *Source) Lag(ctx context.Context, shard string, at checkpoint.Position) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	in := &kinesis.GetShardIteratorInput{StreamARN: aws.String(s.arn), ShardId: aws.String(shard)}
	switch t, timed := at.Time(); {
	case at == checkpoint.ShardEnd, at == checkpoint.Latest:
		return 0, nil
	case timed:
		in.ShardIteratorType, in.Timestamp = types.ShardIteratorTypeAtTimestamp, aws.Time(t)
	case at.IsNumber():
		in.ShardIteratorType, in.StartingSequenceNumber = types.ShardIteratorTypeAfterSequenceNumber, aws.String(at.Sequence)
	default:
		in.ShardIteratorType = types.ShardIteratorTypeTrimHorizon
	}
	iterator, err := s.client.GetShardIterator(ctx, in)
	if err != nil {
		return 0, streamFailed("find the position in shard "+shard, err)
	}
	start := now()
	out, err := s.client.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: iterator.ShardIterator, StreamARN: aws.String(s.arn), Limit: aws.Int32(1)})
	if err != nil {
		return 0, streamFailed("read shard "+shard, err)
	}
	if out.MillisBehindLatest == nil {
		return 0, fmt.Errorf("read shard %s: the answer has no lag", shard)
	}
	lag := time.Duration(*out.MillisBehindLatest) * time.Millisecond
	if len(out.Records) > 0 && out.Records[0].ApproximateArrivalTimestamp != nil {
		// The shard's last record is at the tip, however old it is.
		lag = max(lag, serverTime(out.ResultMetadata, start).Sub(*out.Records[0].ApproximateArrivalTimestamp))
	}
	return lag, nil
}
