package localaws_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/shardline/shardline/internal/localaws"
)

// BenchmarkPutRecords puts 500 records of 4 kB per call, through the SDK: its
// time includes the client's.
func BenchmarkPutRecords(b *testing.B) {
	w := newWorld(b, localaws.Config{Unlimited: true, StreamBytes: 64 << 20})
	arn := w.stream("hotels", 4)
	k := w.kinesis(w.a)
	var entries []types.PutRecordsRequestEntry
	for i := range 500 {
		entries = append(entries, types.PutRecordsRequestEntry{PartitionKey: aws.String(fmt.Sprint("hotel-", i)), Data: bytes.Repeat([]byte("x"), 4000)})
	}
	b.ReportAllocs()
	for b.Loop() {
		_, err := k.PutRecords(background, &kinesis.PutRecordsInput{StreamARN: &arn, Records: entries})
		w.must(err)
	}
	b.ReportMetric(500*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkGetRecords reads 1,000 records of 4 kB per call.
func BenchmarkGetRecords(b *testing.B) {
	w := newWorld(b, localaws.Config{Unlimited: true})
	arn := w.stream("hotels", 1)
	k := w.kinesis(w.a)
	for range 1000 {
		_, _, err := w.Put(arn, "hotel", bytes.Repeat([]byte("x"), 4000))
		w.must(err)
	}
	it := w.iterate(k, arn, "shardId-000000000000", types.ShardIteratorTypeTrimHorizon, "")
	b.ReportAllocs()
	for b.Loop() {
		if n := len(w.get(k, it).Records); n != 1000 {
			b.Fatal(n)
		}
	}
	b.ReportMetric(1000*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkUpdateItem renews a lease.
func BenchmarkUpdateItem(b *testing.B) {
	w := newWorld(b, localaws.Config{})
	d := w.dynamo(w.b)
	table := w.leases(d)
	counter := 0
	b.ReportAllocs()
	for b.Loop() {
		_, err := d.UpdateItem(background, &dynamodb.UpdateItemInput{
			TableName: table, Key: attributes{"leaseKey": str("a")},
			UpdateExpression:          aws.String("SET leaseOwner = :me, leaseCounter = :next, checkpoint = :c"),
			ConditionExpression:       aws.String("attribute_not_exists(leaseKey) OR (leaseCounter = :seen AND leaseOwner = :me)"),
			ExpressionAttributeValues: attributes{":me": str("worker"), ":next": num(fmt.Sprint(counter + 1)), ":seen": num(fmt.Sprint(counter)), ":c": str("TRIM_HORIZON")},
		})
		w.must(err)
		counter++
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "updates/s")
}

// BenchmarkScan reads a lease table of 78 items.
func BenchmarkScan(b *testing.B) {
	w := newWorld(b, localaws.Config{})
	d := w.dynamo(w.b)
	table := w.leases(d)
	for i := range 78 {
		_, err := d.PutItem(background, &dynamodb.PutItemInput{TableName: table, Item: attributes{"leaseKey": str(fmt.Sprintf("shardId-%012d", i)), "leaseOwner": str("worker"), "leaseCounter": num("1"), "checkpoint": str("TRIM_HORIZON")}})
		w.must(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		out, err := d.Scan(background, &dynamodb.ScanInput{TableName: table, ConsistentRead: aws.Bool(true)})
		w.must(err)
		if out.Count != 78 {
			b.Fatal(out.Count)
		}
	}
}
