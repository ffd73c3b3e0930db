package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/shardline/shardline/internal/localaws"
)

// TestReadsDoNotGrow reads a shard as often for a hundred destinations as for
// one (P8), by the count of the service.
func TestReadsDoNotGrow(t *testing.T) {
	t.Parallel()
	const seconds = 4
	rates := make(map[int]map[string]float64)
	for _, n := range []int{1, 100} {
		s := newScene(t, localaws.Config{}, 2)
		r := s.receiver("all")
		var destinations []destinationSettings
		for i := range n {
			destinations = append(destinations, destinationSettings{receiver: r, name: fmt.Sprintf("channel-%03d", i)})
		}
		p := s.start(s.config(settings{failover: 10 * time.Second, destinations: destinations}))
		s.some(10, 10)
		r.awaitCount(t, 10*n)
		stopFeeding := s.keepFeeding(1, 10, 100*time.Millisecond)
		s.aws.ResetStats()
		began := time.Now()
		await(t, "a while of reading", func() error {
			if time.Since(began) < seconds*time.Second {
				return fmt.Errorf("%s", time.Since(began))
			}
			return nil
		})
		reads, took := s.aws.Stats().Reads, time.Since(began).Seconds()
		stopFeeding()
		rates[n] = make(map[string]float64)
		for shard, count := range reads {
			rates[n][strings.Fields(shard)[1]] = float64(count) / took
		}
		r.awaitCount(t, len(s.messages())*n)
		p.stop()
		if got := r.count(); got != len(s.messages())*n {
			t.Errorf("%d destinations: %d deliveries of %d messages", n, got, len(s.messages()))
		}
	}
	t.Logf("reads per second: %v", rates)
	for shard, one := range rates[1] {
		if hundred := rates[100][shard]; hundred > one*1.5 || one < 1 {
			t.Errorf("%s: %.2f reads a second for one destination, %.2f for a hundred", shard, one, hundred)
		}
	}
	if len(rates[1]) != 2 {
		t.Errorf("%d shards were read, want 2", len(rates[1]))
	}
}

// TestRunRefusesAConfiguration prints every problem and exits with 1, before
// anything is called.
func TestRunRefusesAConfiguration(t *testing.T) {
	t.Parallel()
	s := newScene(t, localaws.Config{}, 1)
	s.receiver("channel")
	good, err := os.ReadFile(s.config(settings{}))
	if err != nil {
		t.Fatal(err)
	}
	bad := string(good)
	for old, wrong := range map[string]string{
		"failover: 1s":                    "failover: 10ms",
		"poll_interval":                   "poll_intervall",
		"initial_position: trim_horizon":  "initial_position: earliest",
		"subscribers: all_destinations":   "subscribers: [channl]",
		"dead_letters: failed}\ndead_let": "dead_letters: filed, filter: hotel = 7}\ndead_let",
	} {
		if !strings.Contains(bad, old) {
			t.Fatalf("the configuration has no %q:\n%s", old, bad)
		}
		bad = strings.Replace(bad, old, wrong, 1)
	}
	file := filepath.Join(s.dir, "bad.yaml")
	if err := os.WriteFile(file, []byte(bad), 0o600); err != nil {
		t.Fatal(err)
	}
	p := s.start(file)
	p.awaitExit(1)
	for _, words := range [][]string{
		{"bad.yaml:4:", "leases.failover", "at least 1s"},
		{"bad.yaml:8:", "poll_intervall", "did you mean poll_interval?"},
		{"bad.yaml:8:", "initial_position", "earliest", "trim_horizon"},
		{"bad.yaml:8:", "channl", "did you mean channel?"},
		{"bad.yaml:11:", "filed", "did you mean failed?"},
		{"bad.yaml:11:", "filter", "allowed is a condition such as"},
	} {
		if p.logged(words...) == "" {
			t.Errorf("no line has all of %q:\n%s", words, p.tail(20))
		}
	}
	if n := strings.Count(p.tail(100), "bad.yaml:"); n != 6 {
		t.Errorf("%d problems, want 6:\n%s", n, p.tail(100))
	}
	if calls := s.aws.Stats().Calls; len(calls) != 0 {
		t.Errorf("calls were made: %v", calls)
	}

	// What only shows when it starts is said too: an address in use, a folder
	// that does not exist.
	first := s.start(s.config(settings{}))
	address := strings.TrimPrefix(strings.TrimSuffix(first.metricsURL(), "/metrics"), "http://")
	for wrong, words := range map[string][]string{
		strings.Replace(string(good), "127.0.0.1:0", address, 1):                               {address, "address already in use"},
		strings.Replace(string(good), "dead.jsonl", "nowhere/dead.jsonl", 1):                   {"nowhere/dead.jsonl", "no such file or directory", "failed"},
		strings.Replace(string(good), "worker_id: ${TEST_WORKER}", "worker_id: ${NOT_SET}", 1): {"NOT_SET", ":2:"},
	} {
		if err := os.WriteFile(file, []byte(wrong), 0o600); err != nil {
			t.Fatal(err)
		}
		p := s.start(file)
		p.awaitExit(1)
		if p.logged(words...) == "" {
			t.Errorf("no line has all of %q:\n%s", words, p.tail(20))
		}
	}
	first.stop()
}

