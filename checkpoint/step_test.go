package checkpoint_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shardline/shardline/checkpoint"
)

const stream = "111111111111:hotels:1700000000"

// standing is a lease of the stream by words: "ID owner=W ack=N roster=a,b behind=a end".
func standing(text string) checkpoint.Lease {
	words := strings.Fields(text)
	l := checkpoint.NewLease(checkpoint.MultiStream, stream, checkpoint.Shard{ID: words[0]}, checkpoint.Number("5", 0))
	for _, word := range words[1:] {
		name, value, _ := strings.Cut(word, "=")
		switch name {
		case "owner":
			l.Owner = value
		case "ack":
			fmt.Sscan(value, &l.Acknowledged)
		case "roster":
			l.Roster = strings.Split(value, ",")
		case "behind":
			l.Behind = map[string]checkpoint.Entry{value: {}}
		case "new":
			l.Checkpoint = checkpoint.TrimHorizon
		case "end":
			l.Checkpoint = checkpoint.ShardEnd
		case "parents":
			l.Parents = strings.Split(value, ",")
		case "old":
			l.Stream = "111111111111:hotels:1600000000"
		default:
			panic(word)
		}
	}
	return l
}

// TestStep says what a replay of d with version 4, set with version 6, does
// next, and a removal of d with version 4, whose names leave with version 6.
func TestStep(t *testing.T) {
	replay := func(set int64, streams ...string) checkpoint.Wish {
		return checkpoint.Wish{Replay: &checkpoint.Replay{Order: checkpoint.Order{Version: 4}, From: checkpoint.At(noon), Set: set, Streams: streams}}
	}
	pausing, setting, made := replay(0), replay(6), replay(6, stream)
	removal := func(set int64) checkpoint.Wish {
		return checkpoint.Wish{Removal: &checkpoint.Removal{Order: checkpoint.Order{Version: 4}, Set: set}}
	}
	stopping, leaving := removal(0), removal(6)
	one := replay(6, stream)
	one.Replay.Leases = map[string]checkpoint.Position{stream + ":a": checkpoint.TrimHorizon}
	for _, tt := range []struct {
		name   string
		wish   checkpoint.Wish
		made   bool
		leases []string
		want   string // what becomes of it; empty: nothing yet
	}{
		{"an owner has not paused", pausing, false, []string{"a owner=w ack=3 roster=d"}, ""},
		{"everybody has paused", pausing, false, []string{"a owner=w ack=4 roster=d", "b owner=w ack=5 roster=d"}, "setting at 8"},
		{"nobody owns a lease", pausing, false, []string{"a owner=w ack=4 roster=d", "b ack=1 roster=d"}, "setting at 8"},
		{"a lease that does not list it yet, and has an owner", pausing, false, []string{"a owner=w ack=3 roster=e"}, ""},
		{"a lease of the stream's earlier life", pausing, false, []string{"a owner=w ack=4 roster=d", "z old owner=w ack=1 roster=d"}, "setting at 8"},
		{"a lease acknowledged what is not known here", pausing, false, []string{"a owner=w ack=19 roster=d"}, "setting at 20"},
		{"not set", setting, true, []string{"a owner=w ack=5 roster=d"}, ""},
		{"not set, and nobody owns it", setting, true, []string{"a owner=w ack=6 roster=d", "b ack=5 roster=d"}, ""},
		{"set, but removed leases may be missing", setting, false, []string{"a owner=w ack=6 roster=d"}, ""},
		{"set, and none is missing", setting, true, []string{"a owner=w ack=6 roster=d"}, "over"},
		{"set, and none was missing before", made, false, []string{"a owner=w ack=6 roster=d"}, "over"},
		{"a child that nobody has taken", made, false, []string{"a owner=w ack=6 roster=d", "c new parents=a"}, "over"},
		{"who does not list it need not set it", made, false, []string{"a owner=w ack=6 roster=d", "b owner=w ack=4 roster=e"}, "over"},
		{"behind, off the roster", made, false, []string{"a owner=w ack=5 roster=e behind=d"}, ""},
		{"of one shard alone, not set", one, false, []string{"a owner=w ack=5 roster=d", "b owner=w ack=5 roster=d"}, ""},
		{"of one shard alone, set", one, false, []string{"a owner=w ack=6 roster=d", "b owner=w ack=5 roster=d"}, "over"},
		{"an owner may still deliver", stopping, false, []string{"a owner=w ack=4 roster=d,e", "b owner=v ack=3 roster=e"}, ""},
		{"nobody delivers, and an owner is gone", stopping, false, []string{"a owner=w ack=4 roster=d,e", "b ack=3 roster=d,e"}, "leaving at 8"},
		{"a child that nobody has taken delivers nothing", stopping, false, []string{"a owner=w ack=4 roster=d,e end", "c new parents=a"}, "leaving at 8"},
		{"on no roster, but nobody said that it stopped", stopping, false, []string{"a owner=w ack=3 roster=e"}, ""},
		{"still on a roster", leaving, false, []string{"a owner=w ack=6 roster=e", "b ack=4 roster=d,e"}, ""},
		{"still behind", leaving, false, []string{"a owner=w ack=6 roster=e", "b ack=4 roster=e behind=d"}, ""},
		{"an owner may still put it there", leaving, false, []string{"a owner=w ack=5 roster=e"}, ""},
		{"off every roster", leaving, false, []string{"a owner=w ack=6 roster=e", "b ack=3 roster=e"}, "over"},
		{"off every roster, and a child that nobody has taken", leaving, false, []string{"a owner=w ack=6 roster=e end", "c new parents=a"}, "over"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := checkpoint.Desired{Version: 7, Destinations: map[string]checkpoint.Wish{"d": tt.wish}}
			var leases []checkpoint.Lease
			for _, text := range tt.leases {
				leases = append(leases, standing(text))
			}
			var made []string
			if tt.made {
				made = []string{stream}
			}
			next := d.Step(leases, made, noon)
			got := ""
			switch w, there := next.Destinations["d"]; {
			case next.Version == d.Version:
			case !there:
				got = "over"
			case tt.wish.Removal != nil:
				got = fmt.Sprint("leaving at ", w.Removal.Set)
			case w.Replay == nil:
				got = "over"
			case w.Replay.Set != tt.wish.Replay.Set:
				if w.Replayed == nil || w.Replayed.Until != noon.Add(time.Minute) {
					t.Errorf("replayed: %+v", w.Replayed)
				}
				got = fmt.Sprint("setting at ", w.Replay.Set)
			}
			if got != tt.want {
				t.Errorf("%q, want %q: %+v", got, tt.want, next)
			}
			if tt.wish.Replay != nil && tt.wish.Replay.Set != d.Destinations["d"].Replay.Set || stopping.Removal.Set != 0 {
				t.Error("the state before was changed")
			}
		})
	}
}

