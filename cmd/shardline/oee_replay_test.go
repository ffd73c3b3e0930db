package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// articleConfig is a plant of three shifts of 480 planned minutes each, at 203
// units a minute, with a quality table beside its machines' events.
const articleConfig = `application: plant
leases: {store: memory}
sources:
  - {name: plc, stream: "arn:aws:kinesis:eu-west-1:111111111111:stream/plc", initial_position: latest}
  - {name: qa, stream: "arn:aws:kinesis:eu-west-1:111111111111:stream/qa", initial_position: latest}
views:
  - name: plant-1
    type: oee
    time_zone: Europe/Berlin
    inputs:
      - {source: plc, format: json, fields: {machine: /machine, time: /epochtime, state: /state, total: /units}}
      - {source: qa, format: dms, tables: {qa.inspection: {kind: quality, fields: {machine: machine, time: at, rejected: bad}, key: [id]}}}
    states: {running: [RUN], stopped: [STOP]}
    reporting: on_change
    windows: [shift, day]
    ideal_rate: {per_minute: 203}
    shifts:
      - {name: early, start: "06:00", length: 8h}
      - {name: late, start: "14:00", length: 8h}
      - {name: night, start: "22:00", end: "06:00"}
`

// 2026-03-02 06:00 in Berlin is 05:00 UTC, 1772427600. Each shift runs for 430
// minutes, 25,800 s, and stops for 50. In the early one 84,000 units are made,
// of which 5,000 are rejected when the quality rows have come, were corrected,
// got another key, and one of them was taken back; in the late one nothing is
// said to be rejected.
const (
	articleEvents = `{"machine":"m1","epochtime":1772427600,"state":"RUN"}
{"machine":"m1","epochtime":1772453400,"state":"STOP","units":84000}
{"machine":"m1","epochtime":1772456400,"state":"RUN"}
{"machine":"m1","epochtime":1772482200000,"state":"STOP","units":"87290"}
{"machine":"m1","epochtime":"2026-03-02T22:00:00+01:00","state":"RUN"}
{"machine":"m1","epochtime":"2026-03-03T05:00:00+01:00","state":"RUN"}
`
	articleRows = `{"data":{"id":1,"machine":"m1","at":"2026-03-02T12:00:00Z","bad":9000},"metadata":{"record-type":"data","operation":"insert","schema-name":"qa","table-name":"inspection"}}
{"data":{"id":1,"machine":"m1","at":"2026-03-02T12:00:00Z","bad":5000},"metadata":{"record-type":"data","operation":"update","schema-name":"qa","table-name":"inspection"}}
{"data":{"id":9,"machine":"m1","at":"2026-03-02T12:00:00Z","bad":5000},"before-image":{"id":1},"metadata":{"record-type":"data","operation":"update","schema-name":"qa","table-name":"inspection"}}
{"data":{"id":2,"machine":"m1","at":"2026-03-02T12:30:00Z","bad":77},"metadata":{"record-type":"data","operation":"insert","schema-name":"qa","table-name":"inspection"}}
{"data":{"id":2,"machine":null},"metadata":{"record-type":"data","operation":"delete","schema-name":"qa","table-name":"inspection"}}
`
)

// replayed runs "shardline oee replay" in a folder with files.
func replayed(t *testing.T, files map[string]string, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return among(t, files, stdin, append([]string{"oee", "replay"}, args...)...)
}

// among runs a command in a folder with files.
func among(t *testing.T, files map[string]string, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	folder := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(folder)
	var out, errors bytes.Buffer
	code = run(context.Background(), args, environment{
		stdin: strings.NewReader(stdin), stdout: &out, stderr: &errors, getenv: func(string) string { return "" },
	})
	return code, out.String(), errors.String()
}

// figures are what a JSON window says, as far as the tests look at it.
type windowFigures struct {
	Machine string
	Window  struct {
		Kind, Name, Start string
		Date              string `json:"business_date"`
	}
	Planned      float64 `json:"planned_s"`
	Run          float64 `json:"run_s"`
	Total, Good  float64
	Availability *float64
	Performance  *float64
	Quality      *float64
	OEE          *float64
	Revision     int
	State        string
}