// TestOperations asks a worker at work for what operators see.
func TestOperations(t *testing.T) {
	t.Parallel()
	s := newScene(t, localaws.Config{}, 2, 1)
	well, down := s.receiver("well"), s.receiver("down")
	down.behaves(func(*request) reply { return reply{status: http.StatusServiceUnavailable} })
	s.some(60, 10)
	const password, token = "pass-phrase-41", "token-42"
	if err := os.WriteFile(filepath.Join(s.dir, "token"), []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := s.start(s.config(settings{failover: 10 * time.Second, drain: time.Second, destinations: []destinationSettings{
		{receiver: well, more: "auth: {type: basic, username: partner, password: {env: TEST_PASSWORD}}"},
		{receiver: down, more: "auth: {type: bearer, token: {file: token}}"}}}), "TEST_PASSWORD="+password)
	s.awaitThrough(well)
	down.awaitCount(t, 20)
	s.awaitLeases("the roster is saved", listed("well", "down"))

	status, page := p.get("/metrics")
	if status != http.StatusOK {
		t.Errorf("/metrics answers %d", status)
	}
	problems, err := promlint.New(bytes.NewReader(page)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range problems {
		t.Errorf("promlint: %s: %s", problem.Metric, problem.Text)
	}
	positive := func(series string) {
		t.Helper()
		if v := p.sample(series); v == "" || v == "0" {
			t.Errorf("%s is %q", series, v)
		}
	}
	for i, shard := range []string{shardID(0), shardID(1), shardID(0)} {
		labels := fmt.Sprintf("{shard=%q,source=%q}", shard, s.streams[i/2].name)
		positive("shardline_consumers_records_total" + labels)
		positive("shardline_consumers_bytes_total" + labels)
		for _, name := range []string{"shardline_consumers_lag_seconds", "shardline_consumers_read_throttles_total", "shardline_pipeline_saved_age_seconds"} {
			if p.sample(name+labels) == "" {
				t.Errorf("there is no %s%s", name, labels)
			}
		}
	}
	for _, st := range s.streams {
		positive(`shardline_consumers_credentials_expiry_timestamp_seconds{source="` + st.name + `"}`)
	}
	if v := p.sample(`shardline_deliver_deliveries_total{destination="well"}`); v != "60" {
		t.Errorf("deliveries of well: %s, want 60", v)
	}
	for series, want := range map[string]string{
		`shardline_deliver_deliveries_total{destination="down"}`: "0",
		`shardline_deliver_held{destination="down"}`:             "0",
		`shardline_checkpoint_leases_held`:                       "3",
		`shardline_checkpoint_leases_taken_total`:                "3",
		`shardline_checkpoint_leases_lost_total{reason="taken"}`: "0",
	} {
		if v := p.sample(series); v != want {
			t.Errorf("%s is %q, want %s", series, v, want)
		}
	}
	positive(`shardline_deliver_attempts_total{destination="well",outcome="delivered"}`)
	positive(`shardline_deliver_attempts_total{destination="down",outcome="server_error"}`)
	positive(`shardline_deliver_oldest_unsettled_seconds{destination="down"}`)
	positive(`shardline_deliver_attempt_seconds_count{destination="well"}`)

	status, r := p.readiness()
	if status != http.StatusOK || !r.Ready || r.Leases.Held != 3 || r.Leases.Table != application || len(r.Sources) != 2 || len(r.Destinations) != 2 {
		t.Errorf("/readyz: %d, %+v", status, r)
	}
	for _, d := range r.Destinations {
		if (d.OldestUnsettledSeconds > 0) != (d.Name == "down") {
			t.Errorf("/readyz: the oldest unsettled record of %s is %g s old", d.Name, d.OldestUnsettledSeconds)
		}
	}
	if status, body := p.get("/healthz"); status != http.StatusOK || string(body) != "ok\n" {
		t.Errorf("/healthz: %d %s", status, body)
	}
	health := startProcess(t, "health", nil, "health", "--url", strings.TrimSuffix(p.metricsURL(), "/metrics")+"/readyz")
	health.awaitExit(0)

	for _, q := range well.all() {
		if user, pass, _ := (&http.Request{Header: q.header}).BasicAuth(); user != "partner" || pass != password {
			t.Errorf("basic auth of %q", user)
		}
	}
	if got := down.all()[0].header.Get("Authorization"); got != "Bearer "+token {
		t.Errorf("bearer auth is %q", got)
	}
	_, ready := p.get("/readyz")
	for _, secret := range []string{password, token, base64.StdEncoding.EncodeToString([]byte("partner:" + password)), s.own.SecretAccessKey} {
		if p.logged(secret) != "" || bytes.Contains(page, []byte(secret)) || bytes.Contains(ready, []byte(secret)) {
			t.Error("a secret is in the log, the metrics or the readiness")
		}
	}

	// The log is one JSON object a line, with nothing of messages in it.
	p.stop()
	for line := range strings.Lines(p.tail(1 << 20)) {
		var entry struct{ Level, Time, Msg string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.Level == "" || entry.Time == "" || entry.Msg == "" {
			t.Errorf("a line of the log that is no entry: %s", line)
		}
	}
}
