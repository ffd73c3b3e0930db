package oee_test

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/shardline/shardline/pipeline/oee"
)

// reference computes a machine's figures slowly and plainly: it looks at every
// stretch between two instants at which anything changes, and asks for each
// what held there, by scanning everything. It takes shapes from the package,
// and no code.
type reference struct {
	config oee.Config
	events []oee.Event // in order, without repetitions
	rows   []oee.Row   // the latest form of each, without deleted ones
	end    time.Time   // known up to here
}

func newReference(c oee.Config, events []oee.Event, changes []oee.Row, end time.Time) *reference {
	r := &reference{config: c, end: end}
	for _, e := range events { // in order of arrival: of one time the order is kept
		twice := false
		for _, o := range r.events {
			twice = twice || o.Time.Equal(e.Time) && o.State == e.State && o.Reason == e.Reason && o.Product == e.Product && o.Total == e.Total && o.Good == e.Good && o.Rejected == e.Rejected
		}
		if !twice {
			r.events = append(r.events, e)
		}
	}
	sort.SliceStable(r.events, func(i, j int) bool { return r.events[i].Time.Before(r.events[j].Time) })
	last := map[string]oee.Row{}
	for _, row := range changes {
		last[row.Kind.String()+row.Table+row.Key] = row
	}
	for _, key := range slices.Sorted(maps.Keys(last)) {
		if row := last[key]; !row.Delete {
			r.rows = append(r.rows, row)
		}
	}
	return r
}

// wall is the local date and time of day.
func (r *reference) wall(t time.Time) (date time.Time, since time.Duration) {
	l := t.In(r.config.Zone)
	return time.Date(l.Year(), l.Month(), l.Day(), 0, 0, 0, 0, time.UTC),
		time.Duration(l.Hour())*time.Hour + time.Duration(l.Minute())*time.Minute + time.Duration(l.Second())*time.Second + time.Duration(l.Nanosecond())
}

func (r *reference) holiday(date time.Time) bool {
	for _, h := range r.config.Holidays {
		if date.Equal(time.Date(h.Year, h.Month, h.Day, 0, 0, 0, 0, time.UTC)) {
			return true
		}
	}
	return false
}

// shift returns the shift that t is in, by the clock on the wall, its date,
// and whether it is a break.
func (r *reference) shift(t time.Time) (name string, date time.Time, pause, in bool) {
	today, since := r.wall(t)
	for _, s := range r.config.Shifts {
		for back := range 2 {
			on := today.AddDate(0, 0, -back)
			clock := since + time.Duration(back)*24*time.Hour
			if clock < s.Start || clock >= s.Start+s.Length || len(s.Days) > 0 && !slices.Contains(s.Days, on.Weekday()) {
				continue
			}
			for _, b := range s.Breaks {
				start := b.Start
				if start < s.Start {
					start += 24 * time.Hour
				}
				pause = pause || clock >= start && clock < start+b.Length
			}
			return s.Name, on, pause, true
		}
	}
	return "", time.Time{}, false, false
}

func (r *reference) planned(t time.Time) bool {
	today, _ := r.wall(t)
	_, _, pause, in := r.shift(t)
	if r.holiday(today) || pause {
		return false
	}
	switch {
	case r.config.Planned == oee.PlannedSchedule:
		return r.scheduled(t) != nil
	case len(r.config.Shifts) == 0:
		return true
	default:
		return in
	}
}

// scheduled returns the schedule's row of an instant: the one that began last.
func (r *reference) scheduled(t time.Time) *oee.Row {
	var found *oee.Row
	for i := range r.rows {
		row := &r.rows[i]
		if row.Kind != oee.Schedule || t.Before(row.Start) {
			continue
		}
		end := row.End
		if end.IsZero() {
			for _, o := range r.rows {
				if o.Kind == oee.Schedule && (o.Start.After(row.Start) || o.Start.Equal(row.Start) && o.Key > row.Key) && (end.IsZero() || o.Start.Before(end)) {
					end = o.Start
				}
			}
		}
		if !end.IsZero() && !t.Before(end) {
			continue
		}
		if found == nil || !row.Start.Before(found.Start) {
			found = row
		}
	}
	return found
}

// doing is what a machine does at an instant.
type doing struct {
	class  oee.Class
	label  string
	silent bool
	never  bool // nothing was said yet
	since  time.Time
	row    string
}

