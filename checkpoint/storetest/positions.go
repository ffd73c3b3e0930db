package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/shardline/shardline/checkpoint"
)

func number(n int) checkpoint.Position {
	return checkpoint.Number(fmt.Sprintf("4966530%049d", n), 0)
}

func positions(t *testing.T, s checkpoint.Store) {
	l := held(t, s, "shardId-0")
	for _, p := range []checkpoint.Position{
		checkpoint.At(time.UnixMilli(1_700_000_000_123)), checkpoint.TrimHorizon, checkpoint.Latest, number(1),
		checkpoint.Number("49665304017513416498139513873265123456789012345678901234", 1<<40), checkpoint.Number("0", 0),
		checkpoint.At(time.UnixMilli(-1)), checkpoint.ShardEnd,
	} {
		var err error
		l, err = s.Renew(t.Context(), l, &checkpoint.Saved{Checkpoint: p, Roster: []string{"a"}})
		must(t, err)
		if l.Checkpoint != p {
			t.Errorf("saved %s, got %s", p, l.Checkpoint)
		}
		read(t, s, p.String(), l)
	}
	if !l.Finished() {
		t.Error("not finished at SHARD_END")
	}
	for i, p := range []checkpoint.Position{checkpoint.At(time.UnixMilli(5)), checkpoint.Latest, number(2), checkpoint.ShardEnd} {
		n := lease(fmt.Sprintf("shardId-1%d", i))
		n.Checkpoint = p
		must(t, s.Create(t.Context(), n))
		read(t, s, "created at "+p.String(), n)
	}
}

// A checkpoint that changed starts counting owners anew; anything else does not.
func switches(t *testing.T, s checkpoint.Store) {
	l := held(t, s, "shardId-0")
	l, err := s.Take(t.Context(), l, "worker-b", "tenure-2")
	must(t, err)
	l, err = s.Renew(t.Context(), l, &checkpoint.Saved{Roster: []string{"a"}})
	must(t, err)
	if l.Switches != 1 {
		t.Errorf("%d switches without a checkpoint, want 1", l.Switches)
	}
	read(t, s, "no checkpoint", l)
	l, err = s.Renew(t.Context(), l, &checkpoint.Saved{Checkpoint: number(1), Roster: []string{"a"}})
	must(t, err)
	if l.Switches != 0 {
		t.Errorf("%d switches after a checkpoint, want 0", l.Switches)
	}
	read(t, s, "checkpoint", l)
}

func roster(t *testing.T, s checkpoint.Store) {
	l := held(t, s, "shardId-0")
	many := make([]string, 1000)
	for i := range many {
		many[i] = fmt.Sprintf("channel-%04d", i)
	}
	for _, names := range [][]string{{"a"}, {"a", "b"}, many, {"naïve", "日本"}, nil, {"a"}} {
		var err error
		l, err = s.Renew(t.Context(), l, &checkpoint.Saved{Checkpoint: number(1), Roster: names})
		must(t, err)
		read(t, s, fmt.Sprintf("roster of %d", len(names)), l)
		if !slices.Equal(l.Roster, names) {
			t.Errorf("roster %v, want %v", l.Roster, names)
		}
	}
}

func behind(t *testing.T, s checkpoint.Store) {
	l := held(t, s, "shardId-0")
	for i, b := range []map[string]checkpoint.Entry{
		{"a": {At: number(3)}},
		{"a": {At: number(4)}, "b": {}},
		{"b": {At: checkpoint.TrimHorizon, Keys: map[string]checkpoint.Position{"HOTEL-1": number(1), `"quoted"`: number(2), "": number(3), "a.b#c:d é": number(4), "\xff\xfe": checkpoint.TrimHorizon}}},
		{"b": {At: checkpoint.ShardEnd, Keys: map[string]checkpoint.Position{"k": checkpoint.Number("12", 3)}}},
		{"b": {At: checkpoint.At(time.UnixMilli(77))}},
		{},
		{"a": {At: number(9)}},
		nil,
	} {
		save := checkpoint.Saved{Checkpoint: number(10), Roster: []string{"a", "b"}, Behind: b}
		var err error
		l, err = s.Renew(t.Context(), l, &save)
		must(t, err)
		if !l.Saved.Equal(save) {
			t.Errorf("step %d: saved %+v, got %+v", i, save, l.Saved)
		}
		read(t, s, fmt.Sprintf("step %d", i), l)
	}
}

