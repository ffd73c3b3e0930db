package main

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shardline/shardline/internal/localaws"
)

// rewrite changes a configuration file by pairs of old and new text.
func (s *scene) rewrite(path string, pairs ...string) {
	s.t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	text := string(data)
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			s.t.Fatalf("the configuration has no %q:\n%s", pairs[i], text)
		}
		text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// reload sends SIGHUP and waits for its outcome.
func (p *process) reload(outcome string) {
	p.t.Helper()
	series := `shardline_config_reloads_total{outcome="` + outcome + `"}`
	before := p.sample(series)
	p.signal(syscall.SIGHUP)
	await(p.t, "the reload is "+outcome, func() error {
		if p.sample(series) != before {
			return nil
		}
		if p.ended() {
			return fmt.Errorf("it has ended")
		}
		return fmt.Errorf("not yet: %s", p.tail(3))
	})
}

// TestReload changes destinations of a worker that is busy: what they do from
// then on is the new file's, and no attempt of any destination is cut off, made
// twice or out of order.
func TestReload(t *testing.T) {
	t.Parallel()
	s := newScene(t, localaws.Config{}, 2)
	slow, moved, elsewhere, locked := s.receiver("slow"), s.receiver("moved"), newReceiver(t, "moved"), s.receiver("locked")
	slow.slow(300 * time.Millisecond)
	moved.slow(20 * time.Millisecond)
	locked.behaves(func(q *request) reply {
		if q.header.Get("Authorization") != "Bearer right" {
			return reply{status: http.StatusUnauthorized}
		}
		return accept()
	})
	config := s.config(settings{failover: 10 * time.Second, destinations: []destinationSettings{
		{receiver: slow, more: "timeout: 11s, concurrency: 16"},
		{receiver: moved},
		{receiver: locked, more: `auth: {type: bearer, token: wrong}`}}})
	s.some(300, 40)
	p := s.start(config)
	slow.awaitCount(t, 8)
	moved.awaitCount(t, 8)
	p.awaitLog("destination held", "locked")

	// Its own time-out is far below what it takes: the attempts in flight
	// keep the one that they began with.
	s.rewrite(config, moved.url, elsewhere.url, "token: wrong", "token: right", "timeout: 11s", "timeout: 9s", "window: 64MiB", "window: 64MiB")
	p.reload("applied")
	p.awaitLog("configuration applied", "destinations[moved].url changed", "destinations[locked].auth.token changed", "destinations[slow].timeout changed")
	s.some(100, 40)
	await(t, "everything is delivered, in the old way or the new one", func() error {
		for _, m := range s.messages() {
			if moved.took(m.digest)+elsewhere.took(m.digest) == 0 {
				return fmt.Errorf("%s number %d is missing", m.key, m.index)
			}
		}
		return nil
	})
	s.awaitThrough(slow, locked)
	if n := elsewhere.count(); n == 0 {
		t.Error("nothing went the new way")
	}
	for _, m := range s.messages() {
		if n := moved.took(m.digest) + elsewhere.took(m.digest); n != 1 {
			t.Errorf("%s number %d came %d times", m.key, m.index, n)
		}
	}
	for _, r := range []*receiver{slow, locked} {
		if result := s.check(r); result.Duplicates != 0 {
			t.Errorf("%s: %d duplicates", r.name, result.Duplicates)
		}
	}
	for _, q := range slow.all() {
		if q.attempt != 1 {
			t.Errorf("slow: an attempt number %d: one was cut off", q.attempt)
		}
	}
	// Order over both ends: nothing came to the old one after the new one had
	// something of its key.
	began := map[string]time.Time{}
	for _, q := range elsewhere.all() {
		if _, seen := began[q.key]; !seen {
			began[q.key] = q.time
		}
	}
	for _, q := range moved.all() {
		if at, seen := began[q.key]; seen && q.time.After(at) {
			t.Errorf("key %s went the old way after the new one", q.key)
		}
	}
	p.stop()
}