func (w *windowFigures) String() string {
	ratio := func(r *float64) string {
		if r == nil {
			return "null"
		}
		return fmt.Sprintf("%.4f", *r)
	}
	return fmt.Sprintf("%s %s %s %s planned=%v run=%v total=%v good=%v A=%s P=%s Q=%s OEE=%s %s", w.Machine, w.Window.Kind+w.Window.Name, w.Window.Start,
		w.Window.Date, w.Planned, w.Run, w.Total, w.Good, ratio(w.Availability), ratio(w.Performance), ratio(w.Quality), ratio(w.OEE), w.State)
}

func figuresOf(t *testing.T, stdout string) (lines []string) {
	t.Helper()
	for line := range strings.Lines(stdout) {
		var w windowFigures
		if err := json.Unmarshal([]byte(line), &w); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		lines = append(lines, w.String())
	}
	return lines
}

// article is the figures of the article's plant: A 430/480, P 84000/430/203,
// Q 79/84 and their product; the late shift's 87,290 units are 430 minutes at
// the ideal rate. The night makes nothing: P and Q are null, OEE is 0.
var article = []string{
	"m1 shiftearly 2026-03-02T06:00:00+01:00 2026-03-02 planned=28800 run=25800 total=84000 good=79000 A=0.8958 P=0.9623 Q=0.9405 OEE=0.8108 final",
	"m1 day 2026-03-02T06:00:00+01:00 2026-03-02 planned=86400 run=80400 total=171290 good=166290 A=0.9306 P=0.6297 Q=0.9708 OEE=0.5689 final",
	"m1 shiftlate 2026-03-02T14:00:00+01:00 2026-03-02 planned=28800 run=25800 total=87290 good=87290 A=0.8958 P=1.0000 Q=1.0000 OEE=0.8958 final",
	"m1 shiftnight 2026-03-02T22:00:00+01:00 2026-03-02 planned=28800 run=28800 total=0 good=0 A=1.0000 P=0.0000 Q=null OEE=0.0000 final",
}

func TestReplay(t *testing.T) {
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	if _, err := w.Write([]byte(articleEvents)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var wrapped strings.Builder
	for line := range strings.Lines(articleEvents) {
		fmt.Fprintf(&wrapped, `{"source":"plc","partition_key":"m1","approximate_arrival":"2026-03-03T06:00:01+01:00","data":%s}`+"\n", strings.TrimSpace(line))
	}
	for line := range strings.Lines(articleRows) {
		fmt.Fprintf(&wrapped, `{"source":"qa","data":%s}`+"\n\n", strings.TrimSpace(line))
	}
	wrapped.WriteString(`{"source":"hotels","data":"PG90YS8+"}`)
	files := map[string]string{"plant.yaml": articleConfig, "plc.jsonl": articleEvents, "plc.jsonl.gz": zipped.String(), "qa.jsonl": articleRows, "all.jsonl": wrapped.String()}
	for _, c := range []struct {
		name, stdin string
		args        []string
		stderr      string
	}{
		{"payloads", "", []string{"--input", "plc=plc.jsonl", "--input", "qa=qa.jsonl"}, ""},
		{"in any order of the inputs", "", []string{"--input", "qa=qa.jsonl", "plc=plc.jsonl"}, ""},
		{"with gzip", "", []string{"plc=plc.jsonl.gz", "qa=qa.jsonl"}, ""},
		{"from standard input", articleEvents, []string{"--input", "plc=-", "--input", "qa=qa.jsonl"}, ""},
		{"of several sources, by what they fit", articleEvents + articleRows + `{"data":{},"metadata":{"operation":"insert","table-name":"other"}}`, []string{"-"}, ""},
		{"in envelopes", "", []string{"--input", "all.jsonl"}, "1 record of other sources left out\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, stdout, stderr := replayed(t, files, c.stdin, append([]string{"--config", "plant.yaml", "--view", "plant-1"}, c.args...)...)
			if code != 0 || stderr != c.stderr {
				t.Errorf("exit code %d, stderr %q", code, stderr)
			}
			got := figuresOf(t, stdout)
			if strings.Join(got, "\n") != strings.Join(article, "\n") {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(article, "\n"))
			}
		})
	}
	t.Run("as a table", func(t *testing.T) {
		code, stdout, _ := replayed(t, files, "", "--config", "plant.yaml", "--view", "plant-1", "--format", "text", "all.jsonl")
		lines := strings.Split(stdout, "\n")
		want := []string{"WINDOW", "FROM (Europe/Berlin)", "shift early", "2026-03-02 06:00", "7h10m0s", "84000", "79000", "89.58%", "96.23%", "94.05%", "81.08%", "final"}
		for _, text := range want {
			if !strings.Contains(lines[0]+lines[1], text) {
				t.Errorf("no %q in\n%s", text, stdout)
			}
		}
		if code != 0 || len(lines) != 6 || !strings.Contains(lines[4], " -  ") { // no quality in the night
			t.Errorf("exit code %d\n%s", code, stdout)
		}
	})
}