func (r *reference) doing(t time.Time) doing {
	var down *oee.Row
	hasDown := false
	for i := range r.rows {
		row := &r.rows[i]
		if row.Kind != oee.Downtime {
			continue
		}
		hasDown = true
		if !t.Before(row.Start) && (row.End.IsZero() || t.Before(row.End)) && (down == nil || row.Start.Before(down.Start)) {
			down = row
		}
	}
	if down != nil {
		class, mapped := r.config.States[down.Reason]
		if !mapped {
			class = oee.Stopped
		}
		return doing{class: class, label: down.Reason, row: down.Key}
	}
	var state, reason string
	var heard, since time.Time
	said := false
	for i := range r.events {
		e := &r.events[i]
		said = said || e.State != ""
		if e.Time.After(t) {
			continue
		}
		silent := r.config.MaxHold > 0 && state != "" && e.Time.Sub(heard) > r.config.MaxHold
		switch {
		case e.State == "" && silent:
			continue
		case e.State == "" && e.Reason != "":
			if e.Reason != reason {
				reason, since = e.Reason, e.Time
			}
		case e.State != "" && (silent || e.State != state):
			state, reason, since = e.State, e.Reason, e.Time
		case e.State != "" && e.Reason != "" && e.Reason != reason:
			reason, since = e.Reason, e.Time
		}
		heard = e.Time
	}
	if !said && hasDown {
		return doing{class: oee.Running, label: reason}
	}
	if state == "" {
		return doing{class: oee.Unknown, label: reason, never: true}
	}
	if r.config.MaxHold > 0 && t.Sub(heard) >= r.config.MaxHold {
		return doing{class: oee.Unknown, silent: true, since: heard}
	}
	label := reason
	if label == "" {
		label = state
	}
	return doing{class: r.config.States[state], label: label, since: since}
}

// piece is a stretch in which nothing changes.
type piece struct {
	from, to time.Time
	doing    doing
	planned  bool
	micro    bool
	began    bool // its planned time is the first of its stop
	first    bool // and so for the micro-stop that it is of
}

// pieces cuts the time from a bit before the first event to the end.
func (r *reference) pieces(from time.Time) []piece {
	cuts := map[int64]bool{}
	cut := func(t time.Time) {
		if !t.IsZero() && !t.Before(from) && !t.After(r.end) {
			cuts[t.UnixNano()] = true
		}
	}
	cut(from)
	cut(r.end)
	for t := from.Truncate(time.Minute); t.Before(r.end); t = t.Add(time.Minute) {
		cut(t)
	}
	for _, e := range r.events {
		cut(e.Time)
		if r.config.MaxHold > 0 {
			cut(e.Time.Add(r.config.MaxHold))
		}
	}
	for _, row := range r.rows {
		cut(row.Start)
		cut(row.End)
	}
	order := slices.Sorted(maps.Keys(cuts))
	var all []piece
	for i, at := range order[:len(order)-1] {
		t := time.Unix(0, at)
		all = append(all, piece{from: t, to: time.Unix(0, order[i+1]), doing: r.doing(t), planned: r.planned(t)})
	}
	for i := 0; i < len(all); {
		end := i + 1
		for end < len(all) && all[end].doing == all[i].doing {
			end++
		}
		for j := i; j < end; j++ {
			if all[j].planned {
				all[j].began = true
				break
			}
		}
		i = end
	}
	for i := 0; i < len(all); {
		if all[i].doing.class != oee.Stopped {
			i++
			continue
		}
		end := i + 1
		for end < len(all) && all[end].doing.class == oee.Stopped {
			end++
		}
		if end < len(all) && all[end].from.Sub(all[i].from) < r.config.MicroStop {
			planned := false
			for j := i; j < end; j++ {
				all[j].micro = true
				all[j].first = all[j].planned && !planned
				planned = planned || all[j].planned
			}
		}
		i = end
	}
	return all
}

// business is the start of the business date that t is in: it goes back minute
// by minute.
func (r *reference) business(t time.Time) time.Time {
	of := func(t time.Time) time.Time {
		date, _ := r.wall(t)
		if _, on, _, in := r.shift(t); in && on.Before(date) {
			return on
		}
		return date
	}
	day := of(t)
	t = t.Truncate(time.Minute)
	for of(t.Add(-time.Minute)).Equal(day) {
		t = t.Add(-time.Minute)
	}
	return t
}

// report is something that was made: three counters, which of them were said.
type reported struct {
	t       time.Time
	product string
	n       [3]oee.Units
}

