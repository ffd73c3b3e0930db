package oee

import (
	"strconv"
	"time"
)

// windowSpan is a window: which of the configuration's, which shift, when.
type windowSpan struct {
	config int // index of Config.Windows
	shift  int // index of Config.Shifts; -1: none
	day    Date
	span   span
}

// key names a window among those of a machine: windows of one configuration
// begin at different times.
func (w *windowSpan) key() windowKey { return windowKey{w.config, w.span.from} }

type windowKey struct {
	config int
	from   int64
}

// String is the kind's name in results: of a fixed window its length.
func (c WindowConfig) String() string {
	switch c.Kind {
	case ShiftWindow:
		return "shift"
	case HourWindow:
		return "hour"
	case DayWindow:
		return "day"
	case FixedWindow:
		hours, minutes := c.Length/time.Hour, c.Length%time.Hour/time.Minute
		switch {
		case minutes == 0:
			return strconv.Itoa(int(hours)) + "h"
		case hours == 0:
			return strconv.Itoa(int(minutes)) + "m"
		default:
			return strconv.Itoa(int(hours)) + "h" + strconv.Itoa(int(minutes)) + "m"
		}
	default:
		return ""
	}
}

// windows appends the windows of a configuration that overlap s, in order.
func (k *calendar) windows(to []windowSpan, index int, c WindowConfig, s span) []windowSpan {
	if s.from >= s.to {
		return to
	}
	switch c.Kind {
	case ShiftWindow:
		for _, shift := range k.shiftsIn(s) {
			to = append(to, windowSpan{index, shift.shift, shift.day, shift.span})
		}
	case DayWindow:
		k.each(s, func(d *date) {
			if d.business.overlaps(s) {
				to = append(to, windowSpan{index, -1, d.day, d.business})
			}
		})
	case HourWindow:
		for from := k.hourStart(s.from); from < s.to; {
			end := k.hourEnd(from)
			to = append(to, windowSpan{index, -1, k.dateAt(from), span{from, end}})
			from = end
		}
	case FixedWindow:
		k.each(s, func(d *date) {
			for from := d.midnight.from; from < d.midnight.to; {
				w := span{from, min(from+int64(c.Length), d.midnight.to)}
				if w.overlaps(s) {
					to = append(to, windowSpan{index, -1, d.day, w})
				}
				from = w.to
			}
		})
	}
	return to
}

// hourEnd is when the local clock next shows a full hour after t, or changes.
func (k *calendar) hourEnd(t int64) int64 {
	local := k.local(t)
	end := t + int64(time.Hour) - sinceHour(local)
	if _, change := local.ZoneBounds(); !change.IsZero() {
		end = min(end, change.UnixNano())
	}
	return end
}

// hourStart is when the hour began that t is in.
func (k *calendar) hourStart(t int64) int64 {
	local := k.local(t)
	start := t - sinceHour(local)
	if change, _ := local.ZoneBounds(); !change.IsZero() {
		start = max(start, change.UnixNano())
	}
	return start
}

func sinceHour(local time.Time) int64 {
	return int64(local.Minute())*int64(time.Minute) + int64(local.Second())*int64(time.Second) + int64(local.Nanosecond())
}

// show is the window as results show it.
func (k *calendar) show(w *windowSpan, configs []WindowConfig) Window {
	shown := Window{
		Kind:  configs[w.config].String(),
		Start: k.local(w.span.from),
		End:   k.local(w.span.to),
		Date:  w.day.String(),
	}
	if w.shift >= 0 {
		shown.Name = k.shifts[w.shift].Name
	}
	return shown
}
