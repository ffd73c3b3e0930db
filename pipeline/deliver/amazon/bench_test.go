package amazon_test

import (
	"context"
	"strconv"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/shardline/shardline/pipeline/deliver/amazon"
)

// acknowledging is a stream that has everything at once.
type acknowledging struct{}

func (acknowledging) PutRecords(_ context.Context, in *kinesis.PutRecordsInput, _ ...func(*kinesis.Options)) (*kinesis.PutRecordsOutput, error) {
	out := &kinesis.PutRecordsOutput{Records: make([]types.PutRecordsResultEntry, len(in.Records))}
	for i := range out.Records {
		out.Records[i].SequenceNumber = aws.String("1")
	}
	return out, nil
}

// BenchmarkBatches is what gathering costs per record, without the service.
func BenchmarkBatches(b *testing.B) {
	for _, concurrency := range []int{64, 512, 4096} {
		b.Run(strconv.Itoa(concurrency), func(b *testing.B) {
			k := amazon.NewKinesis(amazon.KinesisConfig{Client: acknowledging{}, StreamARN: "arn", Batching: amazon.Batching{Concurrency: concurrency}})
			defer k.Close()
			b.ReportAllocs()
			var all sync.WaitGroup
			for i := range concurrency {
				n := b.N / concurrency
				if i < b.N%concurrency {
					n++
				}
				all.Go(func() {
					m := message(strconv.Itoa(i), i, "x")
					for range n {
						k.Send(b.Context(), m)
					}
				})
			}
			all.Wait()
		})
	}
}
