package checkpoint_test

import (
	"slices"
	"testing"

	"github.com/shardline/shardline/checkpoint"
)

// TestAudit: which leases a stream lacks, and which are through.
func TestAudit(t *testing.T) {
	shard := func(id string, parents ...string) checkpoint.Shard {
		return checkpoint.Shard{ID: id, Parents: parents, Start: "1"}
	}
	lease := func(id string, at checkpoint.Position, parents ...string) checkpoint.Lease {
		return checkpoint.Lease{Key: id, Shard: id, Parents: parents, Saved: checkpoint.Saved{Checkpoint: at, Roster: []string{"a"}}}
	}
	listing := func(l checkpoint.Lease, roster ...string) checkpoint.Lease {
		l.Roster = roster
		return l
	}
	five := checkpoint.Number("5", 0)
	family := []checkpoint.Shard{shard("p"), shard("c", "p"), shard("g", "c")}
	for _, tc := range []struct {
		name           string
		shards         []checkpoint.Shard
		leases         []checkpoint.Lease
		create, remove []string
	}{
		{"an empty table: the roots alone, their children come when they end", family, nil, []string{"p"}, nil},
		{"somebody died between the end of the parent and its children", family,
			[]checkpoint.Lease{lease("p", checkpoint.ShardEnd)}, []string{"c"}, nil},
		{"the parent is not at its end", family, []checkpoint.Lease{lease("p", five)}, nil, nil},
		{"the child has begun", family,
			[]checkpoint.Lease{lease("p", checkpoint.ShardEnd), lease("c", five, "p")}, nil, []string{"p"}},
		{"the child has not begun", family,
			[]checkpoint.Lease{lease("p", checkpoint.ShardEnd), lease("c", checkpoint.TrimHorizon, "p")}, nil, nil},
		{"the parent is through and removed, and the stream still lists it", family,
			[]checkpoint.Lease{lease("c", five, "p")}, nil, nil},
		{"the same two generations on", family, []checkpoint.Lease{lease("g", five, "c")}, nil, nil},
		{"n has joined the parent, and not yet the child", family,
			[]checkpoint.Lease{listing(lease("p", checkpoint.ShardEnd), "a", "n"), lease("c", five, "p")}, nil, nil},
		{"n has joined both", family,
			[]checkpoint.Lease{listing(lease("p", checkpoint.ShardEnd), "a", "n"), listing(lease("c", five, "p"), "a", "n")}, nil, []string{"p"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			create, remove := checkpoint.Audit(tc.shards, tc.leases, checkpoint.TrimHorizon, false)
			for _, x := range []struct {
				what string
				got  []checkpoint.Lease
				want []string
			}{{"create", create, tc.create}, {"remove", remove, tc.remove}} {
				var got []string
				for _, l := range x.got {
					got = append(got, l.Shard)
				}
				if !slices.Equal(got, x.want) {
					t.Errorf("%s %v, want %v", x.what, got, x.want)
				}
			}
		})
	}
}
