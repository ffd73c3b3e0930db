package oee

import (
	"slices"
	"time"
)

// calendar turns the shifts of a configuration into instants. Everything is
// of the local clock, resolved once per date; a local time that a clock change
// skips is the instant of the change, one that it repeats is the first.
type calendar struct {
	zone     *time.Location
	shifts   []Shift
	holidays map[Date]bool
	dates    map[Date]*date
}

// datesAtHand bounds the calendar's memory: more than a year.
const datesAtHand = 400

// date is a day of the calendar.
type date struct {
	day      Date
	midnight span // the calendar day
	business span // the business date: calendar.businessStart of it and of the next
	shifts   []shiftSpan
	holiday  bool
}

// shiftSpan is one shift on one date.
type shiftSpan struct {
	shift   int // index in calendar.shifts
	day     Date
	span    span
	planned []span // less breaks and holidays
}

func newCalendar(c *Config) *calendar {
	k := &calendar{zone: c.Zone, shifts: c.Shifts, holidays: map[Date]bool{}, dates: map[Date]*date{}}
	for _, day := range c.Holidays {
		k.holidays[day.plus(0)] = true
	}
	return k
}

// plus is the date n days later.
func (d Date) plus(n int) Date {
	return dateOf(time.Date(d.Year, d.Month, d.Day+n, 0, 0, 0, 0, time.UTC))
}

func (d Date) weekday() time.Weekday {
	return time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, time.UTC).Weekday()
}

// String is the date as in ISO 8601.
func (d Date) String() string {
	return time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, time.UTC).Format(time.DateOnly)
}

func dateOf(t time.Time) Date {
	y, m, d := t.Date()
	return Date{y, m, d}
}

// local is an instant as the zone's clock shows it.
func (k *calendar) local(t int64) time.Time { return time.Unix(0, t).In(k.zone) }

func (k *calendar) dateAt(t int64) Date { return dateOf(k.local(t)) }

// instant is when the local clock shows a time on a date. A clock of 24 h or
// more is on a later one.
func (k *calendar) instant(day Date, clock Clock) int64 {
	wall := time.Date(day.Year, day.Month, day.Day, 0, 0, 0, 0, time.UTC).Add(clock)
	offset := func(t time.Time) time.Duration {
		_, seconds := t.In(k.zone).Zone()
		return time.Duration(seconds) * time.Second
	}
	// One of the offsets a day before and after holds, or both do.
	before, after := offset(wall.Add(-24*time.Hour)), offset(wall.Add(24*time.Hour))
	early, late := wall.Add(-before), wall.Add(-after)
	if before == after {
		return early.UnixNano()
	}
	if late.Before(early) {
		early, late, before, after = late, early, after, before
	}
	if offset(early) == before {
		return early.UnixNano()
	}
	if offset(late) == after {
		return late.UnixNano()
	}
	change, _ := late.In(k.zone).ZoneBounds()
	return change.UnixNano()
}

// date returns a date's instants.
func (k *calendar) date(day Date) *date {
	if d := k.dates[day]; d != nil {
		return d
	}
	if len(k.dates) >= datesAtHand {
		clear(k.dates)
	}
	d := &date{
		day:      day,
		midnight: span{k.instant(day, 0), k.instant(day.plus(1), 0)},
		holiday:  k.holidays[day],
	}
	d.business = span{k.businessStart(day), k.businessStart(day.plus(1))}
	for i := range k.shifts {
		s := &k.shifts[i]
		if !s.on(day) {
			continue
		}
		d.shifts = append(d.shifts, k.shiftOn(i, day))
	}
	slices.SortFunc(d.shifts, func(a, b shiftSpan) int {
		if a.span.from < b.span.from {
			return -1
		}
		return 1
	})
	k.dates[day] = d
	return d
}

func (s *Shift) on(day Date) bool { return len(s.Days) == 0 || slices.Contains(s.Days, day.weekday()) }

func (k *calendar) shiftOn(i int, day Date) shiftSpan {
	s := &k.shifts[i]
	on := shiftSpan{shift: i, day: day, span: span{k.instant(day, s.Start), k.instant(day, s.Start+s.Length)}}
	var holes []span
	for _, b := range s.Breaks {
		start := b.Start
		if start < s.Start {
			start += 24 * time.Hour
		}
		holes = append(holes, span{k.instant(day, start), k.instant(day, start+b.Length)})
	}
	for n := range 2 { // a shift passes one midnight at most
		if holiday := day.plus(n); k.holidays[holiday] {
			holes = append(holes, span{k.instant(holiday, 0), k.instant(holiday.plus(1), 0)})
		}
	}
	on.planned = subtract(nil, on.span, union(holes))
	return on
}

// businessStart is when a business date begins: at midnight, or when the last
// shift of the date before that is still on then is over.
func (k *calendar) businessStart(day Date) int64 {
	start := k.instant(day, 0)
	before := day.plus(-1)
	for i := range k.shifts {
		if s := &k.shifts[i]; s.on(before) && s.Start+s.Length > 24*time.Hour {
			start = max(start, k.instant(before, s.Start+s.Length))
		}
	}
	return start
}

// each calls f with the dates whose shifts or days may overlap s, in order.
func (k *calendar) each(s span, f func(*date)) {
	if s.from >= s.to {
		return
	}
	last := k.dateAt(s.to - 1)
	for day := k.dateAt(s.from).plus(-1); ; day = day.plus(1) {
		f(k.date(day))
		if day == last {
			return
		}
	}
}

// shiftsIn returns the shifts that overlap s, in order.
func (k *calendar) shiftsIn(s span) (in []shiftSpan) {
	k.each(s, func(d *date) {
		for _, shift := range d.shifts {
			if shift.span.overlaps(s) {
				in = append(in, shift)
			}
		}
	})
	return in
}

// planned returns the planned time of the shifts in s: a union. Without shifts
// all time but holidays is planned.
func (k *calendar) planned(s span) (in []span) {
	if len(k.shifts) == 0 {
		return subtract(nil, s, k.idle(s))
	}
	for _, shift := range k.shiftsIn(s) {
		for _, part := range shift.planned {
			if part = part.clip(s); part.from < part.to {
				in = append(in, part)
			}
		}
	}
	return union(in)
}

// idle returns breaks and holidays in s: a union.
func (k *calendar) idle(s span) (in []span) {
	k.each(s, func(d *date) {
		if d.holiday {
			in = append(in, d.midnight)
		}
		for _, shift := range d.shifts {
			in = subtract(in, shift.span, shift.planned)
		}
	})
	return union(in)
}
