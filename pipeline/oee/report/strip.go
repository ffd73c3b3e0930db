package report

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shardline/shardline/pipeline/oee"
)

const (
	// columns is how finely a time line of very many changes is drawn: a day in
	// steps of three minutes.
	columns = 480
	// maxChanges bounds the list of changes below a time line: the longest.
	maxChanges = 100
)

var classNames = map[oee.Class]string{oee.Running: "running", oee.Idle: "idle", oee.Stopped: "stopped", oee.Changeover: "changeover",
	oee.PlannedStop: "planned stop", oee.Unknown: "no data"}

// look is how a class is drawn: the more it makes, the higher, so that colours
// are not needed to tell them. Heights are of 40 above the line at 60.
type look struct {
	class, sign string
	height      int
}

var looks = map[oee.Class]look{
	oee.Running:     {"running", "►", 40},
	oee.Changeover:  {"changeover", "↻", 30},
	oee.Idle:        {"idle", "Ⅱ", 22},
	oee.Stopped:     {"stopped", "■", 14},
	oee.PlannedStop: {"planned", "◷", 6},
	oee.Unknown:     {"nodata", "?", 40},
}

const ground = 60 // where bars stand

// strip draws a time line. Nil: there is none.
func (r *Report) strip(id string, name string, timeline []oee.Interval) *strip {
	if len(timeline) == 0 || !r.End.After(r.Start) {
		return nil
	}
	s := &strip{ID: id, Title: "Time line of " + shown(name)}
	drawn := timeline
	if len(timeline) > columns {
		drawn = r.condensed(timeline)
		s.Caption = fmt.Sprintf("%s: each of %d columns shows the state that held longest in it; the times below are exact",
			plural(int64(len(timeline)), "interval"), columns)
	} else {
		s.Caption = "The higher, the more is made; hatched: no data; thin line below: not planned"
	}
	for _, i := range mergedBy(drawn, func(a, b oee.Interval) bool { return a.Class == b.Class }) {
		l := looks[i.Class]
		s.put(r, l.class, i.Start, i.End, ground-l.height, l.height)
	}
	for _, i := range merged(drawn, func(i oee.Interval) bool { return !i.Planned }) {
		s.put(r, "unplanned", i.Start, i.End, ground+1, 3)
	}
	for _, w := range r.Windows {
		s.Edges = append(s.Edges, r.edge(w))
	}
	s.Ticks = r.ticks()
	s.states(timeline)
	s.Changes = r.changes(timeline)
	return s
}

// How many letters of a shift's name have room above a time line of paper's
// width, and of a phone's.
const (
	lettersOnPaper = 90
	lettersOnPhone = 32
)

// edge names a shift above the time line, as far as there is room; of a day
// there is nothing to say.
func (r *Report) edge(w oee.Window) edge {
	e := edge{X: r.at(w.Start)}
	if w.Name == "" {
		return e
	}
	share := float64(w.End.Sub(w.Start)) / float64(r.End.Sub(r.Start))
	name := []rune(shown(w.Name))
	if most := max(int(share*lettersOnPaper), 1); len(name) > most {
		name = append(name[:most-1], '…')
	}
	e.Label, e.Minor = string(name), len(name) > int(share*lettersOnPhone)
	return e
}

// at is where an instant lies, in hundredths of the width.
func (r *Report) at(t time.Time) string {
	share := float64(t.Sub(r.Start)) / float64(r.End.Sub(r.Start))
	return strconv.FormatFloat(100*min(max(share, 0), 1), 'f', 3, 64)
}

func (s *strip) put(r *Report, class string, from, to time.Time, y, height int) {
	from, to = r.within(from, to)
	if to.After(from) {
		s.Segments = append(s.Segments, segment{Class: class, X: r.at(from), W: strconv.FormatFloat(100*float64(to.Sub(from))/float64(r.End.Sub(r.Start)), 'f', 3, 64), Y: y, H: height})
	}
}

// within cuts a stretch to the report's time.
func (r *Report) within(from, to time.Time) (time.Time, time.Time) {
	if from.Before(r.Start) {
		from = r.Start
	}
	if to.After(r.End) {
		to = r.End
	}
	return from, to
}

// condensed is a time line in equal columns, each with what held longest in it.
func (r *Report) condensed(timeline []oee.Interval) []oee.Interval {
	type what struct {
		class   oee.Class
		planned bool
	}
	var out []oee.Interval
	whole := r.End.Sub(r.Start)
	next := 0
	for c := range columns {
		from := r.Start.Add(whole / columns * time.Duration(c))
		to := r.Start.Add(whole / columns * time.Duration(c+1))
		if c == columns-1 {
			to = r.End
		}
		held := map[what]time.Duration{}
		var end time.Time
		for next < len(timeline) && !timeline[next].End.After(from) {
			next++
		}
		for _, i := range timeline[next:] {
			if !i.Start.Before(to) {
				break
			}
			a, b := i.Start, i.End
			if a.Before(from) {
				a = from
			}
			if b.After(to) {
				b = to
			}
			held[what{i.Class, i.Planned}] += b.Sub(a)
			end = b
		}
		var most what
		longest := time.Duration(0)
		for w, d := range held {
			if d > longest || d == longest && d > 0 && looks[w.class].height < looks[most.class].height {
				most, longest = w, d
			}
		}
		if longest > 0 {
			out = append(out, oee.Interval{Start: from, End: end, Class: most.class, Planned: most.planned})
		}
	}
	return mergedBy(out, func(a, b oee.Interval) bool { return a.Class == b.Class && a.Planned == b.Planned })
}

