package oee

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Problem is something wrong in a Config: where, as the path of a field of the
// configuration file below the view (shifts[1].start), and what.
type Problem struct {
	Path string
	Text string
	// Warning: it may be meant, and does not keep the view from working.
	Warning bool
}

func (p Problem) String() string { return p.Path + ": " + p.Text }

// MaxShift is the longest shift.
const MaxShift = 24 * time.Hour

// Check returns everything that is wrong with a view.
func (c *Config) Check() []Problem {
	var k check
	if c.Zone == nil {
		k.wrong("time_zone", "is missing")
	}
	k.states(c)
	k.durations(c)
	k.windows(c)
	k.shifts(c.Shifts)
	k.holidays(c.Holidays)
	k.rates(c.IdealRates)
	k.lines(c.Lines)
	k.targets(c)
	k.alerts(c)
	return k.problems
}

type check struct{ problems []Problem }

func (k *check) wrong(path, format string, args ...any) {
	k.problems = append(k.problems, Problem{Path: path, Text: fmt.Sprintf(format, args...)})
}

func (k *check) states(c *Config) {
	if loss := c.Losses[Running]; loss == AvailabilityLoss || loss == PlannedLoss {
		k.wrong("losses.running", "running is run time: none or performance")
	}
	running := false
	for _, class := range c.States {
		running = running || class == Running
	}
	if len(c.States) > 0 && !running {
		k.wrong("states.running", "no raw state means running: every availability would be 0")
	}
	for _, counter := range []struct {
		name string
		c    Counter
	}{{"total", c.Total}, {"good", c.Good}, {"rejected", c.Rejected}} {
		path := "counters." + counter.name + ".modulus"
		if counter.c.Modulus < 0 {
			k.wrong(path, "must be more than 0")
		} else if counter.c.Modulus > 0 && !counter.c.Cumulative {
			k.wrong(path, "is of cumulative counters alone")
		}
	}
}

func (k *check) durations(c *Config) {
	for _, d := range []struct {
		path string
		d    time.Duration
	}{
		{"micro_stop", c.MicroStop}, {"max_hold", c.MaxHold}, {"allowed_lateness", c.Lateness},
		{"idle_timeout", c.Idle}, {"max_ahead", c.Ahead}, {"retain", c.Retain},
	} {
		if d.d < 0 {
			k.wrong(d.path, "%v is negative", d.d)
		}
	}
	if c.MicroStop > time.Hour {
		k.wrong("micro_stop", "%v is no micro-stop: an hour at most", c.MicroStop)
	}
	switch c.Reporting {
	case OnChange:
	case Periodic:
		if c.MaxHold == 0 {
			k.wrong("max_hold", "is required with reporting: periodic: how long a machine may be silent before its state is unknown")
		}
	default:
		k.wrong("reporting", "is required: on_change if machines report changes of state, periodic if they report their state all the time")
	}
	if retain := cmp.Or(c.Retain, defaultRetain); retain > 0 && retain < 48*time.Hour {
		k.wrong("retain", "%v is shorter than the longest window, a day of two shifts: 48h at least", retain)
	} else if c.Lateness > retain {
		k.wrong("allowed_lateness", "%v is more than retain, %v", c.Lateness, retain)
	}
}

func (k *check) windows(c *Config) {
	if len(c.Windows) == 0 {
		k.wrong("windows", "is empty: name at least one of shift, hour, day, or a length")
	}
	for i, w := range c.Windows {
		path := fmt.Sprintf("windows[%d]", i)
		if why := w.problem(len(c.Shifts) > 0); why != "" {
			k.wrong(path, "%s", why)
		}
		if slices.Index(c.Windows, w) < i {
			k.wrong(path, "%s is listed twice", w)
		}
	}
	switch c.Planned {
	case PlannedMinutes:
		if len(c.Shifts) == 0 {
			k.wrong("planned.minutes", "are those of each shift, but there are no shifts")
		}
		if c.Minutes < 1 || c.Minutes > 24*60 {
			k.wrong("planned.minutes", "%d is not between 1 and 1440", c.Minutes)
		}
	case PlannedShifts, PlannedSchedule:
		if c.Minutes != 0 {
			k.wrong("planned.minutes", "is of no use with another kind of planned time")
		}
	default:
		k.wrong("planned", "is none of shifts, schedule and {minutes: …}")
	}
}

// problem says what is wrong with a window.
func (w WindowConfig) problem(shifts bool) string {
	switch w.Kind {
	case ShiftWindow:
		if !shifts {
			return "shift needs shifts"
		}
	case HourWindow, DayWindow:
	case FixedWindow:
		if w.Length < time.Minute || w.Length%time.Minute != 0 || w.Length > 24*time.Hour || 24*time.Hour%w.Length != 0 {
			return fmt.Sprintf("%v is not whole minutes, or no part of 24h", w.Length)
		}
	default:
		return "is none of shift, hour, day and a length"
	}
	return ""
}

