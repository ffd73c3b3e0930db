package main

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/internal/localaws"
)

// keepFeeding puts messages until stop is called, which waits for the last.
func (s *scene) keepFeeding(n, keys int, every time.Duration, streams ...*stream) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				s.some(n, keys, streams...)
			case <-quit:
				return
			}
		}
	}()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			close(quit)
			<-done
		}
	}
	s.t.Cleanup(stop)
	return stop
}

// ownedBy says that the open shards are spread over these workers, each with
// at least the given number, and nobody else has one.
func ownedBy(least int, workers ...*process) func([]checkpoint.Lease) error {
	return func(leases []checkpoint.Lease) error {
		n := make(map[string]int)
		for _, l := range leases {
			if !l.Finished() {
				if l.HandingOver != "" {
					return fmt.Errorf("%s is being handed over", l.Key)
				}
				n[l.Owner]++
			}
		}
		for _, p := range workers {
			if n[p.name] < least {
				return fmt.Errorf("owners are %v", n)
			}
			delete(n, p.name)
		}
		if len(n) > 0 {
			return fmt.Errorf("others own %v", n)
		}
		return nil
	}
}

// TestSeveralWorkers lets a second worker share, a third one too, kills one,
// and stops one, under load.
func TestSeveralWorkers(t *testing.T) {
	t.Parallel()
	s := newScene(t, localaws.Config{}, 4, 2)
	quick, slow := s.receiver("quick"), s.receiver("slow").slow(5*time.Millisecond)
	config := s.config(settings{failover: 3 * time.Second})
	stopFeeding := s.keepFeeding(6, 60, 20*time.Millisecond)

	first := s.start(config)
	s.awaitLeases("a lone worker owns every shard", ownedBy(6, first))
	quick.awaitCount(t, 50)
	second := s.start(config)
	s.awaitLeases("a second worker shares", ownedBy(3, first, second))
	third := s.start(config)
	s.awaitLeases("a third worker shares", ownedBy(2, first, second, third))
	await(t, "all three deliver", func() error {
		if w := slow.workers(); len(w) < 3 {
			return fmt.Errorf("%v do", w)
		}
		return nil
	})
	// So far everything was handed over by draining: nobody saw a record twice.
	for _, r := range s.receivers {
		for digest, n := range r.acceptedOften() {
			t.Errorf("%s: %s number %d was delivered %d times without a crash", r.name, s.of[digest].key, s.of[digest].index, n)
		}
	}

	began := time.Now()
	second.kill()
	second.awaitEnd()
	s.awaitLeases("the killed one's shards are taken", ownedBy(3, first, third))
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("the killed one's shards were taken after %s with a fail-over time of 3s", took)
	}
	first.stop()
	s.awaitLeases("the stopped one's shards are taken", ownedBy(6, third))
	stopFeeding()
	s.awaitThrough(quick, slow)
	third.stop()
	for _, r := range s.receivers {
		s.check(r)
	}
}

// acceptedOften are the messages that were accepted more than once.
func (r *receiver) acceptedOften() map[[32]byte]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	often := make(map[[32]byte]int)
	for d, n := range r.accepted {
		if n > 1 {
			often[d] = n
		}
	}
	return often
}

// listed says that every lease's roster lists the names.
func listed(names ...string) func([]checkpoint.Lease) error {
	return func(leases []checkpoint.Lease) error {
		for _, l := range leases {
			for _, name := range names {
				if !slices.Contains(l.Roster, name) {
					return fmt.Errorf("the roster of %s is %v", l.Key, l.Roster)
				}
			}
		}
		return nil
	}
}

// TestRollingRestart changes the destinations worker by worker, under load, so
// that old and new configurations meet, and rolls the change back.
//
//	old configuration: stays, removed, before
//	new configuration: stays, after (before, renamed), oldest and newest (added)
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	s := newScene(t, localaws.Config{}, 3, 1)
	stays, removed := s.receiver("stays"), s.receiver("removed")
	before, after := s.receiver("before"), s.receiver("after")
	oldest, newest := s.receiver("oldest"), s.receiver("newest")
	older := s.config(settings{failover: 5 * time.Second, destinations: []destinationSettings{{receiver: stays}, {receiver: removed}, {receiver: before}}})
	newer := s.config(settings{failover: 5 * time.Second, destinations: []destinationSettings{{receiver: stays},
		{receiver: after, more: "initial_position: latest"},
		{receiver: oldest, more: "initial_position: trim_horizon"},
		{receiver: newest, more: "initial_position: latest"}}})

	s.some(100, 20)
	one, two := s.start(older), s.start(older)
	s.awaitLeases("two workers share", ownedBy(2, one, two))
	s.awaitThrough(stays, removed, before)
	stopFeeding := s.keepFeeding(2, 20, 20*time.Millisecond)

	// Old and new configuration meet.
	one.stop()
	one = s.start(newer)
	s.awaitLeases("they share again", ownedBy(2, one, two))
	two.stop()
	s.awaitLeases("the newer one has everything", ownedBy(4, one))
	two = s.start(newer)
	s.awaitLeases("they share again", ownedBy(2, one, two))
	s.awaitLeases("everybody is on every roster", listed("stays", "removed", "before", "after", "oldest", "newest"))
	mark := s.mark()
	unserved := removed.count()
	s.some(100, 20)
	s.awaitThrough(stays, oldest)
	s.awaitSince(mark, after, newest)
	if n := removed.count(); n != unserved {
		t.Errorf("removed got %d requests while nobody's configuration had it", n-unserved)
	}

	// Rolled back: whoever was removed goes on at its place.
	one.stop()
	one = s.start(older)
	s.awaitLeases("they share again", ownedBy(2, one, two))
	two.stop()
	stopFeeding()
	s.awaitThrough(stays, removed, before)

	// And forward again: the others go on at theirs.
	two = s.start(newer)
	s.awaitLeases("they share again", ownedBy(2, one, two))
	one.stop()
	s.awaitThrough(stays, oldest)
	s.awaitSince(mark, after, newest)
	two.stop()

	for _, r := range []*receiver{stays, removed, before, oldest} {
		if result := s.check(r); result.Duplicates != 0 {
			t.Errorf("%s: %d duplicates although every stop was clean", r.name, result.Duplicates)
		}
	}
	for _, r := range []*receiver{after, newest} {
		if result := s.checkSince(mark, r); result.Duplicates != 0 {
			t.Errorf("%s: %d duplicates although every stop was clean", r.name, result.Duplicates)
		}
		if n, all := r.count(), len(s.messages()); n >= all {
			t.Errorf("%s: %d requests for %d messages: it was to begin with the latest", r.name, n, all)
		}
	}
}
