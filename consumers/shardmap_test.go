package consumers_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/shardline/shardline/consumers"
	"github.com/shardline/shardline/internal/localaws"
	"github.com/shardline/shardline/pipeline"
)

// TestShardMap says the same of every key as the service, also after a split
// and a merge that it is told of.
func TestShardMap(t *testing.T) {
	l := newLocal(t, localaws.Config{ListShardsPage: 2})
	stream := l.stream(t, 3)
	shards, err := consumers.NewShardMap(consumers.Config{Name: "rekeyed", StreamARN: stream, Client: kinesis.NewFromConfig(l.admin)})
	if err != nil {
		t.Fatal(err)
	}
	wrong := func() (n int) {
		t.Helper()
		for i := range 100 {
			key := fmt.Sprint("hotel-", i)
			want, _, err := l.Put(stream, key, nil)
			if err != nil {
				t.Fatal(err)
			}
			got, hashKey, err := shards.Shard(t.Context(), key)
			if err != nil || hashKey == "" {
				t.Fatalf("%q %v", hashKey, err)
			}
			if got != want {
				n++
			}
		}
		return n
	}
	if n := wrong(); n != 0 {
		t.Errorf("%d of 100 keys are said to be in another shard than they are", n)
	}
	if err := l.SplitShard(stream, "shardId-000000000001"); err != nil {
		t.Fatal(err)
	}
	if err := l.MergeShards(stream, "shardId-000000000000", "shardId-000000000003"); err != nil {
		t.Fatal(err)
	}
	if n := wrong(); n == 0 {
		t.Error("a map that was not told of the split knows it: this test tests nothing")
	}
	shards.Forget()
	if n := wrong(); n != 0 {
		t.Errorf("%d of 100 keys are said to be in another shard than they are after a split and a merge", n)
	}
	if err := l.DeleteStream(stream); err != nil {
		t.Fatal(err)
	}
	shards.Forget()
	if _, _, err := shards.Shard(t.Context(), "a"); !errors.Is(err, pipeline.ErrStreamGone) {
		t.Errorf("%v, want that the stream is gone", err)
	}
}
