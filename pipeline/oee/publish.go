package oee

import (
	"cmp"
	"encoding/binary"
	"hash/fnv"
	"slices"
	"time"
)

// report is what was last said of a window.
type report struct {
	key      windowKey
	revision int64
	figures  uint64 // a hash of the figures
	state    State
	unsaved  bool
	pending  bool // told to the caller, who has not said that it is out
	again    bool // it was pending before a restart: whether it is out is not known
}

// hash of figures: equal figures have equal ones, on every worker.
func (f *figures) hash() uint64 {
	h := fnv.New64a()
	var b []byte
	number := func(n int64) { b = binary.AppendVarint(b, n) }
	text := func(s string) { number(int64(len(s))); b = append(b, s...) }
	s := &f.sums
	for _, d := range [...]time.Duration{s.Length, s.Planned, s.Run, s.Idle, s.Stopped, s.Unknown, s.Unplanned, s.Changeover, s.PlannedStop, s.Slow, s.IdealTotal, s.IdealGood} {
		number(int64(d))
	}
	for _, n := range [...]Units{s.Total, s.Good, s.Rejected, s.Unrated} {
		number(int64(n))
	}
	number(s.MicroStops)
	for i := range f.stops {
		stop := &f.stops[i]
		text(stop.Reason)
		number(int64(stop.Class))
		number(int64(stop.Time))
		number(stop.Number)
	}
	for i := range f.outputs {
		out := &f.outputs[i]
		text(out.Product)
		for _, n := range [...]int64{int64(out.Total), int64(out.Good), int64(out.Rejected), int64(out.IdealTotal), int64(out.IdealGood)} {
			number(n)
		}
	}
	if f.overfull {
		number(1)
	}
	h.Write(b)
	return h.Sum64()
}

// report returns what was said of a window; nil: nothing.
func (m *machine) report(key windowKey) *report {
	if i, found := slices.BinarySearchFunc(m.reports, key, report.compare); found {
		return &m.reports[i]
	}
	return nil
}

func (r report) compare(key windowKey) int {
	return cmp.Or(cmp.Compare(r.key.from, key.from), cmp.Compare(r.key.config, key.config))
}

// newReport is report, made if there is none.
func (m *machine) newReport(w *windowSpan) *report {
	i, found := slices.BinarySearchFunc(m.reports, w.key(), report.compare)
	if !found {
		m.reports = slices.Insert(m.reports, i, report{key: w.key()})
	}
	return &m.reports[i]
}

// Told says that everything that Results, Early and Alerts have returned is
// out: acknowledged by whoever gets it. Until a machine is saved after that, a
// successor is told it again: a result with the same revision unless a figure
// has changed, an alert with the same ID. For this the machine is saved before
// anything of it goes out.
func (v *View) Told() {
	for _, m := range v.machines {
		for i := range m.reports {
			if r := &m.reports[i]; r.pending {
				r.pending, r.unsaved, m.unsaved = false, true, true
			}
		}
		if n := len(m.outbox); n > 0 {
			m.outbox = slices.DeleteFunc(m.outbox, func(o *outgoing) bool { return o.given })
			m.unsaved = m.unsaved || len(m.outbox) < n
		}
	}
}

// Results returns the windows that are over, and new or changed since the last
// call: of machines, then of lines.
func (v *View) Results() []Result { return v.results(v.over) }

// Early returns the windows that are not over, and new or changed since the
// last call.
func (v *View) Early() []Result { return v.results(v.open) }

// results gathers what of makes of each machine, and lines of it.
func (v *View) results(of func(*machine, *said)) []Result {
	s := said{windows: map[windowKey]windowSpan{}}
	for _, name := range v.sorted() {
		if m := v.machines[name]; m.through() != never {
			of(m, &s)
			m.projected = nil // as large as what waits: not kept for thousands of machines
		}
	}
	v.sayLines(&s)
	return s.results
}

// said gathers results, and the windows that they are of.
type said struct {
	results []Result
	windows map[windowKey]windowSpan
}

