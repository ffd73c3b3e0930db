package amazon

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/shardline/shardline/pipeline/deliver"
)

// LetterStream is the calls of a stream of dead letters; *kinesis.Client has
// them.
type LetterStream interface {
	PutRecords
	ListShards(ctx context.Context, in *kinesis.ListShardsInput, options ...func(*kinesis.Options)) (*kinesis.ListShardsOutput, error)
	GetShardIterator(ctx context.Context, in *kinesis.GetShardIteratorInput, options ...func(*kinesis.Options)) (*kinesis.GetShardIteratorOutput, error)
	GetRecords(ctx context.Context, in *kinesis.GetRecordsInput, options ...func(*kinesis.Options)) (*kinesis.GetRecordsOutput, error)
}

// KinesisLetters is a stream of dead letters. A letter is a record, its line of
// JSON, with its record's key as the partition key: letters of a key are in
// their order.
type KinesisLetters struct {
	name     string
	client   LetterStream
	stream   string // ARN
	overflow *Overflow
	batches  batches[putRecord]
}

// NewKinesisLetters makes a queue. It calls nothing. Name is for errors.
func NewKinesisLetters(name string, client LetterStream, stream string, overflow *Overflow) *KinesisLetters {
	k := &KinesisLetters{name: name, client: client, stream: stream, overflow: overflow}
	k.batches = batches[putRecord]{Batching: Batching{Concurrency: unbounded, Linger: gatherLinger}, most: maxPutRecords, bytes: maxPutBytes,
		size: func(r putRecord) int { return len(r.key) + len(r.data) }, call: k.put}
	return k
}

// Put implements deliver.DeadLetters.
func (k *KinesisLetters) Put(ctx context.Context, letter deliver.DeadLetter) error {
	put := func(l *deliver.DeadLetter) (deliver.Answer, error) {
		return putLetter(ctx, &k.batches, putRecord{letterKey(l), l.Line()})
	}
	size := len(letterKey(&letter)) + len(letter.Line())
	return letterError(k.name, reduced(ctx, &letter, size, maxRecordBytes, k.overflow, put))
}

// Close waits for the calls.
func (k *KinesisLetters) Close() error {
	k.batches.close()
	return nil
}

func (k *KinesisLetters) put(ctx context.Context, records []putRecord) ([]deliver.Answer, error) {
	entries := make([]types.PutRecordsRequestEntry, len(records))
	for i, r := range records {
		entries[i] = types.PutRecordsRequestEntry{PartitionKey: aws.String(r.key), Data: r.data}
	}
	out, err := k.client.PutRecords(ctx, &kinesis.PutRecordsInput{StreamARN: aws.String(k.stream), Records: entries}, once)
	if err != nil {
		return nil, err
	}
	answers := make([]deliver.Answer, len(out.Records))
	for i, r := range out.Records {
		answers[i] = putAnswer(r)
	}
	return answers, nil
}
