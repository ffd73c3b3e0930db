package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/pipeline/deliver"
)

// TestDeadLettersRefuse gives the commands what they cannot do, and letters that
// stay.
func TestDeadLettersRefuse(t *testing.T) {
	l := newLeaseTrial(t, 1)
	l.prepare()
	owned := l.take(l.create(shardID(0), 0, 1, checkpoint.Number("7", 0)), "worker-1")
	saved := owned.Saved
	saved.Roster = []string{"other", "partner"}
	if _, err := l.store.Renew(t.Context(), owned, &saved); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "failed.jsonl")
	config, err := os.ReadFile(l.config)
	if err != nil {
		t.Fatal(err)
	}
	queues := fmt.Sprintf("dead_letter_queues:\n  - {name: failed, type: file, path: %q}\n  - {name: more, type: file, path: %q}\n", file, file+"-2")
	if err := os.WriteFile(l.config, append(config, queues...), 0o600); err != nil {
		t.Fatal(err)
	}
	expect := func(what string, wantCode int, words []string, args ...string) {
		t.Helper()
		var out strings.Builder
		code := run(t.Context(), append(append([]string{"dead-letters"}, args...), "--config", l.config), environment{
			stdin: strings.NewReader(""), stdout: &out, stderr: &out, getenv: func(string) string { return "" }})
		if code != wantCode {
			t.Errorf("%s: exit %d, want %d: %s", what, code, wantCode, out.String())
		}
		for _, word := range words {
			if !strings.Contains(out.String(), word) {
				t.Errorf("%s: no %q in\n%s", what, word, out.String())
			}
		}
	}
	expect("no queue named", 1, []string{"say which queue, with --queue: there are failed, more"}, "list")
	expect("another queue", 1, []string{"there is no dead letter queue lost; there are failed, more"}, "list", "--queue", "lost")
	expect("no time", 1, []string{"--since monday: neither a time such as"}, "list", "--queue", "failed", "--since", "monday")
	expect("no time between", 1, []string{"--since is not before --until"}, "list", "--queue", "failed", "--since", "1h", "--until", "2h")
	expect("nothing was ever written", 0, []string{"0 letters in failed"}, "list", "--queue", "failed")
	expect("an id that is none", 1, []string{`--id "a b": an id has`}, "redrive", "--queue", "failed", "--id", "a b")
	expect("a negative rate", 1, []string{"cannot be negative"}, "redrive", "--queue", "failed", "--rate", "-1")

	write := func(change func(*deliver.DeadLetter)) {
		t.Helper()
		letter := deliver.DeadLetter{Time: time.Now().Add(-time.Hour), Destination: "partner", Reason: "rejected", Source: "hotels-a", Stream: l.stream,
			StreamCreated: time.Now(), Shard: shardID(0), Sequence: "12", Key: "hotel 1", PartitionKey: "hotel 1", Data: []byte("<a/>")}
		change(&letter)
		f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.Write(letter.Line()); err != nil {
			t.Fatal(err)
		}
	}
	write(func(d *deliver.DeadLetter) { d.Destination = "gone" })
	write(func(d *deliver.DeadLetter) { d.Destination, d.Reason, d.Detail = "", "unreadable", "no XML" })
	write(func(d *deliver.DeadLetter) {
		d.Destination, d.Reason, d.Sequence, d.Gap = "", "gap", "", &deliver.GapNote{From: "1:0"}
	})
	stays := []string{"destination gone is not configured", "of source hotels-a, for no destination", "it notes a gap: the stream has trimmed its records",
		"0 letters delivered, 0 refused again, 0 left, 3 skipped"}
	expect("letters that stay", 0, stays, "redrive", "--queue", "failed")
	expect("they are still there", 0, []string{"3 letters in failed"}, "list", "--queue", "failed")
	expect("a reason", 0, []string{"1 letter in failed"}, "list", "--queue", "failed", "--reason", "unreadable")
	expect("no such letter", 1, []string{"queue failed: there is no letter ffff"}, "show", "ffff", "--queue", "failed")

	// The worker does not obey: nothing is delivered, and the key is free again.
	write(func(*deliver.DeadLetter) {})
	expect("a hold that is not in force", 1, []string{"the keys of partner are not held on every shard after 0s: nothing was redriven"},
		"redrive", "--queue", "failed", "--hold", "--wait", "0")
	desired, err := l.store.Desired(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if held := desired.Wish("partner").Keys; len(held) != 0 {
		t.Errorf("held are %v", held)
	}
}