// fleet is so many subscribers behind, each at its own place.
func fleet(n, at int) map[string]checkpoint.Entry {
	b := map[string]checkpoint.Entry{}
	for i := range n {
		b[fmt.Sprintf("channel-%04d", i)] = checkpoint.Entry{At: number(at + i)}
	}
	return b
}

// What one item cannot hold is kept all the same, and nothing that left comes
// back.
func manyBehind(t *testing.T, s checkpoint.Store) {
	l := held(t, s, "shardId-0")
	step := func(what string, change func(b map[string]checkpoint.Entry)) {
		t.Helper()
		save := l.Saved.Clone()
		save.Checkpoint = number(1_000_000)
		if save.Behind == nil {
			save.Behind = map[string]checkpoint.Entry{}
		}
		change(save.Behind)
		next, err := s.Renew(t.Context(), l, &save)
		must(t, err)
		l = next
		if !l.Saved.Equal(save) {
			t.Errorf("%s: not as saved", what)
		}
		read(t, s, what, l)
	}
	step("1,000 subscribers", func(b map[string]checkpoint.Entry) {
		for name, e := range fleet(1000, 5) {
			b[name] = e
		}
	})
	step("one moves", func(b map[string]checkpoint.Entry) { b["channel-0007"] = checkpoint.Entry{At: number(9999)} })
	step("it moves back", func(b map[string]checkpoint.Entry) { b["channel-0007"] = checkpoint.Entry{At: number(12)} })
	step("one has a parked key", func(b map[string]checkpoint.Entry) {
		b["channel-0008"] = checkpoint.Entry{At: number(9), Keys: map[string]checkpoint.Position{"k": number(1)}}
	})
	step("one catches up", func(b map[string]checkpoint.Entry) { delete(b, "channel-0009") })
	step("all move", func(b map[string]checkpoint.Entry) {
		for name := range b {
			b[name] = checkpoint.Entry{At: number(77)}
		}
	})
	step("one with 5,000 parked keys", func(b map[string]checkpoint.Entry) {
		keys := map[string]checkpoint.Position{}
		for i := range 5000 {
			keys[fmt.Sprintf("HOTEL-%05d", i)] = number(i)
		}
		b["channel-0500"] = checkpoint.Entry{At: number(5), Keys: keys}
	})
	step("its keys move on", func(b map[string]checkpoint.Entry) { b["channel-0500"] = checkpoint.Entry{At: number(6)} })
	step("ten are left", func(b map[string]checkpoint.Entry) {
		for name := range b {
			if name >= "channel-0010" {
				delete(b, name)
			}
		}
	})
	step("nobody is left", func(b map[string]checkpoint.Entry) { clear(b) })
	step("everybody again", func(b map[string]checkpoint.Entry) {
		for name, e := range fleet(1000, 500) {
			b[name] = e
		}
	})
}

// Overflow outlives its writer, and a stale owner cannot harm it.
func overflowMoves(t *testing.T, s checkpoint.Store) {
	l := held(t, s, "shardId-0")
	save := checkpoint.Saved{Checkpoint: number(5000), Behind: fleet(300, 1)}
	l, err := s.Renew(t.Context(), l, &save)
	must(t, err)
	zombie := l.Clone()
	l, err = s.Take(t.Context(), l, "worker-b", "tenure-2")
	must(t, err)
	same(t, "taken with overflow", l, func() checkpoint.Lease {
		x := zombie.Clone()
		x.Owner, x.Tenure, x.Counter, x.Switches = "worker-b", "tenure-2", x.Counter+1, 1
		return x
	}())
	save.Behind = fleet(200, 50)
	_, err = s.Renew(t.Context(), zombie, &save)
	want(t, "a zombie's overflow", err, checkpoint.ErrConflict)
	read(t, s, "after a zombie's save", l)
	save.Behind = fleet(250, 90)
	l, err = s.Renew(t.Context(), l, &save)
	must(t, err)
	read(t, s, "the next owner's", l)
	save.Behind = fleet(250, 91)
	must(t, s.Release(t.Context(), l, &save))
	got, err := s.Get(t.Context(), l.Key)
	must(t, err)
	if !got.Saved.Equal(save) {
		t.Error("released with overflow: not as saved")
	}
	must(t, s.Delete(t.Context(), got))
}
