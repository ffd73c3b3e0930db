package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/internal/control"
)

// destinations runs "shardline destinations" with args, and the configuration.
func (l *leaseTrial) destinations(args ...string) (code int, stdout, stderr string) {
	l.t.Helper()
	var out, errors strings.Builder
	code = run(l.t.Context(), append(append([]string{"destinations"}, args...), "--config", l.config), environment{
		stdin: strings.NewReader(""), stdout: &out, stderr: &errors, getenv: func(string) string { return "" },
	})
	return code, out.String(), errors.String()
}

// TestDestinations commands destinations of an application of which one lease
// has an owner that obeys when it is told to, and the other none.
func TestDestinations(t *testing.T) {
	l := newLeaseTrial(t, 2)
	if code, _, stderr := l.destinations("list"); code != 1 || !strings.Contains(stderr, "does not exist") {
		t.Errorf("without tables: exit %d: %s", code, stderr)
	}
	l.prepare()
	l.create(shardID(0), 0, 2, checkpoint.Number("7", 0))
	owned := l.take(l.create(shardID(1), 1, 2, checkpoint.Number("7", 0)), "worker-1")
	obey := func(version int64) {
		t.Helper()
		saved := owned.Saved
		saved.Roster = []string{"other", "partner", "gone"}
		saved.Acknowledged = version
		var err error
		if owned, err = l.store.Renew(t.Context(), owned, &saved); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(what string, wantCode int, words []string, args ...string) string {
		t.Helper()
		code, stdout, stderr := l.destinations(args...)
		if code != wantCode {
			t.Errorf("%s: exit %d, want %d: %s%s", what, code, wantCode, stdout, stderr)
		}
		for _, word := range words {
			if !strings.Contains(stdout+stderr, word) {
				t.Errorf("%s: no %q in\n%s%s", what, word, stdout, stderr)
			}
		}
		return stdout
	}
	obey(0)
	waiting := "waiting: " + owned.Key + ": worker-1 has not acknowledged it"
	expect("pause", 1, []string{waiting, "nobody owns it; whoever takes it obeys first", "command p-1 applied", "1 of 2 leases in force"},
		"pause", "partner", "--id", "p-1", "--reason", "they move", "--wait", "0")
	obey(1)
	expect("the same once more", 0, []string{"in force: " + owned.Key, "command p-1 was applied before: in force; 2 of 2 leases in force"}, "pause", "partner", "--id", "p-1")
	expect("paused already", 1, []string{"note: partner: it is paused already, since"}, "pause", "partner", "--wait", "0s")
	expect("list", 0, []string{"partner      paused ", ": they move", "gone (not configured)"[:4], "delivering (not configured)"}, "list")
	expect("list of one", 0, []string{"partner      paused", owned.Key, "worker-1  7:0"}, "list", "partner")
	expect("list of none", 1, []string{"nobody: unknown"}, "list", "nobody")
	expect("hold keys", 1, []string{"hold other: command "}, "hold", "other", "--key", "hotel 1", "--key", "hotel 2", "--wait", "0")
	expect("a destination that is not there", 1, []string{"no destination of that name; there are other, partner"}, "pause", "partnr")
	expect("one that is not configured any more", 1, []string{"gone: unknown: it is not configured any more", "destinations remove gone"}, "pause", "gone")
	expect("nobody", 1, []string{"say which destinations"}, "pause")
	expect("a replay from nowhere", 1, []string{"none of trim_horizon, an RFC 3339 time"}, "replay", "partner", "--from", "monday")
	expect("a replay from the future", 1, []string{"a replay cannot begin in the future"}, "replay", "partner", "--from", "2999-01-01T00:00:00Z")
	expect("a replay", 1, []string{"note: source hotels-a keeps records for 24h0m0s", "note: partner: it is paused since", "step 1 of 3, pausing"},
		"replay", "partner", "--from", "2026-01-01T00:00:00Z", "--wait", "0")
	expect("a second replay", 1, []string{"a replay from AT_TIMESTAMP:1767225600000 is under way since"}, "replay", "partner", "--from", "trim_horizon")
	expect("resume", 1, []string{"note: partner: its replay was given up"}, "resume", "--all", "--wait", "0")
	expect("remove what is configured", 1, []string{"other is still configured"}, "remove", "other")
	expect("remove", 1, []string{"remove gone: command r-1 applied: step 1 of 2, stopping; the workers go on with it by themselves"}, "remove", "gone", "--id", "r-1", "--wait", "0")

	var all control.Destinations
	if err := json.Unmarshal([]byte(expect("list as JSON", 0, nil, "list", "--json")), &all); err != nil {
		t.Fatal(err)
	}
	got := map[string]control.Destination{}
	for _, d := range all.Destinations {
		got[d.Name] = d
	}
	if all.Version != 6 || got["gone"].State != control.BeingRemoved || len(got["other"].HeldKeys) != 2 || got["partner"].State != control.Delivering {
		t.Errorf("%+v", all)
	}
	l.configure("store: memory", `{name: hotels-a, stream: "`+l.stream+`", initial_position: latest, subscribers: all_destinations}`)
	expect("a store in memory", 1, []string{"no lease table outside the worker's own process"}, "list")
}