func (k *check) shifts(shifts []Shift) {
	for i := range shifts {
		s := &shifts[i]
		path := fmt.Sprintf("shifts[%d]", i)
		if s.Name == "" {
			k.wrong(path+".name", "is missing")
		}
		if j := slices.IndexFunc(shifts, func(o Shift) bool { return o.Name == s.Name }); j < i && s.Name != "" {
			k.wrong(path+".name", "%q is the name of shifts[%d] already", s.Name, j)
		}
		if s.Start < 0 || s.Start >= 24*time.Hour || s.Start%time.Minute != 0 {
			k.wrong(path+".start", "is not a time of day in whole minutes, as 06:00")
		}
		if s.Length < time.Minute || s.Length > MaxShift || s.Length%time.Minute != 0 {
			k.wrong(path+".length", "%v is not whole minutes up to 24h", s.Length)
			continue
		}
		for d, day := range s.Days {
			if slices.Index(s.Days, day) < d {
				k.wrong(fmt.Sprintf("%s.days[%d]", path, d), "%s is listed twice", shortDay(day))
			}
		}
		for b, pause := range s.Breaks {
			at := fmt.Sprintf("%s.breaks[%d]", path, b)
			start := pause.Start
			if start < s.Start {
				start += 24 * time.Hour
			}
			switch {
			case pause.Start < 0 || pause.Start >= 24*time.Hour || pause.Start%time.Minute != 0:
				k.wrong(at+".start", "is not a time of day in whole minutes, as 10:00")
			case pause.Length < time.Minute || pause.Length%time.Minute != 0:
				k.wrong(at+".length", "%v is not whole minutes", pause.Length)
			case start+pause.Length > s.Start+s.Length:
				k.wrong(at, "%s for %v is not in the shift, which is from %s to %s", clockText(pause.Start), pause.Length, clockText(s.Start), clockText(s.Start+s.Length))
			}
		}
	}
	if len(k.problems) == 0 {
		k.week(shifts)
	}
}

// week lays the shifts out over a week and looks for overlaps and gaps.
func (k *check) week(shifts []Shift) {
	const week = 7 * 24 * time.Hour
	type laid struct {
		shift    int
		from, to time.Duration // since Monday's midnight
	}
	var on []laid
	for i, s := range shifts {
		for d := range 7 {
			if day := time.Weekday((d + 1) % 7); len(s.Days) == 0 || slices.Contains(s.Days, day) {
				from := time.Duration(d)*24*time.Hour + s.Start
				on = append(on, laid{i, from, from + s.Length})
			}
		}
	}
	if len(on) == 0 {
		return
	}
	slices.SortFunc(on, func(a, b laid) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.shift, b.shift)) })
	on = append(on, laid{on[0].shift, on[0].from + week, on[0].to + week})
	said := map[[2]int]bool{}
	for i, next := range on[1:] {
		before := on[i]
		pair := [2]int{before.shift, next.shift}
		if said[pair] {
			continue
		}
		path := fmt.Sprintf("shifts[%d]", next.shift)
		gap := next.from - before.to
		day := shortDay(time.Weekday((int(before.to/(24*time.Hour)) + 1) % 7))
		switch {
		case gap < 0:
			k.wrong(path+".start", "%s begins %v before %s (shifts[%d]) is over, on %s: shifts must not overlap",
				shifts[next.shift].Name, -gap, shifts[before.shift].Name, before.shift, shortDay(time.Weekday((int(next.from%week/(24*time.Hour))+1)%7)))
		case gap > 0 && gap < 4*time.Hour:
			k.problems = append(k.problems, Problem{Path: path + ".start", Warning: true, Text: fmt.Sprintf(
				"between %s (shifts[%d]) and %s %v are in no shift, on %s from %s: unplanned time",
				shifts[before.shift].Name, before.shift, shifts[next.shift].Name, gap, day, clockText(before.to))})
		default:
			continue
		}
		said[pair] = true
	}
}

func shortDay(d time.Weekday) string { return strings.ToLower(d.String()[:3]) }

func clockText(c Clock) string {
	return fmt.Sprintf("%02d:%02d", int(c/time.Hour)%24, int(c/time.Minute)%60)
}

func (k *check) holidays(days []Date) {
	for i, day := range days {
		path := fmt.Sprintf("holidays[%d]", i)
		if day.plus(0) != day {
			k.wrong(path, "%04d-%02d-%02d is no date", day.Year, day.Month, day.Day)
		} else if slices.Index(days, day) < i {
			k.wrong(path, "%s is listed twice", day)
		}
	}
}

