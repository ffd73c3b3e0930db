package main

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/internal/localaws"
)

func shardID(n int) string { return fmt.Sprintf("shardId-%012d", n) }

func (s *scene) split(n int) {
	s.t.Helper()
	if err := s.aws.SplitShard(s.streams[0].arn, shardID(n)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) merge(a, b int) {
	s.t.Helper()
	if err := s.aws.MergeShards(s.streams[0].arn, shardID(a), shardID(b)); err != nil {
		s.t.Fatal(err)
	}
}

// begun says that these shards are read: they are owned and have a position,
// or are finished.
func begun(shards ...int) func([]checkpoint.Lease) error {
	return func(leases []checkpoint.Lease) error {
		at := make(map[string]checkpoint.Lease)
		for _, l := range leases {
			at[l.Shard] = l
		}
		for _, n := range shards {
			if l := at[shardID(n)]; !l.Finished() && (l.Owner == "" || !l.Checkpoint.IsNumber()) {
				return fmt.Errorf("%s is at %s, owner %q", shardID(n), l.Checkpoint, l.Owner)
			}
		}
		return nil
	}
}

// TestReshard splits and merges under load, with kills, stops and new workers
// between. Shard 1 is as old as the stream when it is merged with a grandchild
// of shard 0.
//
//	0 ─┬─ 2 ──────────┐
//	   └─ 3 ─┬─ 4 ─┐  │
//	         └─ 5 ─┼──┼─┐
//	1 ─────────────┼──┼─┴─ 6 ─┬─ 8
//	               └──┴─ 7    └─ 9
func TestReshard(t *testing.T) {
	t.Parallel()
	s := newScene(t, localaws.Config{}, 2, 1)
	quick, slow := s.receiver("quick"), s.receiver("slow").slow(4*time.Millisecond)
	refusing := s.receiver("refusing").behaves(func(q *request) reply {
		if q.digest[0] < 10 {
			return reply{status: http.StatusBadRequest}
		}
		return accept()
	})
	config := s.config(settings{})
	s.some(100, 40)
	stopFeeding := s.keepFeeding(4, 40, 20*time.Millisecond)

	one, two := s.start(config), s.start(config)
	s.awaitLeases("they share", ownedBy(1, one, two))
	s.split(0)
	s.awaitLeases("the children have begun", begun(2, 3))
	one.kill()
	one = s.start(config)
	s.split(3)
	two.stop()
	two = s.start(config)
	s.awaitLeases("the grandchildren have begun", begun(4, 5))
	s.merge(5, 1)
	one.kill()
	s.merge(2, 4)
	two.kill()
	one, two = s.start(config), s.start(config)
	s.awaitLeases("the merged ones have begun", begun(6, 7))
	s.split(6)
	one.stop()
	s.awaitLeases("the last ones have begun", begun(7, 8, 9))
	stopFeeding()
	s.awaitThrough(quick, slow, refusing)
	s.awaitLeases("every closed shard is finished", func(leases []checkpoint.Lease) error {
		for _, l := range leases {
			open := l.Shard == shardID(7) || l.Shard == shardID(8) || l.Shard == shardID(9) || l.Stream[:12] == resortsAccount
			if l.Finished() == open || !open && (l.Owner != "" || len(l.Behind) > 0) {
				return fmt.Errorf("%s is at %s, its owner is %q, and %d are behind", l.Key, l.Checkpoint, l.Owner, len(l.Behind))
			}
		}
		return nil
	})
	two.stop()
	for _, r := range s.receivers {
		s.check(r)
	}
	s.checkParentsFinished(t)
}

// TestReshardWithoutADestination splits a shard and merges its children while
// one destination is not in the configuration. When it is back it gets the
// ancestors first, and the others do not get anything again.
func TestReshardWithoutADestination(t *testing.T) {
	t.Parallel()
	s := newScene(t, localaws.Config{}, 1)
	stays, returns := s.receiver("stays"), s.receiver("returns")
	both := s.config(settings{failover: 5 * time.Second})
	alone := s.config(settings{failover: 5 * time.Second, destinations: []destinationSettings{{receiver: stays}}})

	s.some(40, 10)
	p := s.start(both)
	s.awaitThrough(stays, returns)
	p.stop()

	s.some(40, 10)
	s.split(0)
	s.some(40, 10)
	p = s.start(alone)
	s.awaitThrough(stays)
	s.merge(1, 2)
	s.some(40, 10)
	s.awaitThrough(stays)
	s.awaitLeases("the merged one has begun", begun(3))
	p.stop()
	got := returns.count()

	s.some(40, 10)
	p = s.start(both)
	s.awaitThrough(stays, returns)
	s.some(40, 10)
	s.awaitThrough(stays, returns)
	p.stop()
	if n := returns.count() - got; n != 200 {
		t.Errorf("returns got %d requests when it was back, want 200", n)
	}
	for _, r := range s.receivers {
		if result := s.check(r); result.Duplicates != 0 {
			t.Errorf("%s: %d duplicates although every stop was clean", r.name, result.Duplicates)
		}
	}
	s.checkParentsFinished(t)
}

// TestScale scales a stream again and again, as an on-demand stream does by
// itself: several generations at once, before anybody has seen the first, and
// some of them trimmed at first sight.
func TestScale(t *testing.T) {
	t.Parallel()
	s := newScene(t, localaws.Config{}, 2)
	r := s.receiver("channel")
	config := s.config(settings{failover: 3 * time.Second})
	scale := func(shards int) {
		t.Helper()
		if err := s.aws.Scale(s.streams[0].arn, shards); err != nil {
			t.Fatal(err)
		}
		s.some(40, 20)
	}
	s.some(40, 20)
	scale(3) // splits and merges in one step: three generations
	scale(5)
	one := s.start(config)
	s.awaitThrough(r)
	two := s.start(config)
	for _, n := range []int{3, 4, 2} {
		scale(n)
	}
	s.awaitThrough(r)
	one.kill()
	scale(3)
	s.awaitThrough(r)
	open := 3
	s.awaitLeases("the open shards alone are not finished", func(leases []checkpoint.Lease) error {
		n := 0
		for _, l := range leases {
			if !l.Finished() {
				n++
			}
		}
		if n != open {
			return fmt.Errorf("%d leases are not finished, want %d", n, open)
		}
		return nil
	})
	two.stop()
	s.check(r)
	s.checkParentsFinished(t)
}