// A stream is named when its leases are set, although another one's are not.
func TestStepOfTwoStreams(t *testing.T) {
	other := standing("x owner=w ack=5 roster=d")
	other.Stream, other.Key = "111111111111:other:1700000000", "111111111111:other:1700000000:x"
	d := checkpoint.Desired{Version: 7, Destinations: map[string]checkpoint.Wish{"d": {Replay: &checkpoint.Replay{Order: checkpoint.Order{Version: 4}, Set: 6}}}}
	next := d.Step([]checkpoint.Lease{standing("a owner=w ack=6 roster=d"), other}, []string{stream, other.Stream}, noon)
	if r := next.Destinations["d"].Replay; next.Version != 8 || r == nil || !slices.Equal(r.Streams, []string{stream}) {
		t.Fatalf("%+v", next.Destinations["d"])
	}
	other.Acknowledged = 6
	if next = next.Step([]checkpoint.Lease{standing("a owner=w ack=8 roster=d"), other}, []string{other.Stream}, noon); next.Version != 9 || len(next.Destinations) > 0 {
		t.Errorf("%+v", next)
	}
}

// TestAgain makes leases of p and q again, that were read to their end before a
// was; not of a child that has not begun, nor of what is not listed any more.
func TestAgain(t *testing.T) {
	shards := []checkpoint.Shard{
		{ID: "p", Start: "10", Closed: true, Parents: []string{"trimmed"}}, {ID: "q", Start: "20", Parents: []string{"p"}, Closed: true},
		{ID: "a", Start: "30", Parents: []string{"q"}}, {ID: "b", Start: "30", Parents: []string{"q"}, Closed: true}, {ID: "new", Start: "40", Parents: []string{"b"}},
	}
	leases := []checkpoint.Lease{standing("a owner=w roster=d,e parents=q"), standing("b owner=w roster=e,f parents=q"), standing("new new parents=b")}
	r := &checkpoint.Replay{From: checkpoint.At(noon), Set: 6}
	got := ""
	for _, l := range checkpoint.Again(shards, leases, "d", r) {
		got += fmt.Sprint(l.Shard, " at ", l.Checkpoint, " ", l.Roster, " behind ", l.Behind["d"].At, " ack ", l.Acknowledged, " of ", l.Parents, "; ")
	}
	want := fmt.Sprintf("q at SHARD_END [d e f] behind %[1]s ack 6 of [p]; p at SHARD_END [d e f] behind %[1]s ack 6 of [trimmed]; ", checkpoint.At(noon))
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if again := checkpoint.Again(shards, leases, "of another stream", r); len(again) > 0 {
		t.Errorf("of whoever does not get the stream: %+v", again)
	}
}

