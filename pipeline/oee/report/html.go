package report

import (
	"bufio"
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shardline/shardline/pipeline/oee"
)

const (
	// maxDetailed bounds the machines that are shown in full, and the lines: a
	// page of a few megabytes opens on a phone and prints.
	maxDetailed = 60
	// maxCards bounds the windows that are shown one by one.
	maxCards = 25
	// maxColumns bounds the columns of windows in the table of all figures.
	maxColumns = 4
)

//go:embed assets/report.css
var style string

//go:embed assets/report.html
var html string

var pageTemplate = template.Must(template.New("report").Parse(html))

// HTML writes the report as one self-contained file.
func (r *Report) HTML(w io.Writer) error {
	buffered := bufio.NewWriter(w)
	if err := pageTemplate.Execute(buffered, r.page()); err != nil {
		return fmt.Errorf("write the report of view %s: %w", r.View, err)
	}
	return buffered.Flush()
}

func (r *Report) page() *page {
	date := time.Date(r.Date.Year, r.Date.Month, r.Date.Day, 12, 0, 0, 0, r.Zone)
	bands := r.bands()
	p := &page{
		Title:   "OEE " + r.View + " " + date.Format(time.DateOnly),
		Heading: "OEE of " + shown(r.View),
		When:    date.Format("Monday, 2 January 2006"),
		Zone:    "Times are those of " + zone(r.Zone, r.Start, r.End) + ".",
		Style:   template.CSS(style), // ours
		WarnAt:  r.Warn, TargetAt: r.Target,
		Bands: bands[:],
		Notes: r.notes(),
		Made:  "Ratios are computed from sums, last; only what is shown is rounded. A figure that is not defined is a dash.",
	}
	switch {
	case r.Target == 0:
		p.Bands = p.Bands[3:]
	case r.Warn == r.Target: // two bands
		p.Bands = slices.Delete(p.Bands, 1, 2)
	}
	if r.Shift != "" {
		p.Title += " " + r.Shift
		p.When += ", shift " + shown(r.Shift)
	}
	if last := r.latest(); !last.IsZero() {
		p.Until = "The latest data is of " + last.In(r.Zone).Format("2006-01-02 15:04:05") + "."
	}
	if !r.Made.IsZero() {
		p.Made = "Made by Shardline on " + r.Made.In(r.Zone).Format("2006-01-02 15:04:05 -07:00") + ". " + p.Made
	}
	for _, s := range []oee.State{oee.Early, oee.OnTime, oee.Late, oee.Final} {
		p.Marks = append(p.Marks, marks[s])
	}

	f := r.figures(r.Plant.Whole)
	p.Hero = &hero{About: "OEE, " + r.whatWhole(), OEE: f[3], How: "A " + f[0].Value + " × P " + f[1].Value + " × Q " + f[2].Value}
	detailed := r.detailed()
	if len(r.Machines) > 1 {
		s := r.section("plant", "All machines", r.Plant)
		s.About = plural(int64(len(r.Machines)), "machine") + " together: their sums are added, not their ratios averaged."
		p.Plant = &s
	}
	for i, l := range r.Lines[:min(len(r.Lines), maxDetailed)] {
		p.Lines = append(p.Lines, r.section(fmt.Sprintf("line-%d", i+1), "Line "+shown(l.Name), l.Group))
	}
	if len(r.Machines) > 1 {
		p.Overview = &overview{Caption: "Availability, performance, quality and OEE of the " + r.whatWhole()}
		if n := len(r.Windows); n > 1 && n <= maxColumns {
			for _, w := range r.Windows {
				p.Overview.Columns = append(p.Overview.Columns, title(w))
			}
		}
	}
	for i, m := range r.Machines {
		id := ""
		if detailed[i] {
			id = fmt.Sprintf("machine-%d", i+1)
			s := r.section(id, shown(m.Name), m.Group)
			s.About = strings.TrimSpace(shownOr(m.Line, "") + " " + s.About)
			s.Strip = r.strip(id, m.Name, m.Timeline)
			p.Machines = append(p.Machines, s)
		}
		p.Tiles = append(p.Tiles, r.tile(m, id))
		if p.Overview != nil {
			p.Overview.Rows = append(p.Overview.Rows, r.row(m, id, len(p.Overview.Columns) > 0))
		}
	}
	return p
}

func shownOr(name, other string) string {
	if name == "" {
		return other
	}
	return shown(name)
}

// whatWhole names what Group.Whole is of.
func (r *Report) whatWhole() string {
	if len(r.Windows) == 1 {
		if r.Windows[0].Name != "" {
			return "shift " + shown(r.Windows[0].Name)
		}
		return "date"
	}
	return "whole date"
}

// latest is when anything was last heard of.
func (r *Report) latest() (last time.Time) {
	for _, m := range r.Machines {
		if m.Heard.After(last) {
			last = m.Heard
		}
	}
	return last
}

