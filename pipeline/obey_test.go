package pipeline_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/pipeline"
)

// settle lets everybody come to rest.
func settle(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// obeyed says that every shard has acknowledged a version, or has no owner.
func obeyed(t *testing.T, s checkpoint.Store, version int64) {
	t.Helper()
	leases, err := s.ListNow(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range checkpoint.Acknowledgements(leases, version) {
		if a.Obedience == checkpoint.Waiting {
			t.Errorf("%s: %s has not acknowledged version %d", a.Shard, a.Owner, version)
		}
	}
}

// TestPause pauses one of two destinations: the other one goes on, a restart
// changes nothing, and in the end each has everything once, in order.
func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{t: t, tape: newTape("s"), store: &checkpoint.Memory{}}
		d, e := &holdable{inbox: newInbox("d")}, newInbox("e")
		stop := f.start(pipeline.Initial{}, d, e)
		f.tape.put("s", "k 1", "k 2")
		settle(5 * time.Second)
		expect(t, d.inbox, "k 1, k 2")
		expect(t, e, "k 1, k 2")

		pause := order(t, f.store, checkpoint.PauseVerb)
		settle(6 * time.Second)
		obeyed(t, f.store, pause.Version)
		f.tape.put("s", "k 3", "l 4")
		settle(5 * time.Second)
		expect(t, d.inbox, "")
		expect(t, e, "k 3, l 4")
		leases, _ := f.store.ListNow(t.Context())
		if l := leases[0]; l.Checkpoint != checkpoint.Number("4", 0) || l.Behind["d"].At != checkpoint.Number("2", 0) {
			t.Errorf("the checkpoint is %s, d behind at %s", l.Checkpoint, l.Behind["d"].At)
		}
		stop()

		stop = f.start(pipeline.Initial{}, d, e)
		f.tape.put("s", "k 5")
		settle(20 * time.Second)
		expect(t, d.inbox, "")
		expect(t, e, "k 5")
		resume := order(t, f.store, checkpoint.ResumeVerb)
		settle(10 * time.Second)
		obeyed(t, f.store, resume.Version)
		expect(t, d.inbox, "k 3, l 4, k 5")
		f.tape.put("s", "k 6")
		settle(5 * time.Second)
		expect(t, d.inbox, "k 6")
		expect(t, e, "k 6")
		stop()
	})
}

// slow is a destination whose deliveries take a while: each is in flight until
// it is told to end.
type slow struct {
	*inbox
	flying *pipeline.Cursor // one delivery at a time, of any shard
	landed chan struct{}    // closed when that one has ended
	over   chan struct{}
}

func (s *slow) Wake(c *pipeline.Cursor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flying != nil {
		return
	}
	e := c.Next()
	if e == nil {
		return
	}
	landed := make(chan struct{})
	s.flying, s.landed = c, landed
	s.got = append(s.got, string(e.Data))
	go func() {
		defer close(landed)
		<-s.over
		s.mu.Lock()
		defer s.mu.Unlock()
		s.flying = nil
		c.Settle(e)
	}()
}

func (s *slow) Leave(c *pipeline.Cursor, way pipeline.Way) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.Left(way)
}

func (s *slow) Detach(c *pipeline.Cursor) {
	s.mu.Lock()
	flying, landed := s.flying == c, s.landed
	s.mu.Unlock()
	if flying {
		<-landed
	}
	s.inbox.Detach(c)
}

func (s *slow) Busy(c *pipeline.Cursor) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.flying == c
}

// TestPauseWaitsForFlight: a pause is acknowledged when what was in flight has
// ended, and not before.
func TestPauseWaitsForFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{t: t, tape: newTape("s"), store: &checkpoint.Memory{}}
		d := &slow{inbox: newInbox("d"), over: make(chan struct{})}
		f.tape.put("s", "k 1", "k 2")
		stop := f.start(pipeline.Initial{}, d)
		settle(5 * time.Second)
		expect(t, d.inbox, "k 1")
		pause := order(t, f.store, checkpoint.PauseVerb)
		other := order(t, f.store, checkpoint.HoldVerb, "x")
		settle(10 * time.Second)
		l, _ := f.store.ListNow(t.Context())
		if l[0].Acknowledged != pause.Version-1 {
			t.Errorf("acknowledged %d with an attempt in flight, want %d", l[0].Acknowledged, pause.Version-1)
		}
		close(d.over)
		settle(5 * time.Second)
		obeyed(t, f.store, other.Version)
		stop()
		expect(t, d.inbox, "")
	})
}

