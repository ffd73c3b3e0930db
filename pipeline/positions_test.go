package pipeline

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/shardline/shardline/checkpoint"
)

func at(sequence string) checkpoint.Position { return checkpoint.Number(sequence, 0) }

func entry(p checkpoint.Position) checkpoint.Entry { return checkpoint.Entry{At: p} }

func lease(c checkpoint.Position, roster []string, behind map[string]checkpoint.Entry) checkpoint.Lease {
	return checkpoint.Lease{Saved: checkpoint.Saved{Checkpoint: c, Roster: roster, Behind: behind}}
}

func same(a, b map[string]checkpoint.Entry) bool {
	return maps.EqualFunc(a, b, func(x, y checkpoint.Entry) bool { return x.At == y.At && maps.Equal(x.Keys, y.Keys) })
}

// TestPlan follows the rules for rosters and gates: what a worker makes of a
// lease item when it takes it.
func TestPlan(t *testing.T) {
	noon := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	type entries = map[string]checkpoint.Entry
	for _, tc := range []struct {
		name                 string
		saved                checkpoint.Saved
		parents              []checkpoint.Lease
		ours                 map[string]Initial
		shared               bool // with KCL workers
		left                 []string
		roster               []string
		starts, held, absent entries
		save                 bool
		from                 checkpoint.Position
	}{
		{
			name:   "a new lease covers whoever comes first, wherever they would begin on an old one",
			saved:  checkpoint.Saved{Checkpoint: checkpoint.At(noon)},
			ours:   map[string]Initial{"a": InitialLatest(), "b": {}},
			roster: []string{"a", "b"}, save: true,
			starts: entries{"a": entry(checkpoint.At(noon)), "b": entry(checkpoint.At(noon))},
			from:   checkpoint.At(noon),
		},
		{
			name:   "steady: everybody at the checkpoint, nothing to save",
			saved:  checkpoint.Saved{Checkpoint: at("7"), Roster: []string{"a"}},
			ours:   map[string]Initial{"a": InitialLatest()},
			roster: []string{"a"}, starts: entries{"a": entry(at("7"))}, from: at("7"),
		},
		{
			name:   "added, latest: behind the checkpoint, but not before the save that lists it",
			saved:  checkpoint.Saved{Checkpoint: at("7"), Roster: []string{"a"}},
			ours:   map[string]Initial{"a": InitialLatest(), "n": InitialLatest()},
			roster: []string{"a", "n"}, save: true,
			starts: entries{"a": entry(at("7")), "n": entry(at("7"))}, from: at("7"),
		},
		{
			name:   "added, oldest: reads from the horizon, the others skip what they have",
			saved:  checkpoint.Saved{Checkpoint: at("7"), Roster: []string{"a"}},
			ours:   map[string]Initial{"a": InitialLatest(), "n": {}},
			roster: []string{"a", "n"}, save: true,
			starts: entries{"a": entry(at("7")), "n": entry(checkpoint.TrimHorizon)}, from: checkpoint.TrimHorizon,
		},
		{
			name:   "everybody was removed: whoever comes is new",
			saved:  checkpoint.Saved{Checkpoint: at("7"), Roster: []string{checkpoint.Nobody}},
			ours:   map[string]Initial{"n": {}},
			roster: []string{"n"}, save: true,
			starts: entries{"n": entry(checkpoint.TrimHorizon)}, from: checkpoint.TrimHorizon,
		},
		{
			name:   "everybody was removed, and nobody comes",
			saved:  checkpoint.Saved{Checkpoint: at("7"), Roster: []string{checkpoint.Nobody}},
			roster: []string{checkpoint.Nobody}, from: checkpoint.ShardEnd,
		},
		{
			name:    "everybody was removed from a parent: its gate is shut until it lists whoever comes",
			saved:   checkpoint.Saved{Checkpoint: checkpoint.TrimHorizon},
			parents: []checkpoint.Lease{lease(checkpoint.ShardEnd, []string{checkpoint.Nobody}, nil)},
			ours:    map[string]Initial{"n": InitialLatest()},
			roster:  []string{"n"}, save: true,
			held: entries{"n": entry(checkpoint.TrimHorizon)}, from: checkpoint.ShardEnd,
		},
		{
			name: "removed: keeps its place; renamed: the old name keeps its place, the new one is new",
			saved: checkpoint.Saved{Checkpoint: at("7"), Roster: []string{"a", "gone", "late"},
				Behind: entries{"late": entry(at("3"))}},
			ours:   map[string]Initial{"a": InitialLatest(), "renamed": InitialLatest()},
			roster: []string{"a", "gone", "late", "renamed"}, save: true,
			starts: entries{"a": entry(at("7")), "renamed": entry(at("7"))},
			absent: entries{"gone": entry(at("7")), "late": entry(at("3"))}, from: at("7"),
		},
		{
			name: "back again: goes on at its place",
			saved: checkpoint.Saved{Checkpoint: at("9"), Roster: []string{"a", "b"},
				Behind: entries{"b": entry(at("7"))}},
			ours:   map[string]Initial{"a": InitialLatest(), "b": InitialLatest()},
			roster: []string{"a", "b"},
			starts: entries{"a": entry(at("9")), "b": entry(at("7"))}, from: at("7"),
		},
		{
			name:   "a child's first take adds the parents' rosters; who is behind on a parent is held",
			saved:  checkpoint.Saved{},
			ours:   map[string]Initial{"a": InitialLatest(), "b": InitialLatest()},
			roster: []string{"a", "b", "c"}, save: true,
			parents: []checkpoint.Lease{
				lease(checkpoint.ShardEnd, []string{"a", "b"}, entries{"b": entry(at("3"))}),
				lease(checkpoint.ShardEnd, []string{"a", "b", "c"}, entries{"c": entry(at("4"))}),
			},
			// c is not on the first parent's roster either.
			starts: entries{"a": entry(checkpoint.TrimHorizon)},
			held:   entries{"b": entry(checkpoint.TrimHorizon), "c": entry(checkpoint.TrimHorizon)},
		},
		{
			name:    "new on a child: the gate is shut until the parent lists it",
			saved:   checkpoint.Saved{Roster: []string{"a"}},
			ours:    map[string]Initial{"a": InitialLatest(), "n": InitialLatest()},
			parents: []checkpoint.Lease{lease(checkpoint.ShardEnd, []string{"a"}, nil)},
			roster:  []string{"a", "n"}, save: true,
			starts: entries{"a": entry(checkpoint.TrimHorizon)},
			held:   entries{"n": entry(checkpoint.TrimHorizon)},
		},
		{
			name: "a finished shard is read for who is behind alone",
			saved: checkpoint.Saved{Checkpoint: checkpoint.ShardEnd, Roster: []string{"a", "b"},
				Behind: entries{"b": entry(at("5"))}},
			ours:   map[string]Initial{"a": InitialLatest(), "b": InitialLatest()},
			roster: []string{"a", "b"}, starts: entries{"b": entry(at("5"))}, from: at("5"),
		},
		{
			name:   "a lease of a KCL application has no roster: its checkpoint covers everybody",
			saved:  checkpoint.Saved{Checkpoint: at("5")},
			ours:   map[string]Initial{"a": {}},
			roster: []string{"a"}, save: true, starts: entries{"a": entry(at("5"))}, from: at("5"),
		},
		{
			name: "shared with KCL: who is new begins at the checkpoint, and it goes on without who was removed", shared: true,
			saved:  checkpoint.Saved{Checkpoint: at("7"), Roster: []string{"a", "gone"}},
			ours:   map[string]Initial{"a": InitialLatest(), "n": {}},
			roster: []string{"a", "n"}, left: []string{"gone"}, save: true,
			starts: entries{"a": entry(at("7")), "n": entry(at("7"))}, from: at("7"),
		},
		{
			name: "shared with KCL: entries that are there are served, or kept for who is removed", shared: true,
			saved: checkpoint.Saved{Checkpoint: at("7"), Roster: []string{"a", "gone", "late"},
				Behind: entries{"late": entry(at("3")), "gone": entry(at("5"))}},
			ours:   map[string]Initial{"a": InitialLatest(), "late": InitialLatest()},
			roster: []string{"a", "gone", "late"},
			starts: entries{"a": entry(at("7")), "late": entry(at("3"))}, absent: entries{"gone": entry(at("5"))}, from: at("3"),
		},
		{
			name: "shared with KCL: whom a parent's roster lacks is behind nowhere", shared: true,
			saved:   checkpoint.Saved{},
			ours:    map[string]Initial{"a": InitialLatest(), "n": InitialLatest()},
			parents: []checkpoint.Lease{lease(checkpoint.ShardEnd, []string{"a"}, nil)},
			roster:  []string{"a", "n"}, save: true,
			starts: entries{"a": entry(checkpoint.TrimHorizon), "n": entry(checkpoint.TrimHorizon)},
		},
		{
			name: "shared with KCL: who is behind on a parent is held", shared: true,
			saved:   checkpoint.Saved{},
			ours:    map[string]Initial{"a": InitialLatest(), "b": InitialLatest()},
			parents: []checkpoint.Lease{lease(checkpoint.ShardEnd, []string{"a", "b"}, entries{"b": entry(at("3"))})},
			roster:  []string{"a", "b"}, save: true,
			starts: entries{"a": entry(checkpoint.TrimHorizon)}, held: entries{"b": entry(checkpoint.TrimHorizon)},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := makePlan(tc.saved, tc.parents, tc.ours, tc.shared)
			if !slices.Equal(p.roster, tc.roster) {
				t.Errorf("roster %v, want %v", p.roster, tc.roster)
			}
			if !same(p.starts, tc.starts) || !same(p.held, tc.held) || !same(p.absent, tc.absent) {
				t.Errorf("starts %v held %v absent %v\nwant   %v held %v absent %v", p.starts, p.held, p.absent, tc.starts, tc.held, tc.absent)
			}
			if !slices.Equal(p.left, tc.left) {
				t.Errorf("left %v, want %v", p.left, tc.left)
			}
			if p.save != tc.save {
				t.Errorf("save first: %v, want %v", p.save, tc.save)
			}
			if p.from() != tc.from && len(tc.starts) > 0 {
				t.Errorf("reads from %s, want %s", p.from(), tc.from)
			}
		})
	}
}

