package oee_test

import (
	"strings"
	"testing"
	"time"

	"github.com/shardline/shardline/pipeline/oee"
)

func TestCheck(t *testing.T) {
	shift := func(name string, start, length time.Duration, days ...time.Weekday) oee.Shift {
		return oee.Shift{Name: name, Start: start, Length: length, Days: days}
	}
	h := time.Hour
	for name, x := range map[string]struct {
		change func(*oee.Config)
		want   string // parts of the problems, in order; empty: none
	}{
		"fine":                  {func(*oee.Config) {}, ""},
		"no zone":               {func(c *oee.Config) { c.Zone = nil }, "time_zone: is missing"},
		"no reporting":          {func(c *oee.Config) { c.Reporting = 0 }, "reporting: is required"},
		"periodic, no hold":     {func(c *oee.Config) { c.Reporting = oee.Periodic }, "max_hold: is required"},
		"nothing runs":          {func(c *oee.Config) { delete(c.States, "RUN") }, "states.running: no raw state"},
		"modulus of deltas":     {func(c *oee.Config) { c.Good.Modulus = 5 }, "counters.good.modulus: is of cumulative"},
		"no windows":            {func(c *oee.Config) { c.Windows = nil }, "windows: is empty"},
		"seven minutes":         {func(c *oee.Config) { c.Windows[0] = oee.WindowConfig{Kind: oee.FixedWindow, Length: 7 * time.Minute} }, "windows[0]: 7m0s is not whole minutes, or no part of 24h"},
		"shift without shifts":  {func(c *oee.Config) { c.Shifts = nil }, "windows[0]: shift needs shifts"},
		"windows twice":         {func(c *oee.Config) { c.Windows = append(c.Windows, c.Windows[0]) }, "windows[1]: shift is listed twice"},
		"minutes of a day":      {func(c *oee.Config) { c.Planned, c.Minutes = oee.PlannedMinutes, 1441 }, "planned.minutes: 1441"},
		"overlap":               {func(c *oee.Config) { c.Shifts = append(c.Shifts, shift("late", 13*h, 8*h)) }, "shifts[1].start: late begins 1h0m0s before early (shifts[0]) is over, on mon"},
		"overlap over midnight": {func(c *oee.Config) { c.Shifts = append(c.Shifts, shift("night", 22*h, 9*h)) }, "shifts[0].start: early begins 1h0m0s before night (shifts[1]) is over, on tue"},
		"overlap over the week": {func(c *oee.Config) {
			c.Shifts = []oee.Shift{shift("mon", 2*h, 4*h, time.Monday), shift("sun", 22*h, 8*h, time.Sunday)}
		}, "shifts[0].start: mon begins 4h0m0s before sun (shifts[1]) is over, on mon"},
		"gap": {func(c *oee.Config) { c.Shifts = append(c.Shifts, shift("late", 14*h+15*time.Minute, 8*h)) },
			"warning shifts[1].start: between early (shifts[0]) and late 15m0s are in no shift, on mon from 14:00"},
		"break outside": {func(c *oee.Config) {
			c.Shifts[0].Breaks = []oee.Break{{Start: 13*h + 50*time.Minute, Length: 20 * time.Minute}}
		},
			"shifts[0].breaks[0]: 13:50 for 20m0s is not in the shift, which is from 06:00 to 14:00"},
		"break of a night": {func(c *oee.Config) {
			c.Shifts = []oee.Shift{{Name: "night", Start: 22 * h, Length: 8 * h, Breaks: []oee.Break{{Start: 2 * h, Length: h}}}}
		}, ""},
		"no date": {func(c *oee.Config) { c.Holidays = []oee.Date{{Year: 2026, Month: 2, Day: 30}} }, "holidays[0]: 2026-02-30 is no date"},
		"circle": {func(c *oee.Config) {
			c.Lines = []oee.Line{{Name: "a", Machines: []string{"b"}}, {Name: "b", Machines: []string{"m1", "c"}}, {Name: "c", Machines: []string{"a"}}}
		}, "lines[0].machines: the line is part of itself: a > b > c > a | lines[1].machines: the line is part of itself: b > c > a > b | lines[2].machines: the line is part of itself: c > a > b > c"},
		"bottleneck elsewhere": {func(c *oee.Config) { c.Lines = []oee.Line{{Name: "a", Machines: []string{"m1"}, Bottleneck: "m9"}} }, `lines[0].bottleneck: "m9" is not one`},
		"target":               {func(c *oee.Config) { c.Target, c.Warn = 0.5, 0.6 }, "targets.warn: 0.6 is above"},
		"alerts": {func(c *oee.Config) {
			c.Alerts = []oee.AlertConfig{{Name: "a", When: oee.WhenIdle}, {Name: "a", When: oee.WhenBelowTarget, Window: oee.WindowConfig{Kind: oee.DayWindow}}}
		}, `alerts[0].longer_than: is required | alerts[1].name: "a" is the name of alerts[0] already | alerts[1].when: below_target needs targets.oee | alerts[1].window: "day" is not one`},
		"rate": {func(c *oee.Config) { c.IdealRates[0].Rate.Units = 0 }, "ideal_rate[0]: a rate must be more than 0"},
	} {
		t.Run(name, func(t *testing.T) {
			c := plain()
			x.change(&c)
			problems := c.Check()
			var want []string
			if x.want != "" {
				want = strings.Split(x.want, " | ")
			}
			if len(problems) != len(want) {
				t.Fatalf("%d problems, not %d: %v", len(problems), len(want), problems)
			}
			for i, p := range problems {
				got := p.String()
				if p.Warning {
					got = "warning " + got
				}
				if !strings.HasPrefix(got, want[i]) {
					t.Errorf("got  %s\nwant %s", got, want[i])
				}
			}
			_, err := oee.New(c)
			if wrong := len(want) > 0 && !problems[0].Warning; wrong != (err != nil) {
				t.Errorf("New: %v", err)
			}
		})
	}
}
