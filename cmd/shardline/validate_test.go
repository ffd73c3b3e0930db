package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const goodConfig = `application: trial
leases: {store: memory}
sources:
  - name: hotels
    stream: arn:aws:kinesis:eu-west-1:111111111111:stream/hotels
    initial_position: latest
    subscribers: [partner]
destinations:
  - {name: partner, type: http, url: "https://partner.example.com/ota", on_exhausted: hold_destination}
`

// plantConfig has a view, which gets the records of a source alone.
const plantConfig = `application: plant
leases: {store: memory}
sources:
  - {name: plc, stream: "arn:aws:kinesis:eu-west-1:111111111111:stream/plc", initial_position: latest}
views:
  - name: plant-1
    type: oee
    time_zone: Europe/Berlin
    inputs:
      - {source: plc, format: json, fields: {machine: /machine, time: /t, state: /state, total: /n, good: /good}}
    states: {running: [RUN], stopped: [STOP]}
    reporting: on_change
    windows: [shift, hour]
    ideal_rate: {per_minute: 60}
    shifts:
      - {name: early, start: "06:00", length: 8h}
      - {name: late, start: "14:30", end: "22:00"}
`

func TestValidate(t *testing.T) {
	folder := t.TempDir()
	good, bad := filepath.Join(folder, "good.yaml"), filepath.Join(folder, "bad.yaml")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(good, goodConfig)
	write(bad, strings.Replace(strings.Replace(goodConfig, "latest", "later", 1), "store", "stores", 1))
	badProblems := bad + `:2:10: leases.stores: unknown field (did you mean store?)|` +
		bad + `:6:23: sources[0].initial_position: "later" is not allowed`

	for _, c := range []struct {
		name        string
		args        []string
		stdin, text string
		code        int
		stdout      string
		stderr      string // beginnings of its lines, split at |
	}{
		{"good", []string{"--config", good}, "", "", 0, good + ": ok: 1 source, 1 destination\n", ""},
		{"bad: every problem, exit code 1", []string{"--config", bad}, "", "", 1, "", badProblems},
		{"standard input", []string{"--config", "-"}, goodConfig, "", 0, "<stdin>: ok: 1 source, 1 destination\n", ""},
		{"environment", nil, "", goodConfig, 0, "SHARDLINE_CONFIG: ok: 1 source, 1 destination\n", ""},
		{"the flag goes before the environment", []string{"--config", good}, "", "nonsense", 0, good + ": ok: 1 source, 1 destination\n", ""},
		{"bad environment", nil, "", "application: [", 1, "", "SHARDLINE_CONFIG:1:"},
		{"nothing", nil, "", "", 1, "", "shardline: no configuration: give --config FILE"},
		{"views", []string{"--config", "-"}, plantConfig, "", 0, "<stdin>: ok: 1 source, 0 destinations, 1 view\n",
			"<stdin>:17:29: views[0].shifts[1].start: between early (shifts[0]) and late 30m0s are in no shift, on mon from 14:00: unplanned time (a warning)"},
		{"no such file", []string{"--config", good + "x"}, "", "", 1, "", good + "x: the file cannot be read: no such file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := run(context.Background(), append([]string{"validate"}, c.args...), environment{
				stdin: strings.NewReader(c.stdin), stdout: &stdout, stderr: &stderr,
				getenv: func(name string) string {
					if name == "SHARDLINE_CONFIG" {
						return c.text
					}
					return ""
				},
			})
			if code != c.code || stdout.String() != c.stdout {
				t.Errorf("exit code %d, want %d; stdout %q, want %q", code, c.code, stdout.String(), c.stdout)
			}
			var lines, want []string
			if stderr.Len() > 0 {
				lines = strings.Split(strings.TrimSuffix(stderr.String(), "\n"), "\n")
			}
			if c.stderr != "" {
				want = strings.Split(c.stderr, "|")
			}
			if len(lines) != len(want) {
				t.Fatalf("stderr:\n%swant %d lines", stderr.String(), len(want))
			}
			for i := range want {
				if !strings.HasPrefix(lines[i], want[i]) {
					t.Errorf("stderr line %d:\n%s\nwant it to begin with\n%s", i+1, lines[i], want[i])
				}
			}
		})
	}
}

// TestRunWithViews: a worker says that it computes no views, before it reads
// or leases anything.
func TestRunWithViews(t *testing.T) {
	for _, args := range [][]string{{"run", "--config", "-"}, {"run", "--dry-run", "--config", "-"}} {
		var stdout, stderr bytes.Buffer
		code := run(context.Background(), args, environment{
			stdin: strings.NewReader(plantConfig), stdout: &stdout, stderr: &stderr, getenv: func(string) string { return "" },
		})
		const want = "shardline: views are computed offline by `shardline oee replay` so far: run needs a configuration without them\n"
		if code != 1 || !strings.HasSuffix(stderr.String(), want) {
			t.Errorf("%v: exit code %d\n%s", args, code, stderr.String())
		}
	}
}
