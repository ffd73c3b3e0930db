package consumers_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/consumers"
)

// answering gives every read of every shard the same answer.
type answering struct {
	consumers.Client
	answer kinesis.GetRecordsOutput
}

func (a *answering) GetShardIterator(context.Context, *kinesis.GetShardIteratorInput, ...func(*kinesis.Options)) (*kinesis.GetShardIteratorOutput, error) {
	return &kinesis.GetShardIteratorOutput{ShardIterator: aws.String("i")}, nil
}

func (a *answering) GetRecords(context.Context, *kinesis.GetRecordsInput, ...func(*kinesis.Options)) (*kinesis.GetRecordsOutput, error) {
	return &a.answer, nil
}

// BenchmarkTake is what a reader does with an answer of about 8 MB that it has:
// plain records pay for a look at their first bytes, aggregated ones (of about
// 50 kB) for a digest, two walks, the hash of every key, and the keys.
func BenchmarkTake(b *testing.B) {
	const total, aggregated = 8 << 20, 50 << 10
	body := func(size int) []byte { return bytes.Repeat([]byte("<x/>"), size/4) }
	plain := func(size int) (records [][]byte) {
		for range total / size {
			records = append(records, body(size))
		}
		return records
	}
	aggregates := func(size int) (records [][]byte) {
		for i := range total / aggregated {
			var users []consumers.UserRecord
			for k := range aggregated / size {
				users = append(users, consumers.UserRecord{PartitionKey: fmt.Sprintf("hotel-%d", i+k%20), Data: body(size)})
			}
			records = append(records, consumers.Aggregate(users))
		}
		return records
	}
	benchmarks := []struct {
		name    string
		records [][]byte
		users   int
	}{
		{"plain/4kB", plain(4 << 10), total >> 12},
		{"plain/1kB", plain(1 << 10), total >> 10},
		{"aggregated/4kB", aggregates(4 << 10), total / aggregated * (aggregated >> 12)},
		{"aggregated/1kB", aggregates(1 << 10), total / aggregated * (aggregated >> 10)},
		{"aggregated/100B", aggregates(100), total / aggregated * (aggregated / 100)},
	}
	for _, benchmark := range benchmarks {
		b.Run(benchmark.name, func(b *testing.B) {
			client := &answering{answer: kinesis.GetRecordsOutput{NextShardIterator: aws.String("i"), MillisBehindLatest: aws.Int64(1000)}}
			bytes := 0
			for i, data := range benchmark.records {
				client.answer.Records = append(client.answer.Records, types.Record{SequenceNumber: aws.String(fmt.Sprintf("%056d", i+1)),
					PartitionKey: aws.String(fmt.Sprintf("hotel-%d", i%200)), Data: data})
				bytes += len(data)
			}
			source, err := consumers.NewSource(consumers.Config{Name: "bench", StreamARN: streamARN, Client: client})
			if err != nil {
				b.Fatal(err)
			}
			shard := checkpoint.Shard{ID: shard0, HashFrom: "0", HashTo: "340282366920938463463374607431768211454"} // not all: the keys are hashed
			b.SetBytes(int64(bytes))
			b.ReportAllocs()
			for b.Loop() {
				r := source.Reader(shard, checkpoint.TrimHorizon) // another one would drop what it has had
				for read := 0; read < benchmark.users; {
					batch, err := r.Read(b.Context())
					if err != nil || len(batch.Records) == 0 {
						b.Fatalf("%d of %d records, %v", read, benchmark.users, err)
					}
					read += len(batch.Records)
				}
			}
		})
	}
}
