package consumers_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/consumers"
)

// BenchmarkRead reads answers of 2,000 records of 4 kB over HTTP: what one read
// costs the worker, and the answering server in the same process; the pause
// between reads is left out.
func BenchmarkRead(b *testing.B) {
	const records, size = 2000, 4096
	data := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("<x/>"), size/4))
	sequence := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		if r.Header.Get("X-Amz-Target") == "Kinesis_20131202.GetShardIterator" {
			fmt.Fprint(w, `{"ShardIterator":"i"}`)
			return
		}
		var body bytes.Buffer
		body.WriteString(`{"MillisBehindLatest":1000,"NextShardIterator":"i","Records":[`)
		for i := range records {
			if i > 0 {
				body.WriteByte(',')
			}
			sequence++
			fmt.Fprintf(&body, `{"ApproximateArrivalTimestamp":1.7e9,"PartitionKey":"hotel-%d","SequenceNumber":"%056d","Data":"%s"}`, i%200, sequence, data)
		}
		body.WriteString(`]}`)
		_, _ = w.Write(body.Bytes())
	}))
	defer server.Close()
	source, err := consumers.NewSource(consumers.Config{Name: "bench", StreamARN: streamARN, Base: account(server.URL, "AKIA", "secret", "")})
	if err != nil {
		b.Fatal(err)
	}
	r := source.Reader(checkpoint.Shard{ID: shard0}, checkpoint.TrimHorizon)
	b.SetBytes(records * size)
	b.ReportAllocs()
	for b.Loop() {
		batch, err := r.Read(b.Context())
		if err != nil || len(batch.Records) != records {
			b.Fatalf("%d records, %v", len(batch.Records), err)
		}
	}
}