// over says what is new of windows that have ended.
func (v *View) over(m *machine, s *said) {
	through := m.through()
	if m.touched == nothing && through < m.next && !v.finished {
		return
	}
	// What was touched, as far as Retain, what has ended since, what has become
	// final since, and stops that are known to be short or not since.
	changed := span{max(m.touched.from, through-int64(v.config.Retain)), min(m.touched.to, through)}
	if m.closed == never {
		changed = span{min(changed.from, v.first(m)), through}
	} else if through > m.closed {
		changed = span{min(changed.from, m.closed-v.slack-1), through}
	}
	if m.gone == never { // before the first event and row there is nothing to tell
		changed.from = max(changed.from, v.first(m))
	}
	left := nothing // what is not at hand
	if horizon := m.atHand(); changed.from < min(horizon, changed.to) {
		left = span{changed.from, min(horizon, changed.to)}
		changed.from = horizon
	}
	var windows []windowSpan
	for i, c := range v.config.Windows {
		windows = v.calendar.windows(windows, i, c, changed)
	}
	if v.finished { // what was revised after it was final is so for the last time
		for _, r := range m.reports {
			if w, ok := v.windowOf(r.key); ok && r.state != Final && !w.span.overlaps(changed) {
				windows = append(windows, w)
			}
		}
	}
	slices.SortStableFunc(windows, func(a, b windowSpan) int {
		return cmp.Or(cmp.Compare(a.span.to, b.span.to), cmp.Compare(b.span.from, a.span.from), cmp.Compare(a.config, b.config))
	})
	for i := range windows {
		w := &windows[i]
		switch {
		case w.span.to > through:
		case w.span.from < m.atHand():
			left = span{min(left.from, w.span.from), max(left.to, w.span.to)}
		default:
			v.sayOver(m, w, s)
		}
	}
	m.closed = through
	m.touched = left
	m.next = v.next(through)
	v.prune(m)
}

// next is when the earliest window ends, or becomes final, after through.
func (v *View) next(through int64) int64 {
	next := through + 24*hourLength
	for i, c := range v.config.Windows {
		ends := false
		for _, w := range v.calendar.windows(nil, i, c, span{through - v.slack - 1, through + 1}) {
			switch to := w.span.to; {
			case to > through:
				next, ends = min(next, to), true
			case to+int64(v.config.MicroStop) > through: // how short its last stop is may not be known
				return through
			case to+v.slack > through:
				next = min(next, to+v.slack)
			}
		}
		if !ends { // between shifts
			for _, w := range v.calendar.windows(nil, i, c, span{through, through + 24*hourLength}) {
				next = min(next, w.span.to)
			}
		}
	}
	return next
}

// first is the first instant that anything is known of a machine.
func (v *View) first(m *machine) int64 {
	first := m.began
	if rows := v.derive(m); len(rows.made) > 0 {
		first = min(first, rows.made[0].time)
	}
	if rows := v.derive(m); len(rows.down) > 0 {
		first = min(first, rows.down[0].span.from)
	}
	return first
}

// windowOf is the window that a key names.
func (v *View) windowOf(key windowKey) (windowSpan, bool) {
	for _, w := range v.calendar.windows(nil, key.config, v.config.Windows[key.config], span{key.from, key.from + 1}) {
		if w.span.from == key.from {
			return w, true
		}
	}
	return windowSpan{}, false
}

// sayOver says what is new of one window that has ended.
func (v *View) sayOver(m *machine, w *windowSpan, s *said) {
	r, f := m.newReport(w), v.figure(m, w.span)
	hash := f.hash()
	changed := r.revision == 0 || r.figures != hash
	end := w.span.to + v.slack
	final := v.finished || end <= m.through()
	// Whether it has become final just now: not one that a row has revised since.
	now := v.finished || final && (m.closed == never || end > m.closed)
	state := r.state
	switch {
	case state < OnTime && final, state != Final && now:
		state = Final
	case state < OnTime:
		state = OnTime
	case changed:
		state = Late
	}
	if v.finished {
		state = Final
	}
	if changed || state != r.state || r.again {
		v.say(m, w, r, &f, hash, state, s)
	}
}

