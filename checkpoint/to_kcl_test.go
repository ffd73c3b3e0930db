package checkpoint_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shardline/shardline/checkpoint"
)

// rowAt is a lease of the checked stream that somebody saved.
func rowAt(shard string, at checkpoint.Position, behind map[string]checkpoint.Entry, parents ...string) checkpoint.Row {
	return checkpoint.Row{Lease: checkpoint.Lease{Key: checkedStream + ":" + shard, Stream: checkedStream, Shard: shard, Owner: "w1", Parents: parents,
		Saved: checkpoint.Saved{Checkpoint: at, Roster: []string{"a", "b"}, Behind: behind}}}
}

func num(s string) checkpoint.Position { return checkpoint.Number(s, 0) }

func TestToKCL(t *testing.T) {
	instant := time.Date(2026, 3, 1, 6, 0, 0, 0, time.UTC)
	entry := func(name string, at checkpoint.Position) map[string]checkpoint.Entry {
		return map[string]checkpoint.Entry{name: {At: at}}
	}
	for _, c := range []struct {
		name   string
		rows   []checkpoint.Row
		strict string // what becomes of each, in order, without lowest: shard=checkpoint, or shard!
		lowest string
	}{
		{name: "nobody behind", rows: []checkpoint.Row{rowAt("s", num("49"), nil)}, strict: "s=49:0", lowest: "s=49:0"},
		{name: "nothing of Shardline's", rows: []checkpoint.Row{{Lease: checkpoint.Lease{Key: "k", Shard: "s", Saved: checkpoint.Saved{Checkpoint: num("49")}}}}, strict: "s-", lowest: "s-"},
		{name: "one behind", rows: []checkpoint.Row{rowAt("s", num("49"), entry("a", num("40")))}, strict: "s!", lowest: "s=40:0"},
		{name: "a parked key further back", rows: []checkpoint.Row{rowAt("s", num("49"), map[string]checkpoint.Entry{"a": {At: num("49"), Keys: map[string]checkpoint.Position{"H": num("31")}}})},
			strict: "s!", lowest: "s=31:0"},
		{name: "one behind a time: numbers and times have no order", rows: []checkpoint.Row{rowAt("s", num("49"), entry("a", checkpoint.At(instant)))}, strict: "s!", lowest: "s=TRIM_HORIZON"},
		{name: "an instant", rows: []checkpoint.Row{rowAt("s", checkpoint.At(instant), nil)}, strict: "s!", lowest: "s=TRIM_HORIZON"},
		{name: "latest, pinned", rows: []checkpoint.Row{rowAt("s", checkpoint.LatestAt(instant), nil)}, strict: "s!", lowest: "s=TRIM_HORIZON"},
		{name: "KCL's own latest", rows: []checkpoint.Row{rowAt("s", checkpoint.Latest, nil)}, strict: "s=LATEST", lowest: "s=LATEST"},
		{name: "through", rows: []checkpoint.Row{rowAt("c", num("60"), nil, "s"), rowAt("s", checkpoint.ShardEnd, nil)}, strict: "s=SHARD_END c=60:0", lowest: "s=SHARD_END c=60:0"},
		// a has still to get the rest of s, and then all of c: both are read again, c after s.
		{name: "behind on a parent", rows: []checkpoint.Row{rowAt("c", num("60"), entry("a", checkpoint.TrimHorizon), "s"), rowAt("s", checkpoint.ShardEnd, entry("a", num("49")))},
			strict: "s! c!", lowest: "s=49:0 c=TRIM_HORIZON"},
		// Its child had no roster yet, and is not left ahead of it.
		{name: "behind on a parent, child and grandchild without an entry", rows: []checkpoint.Row{rowAt("g", num("70"), nil, "c"), rowAt("c", checkpoint.ShardEnd, nil, "s"), rowAt("s", checkpoint.ShardEnd, entry("a", num("49")))},
			strict: "s! c=SHARD_END g=70:0", lowest: "s=49:0 c=TRIM_HORIZON g=TRIM_HORIZON"},
		{name: "damaged", rows: []checkpoint.Row{{Lease: checkpoint.Lease{Key: "k", Shard: "s"}, Damage: []checkpoint.Finding{{Attribute: "behind"}}}}, strict: "s!", lowest: "s!"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for lowest, want := range map[bool]string{false: c.strict, true: c.lowest} {
				var got []string
				for _, h := range checkpoint.ToKCL(c.rows, lowest) {
					switch {
					case h.Refused != "":
						got = append(got, h.Shard+"!")
					case h.Save == nil:
						got = append(got, h.Shard+"-")
					default:
						got = append(got, h.Shard+"="+h.Save.Checkpoint.String())
						if len(h.Save.Roster)+len(h.Save.Behind) > 0 {
							t.Errorf("%s keeps a roster or somebody behind", h.Shard)
						}
					}
				}
				if s := strings.Join(got, " "); s != want {
					t.Errorf("lowest %v: %s, want %s", lowest, s, want)
				}
			}
		})
	}
}

func TestSetLineage(t *testing.T) {
	parent, child := rowAt("p", checkpoint.ShardEnd, nil), rowAt("c", num("60"), nil, "p")
	waiting := rowAt("c", checkpoint.TrimHorizon, nil, "p")
	reading := rowAt("p", num("40"), nil)
	for _, c := range []struct {
		name             string
		row              checkpoint.Row
		rows             []checkpoint.Row
		to               checkpoint.Position
		subscriber       string
		warnings, unsafe int
	}{
		{name: "alone", row: reading, rows: []checkpoint.Row{reading}, to: num("30")},
		{name: "a finished parent whose child was read", row: parent, rows: []checkpoint.Row{parent, child}, to: num("30"), unsafe: 1},
		{name: "the same for one subscriber", row: parent, rows: []checkpoint.Row{parent, child}, to: num("30"), subscriber: "a", unsafe: 1},
		{name: "a finished parent whose child waits", row: parent, rows: []checkpoint.Row{parent, waiting}, to: num("30"), warnings: 1},
		{name: "a child of an unfinished parent", row: waiting, rows: []checkpoint.Row{reading, waiting}, to: num("60"), warnings: 1},
		{name: "a child of a finished parent", row: child, rows: []checkpoint.Row{parent, child}, to: num("55")},
		{name: "a child whose parent's lease is removed", row: child, rows: []checkpoint.Row{child}, to: num("55")},
		{name: "the same at its beginning", row: child, rows: []checkpoint.Row{child}, to: checkpoint.TrimHorizon, warnings: 1},
		{name: "a child while somebody is behind on the parent", row: child, to: num("55"), warnings: 1,
			rows: []checkpoint.Row{rowAt("p", checkpoint.ShardEnd, map[string]checkpoint.Entry{"a": {At: num("30")}}), child}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := checkpoint.Set(c.row, c.rows, c.to, c.subscriber)
			if err != nil || len(m.Warnings) != c.warnings || len(m.Unsafe) != c.unsafe {
				t.Fatalf("%v, warnings %v, unsafe %v", err, m.Warnings, m.Unsafe)
			}
			if !slices.Equal(m.Save.Roster, c.row.Roster) {
				t.Errorf("roster %v", m.Save.Roster)
			}
			if fmt.Sprint(c.row.Behind) != "map[]" {
				t.Errorf("the row was changed: %v", c.row.Behind)
			}
		})
	}
}
