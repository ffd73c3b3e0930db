package readertest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/consumers"
	"github.com/shardline/shardline/pipeline"
)

func testIdentity(t *testing.T, env Env) {
	before := time.Now().Add(-time.Minute)
	s := newStream(t, env, 1)
	got, err := s.source.Stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.ARN != s.arn || got.Name != s.name || !strings.Contains(s.arn, ":"+got.Account+":") {
		t.Errorf("stream %+v, want name %s of %s", got, s.name, s.arn)
	}
	if got.Created.Before(before) || got.Created.After(time.Now().Add(time.Minute)) || got.Created.Nanosecond() != 0 {
		t.Errorf("created %v, want about now, to the second", got.Created)
	}
	again, err := s.source.Stream(t.Context())
	if err != nil || again != got {
		t.Errorf("second answer %+v, %v, want the same", again, err)
	}
	_, at, err := s.source.Shards(t.Context())
	if d := time.Since(at); err != nil || d > time.Minute || d < -time.Minute {
		t.Errorf("listed at %v, %v, want the service's time, about now", at, err)
	}
}

func testEmptyStream(t *testing.T, env Env) {
	s := newStream(t, env, 1)
	r := s.reader(s.only(), checkpoint.TrimHorizon)
	reads := 0
	got, last := s.read(r, func([]pipeline.Record, pipeline.Batch) bool { reads++; return reads == 4 })
	if len(got) != 0 || last.End || last.Lag != 0 {
		t.Errorf("%d records, end %v, lag %v, want nothing, at the tip", len(got), last.End, last.Lag)
	}
	// The same reader finds what arrives later.
	s.add("hotel-1", 3)
	got, _ = s.read(r, atLeast(3))
	s.expect("after the first records", got, s.acked[s.only()])
}

func testReadsAllInOrder(t *testing.T, env Env) {
	s := newStream(t, env, 3)
	for i := range 60 {
		s.add(fmt.Sprintf("hotel-%d", i%17), 1)
	}
	total := 0
	for _, shard := range s.shards() {
		want := s.acked[shard.ID]
		total += len(want)
		got, _ := s.read(s.reader(shard.ID, checkpoint.TrimHorizon), atLeast(len(want)))
		s.expect(shard.ID, got, want)
	}
	if total != 60 {
		t.Errorf("%d records in the listed shards, want 60", total)
	}
}

func testRestartAtEveryPosition(t *testing.T, env Env) {
	s := newStream(t, env, 1)
	s.add("hotel-1", 8)
	shard := s.only()
	all, _ := s.read(s.reader(shard, checkpoint.TrimHorizon), atLeast(8))
	for i, r := range all {
		got, _ := s.read(s.reader(shard, r.Position), atLeast(7-i))
		s.expect(fmt.Sprintf("behind record %d", i), got, s.acked[shard][i+1:])
		if i == 3 {
			// Of an aggregated record a part may be settled only.
			got, _ = s.read(s.reader(shard, checkpoint.Number(r.Position.Sequence, -1)), atLeast(8-i))
			s.expect("at a record that is not settled", got, s.acked[shard][i:])
		}
	}
}

func testLatest(t *testing.T, env Env) {
	s := newStream(t, env, 1)
	s.add("hotel-1", 3)
	shard := s.only()
	r := s.reader(shard, checkpoint.Latest)
	first := true
	if got, _ := s.read(r, func([]pipeline.Record, pipeline.Batch) bool { return first }); len(got) != 0 {
		t.Errorf("%d records at latest, want none", len(got))
	}
	s.add("hotel-1", 4)
	got, _ := s.read(r, atLeast(4))
	s.expect("behind latest", got, s.acked[shard][3:])
}

func testTime(t *testing.T, env Env) {
	s := newStream(t, env, 1)
	shard := s.only()
	// Put until the service's arrival times tell two groups apart.
	var all []pipeline.Record
	r := s.reader(shard, checkpoint.TrimHorizon)
	split := -1
	for deadline := time.Now().Add(patience); split < 0; {
		s.add("hotel-1", 2)
		got, _ := s.read(r, func(got []pipeline.Record, _ pipeline.Batch) bool { return len(got) == 2 })
		all = append(all, got...)
		split = slices.IndexFunc(all, func(r pipeline.Record) bool { return r.Arrival.UnixMilli() > all[0].Arrival.UnixMilli() })
		if time.Now().After(deadline) {
			t.Fatalf("%d records within one millisecond", len(all))
		}
	}
	got, _ := s.read(s.reader(shard, checkpoint.At(all[split].Arrival)), atLeast(len(all)-split))
	s.expect("from a time", got, s.acked[shard][split:])
}