// TestReplayAll: the revisions of a window, as they come to be: here a row that
// comes after the shift is over.
func TestReplayAll(t *testing.T) {
	var lines strings.Builder
	for i := range 3 * 3600 / 10 { // an event each 10 s, from 05:00 UTC
		fmt.Fprintf(&lines, `{"machine":"m1","epochtime":%d,"state":"RUN","units":1}`+"\n", 1772427600+10*i)
	}
	files := map[string]string{
		"plant.yaml": strings.Replace(articleConfig, "windows: [shift, day]", "windows: [hour]", 1), "plc.jsonl": lines.String(),
		"qa.jsonl": `{"data":{"id":1,"machine":"m1","at":"2026-03-02T05:30:00Z","bad":60},"metadata":{"record-type":"data","operation":"insert","schema-name":"qa","table-name":"inspection"}}`,
	}
	code, stdout, stderr := replayed(t, files, "", "--config", "plant.yaml", "--view", "plant-1", "--all", "plc=plc.jsonl", "qa=qa.jsonl")
	if code != 0 || stderr != "" {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
	var first []windowFigures
	for line := range strings.Lines(stdout) {
		var w windowFigures
		if err := json.Unmarshal([]byte(line), &w); err != nil {
			t.Fatal(err)
		}
		if w.Window.Start == "2026-03-02T06:00:00+01:00" {
			first = append(first, w)
		}
	}
	if n := len(first); n < 2 || first[0].Good != 360 || first[n-1].Good != 300 || first[n-1].Revision <= first[0].Revision || first[n-1].State != "final" {
		t.Errorf("%+v\n%s", first, stdout)
	}
}

func TestReplayRefusals(t *testing.T) {
	files := map[string]string{
		"plant.yaml": articleConfig, "none.yaml": goodConfig, "bad.yaml": strings.Replace(articleConfig, "06:00", "6am", 1),
		"none.jsonl": `{"temperature":7}`,
		"two.yaml":   regexp.MustCompile(`format: dms.*`).ReplaceAllString(articleConfig, "format: json, fields: {machine: /machine, time: /epochtime, total: /made, state: /state}}"),
		"mixed.jsonl": `{"machine":"m1","epochtime":1772427600,"state":"RUN"}
{"machine":"m1","epochtime":1772427600.5,"state":"RUN","units":NaN}

[{"machine":"m1","epochtime":1772427601},{"machine":"m1"}]
nonsense
{"machine":"m1","epochtime":1772427602,"state":"DREAMING"}
`,
		"cut.gz": "\x1f\x8b\x08\x00", "long.jsonl": `{"machine":"` + strings.Repeat("m", maxLine) + "\"}\n" + `{"machine":"m1","epochtime":1772427600,"state":"RUN"}`,
	}
	plant := []string{"--config", "plant.yaml", "--view", "plant-1"}
	for _, c := range []struct {
		name   string
		args   []string
		stderr string
	}{
		{"records", append(plant, "plc=mixed.jsonl"), `mixed.jsonl:2: /units: it is no JSON: invalid character 'N' at start of value at byte 64
mixed.jsonl:4: object 2 of the record: /epochtime: it is missing
mixed.jsonl:5: it is no JSON: invalid character 'o' in literal null (expecting 'u') at byte 2
unmapped_state: 1 event, the last of machine m1 at 2026-03-02T05:00:02Z`},
		{"lines that fit no source", append(plant, "none.jsonl"), `none.jsonl:1: the line names no source, and fits none: as plc: /machine: it is missing; ` +
			"as qa: /metadata/operation: it is missing: this is no change record of DMS: give the file as --input SOURCE=FILE\n"},
		{"lines that fit several sources", []string{"--config", "two.yaml", "--view", "plant-1", "mixed.jsonl"}, "mixed.jsonl:1: the line names no source, and fits plc and qa: give the file as --input SOURCE=FILE\n"},
		{"a line without end", append(plant, "plc=long.jsonl"), "long.jsonl:1: the line is longer than 16 MiB: no record\n1 of 2 records could not be decoded\n"},
		{"no such file", append(plant, "plc=no.jsonl"), "shardline: open no.jsonl: no such file or directory\n"},
		{"a file that is cut off", append(plant, "plc=cut.gz"), "shardline: read cut.gz: unexpected EOF\n"},
		{"no view", []string{"--config", "plant.yaml", "--input", "mixed.jsonl"}, "shardline: --view is required"},
		{"another view", []string{"--config", "plant.yaml", "--view", "plant-2", "mixed.jsonl"}, "shardline: there is no view named plant-2; there is plant-1\n"},
		{"no views", []string{"--config", "none.yaml", "--view", "plant-2", "mixed.jsonl"}, "shardline: there is no view named plant-2: the configuration has none\n"},
		{"no input", plant, "shardline: --input is required"},
		{"another format", append(plant, "--format", "xml", "plc=mixed.jsonl"), "shardline: --format xml is not allowed; allowed: json, text\n"},
		{"a bad configuration", []string{"--config", "bad.yaml", "--view", "plant-1", "mixed.jsonl"}, `bad.yaml:18:30: views[0].shifts[0].start: "6am" is not allowed`},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, stdout, stderr := replayed(t, files, "", c.args...)
			if code != 1 || !strings.HasPrefix(stderr, c.stderr) {
				t.Errorf("exit code %d, stderr\n%s\nwant\n%s", code, stderr, c.stderr)
			}
			if c.name == "records" && (!strings.HasSuffix(stderr, "\n3 of 5 records could not be decoded\n") || !strings.Contains(stdout, `"state":"final"`)) {
				t.Errorf("it does not go on:\n%s\n%s", stderr, stdout)
			}
		})
	}
}

// TestPlantExample runs the example as docs/oee.md has it, and holds what it
// prints against what stands there.
func TestPlantExample(t *testing.T) {
	text, err := os.ReadFile("../../docs/oee.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, ok := strings.Cut(string(text), "\n$ shardline oee replay ")
	if !ok {
		t.Fatal("docs/oee.md shows no replay")
	}
	block, _, _ = strings.Cut(block, "```")
	command, second, _ := strings.Cut(block, "\\\n")
	more, want, _ := strings.Cut(second, "\n")
	t.Chdir("../../deploy/examples")
	var stdout, stderr bytes.Buffer
	code := run(context.Background(), append([]string{"oee", "replay"}, strings.Fields(command+more)...), environment{
		stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr, getenv: func(string) string { return "" },
	})
	if got := stdout.String() + stderr.String(); code != 0 || got != want {
		t.Errorf("exit code %d, got\n%s\nwant\n%s", code, got, want)
	}
}