// TestInForce says which version a shard may acknowledge that delivers to b
// still, and has to set d back.
func TestInForce(t *testing.T) {
	order := func(v int64) *checkpoint.Order { return &checkpoint.Order{Version: v} }
	d := checkpoint.Desired{Version: 9, Destinations: map[string]checkpoint.Wish{
		"b": {Pause: order(5)}, "h": {Hold: order(2)},
		"d": {Pause: order(8), Replay: &checkpoint.Replay{Order: *order(3), Set: 7}},
		"r": {Removal: &checkpoint.Removal{Order: *order(2), Set: 6}},
		"s": {Removal: &checkpoint.Removal{Order: *order(3)}},
	}}
	for _, tt := range []struct {
		busy, due string
		want      int64
	}{
		{"", "", 9}, {"h", "h", 9}, {"b", "", 4}, {"d", "", 2}, {"", "d", 6}, {"b", "d", 4}, {"", "r", 5}, {"r", "", 1}, {"s", "", 2}, {"", "s", 9}, {"", "b", 9},
	} {
		is := func(names string) func(string) bool { return func(name string) bool { return names == name } }
		if got := d.InForce(is(tt.busy), is(tt.due)); got != tt.want {
			t.Errorf("busy %q, due %q: %d, want %d", tt.busy, tt.due, got, tt.want)
		}
	}
}

// TestNeeds says which leases somebody has to take for a removal of d.
func TestNeeds(t *testing.T) {
	removal := func(set int64) *checkpoint.Removal {
		return &checkpoint.Removal{Order: checkpoint.Order{Version: 4}, Set: set}
	}
	for _, tt := range []struct {
		name    string
		removal *checkpoint.Removal
		lease   string
		want    bool
	}{
		{"its owner may be dead, and has not stopped", removal(0), "a owner=w ack=3 roster=d,e end", true},
		{"whoever it lists, its owner may deliver", removal(0), "a owner=w ack=3 roster=e end", true},
		{"it has stopped", removal(0), "a owner=w ack=4 roster=d,e end", false},
		{"nobody owns it", removal(0), "a ack=3 roster=d,e end", false},
		{"listed", removal(6), "a ack=4 roster=d,e end", true},
		{"behind", removal(6), "a ack=4 roster=e behind=d end", true},
		{"it has left", removal(6), "a ack=6 roster=e end", false},
		{"it was never there", removal(6), "a ack=3 roster=e end", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := checkpoint.Desired{Version: 7, Destinations: map[string]checkpoint.Wish{"d": {Removal: tt.removal}}}
			if got := d.Needs(standing(tt.lease)); got != tt.want {
				t.Errorf("%t, want %t", got, tt.want)
			}
		})
	}
}
