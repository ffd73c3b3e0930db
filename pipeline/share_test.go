package pipeline_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/pipeline"
)

// sharer is an inbox that knows its share.
type sharer struct {
	*inbox
	mu    sync.Mutex
	share float64
}

func (s *sharer) SetShare(share float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.share = share
}

func (s *sharer) expect(t *testing.T, want float64) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.share != want {
		t.Errorf("%s has a share of %v, want %v", s.name, s.share, want)
	}
}

// TestShares follows the limits of a destination over a fleet: they go with the
// leases that there is something to read of.
func TestShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{t: t, tape: newTape("a", "b", "c", "d"), store: &checkpoint.Memory{}}
		one, two := &sharer{inbox: newInbox("d")}, &sharer{inbox: newInbox("d")}
		stopOne := f.start(pipeline.Initial{}, one)
		time.Sleep(30 * time.Second)
		one.expect(t, 1)
		stopTwo := f.start(pipeline.Initial{}, two)
		time.Sleep(2 * time.Minute)
		one.expect(t, .5)
		two.expect(t, .5)
		// Finished shards that nobody is behind on count no more: 3 and 2 are read.
		f.tape.split("a", "a1", "a2")
		time.Sleep(2 * time.Minute)
		one.mu.Lock()
		two.mu.Lock()
		if sum := one.share + two.share; sum < .99 || sum > 1.01 || one.share != .4 && one.share != .6 {
			t.Errorf("shares %v and %v of five leases, want .4 and .6", one.share, two.share)
		}
		two.mu.Unlock()
		one.mu.Unlock()
		stopTwo()
		time.Sleep(2 * time.Minute)
		one.expect(t, 1)
		stopOne()
	})
}
