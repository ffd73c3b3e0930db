package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/shardline/shardline/pipeline/oee"
)

const dash = "–"

// shown is a name as it may be printed on a terminal: characters that steer it
// are written out.
func shown(name string) string {
	if name == "" {
		return "-"
	}
	if strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		quoted := strconv.Quote(name)
		return quoted[1 : len(quoted)-1]
	}
	return name
}

// percent is a ratio in hundredths with one digit behind the point; with more
// where one would put it on the wrong side of 100 % or of an edge.
func percent(ratio float64, ok bool, edges ...float64) string {
	if !ok {
		return dash
	}
	text := ""
	for digits := 1; digits <= 6; digits++ {
		text = strconv.FormatFloat(100*ratio, 'f', digits, 64)
		shown, _ := strconv.ParseFloat(text, 64) // it was a number just now
		right := (shown == 100) == (ratio == 1)
		for _, e := range edges {
			right = right && (shown >= 100*e) == (ratio >= e)
		}
		if right {
			break
		}
	}
	return grouped(text) + "\u202f%"
}

// ratio is a ratio with four digits behind the point, as it is computed with.
func ratio(value float64, ok bool) string {
	if !ok {
		return dash
	}
	return strconv.FormatFloat(value, 'f', 4, 64)
}

// minutes is a duration in minutes with one digit behind the point, rounded
// half away from zero.
func minutes(d time.Duration) string {
	tenths := int64(d / (6 * time.Second))
	switch rest := d % (6 * time.Second); {
	case rest >= 3*time.Second:
		tenths++
	case rest <= -3*time.Second:
		tenths--
	}
	sign := ""
	if tenths < 0 {
		sign, tenths = "−", -tenths
	}
	return sign + grouped(strconv.FormatInt(tenths/10, 10)) + "." + strconv.FormatInt(tenths%10, 10)
}

// span is a duration in words: 2 h 05 min, 7 min 30 s, 12 s.
func span(d time.Duration) string {
	d = d.Round(time.Second)
	h, m, s := int64(d/time.Hour), int64(d/time.Minute)%60, int64(d/time.Second)%60
	switch {
	case h > 0:
		return fmt.Sprintf("%s\u00a0h\u00a0%02d\u00a0min", grouped(strconv.FormatInt(h, 10)), m)
	case m > 0 && s > 0:
		return fmt.Sprintf("%d\u00a0min\u00a0%02d\u00a0s", m, s)
	case m > 0:
		return fmt.Sprintf("%d\u00a0min", m)
	default:
		return fmt.Sprintf("%d\u00a0s", s)
	}
}

// units is a number of units, at most two digits behind the point.
func units(u oee.Units) string {
	text := u.String()
	if whole, fraction, ok := strings.Cut(text, "."); ok && len(fraction) > 2 {
		rounded := strconv.FormatFloat(math.Round(float64(u)/1e4)/100, 'f', -1, 64)
		if whole != "0" || rounded != "0" {
			text = rounded
		}
	}
	return grouped(strings.Replace(text, "-", "−", 1))
}

// grouped sets commas between thousands.
func grouped(number string) string {
	whole, fraction, point := strings.Cut(number, ".")
	sign := ""
	if rest, ok := strings.CutPrefix(whole, "-"); ok {
		sign, whole = "−", rest
	} else if rest, ok := strings.CutPrefix(whole, "−"); ok {
		sign, whole = "−", rest
	}
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if point {
		whole += "." + fraction
	}
	return sign + whole
}

// decimal is n/one without a rounding, one being a power of ten.
func decimal(n, one int64) string {
	text := strconv.FormatUint(abs(n)/uint64(one), 10)
	if rest := abs(n) % uint64(one); rest != 0 {
		digits := strconv.FormatUint(uint64(one)+rest, 10)[1:]
		text += "." + strings.TrimRight(digits, "0")
	}
	if n < 0 {
		text = "-" + text
	}
	return text
}

func abs(n int64) uint64 {
	if n < 0 {
		return -uint64(n)
	}
	return uint64(n)
}

// seconds is a duration as an exact decimal number of seconds.
func seconds(d time.Duration) string { return decimal(int64(d), int64(time.Second)) }

// zone names a zone and its offset from UTC; two of them if the clocks change
// between from and to.
func zone(z *time.Location, from, to time.Time) string {
	offset := func(t time.Time) string {
		text := t.In(z).Format("-07:00")
		return "UTC" + strings.Replace(text, "-", "−", 1)
	}
	first, last := offset(from), offset(to)
	if first != last {
		return fmt.Sprintf("%s, %s until the clocks change to %s", z, first, last)
	}
	if z == time.UTC {
		return "UTC"
	}
	return fmt.Sprintf("%s (%s)", z, first)
}

// between is the local times of a window; with offsets where they differ.
func between(w oee.Window, z *time.Location) string {
	start, end := w.Start.In(z), w.End.In(z)
	_, a := start.Zone()
	_, b := end.Zone()
	layout := "15:04"
	if a != b {
		layout = "15:04 MST"
	}
	if start.Second() != 0 || end.Second() != 0 {
		layout = strings.Replace(layout, "15:04", "15:04:05", 1)
	}
	until := end.Format(layout)
	if end.YearDay() != start.YearDay() && end.Sub(start) >= 24*time.Hour {
		until += " next day"
	}
	return start.Format(layout) + "–" + until
}

// title is what a window is called.
func title(w oee.Window) string {
	switch {
	case w.Kind == "whole":
		return "Whole date"
	case w.Name != "":
		return shown(w.Name)
	case w.Kind == "":
		return dash
	default:
		return shown(w.Kind)
	}
}
