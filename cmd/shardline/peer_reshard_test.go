package main

import (
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// shardList are the stream's shards.
func (s *peerScene) shardList() ([]types.Shard, error) {
	out, err := s.kinesis.ListShards(s.t.Context(), &kinesis.ListShardsInput{StreamName: &s.application})
	if err != nil {
		return nil, fmt.Errorf("list shards: %w", err)
	}
	return out.Shards, nil
}

// shards says of each shard whether it is closed.
func (s *peerScene) shards() (map[string]bool, error) {
	list, err := s.shardList()
	closed := make(map[string]bool)
	for _, sh := range list {
		closed[*sh.ShardId] = sh.SequenceNumberRange.EndingSequenceNumber != nil
	}
	return closed, err
}

// open are the open shards in the order of their hash keys.
func (s *peerScene) open() []types.Shard {
	s.t.Helper()
	list, err := s.shardList()
	if err != nil {
		s.t.Fatal(err)
	}
	byStart := make(map[string]types.Shard)
	for _, sh := range list {
		if sh.SequenceNumberRange.EndingSequenceNumber == nil {
			byStart[*sh.HashKeyRange.StartingHashKey] = sh
		}
	}
	open := []types.Shard{byStart["0"]}
	for len(open) < len(byStart) {
		next := hashKey(s.t, open[len(open)-1].HashKeyRange.EndingHashKey)
		open = append(open, byStart[next.Add(next, big.NewInt(1)).String()])
	}
	return open
}

func hashKey(t testing.TB, text *string) *big.Int {
	t.Helper()
	n, ok := new(big.Int).SetString(aws.ToString(text), 10)
	if !ok {
		t.Fatalf("hash key %q", aws.ToString(text))
	}
	return n
}

// openOf is an open shard whose lease a worker of that side owns.
func (s *peerScene) openOf(side string) (shard types.Shard) {
	s.t.Helper()
	s.await("a worker of "+side+" owns an open shard", func() error {
		leases, err := s.leases()
		if err != nil {
			return err
		}
		for _, shard = range s.open() {
			if strings.HasPrefix(leases[*shard.ShardId].owner, side) {
				return nil
			}
		}
		return fmt.Errorf("leases %v", leases)
	})
	return shard
}

// split splits a shard in half.
func (s *peerScene) split(shard types.Shard) {
	s.t.Helper()
	half := hashKey(s.t, shard.HashKeyRange.StartingHashKey)
	half.Add(half, hashKey(s.t, shard.HashKeyRange.EndingHashKey)).Rsh(half, 1)
	if _, err := s.kinesis.SplitShard(s.t.Context(), &kinesis.SplitShardInput{StreamName: &s.application,
		ShardToSplit: shard.ShardId, NewStartingHashKey: aws.String(half.String())}); err != nil {
		s.t.Fatalf("split: %v", err)
	}
	s.awaitActive()
}

// merge merges two neighbours, of a worker of each side if there are such.
func (s *peerScene) merge() {
	s.t.Helper()
	leases := s.mustLeases()
	open := s.open()
	kcl := func(i int) bool { return strings.HasPrefix(leases[*open[i].ShardId].owner, "kcl") }
	first := 0
	for first < len(open)-2 && kcl(first) == kcl(first+1) {
		first++
	}
	if _, err := s.kinesis.MergeShards(s.t.Context(), &kinesis.MergeShardsInput{StreamName: &s.application,
		ShardToMerge: open[first].ShardId, AdjacentShardToMerge: open[first+1].ShardId}); err != nil {
		s.t.Fatalf("merge: %v", err)
	}
	s.t.Logf("merged shards of %s and %s", leases[*open[first].ShardId].owner, leases[*open[first+1].ShardId].owner)
	s.awaitActive()
}

// awaitReshard waits until every closed shard's lease is at its end, or gone,
// and every open shard is owned and read.
func (s *peerScene) awaitReshard() {
	s.t.Helper()
	s.await("the closed shards are finished, the open ones read", func() error {
		shards, err := s.shards()
		if err != nil {
			return err
		}
		leases, err := s.leases()
		if err != nil {
			return err
		}
		for id, closed := range shards {
			l, leased := leases[id]
			if closed && leased && !l.finished() {
				return fmt.Errorf("%s is at %s, of %q", id, l.checkpoint, l.owner)
			}
			if !closed && (l.owner == "" || !l.checkpoint.IsNumber()) {
				return fmt.Errorf("%s is at %s, of %q", id, l.checkpoint, l.owner)
			}
		}
		return nil
	})
}
