package main

import (
	"math/rand/v2"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/shardline/shardline/internal/localaws"
)

// TestKilledAtSeededMoments feeds two workers and kills one of them 50 times
// (SIGKILL), always the one that has just made an attempt: before the answer,
// with the answer, or a moment later, in the midst of saves, takes and
// renewals. Another one starts in its place.
func TestKilledAtSeededMoments(t *testing.T) {
	t.Parallel()
	kills := 50
	if testing.Short() {
		kills = 8
	}
	s := newScene(t, localaws.Config{}, 3, 2)
	quick, slow, refusing := s.receiver("quick"), s.receiver("slow").slow(3*time.Millisecond), s.receiver("refusing")
	refusing.behaves(func(q *request) reply {
		if q.digest[0] < 10 { // some go to the dead letters
			return reply{status: http.StatusUnprocessableEntity}
		}
		if q.digest[1] < 20 && q.attempt == 1 { // some are tried again
			return reply{status: http.StatusServiceUnavailable}
		}
		return accept()
	})
	config := s.config(settings{})
	k := &killer{s: s, left: kills, workers: make(map[string]*process), again: make(chan struct{}, kills)}
	for _, r := range s.receivers {
		r.sees(k.see)
	}
	s.some(200, 40)
	for range 2 {
		k.start(config)
	}
	feeding := time.NewTicker(20 * time.Millisecond)
	defer feeding.Stop()
	for deadline := time.Now().Add(3 * patience); k.remaining() > 0 || s.started < kills+2; {
		select {
		case <-feeding.C:
			if s.keepsUp(slow) {
				s.some(6, 40)
			}
		case <-k.again:
			k.start(config)
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d kills are left: the workers make no attempts", k.remaining())
		}
	}
	t.Logf("%d messages, %d processes", len(s.messages()), s.started)
	s.awaitThrough(quick, slow, refusing)
	k.stop()
	for _, r := range s.receivers {
		result := s.check(r)
		t.Logf("%s: %d delivered, %d dead-lettered, %d duplicates", r.name, result.Delivered, result.DeadLettered, result.Duplicates)
	}
	if result := s.check(refusing); result.DeadLettered == 0 {
		t.Error("nothing was dead-lettered: the test tests less than it says")
	}
}

// killer kills the worker that makes an attempt at seeded moments.
type killer struct {
	s     *scene
	again chan struct{} // one for every kill

	mu      sync.Mutex
	rng     *rand.Rand
	left    int // kills
	until   int // attempts until the next kill; 0: to be drawn
	workers map[string]*process
}

func (k *killer) start(config string) {
	p := k.s.start(config)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.workers[p.name] = p
}

func (k *killer) remaining() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.left
}

// see counts an attempt. It is called before the attempt is answered.
func (k *killer) see(q request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	victim := k.workers[q.worker]
	if k.left == 0 || victim == nil { // it is dead: its last requests
		return
	}
	if k.rng == nil {
		k.rng = rand.New(rand.NewPCG(k.s.seed, 2))
	}
	if k.until == 0 {
		k.until = 1 + k.rng.IntN(120)
	}
	if k.until--; k.until > 0 {
		return
	}
	k.left--
	delete(k.workers, q.worker)
	switch k.rng.IntN(3) {
	case 0: // before the answer
		victim.kill()
		k.again <- struct{}{}
	default: // about with the answer, or somewhat later
		time.AfterFunc(time.Duration(k.rng.IntN(300))*time.Millisecond, func() {
			victim.kill()
			k.again <- struct{}{}
		})
	}
}

// stop ends the workers that live. Those that the last kills meant may still
// end otherwise.
func (k *killer) stop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, p := range k.workers {
		p.stop()
	}
}

// TestCrashPoints ends a worker at every named point between a delivery and
// its save; a fresh one takes over.
func TestCrashPoints(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		at      string // POINT:N
		reshard bool   // the shard has ended
		stop    bool   // the point is on the way of a clean stop
	}{
		{at: beforeAttempt + ":1"},
		{at: beforeAttempt + ":25"},
		{at: afterAnswer + ":1"},
		{at: afterAnswer + ":25"},
		{at: beforeDeadLetter + ":2"},
		{at: afterDeadLetter + ":2"},
		{at: beforeSave + ":1"},
		{at: afterSave + ":1"},
		{at: beforeRosterSave + ":1"},
		{at: afterRosterSave + ":1"},
		{at: afterTake + ":1"},
		{at: beforeCreateChildren + ":1", reshard: true},
		{at: beforeCreateChildren + ":2", reshard: true},
		{at: afterCreateChildren + ":1", reshard: true},
		{at: beforeShardEnd + ":1", reshard: true},
		{at: afterShardEnd + ":1", reshard: true},
		{at: beforeRosterSave + ":3", reshard: true}, // a child's
		{at: beforeRelease + ":1", stop: true},
		{at: afterRelease + ":1", stop: true},
	} {
		t.Run(c.at, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, localaws.Config{}, 2)
			plain, refusing := s.receiver("plain"), s.receiver("refusing")
			refusing.behaves(func(q *request) reply {
				if q.digest[0] < 64 {
					return reply{status: http.StatusBadRequest, body: "no such hotel"}
				}
				return accept()
			})
			plain.slow(2 * time.Millisecond)
			config := s.config(settings{})
			s.some(80, 8)
			if c.reshard {
				if err := s.aws.SplitShard(s.streams[0].arn, "shardId-000000000000"); err != nil {
					t.Fatal(err)
				}
				s.some(40, 8)
			}
			crashes := s.start(config, envCrash+"="+c.at)
			if c.stop {
				plain.awaitCount(t, 30)
				crashes.signal(syscall.SIGTERM)
			}
			crashes.awaitSignal(syscall.SIGKILL)
			if crashes.logged(crashing) == "" {
				t.Fatal("it was killed, but not at the point")
			}
			s.some(40, 8)
			fresh := s.start(config)
			s.awaitThrough(plain, refusing)
			fresh.stop()
			for _, r := range s.receivers {
				s.check(r)
			}
			if n := s.check(refusing).DeadLettered; n == 0 {
				t.Error("nothing was dead-lettered: the test tests less than it says")
			}
			s.checkParentsFinished(t)
		})
	}
}

// checkParentsFinished says that every closed shard is at its end in the table.
func (s *scene) checkParentsFinished(t *testing.T) {
	t.Helper()
	leases, err := s.leases()
	if err != nil {
		t.Fatal(err)
	}
	shards := make(map[string]bool)
	for _, l := range leases {
		shards[l.Stream+l.Shard] = l.Finished()
		// A finished one may have been its owner's last; one without a tenure was handed to
		// a worker that ended before it took it.
		if l.Owner != "" && l.Tenure != "" && !l.Finished() {
			t.Errorf("lease %s has still the owner %s", l.Key, l.Owner)
		}
		if len(l.Behind) > 0 {
			t.Errorf("lease %s: somebody is behind: %v", l.Key, l.Behind)
		}
	}
	for _, l := range leases {
		for _, parent := range l.Parents {
			if finished, has := shards[l.Stream+parent]; has && !finished {
				t.Errorf("%s has begun, its parent %s has not finished", l.Shard, parent)
			}
		}
	}
	if len(leases) == 0 {
		t.Error("no leases")
	}
}
