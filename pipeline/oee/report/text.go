package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/shardline/shardline/pipeline/oee"
)

// Text writes the report for a terminal: the figures of every machine, line and
// window, then the reasons of stops.
func (r *Report) Text(w io.Writer) error {
	out := bufio.NewWriter(w)
	p := r.page()
	fmt.Fprintf(out, "%s, %s\n%s", p.Heading, p.When, p.Zone)
	if p.Until != "" {
		fmt.Fprintf(out, " %s", p.Until)
	}
	fmt.Fprintln(out)
	var bands []string
	for _, b := range p.Bands {
		bands = append(bands, b.Sign+" "+b.Range)
	}
	fmt.Fprintf(out, "OEE: %s\n", strings.Join(bands, ", "))
	for _, note := range p.Notes {
		fmt.Fprintln(out, note)
	}
	fmt.Fprintln(out)

	table := [][]string{{"OF", "WINDOW", "TIMES", "MARK", "PLANNED MIN", "RUN MIN", "TOTAL", "GOOD", "A", "P", "Q", "OEE", ""}}
	for _, m := range r.Machines {
		table = append(table, r.textLines(shown(m.Name), m.Group)...)
	}
	for _, l := range r.Lines {
		table = append(table, r.textLines("line "+shown(l.Name), l.Group)...)
	}
	if len(r.Machines) > 1 {
		table = append(table, r.textLines("all machines", r.Plant)...)
	}
	aligned(out, table, 4)
	r.textStops(out)
	return out.Flush()
}

func (r *Report) textLines(of string, g Group) (lines [][]string) {
	for _, x := range r.shownOf(g) {
		f := r.figures(x)
		lines = append(lines, []string{of, title(x.Window), between(x.Window, r.Zone), markOf(x).Word, minutes(x.Sums.Planned), minutes(x.Sums.Run),
			units(x.Sums.Total), units(x.Sums.Good), f[0].Value, f[1].Value, f[2].Value, f[3].Value, f[3].Sign + flagsOf(x)})
	}
	return lines
}

// textStops lists the reasons of all machines together, and what they do.
func (r *Report) textStops(out io.Writer) {
	stops := r.stops(r.Plant.Whole)
	fmt.Fprintf(out, "\nStop reasons\n")
	table := [][]string{{"REASON", "MIN", "STOPS", "CUMULATIVE"}}
	for _, row := range stops.Rows {
		table = append(table, []string{row.Reason, row.Minutes, row.Number, row.Cumulative})
	}
	if len(stops.Rows) == 0 {
		table = [][]string{{"none"}}
	}
	aligned(out, table, 1)

	fmt.Fprintf(out, "\nStates at the end\n")
	table = [][]string{{"MACHINE", "STATE", "SINCE"}}
	for _, m := range r.Machines {
		t := r.tile(m, "")
		table = append(table, []string{t.Machine, t.State, strings.TrimPrefix(t.Since, "since ")})
	}
	aligned(out, table, 3)
}

// flagsOf are the names of a result's flags, to be set behind its sign.
func flagsOf(x oee.Result) (text string) {
	for _, f := range x.Flags {
		if !neutral(f) {
			text += " " + string(f)
		}
	}
	return text
}

// aligned prints a table. Columns are set flush left, and from number right on
// flush right but for one without a head.
func aligned(out io.Writer, table [][]string, right int) {
	widths := make([]int, len(table[0]))
	for _, row := range table {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range table {
		line := ""
		for i, cell := range row {
			space := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i >= right && table[0][i] != "" {
				line += space + cell + "  "
			} else {
				line += cell + space + "  "
			}
		}
		fmt.Fprintln(out, strings.TrimRight(line, " "))
	}
}

// Results are all results of the report: of each machine and line those of the
// windows that it is about, of other kinds of windows in its time, and, of
// several windows, of all together; then those of all machines together.
func (r *Report) Results() []oee.Result {
	var all []oee.Result
	put := func(g Group, other []oee.Result) {
		all = append(all, g.Results...)
		all = append(all, other...)
		if len(r.Windows) > 1 && len(g.Results) > 0 {
			all = append(all, g.Whole)
		}
	}
	for _, m := range r.Machines {
		put(m.Group, m.Other)
	}
	for _, l := range r.Lines {
		put(l.Group, l.Other)
	}
	put(r.Plant, nil)
	return all
}

// local is an instant with its offset in the view's zone.
func (r *Report) local(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.In(r.Zone).Format(time.RFC3339Nano)
}