func testSizes(t *testing.T, env Env) {
	s := newStream(t, env, 1)
	shard := s.only()
	s.addData("hotel-1", "")
	s.addData("hotel-1", strings.Repeat("x", 1<<20-len("hotel-1")))
	s.addData("hotel-1", "\x00\xff<after/>")
	got, _ := s.read(s.reader(shard, checkpoint.TrimHorizon), atLeast(3))
	s.expect("none, the most and any bytes", got, s.acked[shard])
}

func testMissing(t *testing.T, env Env) {
	s := newStream(t, env, 1)
	once := func(r pipeline.Reader) error {
		if err := r.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err := r.Read(t.Context())
		return err
	}
	if err := once(s.reader("shardId-000000000777", checkpoint.TrimHorizon)); !errors.Is(err, pipeline.ErrShardGone) {
		t.Errorf("missing shard: %v, want ErrShardGone", err)
	}
	other := *s
	other.arn = s.arn + "-missing"
	other.source = other.newSource(env)
	// Whoever reaches another account's stream is not told whether it exists.
	gone := func(err error) bool {
		return errors.Is(err, pipeline.ErrStreamGone) || errors.Is(err, pipeline.ErrDenied)
	}
	if _, err := other.source.Stream(t.Context()); !gone(err) {
		t.Errorf("describe a missing stream: %v, want ErrStreamGone", err)
	}
	if err := once(other.reader("shardId-000000000000", checkpoint.TrimHorizon)); !gone(err) {
		t.Errorf("read a missing stream: %v, want ErrStreamGone", err)
	}
}

func testSplit(t *testing.T, env Env) {
	s := newStream(t, env, 1)
	parent := s.only()
	for i := range 20 {
		s.add(fmt.Sprintf("hotel-%d", i), 1)
	}
	reader := s.reader(parent, checkpoint.TrimHorizon)
	got, _ := s.read(reader, atLeast(20)) // it is at the tip when the split comes
	half := "170141183460469231731687303715884105728"
	if _, err := s.admin.SplitShard(t.Context(), &kinesis.SplitShardInput{StreamName: aws.String(s.name), ShardToSplit: aws.String(parent), NewStartingHashKey: aws.String(half)}); err != nil {
		t.Fatalf("split: %v", err)
	}
	s.active()
	for i := range 20 {
		s.add(fmt.Sprintf("hotel-%d", i), 1)
	}
	rest, last := s.read(reader, atEnd)
	s.expect("parent", append(got, rest...), s.acked[parent])
	s.expectChildren(last.Children, [][]string{{parent}, {parent}})
	if len(last.Children) != 2 {
		return
	}
	ranges := []string{last.Children[0].HashFrom, last.Children[1].HashFrom}
	slices.Sort(ranges)
	if want := []string{"0", half}; !slices.Equal(ranges, want) {
		t.Errorf("children begin at %v, want %v", ranges, want)
	}
	for _, child := range last.Children {
		want := s.acked[child.ID]
		if len(want) == 0 {
			t.Errorf("child %s took no record: the test shows nothing", child.ID)
		}
		got, _ := s.read(s.reader(child.ID, checkpoint.TrimHorizon), atLeast(len(want)))
		s.expect(child.ID, got, want)
	}
	for _, shard := range s.shards() {
		if closed := shard.ID == parent; shard.Closed != closed {
			t.Errorf("shard %s is listed closed: %v, want %v", shard.ID, shard.Closed, closed)
		}
	}
	// A reader that comes later, from the last position, finds the end alone.
	got, last = s.read(s.reader(parent, s.last(parent)), atEnd)
	s.expect("behind the last record of a closed shard", got, nil)
	s.expectChildren(last.Children, [][]string{{parent}, {parent}})
}

