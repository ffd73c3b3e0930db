package pipeline_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/pipeline"
)

// safe is an inbox that saves what the stream is about to trim.
type safe struct {
	*inbox
	before time.Duration
	hand   *pipeline.Entry // taken, and not settled
	saved  []string
}

// next is the first entry that is not settled. s.mu is held.
func (s *safe) next(c *pipeline.Cursor) *pipeline.Entry {
	if s.hand == nil {
		s.hand = c.Next()
	}
	return s.hand
}

func (s *safe) settle(c *pipeline.Cursor) {
	c.Settle(s.hand)
	s.hand = nil
}

func (s *safe) Wake(c *pipeline.Cursor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.shut && s.next(c) != nil {
		s.got = append(s.got, string(s.hand.Data))
		s.settle(c)
	}
}

// open lets it take what comes, and what it holds.
func (s *safe) open() {
	s.setShut(false)
	s.mu.Lock()
	in := slices.Collect(maps.Keys(s.in))
	s.mu.Unlock()
	for _, c := range in {
		s.Wake(c)
	}
}

func (s *safe) Leave(c *pipeline.Cursor, way pipeline.Way) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hand = nil
	c.Left(way)
}

func (s *safe) Detach(c *pipeline.Cursor) {
	s.mu.Lock()
	s.hand = nil
	s.mu.Unlock()
	s.inbox.Detach(c)
}

func (s *safe) BeforeTrim() time.Duration { return s.before }

func (s *safe) Expire(c *pipeline.Cursor, before time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for e := s.next(c); e != nil && e.Arrival.Before(before); e = s.next(c) {
		s.saved = append(s.saved, string(e.Data))
		s.settle(c)
	}
	return true
}

// takeSaved empties what was saved.
func (s *safe) takeSaved() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	saved := strings.Join(s.saved, ", ")
	s.saved = nil
	return saved
}

// A destination that is down costs no reads, until the stream is about to trim
// what it lacks: that is saved, and nothing younger, wherever the destination
// stands: behind, or in a new tenure, or alone on the shard.
func TestExpire(t *testing.T) {
	const retention, before = 36 * time.Minute, 12 * time.Minute
	for _, c := range []struct {
		name  string
		alone bool
		moves bool // the shard has a new owner
		never bool // before_trim: 0
	}{
		{name: "a laggard"},
		{name: "with a new owner", moves: true},
		{name: "nobody else", alone: true},
		{name: "nobody else, with a new owner", alone: true, moves: true},
		{name: "one that saves nothing", never: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tape := newTape("shard-0")
				tape.retention = retention
				f := &fleet{t: t, tape: tape, store: &checkpoint.Memory{}}
				well, down := newInbox("well"), &safe{inbox: newInbox("down"), before: before}
				if c.never {
					down.before = 0
				}
				down.setShut(true)
				subscribers := []pipeline.Subscriber{well, down}
				if c.alone {
					subscribers = subscribers[1:]
				}
				stop := f.start(pipeline.Initial{}, subscribers...)
				tape.put("shard-0", "a 1", "b 2")
				time.Sleep(2 * time.Minute)
				tape.put("shard-0", "a 3")
				time.Sleep(time.Minute)
				tape.countAgain()
				time.Sleep(6 * time.Minute)
				if n := tape.countAgain(); n > 0 {
					t.Errorf("%d reads for one that is down", n)
				}
				if c.moves {
					stop()
					stop = f.start(pipeline.Initial{}, subscribers...)
				}
				time.Sleep(retention - before - 12*time.Minute)
				if got := down.takeSaved(); got != "" {
					t.Errorf("saved %q, long before they are trimmed", got)
				}
				time.Sleep(4*time.Minute + 30*time.Second)
				want := "a 1, b 2"
				if c.never {
					want = ""
				}
				if got := down.takeSaved(); got != want {
					t.Errorf("saved %q, want %q", got, want)
				}
				down.open()
				time.Sleep(time.Minute)
				want = "a 3"
				if c.never {
					want = "a 1, b 2, a 3"
				}
				expect(t, down.inbox, want)
				if !c.alone {
					expect(t, well, "a 1, b 2, a 3")
				}
				stop()
			})
		})
	}
}
