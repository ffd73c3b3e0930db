package checkpoint

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Handback is what becomes of a lease that is given back to KCL workers.
type Handback struct {
	Row
	Refused string // why it stays as it is; empty: it is given back
	Save    *Saved // nil: nothing of it is Shardline's
	Note    string // what is repeated; empty: nothing
}

// ToKCL says how the leases of a table are given back to workers of the Kinesis
// Client Library: ancestors first, without owner and without anything of
// Shardline's, at a checkpoint that nobody has still to get records before.
//
// KCL knows one position per lease. So a lease on which somebody is behind is
// refused, and so is one that stands at an instant: KCL keeps none, and
// would begin at its own time, or skip what arrived before it starts. With
// lowest, the checkpoint becomes the lowest position of everybody instead: that
// skips nothing, and repeats for the others. A shard whose parent is set back
// from its end is set back to its start.
func ToKCL(rows []Row, lowest bool) []Handback {
	back := map[string]bool{} // leases that are no longer at their end
	var plan []Handback
	for _, row := range ancestorsFirst(rows) {
		h := Handback{Row: row, Save: &Saved{Checkpoint: row.Checkpoint}}
		at := row.lowest()
		_, timed := at.Time()
		timed = timed && at != Position{Sequence: atTimestamp} // KCL's own, without an instant
		parentBack := ordered(row.Checkpoint) && slices.ContainsFunc(row.Parents, func(id string) bool { return back[row.keyOf(id)] })
		switch {
		case len(row.Damage) > 0:
			h.Refused = "it cannot be read: " + row.Damage[0].Attribute + " " + row.Damage[0].Text
		case len(row.Behind) > 0 && !lowest:
			h.Refused = "behind are " + whoIsBehind(row.Behind)
		case timed && !lowest:
			t, _ := at.Time()
			h.Refused = fmt.Sprintf("nothing of it is read yet, and KCL cannot be told to begin at %s", t.UTC().Format("2006-01-02T15:04:05.000Z07:00"))
		case timed, parentBack:
			h.Save.Checkpoint = TrimHorizon
		default:
			h.Save.Checkpoint = at
		}
		if h.Refused == "" && h.Save.Checkpoint != row.Checkpoint {
			h.Note = fmt.Sprintf("set back from %s to %s: what lies between comes again", row.Checkpoint, h.Save.Checkpoint)
			if row.Finished() {
				back[row.Key] = true
			}
		}
		if h.Refused == "" && h.Note == "" && row.Owner == "" && row.Tenure == "" && row.HandingOver == "" && len(row.Roster) == 0 {
			h.Save = nil
		}
		plan = append(plan, h)
	}
	return plan
}

// keyOf is the lease key of another shard of the same stream.
func (l Lease) keyOf(shard string) string {
	if l.Key == l.Shard {
		return shard
	}
	return l.Stream + ":" + shard
}

// lowest is the lowest position of everybody whom the lease knows.
func (l Lease) lowest() Position {
	positions := []Position{l.Checkpoint}
	for _, e := range l.Behind {
		positions = append(positions, e.At)
		positions = slices.AppendSeq(positions, maps.Values(e.Keys))
	}
	return Lowest(positions...)
}

// whoIsBehind names subscribers, and where each stands.
func whoIsBehind(behind map[string]Entry) string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(behind)) {
		text := name + " at " + behind[name].At.String()
		if n := len(behind[name].Keys); n > 0 {
			text += fmt.Sprintf(" and %d of its keys", n)
		}
		names = append(names, text)
	}
	return strings.Join(names, ", ")
}

// ancestorsFirst sorts rows so that no parent comes after its child. A circle,
// which damaged items may form, is cut somewhere.
func ancestorsFirst(rows []Row) []Row {
	depth := map[string]int{}
	parents := map[string][]string{}
	for _, row := range rows {
		for _, id := range row.Parents {
			parents[row.Key] = append(parents[row.Key], row.keyOf(id))
		}
	}
	var measure func(key string) int
	measure = func(key string) int {
		if d, ok := depth[key]; ok {
			return d
		}
		depth[key] = 0
		d := 0
		for _, p := range parents[key] {
			d = max(d, measure(p)+1)
		}
		depth[key] = d
		return d
	}
	return slices.SortedStableFunc(slices.Values(rows), func(a, b Row) int {
		return cmp.Or(cmp.Compare(measure(a.Key), measure(b.Key)), cmp.Compare(a.Key, b.Key))
	})
}
