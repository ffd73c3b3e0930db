package oee_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/shardline/shardline/pipeline/oee"
)

// recordings is the folder of machines' recordings, or skips the test.
func recordings(t *testing.T) string {
	t.Helper()
	folder := os.Getenv("SHARDLINE_TESTDATA")
	if folder == "" {
		folder = filepath.Join("..", "..", "..", "shared", "testdata")
	}
	folder = filepath.Join(folder, "oee")
	if _, err := os.Stat(filepath.Join(folder, "expected.tsv")); err != nil {
		t.Skipf("no recordings of machines here (SHARDLINE_TESTDATA names the folder): %v", err)
	}
	return folder
}

type recording struct {
	To         time.Time
	StateArray []struct {
		State     int
		Timestamp time.Time
	}
	CountSlice []struct {
		Count     int64
		Timestamp time.Time
	}
	RawShifts []struct {
		TimestampBegin, TimestampEnd time.Time
		ShiftType                    int
	}
}

// view replays a recording: state 0 runs, every other one is a stop.
func (r *recording) view(t *testing.T, c oee.Config) *oee.View {
	c.Name, c.Reporting, c.States = "recorded", oee.OnChange, map[string]oee.Class{"0": oee.Running}
	for _, s := range r.StateArray {
		if s.State != 0 {
			c.States[strconv.Itoa(s.State)] = oee.Stopped
		}
	}
	v := newView(t, c)
	for i, s := range r.RawShifts {
		if s.ShiftType == 1 {
			v.Put(oee.Row{
				Kind: oee.Schedule, Table: "mes.schedule", Key: strconv.Itoa(i), Machine: "M",
				Position: oee.Position{Shard: "mes/0", Sequence: strconv.Itoa(i + 1)}, Start: s.TimestampBegin, End: s.TimestampEnd,
			})
		}
	}
	f := feed{view: v}
	// States oldest first; counts are recorded newest first.
	at := len(r.CountSlice)
	counts := func(until time.Time) {
		for at > 0 && (until.IsZero() || !r.CountSlice[at-1].Timestamp.After(until)) {
			at--
			n := oee.Read(oee.Units(r.CountSlice[at].Count) * oee.Unit)
			f.apply(oee.Event{Machine: "M", Time: r.CountSlice[at].Timestamp, Total: n, Good: n})
		}
	}
	for _, s := range r.StateArray {
		counts(s.Timestamp)
		f.apply(oee.Event{Machine: "M", Time: s.Timestamp, State: strconv.Itoa(s.State)})
	}
	counts(time.Time{})
	v.FinishAt(r.To)
	return v
}

// TestRecordings holds windows against figures that were computed apart from
// this project, to the millisecond and six digits.
func TestRecordings(t *testing.T) {
	folder := recordings(t)
	load := func(name string) (r recording) {
		data, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(data, &r); err != nil {
			t.Fatal(err)
		}
		return r
	}
	week, counts := load("umh_week39_part.json"), load("umh_counts_20200929_part.json")
	berlin := zone(t, "Europe/Berlin")

	// Blocks are windows of an hour of their own here, pooled: a block is planned
	// time, its hours and half-hours add up to it.
	quarter := oee.WindowConfig{Kind: oee.FixedWindow, Length: 30 * time.Minute}
	views := map[string]*oee.View{
		"block":      week.view(t, oee.Config{Zone: time.UTC, Planned: oee.PlannedSchedule, Windows: []oee.WindowConfig{quarter}}),
		"utc-day":    week.view(t, oee.Config{Zone: time.UTC, Planned: oee.PlannedSchedule, Windows: []oee.WindowConfig{{Kind: oee.DayWindow}}}),
		"berlin-day": week.view(t, oee.Config{Zone: berlin, Planned: oee.PlannedSchedule, Windows: []oee.WindowConfig{{Kind: oee.DayWindow}}}),
	}
	counted := counts.view(t, oee.Config{Zone: time.UTC, Windows: []oee.WindowConfig{{Kind: oee.HourWindow}}, IdealRates: []oee.RateConfig{{Rate: oee.PerMinute(510 * oee.Unit)}}})
	views["hour"], views["total-rollup"] = counted, counted

	table, err := os.ReadFile(filepath.Join(folder, "expected.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(table)), "\n")
	var names []string
	for i, line := range lines {
		cells := strings.Split(line, "\t")
		if i == 0 {
			names = cells
			continue
		}
		want := map[string]string{}
		for j, name := range names {
			want[name] = cells[j]
		}
		t.Run(want["window"]+" "+want["start_utc"], func(t *testing.T) {
			from, _ := time.Parse(time.RFC3339, want["start_utc"])
			to, _ := time.Parse(time.RFC3339, want["end_utc"])
			results := views[want["window"]].Windows("M", "", from, to)
			if len(results) == 0 {
				t.Fatal("no result")
			}
			r := oee.Pool(results)
			if len(results) == 1 && r.Window.Date != want["business_date"] {
				t.Errorf("business date %s, not %s", r.Window.Date, want["business_date"])
			}
			for name, got := range map[string]string{
				"planned_s":   seconds(r.Sums.Planned),
				"run_s":       seconds(r.Sums.Run),
				"idle_s":      seconds(r.Sums.Idle),
				"stopped_s":   seconds(r.Sums.Stopped),
				"unknown_s":   seconds(r.Sums.Unknown),
				"total_units": fmt.Sprintf("%.3f", float64(r.Sums.Total)/float64(oee.Unit)),
				"good_units":  fmt.Sprintf("%.3f", float64(r.Sums.Good)/float64(oee.Unit)),
				"ideal_s":     seconds(r.Sums.IdealGood),
				"A":           six(r.Availability()),
				"P":           six(r.Performance()),
				"Q":           six(r.Quality()),
				"OEE":         six(r.OEE()),
			} {
				if want[name] != "NA" && got != want[name] {
					t.Errorf("%s: %s, not %s", name, got, want[name])
				}
			}
		})
	}
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }

func six(f float64, ok bool) string {
	if !ok {
		return "NA"
	}
	return fmt.Sprintf("%.6f", f)
}
