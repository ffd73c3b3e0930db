package report

import (
	"fmt"

	"github.com/shardline/shardline/pipeline/oee"
)

// longest is where a bar ends at the latest: a performance of 600 % says that
// the ideal rate is wrong, and needs no six times longer track.
const longest = 1.5

// figures are the four of a result.
func (r *Report) figures(x oee.Result) []figure {
	s := x.Sums
	of := func(a, b string) string { return a + " of " + b + "\u00a0min" }
	a, aOK := x.Availability()
	p, pOK := x.Performance()
	q, qOK := x.Quality()
	o, oOK := x.OEE()
	quality := "good " + units(s.Good) + " of " + units(s.Total) + " units"
	if s.Unrated == 0 && s.IdealTotal != 0 && len(x.Outputs) > 1 { // weighted by ideal time
		quality = "good " + of(minutes(s.IdealGood), minutes(s.IdealTotal)) + " ideal"
	}
	all := []figure{
		{Key: "availability", Name: "Availability", Basis: "run " + of(minutes(s.Run), minutes(s.Planned)) + " planned"},
		{Key: "performance", Name: "Performance", Basis: "ideal " + of(minutes(s.IdealTotal), minutes(s.Run)) + " run"},
		{Key: "quality", Name: "Quality", Basis: quality},
		{Key: "oee", Name: "OEE", Basis: "productive " + of(minutes(s.IdealGood), minutes(s.Planned)) + " planned", Zones: true},
	}
	values := []float64{a, p, q, o}
	defined := []bool{aOK, pOK, qOK, oOK}
	for i := range all {
		f := &all[i]
		f.Value, f.Null = percent(values[i], defined[i]), !defined[i]
		f.scale(values[i])
		if f.Zones {
			f.Value, f.band, f.Banded = percent(o, oOK, r.Target, r.Warn), r.band(o, oOK), r.Target > 0
		}
	}
	why := ""
	switch {
	case s.Planned == 0:
		why = "no planned time"
	case s.Unrated != 0:
		why = "no ideal rate for " + units(s.Unrated) + " units"
	}
	if !aOK {
		all[0].Basis = "no planned time"
	}
	if !pOK {
		all[1].Basis = "no run time"
		if s.Unrated != 0 {
			all[1].Basis = why
		}
	}
	if !qOK {
		all[2].Basis = "no units"
	}
	if !oOK {
		all[3].Basis = why
	}
	return all
}

// scale sets the lengths of a bar: nothing below 0, and beyond 100 % on a
// longer track with a line at 100 %.
func (f *figure) scale(value float64) {
	f.Full = 1
	f.Length = min(max(value, 0), longest)
	if value > 1 {
		f.Over, f.Full = true, max(f.Length, 1.1)
	}
}

// band is where an OEE lies.
func (r *Report) band(value float64, ok bool) band {
	bands := r.bands()
	switch {
	case r.Target == 0 && ok:
		return band{Class: "plain"}
	case !ok:
		return bands[3]
	case value >= r.Target:
		return bands[0]
	case value >= r.Warn:
		return bands[1]
	default:
		return bands[2]
	}
}

// bands are all bands, best first, then that of no figure.
func (r *Report) bands() [4]band {
	target, warn := percent(r.Target, true), percent(r.Warn, true)
	return [4]band{
		{"good", "▲", "on target", target + " and more"},
		{"warn", "◆", "below target", warn + " to " + target},
		{"bad", "▼", "low", "below " + warn},
		{"null", dash, "no figure", "not defined: nothing planned, or no ideal rate"},
	}
}

var marks = map[oee.State]mark{
	oee.Early:  {"early", "◌", "provisional", "the window is not over"},
	oee.OnTime: {"ontime", "●", "closed", "over; late events may still change it"},
	oee.Late:   {"revised", "↻", "revised", "changed after it was closed"},
	oee.Final:  {"final", "✓", "final", "no event can change it; a corrected row can"},
}

// markOf is the mark of a result, with its revision if it was changed.
func markOf(x oee.Result) mark {
	m := marks[x.State]
	if x.State == oee.Late && x.Window.Kind != "whole" && x.Machine != "" {
		m.Word += fmt.Sprintf(" (revision %d)", x.Revision)
	}
	return m
}

// flagTexts say what a flag means and what to do.
func flagText(f oee.Flag, x oee.Result) string {
	switch f {
	case oee.FlagPerformance:
		return "Performance is above 100\u202f%: the ideal rate is set too low, or units are counted twice."
	case oee.FlagGood:
		return "More good units than units: look at the counters."
	case oee.FlagRejected:
		return "More rejected units than units: look at the counters."
	case oee.FlagNoRate:
		return "Units of a product without an ideal rate: no performance and no OEE."
	case oee.FlagOverfull:
		return "More changes of state in an hour than are kept: the rest counts as no data."
	case oee.FlagBottleneck:
		if x.Bottleneck == "" {
			return "The figures are those of each window's bottleneck."
		}
		return "The figures are those of the bottleneck, " + shown(x.Bottleneck) + "."
	case oee.FlagPooled:
		return "The figures are of all machines together."
	case oee.FlagMissing:
		return "Not every machine has figures."
	default:
		return string(f)
	}
}

// neutral flags explain a figure; they are no fault.
func neutral(f oee.Flag) bool { return f == oee.FlagBottleneck || f == oee.FlagPooled }

func (r *Report) card(x oee.Result) card {
	c := card{Name: title(x.Window), Whole: x.Window.Kind == "whole", When: between(x.Window, r.Zone), Mark: markOf(x), Bars: r.figures(x)}
	if x.State == oee.Early && !x.Through.IsZero() && x.Through.Before(x.Window.End) {
		c.When += ", figures up to " + x.Through.In(r.Zone).Format("15:04")
	}
	for _, f := range x.Flags {
		if text := flagText(f, x); text != "" {
			c.Flags = append(c.Flags, flag{Text: text, Neutral: neutral(f)})
		}
	}
	return c
}