// detailed says which machines are shown in full: all, or those with the lowest
// OEE, and of the rest the ones without.
func (r *Report) detailed() map[int]bool {
	order := make([]int, len(r.Machines))
	for i := range order {
		order[i] = i
	}
	if len(order) > maxDetailed {
		slices.SortStableFunc(order, func(a, b int) int {
			x, xOK := r.Machines[a].Whole.OEE()
			y, yOK := r.Machines[b].Whole.OEE()
			switch {
			case xOK != yOK && xOK:
				return -1
			case xOK != yOK:
				return 1
			case x < y:
				return -1
			case x > y:
				return 1
			}
			return 0
		})
		order = order[:maxDetailed]
	}
	out := map[int]bool{}
	for _, i := range order {
		out[i] = true
	}
	return out
}

func (r *Report) notes() (notes []string) {
	if n := len(r.Machines); n > maxDetailed {
		notes = append(notes, fmt.Sprintf("Of %d machines the %d with the lowest OEE are shown in full; all of them have a tile and a line in the table. "+
			"A report of chosen machines, or as CSV or JSON, has everything.", n, maxDetailed))
	}
	if n := len(r.Lines); n > maxDetailed {
		notes = append(notes, fmt.Sprintf("Of %d lines the first %d are shown; CSV and JSON have all.", n, maxDetailed))
	}
	if n := len(r.Windows); n >= maxCards {
		notes = append(notes, fmt.Sprintf("The date has %d windows: their sum is shown here, and CSV and JSON have each of them.", n))
	}
	var fast []string
	for _, m := range r.Machines {
		if slices.Contains(m.Whole.Flags, oee.FlagPerformance) || slices.ContainsFunc(m.Results, func(x oee.Result) bool { return slices.Contains(x.Flags, oee.FlagPerformance) }) {
			fast = append(fast, m.Name)
		}
	}
	if len(fast) > 0 {
		notes = append(notes, "Performance is above 100\u202f% at "+names(fast, func(s string) string { return s })+": an ideal rate is set too low, or units are counted twice. The figures are shown as they are.")
	}
	return notes
}

// shownOf are the results of a group, and of several all of them together.
func (r *Report) shownOf(g Group) []oee.Result {
	if len(r.Windows) > 1 && len(g.Results) > 0 {
		return append(slices.Clip(g.Results), g.Whole)
	}
	return g.Results
}

func (r *Report) section(id, name string, g Group) section {
	s := section{ID: id, Name: name}
	results := r.shownOf(g)
	if len(results) == 0 {
		s.About = "No figures in this time."
		return s
	}
	if len(results) > maxCards {
		results = []oee.Result{g.Whole}
	}
	for _, x := range results {
		s.Cards = append(s.Cards, r.card(x))
	}
	s.Inputs, s.Losses, s.Stops = r.inputs(results), r.waterfall(g.Whole), r.stops(g.Whole)
	return s
}

func (r *Report) tile(m Machine, link string) tile {
	t := tile{Machine: shown(m.Name), Line: shownOr(m.Line, ""), Link: link, OEE: r.figures(m.Whole)[3]}
	last, ok := m.Last()
	l := looks[last.Class]
	t.Class, t.Sign, t.State = l.class, l.sign, capital(classNames[last.Class])
	switch {
	case last.Silent && last.State != "":
		t.State += ", last said " + shown(last.State)
	case last.Class == oee.Unknown && last.State != "":
		t.State = "Unknown state " + shown(last.State)
	case last.Class != oee.Running && last.Class != oee.Unknown:
		if why := cmp.Or(last.Reason, last.State); why != "" {
			t.State += ": " + shown(why)
		}
	}
	if ok {
		t.Since = "since " + r.dayClock(last.Start) + ", " + span(last.End.Sub(last.Start))
	}
	s := m.Whole.Sums
	t.Count = units(s.Good) + " good of " + units(s.Total)
	if s.IdealTotal > 0 && s.Planned > 0 && s.Unrated == 0 {
		// At the ideal rate of what was made: of several products their mix.
		ideal := float64(s.Total) * float64(s.Planned) / float64(s.IdealTotal)
		t.Target = "ideal " + grouped(strconv.FormatFloat(ideal/float64(oee.Unit), 'f', 0, 64))
	}
	return t
}

// dayClock is a local time of day, with its date where that is another.
func (r *Report) dayClock(t time.Time) string {
	t = t.In(r.Zone)
	if t.Before(r.Start) || t.After(r.End) {
		return t.Format("2006-01-02 15:04")
	}
	return t.Format("15:04")
}

func (r *Report) row(m Machine, link string, shifts bool) overviewRow {
	f := r.figures(m.Whole)
	row := overviewRow{Machine: shown(m.Name), Link: link, A: f[0].Value, P: f[1].Value, Q: f[2].Value, OEE: f[3], Total: units(m.Whole.Sums.Total), Good: units(m.Whole.Sums.Good)}
	if m.Line != "" {
		row.Line = strings.TrimSpace(shown(m.Line))
	}
	for _, w := range r.Windows {
		if !shifts {
			break
		}
		cell := figure{band: band{Class: "null"}, Value: dash}
		for _, x := range m.Results {
			if same(x.Window, w) {
				cell = r.figures(x)[3]
			}
		}
		row.Shifts = append(row.Shifts, cell)
	}
	return row
}
