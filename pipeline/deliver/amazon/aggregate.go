package amazon

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/shardline/shardline/pipeline/deliver"
)

// Aggregates makes aggregated records for a stream, as the Kinesis Producer
// Library does: one holds records of several keys of one shard. Readers drop an
// aggregate that came into another shard than its records belong to.
type Aggregates interface {
	// Shard is where a partition key falls: the shard's id, and a hash key that
	// is the shard's.
	Shard(ctx context.Context, partitionKey string) (id, hashKey string, err error)
	// Forget makes the next Shard look at the stream again.
	Forget()
	// Aggregate is the data of a record that holds these.
	Aggregate(keys []string, data [][]byte) []byte
	// Looks says whether a record's data would be taken for an aggregate.
	Looks(data []byte) bool
}

// packed is an entry of a call, and the records that it holds.
type packed struct {
	shard   string // where it has to come; empty: it does not matter
	hashKey string
	records []int // by their places in the call
	bytes   int
}

// putAggregated puts records that are for the same shard together. When the
// answer says that an aggregate came into another shard, because the stream was
// split or merged since its shards were listed, its records are not delivered:
// readers drop it, and they are put again. Of one key no other record is on its
// way meanwhile, so that the order is kept here too.
func (k *Kinesis) putAggregated(ctx context.Context, records []putRecord) ([]deliver.Answer, error) {
	entries, err := k.pack(ctx, records)
	if err != nil {
		return nil, err
	}
	request := make([]types.PutRecordsRequestEntry, len(entries))
	for i, e := range entries {
		request[i] = k.entry(e, records)
	}
	results, err := k.putEntries(ctx, request)
	if err != nil {
		return nil, err
	}
	if len(results) != len(entries) {
		return nil, fmt.Errorf("%d results for %d records", len(results), len(entries))
	}
	answers := make([]deliver.Answer, len(records))
	for i, e := range entries {
		answer := putAnswer(results[i])
		if shard := aws.ToString(results[i].ShardId); answer.Reason == deliver.ReasonDelivered && e.shard != "" && shard != e.shard {
			k.aggregate.Forget()
			answer = deliver.Answer{Reason: deliver.ReasonTryLater, Detail: line("its aggregate came into " + shard + " instead of " + e.shard + ": the stream was split or merged")}
		}
		for _, at := range e.records {
			answers[at] = answer
		}
	}
	return answers, nil
}

// pack spreads records over entries.
func (k *Kinesis) pack(ctx context.Context, records []putRecord) ([]*packed, error) {
	// An index, a length and a tag or two for each record and its key.
	const frame = 16
	var entries []*packed
	open := make(map[string]*packed) // by shard
	for i, r := range records {
		bytes := len(r.key) + len(r.data) + frame
		if bytes > maxAggregate && !k.aggregate.Looks(r.data) {
			entries = append(entries, &packed{records: []int{i}})
			continue
		}
		shard, hashKey, err := k.aggregate.Shard(ctx, r.key)
		if err != nil {
			return nil, err
		}
		e := open[shard]
		if e == nil || e.bytes+bytes > maxAggregate {
			e = &packed{shard: shard, hashKey: hashKey}
			open[shard] = e
			entries = append(entries, e)
		}
		e.records = append(e.records, i)
		e.bytes += bytes
	}
	return entries, nil
}

// entry is what is put. A record that is alone goes as it is, to whatever shard
// its key falls into.
func (k *Kinesis) entry(e *packed, records []putRecord) types.PutRecordsRequestEntry {
	first := records[e.records[0]]
	if len(e.records) == 1 && !k.aggregate.Looks(first.data) {
		e.shard = ""
		return types.PutRecordsRequestEntry{PartitionKey: aws.String(first.key), Data: first.data}
	}
	var keys []string
	var data [][]byte
	for _, at := range e.records {
		keys, data = append(keys, records[at].key), append(data, records[at].data)
	}
	return types.PutRecordsRequestEntry{PartitionKey: aws.String(slices.Min(keys)), ExplicitHashKey: aws.String(e.hashKey),
		Data: k.aggregate.Aggregate(keys, data)}
}