// made returns what was made, and since when each counter is reported.
func (r *reference) made() (all []reported, since [3]time.Time) {
	report := func(i int, t time.Time) {
		if since[i].IsZero() || t.Before(since[i]) {
			since[i] = t
		}
	}
	var product, state string
	var last [3]oee.Reading
	for _, e := range r.events {
		if e.Product != "" {
			product = e.Product
		}
		if e.State != "" {
			state = e.State
		}
		one := reported{t: e.Time, product: product}
		for i, reading := range []oee.Reading{e.Total, e.Good, e.Rejected} {
			if !reading.Valid {
				continue
			}
			report(i, e.Time)
			counter := []oee.Counter{r.config.Total, r.config.Good, r.config.Rejected}[i]
			n := reading.Units
			if counter.Cumulative {
				switch before := last[i]; {
				case !before.Valid:
					n = 0
				case n >= before.Units:
					n -= before.Units
				case counter.Modulus > before.Units:
					n += counter.Modulus - before.Units
				}
				last[i] = reading
			}
			if !r.config.CountRunning || r.config.States[state] == oee.Running {
				one.n[i] = n
			}
		}
		all = append(all, one)
	}
	for _, row := range r.rows {
		if row.Kind != oee.Quality && row.Kind != oee.Production {
			continue
		}
		one := reported{t: row.Time, product: row.Product}
		for i, reading := range []oee.Reading{row.Total, row.Good, row.Rejected} {
			if reading.Valid {
				report(i, row.Time)
				one.n[i] = reading.Units
			}
		}
		all = append(all, one)
	}
	for i := range since {
		if !since[i].IsZero() {
			since[i] = r.business(since[i])
		}
	}
	return all, since
}

func (r *reference) rate(product string, t time.Time) (oee.Rate, bool) {
	for _, key := range [][2]string{{"m1", product}, {"", product}, {"m1", ""}, {"", ""}} {
		var found *oee.Row
		for i := range r.rows {
			row := &r.rows[i]
			if row.Kind == oee.IdealRate && row.Machine == key[0] && row.Product == key[1] && !t.Before(row.Start) && (row.End.IsZero() || t.Before(row.End)) && (found == nil || !row.Start.Before(found.Start)) {
				found = row
			}
		}
		if found != nil {
			return found.Rate, true
		}
	}
	for _, key := range [][2]string{{"m1", product}, {"", product}, {"m1", ""}, {"", ""}} {
		for _, c := range r.config.IdealRates {
			if c.Machine == key[0] && c.Product == key[1] {
				return c.Rate, true
			}
		}
	}
	return oee.Rate{}, false
}

// figures is what the reference says of a window. Ideal times are in seconds,
// as floating-point numbers: they are compared with a tolerance.
type refFigures struct {
	planned, run, slow, idle, stopped, changeover, unknown, plannedStop, unplanned time.Duration
	total, good, rejected                                                          oee.Units
	idealTotal, idealGood                                                          float64
	micro                                                                          int64
	stops                                                                          map[string]string
}

// window returns the figures of a window.
func (r *reference) window(all []piece, made []reported, since [3]time.Time, from, to time.Time) (f refFigures) {
	spent := map[string]time.Duration{}
	number := map[string]int{}
	for _, p := range all {
		if p.from.Before(from) || !p.from.Before(to) {
			continue
		}
		d := p.to.Sub(p.from)
		if !p.planned {
			f.unplanned += d
			continue
		}
		class := p.doing.class
		switch {
		case p.micro:
			f.run += d
			f.slow += d
			if p.first {
				f.micro++
			}
		case class == oee.Running:
			f.run += d
		case class == oee.Idle:
			f.idle += d
		case class == oee.Stopped:
			f.stopped += d
		case class == oee.Changeover:
			f.changeover += d
		case class == oee.PlannedStop:
			f.plannedStop += d
			f.unplanned += d
		default:
			f.unknown += d
		}
		if class != oee.Running {
			label := p.doing.label
			if p.doing.silent {
				label = "(no data)"
			}
			key := class.String() + " " + label
			spent[key] += d
			if p.began && !p.doing.never {
				number[key]++
			}
		}
	}
	f.stops = map[string]string{}
	for key, d := range spent {
		f.stops[key] = fmt.Sprint(d, " ", number[key])
		if strings.HasPrefix(key, "unknown") {
			f.stops[key] = d.String()
		}
	}
	f.planned = f.run + f.idle + f.stopped + f.changeover + f.unknown
	for _, m := range made {
		if m.t.Before(from) || !m.t.Before(to) {
			continue
		}
		// What is known is judged by the minute.
		minute := m.t.Truncate(time.Minute)
		knows := func(i int) bool { return !since[i].IsZero() && !minute.Before(since[i]) }
		n := m.n
		switch {
		case !knows(0):
			n[0] = n[1] + n[2]
		case !knows(1):
			n[1] = n[0] - n[2]
		}
		if !knows(2) {
			n[2] = n[0] - n[1]
		}
		f.total += n[0]
		f.good += n[1]
		f.rejected += n[2]
		product := m.product
		if product == "" {
			if row := r.scheduled(minute); row != nil {
				product = row.Product
			}
		}
		if rate, ok := r.rate(product, minute); ok {
			each := rate.Per.Seconds() / float64(rate.Units)
			f.idealTotal += float64(n[0]) * each
			f.idealGood += float64(n[1]) * each
		}
	}
	return f
}
