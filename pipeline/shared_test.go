package pipeline_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/pipeline"
)

// leaseOf is a shard's lease as it stands in the store.
func (f *fleet) lease(shard string) checkpoint.Lease {
	f.t.Helper()
	l, err := f.store.Get(f.t.Context(), tapeKey(shard))
	if err != nil {
		f.t.Fatal(err)
	}
	return l
}

func tapeKey(shard string) string {
	return checkpoint.LeaseKey(checkpoint.MultiStream, checkpoint.StreamID("111111111111", "tape", time.Unix(1, 0)), shard)
}

func (f *fleet) expectSaved(shard string, c checkpoint.Position, behind int) {
	f.t.Helper()
	if l := f.lease(shard); l.Checkpoint != c || len(l.Behind) != behind {
		f.t.Errorf("lease of %s: checkpoint %s, behind %v; want %s and %d entries", shard, l.Checkpoint, l.Behind, c, behind)
	}
}

// TestSharedPutsNobodyBehind: a KCL worker that takes the lease would serve
// nobody who is behind, so the checkpoint is always the smallest, also after a
// drain.
func TestSharedPutsNobodyBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{t: t, tape: newTape("s-1"), store: &checkpoint.Memory{}, shared: true}
		a, b, n := newInbox("a"), newInbox("b"), newInbox("n")
		f.tape.put("s-1", "k 1", "k 2")
		stop := f.start(pipeline.Initial{}, a, b)
		time.Sleep(10 * time.Second)
		b.setShut(true)
		f.tape.put("s-1", "k 3", "k 4")
		time.Sleep(10 * time.Second)
		f.expectSaved("s-1", checkpoint.Number("2", 0), 0)
		stop()
		f.expectSaved("s-1", checkpoint.Number("2", 0), 0)
		expect(t, a, "k 1, k 2, k 3, k 4")
		expect(t, b, "k 1, k 2")

		// b is removed, n is new and wants the oldest: it begins at the
		// checkpoint, which does not wait for b.
		stop = f.start(pipeline.Initial{}, a, n)
		time.Sleep(10 * time.Second)
		expect(t, a, "k 3, k 4")
		expect(t, n, "k 3, k 4")
		f.expectSaved("s-1", checkpoint.Number("4", 0), 0)
		stop()
	})
}

// TestSharedPreparesATable: entries from the time before are served and
// disappear; a child is read when nobody is behind on its parent.
func TestSharedPreparesATable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{t: t, tape: newTape("s-1"), store: &checkpoint.Memory{}}
		a, b := newInbox("a"), newInbox("b")
		f.tape.put("s-1", "k 1")
		stop := f.start(pipeline.Initial{}, a, b)
		time.Sleep(5 * time.Second)
		stop()
		f.tape.put("s-1", "k 2")
		f.tape.split("s-1", "s-2")
		f.tape.put("s-2", "k 3")
		stop = f.start(pipeline.Initial{}, a) // b is behind now
		time.Sleep(30 * time.Second)
		stop()
		f.expectSaved("s-1", checkpoint.ShardEnd, 1)
		f.expectSaved("s-2", checkpoint.Number("1", 0), 1)
		a.take()
		b.take()

		f.shared = true
		b.setShut(true)
		stop = f.start(pipeline.Initial{}, a, b)
		f.tape.put("s-2", "k 4")
		time.Sleep(time.Minute)
		expect(t, a, "") // with b, or not at all
		b.setShut(false)
		stop()
		stop = f.start(pipeline.Initial{}, a, b)
		time.Sleep(2 * time.Minute)
		expect(t, a, "k 4")
		expect(t, b, "k 2, k 3, k 4")
		stop()
		f.expectSaved("s-2", checkpoint.Number("2", 0), 0)
	})
}

// TestSharedSentinels: new leases say what KCL workers understand, and KCL's
// sentinels without an instant get one.
func TestSharedSentinels(t *testing.T) {
	noon := time.UnixMilli(1_700_000_000_000)
	for _, tt := range []struct {
		name    string
		initial pipeline.Initial
		kcl     checkpoint.Position // of a lease that a KCL worker made; zero: none is there
		want    func(c checkpoint.Position) bool
	}{
		{name: "oldest", want: func(c checkpoint.Position) bool { return c == checkpoint.TrimHorizon }},
		{name: "a time", initial: pipeline.InitialTime(noon), want: func(c checkpoint.Position) bool { return c == checkpoint.At(noon) }},
		{name: "latest keeps its instant beside the name", initial: pipeline.InitialLatest(), want: func(c checkpoint.Position) bool {
			at, timed := c.Time()
			return timed && c == checkpoint.LatestAt(at) && time.Since(at) < time.Minute
		}},
		{name: "LATEST of a KCL worker is pinned", initial: pipeline.InitialLatest(), kcl: checkpoint.Latest, want: func(c checkpoint.Position) bool {
			at, timed := c.Time()
			return timed && c == checkpoint.LatestAt(at) && time.Since(at) < time.Minute
		}},
		{name: "AT_TIMESTAMP of a KCL worker is the configured time", initial: pipeline.InitialTime(noon), kcl: checkpoint.At(time.UnixMilli(0)),
			want: func(c checkpoint.Position) bool { return c == checkpoint.At(noon) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fleet{t: t, tape: newTape("s-1"), store: &checkpoint.Memory{}, shared: true, first: tt.initial}
				if tt.kcl != (checkpoint.Position{}) {
					l := checkpoint.NewLease(checkpoint.MultiStream, checkpoint.StreamID("111111111111", "tape", time.Unix(1, 0)), checkpoint.Shard{ID: "s-1"}, tt.kcl)
					if err := f.store.Create(t.Context(), l); err != nil {
						t.Fatal(err)
					}
				}
				a := newInbox("a")
				stop := f.start(pipeline.Initial{}, a)
				time.Sleep(20 * time.Second)
				if c := f.lease("s-1").Checkpoint; !tt.want(c) {
					t.Errorf("begins at %s", c)
				}
				// Whatever the parent says, a child begins at TRIM_HORIZON, as KCL's.
				f.tape.split("s-1", "s-2")
				time.Sleep(20 * time.Second)
				if c := f.lease("s-2").Checkpoint; c != checkpoint.TrimHorizon {
					t.Errorf("the child begins at %s", c)
				}
				stop()
			})
		})
	}
}
