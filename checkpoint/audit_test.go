package checkpoint_test

import (
	"slices"
	"testing"
	"time"

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
		{"one of two children has no lease: the parent stays until it has",
			[]checkpoint.Shard{shard("p"), shard("c", "p"), shard("d", "p")},
			[]checkpoint.Lease{lease("p", checkpoint.ShardEnd), lease("c", five, "p")}, []string{"d"}, nil},
		{"the same when the parent's lease is gone",
			[]checkpoint.Shard{shard("p"), shard("c", "p"), shard("d", "p")},
			[]checkpoint.Lease{lease("c", five, "p")}, []string{"d"}, nil},
		{"a merge whose second parent has not ended",
			[]checkpoint.Shard{shard("p"), shard("q"), shard("m", "p", "q")},
			[]checkpoint.Lease{lease("p", checkpoint.ShardEnd), lease("q", five)}, nil, nil},
		{"a merge whose second parent has no lease",
			[]checkpoint.Shard{shard("p"), shard("q"), shard("m", "p", "q")},
			[]checkpoint.Lease{lease("p", checkpoint.ShardEnd)}, []string{"q"}, nil},
		{"a merge of which both parents have ended",
			[]checkpoint.Shard{shard("p"), shard("q"), shard("m", "p", "q")},
			[]checkpoint.Lease{lease("p", checkpoint.ShardEnd), lease("q", checkpoint.ShardEnd)}, []string{"m"}, nil},
		{"a merge of which one parent is trimmed",
			[]checkpoint.Shard{shard("p"), shard("m", "p", "trimmed")},
			[]checkpoint.Lease{lease("p", checkpoint.ShardEnd)}, []string{"m"}, nil},
		{"everybody was removed from the parent, and n is on the child", family,
			[]checkpoint.Lease{listing(lease("p", checkpoint.ShardEnd), checkpoint.Nobody), listing(lease("c", five, "p"), "n")}, nil, []string{"p"}},
		{"n has joined the parent, and not yet the child", family,
			[]checkpoint.Lease{listing(lease("p", checkpoint.ShardEnd), "a", "n"), lease("c", five, "p")}, nil, nil},
		{"n has joined both", family,
			[]checkpoint.Lease{listing(lease("p", checkpoint.ShardEnd), "a", "n"), listing(lease("c", five, "p"), "a", "n")}, nil, []string{"p"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			create, remove := checkpoint.Audit(tc.shards, tc.leases, checkpoint.TrimHorizon, false, nil)
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

// TestAuditAtTheTip: an application that begins with what comes needs no closed
// shard.
func TestAuditAtTheTip(t *testing.T) {
	tip := checkpoint.At(time.UnixMilli(1000))
	shards := []checkpoint.Shard{
		{ID: "c2", Parents: []string{"p"}, Start: "20"}, {ID: "c1", Parents: []string{"p"}, Start: "10"},
		{ID: "p", Start: "5", Closed: true}, {ID: "solo", Start: "6", Parents: []string{"trimmed"}},
	}
	create, _ := checkpoint.Audit(shards, nil, tip, true, nil)
	var got []string
	for _, l := range create {
		got = append(got, l.Shard)
		if l.Checkpoint != tip {
			t.Errorf("%s begins at %s", l.Shard, l.Checkpoint)
		}
	}
	if !slices.Equal(got, []string{"solo", "c1", "c2"}) {
		t.Errorf("create %v", got)
	}
	// A split since: the children follow their parent, whatever the tip is.
	shards = append(shards, checkpoint.Shard{ID: "s1", Parents: []string{"solo"}, Start: "30"})
	begun := checkpoint.Saved{Checkpoint: checkpoint.Number("30", 0)}
	leased := func(at checkpoint.Position) []checkpoint.Lease {
		return []checkpoint.Lease{{Shard: "c1", Parents: []string{"p"}, Saved: begun}, {Shard: "c2", Parents: []string{"p"}, Saved: begun}, {Shard: "solo", Saved: checkpoint.Saved{Checkpoint: at}}}
	}
	if create, _ = checkpoint.Audit(shards, leased(checkpoint.Number("6", 0)), tip, true, nil); len(create) != 0 {
		t.Errorf("create %+v before the parent ends", create)
	}
	create, _ = checkpoint.Audit(shards, leased(checkpoint.ShardEnd), tip, true, nil)
	if len(create) != 1 || create[0].Shard != "s1" || create[0].Checkpoint != checkpoint.TrimHorizon {
		t.Errorf("create %+v, want s1 at TRIM_HORIZON", create)
	}
	// An ancestor was trimmed before its lease was made: what follows it is
	// newer than first sight, closed or not.
	shards = []checkpoint.Shard{{ID: "x", Start: "40", Parents: []string{"trimmed"}, Closed: true}, {ID: "y", Start: "50", Parents: []string{"x"}}}
	for _, tc := range []struct{ leased, want checkpoint.Position }{
		{checkpoint.At(time.UnixMilli(7)), checkpoint.At(time.UnixMilli(7))},
		{checkpoint.Number("6", 0), checkpoint.TrimHorizon},
	} {
		create, _ = checkpoint.Audit(shards, leased(tc.leased), tip, true, nil)
		if len(create) != 1 || create[0].Shard != "x" || create[0].Checkpoint != tc.want {
			t.Errorf("create %+v, want x at %s", create, tc.want)
		}
	}
}

// TestAuditFirst: a worker whose first listing is newer than the one that
// decided, and one whose listing is older, create what was decided and nothing
// that lies above or below it.
func TestAuditFirst(t *testing.T) {
	tip := checkpoint.At(time.UnixMilli(1000))
	p := checkpoint.Shard{ID: "1", Start: "5"}
	closed := p
	closed.Closed = true
	children := []checkpoint.Shard{closed, {ID: "2", Parents: []string{"1"}, Start: "10"}, {ID: "3", Parents: []string{"1"}, Start: "20"}}
	whole := map[string]checkpoint.Position{"1": tip}
	split := map[string]checkpoint.Position{"2": tip, "3": tip}
	made := []checkpoint.Lease{{Shard: "3", Parents: []string{"1"}, Saved: checkpoint.Saved{Checkpoint: tip}}}
	for _, tc := range []struct {
		name   string
		shards []checkpoint.Shard
		leases []checkpoint.Lease
		first  map[string]checkpoint.Position
		want   []string
	}{
		{"before a split, seen after it", children, nil, whole, []string{"1"}},
		{"after a split, seen before it", []checkpoint.Shard{p}, nil, split, nil},
		{"after a split, seen after it", children, nil, split, []string{"2", "3"}},
		{"made in part by a worker that died", children, made, split, []string{"2"}},
		{"long ago: the stream has trimmed it", []checkpoint.Shard{{ID: "7", Start: "70"}}, nil, split, []string{"7"}},
		{"read since: nothing is made again", children, []checkpoint.Lease{
			{Shard: "2", Parents: []string{"1"}, Saved: checkpoint.Saved{Checkpoint: checkpoint.Number("11", 0)}}, made[0]}, whole, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			create, _ := checkpoint.Audit(tc.shards, tc.leases, tip, true, tc.first)
			var got []string
			for _, l := range create {
				got = append(got, l.Shard)
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("create %v, want %v", got, tc.want)
			}
		})
	}
}