func (k *check) rates(rates []RateConfig) {
	for i, r := range rates {
		path := fmt.Sprintf("ideal_rate[%d]", i)
		if !r.Rate.Valid() {
			k.wrong(path, "a rate must be more than 0")
		}
		if j := slices.IndexFunc(rates, func(o RateConfig) bool { return o.Machine == r.Machine && o.Product == r.Product }); j < i {
			k.wrong(path, "is for the same machine and product as ideal_rate[%d]", j)
		}
	}
}

func (k *check) lines(lines []Line) {
	index := map[string]int{}
	for i, line := range lines {
		path := fmt.Sprintf("lines[%d]", i)
		if line.Name == "" {
			k.wrong(path+".name", "is missing")
		} else if j, twice := index[line.Name]; twice {
			k.wrong(path+".name", "%q is the name of lines[%d] already", line.Name, j)
		} else {
			index[line.Name] = i
		}
		if len(line.Machines) == 0 {
			k.wrong(path+".machines", "is empty")
		}
		for m, machine := range line.Machines {
			if machine == "" {
				k.wrong(fmt.Sprintf("%s.machines[%d]", path, m), "is empty")
			} else if slices.Index(line.Machines, machine) < m {
				k.wrong(fmt.Sprintf("%s.machines[%d]", path, m), "%q is listed twice", machine)
			}
		}
		if line.Bottleneck != "" && !slices.Contains(line.Machines, line.Bottleneck) {
			k.wrong(path+".bottleneck", "%q is not one of the line's machines", line.Bottleneck)
		} else if line.Bottleneck != "" && line.Pooled {
			k.wrong(path+".bottleneck", "is of no use to a pooled line")
		}
	}
	// A line may have lines as members. Walk from each and look for its own name.
	for i, line := range lines {
		seen := map[string]bool{}
		var way []string
		var walk func(name string) bool
		walk = func(name string) bool {
			at, is := index[name]
			if !is || seen[name] {
				return false
			}
			seen[name] = true
			for _, member := range lines[at].Machines {
				if member == line.Name || walk(member) {
					way = append(way, name)
					return true
				}
			}
			return false
		}
		if line.Name != "" && index[line.Name] == i && walk(line.Name) {
			slices.Reverse(way)
			k.wrong(fmt.Sprintf("lines[%d].machines", i), "the line is part of itself: %s", strings.Join(append(way, line.Name), " > "))
		}
	}
}

func (k *check) targets(c *Config) {
	for _, t := range []struct {
		path string
		v    float64
	}{{"targets.oee", c.Target}, {"targets.warn", c.Warn}} {
		if !(t.v >= 0 && t.v <= 1) { // NaN too
			k.wrong(t.path, "%v is not between 0 and 1", t.v)
		}
	}
	if c.Target > 0 && c.Warn > c.Target {
		k.wrong("targets.warn", "%v is above targets.oee, %v", c.Warn, c.Target)
	}
}

func (k *check) alerts(c *Config) {
	for i, a := range c.Alerts {
		path := fmt.Sprintf("alerts[%d]", i)
		if a.Name == "" {
			k.wrong(path+".name", "is missing")
		} else if j := slices.IndexFunc(c.Alerts, func(o AlertConfig) bool { return o.Name == a.Name }); j < i {
			k.wrong(path+".name", "%q is the name of alerts[%d] already", a.Name, j)
		}
		switch a.When {
		case WhenIdle, WhenStopped, WhenNoData:
			if a.Longer <= 0 {
				k.wrong(path+".longer_than", "is required: how long it may last")
			} else if a.Longer > maxLonger {
				k.wrong(path+".longer_than", "%v is too long: %v at most", a.Longer, time.Duration(maxLonger))
			}
		case WhenBelowTarget:
			if c.Target == 0 {
				k.wrong(path+".when", "below_target needs targets.oee")
			}
			if !slices.Contains(c.Windows, a.Window) {
				k.wrong(path+".window", "%q is not one of the view's windows", a.Window)
			}
		default:
			k.wrong(path+".when", "is none of idle, stopped, no_data and below_target")
		}
	}
	if len(c.Alerts) > math.MaxUint8 {
		k.wrong("alerts", "there are %d: %d at most", len(c.Alerts), math.MaxUint8)
	}
}

// maxLonger bounds how far planned time is followed for an alert.
const maxLonger = 7 * 24 * time.Hour

const (
	defaultRetain   = 35 * 24 * time.Hour
	defaultAhead    = 15 * time.Minute
	defaultMachines = 20_000
	defaultWaiting  = 4_000_000
)
