package report_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shardline/shardline/pipeline/oee"
	"github.com/shardline/shardline/pipeline/oee/report"
)

var update = flag.Bool("update", false, "write the golden files anew")

// written is a report in one of its forms.
func written(t *testing.T, write func(w *bytes.Buffer) error) string {
	t.Helper()
	var out bytes.Buffer
	if err := write(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestGolden holds the text, CSV and JSON forms of a plant's day against files
// that people have read: go test ./pipeline/oee/report -run Golden -update
func TestGolden(t *testing.T) {
	r := sample(t)
	few := *r // of the JSON form two machines are enough to read
	few.Machines = []report.Machine{r.Machines[1], r.Machines[5]}
	few.Lines = nil
	for name, write := range map[string]func(w *bytes.Buffer) error{
		"day.txt":  func(w *bytes.Buffer) error { return r.Text(w) },
		"day.csv":  func(w *bytes.Buffer) error { return r.CSV(w) },
		"day.json": func(w *bytes.Buffer) error { return few.JSON(w) },
	} {
		got := written(t, write)
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s differs:\n%s", name, firstDifference(got, string(want)))
		}
	}
}

func firstDifference(got, want string) string {
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("line %d\n got %s\nwant %s", i+1, a[i], b[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(a), len(b))
}

// article is the plant of the article: 480 planned minutes at 203 a minute.
func article(machine string, kind oee.Window) oee.Result {
	cycle := func(units int64) time.Duration { return time.Duration(units) * time.Minute / 203 }
	return oee.Result{View: "plant-1", Machine: machine, Window: kind, Through: kind.End, State: oee.Final, Revision: 1, Sums: oee.Sums{
		Length: 8 * time.Hour, Planned: 480 * time.Minute, Run: 430 * time.Minute, Stopped: 50 * time.Minute,
		Total: 84_000 * oee.Unit, Good: 79_000 * oee.Unit, Rejected: 5_000 * oee.Unit, IdealTotal: cycle(84_000), IdealGood: cycle(79_000)}}
}

func early() oee.Window {
	start := time.Date(2026, 11, 22, 6, 0, 0, 0, berlin)
	return oee.Window{Kind: "shift", Name: "early", Start: start, End: start.Add(8 * time.Hour), Date: "2026-11-22"}
}

func made(t *testing.T, p *plant, change func(c *report.Config)) *report.Report {
	t.Helper()
	c := report.Config{View: viewConfig(p.names...), Date: sunday}
	if change != nil {
		change(&c)
	}
	r, err := report.New(p, c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The article's figures to four digits: A .8958, P .9623, Q .9405, OEE .8108.
func TestArticle(t *testing.T) {
	p := &plant{names: []string{"m1"}, results: map[string][]oee.Result{"m1": {article("m1", early())}}}
	page := written(t, func(w *bytes.Buffer) error { return made(t, p, nil).HTML(w) })
	for _, want := range []string{">89.6\u202f%<", ">96.2\u202f%<", ">94.0\u202f%<", ">81.1\u202f%<", "◆ below target", ">0.8958<", ">0.9623<", ">0.9405<", ">0.8108<",
		"run 430.0 of 480.0\u00a0min planned", "good 79,000 of 84,000 units"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

// Ratios of a roll-up are those of the sums: two machines, one that planned 480
// minutes and was productive in 48 of them, one 60 and 60. The mean of their
// ratios would be 55 %, the truth is 108/540 = 20 %.
func TestSumsAreAddedNotRatios(t *testing.T) {
	w := early()
	result := func(machine string, planned, productive time.Duration) oee.Result {
		return oee.Result{View: "plant-1", Machine: machine, Window: w, State: oee.Final, Sums: oee.Sums{Planned: planned, Run: planned,
			IdealTotal: productive, IdealGood: productive, Total: oee.Unit, Good: oee.Unit}}
	}
	p := &plant{names: []string{"a", "b"}, results: map[string][]oee.Result{
		"a": {result("a", 480*time.Minute, 48*time.Minute)}, "b": {result("b", 60*time.Minute, 60*time.Minute)}}}
	r := made(t, p, nil)
	if got, ok := r.Plant.Whole.OEE(); !ok || got != 0.2 {
		t.Errorf("OEE is %v, %v, want 0.2", got, ok)
	}
}

// Every field of the sums is added: one that is new must not be left out.
func TestEverySumIsAdded(t *testing.T) {
	var s oee.Sums
	v := reflect.ValueOf(&s).Elem()
	for i := range v.NumField() {
		v.Field(i).SetInt(int64(i + 1))
	}
	w := early()
	p := &plant{names: []string{"a", "b"}, results: map[string][]oee.Result{}}
	for _, name := range p.names {
		p.results[name] = []oee.Result{{View: "plant-1", Machine: name, Window: w, State: oee.Final, Sums: s,
			Stops:   []oee.Stop{{Reason: "jam", Class: oee.Stopped, Time: time.Minute, Number: 2}},
			Outputs: []oee.Output{{Product: "x", Total: 3, Good: 2, Rejected: 1, IdealTotal: 9, IdealGood: 6}}}}
	}
	whole := made(t, p, nil).Plant.Whole
	v = reflect.ValueOf(whole.Sums)
	for i := range v.NumField() {
		if got, want := v.Field(i).Int(), int64(2*(i+1)); got != want {
			t.Errorf("%s is %d, want %d", v.Type().Field(i).Name, got, want)
		}
	}
	if want := []oee.Stop{{Reason: "jam", Class: oee.Stopped, Time: 2 * time.Minute, Number: 4}}; !reflect.DeepEqual(whole.Stops, want) {
		t.Errorf("stops are %v, want %v", whole.Stops, want)
	}
	if want := []oee.Output{{Product: "x", Total: 6, Good: 4, Rejected: 2, IdealTotal: 18, IdealGood: 12}}; !reflect.DeepEqual(whole.Outputs, want) {
		t.Errorf("outputs are %v, want %v", whole.Outputs, want)
	}
}

// Together results are as little settled as the least settled of them.
func TestLeastSettled(t *testing.T) {
	w := early()
	for _, c := range []struct {
		a, b, want oee.State
	}{
		{oee.Final, oee.Final, oee.Final}, {oee.Final, oee.OnTime, oee.OnTime}, {oee.Final, oee.Late, oee.Late},
		{oee.Late, oee.OnTime, oee.Late}, {oee.Late, oee.Early, oee.Early}, {oee.Early, oee.Final, oee.Early},
	} {
		p := &plant{names: []string{"a", "b"}, results: map[string][]oee.Result{
			"a": {{Machine: "a", Window: w, State: c.a}}, "b": {{Machine: "b", Window: w, State: c.b}}}}
		if got := made(t, p, nil).Plant.Whole.State; got != c.want {
			t.Errorf("%v and %v are %v, want %v", c.a, c.b, got, c.want)
		}
	}
}

// An undefined figure is a dash, an empty cell and null, never 0; with planned
// time and nothing made OEE is 0.
func TestUndefined(t *testing.T) {
	w := early()
	p := &plant{names: []string{"idle", "off"}, results: map[string][]oee.Result{
		"idle": {{View: "plant-1", Machine: "idle", Window: w, State: oee.Final, Sums: oee.Sums{Length: 8 * time.Hour, Planned: 8 * time.Hour, Idle: 8 * time.Hour}}},
		"off":  {{View: "plant-1", Machine: "off", Window: w, State: oee.Final, Sums: oee.Sums{Length: 8 * time.Hour, Unplanned: 8 * time.Hour}}}}}
	r := made(t, p, nil)
	rows, err := csv.NewReader(strings.NewReader(written(t, func(w *bytes.Buffer) error { return r.CSV(w) }))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	at := map[string]int{}
	for i, name := range rows[0] {
		at[name] = i
	}
	for machine, want := range map[string][4]string{"idle": {"0", "", "", "0"}, "off": {"", "", "", ""}} {
		for _, row := range rows[1:] {
			if row[at["machine"]] != machine {
				continue
			}
			if got := [4]string{row[at["availability"]], row[at["performance"]], row[at["quality"]], row[at["oee"]]}; got != want {
				t.Errorf("%s: %q, want %q", machine, got, want)
			}
		}
	}
	var document struct {
		Results []struct {
			Machine *string
			OEE     *float64 `json:"oee"`
		}
	}
	if err := json.Unmarshal([]byte(written(t, func(w *bytes.Buffer) error { return r.JSON(w) })), &document); err != nil {
		t.Fatal(err)
	}
	if document.Results[0].OEE == nil || *document.Results[0].OEE != 0 || document.Results[1].OEE != nil {
		t.Errorf("results are %+v", document.Results)
	}
	page := written(t, func(w *bytes.Buffer) error { return r.HTML(w) })
	if n := strings.Count(page, `class="track none"`); n < 5 { // 2 of idle, 4 of off less its OEE in the tile
		t.Errorf("%d grey tracks", n)
	}
	if !strings.Contains(page, "– no figure") || !strings.Contains(page, "no planned time") {
		t.Error("the page does not say that figures are undefined, and why")
	}
}

// Names come from machines: they are shown, and do nothing.
func TestHostileNames(t *testing.T) {
	names := []string{hostile, `"><img src=x onerror=alert(1)>`, "=HYPERLINK(\"http://x\")", "-1+1", "a\x1b[2Jb", "tab\there", "@sum", "ünïcode", "x,\"y\"\nz", "'; --full: 9"}
	p := build(4, names...)
	for _, n := range names {
		for i := range p.results[n] {
			p.results[n][i].Stops = []oee.Stop{{Reason: n, Class: oee.Stopped, Time: time.Minute, Number: 1}}
			p.results[n][i].Outputs = []oee.Output{{Product: n}, {Product: n + "2"}}
		}
		for i := range p.times[n] {
			p.times[n][i].State, p.times[n][i].Reason = n, n
		}
	}
	r := made(t, p, func(c *report.Config) {
		c.View.Name = hostile
		c.View.Lines = []oee.Line{{Name: hostile, Machines: names, Pooled: true}}
	})
	page := written(t, func(w *bytes.Buffer) error { return r.HTML(w) })
	for _, bad := range []string{"<script", "<img", "\x1b"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	if !strings.Contains(page, "&lt;script&gt;alert(&#34;wrap-01&#34;)&lt;/script&gt;") {
		t.Error("the page does not show the name")
	}
	if text := written(t, func(w *bytes.Buffer) error { return r.Text(w) }); strings.ContainsAny(text, "\x1b\t") || !strings.Contains(text, `a\x1b[2Jb`) {
		t.Error("the text has characters that steer a terminal")
	}
	rows, err := csv.NewReader(strings.NewReader(written(t, func(w *bytes.Buffer) error { return r.CSV(w) }))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, row := range rows[1:] {
		found[row[2]] = true
		for _, cell := range row[:5] {
			if cell != "" && strings.ContainsRune("=+-@\t", rune(cell[0])) {
				t.Errorf("a spreadsheet takes %q for a formula", cell)
			}
		}
	}
	for _, want := range []string{"'=HYPERLINK(\"http://x\")", "'-1+1", "'@sum", "x,\"y\"\nz", "ünïcode", hostile} {
		if !found[want] {
			t.Errorf("the CSV lacks machine %q", want)
		}
	}
	var back struct {
		Machines []struct{ Machine string }
	}
	if err := json.Unmarshal([]byte(written(t, func(w *bytes.Buffer) error { return r.JSON(w) })), &back); err != nil {
		t.Fatal(err)
	}
	if len(back.Machines) != len(names) {
		t.Errorf("%d machines, want %d", len(back.Machines), len(names))
	}
}

// The page fetches nothing.
func TestSelfContained(t *testing.T) {
	page := written(t, func(w *bytes.Buffer) error { return sample(t).HTML(w) })
	for _, bad := range regexp.MustCompile(`(?i)(src|srcset|href|action|data|poster)\s*=\s*"[^#"][^"]*"|@import|url\([^#)][^)]*\)|<(script|link|iframe|object|embed|img)\b`).FindAllString(page, -1) {
		t.Errorf("the page has %s", bad)
	}
	if strings.Contains(page, "ZgotmplZ") {
		t.Error("the template refused a value")
	}
}

// Five hundred machines, each with a line and thousands of changes: the page
// stays within a size that a phone opens, and says what it leaves out.
func TestManyMachines(t *testing.T) {
	names := many(500)
	p := build(7, names...)
	// The first one flickers: 20 s run, 10 s stop.
	flicker := p.times[names[0]][:0:0]
	for at := early().Start; at.Before(now); at = at.Add(30 * time.Second) {
		flicker = append(flicker, oee.Interval{Start: at, End: at.Add(20 * time.Second), Class: oee.Running, Planned: true},
			oee.Interval{Start: at.Add(20 * time.Second), End: at.Add(30 * time.Second), Class: oee.Stopped, Planned: true})
	}
	for _, n := range names {
		p.times[n] = flicker
	}
	r := made(t, p, func(c *report.Config) {
		c.View.Lines = nil
		for _, n := range names {
			c.View.Lines = append(c.View.Lines, oee.Line{Name: "line of " + n, Machines: []string{n}, Pooled: true})
			p.lines["line of "+n] = p.results[n]
		}
	})
	page := written(t, func(w *bytes.Buffer) error { return r.HTML(w) })
	const bound = 6 << 20
	t.Logf("%d machines: %.1f MB", len(names), float64(len(page))/(1<<20))
	if len(page) > bound {
		t.Errorf("the page has %d bytes, allowed %d", len(page), bound)
	}
	for _, want := range []string{"Of 500 machines the 60 with the lowest OEE are shown in full", "Of 500 lines the first 60 are shown",
		"each of 480 columns shows the state that held longest in it", "The longest 100 of"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if n := strings.Count(page, `<section class="machine"`); n != 60 {
		t.Errorf("%d machines in full", n)
	}
	if n := strings.Count(page, `class="tile `); n != 500 {
		t.Errorf("%d tiles", n)
	}
	// Of those left out none is worse than one that is shown.
	shown, least := 0.0, math.Inf(1)
	for _, m := range r.Machines {
		o, _ := m.Whole.OEE()
		if strings.Contains(page, `<h2>`+m.Name) {
			shown = max(shown, o)
		} else {
			least = min(least, o)
		}
	}
	if shown > least {
		t.Errorf("a machine with %v is left out, one with %v is shown", least, shown)
	}
}

// A break splits an interval, not the state that a machine is in.
func TestLast(t *testing.T) {
	at := func(h int) time.Time { return time.Date(2026, 11, 22, h, 0, 0, 0, berlin) }
	m := report.Machine{Timeline: []oee.Interval{
		{Start: at(6), End: at(8), Class: oee.Running, State: "RUN", Planned: true}, {Start: at(8), End: at(9), Class: oee.Idle, State: "IDLE", Planned: true},
		{Start: at(9), End: at(10), Class: oee.Running, State: "RUN", Planned: true}, {Start: at(10), End: at(11), Class: oee.Running, State: "RUN"},
		{Start: at(11), End: at(12), Class: oee.Running, State: "RUN", Planned: true}}}
	if last, ok := m.Last(); !ok || !last.Start.Equal(at(9)) || !last.End.Equal(at(12)) {
		t.Errorf("the last state is %v", last)
	}
}

// A date of very many windows is shown by their sum, and says so.
func TestManyWindows(t *testing.T) {
	p := &plant{names: []string{"m1"}, results: map[string][]oee.Result{}}
	start := time.Date(2026, 11, 22, 0, 0, 0, 0, berlin)
	for i := range 96 {
		p.results["m1"] = append(p.results["m1"], article("m1", oee.Window{Kind: "15m", Date: "2026-11-22",
			Start: start.Add(time.Duration(15*i) * time.Minute), End: start.Add(time.Duration(15*i+15) * time.Minute)}))
	}
	r := made(t, p, nil)
	page := written(t, func(w *bytes.Buffer) error { return r.HTML(w) })
	if n := strings.Count(page, `<article class="card`); n != 1 || !strings.Contains(page, "The date has 96 windows: their sum is shown here") {
		t.Errorf("%d cards", n)
	}
	if n := strings.Count(written(t, func(w *bytes.Buffer) error { return r.CSV(w) }), "\n"); n != 1+97+97 { // a header, and for the machine and the plant each window and the whole
		t.Errorf("%d lines of CSV", n)
	}
}

// What is no loss is no stop reason: planned stops, unless the view counts them
// as lost, and classes that it takes out of planned time or counts as run time.
func TestStopReasonsAreLosses(t *testing.T) {
	x := article("m1", early())
	for _, c := range oee.Classes {
		x.Stops = append(x.Stops, oee.Stop{Reason: c.String(), Class: c, Time: time.Minute, Number: 1})
	}
	x.Stops = x.Stops[1:] // a running machine has none
	p := &plant{names: []string{"m1"}, results: map[string][]oee.Result{"m1": {x}}}
	for _, c := range []struct {
		losses map[oee.Class]oee.Loss
		want   []string
	}{
		{nil, []string{"changeover", "idle", "stopped", "unknown"}},
		{map[oee.Class]oee.Loss{oee.Idle: oee.NoLoss, oee.Changeover: oee.PlannedLoss, oee.PlannedStop: oee.AvailabilityLoss, oee.Stopped: oee.PerformanceLoss},
			[]string{"planned_stop", "stopped", "unknown"}},
	} {
		text := written(t, func(w *bytes.Buffer) error {
			return made(t, p, func(of *report.Config) { of.View.Losses = c.losses }).Text(w)
		})
		_, reasons, _ := strings.Cut(text, "CUMULATIVE\n")
		reasons, _, _ = strings.Cut(reasons, "\n\n")
		var got []string
		for line := range strings.Lines(reasons) {
			got = append(got, strings.Fields(line)[0])
		}
		slices.Sort(got)
		if !slices.Equal(got, c.want) {
			t.Errorf("with %v the reasons are %v, want %v", c.losses, got, c.want)
		}
	}
}

// A report can be of one shift, and of some machines.
func TestChosen(t *testing.T) {
	p := build(3, "m1", "m2", "m3")
	r := made(t, p, func(c *report.Config) { c.Shift, c.Machines = "late", []string{"m2"} })
	if len(r.Windows) != 1 || r.Windows[0].Name != "late" || len(r.Machines) != 1 || len(r.Machines[0].Results) != 1 || len(r.Lines) != 0 {
		t.Errorf("the report has windows %v, %d machines, %d lines", r.Windows, len(r.Machines), len(r.Lines))
	}
	if got := written(t, func(w *bytes.Buffer) error { return r.Text(w) }); strings.Contains(got, "early") || strings.Contains(got, "m1") {
		t.Errorf("the text is\n%s", got)
	}
}

func TestRefused(t *testing.T) {
	p := build(3, "m1", "m2")
	for name, c := range map[string]struct {
		change func(c *report.Config)
		want   string
	}{
		"no such shift":   {func(c *report.Config) { c.Shift = "erly" }, `view plant-1 has no shift "erly"; it has early, late, night`},
		"no such machine": {func(c *report.Config) { c.Machines = []string{"m9"} }, `view plant-1 has heard of no machine "m9" in this input; it has heard of m1, m2`},
		"no data": {func(c *report.Config) { c.Date.Day = 1 },
			"view plant-1 has no windows on 2026-11-01: is the input of that day, and is the shift worked on it (days, holidays)?"},
		"shift without data": {func(c *report.Config) { c.Shift = "night" },
			`view plant-1 has no shift "night" on 2026-11-22: is the input of that day, and is the shift worked on it (days, holidays)?`},
	} {
		config := report.Config{View: viewConfig("m1", "m2"), Date: sunday}
		c.change(&config)
		if _, err := report.New(p, config); err == nil || err.Error() != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

// Numbers are rounded so that none says what is not true.
func TestRounding(t *testing.T) {
	w := early()
	for _, c := range []struct {
		good time.Duration // of 1000 s planned
		want string
	}{
		{850 * time.Second, "85.0\u202f%  ▲"},
		{849999 * time.Millisecond, "84.9999\u202f%  ◆"}, // not 85.0 % below target
		{649990 * time.Millisecond, "64.999\u202f%  ▼"},
		{999999 * time.Millisecond, "99.9999\u202f%  ▲"},
		{1000 * time.Second, "100.0\u202f%  ▲"},
		{0, "0.0\u202f%  ▼"},
	} {
		p := &plant{names: []string{"m"}, results: map[string][]oee.Result{"m": {{Machine: "m", Window: w, State: oee.Final,
			Sums: oee.Sums{Planned: 1000 * time.Second, Run: 1000 * time.Second, IdealTotal: c.good, IdealGood: c.good, Total: oee.Unit, Good: oee.Unit}}}}}
		text := written(t, func(w *bytes.Buffer) error { return made(t, p, nil).Text(w) })
		if !strings.Contains(text, c.want) {
			t.Errorf("%v of 1000 s: want %q in\n%s", c.good, c.want, text)
		}
	}
}

// Bands follow the targets: three, two or none.
func TestBands(t *testing.T) {
	p := &plant{names: []string{"m1"}, results: map[string][]oee.Result{"m1": {article("m1", early())}}} // OEE .8108
	for _, c := range []struct {
		target, warn float64
		want         string // in the text
		absent       string
	}{
		{0.85, 0.65, "81.1\u202f%  ◆", ""},
		{0.75, 0.5, "81.1\u202f%  ▲", ""},
		{0.95, 0.9, "81.1\u202f%  ▼", ""},
		{0.85, 0, "81.1\u202f%  ▼", "◆"},
		{0, 0, "81.1\u202f%\n", "▲"},
	} {
		r := made(t, p, func(of *report.Config) { of.View.Target, of.View.Warn = c.target, c.warn })
		text := written(t, func(w *bytes.Buffer) error { return r.Text(w) })
		if !strings.Contains(text, c.want) || c.absent != "" && strings.Contains(text, c.absent) {
			t.Errorf("with %v and %v the text is\n%s", c.target, c.warn, text)
		}
		page := written(t, func(w *bytes.Buffer) error { return r.HTML(w) })
		if got := strings.Contains(page, `class="track zones"`); got != (c.target > 0) {
			t.Errorf("with %v and %v bands are drawn: %v", c.target, c.warn, got)
		}
	}
}