// TestForm follows what is saved: the checkpoint and who is behind it.
func TestForm(t *testing.T) {
	type entries = map[string]checkpoint.Entry
	noon := checkpoint.At(time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC))
	for _, tc := range []struct {
		name       string
		plan       plan
		live       entries
		laggards   []string
		ahead      bool
		checkpoint checkpoint.Position
		behind     entries
	}{
		{
			name: "the checkpoint is the smallest cursor, and behind is empty",
			plan: plan{taken: at("5"), starts: entries{"a": entry(at("5")), "b": entry(at("5"))}},
			live: entries{"a": entry(at("9")), "b": entry(at("7"))}, checkpoint: at("7"),
		},
		{
			name: "ahead: the greatest, and the others behind it",
			plan: plan{taken: at("5"), starts: entries{"a": entry(at("5")), "b": entry(at("5"))}},
			live: entries{"a": entry(at("9")), "b": entry(at("7"))}, ahead: true,
			checkpoint: at("9"), behind: entries{"b": entry(at("7"))},
		},
		{
			name: "ahead: so for who has left meanwhile, and is further than those who stay",
			plan: plan{taken: at("5"), starts: entries{"b": entry(at("5"))}, absent: entries{"a": entry(at("9"))}},
			live: entries{"b": entry(at("7"))}, ahead: true,
			checkpoint: at("9"), behind: entries{"b": entry(at("7"))},
		},
		{
			name: "who has left does not hold the checkpoint, nor move it before the end",
			plan: plan{taken: at("5"), starts: entries{"b": entry(at("5"))}, absent: entries{"a": entry(at("9")), "c": entry(at("6"))}},
			live: entries{"b": entry(at("7"))}, checkpoint: at("7"), behind: entries{"c": entry(at("6"))},
		},
		{
			name:       "it never goes back for somebody who joins from the horizon",
			plan:       plan{taken: at("5"), starts: entries{"a": entry(at("5")), "n": entry(checkpoint.TrimHorizon)}},
			live:       entries{"a": entry(at("9")), "n": entry(checkpoint.TrimHorizon)},
			checkpoint: at("5"), behind: entries{"n": entry(checkpoint.TrimHorizon)},
		},
		{
			name:       "nor for somebody who is still below it",
			plan:       plan{taken: at("5"), starts: entries{"a": entry(at("5")), "n": entry(at("1"))}},
			live:       entries{"a": entry(at("9")), "n": entry(at("3"))},
			checkpoint: at("5"), behind: entries{"n": entry(at("3"))},
		},
		{
			name: "who is absent stays at the checkpoint as taken",
			plan: plan{taken: at("5"), starts: entries{"a": entry(at("5"))}, absent: entries{"x": entry(at("5"))}},
			live: entries{"a": entry(at("6"))}, checkpoint: at("6"), behind: entries{"x": entry(at("5"))},
		},
		{
			name: "as long as the checkpoint stays, so does the item",
			plan: plan{taken: at("5"), starts: entries{"a": entry(at("5"))}, absent: entries{"x": entry(at("5"))}},
			live: entries{"a": entry(at("5"))}, checkpoint: at("5"),
		},
		{
			name: "who is held stands there even when nothing was read",
			plan: plan{starts: entries{"a": entry(checkpoint.TrimHorizon)}, held: entries{"h": entry(checkpoint.TrimHorizon)}},
			live: entries{"a": entry(checkpoint.ShardEnd)}, checkpoint: checkpoint.ShardEnd,
			behind: entries{"h": entry(checkpoint.TrimHorizon)},
		},
		{
			name: "a time cannot be compared with the horizon: whoever began elsewhere has an entry",
			plan: plan{taken: noon, starts: entries{"a": entry(noon), "n": entry(checkpoint.TrimHorizon)}},
			live: entries{"a": entry(at("9")), "n": entry(checkpoint.TrimHorizon)}, checkpoint: noon,
			behind: entries{"n": entry(checkpoint.TrimHorizon)},
		},
		{
			name: "a record's position cannot be compared with a time",
			plan: plan{taken: noon, starts: entries{"a": entry(noon), "n": entry(checkpoint.TrimHorizon)}},
			live: entries{"a": entry(noon), "n": entry(at("2"))}, checkpoint: noon,
			behind: entries{"n": entry(at("2"))},
		},
		{
			name: "the end of a finished shard is the end of its entries",
			plan: plan{taken: checkpoint.ShardEnd, starts: entries{"b": entry(at("5"))}},
			live: entries{"b": entry(checkpoint.ShardEnd)}, checkpoint: checkpoint.ShardEnd,
		},
		{
			name: "shared with KCL: the smallest at a planned end too",
			plan: plan{shared: true, taken: at("5"), starts: entries{"a": entry(at("5")), "b": entry(at("5"))}},
			live: entries{"a": entry(at("9")), "b": entry(at("7"))}, ahead: true, checkpoint: at("7"),
		},
		{
			name: "shared with KCL: a parked key holds the checkpoint",
			plan: plan{shared: true, taken: at("5"), starts: entries{"a": entry(at("5")), "b": entry(at("5"))}},
			live: entries{"a": checkpoint.Entry{At: at("9"), Keys: map[string]checkpoint.Position{"k": at("6")}}, "b": entry(at("8"))}, checkpoint: at("6"),
		},
		{
			name: "shared with KCL: an entry that is there moves up, and the checkpoint waits for it",
			plan: plan{shared: true, taken: at("5"), starts: entries{"a": entry(at("5")), "b": entry(at("2"))}},
			live: entries{"a": entry(at("9")), "b": entry(at("4"))}, checkpoint: at("5"), behind: entries{"b": entry(at("4"))},
		},
		{
			name: "shared with KCL: so does a key's",
			plan: plan{shared: true, taken: at("5"), starts: entries{"a": entry(at("5")), "b": entry(at("7"))}},
			live: entries{"a": checkpoint.Entry{At: at("9"), Keys: map[string]checkpoint.Position{"k": at("3")}}, "b": entry(at("8"))}, checkpoint: at("5"), behind: entries{"a": checkpoint.Entry{At: at("9"), Keys: map[string]checkpoint.Position{"k": at("3")}}},
		},
		{
			name: "shared with KCL: and disappears",
			plan: plan{shared: true, taken: at("5"), starts: entries{"a": entry(at("5")), "b": entry(at("2"))}},
			live: entries{"a": entry(at("9")), "b": entry(at("6"))}, checkpoint: at("6"),
		},
		{
			name: "shared with KCL: nobody read yet",
			plan: plan{shared: true, taken: noon, starts: entries{"a": entry(noon), "b": entry(noon)}},
			live: entries{"a": entry(noon), "b": entry(at("2"))}, ahead: true, checkpoint: noon, behind: entries{},
		},
		{
			name: "nobody served: nothing moves",
			plan: plan{taken: at("5"), absent: entries{"x": entry(at("5"))}}, checkpoint: at("5"),
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			places := make(map[string]standing)
			for name, e := range tc.live {
				places[name] = standing{Entry: e, live: !slices.Contains(tc.laggards, name)}
			}
			got := tc.plan.form(tc.plan.taken, places, tc.ahead)
			if got.Checkpoint != tc.checkpoint {
				t.Errorf("checkpoint %s, want %s", got.Checkpoint, tc.checkpoint)
			}
			if !same(got.Behind, tc.behind) {
				t.Errorf("behind %v, want %v", got.Behind, tc.behind)
			}
		})
	}
}
