package amazon

import (
	"context"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/shardline/shardline/pipeline"
	"github.com/shardline/shardline/pipeline/deliver"
)

const (
	// maxPutRecords is the service's limit of one PutRecords call.
	maxPutRecords = 500
	// maxPutBytes is half of the service's limit of one call, data and keys, so
	// that a call that has to be made again costs less; one larger record goes
	// alone.
	maxPutBytes = 5 << 20
	// maxRecordBytes is the service's limit of one record, data and key.
	// Streams that are not set to large records take 1 MiB, and say so.
	maxRecordBytes = 10 << 20
	// maxPartitionKey is the longest partition key, in characters.
	maxPartitionKey = 256
	// maxAggregate bounds an aggregated record, as the Kinesis Producer Library
	// does by default; what is larger goes by itself.
	maxAggregate = 50 << 10
	// gatherLinger is how long a call waits for more records.
	gatherLinger = 10 * time.Millisecond
)

// PutRecords is the call that a Kinesis makes; *kinesis.Client has it.
type PutRecords interface {
	PutRecords(ctx context.Context, in *kinesis.PutRecordsInput, options ...func(*kinesis.Options)) (*kinesis.PutRecordsOutput, error)
}

// KinesisConfig is what a Kinesis is made of.
type KinesisConfig struct {
	Client    PutRecords
	StreamARN string
	// Key is the partition key of a record in the stream, an error when none
	// can be had; nil: the record's own.
	Key func(*pipeline.Record) (string, error)
	// Aggregates: records that wait together are put as aggregated records;
	// nil: each by itself.
	Aggregates Aggregates
	Batching
}

// Kinesis is the transport to a stream.
type Kinesis struct {
	client    PutRecords
	stream    string
	key       func(*pipeline.Record) (string, error)
	aggregate Aggregates
	batches   batches[putRecord]
}

// putRecord is a record on its way into the stream.
type putRecord struct {
	key  string
	data []byte
}

// NewKinesis makes a transport. It calls nothing.
func NewKinesis(c KinesisConfig) *Kinesis {
	if c.Linger <= 0 {
		c.Linger = gatherLinger
	}
	if c.Key == nil {
		c.Key = func(r *pipeline.Record) (string, error) { return r.PartitionKey, nil }
	}
	k := &Kinesis{client: c.Client, stream: c.StreamARN, key: c.Key, aggregate: c.Aggregates}
	k.batches = batches[putRecord]{Batching: c.Batching, most: maxPutRecords, bytes: maxPutBytes, call: k.put,
		size: func(r putRecord) int { return len(r.key) + len(r.data) }}
	return k
}

// Send implements deliver.Transport.
func (k *Kinesis) Send(ctx context.Context, m *deliver.Message) deliver.Answer {
	key, err := k.key(m.Record)
	if err != nil {
		return unsendable("key: %v", err)
	}
	if n := utf8.RuneCountInString(key); n == 0 || n > maxPartitionKey {
		return unsendable("its key has %d characters; a partition key has 1 to %d", n, maxPartitionKey)
	}
	r := putRecord{key, m.Record.Data}
	if r.data == nil {
		r.data = []byte{} // the service wants it, and takes an empty one
	}
	if n := len(r.key) + len(r.data); n > maxRecordBytes {
		return unsendable("it has %d bytes with its key; a stream takes %d at most", n, maxRecordBytes)
	}
	return k.batches.send(ctx, r)
}

// Close waits for the calls.
func (k *Kinesis) Close() error {
	k.batches.close()
	return nil
}

// put puts records, each by itself or aggregated.
func (k *Kinesis) put(ctx context.Context, records []putRecord) ([]deliver.Answer, error) {
	if k.aggregate != nil {
		return k.putAggregated(ctx, records)
	}
	entries := make([]types.PutRecordsRequestEntry, len(records))
	for i, r := range records {
		entries[i] = types.PutRecordsRequestEntry{PartitionKey: aws.String(r.key), Data: r.data}
	}
	results, err := k.putEntries(ctx, entries)
	if err != nil {
		return nil, err
	}
	answers := make([]deliver.Answer, len(results))
	for i, result := range results {
		answers[i] = putAnswer(result)
	}
	return answers, nil
}

func (k *Kinesis) putEntries(ctx context.Context, entries []types.PutRecordsRequestEntry) ([]types.PutRecordsResultEntry, error) {
	out, err := k.client.PutRecords(ctx, &kinesis.PutRecordsInput{StreamARN: aws.String(k.stream), Records: entries}, once)
	if err != nil {
		return nil, err
	}
	return out.Records, nil
}

// putAnswer is what a record's result means.
func putAnswer(r types.PutRecordsResultEntry) deliver.Answer {
	switch {
	case aws.ToString(r.ErrorCode) != "":
		return recordFailed(*r.ErrorCode, aws.ToString(r.ErrorMessage), false)
	case aws.ToString(r.SequenceNumber) == "":
		return deliver.Answer{Reason: deliver.ReasonBrokenAnswer, Detail: "the result has neither a sequence number nor an error"}
	}
	return delivered
}

// once leaves repeating to the lanes.
func once(o *kinesis.Options) { o.Retryer = aws.NopRetryer{} }
