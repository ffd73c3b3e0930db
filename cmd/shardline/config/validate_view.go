package config

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// views checks the views.
func (l *loading) views(c *Config) {
	names := map[string]string{}
	for i := range c.Destinations { // both subscribe under their names
		if at := fmt.Sprintf("destinations[%d].name", i); l.names(at) {
			names[c.Destinations[i].Name] = parent(at)
		}
	}
	for i := range c.Views {
		v, path := &c.Views[i], fmt.Sprintf("views[%d]", i)
		l.name(path+".name", v.Name, names)
		if v.Name == allDestinations {
			l.addf(path+".name", "%s stands for all destinations", l.found(path+".name"))
		}
		before := len(l.problems)
		l.zone(path+".time_zone", v.TimeZone)
		l.viewInputs(c, path+".inputs", v)
		l.viewStates(path+".states", v)
		l.viewTimes(path, v)
		l.viewWindows(path+".windows", v)
		l.viewShifts(path+".shifts", v)
		l.viewHolidays(path+".holidays", v)
		l.viewPlanned(path+".planned", v)
		l.idealRate(path+".ideal_rate", v)
		l.viewLines(path+".lines", v)
		l.viewOutputs(c, path, v)
		l.viewItself(c, path, v, l.problems[before:])
	}
}

// viewItself adds what the view finds wrong with its configuration, where
// nothing has been found yet.
func (l *loading) viewItself(c *Config, path string, v *View, found Problems) {
	touches := func(a, b string) bool {
		rest, ok := strings.CutPrefix(a, b)
		return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
	}
	settings := v.OEE()
	for _, p := range settings.Check() {
		at := path + "." + p.Path
		if strings.HasPrefix(p.Path, "ideal_rate") || l.reportedBelow(at) ||
			slices.ContainsFunc(found, func(f Problem) bool { return touches(f.Path, at) || touches(at, f.Path) }) {
			continue
		}
		before := len(l.problems)
		l.addf(at, "%s", p.Text)
		if p.Warning && len(l.problems) > before {
			c.warnings = append(c.warnings, l.problems[before])
			l.problems = l.problems[:before]
		}
	}
}

// zone checks the name of a time zone. Local would be another one on each host.
func (l *loading) zone(path, name string) {
	if l.reported[path] {
		return
	}
	_, err := time.LoadLocation(name)
	if err != nil || name == "" || name == "Local" {
		l.addf(path, "%s is not a time zone; allowed: IANA names such as Europe/Berlin, UTC", l.found(path))
	}
}

func (l *loading) viewTimes(path string, v *View) {
	l.duration(path+".idle_timeout", v.IdleTimeout, time.Second, 24*time.Hour)
	l.duration(path+".max_ahead", v.MaxAhead, time.Second, 24*time.Hour)
	l.duration(path+".save_every", v.SaveEvery, time.Second, 10*time.Minute)
	if v.MaxMachines < 1 || v.MaxMachines > 100_000 {
		l.addf(path+".max_machines", "%s is not allowed; allowed: 1 to 100000", l.found(path+".max_machines"))
	}
}

// duration checks the bounds of a duration.
func (l *loading) duration(path string, value, least, most time.Duration) {
	if value < least || value > most {
		l.addf(path, "%s is not allowed; allowed: %s to %s", l.found(path), brief(least), brief(most))
	}
}

// brief is a duration as people write it.
func brief(d time.Duration) string {
	if d == 0 {
		return "0"
	}
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2]
		}
	}
	return text
}

func (l *loading) viewStates(path string, v *View) {
	first := map[string]string{}
	for _, class := range v.States.classes() {
		for i, state := range class.states {
			at := fmt.Sprintf("%s.%s[%d]", path, class.name, i)
			switch {
			case l.reported[at]:
			case state == "":
				l.addf(at, "it is empty: a state is a text")
			case first[state] == class.name:
				l.addf(at, "%s stands in this list twice", l.found(at))
			case first[state] != "":
				l.addf(at, "%s stands in %s too: a state is of one class", l.found(at), first[state])
			default:
				first[state] = class.name
			}
		}
	}
	states := slices.ContainsFunc(v.Inputs, func(in ViewInput) bool { return in.Fields["state"] != "" })
	if states && len(v.States.Running) == 0 && !l.reportedBelow(path) {
		l.addf(path+".running", "at least one state is required: a machine would never run")
	}
}

func (l *loading) viewWindows(path string, v *View) {
	known := []string{WindowShift, WindowHour, WindowDay}
	for i, window := range v.Windows {
		at := fmt.Sprintf("%s[%d]", path, i)
		if _, err := parseWindow(window); err != nil && !l.reported[at] {
			l.addf(at, "%s is not allowed; allowed: %s, and lengths such as 15m%s", l.found(at), strings.Join(known, ", "), l.nearest(at, known))
		}
	}
}

// window checks a reference to a window.
func (l *loading) window(path, window string, v *View) {
	switch {
	case l.reported[path]:
	case window == "":
		l.addf(path, "it is required")
	case !slices.Contains(v.Windows, window):
		l.addf(path, "%s is not one of the view's windows: %s%s", l.found(path), strings.Join(v.Windows, ", "), l.nearest(path, v.Windows))
	}
}

