package main

import (
	"cmp"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/consumers"
	"github.com/shardline/shardline/internal/localaws"
)

// library is a feed that writes as the Kinesis Producer Library does: each
// record holds messages of several keys of one shard, by a list of shards that
// is out of date after a split. It is owned by the test.
type library struct {
	*scene
	client  *kinesis.Client
	stream  *stream
	shards  []types.Shard
	counts  map[string]int64 // messages by sequence number
	dropped int              // records with a message of another shard, which were put again
}

func (s *scene) library(st *stream) *library {
	s.t.Helper()
	own, err := s.aws.AddAccount(st.account)
	if err != nil {
		s.t.Fatal(err)
	}
	return &library{scene: s, stream: st, counts: make(map[string]int64),
		client: kinesis.New(kinesis.Options{Region: testRegion, BaseEndpoint: aws.String(s.aws.Endpoint()),
			Credentials: credentials.NewStaticCredentialsProvider(own.AccessKeyID, own.SecretAccessKey, own.SessionToken)})}
}

// aggregate puts n messages of so many keys, in one record per shard as far as
// the list of shards is right.
func (l *library) aggregate(n, keys int) {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var users []consumers.UserRecord
	for range n {
		key := fmt.Sprintf("%s %03d", l.stream.name, l.rng.IntN(keys))
		users = append(users, consumers.UserRecord{PartitionKey: key, Data: l.bytes(key)})
		l.acknowledge(key, users[len(users)-1].Data) // it will be: the test ends otherwise
	}
	l.put(users)
}

// put puts messages, in order per key. What comes to a shard that is not the
// shard of all its messages is put again. l.mu is held.
func (l *library) put(users []consumers.UserRecord) {
	l.t.Helper()
	if l.shards == nil {
		out, err := l.client.ListShards(context.Background(), &kinesis.ListShardsInput{StreamARN: aws.String(l.stream.arn)})
		if err != nil {
			l.t.Fatal(err)
		}
		l.shards = slices.DeleteFunc(out.Shards, func(sh types.Shard) bool { return sh.SequenceNumberRange.EndingSequenceNumber != nil })
	}
	groups := make(map[string][]consumers.UserRecord)
	for _, u := range users {
		i := slices.IndexFunc(l.shards, func(sh types.Shard) bool { return holds(sh, u) })
		groups[*l.shards[i].ShardId] = append(groups[*l.shards[i].ShardId], u)
	}
	var again []consumers.UserRecord
	for _, group := range groups {
		out, err := l.client.PutRecord(context.Background(), &kinesis.PutRecordInput{StreamARN: aws.String(l.stream.arn),
			PartitionKey: aws.String("a"), ExplicitHashKey: aws.String(hashOf(group[0]).String()), Data: consumers.Aggregate(group)})
		if err != nil {
			l.t.Fatalf("put an aggregate: %v", err)
		}
		l.counts[*out.SequenceNumber] = int64(len(group))
		if _, planned := groups[*out.ShardId]; planned {
			continue
		}
		now := slices.IndexFunc(l.fresh(), func(sh types.Shard) bool { return *sh.ShardId == *out.ShardId })
		if slices.ContainsFunc(group, func(u consumers.UserRecord) bool { return !holds(l.shards[now], u) }) {
			l.dropped++
			again = append(again, group...)
		}
	}
	if len(again) > 0 {
		l.put(again)
	}
}

// fresh lists the shards anew.
func (l *library) fresh() []types.Shard {
	l.shards = nil
	l.put(nil)
	return l.shards
}

func hashOf(u consumers.UserRecord) *big.Int {
	sum := md5.Sum([]byte(u.PartitionKey))
	return new(big.Int).SetBytes(sum[:])
}

func holds(sh types.Shard, u consumers.UserRecord) bool {
	from, _ := new(big.Int).SetString(*sh.HashKeyRange.StartingHashKey, 10)
	to, _ := new(big.Int).SetString(*sh.HashKeyRange.EndingHashKey, 10)
	h := hashOf(u)
	return from.Cmp(h) <= 0 && h.Cmp(to) <= 0
}

// inside says whether a position is in the middle of an aggregate.
func (l *library) inside(p checkpoint.Position) bool {
	return p.IsNumber() && p.Sub < l.counts[p.Sequence]-1
}

// TestAggregatedRecords feeds two workers with aggregated records, kills one of
// them in the middle of such records again and again, and splits a shard while
// the producer does not know.
func TestAggregatedRecords(t *testing.T) {
	t.Parallel()
	kills := 10
	if testing.Short() {
		kills = 5
	}
	s := newScene(t, localaws.Config{}, 2)
	quick, slow, refusing := s.receiver("quick"), s.receiver("slow").slow(2*time.Millisecond), s.receiver("refusing")
	refusing.behaves(func(q *request) reply {
		if q.digest[0] < 10 {
			return reply{status: http.StatusUnprocessableEntity}
		}
		return accept()
	})
	config := s.config(settings{failover: 2 * time.Second})
	k := &killer{s: s, left: kills, workers: make(map[string]*process), again: make(chan struct{}, kills)}
	for _, r := range s.receivers {
		r.sees(k.see)
	}
	l := s.library(s.streams[0])
	for range 10 {
		l.aggregate(60, 40)
	}
	for range 2 {
		k.start(config)
	}
	s.awaitLeases("the table is there", func([]checkpoint.Lease) error { return nil })
	inside, killed := 0, 0 // saved positions in the middle of an aggregate
	feed := func() {
		l.aggregate(40, 40)
		s.some(2, 40)
		leases, err := s.leases()
		if err != nil {
			t.Fatal(err)
		}
		for _, lease := range leases {
			if l.inside(lease.Checkpoint) {
				inside++
			}
		}
	}
	feeding := time.NewTicker(150 * time.Millisecond)
	defer feeding.Stop()
	for deadline := time.Now().Add(3 * patience); killed < kills; {
		select {
		case <-feeding.C:
			if s.keepsUp(slow) {
				feed()
			}
		case <-k.again:
			killed++
			if killed == kills/2 {
				s.split(0)
				l.aggregate(200, 40) // enough for every key of the parent
			}
			k.start(config)
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d kills are left: the workers make no attempts", k.remaining())
		}
	}
	for deadline := time.Now().Add(patience); inside == 0 && time.Now().Before(deadline); <-feeding.C {
		feed() // the kills may have come before every save
	}
	s.awaitThrough(quick, slow, refusing)
	k.stop()
	for _, r := range s.receivers {
		result := s.check(r)
		t.Logf("%s: %d delivered, %d dead-lettered, %d duplicates", r.name, result.Delivered, result.DeadLettered, result.Duplicates)
	}
	s.checkParentsFinished(t)
	subs := 0
	for _, letter := range s.letters() {
		if m, known := s.of[sha256.Sum256(letter.Data)]; !known || letter.PartitionKey != m.key || letter.SubSequence >= cmp.Or(l.counts[letter.Sequence], 1) {
			t.Errorf("dead letter of %s:%d with partition key %q", letter.Sequence, letter.SubSequence, letter.PartitionKey)
		}
		if letter.SubSequence > 0 {
			subs++
		}
	}
	t.Logf("%d messages, %d saved positions in the middle of an aggregate, %d aggregates dropped and put again", len(s.messages()), inside, l.dropped)
	if inside == 0 || l.dropped == 0 || subs == 0 {
		t.Error("the test tests less than it says")
	}
}