// replay replays d from a time.
func replay(t *testing.T, s checkpoint.Store, from checkpoint.Position) checkpoint.Answer {
	t.Helper()
	a, err := checkpoint.Give(t.Context(), s, checkpoint.Command{Verb: checkpoint.ReplayVerb, Destinations: []string{"d"}, From: from}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestReplay replays one of two destinations over a split whose parent's lease
// is removed by then: in order over the split, from the time on, nobody else
// anything, and what comes meanwhile once.
func TestReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{t: t, tape: newTape("s"), store: &checkpoint.Memory{}}
		d, e := &holdable{inbox: newInbox("d")}, newInbox("e")
		stop := f.start(pipeline.Initial{}, d, e)
		f.tape.put("s", "k 1", "l 1")
		settle(10 * time.Second)
		from := time.Now()
		f.tape.put("s", "k 2", "l 2")
		settle(10 * time.Second)
		f.tape.split("s", "s-1", "s-2")
		f.tape.put("s-1", "k 3", "k 4")
		f.tape.put("s-2", "l 3")
		settle(5 * time.Minute) // the parent's lease is removed
		leases, _ := f.store.ListNow(t.Context())
		if len(leases) != 2 {
			t.Fatalf("%d leases, want those of the children alone", len(leases))
		}
		for _, box := range []*inbox{d.inbox, e} {
			if got := sortedByKey(box.take()); got != "k 1, k 2, k 3, k 4, l 1, l 2, l 3" {
				t.Errorf("%s got %s", box.name, got)
			}
		}
		replay(t, f.store, checkpoint.At(from))
		f.tape.put("s-1", "k 5")
		settle(2 * time.Minute)
		got := d.take()
		if sortedByKey(got) != "k 5, k 2, k 3, k 4, k 5, l 2, l 3" && sortedByKey(got) != "k 2, k 3, k 4, k 5, l 2, l 3" {
			t.Errorf("d got %q", got) // k 5 may come before the pause
		}
		expect(t, e, "k 5")
		desired, _ := f.store.Desired(t.Context())
		if w := desired.Wish("d"); w.Replay != nil || w.Replayed == nil {
			t.Errorf("the replay is not over: %+v", w)
		}
		settle(5 * time.Minute)
		if leases, _ := f.store.ListNow(t.Context()); len(leases) != 2 {
			t.Errorf("%d leases, want those of the children alone again", len(leases))
		}
		f.tape.put("s-1", "k 6")
		settle(5 * time.Second)
		expect(t, d.inbox, "k 6")
		expect(t, e, "k 6")
		stop()
	})
}

// sortedByKey brings records together by key, in the order in which they came.
func sortedByKey(got string) string {
	all := strings.Split(got, ", ")
	slices.SortStableFunc(all, func(a, b string) int { return strings.Compare(a[:1], b[:1]) })
	return strings.Join(all, ", ")
}

// TestReplayNeverSkips replays a destination that is behind from later than it
// stands: it gets everything, and nothing twice.
func TestReplayNeverSkips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{t: t, tape: newTape("s"), store: &checkpoint.Memory{}}
		d, e := &holdable{inbox: newInbox("d")}, newInbox("e")
		stop := f.start(pipeline.Initial{}, d, e)
		f.tape.put("s", "k 1")
		settle(5 * time.Second)
		order(t, f.store, checkpoint.PauseVerb)
		settle(5 * time.Second)
		f.tape.put("s", "k 2", "k 3")
		settle(10 * time.Second)
		from := time.Now()
		f.tape.put("s", "k 4")
		settle(5 * time.Second)
		expect(t, d.inbox, "k 1")
		replay(t, f.store, checkpoint.At(from))
		settle(time.Minute)
		expect(t, d.inbox, "") // it was paused before, and stays so
		order(t, f.store, checkpoint.ResumeVerb)
		settle(30 * time.Second)
		expect(t, d.inbox, "k 2, k 3, k 4")
		stop()
	})
}

// TestReplayWithoutItsWorker commands a replay while no worker runs, and lets
// the first one that starts die at every step: the next one goes on with it.
func TestReplayWithoutItsWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{t: t, tape: newTape("s", "t"), store: &checkpoint.Memory{}}
		d := &holdable{inbox: newInbox("d")}
		f.tape.put("s", "k 1", "k 2")
		f.tape.put("t", "l 1")
		stop := f.start(pipeline.Initial{}, d)
		settle(10 * time.Second)
		if got := sortedByKey(d.take()); got != "k 1, k 2, l 1" {
			t.Errorf("got %q", got)
		}
		stop()
		replay(t, f.store, checkpoint.TrimHorizon)
		var all []string
		for range 12 { // a step takes a second or two
			stop := f.start(pipeline.Initial{}, d)
			settle(2500 * time.Millisecond)
			stop()
			if got := d.take(); got != "" {
				all = append(all, got)
			}
		}
		stop = f.start(pipeline.Initial{}, d)
		settle(time.Minute)
		if got := d.take(); got != "" {
			all = append(all, got)
		}
		if got := sortedByKey(strings.Join(all, ", ")); got != "k 1, k 2, l 1" {
			t.Errorf("got %q", got)
		}
		stop()
	})
}

