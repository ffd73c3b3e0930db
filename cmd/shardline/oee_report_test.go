package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// reported runs "shardline oee report" in a folder with files.
func reported(t *testing.T, files map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return among(t, files, "", append([]string{"oee", "report"}, args...)...)
}

var (
	reportFiles = map[string]string{"plant.yaml": articleConfig, "plc.jsonl": articleEvents, "qa.jsonl": articleRows}
	reportArgs  = []string{"--config", "plant.yaml", "--view", "plant-1", "--day", "2026-03-02", "plc=plc.jsonl", "qa=qa.jsonl"}
)

// The article's plant in every form. All windows together: 1440 minutes
// planned, 1,340 run, 171,290 units of which 166,290 are good.
func TestReport(t *testing.T) {
	t.Run("text", func(t *testing.T) {
		code, stdout, stderr := reported(t, reportFiles, reportArgs...)
		if code != 0 || stderr != "" {
			t.Errorf("exit code %d, stderr %q", code, stderr)
		}
		var early string
		for line := range strings.Lines(stdout) {
			if strings.HasPrefix(line, "m1  early ") {
				early = strings.Join(strings.Fields(line), " ")
			}
		}
		if want := "m1 early 06:00–14:00 final 480.0 430.0 84,000 79,000 89.6 % 96.2 % 94.0 % 81.1 % ◆"; early != want {
			t.Errorf("got  %q\nwant %q in\n%s", early, want, stdout)
		}
		if !strings.Contains(stdout, "Europe/Berlin (UTC+01:00)") {
			t.Errorf("no time zone in\n%s", stdout)
		}
	})
	t.Run("csv", func(t *testing.T) {
		_, stdout, _ := reported(t, reportFiles, append(reportArgs, "--format", "csv")...)
		rows, err := csv.NewReader(strings.NewReader(stdout)).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		at := map[string]int{}
		for i, name := range rows[0] {
			at[name] = i
		}
		found := false
		for _, row := range rows[1:] {
			if row[at["of"]] != "machine" || row[at["kind"]] != "whole" {
				continue
			}
			found = true
			for name, want := range map[string]string{"planned_s": "86400", "run_s": "80400", "total": "171290", "good": "166290"} {
				if row[at[name]] != want {
					t.Errorf("%s is %s, want %s", name, row[at[name]], want)
				}
			}
		}
		if !found {
			t.Errorf("no whole date in\n%s", stdout)
		}
	})
	t.Run("json", func(t *testing.T) {
		_, stdout, _ := reported(t, reportFiles, append(reportArgs, "--format", "json", "--shift", "late")...)
		var document struct {
			Shift   string
			Results []struct {
				Window struct{ Kind, Name string }
				OEE    float64
			}
		}
		if err := json.Unmarshal([]byte(stdout), &document); err != nil {
			t.Fatal(err)
		}
		if document.Shift != "late" || len(document.Results) != 2 || document.Results[0].Window.Name != "late" {
			t.Errorf("the document is %+v", document)
		}
	})
	t.Run("html", func(t *testing.T) {
		code, stdout, stderr := reported(t, reportFiles, append(reportArgs, "--format", "html", "--output", "day.html")...)
		if code != 0 || stdout != "" || stderr != "" {
			t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
		}
		page, err := os.ReadFile("day.html")
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"OEE of plant-1", "Monday, 2 March 2026", "Europe/Berlin", ">0.8108<", "Made by Shardline on "} {
			if !strings.Contains(string(page), want) {
				t.Errorf("the page lacks %q", want)
			}
		}
		left, err := filepath.Glob(".day.html*")
		if err != nil || len(left) > 0 {
			t.Errorf("%v left behind, %v", left, err)
		}
	})
}

// What cannot be decoded is named and left out; what cannot be shown is said.
func TestReportRefusals(t *testing.T) {
	files := map[string]string{"plant.yaml": articleConfig, "plc.jsonl": articleEvents + "nonsense\n", "qa.jsonl": articleRows, "old.html": "old"}
	for _, c := range []struct {
		name   string
		args   []string
		stderr []string
		stdout bool
	}{
		{"a record", reportArgs, []string{"plc.jsonl:7: it is no JSON", "1 of 12 records could not be decoded"}, true},
		{"a day without data", []string{"--config", "plant.yaml", "--view", "plant-1", "--day", "2026-03-09", "qa=qa.jsonl", "--output", "old.html"},
			[]string{"view plant-1 has no windows on 2026-03-09: is the input of that day"}, false},
		{"no day", []string{"--config", "plant.yaml", "--view", "plant-1", "plc=plc.jsonl"}, []string{"--day is required"}, false},
		{"a day that is none", []string{"--config", "plant.yaml", "--view", "plant-1", "--day", "22.11.2026", "plc=plc.jsonl"}, []string{"--day 22.11.2026 is not allowed"}, false},
		{"a shift that is none", append(reportArgs, "--shift", "erly"), []string{`view plant-1 has no shift "erly"; it has early, late, night`}, false},
		{"a machine that is none", append(reportArgs, "--machine", "m2"), []string{`no machine "m2" in this input; it has heard of m1`}, false},
		{"another format", append(reportArgs, "--format", "pdf"), []string{"--format pdf is not allowed; allowed: text, csv, json, html"}, false},
		{"no file to write", append(reportArgs, "--output", "."), []string{"write .: it is no file that can be replaced"}, false},
		{"no folder to write to", append(reportArgs, "--output", "none/day.html"), []string{"none/"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, stdout, stderr := reported(t, files, c.args...)
			if code != 1 || (stdout != "") != c.stdout {
				t.Errorf("exit code %d, stdout %q", code, stdout)
			}
			for _, want := range c.stderr {
				if !strings.Contains(stderr, want) {
					t.Errorf("stderr lacks %q:\n%s", want, stderr)
				}
			}
			if old, err := os.ReadFile("old.html"); err != nil || string(old) != "old" {
				t.Errorf("the file that was there is %q, %v", old, err)
			}
		})
	}
}

// TestReportExample runs the example as docs/oee-report.md has it.
func TestReportExample(t *testing.T) {
	text, err := os.ReadFile("../../docs/oee-report.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, ok := strings.Cut(string(text), "\n$ shardline oee report ")
	if !ok {
		t.Fatal("docs/oee-report.md shows no report")
	}
	block, _, _ = strings.Cut(block, "```")
	command, second, _ := strings.Cut(block, "\\\n")
	more, want, _ := strings.Cut(second, "\n")
	t.Chdir("../../deploy/examples")
	var stdout, stderr bytes.Buffer
	code := run(context.Background(), append([]string{"oee", "report"}, strings.Fields(command+more)...), environment{
		stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr, getenv: func(string) string { return "" },
	})
	if code != 0 || stdout.String() != want {
		t.Errorf("exit code %d, got\n%s\nwant\n%s", code, stdout.String(), want)
	}
}