// TestReloadRefused: what cannot be applied changes nothing, and says why.
func TestReloadRefused(t *testing.T) {
	t.Parallel()
	s := newScene(t, localaws.Config{}, 1)
	r := s.receiver("partner")
	config := s.config(settings{destinations: []destinationSettings{{receiver: r, more: "timeout: 11s"}}})
	original, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	s.some(20, 5)
	p := s.start(config)
	s.awaitThrough(r)
	for _, test := range []struct {
		name  string
		pairs []string
		words []string
	}{
		{"a mistake", []string{"timeout: 11s", "timeout: soon"}, []string{"timeout", "is not a duration", `\"soon\"`}},
		{"two restarts, and one that could be applied", []string{"timeout: 11s", "timeout: 9s", "window: 64MiB", "window: 65MiB", "poll_interval: 200ms", "poll_interval: 300ms"},
			[]string{"these changes need a restart", `["sources[hotels-0].poll_interval changed","pipeline.window changed"]`}},
		{"a secret that is not there", []string{"timeout: 11s", `timeout: 9s, auth: {type: bearer, token: {secretsmanager: nobody}}`}, []string{"read secret nobody", "ResourceNotFoundException"}},
		{"a queue that cannot be opened", []string{"dead_letter_queues:\n", "dead_letter_queues:\n  - {name: more, type: file, path: /no/such/folder/dead.jsonl}\n"}, []string{"dead_letter_queues: more", "no such file"}},
	} {
		s.rewrite(config, test.pairs...)
		p.reload("refused")
		p.awaitLog(append([]string{"configuration not applied: the one before stays in force"}, test.words...)...)
		if got := p.sample("shardline_config_refused"); got != "1" {
			t.Errorf("%s: shardline_config_refused is %s", test.name, got)
		}
		if err := os.WriteFile(config, original, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p.reload("unchanged")
	if got := p.sample("shardline_config_refused"); got != "0" {
		t.Errorf("shardline_config_refused is %s", got)
	}
	// The level of the log, at which each line counts from then on.
	s.rewrite(config, "listen:", "log: {level: error}\nlisten:")
	p.reload("applied")
	lines := p.count(`"level":"info"`)
	s.rewrite(config, "timeout: 11s", "timeout: 8s")
	p.reload("applied")
	if n := p.count(`"level":"info"`); n != lines {
		t.Errorf("%d lines of level info at log.level error", n-lines)
	}
	s.some(20, 5)
	s.awaitThrough(r)
	p.stop()
}

// TestReloadDestinations adds and removes destinations of a worker that is busy:
// who stays notices nothing, who is removed keeps its place, and gets the rest
// when it is back.
func TestReloadDestinations(t *testing.T) {
	t.Parallel()
	s := newScene(t, localaws.Config{}, 2)
	stays, goes, late := s.receiver("stays"), s.receiver("goes"), s.receiver("late")
	stays.slow(200 * time.Millisecond)
	goes.slow(50 * time.Millisecond)
	line := func(r *receiver) string {
		return fmt.Sprintf("  - {name: %s, type: http, url: %q, headers: {X-Worker: \"${TEST_WORKER}\"}, dead_letters: failed}\n", r.name, r.url)
	}
	config := s.config(settings{failover: 10 * time.Second, destinations: []destinationSettings{{receiver: stays}, {receiver: goes}}})
	s.some(300, 40)
	p := s.start(config)
	stays.awaitCount(t, 8)
	goes.awaitCount(t, 8)

	s.rewrite(config, line(goes), line(late))
	p.reload("applied")
	p.awaitLog("configuration applied", "destinations[goes] removed", "destinations[late] added", "sources[hotels-0].subscribers[goes] removed")
	at := goes.count()
	if got := p.sample(`shardline_deliver_in_flight{destination="goes"}`); got != "" {
		t.Errorf("a metric of who is removed: %s", got)
	}
	mark := s.mark()
	s.some(100, 40)
	s.awaitSince(mark, late) // from the checkpoint on, and everything that is new
	if n := goes.count(); n != at {
		t.Errorf("%d attempts at who is removed", n-at)
	}

	s.rewrite(config, line(late), line(late)+line(goes))
	p.reload("applied")
	s.some(20, 40)
	s.awaitThrough(stays, goes)
	p.stop()
	for _, r := range []*receiver{stays, goes} {
		if result := s.check(r); r == stays && result.Duplicates != 0 {
			t.Errorf("%s: %d duplicates", r.name, result.Duplicates)
		}
	}
	for _, q := range stays.all() {
		if q.attempt != 1 {
			t.Errorf("stays: an attempt number %d: one was cut off", q.attempt)
		}
	}
	// The next worker knows all of them, and begins nobody anew.
	before := goes.count()
	next := s.start(config)
	s.some(10, 5)
	s.awaitThrough(stays, goes)
	s.awaitSince(mark, late)
	next.stop()
	if n := goes.count() - before; n > 10+40 {
		t.Errorf("%d attempts at goes after a restart, for 10 records", n)
	}
}
