package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/shardline/shardline/pipeline/oee"
)

// Figures is what a report is made of.
type Figures interface {
	Machines() []string
	Windows(machine, kind string, from, to time.Time) []oee.Result
	LineWindows(line, kind string, from, to time.Time) []oee.Result
	Timeline(machine string, from, to time.Time) []oee.Interval
	Now(machine string) (state oee.Interval, heard time.Time, ok bool)
}

// Config says what a report shows.
type Config struct {
	View     *oee.Config // its name, zone, lines and targets
	Date     oee.Date    // the business date
	Shift    string      // only this shift; empty: the whole date
	Machines []string    // only these; empty: all
	Made     time.Time   // when it is made; zero: not said
}

// Report is a business date, or one shift of it.
type Report struct {
	View     string
	Zone     *time.Location
	Date     oee.Date
	Shift    string // empty: the whole date
	Made     time.Time
	Target   float64   // from this on an OEE is on target; 0: there is no target
	Warn     float64   // below this it is low; at most Target
	Start    time.Time // of the first of Windows
	End      time.Time // of the last
	Windows  []oee.Window
	Machines []Machine
	Lines    []Line
	Plant    Group // all machines together

	losses map[oee.Class]oee.Loss // as the view has them
}

// Group is what Report.Windows hold for a machine or several.
type Group struct {
	Results []oee.Result // by window; one may lack
	Whole   oee.Result   // all of Results together
}

// Machine is a machine's part of a report.
type Machine struct {
	Name string
	Line string // the first line that has it; empty: none
	Group
	Other    []oee.Result   // of other kinds of windows in the report's time: hours, the day, fixed lengths
	Timeline []oee.Interval // in the report's time
	Heard    time.Time      // when it last said anything; zero: never
}

// Last is what the machine did at the end of the report's time, as far as it is
// known; false: nothing is.
func (m *Machine) Last() (last oee.Interval, ok bool) {
	if len(m.Timeline) == 0 {
		return oee.Interval{}, false
	}
	last = m.Timeline[len(m.Timeline)-1]
	for _, i := range slices.Backward(m.Timeline[:len(m.Timeline)-1]) { // a break's edge is no change of state
		if !i.End.Equal(last.Start) || i.Class != last.Class || i.State != last.State || i.Reason != last.Reason || i.Silent != last.Silent {
			break
		}
		last.Start = i.Start
	}
	return last, true
}

// Line is a line's part of a report.
type Line struct {
	Name string
	Group
	Other []oee.Result
}

// New collects a report. A date without windows is an error that says why.
func New(figures Figures, c Config) (*Report, error) {
	r := &Report{View: c.View.Name, Zone: c.View.Zone, Date: c.Date, Shift: c.Shift, Made: c.Made, Target: c.View.Target, Warn: c.View.Warn, losses: c.View.Losses}
	if r.Warn == 0 || r.Target == 0 { // two bands, or none
		r.Target = max(r.Target, r.Warn)
		r.Warn = r.Target
	}
	if c.Shift != "" && !slices.ContainsFunc(c.View.Shifts, func(s oee.Shift) bool { return s.Name == c.Shift }) {
		return nil, fmt.Errorf("view %s has no shift %q; it has %s", r.View, c.Shift, names(c.View.Shifts, func(s oee.Shift) string { return s.Name }))
	}
	machines := figures.Machines()
	for _, name := range c.Machines {
		if !slices.Contains(machines, name) {
			return nil, fmt.Errorf("view %s has heard of no machine %q in this input; it has heard of %s", r.View, name, names(machines, func(s string) string { return s }))
		}
	}
	if len(c.Machines) > 0 {
		machines = c.Machines
	}
	lineOf := map[string]string{}
	for _, line := range slices.Backward(c.View.Lines) {
		for _, m := range line.Machines {
			lineOf[m] = line.Name
		}
	}

	// A window of the date begins on it or, as a shift's night, in what the
	// calendar already calls the next day: two days hold them all.
	from := time.Date(c.Date.Year, c.Date.Month, c.Date.Day, 0, 0, 0, 0, r.Zone)
	to := from.AddDate(0, 0, 2)
	date := from.Format(time.DateOnly)
	all := map[string][]oee.Result{}
	for _, name := range machines {
		all[name] = figures.Windows(name, "", from, to)
	}
	r.Windows = choose(all, date, c.Shift)
	if len(r.Windows) == 0 {
		what := "no windows"
		if c.Shift != "" {
			what = fmt.Sprintf("no shift %q", c.Shift)
		}
		return nil, fmt.Errorf("view %s has %s on %s: is the input of that day, and is the shift worked on it (days, holidays)?", r.View, what, date)
	}
	r.Start, r.End = r.Windows[0].Start, r.Windows[0].End
	for _, w := range r.Windows {
		if w.End.After(r.End) {
			r.End = w.End
		}
	}

	var every []oee.Result
	for _, name := range machines {
		m := Machine{Name: name, Line: lineOf[name], Timeline: figures.Timeline(name, r.Start, r.End)}
		m.Group, m.Other = r.group(all[name])
		if _, heard, ok := figures.Now(name); ok {
			m.Heard = heard
		}
		every = append(every, m.Results...)
		r.Machines = append(r.Machines, m)
	}
	slices.SortStableFunc(r.Machines, func(a, b Machine) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Name, b.Name))
	})
	if len(c.Machines) == 0 {
		for _, line := range c.View.Lines {
			l := Line{Name: line.Name}
			l.Group, l.Other = r.group(figures.LineWindows(line.Name, "", from, to))
			if len(l.Results) > 0 {
				r.Lines = append(r.Lines, l)
			}
		}
	}
	r.Plant = r.pooled(every, len(machines))
	return r, nil
}

