package config_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/shardline/shardline/cmd/shardline/config"
)

const comparable = `application: trial
region: eu-west-1
sources:
  - {name: a, stream: "arn:aws:kinesis:eu-west-1:111111111111:stream/a", initial_position: latest, subscribers: all_destinations}
  - {name: b, stream: "arn:aws:kinesis:eu-west-1:111111111111:stream/b", initial_position: latest, subscribers: [one, two], role: {arn: "arn:aws:iam::111111111111:role/r"}}
delivery: {timeout: 5s, retry: {max: 30s}}
destinations:
  - {name: one, type: http, url: "http://one/", dead_letters: failed, headers: {X-A: text, X-B: {file: token}, X-C: {secretsmanager: "acme#key"}}}
  - {name: two, type: http, url: "http://two/", dead_letters: failed, timeout: 1s, auth: {type: bearer, token: hunter2}}
dead_letter_queues:
  - {name: failed, type: file, path: failed.jsonl}
`

// TestCompare changes one thing at a time.
func TestCompare(t *testing.T) {
	folder := t.TempDir()
	for _, name := range []string{"token", "other"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	load := func(text string) *config.Config {
		t.Helper()
		path := filepath.Join(folder, "c.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := config.Load(path, none, nil)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	before := load(comparable)
	renamed := strings.NewReplacer("name: two,", "name: two2,", "one, two]", "one, two2]").Replace(comparable)
	three := "  - {name: three, type: http, url: \"http://three/\", dead_letters: failed}\n"
	for _, test := range []struct {
		name     string
		old, new string // of the text
		want     []string
	}{
		{"nothing", "", "", nil},
		{"a comment and the order", "destinations:\n", "# hello\ndestinations: # hello\n", nil},
		{"a default written out", "name: one,", "name: one, concurrency: 64,", nil},
		{"a common field, but for who has its own", "timeout: 5s", "timeout: 6s", []string{"destinations[one].timeout changed"}},
		{"a nested common field", "max: 30s", "max: 31s", []string{"destinations[one].retry.max changed", "destinations[two].retry.max changed"}},
		{"headers", "X-A: text", "X-A: other, X-D: new", []string{"destinations[one].headers.X-A changed", "destinations[one].headers.X-D added"}},
		{"a secret's file", "file: token", "file: other", []string{"destinations[one].headers.X-B changed"}},
		{"a secret's field", "acme#key", "acme#token", []string{"destinations[one].headers.X-C changed"}},
		{"a secret's place", `{secretsmanager: "acme#key"}`, `{file: token}`, []string{"destinations[one].headers.X-C changed"}},
		{"a literal secret", "hunter2", "hunter3", []string{"destinations[two].auth.token changed"}},
		{"authentication", "type: bearer, token", "type: basic, username: u, password", []string{
			"destinations[two].auth.type changed", "destinations[two].auth.username changed", "destinations[two].auth.password changed", "destinations[two].auth.token changed"}},
		{"a destination more", "dead_letter_queues:", three + "dead_letter_queues:", []string{"sources[a].subscribers[three] added", "destinations[three] added"}},
		{"another name", comparable, renamed, []string{"sources[a].subscribers[two] removed", "sources[a].subscribers[two2] added",
			"sources[b].subscribers[two] removed", "sources[b].subscribers[two2] added", "destinations[two] removed", "destinations[two2] added"}},
		{"subscribers", "[one, two]", "[two]", []string{"sources[b].subscribers[one] removed"}},
		{"subscribers' order", "[one, two]", "[two, one]", nil},
		{"subscribers named", "all_destinations", "[two, one]", nil},
		{"a role", "role/r", "role/s", []string{"sources[b].role.arn changed"}},
		{"no role", `, role: {arn: "arn:aws:iam::111111111111:role/r"}`, "", []string{"sources[b].role changed"}},
		{"a position", "b\", initial_position: latest", "b\", initial_position: 2026-03-01T06:00:00Z", []string{"sources[b].initial_position changed"}},
		{"a stream", "stream/b", "stream/c", []string{"sources[b].stream changed"}},
		{"a queue", "path: failed", "path: dead", []string{"dead_letter_queues[failed].path changed"}},
		{"the rest", "region: eu-west-1", "region: eu-west-2\nlog: {level: debug}\nleases: {failover: 20s}", []string{"region changed", "leases.failover changed", "log.level changed"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			text := strings.Replace(comparable, test.old, test.new, 1)
			var got []string
			for _, c := range config.Compare(before, load(text)) {
				got = append(got, c.String())
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
		})
	}
}
