package report

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/shardline/shardline/pipeline/oee"
)

// Column is a column of the CSV form; its name is that of the JSON form's field.
type Column struct {
	Name, Meaning string
	of            func(r *Report, x *oee.Result) string
}

// Columns are the columns of the CSV form, in order: docs/oee-report.md has the
// same table.
func Columns() []Column {
	lasting := func(name, meaning string, of func(s *oee.Sums) time.Duration) Column {
		return Column{name, meaning, func(_ *Report, x *oee.Result) string { return seconds(of(&x.Sums)) }}
	}
	count := func(name, meaning string, of func(s *oee.Sums) oee.Units) Column {
		return Column{name, meaning, func(_ *Report, x *oee.Result) string { return of(&x.Sums).String() }}
	}
	figure := func(name, meaning string, of func(x *oee.Result) (float64, bool)) Column {
		return Column{name, meaning, func(_ *Report, x *oee.Result) string {
			value, ok := of(x)
			if !ok {
				return ""
			}
			return strconv.FormatFloat(value, 'f', -1, 64)
		}}
	}
	text := func(name, meaning string, of func(r *Report, x *oee.Result) string) Column {
		return Column{name, meaning, func(r *Report, x *oee.Result) string { return inert(of(r, x)) }}
	}
	return []Column{
		text("view", "name of the view", func(_ *Report, x *oee.Result) string { return x.View }),
		text("of", "what the line is about: `machine`, `line`, or `all` machines together", func(_ *Report, x *oee.Result) string { return about(x) }),
		text("machine", "name of the machine", func(_ *Report, x *oee.Result) string { return x.Machine }),
		text("line", "name of the line", func(_ *Report, x *oee.Result) string { return x.Line }),
		text("bottleneck", "the machine whose figures the line has", func(_ *Report, x *oee.Result) string { return x.Bottleneck }),
		text("kind", "kind of window: `shift`, `hour`, `day`, a length as `15m`, or `whole`: all windows of the report together", func(_ *Report, x *oee.Result) string { return x.Window.Kind }),
		text("name", "name of the shift", func(_ *Report, x *oee.Result) string { return x.Window.Name }),
		text("start", "start of the window, with the offset of the plant's time zone", func(r *Report, x *oee.Result) string { return r.local(x.Window.Start) }),
		text("end", "its end, which is no part of it", func(r *Report, x *oee.Result) string { return r.local(x.Window.End) }),
		text("business_date", "the date that it counts for", func(_ *Report, x *oee.Result) string { return x.Window.Date }),
		text("through", "the figures are up to here", func(r *Report, x *oee.Result) string { return r.local(x.Through) }),
		text("state", "`early` (provisional), `on_time`, `late` (revised) or `final`", func(_ *Report, x *oee.Result) string { return x.State.String() }),
		text("revision", "grows with every change; of several windows or machines together their sum", func(_ *Report, x *oee.Result) string { return strconv.FormatInt(x.Revision, 10) }),
		lasting("length_s", "seconds of the window that have passed", func(s *oee.Sums) time.Duration { return s.Length }),
		lasting("planned_s", "of them planned", func(s *oee.Sums) time.Duration { return s.Planned }),
		lasting("run_s", "of the planned ones run time", func(s *oee.Sums) time.Duration { return s.Run }),
		lasting("idle_s", "idle", func(s *oee.Sums) time.Duration { return s.Idle }),
		lasting("stopped_s", "stopped", func(s *oee.Sums) time.Duration { return s.Stopped }),
		lasting("changeover_s", "changeover", func(s *oee.Sums) time.Duration { return s.Changeover }),
		lasting("unknown_s", "no data, or a state that is not mapped", func(s *oee.Sums) time.Duration { return s.Unknown }),
		lasting("unplanned_s", "not planned: breaks, planned stops, outside shifts", func(s *oee.Sums) time.Duration { return s.Unplanned }),
		lasting("planned_stop_s", "of the unplanned ones planned stops, and states that are said to be", func(s *oee.Sums) time.Duration { return s.PlannedStop }),
		lasting("slow_s", "of the run time performance loss: micro-stops, and states that are said to be", func(s *oee.Sums) time.Duration { return s.Slow }),
		{"micro_stops", "number of micro-stops", func(_ *Report, x *oee.Result) string { return strconv.FormatInt(x.Sums.MicroStops, 10) }},
		count("total", "units", func(s *oee.Sums) oee.Units { return s.Total }),
		count("good", "good units", func(s *oee.Sums) oee.Units { return s.Good }),
		count("rejected", "rejected units", func(s *oee.Sums) oee.Units { return s.Rejected }),
		lasting("ideal_total_s", "seconds that all units take at their ideal rates", func(s *oee.Sums) time.Duration { return s.IdealTotal }),
		lasting("ideal_good_s", "seconds that the good ones take", func(s *oee.Sums) time.Duration { return s.IdealGood }),
		count("unrated", "units without an ideal rate", func(s *oee.Sums) oee.Units { return s.Unrated }),
		figure("availability", "run_s ÷ planned_s", (*oee.Result).Availability),
		figure("performance", "ideal_total_s ÷ run_s; above 1 the ideal rate is too low", (*oee.Result).Performance),
		figure("quality", "ideal_good_s ÷ ideal_total_s", (*oee.Result).Quality),
		figure("quality_units", "good ÷ total", (*oee.Result).QualityUnits),
		figure("oee", "ideal_good_s ÷ planned_s", (*oee.Result).OEE),
		text("flags", "what to look at, separated by spaces", func(_ *Report, x *oee.Result) string {
			var flags []string
			for _, f := range x.Flags {
				flags = append(flags, string(f))
			}
			return strings.Join(flags, " ")
		}),
	}
}

// about says what a result is of.
func about(x *oee.Result) string {
	switch {
	case x.Machine != "":
		return "machine"
	case x.Line != "":
		return "line"
	default:
		return "all"
	}
}

// inert is a text that a spreadsheet does not take for a formula: one that
// starts like one gets an apostrophe in front.
func inert(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r\n", rune(s[0])) {
		return "'" + s
	}
	return s
}

// CSV writes the results (Results), one a line, with a header. Ratios that are
// undefined are empty.
func (r *Report) CSV(w io.Writer) error {
	columns := Columns()
	out := csv.NewWriter(w)
	cells := make([]string, len(columns))
	for i, c := range columns {
		cells[i] = c.Name
	}
	if err := out.Write(cells); err != nil {
		return fmt.Errorf("write CSV: %w", err)
	}
	for _, x := range r.Results() {
		for i, c := range columns {
			cells[i] = c.of(r, &x)
		}
		if err := out.Write(cells); err != nil {
			return fmt.Errorf("write CSV: %w", err)
		}
	}
	out.Flush()
	return out.Error()
}