// last is the position of the last record of a closed shard.
func (s *stream) last(shard string) checkpoint.Position {
	s.t.Helper()
	all, _ := s.read(s.reader(shard, checkpoint.TrimHorizon), atEnd)
	if len(all) == 0 {
		s.t.Fatalf("shard %s is empty", shard)
	}
	return all[len(all)-1].Position
}

func testMerge(t *testing.T, env Env) {
	s := newStream(t, env, 2)
	for i := range 20 {
		s.add(fmt.Sprintf("hotel-%d", i), 1)
	}
	shards := s.shards()
	if len(shards) != 2 {
		t.Fatalf("%d shards, want 2", len(shards))
	}
	parents := []string{shards[0].ID, shards[1].ID}
	if _, err := s.admin.MergeShards(t.Context(), &kinesis.MergeShardsInput{StreamName: aws.String(s.name), ShardToMerge: aws.String(parents[0]), AdjacentShardToMerge: aws.String(parents[1])}); err != nil {
		t.Fatalf("merge: %v", err)
	}
	s.active()
	for i := range 20 {
		s.add(fmt.Sprintf("hotel-%d", i), 1)
	}
	slices.Sort(parents)
	for _, parent := range parents {
		got, last := s.read(s.reader(parent, checkpoint.TrimHorizon), atEnd)
		s.expect(parent, got, s.acked[parent])
		s.expectChildren(last.Children, [][]string{parents})
		if len(last.Children) == 1 {
			child := last.Children[0].ID
			got, _ := s.read(s.reader(child, checkpoint.TrimHorizon), atLeast(20))
			s.expect("child "+child, got, s.acked[child])
		}
	}
}

// expectChildren compares children with the parents that each should name.
func (s *stream) expectChildren(got []checkpoint.Shard, want [][]string) {
	s.t.Helper()
	if len(got) != len(want) {
		s.t.Errorf("children %+v, want %d", got, len(want))
		return
	}
	for i, child := range got {
		parents := slices.Sorted(slices.Values(child.Parents))
		if !slices.Equal(parents, want[i]) || child.ID == "" || child.HashFrom == "" || child.HashTo == "" {
			s.t.Errorf("child %+v, want parents %v and a range", child, want[i])
		}
	}
}

