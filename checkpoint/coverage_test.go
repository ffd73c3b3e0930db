package checkpoint_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/shardline/shardline/checkpoint"
)

// TestHoles: which parts of the hash key space nobody reads, and what closes
// them. Ranges are in hundredths of the key space: the last one ends at 2^128-1.
func TestHoles(t *testing.T) {
	edge := map[int]string{0: "0", 25: "25", 50: "50", 100: "340282366920938463463374607431768211455"}
	before := map[int]string{25: "24", 50: "49", 100: edge[100]}
	shard := func(id string, from, to int, parents ...string) checkpoint.Shard {
		return checkpoint.Shard{ID: id, HashFrom: edge[from], HashTo: before[to], Parents: parents}
	}
	closed := func(s checkpoint.Shard) checkpoint.Shard {
		s.Closed = true
		return s
	}
	lease := func(s checkpoint.Shard, at checkpoint.Position) checkpoint.Lease {
		return checkpoint.Lease{Shard: s.ID, Parents: s.Parents, HashFrom: s.HashFrom, HashTo: s.HashTo, Saved: checkpoint.Saved{Checkpoint: at}}
	}
	five, end := checkpoint.Number("5", 0), checkpoint.ShardEnd
	a, b := shard("a", 0, 50), shard("b", 50, 100)
	a1, a2 := shard("a1", 0, 25, "a"), shard("a2", 25, 50, "a")
	merged := shard("m", 0, 100, "a", "b")
	bare := lease(a, five)
	bare.HashFrom, bare.HashTo = "", ""
	for _, tc := range []struct {
		name                 string
		shards               []checkpoint.Shard
		leases               []checkpoint.Lease
		holes, create, reset string
	}{
		{"all is covered", []checkpoint.Shard{a, b}, []checkpoint.Lease{lease(a, five), lease(b, five)}, "", "", ""},
		{"a lease without a range: the listing has it", []checkpoint.Shard{a, b}, []checkpoint.Lease{bare, lease(b, five)}, "", "", ""},
		{"a lease of a shard that is not listed", []checkpoint.Shard{b}, []checkpoint.Lease{lease(a, five), lease(b, five)}, "", "", ""},
		{"a shard without a lease", []checkpoint.Shard{a, b}, []checkpoint.Lease{lease(b, five)}, "0-49", "a", ""},
		{"children come when their parent ends", []checkpoint.Shard{closed(a), b, a1, a2}, []checkpoint.Lease{lease(a, five), lease(b, five)}, "", "", ""},
		{"a merged child comes when its other parent ends", []checkpoint.Shard{closed(a), closed(b), merged},
			[]checkpoint.Lease{lease(a, end), lease(b, five)}, "", "", ""},
		{"one of two children is lost", []checkpoint.Shard{closed(a), b, a1, a2},
			[]checkpoint.Lease{lease(a, end), lease(a1, five), lease(b, five)}, "25-49", "a2", ""},
		{"an open shard at its end", []checkpoint.Shard{a, b}, []checkpoint.Lease{lease(a, five), lease(b, end)},
			"50-" + edge[100], "b", "b"},
		{"nothing is leased", []checkpoint.Shard{a, b}, nil, "0-" + edge[100], "a,b", ""},
		{"no ranges are known", []checkpoint.Shard{{ID: "a"}}, nil, "", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			found := checkpoint.Holes(tc.shards, tc.leases)
			text := ""
			for i, h := range found {
				text += map[bool]string{true: ",", false: ""}[i > 0] + fmt.Sprintf("%s-%s", h.From, h.To)
			}
			create, reset := checkpoint.Heal(tc.shards, tc.leases, found)
			if text != tc.holes || names(create) != tc.create || names(reset) != tc.reset {
				t.Errorf("holes %q create %q reset %q, want %q %q %q", text, names(create), names(reset), tc.holes, tc.create, tc.reset)
			}
			if slices.ContainsFunc(create, func(l checkpoint.Lease) bool { return l.Checkpoint != checkpoint.TrimHorizon }) {
				t.Errorf("create %+v, want them at TRIM_HORIZON", create)
			}
		})
	}
}

func names(leases []checkpoint.Lease) string {
	text := ""
	for i, l := range leases {
		text += map[bool]string{true: ",", false: ""}[i > 0] + l.Shard
	}
	return text
}