// TestRemove removes a destination that is no longer configured, and behind: its
// place is forgotten, so that it begins anew when it comes back.
func TestRemove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{t: t, tape: newTape("s"), store: &checkpoint.Memory{}}
		d, e := &holdable{inbox: newInbox("d")}, newInbox("e")
		stop := f.start(pipeline.InitialLatest(), d, e)
		f.tape.put("s", "k 1")
		settle(10 * time.Second)
		expect(t, d.inbox, "k 1")
		stop()
		stop = f.start(pipeline.InitialLatest(), e)
		f.tape.put("s", "k 2")
		settle(20 * time.Second)
		leases, _ := f.store.ListNow(t.Context())
		if l := leases[0]; !slices.Equal(l.Roster, []string{"d", "e"}) || l.Behind["d"].At != checkpoint.Number("1", 0) {
			t.Errorf("before: roster %s, d at %s", l.Roster, l.Behind["d"].At)
		}
		order(t, f.store, checkpoint.RemoveVerb)
		settle(30 * time.Second)
		leases, _ = f.store.ListNow(t.Context())
		if l := leases[0]; !slices.Equal(l.Roster, []string{"e"}) || len(l.Behind) > 0 {
			t.Errorf("after: roster %s, behind %v", l.Roster, l.Behind)
		}
		desired, _ := f.store.Desired(t.Context())
		if len(desired.Destinations) > 0 {
			t.Errorf("still desired: %+v", desired.Destinations)
		}
		stop()
		stop = f.start(pipeline.InitialLatest(), d, e)
		settle(15 * time.Second)
		f.tape.put("s", "k 3")
		settle(15 * time.Second)
		expect(t, d.inbox, "k 3") // not k 2
		expect(t, e, "k 1, k 2, k 3")
		stop()
	})
}

// TestReplayOfAFinishedShard: the parent's lease still stands, as one of its
// children has not begun, and nobody owns it: it is taken to be set back.
func TestReplayOfAFinishedShard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{t: t, tape: newTape("s"), store: &checkpoint.Memory{}}
		d := &holdable{inbox: newInbox("d")}
		f.tape.put("s", "k 1", "k 2")
		f.tape.split("s", "s-1", "s-2")
		f.tape.put("s-1", "k 3")
		stop := f.start(pipeline.Initial{}, d)
		settle(time.Minute)
		expect(t, d.inbox, "k 1, k 2, k 3")
		if leases, _ := f.store.ListNow(t.Context()); len(leases) != 3 || leases[0].Owner != "" {
			t.Fatalf("want the parent's lease without owner, and two of children: %+v", leases)
		}
		replay(t, f.store, checkpoint.TrimHorizon)
		settle(time.Minute)
		expect(t, d.inbox, "k 1, k 2, k 3")
		stop()
	})
}

// TestRemovalAndAConfigurationThatHasIt: while a destination is being removed, a
// worker that still has it does not bring it back.
func TestRemovalAndAConfigurationThatHasIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{t: t, tape: newTape("s"), store: &checkpoint.Memory{}}
		d, e := &holdable{inbox: newInbox("d")}, newInbox("e")
		f.tape.put("s", "k 1")
		f.start(pipeline.Initial{}, d, e)()
		f.start(pipeline.Initial{}, d, e)() // leases are made
		stop := f.start(pipeline.Initial{}, d, e)
		settle(20 * time.Second)
		expect(t, d.inbox, "k 1")
		stop()
		// A lease that nobody reads keeps the removal from its end.
		other := checkpoint.NewLease(checkpoint.MultiStream, "111111111111:other:1", checkpoint.Shard{ID: "o"}, checkpoint.Number("1", 0))
		other.Roster = []string{"d"}
		if err := f.store.Create(t.Context(), other); err != nil {
			t.Fatal(err)
		}
		order(t, f.store, checkpoint.RemoveVerb)
		for range 2 { // it is done in the first tenure, and stays so in the second
			stop := f.start(pipeline.Initial{}, d, e)
			f.tape.put("s", "k 2")
			settle(20 * time.Second)
			stop()
			leases, _ := f.store.ListNow(t.Context())
			if l := leases[1]; !slices.Equal(l.Roster, []string{"e"}) || len(l.Behind) > 0 {
				t.Errorf("roster %s, behind %v", l.Roster, l.Behind)
			}
		}
		expect(t, d.inbox, "")
	})
}