// open says what is new of windows that have not ended.
func (v *View) open(m *machine, s *said) {
	if !m.early {
		return
	}
	m.early = false
	through := m.through()
	for i, c := range v.config.Windows {
		for _, w := range v.calendar.windows(nil, i, c, span{through - 1, through}) {
			if w.span.to <= through || w.span.from < m.atHand() {
				continue
			}
			r, f := m.newReport(&w), v.figure(m, w.span)
			if r.state >= OnTime {
				continue // told before a restart; what made it so will be read again
			}
			if hash := f.hash(); r.revision == 0 || r.figures != hash || r.again {
				v.say(m, &w, r, &f, hash, Early, s)
			}
		}
	}
}

// say makes a result.
func (v *View) say(m *machine, w *windowSpan, r *report, f *figures, hash uint64, state State, s *said) {
	if r.revision == 0 || r.figures != hash {
		r.revision++
	}
	ended := r.state < OnTime && state >= OnTime
	r.figures, r.state, r.unsaved, r.pending, r.again = hash, state, true, true, false
	m.unsaved = true
	result := v.result(m, w, f)
	if ended {
		v.windowEnded(m, w, &result)
	}
	s.results = append(s.results, result)
	s.windows[w.key()] = *w
}

// prune forgets what is older than any row may revise. Windows that have not
// been made are not over, and younger.
func (v *View) prune(m *machine) {
	oldest := m.through() - int64(v.config.Retain) - 2*24*hourLength
	if n, _ := slices.BinarySearchFunc(m.hours, oldest, func(h storedHour, t int64) int { return cmp.Compare(h.start, t) }); n > 32 {
		m.hours = slices.Clone(m.hours[n:])
	}
	m.dropReports(dayOf(oldest))
}

// dropReports forgets what was told of windows that begin before a day.
func (m *machine) dropReports(day int64) {
	if n, _ := slices.BinarySearchFunc(m.reports, windowKey{from: day}, report.compare); n > 0 {
		m.reports = slices.Clone(m.reports[n:])
	}
}

// Windows returns a machine's results between two instants, of one kind
// (Window.Kind; empty: all), as they are now; nothing counts as told by it.
// Those that begin before AtHand are not among them.
func (v *View) Windows(machine, kind string, from, to time.Time) (out []Result) {
	m := v.machines[machine]
	if m == nil || m.through() == never {
		return nil
	}
	for _, w := range v.windowsIn(kind, span{nanos(from), min(nanos(to), m.through())}) {
		if w.span.from >= m.atHand() {
			out = append(out, v.look(m, &w))
		}
	}
	return out
}

// windowsIn returns the windows of a kind that overlap s.
func (v *View) windowsIn(kind string, s span) (in []windowSpan) {
	for i, c := range v.config.Windows {
		if kind == "" || kind == c.String() {
			in = v.calendar.windows(in, i, c, s)
		}
	}
	return in
}

// look makes a result without telling it.
func (v *View) look(m *machine, w *windowSpan) Result {
	f := v.figure(m, w.span)
	return v.result(m, w, &f)
}

// result makes a result of figures and of what was told of the window.
func (v *View) result(m *machine, w *windowSpan, f *figures) Result {
	r := Result{
		View: v.config.Name, Machine: m.name, Window: v.calendar.show(w, v.config.Windows),
		Through: v.calendar.local(min(w.span.to, max(m.through(), w.span.from))),
		Sums:    f.sums, Stops: f.stops, Outputs: f.outputs, State: Early,
	}
	if told := m.report(w.key()); told != nil {
		r.Revision, r.State = told.revision, told.state
	} else if w.span.to <= m.through() {
		r.State = OnTime
	}
	if f.overfull {
		r.Flags = append(r.Flags, FlagOverfull)
	}
	r.flag()
	return r
}