// choose finds the windows that a report is about: the shifts of the date,
// without any its day, without that the longest that there are.
func choose(all map[string][]oee.Result, date, shift string) []oee.Window {
	kinds := map[string][]oee.Window{}
	for _, results := range all {
		for _, x := range results {
			w := x.Window
			if w.Date != date || shift != "" && (w.Kind != "shift" || w.Name != shift) {
				continue
			}
			if !slices.ContainsFunc(kinds[w.Kind], func(o oee.Window) bool { return same(o, w) }) {
				kinds[w.Kind] = append(kinds[w.Kind], w)
			}
		}
	}
	var chosen []oee.Window
	for kind, windows := range kinds {
		if chosen == nil || rank(kind, windows) > rank(chosen[0].Kind, chosen) {
			chosen = windows
		}
	}
	slices.SortFunc(chosen, func(a, b oee.Window) int { return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.Name, b.Name)) })
	return chosen
}

// rank orders kinds: shifts first, then the day, then by length.
func rank(kind string, windows []oee.Window) time.Duration {
	switch kind {
	case "shift":
		return 1000 * time.Hour
	case "day":
		return 999 * time.Hour
	default:
		return windows[0].End.Sub(windows[0].Start)
	}
}

func same(a, b oee.Window) bool {
	return a.Kind == b.Kind && a.Name == b.Name && a.Start.Equal(b.Start)
}

// group splits a machine's or line's results into those of r.Windows and others
// in the same time: the hours of a night shift too, whose own date is the next.
func (r *Report) group(results []oee.Result) (g Group, other []oee.Result) {
	for _, x := range results {
		switch {
		case slices.ContainsFunc(r.Windows, func(w oee.Window) bool { return same(w, x.Window) }):
			g.Results = append(g.Results, x)
		case !x.Window.Start.Before(r.Start) && !x.Window.End.After(r.End):
			other = append(other, x)
		}
	}
	byStart := func(a, b oee.Result) int {
		return cmp.Or(a.Window.Start.Compare(b.Window.Start), cmp.Compare(a.Window.Kind, b.Window.Kind), cmp.Compare(a.Window.Name, b.Window.Name))
	}
	slices.SortStableFunc(g.Results, byStart)
	slices.SortStableFunc(other, byStart)
	g.Whole = r.whole(g.Results)
	return g, other
}

// pooled adds results of machines up, window by window.
func (r *Report) pooled(results []oee.Result, machines int) (g Group) {
	for _, w := range r.Windows {
		var of []oee.Result
		for _, x := range results {
			if same(x.Window, w) {
				of = append(of, x)
			}
		}
		if len(of) == 0 {
			continue
		}
		x := add(of)
		x.Machine, x.Line, x.Window = "", "", w
		if len(of) < machines {
			x.Flags = append(x.Flags, oee.FlagMissing)
		}
		g.Results = append(g.Results, x)
	}
	g.Whole = r.whole(g.Results)
	return g
}

// whole adds the windows of a group up. Of several it is a window of its own
// kind, "whole": from the first to the last, whatever lies between them.
func (r *Report) whole(results []oee.Result) oee.Result {
	if len(results) == 1 && len(r.Windows) == 1 {
		return results[0]
	}
	x := add(results)
	x.View = r.View
	x.Window = oee.Window{Kind: "whole", Start: r.Start, End: r.End, Date: r.Windows[0].Date}
	return x
}

func names[T any](all []T, name func(T) string) string {
	const most = 20
	var out []string
	for i, x := range all {
		if i == most {
			out = append(out, fmt.Sprintf("and %d more", len(all)-most))
			break
		}
		out = append(out, shown(name(x)))
	}
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(out, ", ")
}
