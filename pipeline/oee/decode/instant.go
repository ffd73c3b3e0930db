package decode

import (
	"errors"
	"fmt"
	"time"
)

var errNoTime = errors.New("it is no time: epoch seconds or milliseconds, or ISO 8601 such as 2026-03-01T06:00:00.5+01:00")

// instant reads a time. A number is seconds since 1970, or milli-, micro- or
// nanoseconds where it is so large that nothing else makes sense: seconds below
// 10^11 reach to the year 5138, and milliseconds from there begin in 1973. What
// names no zone is of the zone.
func instant(v raw, zone *time.Location) (time.Time, error) {
	text, ok := v.text()
	if !ok {
		return time.Time{}, errNoTime
	}
	n, err := parseNumber(text)
	if err != nil {
		return date(text, zone)
	}
	places := 9
	for limit := 1e11; places > 0 && n.size() >= limit; limit *= 1000 {
		places -= 3
	}
	nanoseconds, err := n.scaled(places)
	if err != nil || nanoseconds < 0 {
		return time.Time{}, errTimeOut
	}
	return time.Unix(0, nanoseconds).UTC(), nil
}

var errTimeOut = errors.New("no machine has such a time: 1970 to 2262 are possible")

// date reads ISO 8601: date and time of the day with a T or a space between
// them, in extended or basic form, with a fraction, and Z or an offset.
func date(text []byte, zone *time.Location) (time.Time, error) {
	s := cutter{rest: text}
	year := s.digits(4)
	extended := s.take('-')
	month := s.digits(2)
	if extended {
		s.want('-')
	}
	day := s.digits(2)
	if !s.take('T') && !s.take('t') {
		s.want(' ')
	}
	hour := s.digits(2)
	extended = s.take(':')
	minute := s.digits(2)
	second, nanosecond := 0, 0
	if extended && s.take(':') || !extended && s.digit() {
		second = s.digits(2)
		if s.take('.') || s.take(',') {
			nanosecond = s.fraction()
		}
	}
	s.take(' ')
	offset, named := 0, true
	switch {
	case s.take('Z') || s.take('z'):
	case len(s.rest) == 0:
		named = false
	default:
		sign := 1
		if !s.take('+') {
			s.want('-')
			sign = -1
		}
		offset = s.digits(2) * 3600
		if s.take(':') || len(s.rest) > 0 {
			offset += s.digits(2) * 60
		}
		offset *= sign
	}
	switch {
	case s.bad || len(s.rest) > 0:
		return time.Time{}, errNoTime
	case month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 || second > 60 || offset < -15*3600 || offset > 15*3600:
		return time.Time{}, errNoTime
	}
	t := time.Date(year, time.Month(month), day, hour, minute, second, nanosecond, time.UTC)
	if t.Day() != day && second < 60 {
		return time.Time{}, errNoTime // the 30th of February
	}
	if !named {
		var err error
		if offset, err = offsetOf(t, zone); err != nil {
			return time.Time{}, err
		}
	}
	t = t.Add(-time.Duration(offset) * time.Second)
	if t.Year() < 1970 || t.Year() > 2261 {
		return time.Time{}, errTimeOut
	}
	return t, nil
}

// offsetOf is the seconds that the zone's clock, which shows wall, is ahead of
// UTC.
func offsetOf(wall time.Time, zone *time.Location) (int, error) {
	const around = 25 * time.Hour // no two clock changes are as near
	_, before := wall.Add(-around).In(zone).Zone()
	_, after := wall.Add(around).In(zone).Zone()
	shows := func(offset int) bool {
		_, real := wall.Add(-time.Duration(offset) * time.Second).In(zone).Zone()
		return real == offset
	}
	switch {
	case before == after:
		return before, nil
	case shows(before) && shows(after):
		return 0, fmt.Errorf("the clock of %s shows this time twice: send times with Z or an offset", zone)
	case shows(before):
		return before, nil
	case shows(after):
		return after, nil
	}
	return 0, fmt.Errorf("the clock of %s never shows this time: send times with Z or an offset", zone)
}

// cutter takes a text apart from its beginning.
type cutter struct {
	rest []byte
	bad  bool
}

func (s *cutter) digit() bool { return len(s.rest) > 0 && s.rest[0] >= '0' && s.rest[0] <= '9' }

func (s *cutter) take(c byte) bool {
	if len(s.rest) == 0 || s.rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

func (s *cutter) want(c byte) { s.bad = s.bad || !s.take(c) }

func (s *cutter) digits(n int) (value int) {
	for range n {
		if !s.digit() {
			s.bad = true
			return 0
		}
		value = value*10 + int(s.rest[0]-'0')
		s.rest = s.rest[1:]
	}
	return value
}

// fraction is the nanoseconds of a fraction of a second.
func (s *cutter) fraction() (nanoseconds int) {
	s.bad = s.bad || !s.digit()
	for weight := 100_000_000; s.digit(); weight /= 10 {
		nanoseconds += int(s.rest[0]-'0') * weight
		s.rest = s.rest[1:]
	}
	return nanoseconds
}
