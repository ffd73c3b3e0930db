package checkpoint_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/shardline/shardline/checkpoint"
)

// TestImportVMware: shards are listed as ID or ID<PARENT,PARENT; rows are what
// the library writes, and what it should not.
func TestImportVMware(t *testing.T) {
	now := time.Date(2026, 3, 1, 6, 0, 0, 0, time.UTC)
	initial := checkpoint.At(now.Add(-time.Hour))
	row := func(shard string, pairs ...string) item {
		it := item{"ShardID": s(shard)}
		for i := 0; i < len(pairs); i += 2 {
			it[pairs[i]] = s(pairs[i+1])
		}
		return it
	}
	begin := initial.String()
	for _, c := range []struct {
		name      string
		shards    string
		rows      []item
		completed bool
		want      string // shard=position, shard- for nothing, shard! for a row that cannot be read; in order
		why       map[string]string
	}{
		{name: "digits", shards: "a b", rows: []item{row("a", "Checkpoint", "49"), row("b", "Checkpoint", "50")}, want: "a=49:0 b=50:0"},
		{name: "whole records", shards: "a", rows: []item{row("a", "Checkpoint", "49")}, completed: true, want: fmt.Sprintf("a=49:%d", int64(math.MaxInt64))},
		{name: "no checkpoint: the initial position", shards: "a b", rows: []item{row("a"), row("b", "Checkpoint", "")}, want: "a=" + begin + " b=" + begin},
		{name: "no checkpoint, but a parent is listed", shards: "a b<a", rows: []item{row("a", "Checkpoint", "49"), row("b", "Checkpoint", "", "ParentShardId", "a")}, want: "a=49:0 b=TRIM_HORIZON",
			why: map[string]string{"b": "read on when a is at its end"}},
		{name: "no checkpoint, and the parent is gone", shards: "b<a", rows: []item{row("b", "ParentShardId", "a")}, want: "b=" + begin},
		{name: "a row whose shard is gone", shards: "b<a", rows: []item{row("a", "Checkpoint", "SHARD_END"), row("b", "Checkpoint", "50")}, want: "a- b=50:0", why: map[string]string{"a": "lists no such shard"}},
		// Nothing else would make the children's leases (the audit of KCL skips descendants).
		{name: "at its end: the children get leases", shards: "a b<a c<a d<c", rows: []item{row("a", "Checkpoint", "SHARD_END"), row("b", "Checkpoint", "50")},
			want: "a=SHARD_END b=50:0 c=TRIM_HORIZON d-", why: map[string]string{"c": "continues a", "d": "audit"}},
		{name: "a merge, both parents at their ends", shards: "a b m<a,b", rows: []item{row("a", "Checkpoint", "SHARD_END"), row("b", "Checkpoint", "SHARD_END")},
			want: "a=SHARD_END b=SHARD_END m=TRIM_HORIZON", why: map[string]string{"m": "a and b"}},
		{name: "a merge, one parent is still read", shards: "a b m<a,b", rows: []item{row("a", "Checkpoint", "SHARD_END"), row("b", "Checkpoint", "48")},
			want: "a=SHARD_END b=48:0 m=TRIM_HORIZON", why: map[string]string{"m": "when b is at its end, too"}},
		// Their workers gate a merged shard on one parent; ours on both.
		{name: "a merge, one parent was never seen", shards: "x a b<x m<a,b", rows: []item{row("x", "Checkpoint", "47"), row("a", "Checkpoint", "SHARD_END")},
			want: "x=47:0 a=SHARD_END b=TRIM_HORIZON m=TRIM_HORIZON", why: map[string]string{"b": "m, which continues it", "m": "when b is at its end, too"}},
		{name: "a merge, begun after one parent", shards: "a b m<a,b", rows: []item{row("a", "Checkpoint", "SHARD_END"), row("b", "Checkpoint", "48"), row("m", "Checkpoint", "60")},
			want: "a=SHARD_END b=48:0 m=60:0", why: map[string]string{"m": "read on when b is at its end"}},
		{name: "no row, but a child has one", shards: "a b<a", rows: []item{row("b", "Checkpoint", "60")}, want: "a- b=60:0", why: map[string]string{"a": "taken as read"}},
		{name: "no rows at all", shards: "a b<a", want: "a- b-", why: map[string]string{"a": "audit", "b": "audit"}},
		{name: "rows that cannot be read, each by itself", shards: "a b c d", rows: []item{row("a", "Checkpoint", "LATEST-ish"), {"ShardID": s("b"), "Checkpoint": n("49")},
			row("c", "AssignedTo", "w", "LeaseTimeout", "tomorrow"), row("d", "Checkpoint", "50"), {"Checkpoint": s("1")}},
			want: "! a! b! c! d=50:0", why: map[string]string{"a": `Checkpoint: "LATEST-ish"`, "b": "Checkpoint is no text", "c": `"tomorrow"`, "": "ShardID is missing"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := checkpoint.VMwareImport{Rows: c.rows, Initial: initial, Completed: c.completed, Now: now}
			for i, text := range strings.Fields(c.shards) {
				id, parents, _ := strings.Cut(text, "<")
				shard := checkpoint.Shard{ID: id, Start: fmt.Sprint(i), HashFrom: "0", HashTo: "9"}
				if parents != "" {
					shard.Parents = strings.Split(parents, ",")
				}
				in.Shards = append(in.Shards, shard)
			}
			var got []string
			for _, i := range checkpoint.ImportVMware(in) {
				switch {
				case i.Broken:
					got = append(got, i.Shard+"!")
				case i.Create == nil:
					got = append(got, i.Shard+"-")
				default:
					got = append(got, i.Shard+"="+i.Create.Checkpoint.String())
					if i.Create.Shard != i.Shard || i.Create.HashTo != "9" || i.Create.Owner != "" {
						t.Errorf("lease %+v", *i.Create)
					}
				}
				if want := c.why[i.Shard]; !strings.Contains(i.Why, want) {
					t.Errorf("%s: %q does not say %q", i.Shard, i.Why, want)
				}
				if i.Why == "" {
					t.Errorf("%s: no reason", i.Shard)
				}
			}
			if text := strings.Join(got, " "); text != c.want {
				t.Errorf("got  %s\nwant %s", text, c.want)
			}
		})
	}
}

// TestImportVMwareOwners: only a time-out that has not passed says that a
// worker lives.
func TestImportVMwareOwners(t *testing.T) {
	now := time.Date(2026, 3, 1, 6, 0, 0, 0, time.UTC)
	for timeout, want := range map[string]string{
		"2026-03-01T06:00:00.000000001Z": "w", "2026-03-01T06:00:00Z": "", "2026-03-01T07:30:00+02:00": "", "2026-03-01T05:30:00-02:00": "w", "": "",
	} {
		got := checkpoint.ImportVMware(checkpoint.VMwareImport{Now: now, Shards: []checkpoint.Shard{{ID: "a"}},
			Rows: []item{{"ShardID": s("a"), "AssignedTo": s("w"), "LeaseTimeout": s(timeout), "Checkpoint": s("49")}}})
		if len(got) != 1 || got[0].Live != want || got[0].Broken {
			t.Errorf("%q: %+v, want %q", timeout, got, want)
		}
	}
}
