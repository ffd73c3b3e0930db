package main

import (
	"fmt"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/internal/localaws"
)

// TestCleanStop stops a busy worker by SIGTERM again and again: it exits 0,
// its leases have no owner any more, and no destination, fast or slow, gets a
// record twice from the next one.
func TestCleanStop(t *testing.T) {
	t.Parallel()
	s := newScene(t, localaws.Config{}, 2, 1)
	for i, d := range []time.Duration{0, 2 * time.Millisecond, 15 * time.Millisecond, 60 * time.Millisecond} {
		s.receiver(fmt.Sprintf("takes-%s", []string{"0ms", "2ms", "15ms", "60ms"}[i])).slow(d)
	}
	slowest := s.receivers[3]
	// A long fail-over time: who had to wait for it would be seen.
	config := s.config(settings{failover: 20 * time.Second, drain: 30 * time.Second})
	s.some(300, 40)
	const stops = 4
	for n := range stops {
		began := time.Now()
		before := slowest.count()
		p := s.start(config)
		slowest.awaitCount(t, before+15)
		if took := time.Since(began); n > 0 && took > 15*time.Second {
			t.Errorf("start %d: the first attempts after %s: the leases were not free", n, took)
		}
		s.some(20, 40)
		p.stop()
		s.checkReleased(t)
		if err := s.missing(slowest, s.messages()); err == nil && n == 0 {
			t.Error("the worker was not busy when it stopped: the test tests less than it says")
		}
	}
	last := s.start(config)
	s.awaitThrough(s.receivers...)
	last.stop()
	s.checkReleased(t)
	for _, r := range s.receivers {
		if result := s.check(r); result.Duplicates != 0 {
			t.Errorf("%s: %d duplicates over %d clean stops", r.name, result.Duplicates, stops)
		}
		if r.count() != len(s.messages()) {
			t.Errorf("%s: %d attempts for %d messages", r.name, r.count(), len(s.messages()))
		}
	}
}

// checkReleased says that no lease has an owner.
func (s *scene) checkReleased(t *testing.T) {
	t.Helper()
	for _, item := range s.scan(application).Items {
		if owner, has := item["leaseOwner"]; has {
			t.Errorf("after a clean stop a lease has the owner %v", owner)
		}
	}
}

// TestCleanStopWithADestinationThatIsDown stops while one destination cannot
// deliver: it keeps its place, the others get nothing twice, and the stop does
// not wait for it longer than the drain time-out.
func TestCleanStopWithADestinationThatIsDown(t *testing.T) {
	t.Parallel()
	s := newScene(t, localaws.Config{}, 2)
	well, down, refused := s.receiver("well"), s.receiver("down"), s.receiver("refused")
	down.behaves(func(*request) reply { return reply{status: http.StatusServiceUnavailable} })
	refused.behaves(func(*request) reply { return reply{status: http.StatusUnauthorized} })
	config := s.config(settings{failover: 20 * time.Second, drain: 3 * time.Second,
		destinations: []destinationSettings{{receiver: well}, {receiver: down, more: "retry: {initial: 100ms, max: 200ms}"}, {receiver: refused}}})
	s.some(100, 10)
	first := s.start(config)
	s.awaitThrough(well)
	down.awaitCount(t, 20)
	refused.awaitCount(t, 1)
	began := time.Now()
	first.stop()
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the stop took %s with a drain time-out of 3s", took)
	}
	s.checkReleased(t)
	s.awaitLeases("who is down is behind", func(leases []checkpoint.Lease) error {
		for _, l := range leases {
			for _, name := range []string{"down", "refused"} {
				if _, behind := l.Behind[name]; !behind {
					return fmt.Errorf("%s is not behind on %s, which is at %s", name, l.Key, l.Checkpoint)
				}
			}
			if _, behind := l.Behind["well"]; behind {
				return fmt.Errorf("well is behind on %s", l.Key)
			}
		}
		return nil
	})
	down.behaves(nil)
	refused.behaves(nil)
	s.some(30, 10)
	second := s.start(config)
	s.awaitThrough(well, down, refused)
	second.stop()
	for _, r := range s.receivers {
		if result := s.check(r); result.Duplicates != 0 {
			t.Errorf("%s: %d duplicates", r.name, result.Duplicates)
		}
	}
}

// TestSecondSignal ends a worker at once that waits for a destination that
// hangs.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	s := newScene(t, localaws.Config{}, 1)
	hangs := s.receiver("hangs")
	hangs.behaves(func(*request) reply {
		return reply{instead: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }}
	})
	config := s.config(settings{drain: 10 * time.Minute, delivery: "timeout: 10m", destinations: []destinationSettings{{receiver: hangs}}})
	s.some(5, 5)
	p := s.start(config)
	hangs.awaitCount(t, 1)
	p.signal(syscall.SIGTERM)
	p.awaitLog("stopping")
	if p.ended() {
		t.Fatal("the first signal ended it although an attempt is in flight")
	}
	p.signal(syscall.SIGTERM)
	p.awaitSignal(syscall.SIGTERM)
}
