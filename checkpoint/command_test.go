package checkpoint_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shardline/shardline/checkpoint"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// give gives a command that has to be applied.
func give(t *testing.T, s checkpoint.Store, c checkpoint.Command) checkpoint.Answer {
	t.Helper()
	a, err := checkpoint.Give(t.Context(), s, c, noon)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func command(verb checkpoint.Verb, keys ...string) checkpoint.Command {
	return checkpoint.Command{Verb: verb, Destinations: []string{"d"}, Keys: keys, By: "ann@host"}
}

// TestCommands gives commands one after the other and says what is desired of
// the destination d afterwards.
func TestCommands(t *testing.T) {
	replay := command(checkpoint.ReplayVerb)
	replay.From = checkpoint.At(noon)
	force := command(checkpoint.ResumeVerb)
	force.Force = true
	for _, tt := range []struct {
		name     string
		commands []checkpoint.Command
		want     string // what is desired: words
		note     string // of the last command
		refused  string // the last command is refused, and this is why
	}{
		{name: "pause", commands: []checkpoint.Command{command(checkpoint.PauseVerb)}, want: "paused(1)"},
		{name: "pause twice", commands: []checkpoint.Command{command(checkpoint.PauseVerb), command(checkpoint.PauseVerb)}, want: "paused(1)", note: "d: it is paused already, since 2026-03-01T12:00:00Z by ann@host"},
		{name: "pause and resume", commands: []checkpoint.Command{command(checkpoint.PauseVerb), command(checkpoint.ResumeVerb)}},
		{name: "resume what runs", commands: []checkpoint.Command{command(checkpoint.ResumeVerb)}, note: "d: it is not paused"},
		{name: "hold", commands: []checkpoint.Command{command(checkpoint.HoldVerb)}, want: "held(1)"},
		{name: "hold keys, then more of them", commands: []checkpoint.Command{command(checkpoint.HoldVerb, "k1"), command(checkpoint.HoldVerb, "k1", "k2")}, want: "k1(1) k2(2)"},
		{name: "release a key", commands: []checkpoint.Command{command(checkpoint.HoldVerb, "k1", "k2"), command(checkpoint.ReleaseVerb, "k1")}, want: "k2(1)"},
		{name: "release a key of a held destination", commands: []checkpoint.Command{command(checkpoint.HoldVerb), command(checkpoint.HoldVerb, "k1"), command(checkpoint.ReleaseVerb, "k1")}, want: "held(1)",
			note: "d: the destination as a whole stays held, since 2026-03-01T12:00:00Z by ann@host"},
		{name: "release everything", commands: []checkpoint.Command{command(checkpoint.HoldVerb), command(checkpoint.HoldVerb, "k1"), command(checkpoint.ReleaseVerb)}},
		{name: "a release leaves a pause", commands: []checkpoint.Command{command(checkpoint.PauseVerb), command(checkpoint.HoldVerb), command(checkpoint.ReleaseVerb)}, want: "paused(1)"},
		{name: "replay", commands: []checkpoint.Command{replay}, want: "replay(1)"},
		{name: "two replays at once", commands: []checkpoint.Command{replay, replay}, want: "replay(1)",
			refused: "a replay from AT_TIMESTAMP:1772366400000 is under way since 2026-03-01T12:00:00Z by ann@host (step 1 of 3: pausing): one at a time"},
		{name: "give a replay up", commands: []checkpoint.Command{replay, command(checkpoint.ResumeVerb)}, note: "d: its replay was given up: step 1 of 3: pausing"},
		{name: "replay what is paused", commands: []checkpoint.Command{command(checkpoint.PauseVerb), replay}, want: "paused(1) replay(2)",
			note: "d: it is paused since 2026-03-01T12:00:00Z by ann@host, and stays so when it is set back: resume it then"},
		{name: "remove", commands: []checkpoint.Command{command(checkpoint.PauseVerb), command(checkpoint.HoldVerb, "k"), command(checkpoint.RemoveVerb)}, want: "removal(3)"},
		{name: "pause what is removed", commands: []checkpoint.Command{command(checkpoint.RemoveVerb), command(checkpoint.PauseVerb)}, want: "removal(1)", refused: "it is being removed since 2026-03-01T12:00:00Z by ann@host"},
		{name: "pause keys", commands: []checkpoint.Command{command(checkpoint.PauseVerb, "k")}, refused: "pause is not of single keys"},
		{name: "nobody", commands: []checkpoint.Command{{Verb: checkpoint.PauseVerb}}, refused: "pause which destinations?"},
		{name: "no such verb", commands: []checkpoint.Command{command("stop")}, refused: `there is no command "stop"`},
		{name: "replay from the tip", commands: []checkpoint.Command{{Verb: checkpoint.ReplayVerb, Destinations: []string{"d"}, From: checkpoint.Latest}}, refused: "a replay from LATEST would skip what is not settled"},
		{name: "pause from somewhere", commands: []checkpoint.Command{{Verb: checkpoint.PauseVerb, Destinations: []string{"d"}, From: checkpoint.At(noon)}}, refused: "pause begins nowhere: only replay does"},
		{name: "a key of 2 kB", commands: []checkpoint.Command{command(checkpoint.HoldVerb, strings.Repeat("k", 2000))}, refused: "longer than 1024 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store := &checkpoint.Memory{}
			for i, c := range tt.commands {
				a, err := checkpoint.Give(t.Context(), store, c, noon)
				switch last := i == len(tt.commands)-1; {
				case last && tt.refused != "":
					if !errors.Is(err, checkpoint.ErrRefused) || !strings.Contains(err.Error(), tt.refused) {
						t.Errorf("error %v, want a refusal: %s", err, tt.refused)
					}
				case err != nil:
					t.Fatal(err)
				case last && strings.Join(a.Notes, "; ") != tt.note:
					t.Errorf("notes %q, want %q", a.Notes, tt.note)
				}
			}
			d, err := store.Desired(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got := words(d.Wish("d")); got != tt.want {
				t.Errorf("desired %q, want %q", got, tt.want)
			}
		})
	}
}

// words say what is wanted, and with which versions.
func words(w checkpoint.Wish) string {
	var all []string
	add := func(what string, o *checkpoint.Order) {
		if o != nil {
			all = append(all, fmt.Sprintf("%s(%d)", what, o.Version))
		}
	}
	add("paused", w.Pause)
	add("held", w.Hold)
	var keys []string
	for key, o := range w.Keys {
		keys = append(keys, fmt.Sprintf("%s(%d)", key, o.Version))
	}
	slices.Sort(keys)
	all = append(all, keys...)
	if w.Replay != nil {
		add("replay", &w.Replay.Order)
	}
	if w.Removal != nil {
		add("removal", &w.Removal.Order)
	}
	return strings.Join(all, " ")
}

// A resume in the middle of a replay leaves shards that were set back beside
// others that were not: it needs to be forced.
func TestResumeWhileSetting(t *testing.T) {
	order := checkpoint.Order{Version: 1, At: noon}
	store := &checkpoint.Memory{}
	if err := store.SetDesired(t.Context(), 0, checkpoint.Desired{Version: 2, Destinations: map[string]checkpoint.Wish{
		"d": {Replay: &checkpoint.Replay{Order: order, From: checkpoint.At(noon), Set: 2}}}}); err != nil {
		t.Fatal(err)
	}
	c := command(checkpoint.ResumeVerb)
	if _, err := checkpoint.Give(t.Context(), store, c, noon); !errors.Is(err, checkpoint.ErrRefused) {
		t.Errorf("error %v, want a refusal", err)
	}
	c.Force = true
	a := give(t, store, c)
	if words(a.Desired.Wish("d")) != "" || a.Notes[0] != "d: its replay was given up: step 2 of 3: setting positions" {
		t.Errorf("desired %q, notes %q", words(a.Desired.Wish("d")), a.Notes)
	}
}

// An id is applied once: also when the write that applied it seemed to fail.
func TestCommandOnce(t *testing.T) {
	table := &checkpoint.Memory{}
	pause := command(checkpoint.PauseVerb)
	pause.ID = "p-1"
	first := give(t, table, pause)
	give(t, table, command(checkpoint.ResumeVerb))
	again := give(t, table, pause)
	if !again.Again || again.Version != first.Version || words(again.Desired.Wish("d")) != "" {
		t.Errorf("again: %+v, want version %d and no pause", again, first.Version)
	}
	other := pause
	other.Verb = checkpoint.HoldVerb
	if _, err := checkpoint.Give(t.Context(), table, other, noon); !errors.Is(err, checkpoint.ErrRefused) || !strings.Contains(err.Error(), "is that of another command") {
		t.Errorf("another command under the id: %v", err)
	}

	for _, outcome := range []checkpoint.Outcome{checkpoint.Landed, checkpoint.Fail, checkpoint.Throttle} {
		client := table.Client()
		writes := 0
		client.Fault = func(op, _ string) checkpoint.Outcome {
			if op != "set_desired" {
				return checkpoint.None
			}
			if writes++; writes == 1 {
				return outcome
			}
			return checkpoint.None
		}
		before, _ := table.Desired(t.Context())
		a := give(t, client, command(checkpoint.PauseVerb))
		if a.Again || a.Version != before.Version+1 || a.Desired.Version != before.Version+1 {
			t.Errorf("outcome %d: %+v, want version %d, once", outcome, a.Given, before.Version+1)
		}
	}
}

// Versions go on from what the leases have acknowledged, also when the state
// table was lost: no lease takes a new command for one that it obeyed.
func TestVersionAfterALostTable(t *testing.T) {
	store := &checkpoint.Memory{}
	l := checkpoint.NewLease(checkpoint.SingleStream, "", checkpoint.Shard{ID: "s"}, checkpoint.TrimHorizon)
	l.Acknowledged = 41
	if err := store.Create(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	if a := give(t, store, command(checkpoint.PauseVerb)); a.Version != 42 {
		t.Errorf("version %d, want 42", a.Version)
	}
}

// A destination that is being deployed is replayed when it is on every roster.
func TestReplayOfANewDestination(t *testing.T) {
	store := &checkpoint.Memory{}
	for _, text := range []string{"a roster=d,e", "b roster=e", "c new parents=b", "z old roster=e"} {
		if err := store.Create(t.Context(), standing(text)); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"d": "lease " + stream + ":b does not list it yet", "e": ""} {
		_, err := checkpoint.Give(t.Context(), store, checkpoint.Command{Verb: checkpoint.ReplayVerb, Destinations: []string{name}}, noon)
		if want == "" && err != nil || want != "" && (!errors.Is(err, checkpoint.ErrRefused) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}

func TestAcknowledgements(t *testing.T) {
	store := &checkpoint.Memory{}
	make := func(id, owner string, acknowledged int64) {
		l := checkpoint.NewLease(checkpoint.SingleStream, "", checkpoint.Shard{ID: id}, checkpoint.TrimHorizon)
		l.Acknowledged = acknowledged
		if err := store.Create(t.Context(), l); err != nil {
			t.Fatal(err)
		}
		if owner != "" {
			if _, err := store.Take(t.Context(), l, owner, "tenure"); err != nil {
				t.Fatal(err)
			}
		}
	}
	make("s1", "", 0)
	make("s2", "w1", 7)
	make("s3", "w1", 6)
	leases, _ := store.ListNow(t.Context())
	got := checkpoint.Acknowledgements(leases, 7)
	for i, want := range []checkpoint.Obedience{checkpoint.Unowned, checkpoint.InForce, checkpoint.Waiting} {
		if got[i].Obedience != want {
			t.Errorf("%s: %s, want %s", got[i].Shard, got[i].Obedience, want)
		}
	}
}
