package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/internal/control"
	"github.com/shardline/shardline/internal/localaws"
)

// api gives a command through a worker's API.
func (p *process) api(token, method, path, body string) (status int, answer control.Result) {
	p.t.Helper()
	var said struct{ API string }
	if err := json.Unmarshal([]byte(p.awaitLog(`"API"`)), &said); err != nil {
		p.t.Fatal(err)
	}
	request, err := http.NewRequest(method, said.API+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		p.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(&answer); err != nil {
		p.t.Fatalf("%s: %v", text, err)
	}
	return response.StatusCode, answer
}

// withToken adds a token to a configuration.
func (s *scene) withToken(config string) string {
	s.t.Helper()
	text, err := os.ReadFile(config)
	if err != nil {
		s.t.Fatal(err)
	}
	text = bytes.Replace(text, []byte(`api: "127.0.0.1:0"`), []byte(`api: "127.0.0.1:0", token: hunter2`), 1)
	if err := os.WriteFile(config, text, 0o600); err != nil {
		s.t.Fatal(err)
	}
	return config
}

// TestCommandedDestinations pauses, resumes, replays over a split, and removes
// destinations of a fleet under load, of which a worker is killed in the middle
// of the replay.
func TestCommandedDestinations(t *testing.T) {
	t.Parallel()
	s := newScene(t, localaws.Config{}, 2)
	one, other := s.receiver("one"), s.receiver("other")
	config := s.withToken(s.config(settings{failover: 3 * time.Second}))
	a, b := s.start(config), s.start(config)
	s.awaitLeases("they share", ownedBy(1, a, b))
	s.some(40, 20)
	s.awaitThrough(one, other)

	// A pause is in force when it says so; the other one goes on.
	if code, stdout, stderr := s.command("destinations", "pause", "one", "--reason", "they move", "--config", config); code != 0 || !strings.Contains(stdout, "2 of 2 leases in force") {
		t.Fatalf("exit %d: %s%s", code, stdout, stderr)
	}
	before := one.count()
	s.some(40, 20)
	s.awaitThrough(other)
	if got := one.count(); got != before {
		t.Errorf("%d requests while it is paused", got-before)
	}
	if code, stdout, stderr := s.command("destinations", "list", "--config", config); code != 0 || !strings.Contains(stdout, "paused") || !strings.Contains(stdout, "they move") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	if status, answer := a.api("wrong", "POST", "/destinations/one/resume", ""); status != http.StatusUnauthorized {
		t.Errorf("resumed with a wrong token: %d %+v", status, answer)
	}
	if status, answer := a.api("hunter2", "POST", "/destinations/one/resume", `{"wait": "20s"}`); status != http.StatusOK || answer.State != control.InForce {
		t.Errorf("resume: %d %+v", status, answer)
	}
	s.awaitThrough(one, other)

	// A replay over a split, whose worker dies: what came since the time comes
	// again, in order, as another delivery; nobody else gets anything again but
	// for the killed worker.
	from := time.Now().UTC()
	mark := s.mark()
	time.Sleep(time.Until(from.Add(20 * time.Millisecond))) // times of the stream are in milliseconds
	s.some(60, 20)
	s.split(0)
	s.some(60, 20)
	s.awaitLeases("the children have begun", begun(2, 3))
	s.awaitThrough(one, other)
	since := func() (again int) {
		ids := map[string]map[string]bool{}
		for _, q := range one.all() {
			if m := s.of[q.digest]; q.accepted && m.index >= mark[m.key] {
				key := fmt.Sprint(m.key, m.index)
				if ids[key] == nil {
					ids[key] = map[string]bool{}
				}
				ids[key][q.id] = true
			}
		}
		for _, of := range ids {
			if len(of) == 2 {
				again++
			}
		}
		return again
	}
	if n := since(); n != 0 {
		t.Fatalf("%d messages have two idempotency keys before the replay", n)
	}
	code, stdout, stderr := s.command("destinations", "replay", "one", "--from", from.Format(time.RFC3339Nano), "--id", "r-1", "--wait", "0", "--config", config)
	if code != 1 || !strings.Contains(stdout, "step 1 of 3, pausing") {
		t.Fatalf("exit %d: %s%s", code, stdout, stderr)
	}
	b.kill()
	if code, stdout, stderr = s.command("destinations", "replay", "one", "--from", from.Format(time.RFC3339Nano), "--config", config); code != 1 || !strings.Contains(stderr, "is under way since") {
		t.Errorf("a second replay: exit %d: %s%s", code, stdout, stderr)
	}
	await(t, "the replay is over", func() error {
		status, answer := a.api("hunter2", "GET", "/commands/r-1?wait=10s", "")
		if status != http.StatusOK {
			return fmt.Errorf("%d: %s", status, answer.State)
		}
		return nil
	})
	await(t, "everything since then came again", func() error {
		if n := since(); n < 120 {
			return fmt.Errorf("%d of 120", n)
		}
		return nil
	})
	s.some(20, 20)
	s.awaitThrough(one, other)
	s.checkOrder(nil, one)
	s.check(other)

	// One is no longer configured, and then forgotten.
	a.stop()
	config = s.config(settings{failover: 3 * time.Second, destinations: []destinationSettings{{receiver: other}}})
	c := s.start(config)
	s.some(20, 20)
	s.awaitThrough(other)
	if code, stdout, stderr := s.command("destinations", "remove", "one", "--wait", "30s", "--config", config); code != 0 {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	s.awaitLeases("one is on no roster", func(leases []checkpoint.Lease) error {
		for _, l := range leases {
			if slices.Contains(l.Roster, "one") || len(l.Behind) > 0 {
				return fmt.Errorf("%s: %s, %v", l.Shard, l.Roster, l.Behind)
			}
		}
		return nil
	})
	c.stop()
}
