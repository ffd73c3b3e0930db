package checkpoint_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/shardline/shardline/checkpoint"
)

const checkedStream = "111111111111:hotels:1700000000"

// The hash range in two halves.
const (
	hashLow   = "0"
	hashMid   = "170141183460469231731687303715884105727"
	hashUpper = "170141183460469231731687303715884105728"
	hashTop   = "340282366920938463463374607431768211455"
)

// leaseItem is a whole lease of the checked stream, changed by pairs of an
// attribute and its value; nil removes it.
func leaseItem(shard, from, to string, changes ...any) item {
	it := item{"leaseKey": s(checkedStream + ":" + shard), "streamName": s(checkedStream), "shardId": s(shard),
		"leaseCounter": n("5"), "ownerSwitchesSinceCheckpoint": n("0"), "checkpoint": s("49"), "checkpointSubSequenceNumber": n("0"),
		"startingHashKey": s(from), "endingHashKey": s(to)}
	for i := 0; i < len(changes); i += 2 {
		name := changes[i].(string)
		switch v := changes[i+1].(type) {
		case nil:
			delete(it, name)
		case string:
			it[name] = s(v)
		case types.AttributeValue:
			it[name] = v
		}
	}
	return it
}

func readingOf(format checkpoint.KeyFormat, state map[string]map[string]types.AttributeValue, items ...item) checkpoint.Reading {
	return checkpoint.Reading{Table: "app", StateTable: "app-state", Format: format, Items: items, State: state}
}