// merged are the stretches that something holds in.
func merged(timeline []oee.Interval, holds func(oee.Interval) bool) []oee.Interval {
	var some []oee.Interval
	for _, i := range timeline {
		if holds(i) {
			some = append(some, i)
		}
	}
	return mergedBy(some, func(a, b oee.Interval) bool { return true })
}

// mergedBy joins neighbours that are alike.
func mergedBy(timeline []oee.Interval, alike func(a, b oee.Interval) bool) []oee.Interval {
	var out []oee.Interval
	for _, i := range timeline {
		if n := len(out); n > 0 && out[n-1].End.Equal(i.Start) && alike(out[n-1], i) {
			out[n-1].End = i.End
			continue
		}
		out = append(out, i)
	}
	return out
}

// ticks are the hours of the local clock: on a wide page every one or two, on a
// narrow one a few.
func (r *Report) ticks() []tick {
	hours := r.End.Sub(r.Start).Hours()
	every, major := 1, 2
	switch {
	case hours > 30:
		every, major = 6, 12
	case hours > 13:
		every, major = 2, 6
	}
	var all []tick
	start := r.Start.In(r.Zone)
	at := time.Date(start.Year(), start.Month(), start.Day(), start.Hour(), 0, 0, 0, r.Zone)
	first := start.Hour()
	for ; !at.After(r.End); at = at.Add(time.Hour) {
		local := at.In(r.Zone)
		if at.Before(r.Start) || (local.Hour()-first+24)%every != 0 {
			continue
		}
		t := tick{X: r.at(at), Label: local.Format("15:04"), Anchor: "middle", Minor: (local.Hour()-first+24)%major != 0}
		switch t.X {
		case "0.000":
			t.Anchor = "start"
		case "100.000":
			t.Anchor = "end"
		}
		all = append(all, t)
	}
	return all
}

// states adds the time of each class up, and says it in a sentence.
func (s *strip) states(timeline []oee.Interval) {
	held, number := map[oee.Class]time.Duration{}, map[oee.Class]int64{}
	var all, unplanned time.Duration
	for n, i := range timeline {
		d := i.End.Sub(i.Start)
		all += d
		held[i.Class] += d
		if n == 0 || timeline[n-1].Class != i.Class {
			number[i.Class]++
		}
		if !i.Planned {
			unplanned += d
		}
	}
	share := func(d time.Duration) string { return percent(float64(d)/float64(all), all > 0) }
	var words []string
	for _, c := range oee.Classes {
		if held[c] == 0 {
			continue
		}
		l := looks[c]
		s.States = append(s.States, stateRow{Class: l.class, Name: capital(classNames[c]), Time: span(held[c]), Share: share(held[c]), Number: grouped(decimal(number[c], 1)),
			Y: 15 - l.height*14/40, H: l.height * 14 / 40})
		words = append(words, classNames[c]+" "+span(held[c]))
	}
	if unplanned > 0 {
		n := int64(len(merged(timeline, func(i oee.Interval) bool { return !i.Planned })))
		s.States = append(s.States, stateRow{Class: "unplanned", Name: "Not planned, of the above", Time: span(unplanned), Share: share(unplanned), Number: grouped(decimal(n, 1)), Y: 11, H: 3})
	}
	s.Text = strings.Join(words, ", ") + "."
}

// changes lists the intervals; of very many the longest.
func (r *Report) changes(timeline []oee.Interval) *changes {
	c := &changes{Summary: "All " + plural(int64(len(timeline)), "interval")}
	if len(timeline) == 1 {
		c.Summary = "The interval"
	}
	rows := timeline
	if len(rows) > maxChanges {
		c.Summary = fmt.Sprintf("The longest %d of %s", maxChanges, plural(int64(len(rows)), "interval"))
		rows = slices.Clone(rows)
		slices.SortStableFunc(rows, func(a, b oee.Interval) int {
			return int(b.End.Sub(b.Start)/time.Microsecond - a.End.Sub(a.Start)/time.Microsecond)
		})
		rows = rows[:maxChanges]
		slices.SortFunc(rows, func(a, b oee.Interval) int { return a.Start.Compare(b.Start) })
	}
	for _, i := range rows {
		row := change{From: r.clock(i.Start), To: r.clock(i.End), State: classNames[i.Class], Reason: i.Reason, Time: span(i.End.Sub(i.Start))}
		switch {
		case i.Silent:
			row.State = "no data: silent for too long"
		case i.State != "":
			row.State += " (" + shown(i.State) + ")"
		}
		if i.Micro {
			row.State += ", micro-stop"
		}
		if !i.Planned {
			row.State += ", not planned"
		}
		if row.Reason != "" {
			row.Reason = shown(row.Reason)
		}
		c.Rows = append(c.Rows, row)
	}
	return c
}

// clock is a local time of day, with its offset on a day that the clocks change.
func (r *Report) clock(t time.Time) string {
	_, a := r.Start.In(r.Zone).Zone()
	_, b := r.End.In(r.Zone).Zone()
	if a != b {
		return t.In(r.Zone).Format("15:04:05 MST")
	}
	return t.In(r.Zone).Format("15:04:05")
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