// TestRemovalStopsEverywhereFirst: while something of the destination is in
// flight on one shard it stays on the roster of every other one, and keeps its
// places. Then it leaves all of them, and begins anew where it is configured.
func TestRemovalStopsEverywhereFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{t: t, tape: newTape("a", "b"), store: &checkpoint.Memory{}}
		d, e := &slow{inbox: newInbox("d"), over: make(chan struct{})}, newInbox("e")
		f.tape.put("a", "k 1")
		stop := f.start(pipeline.InitialLatest(), d, e)
		settle(10 * time.Second)
		expect(t, d.inbox, "k 1")
		removal := order(t, f.store, checkpoint.RemoveVerb)
		settle(30 * time.Second)
		rosters := func() string {
			leases, _ := f.store.ListNow(t.Context())
			return fmt.Sprint(leases[0].Roster, leases[1].Roster)
		}
		leases, _ := f.store.ListNow(t.Context())
		if l := leases[1]; l.Acknowledged != removal.Version || leases[0].Acknowledged != removal.Version-1 {
			t.Errorf("acknowledged %d where it is in flight and %d where it is not, want %d and %d",
				leases[0].Acknowledged, l.Acknowledged, removal.Version-1, removal.Version)
		}
		if got := rosters(); got != "[d e] [d e]" {
			t.Errorf("with an attempt in flight the rosters are %s", got)
		}
		close(d.over)
		settle(30 * time.Second)
		if desired, _ := f.store.Desired(t.Context()); len(desired.Destinations) > 0 {
			t.Errorf("still desired: %+v", desired.Destinations)
		}
		if got := rosters(); got != "[d e] [d e]" { // it is configured: it is new
			t.Errorf("when it is over the rosters are %s", got)
		}
		expect(t, d.inbox, "")
		f.tape.put("a", "k 2")
		f.tape.put("b", "l 1")
		settle(10 * time.Second)
		if got := sortedByKey(d.take()); got != "k 2, l 1" {
			t.Errorf("d got %q", got)
		}
		stop()
	})
}

// TestRemovalBeforeItHasStopped: in the first step of a removal a lease that
// lists the name keeps it, and one that does not never gets it, although it is
// configured.
func TestRemovalBeforeItHasStopped(t *testing.T) {
	for _, before := range []string{"d e", "e"} {
		t.Run(before, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fleet{t: t, tape: newTape("s"), store: &checkpoint.Memory{}}
				d, e := &holdable{inbox: newInbox("d")}, newInbox("e")
				both := []pipeline.Subscriber{d, e}
				f.tape.put("s", "k 1")
				stop := f.start(pipeline.Initial{}, both[2-len(strings.Fields(before)):]...)
				settle(20 * time.Second)
				stop()
				d.take()
				// The owner of a lease that nobody here reads never says that it stopped.
				other := checkpoint.NewLease(checkpoint.MultiStream, "111111111111:other:1", checkpoint.Shard{ID: "o"}, checkpoint.Number("1", 0))
				if err := f.store.Create(t.Context(), other); err != nil {
					t.Fatal(err)
				}
				if _, err := f.store.Take(t.Context(), other, "another", "tenure"); err != nil {
					t.Fatal(err)
				}
				order(t, f.store, checkpoint.RemoveVerb)
				stop = f.start(pipeline.Initial{}, both...)
				f.tape.put("s", "k 2")
				settle(20 * time.Second)
				stop()
				leases, _ := f.store.ListNow(t.Context())
				if l := leases[1]; fmt.Sprint(l.Roster) != "["+before+"]" || len(l.Behind) != len(l.Roster)-1 {
					t.Errorf("roster %s, behind %v", l.Roster, l.Behind)
				}
				expect(t, d.inbox, "")
			})
		})
	}
}

// TestCommandsAreShared: a fleet of three obeys, whoever holds which lease, while
// leases move.
func TestCommandsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{t: t, tape: newTape("a", "b", "c", "d"), store: &checkpoint.Memory{}}
		d := &holdable{inbox: newInbox("d")}
		var stops []func()
		for range 3 {
			stops = append(stops, f.start(pipeline.Initial{}, d))
			settle(3 * time.Second)
		}
		put := func(n int) {
			for _, s := range []string{"a", "b", "c", "d"} {
				f.tape.put(s, fmt.Sprint(s, " ", n))
			}
		}
		put(1)
		settle(20 * time.Second)
		replay(t, f.store, checkpoint.TrimHorizon)
		settle(4 * time.Second)
		stops[1]() // in the middle of it
		put(2)
		settle(2 * time.Minute)
		got := sortedByKey(d.take())
		if want := "a 1, a 1, a 2, b 1, b 1, b 2, c 1, c 1, c 2, d 1, d 1, d 2"; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		stops[0]()
		stops[2]()
	})
}