// TestCheck damages a table that is whole in one way after the other.
func TestCheck(t *testing.T) {
	low, high := leaseItem("low", hashLow, hashMid), leaseItem("high", hashUpper, hashTop)
	const roster = "7e18f737311b2dc3b2f269dd78396b03" // of a, b
	rosters := map[string]map[string]types.AttributeValue{"roster/" + roster: {"key": s("roster/" + roster), "names": set("a", "b")}}
	entry := func(name, at string) *types.AttributeValueMemberM {
		return &types.AttributeValueMemberM{Value: item{name: s(at)}}
	}
	for _, c := range []struct {
		name  string
		items []item
		state map[string]map[string]types.AttributeValue
		want  string // severity kind lease/attribute/other, by lines
	}{
		{name: "whole", items: []item{low, high}},
		{name: "nothing", items: nil},
		{name: "whole, with a roster and somebody behind", items: []item{leaseItem("low", hashLow, hashMid, "roster", roster, "behind", entry("a", "48:0")), high}, state: rosters},
		// The lower half was split: 0 to 9 and 10 to mid; the parent is at its end.
		{name: "split", items: []item{leaseItem("low", hashLow, hashMid, "checkpoint", "SHARD_END", "childShardIds", set("c1", "c2")), high,
			leaseItem("c1", "0", "9", "parentShardId", set("low"), "checkpoint", "TRIM_HORIZON"), leaseItem("c2", "10", hashMid, "parentShardId", set("low"))}},
		{name: "split, parent not at its end yet", items: []item{low, high,
			leaseItem("c1", "0", "9", "parentShardId", set("low"), "checkpoint", "TRIM_HORIZON"), leaseItem("c2", "10", hashMid, "parentShardId", set("low"), "checkpoint", "TRIM_HORIZON")}},
		{name: "merged, parents' leases removed", items: []item{leaseItem("m", hashLow, hashTop, "parentShardId", set("low", "high"))}},
		{name: "latest at first sight: the parent never had a lease", items: []item{low,
			leaseItem("high", hashUpper, hashTop, "parentShardId", set("older"), "checkpoint", "AT_TIMESTAMP", "checkpointTimestamp", n("1700000000000"))}},
		{name: "a hole at the end", items: []item{low}, want: "error hole stream//" + hashUpper + "-" + hashTop},
		{name: "a hole at the front, and one between", items: []item{leaseItem("low", "5", "9"), high},
			want: "error hole stream//0-4\nerror hole stream//10-" + hashMid},
		{name: "an overlap of strangers", items: []item{low, leaseItem("high", hashMid, hashTop)}, want: "error overlap low//high"},
		{name: "no overlap of a grandchild", items: []item{low, high, leaseItem("c", "0", "9", "parentShardId", set("low"), "checkpoint", "TRIM_HORIZON"),
			leaseItem("g", "0", "4", "parentShardId", set("c"), "checkpoint", "TRIM_HORIZON")}},
		{name: "inverted", items: []item{leaseItem("low", hashMid, hashLow), high}, want: "error hash_range low/startingHashKey/\nwarning no_hash_range stream//"},
		{name: "half a range", items: []item{leaseItem("low", hashLow, hashMid, "endingHashKey", nil), high},
			want: "error hash_range low/startingHashKey/\nwarning no_hash_range stream//"},
		{name: "out of range", items: []item{low, leaseItem("high", hashUpper, "340282366920938463463374607431768211456")},
			want: "error hash_range high/startingHashKey/\nwarning no_hash_range stream//"},
		{name: "no ranges", items: []item{leaseItem("low", "", "", "startingHashKey", nil, "endingHashKey", nil)}, want: "warning no_hash_range stream//"},
		{name: "at its end, stranded", items: []item{leaseItem("low", hashLow, hashMid, "checkpoint", "SHARD_END"), high},
			want: "error children_missing low//\nerror hole stream//0-" + hashMid},
		{name: "one child lost", items: []item{leaseItem("low", hashLow, hashMid, "checkpoint", "SHARD_END", "childShardIds", set("c1", "c2")), high,
			leaseItem("c1", "0", "9", "parentShardId", set("low"))},
			want: "error child_missing low//c2\nerror hole stream//10-" + hashMid},
		{name: "a child ahead of its parent", items: []item{low, high, leaseItem("c1", "0", hashMid, "parentShardId", set("low"), "checkpoint", "50")},
			want: "error child_before_parent c1//low"},
		{name: "a parent without a lease", items: []item{low, leaseItem("high", hashUpper, hashTop, "parentShardId", set("older"), "checkpoint", "TRIM_HORIZON")},
			want: "warning parent_missing high//older"},
		{name: "mandatory attributes missing, of several items", items: []item{leaseItem("low", hashLow, hashMid, "leaseCounter", nil, "ownerSwitchesSinceCheckpoint", nil), leaseItem("high", hashUpper, hashTop, "checkpoint", nil)},
			want: "error missing_attribute high/checkpoint/\nerror missing_attribute low/leaseCounter/\nerror missing_attribute low/ownerSwitchesSinceCheckpoint/"},
		{name: "wrong types", items: []item{leaseItem("low", hashLow, hashMid, "leaseCounter", "five", "parentShardId", "older", "leaseOwner", n("1"), "checkpoint", "somewhere"), high},
			want: "error attribute low/checkpoint/\nerror attribute low/leaseCounter/\nerror attribute low/leaseOwner/\nerror attribute low/parentShardId/"},
		{name: "a form of later", items: []item{leaseItem("low", hashLow, hashMid, "roster", roster, "behind", &types.AttributeValueMemberM{Value: item{"a": n("7")}}), high}, state: rosters,
			want: "error attribute low/behind/"},
		{name: "behind without a place on the roster", items: []item{leaseItem("low", hashLow, hashMid, "roster", roster, "behind", entry("c", "48:0")), high}, state: rosters,
			want: "error behind_off_roster low/behind/"},
		{name: "roster gone", items: []item{leaseItem("low", hashLow, hashMid, "roster", roster), high}, want: "error roster_missing low/roster/roster/" + roster},
		{name: "roster damaged", items: []item{leaseItem("low", hashLow, hashMid, "roster", roster), high},
			state: map[string]map[string]types.AttributeValue{"roster/" + roster: {"key": s("roster/" + roster), "names": set("a")}}, want: "error roster_damaged low/roster/roster/" + roster},
		{name: "a part of the overflow gone", items: []item{leaseItem("low", hashLow, hashMid, "roster", roster, "behindRef", "behind/low/x"), high},
			state: map[string]map[string]types.AttributeValue{"roster/" + roster: rosters["roster/"+roster], "behind/low/x": {"key": s("behind/low/x"), "parts": n("2"), "entries": entry("a", "48:0")}},
			want:  "error overflow_missing low/behindRef/behind/low/x/1"},
		{name: "foreign items", items: []item{low, high, {"leaseKey": s("Leader"), "entityType": s("LEADER")}, {"leaseKey": s("x"), "entityType": s("FUTURE")}, {"leaseKey": s("y"), "a": s("b")}},
			want: "error foreign_item x//FUTURE\nerror foreign_item y//\nwarning kcl_item Leader//LEADER"},
		{name: "another key format", items: []item{low, high, {"leaseKey": s("shardId-000000000000"), "leaseCounter": n("1"), "ownerSwitchesSinceCheckpoint": n("0"), "checkpoint": s("LATEST")}},
			want: "error lease_key shardId-000000000000/leaseKey/"},
		{name: "streamName of another stream", items: []item{leaseItem("low", hashLow, hashMid, "streamName", "111111111111:resorts:1700000000"), high}, want: "error stream_name low/streamName/"},
		{name: "an older epoch, with holes", items: []item{low, high, leaseItem("old", "0", "9", "leaseKey", "111111111111:hotels:1600000000:old", "streamName", "111111111111:hotels:1600000000", "shardId", "old")},
			want: "warning old_epoch stream//"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := told(checkpoint.Check(readingOf(checkpoint.MultiStream, c.state, c.items...)))
			if got != c.want {
				t.Errorf("found\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

// told are findings by lines, without the stream of the keys.
func told(found []checkpoint.Finding) string {
	lines := make([]string, 0, len(found))
	for _, f := range found {
		if f.Stream != "" {
			f.Lease = "stream"
		}
		lines = append(lines, strings.ReplaceAll(fmt.Sprintf("%s %s %s/%s/%s", f.Severity, f.Kind, f.Lease, f.Attribute, f.Other), checkedStream+":", ""))
	}
	return strings.Join(lines, "\n")
}

// TestCheckSaysWhatToDo: whoever finds something says where and what to do.
func TestCheckSaysWhatToDo(t *testing.T) {
	found := checkpoint.Check(readingOf(checkpoint.MultiStream, nil,
		leaseItem("low", hashMid, hashLow, "checkpoint", "SHARD_END", "roster", "nope", "leaseCounter", nil), item{"leaseKey": s("x")}))
	if len(found) < 4 {
		t.Fatalf("found only %v", found)
	}
	for _, f := range found {
		if f.Table == "" || f.Lease+f.Stream == "" || f.Text == "" || f.Do == "" {
			t.Errorf("%+v", f)
		}
	}
}

func TestConfirmed(t *testing.T) {
	finding := func(kind, lease, text string) checkpoint.Finding {
		return checkpoint.Finding{Kind: kind, Lease: lease, Text: text}
	}
	before := []checkpoint.Finding{finding("hole", "a", "one"), finding("overlap", "b", "")}
	now := []checkpoint.Finding{finding("hole", "a", "two"), finding("hole", "c", "")}
	got := checkpoint.Confirmed(before, now)
	if len(got) != 1 || got[0].Text != "two" {
		t.Errorf("confirmed %v, want the hole of a as it is now", got)
	}
}

// TestCheckOwners: a tenure's first eight digits are of its worker's id, the
// next eight of its process.
func TestCheckOwners(t *testing.T) {
	tenure := func(worker, process string) string {
		return checkpoint.TenureOf(worker, process, strings.Repeat("0", 16))
	}
	const p1, p2 = "aaaaaaaa", "bbbbbbbb"
	renewed, dead := checkpoint.Age{Renewed: true, Ago: time.Second}, checkpoint.Age{Ago: 11 * time.Second}
	young := checkpoint.Age{Ago: 3 * time.Second}
	for _, c := range []struct {
		name   string
		owners [][]any // leaseOwner, tenure, checkpointOwner
		ages   []checkpoint.Age
		shared bool
		want   string
	}{
		{name: "one worker", owners: [][]any{{"w1", tenure("w1", p1), nil}, {"w1", tenure("w1", p1), nil}}, ages: []checkpoint.Age{renewed, renewed}},
		{name: "two workers", owners: [][]any{{"w1", tenure("w1", p1), nil}, {"w2", tenure("w2", p2), nil}}, ages: []checkpoint.Age{renewed, renewed}},
		{name: "nobody", owners: [][]any{{nil, nil, nil}}, ages: []checkpoint.Age{dead}},
		{name: "two processes, both live", owners: [][]any{{"w1", tenure("w1", p1), nil}, {"w1", tenure("w1", p2), nil}}, ages: []checkpoint.Age{renewed, renewed},
			want: "error two_processes 0/tenure/w1"},
		{name: "a restart under the same id", owners: [][]any{{"w1", tenure("w1", p1), nil}, {"w1", tenure("w1", p2), nil}}, ages: []checkpoint.Age{renewed, dead},
			want: "warning two_processes 0/tenure/w1"},
		{name: "a KCL worker", owners: [][]any{{"java", nil, nil}}, ages: []checkpoint.Age{renewed}, want: "error kcl_worker 0/leaseOwner/java"},
		{name: "a KCL worker that took it from us", owners: [][]any{{"java", tenure("w1", p1), nil}}, ages: []checkpoint.Age{dead}, want: "error kcl_worker 0/leaseOwner/java"},
		{name: "a KCL worker on a shared table", owners: [][]any{{"java", nil, nil}}, ages: []checkpoint.Age{renewed}, shared: true},
		{name: "given, not taken yet", owners: [][]any{{"w2", nil, nil}}, ages: []checkpoint.Age{young}},
		{name: "being handed over", owners: [][]any{{"w2", tenure("w1", p1), "w1"}}, ages: []checkpoint.Age{renewed}},
		{name: "handed over by a dead worker", owners: [][]any{{"w2", tenure("w1", p1), "w1"}}, ages: []checkpoint.Age{dead}, want: "warning stale_handover 0/checkpointOwner/w1"},
		{name: "handed over, not long ago", owners: [][]any{{"w2", tenure("w1", p1), "w1"}}, ages: []checkpoint.Age{young}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := checkpoint.Watched{Last: readingOf(checkpoint.MultiStream, nil), Ages: map[string]checkpoint.Age{}}
			for i, o := range c.owners {
				it := leaseItem(fmt.Sprint(i), hashLow, hashTop, "leaseOwner", o[0], "tenure", o[1], "checkpointOwner", o[2])
				w.Last.Items = append(w.Last.Items, it)
				w.Ages[checkedStream+":"+fmt.Sprint(i)] = c.ages[i]
			}
			if got := told(checkpoint.CheckOwners(w, 10*time.Second, c.shared)); got != c.want {
				t.Errorf("found %q, want %q", got, c.want)
			}
		})
	}
}

// TestAges watches a lease that is renewed, one that is not, and one that comes
// and goes, on fake time. Looks are 2 s apart and take 100 ms each.
func TestAges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ages := checkpoint.NewAgeing()
		look := func(counters map[string]string) {
			var items []item
			for _, key := range slices.Sorted(maps.Keys(counters)) {
				items = append(items, item{"leaseKey": s(key), "leaseCounter": n(counters[key])})
			}
			asked := time.Now()
			time.Sleep(100 * time.Millisecond)
			ages.See(checkpoint.Reading{Items: items}, asked, time.Now())
			time.Sleep(1900 * time.Millisecond)
		}
		look(map[string]string{"live": "1", "dead": "7", "gone": "1"})             // 0 to 0.1 s
		look(map[string]string{"live": "1", "dead": "7", "gone": "1", "new": "0"}) // 2 to 2.1 s
		look(map[string]string{"live": "2", "dead": "7", "new": "0"})              // 4 to 4.1 s
		look(map[string]string{"live": "2", "dead": "7", "new": "0"})              // 6 to 6.1 s
		want := map[string]checkpoint.Age{
			// It was still 1 at 2 s, and it is 8 s now.
			"live": {Renewed: true, Ago: 6 * time.Second},
			// It stood before 0.1 s and still at 6 s.
			"dead": {Ago: 5900 * time.Millisecond},
			"new":  {Ago: 3900 * time.Millisecond},
		}
		if got := ages.Of(time.Now()); !maps.Equal(got, want) {
			t.Errorf("ages %v, want %v", got, want)
		}
	})
}

// TestCheckSingleStream: what a KCL worker made is of the present stream, and
// what Shardline made says of which it is.
func TestCheckSingleStream(t *testing.T) {
	single := func(shard, from, to, stream string, changes ...any) item {
		it := leaseItem(shard, from, to, append([]any{"leaseKey", shard, "streamName", nil, "shardId", nil}, changes...)...)
		if stream != "" {
			it["stream"] = s(stream)
		}
		return it
	}
	const older = "111111111111:hotels:1600000000"
	for _, c := range []struct {
		name  string
		items []item
		want  string
	}{
		{name: "KCL's", items: []item{single("low", hashLow, hashMid, ""), single("high", hashUpper, hashTop, "")}},
		{name: "both", items: []item{single("low", hashLow, hashMid, ""), single("high", hashUpper, hashTop, checkedStream)}},
		{name: "an older one", items: []item{single("low", hashLow, hashMid, ""), single("high", hashUpper, hashTop, checkedStream), single("old", "0", "9", older)},
			want: "warning old_epoch stream//"},
		{name: "a hole", items: []item{single("low", hashLow, hashMid, "")}, want: "error hole stream//" + hashUpper + "-" + hashTop},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := told(checkpoint.Check(readingOf(checkpoint.SingleStream, nil, c.items...)))
			if got = strings.ReplaceAll(got, "hole //", "hole stream//"); got != c.want {
				t.Errorf("found\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}