func (l *loading) viewShifts(path string, v *View) {
	days := sorted(weekdays)
	for i := range v.Shifts {
		shift, at := &v.Shifts[i], fmt.Sprintf("%s[%d]", path, i)
		switch {
		case l.reported[at+".length"] || l.reported[at+".end"]:
		case shift.Length != 0 && shift.End.IsSet():
			l.addf(at+".end", "only one of length and end is allowed")
		case shift.Length == 0 && !shift.End.IsSet():
			l.addf(at, "one of length and end is required")
		}
		for j, day := range shift.Days {
			if here := fmt.Sprintf("%s.days[%d]", at, j); !l.reported[here] {
				if _, ok := weekdays[day]; !ok {
					l.addf(here, "%s is not allowed; allowed: mon, tue, wed, thu, fri, sat, sun%s", l.found(here), l.nearest(here, days))
				}
			}
		}
	}
}

func (l *loading) viewHolidays(path string, v *View) {
	for i, day := range v.Holidays {
		at := fmt.Sprintf("%s[%d]", path, i)
		if _, err := time.Parse(time.DateOnly, day); err != nil && !l.reported[at] {
			l.addf(at, "%s is not a date such as 2026-12-25", l.found(at))
		}
	}
}

func (l *loading) viewPlanned(path string, v *View) {
	schedules := slices.ContainsFunc(v.Inputs, func(in ViewInput) bool {
		for _, table := range in.Tables {
			if table.Kind == "schedule" {
				return true
			}
		}
		return false
	})
	if v.Planned.Kind == PlannedSchedule && !schedules {
		l.addf(path, "no input has a table of the kind schedule")
	}
}

func (l *loading) idealRate(path string, v *View) {
	one := func(at string, perMinute, cycle Decimal, required bool) {
		switch {
		case l.reportedBelow(at + "."):
		case perMinute.IsSet() && cycle.IsSet():
			l.addf(at+".cycle_s", "only one of per_minute and cycle_s is allowed")
		case required && !perMinute.IsSet() && !cycle.IsSet():
			l.addf(at, "one of per_minute and cycle_s is required, above 0")
		}
	}
	one(path, v.IdealRate.PerMinute, v.IdealRate.CycleSeconds, false)
	taken := map[[2]string]string{}
	for i, of := range v.IdealRate.Of {
		at := fmt.Sprintf("%s.of[%d]", path, i)
		one(at, of.PerMinute, of.CycleSeconds, true)
		key := [2]string{of.Machine, of.Product}
		switch {
		case l.reportedBelow(at):
		case key == [2]string{}:
			l.addf(at, "machine or product is required: the general one stands above")
		case taken[key] != "":
			l.addf(at, "it is the same machine and product as %s", l.where(taken[key], at))
		default:
			taken[key] = at
		}
	}
}

func (l *loading) viewLines(path string, v *View) {
	taken := map[string]string{}
	for i := range v.Lines {
		l.name(fmt.Sprintf("%s[%d].name", path, i), v.Lines[i].Name, taken)
	}
}

func (l *loading) viewOutputs(c *Config, path string, v *View) {
	names := map[string]string{}
	for i := range v.Alerts {
		a, at := &v.Alerts[i], fmt.Sprintf("%s.alerts[%d]", path, i)
		l.name(at+".name", a.Name, names)
		switch {
		case l.reportedBelow(at + ".when"):
		case a.When == AlertBelowTarget && a.LongerThan != 0:
			l.addf(at+".longer_than", "it has no meaning with when: %s", a.When)
		case a.When == AlertBelowTarget:
			l.window(at+".window", a.Window, v)
		case a.Window != "":
			l.addf(at+".window", "it has no meaning with when: %s", a.When)
		}
		l.receivers(c, at+".to", a.To)
	}
	published := map[string]string{}
	for i := range v.Publish {
		p, at := &v.Publish[i], fmt.Sprintf("%s.publish[%d]", path, i)
		l.toDestination(c, at+".to", p.To)
		if first := published[p.To]; first != "" && p.To != "" {
			l.addf(at+".to", "results go there already, by %s", l.where(first, at))
		} else {
			published[p.To] = at
		}
		if p.EarlyEvery != 0 {
			l.duration(at+".early_every", p.EarlyEvery, time.Second, 24*time.Hour)
		}
	}
	for i := range v.Reports {
		r, at := &v.Reports[i], fmt.Sprintf("%s.reports[%d]", path, i)
		l.window(at+".window", r.Window, v)
		if len(r.Format) == 0 {
			l.addf(at+".format", "at least one format is required")
		}
		formats := []string{"text", "csv", "json", "html"}
		for j, format := range r.Format {
			switch here := fmt.Sprintf("%s.format[%d]", at, j); {
			case l.reported[here]:
			case !slices.Contains(formats, format):
				l.addf(here, "%s is not allowed; allowed: %s%s", l.found(here), strings.Join(formats, ", "), l.nearest(here, formats))
			case slices.Contains(r.Format[:j], format):
				l.addf(here, "%s stands in this list twice", l.found(here))
			}
		}
		l.receivers(c, at+".to", r.To)
	}
}

// receivers checks a list of destinations.
func (l *loading) receivers(c *Config, path string, names []string) {
	if len(names) == 0 {
		l.addf(path, "at least one destination is required")
	}
	for i, name := range names {
		at := fmt.Sprintf("%s[%d]", path, i)
		if slices.Contains(names[:i], name) {
			l.addf(at, "%s stands in this list twice", l.found(at))
			continue
		}
		l.toDestination(c, at, name)
	}
}

// toDestination checks a reference to a destination.
func (l *loading) toDestination(c *Config, path, name string) {
	if l.reported[path] || c.Destination(name) != nil || l.reported["destinations"] || l.reported["destinations_files"] || l.unnamed {
		return // it may be one of those that could not be read
	}
	l.addf(path, "there is no destination named %s%s", l.found(path), l.nearest(path, l.destinationNames(c)))
}

// sorted is the keys of m in their order.
func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
