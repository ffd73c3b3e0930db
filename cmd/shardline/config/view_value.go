package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Decimal is an exact number, not below 0, with up to 9 decimal places. Empty:
// none was given.
type Decimal string

// IsSet says whether it was given and is not 0.
func (v Decimal) IsSet() bool { return strings.Trim(string(v), "0.") != "" }

var decimalPattern = regexp.MustCompile(`^[0-9]{1,9}(\.[0-9]{1,9})?$`)

func (v *Decimal) decode(d *decoder, n *node, path string) {
	const allowed = "a number such as 480 or 208.33, at most 9 digits before and 9 behind the point"
	if text, ok := d.scalar(n, path, allowed); ok {
		if !decimalPattern.MatchString(text) {
			d.addf(n, path, "%s is not allowed; allowed: %s", n.found(), allowed)
			return
		}
		*v = Decimal(text)
	}
}

// ClockTime is a time of the clock on the wall. The zero value says nothing.
type ClockTime struct {
	minutes int // after midnight, and one more
}

// IsSet says whether it was given.
func (t ClockTime) IsSet() bool { return t.minutes > 0 }

// AfterMidnight is how far the clock has gone since midnight.
func (t ClockTime) AfterMidnight() time.Duration {
	return time.Duration(max(t.minutes-1, 0)) * time.Minute
}

// String is as the file has it; empty for the zero value.
func (t ClockTime) String() string {
	if !t.IsSet() {
		return ""
	}
	return fmt.Sprintf("%02d:%02d", (t.minutes-1)/60, (t.minutes-1)%60)
}

func (t *ClockTime) decode(d *decoder, n *node, path string) {
	const allowed = "a time of the day such as 06:00, in quotes"
	if text, ok := d.scalar(n, path, allowed); ok {
		at, err := time.Parse("15:04", text)
		if err != nil || len(text) != len("15:04") {
			d.addf(n, path, "%s is not allowed; allowed: %s", n.found(), allowed)
			return
		}
		t.minutes = at.Hour()*60 + at.Minute() + 1
	}
}

// Planned is what planned time is.
type Planned struct {
	// Kind is shifts, schedule or minutes.
	Kind string
	// Minutes is those of minutes, per shift.
	Minutes int
}

// The kinds of planned time.
const (
	PlannedShifts   = "shifts"
	PlannedSchedule = "schedule"
	PlannedMinutes  = "minutes"
)

// String is as the file has it.
func (p Planned) String() string {
	if p.Kind == PlannedMinutes {
		return fmt.Sprintf("{minutes: %d}", p.Minutes)
	}
	return p.Kind
}

func (p *Planned) decode(d *decoder, n *node, path string) {
	known := []string{PlannedShifts, PlannedSchedule}
	switch {
	case n.kind == scalarNode && slices.Contains(known, n.text):
		p.Kind = n.text
	case n.kind == mappingNode:
		var own struct {
			Minutes int `yaml:"minutes" required:"true"`
		}
		if d.value(n, path, &own); !d.reportedBelow(path + ".") {
			p.Kind, p.Minutes = PlannedMinutes, own.Minutes
		}
	default:
		d.addf(n, path, "%s is not allowed; allowed: shifts, schedule, {minutes: 480}%s", n.found(), d.suggest(n, known))
	}
}