func testPages(t *testing.T, env Env) {
	s := newStream(t, env, 5)
	want := s.shards()
	if len(want) != 5 {
		t.Fatalf("%d shards, want 5", len(want))
	}
	paged := env
	paged.Base = env.Base.Copy()
	paged.Base.APIOptions = append(slices.Clone(env.Base.APIOptions), limitPages(2))
	got, _, err := s.newSource(paged).Shards(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	same := func(a, b checkpoint.Shard) bool {
		return a.ID == b.ID && a.HashFrom == b.HashFrom && a.Start == b.Start
	}
	if !slices.EqualFunc(got, want, same) {
		t.Errorf("in pages: %+v, want %+v", got, want)
	}
}

func testTrimmed(t *testing.T, env Env) {
	s := newStream(t, env, 1)
	shard := s.only()
	var sequences []string
	for i := range 8 {
		_, sequence := s.addData("hotel-1", fmt.Sprint(i))
		sequences = append(sequences, sequence)
	}
	if err := env.Drop(s.arn, shard, sequences[5]); err != nil {
		t.Fatal(err)
	}
	r := s.reader(shard, checkpoint.Number(sequences[1], 0))
	// The service may refuse the position before the reader goes on from the
	// oldest record.
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var got []pipeline.Record
	for len(got) < 3 {
		if err := r.Wait(ctx); err != nil {
			t.Fatalf("%d records, want 3: %v", len(got), err)
		}
		if batch, err := r.Read(ctx); err == nil {
			got = append(got, batch.Records...)
		}
	}
	s.expect("behind what was trimmed", got, s.acked[shard][5:])
}

func testProducer(t *testing.T, env Env)           { produce(t, env, false) }
func testProducerAggregates(t *testing.T, env Env) { produce(t, env, true) }

func produce(t *testing.T, env Env, aggregate bool) {
	s := newStream(t, env, 2)
	type ack struct {
		data string
		at   checkpoint.Position
	}
	acked := map[string][]ack{} // by key, owned by OnAck until Run is over
	shards := map[string][]string{}
	p := consumers.NewProducer(consumers.ProducerConfig{Client: s.admin, StreamARN: s.arn, Aggregate: aggregate, OnAck: func(m consumers.Message, shard string, at checkpoint.Position) {
		acked[m.Key] = append(acked[m.Key], ack{string(m.Data), at})
		shards[shard] = append(shards[shard], m.Key)
	}})
	done := make(chan error, 1)
	go func() { done <- p.Run(t.Context()) }()
	for i := range 20 {
		for k := range 7 {
			if err := p.Put(t.Context(), consumers.Message{Key: fmt.Sprintf("hotel-%d", k), Data: fmt.Append(nil, i)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	closing, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := errors.Join(p.Close(closing), <-done); err != nil {
		t.Fatal(err)
	}
	read := map[string][]ack{}
	for shard, keys := range shards {
		got, _ := s.read(s.reader(shard, checkpoint.TrimHorizon), atLeast(len(keys)))
		for _, r := range got {
			read[r.PartitionKey] = append(read[r.PartitionKey], ack{string(r.Data), r.Position})
		}
	}
	for k := range 7 {
		key := fmt.Sprintf("hotel-%d", k)
		if len(acked[key]) != 20 || !slices.Equal(read[key], acked[key]) {
			t.Errorf("%s: read %v, acknowledged %v", key, read[key], acked[key])
		}
	}
}

// testAggregated reads aggregated records among others, and begins at every
// position in them.
func testAggregated(t *testing.T, env Env) {
	s := newStream(t, env, 1)
	shard := s.shards()[0]
	s.add("hotel-1", 1)
	s.addAggregate(3, "hotel-2")
	s.addAggregate(2, "hotel-3", "hotel-1")
	s.add("hotel-1", 1)
	want := s.acked[shard.ID]
	all, _ := s.read(s.readerOf(shard, checkpoint.TrimHorizon), atLeast(len(want)))
	s.expect("from the oldest", all, want)
	if len(all) != 9 {
		return
	}
	for i, key := range []string{"hotel-1", "hotel-2", "hotel-2", "hotel-2", "hotel-3", "hotel-1", "hotel-3", "hotel-1", "hotel-1"} {
		if sub := []int64{0, 0, 1, 2, 0, 1, 2, 3, 0}[i]; all[i].PartitionKey != key || all[i].Position.Sub != sub {
			t.Errorf("record %d: key %s at %s, want %s at sub-sequence number %d", i, all[i].PartitionKey, all[i].Position, key, sub)
		}
	}
	behind := map[checkpoint.Position]int{checkpoint.Number(all[4].Position.Sequence, math.MaxInt64): 8}
	for i, r := range all {
		behind[r.Position] = i + 1
	}
	for position, first := range behind {
		got, _ := s.read(s.readerOf(shard, position), atLeast(9-first))
		s.expect("behind "+position.String(), got, want[first:])
	}
}

// testOutOfRange reads an aggregated record with a user record of another
// shard: as others do, nothing of it comes, unless it is asked for.
func testOutOfRange(t *testing.T, env Env) {
	s := newStream(t, env, 2)
	// MD5("a") begins with 0c, MD5("b") with 92: each half has one of them.
	s.add("a", 1)
	s.addAggregate(2, "a", "b")
	shard, _ := s.addData("a", "behind it")
	i := slices.IndexFunc(s.shards(), func(sh checkpoint.Shard) bool { return sh.ID == shard })
	if i < 0 {
		t.Fatalf("shard %s is not listed", shard)
	}
	all := s.acked[shard]
	got, _ := s.read(s.readerOf(s.shards()[i], checkpoint.TrimHorizon), atLeast(2))
	s.expect("dropped", got, []string{all[0], all[5]})
	if len(got) != 3 || !got[1].Blank || got[1].Position.Sub != 3 {
		t.Errorf("%d records came, want the position of the fourth user record between two", len(got))
	}
	got, _ = s.read(s.readerOf(s.shards()[i], checkpoint.TrimHorizon, func(c *consumers.Config) { c.OutOfRange = consumers.DeliverOutOfRange }), atLeast(6))
	s.expect("delivered", got, all)
}
