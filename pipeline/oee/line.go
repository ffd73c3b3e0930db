package oee

import (
	"cmp"
	"slices"
	"time"
)

// sayLines adds the lines' results to those of their machines.
func (v *View) sayLines(s *said) {
	if len(v.config.Lines) == 0 || len(s.results) == 0 {
		return
	}
	windows := make([]windowSpan, 0, len(s.windows))
	for _, w := range s.windows {
		windows = append(windows, w)
	}
	slices.SortFunc(windows, func(a, b windowSpan) int {
		return cmp.Or(cmp.Compare(a.span.to, b.span.to), cmp.Compare(b.span.from, a.span.from), cmp.Compare(a.config, b.config))
	})
	type place struct {
		kind, machine string
		start         int64
	}
	told := map[place]bool{}
	for i := range s.results {
		r := &s.results[i]
		told[place{r.Window.Kind, r.Machine, r.Window.Start.UnixNano()}] = true
	}
	for i := range windows {
		w := &windows[i]
		for l := range v.config.Lines {
			line := &v.config.Lines[l]
			if slices.ContainsFunc(v.leaves(line), func(machine string) bool {
				return told[place{v.config.Windows[w.config].String(), machine, w.span.from}]
			}) {
				if r, ok := v.lineResult(line, w); ok {
					s.results = append(s.results, r)
				}
			}
		}
	}
}

// line returns a line by name; nil: there is none.
func (v *View) line(name string) *Line {
	i := slices.IndexFunc(v.config.Lines, func(l Line) bool { return l.Name == name })
	if i < 0 {
		return nil
	}
	return &v.config.Lines[i]
}

// leaves are the machines of a line and of the lines in it.
func (v *View) leaves(line *Line) (machines []string) {
	for _, member := range line.Machines {
		if inner := v.line(member); inner != nil {
			machines = append(machines, v.leaves(inner)...)
		} else {
			machines = append(machines, member)
		}
	}
	return machines
}

// lineResult is a line's result in a window; false: none of its machines has
// one.
func (v *View) lineResult(line *Line, w *windowSpan) (Result, bool) {
	var members []Result
	for _, name := range line.Machines {
		if inner := v.line(name); inner != nil {
			if r, ok := v.lineResult(inner, w); ok {
				members = append(members, r)
			}
		} else if m := v.machines[name]; m != nil && m.through() > w.span.from && w.span.from >= m.atHand() {
			members = append(members, v.look(m, w))
		}
	}
	if len(members) == 0 {
		return Result{}, false
	}
	return line.Roll(members), true
}

// LineWindows is Windows for a line.
func (v *View) LineWindows(name, kind string, from, to time.Time) (out []Result) {
	line := v.line(name)
	if line == nil {
		return nil
	}
	through := int64(never)
	for _, machine := range v.leaves(line) {
		if m := v.machines[machine]; m != nil {
			through = max(through, m.through())
		}
	}
	for _, w := range v.windowsIn(kind, span{nanos(from), min(nanos(to), through)}) {
		if r, ok := v.lineResult(line, &w); ok {
			out = append(out, r)
		}
	}
	return out
}

// Roll makes a line's result of those of its members in one window, of which
// there is at least one. Its revision is the sum of theirs: it grows when one
// of theirs does. It is as settled as the least settled of them.
func (l *Line) Roll(members []Result) Result {
	r := Pool(members)
	if l.Pooled {
		r.Flags = append(r.Flags, FlagPooled)
	} else {
		at := l.bottleneck(members)
		members[at].bottleneck(&r)
	}
	if len(members) < len(l.Machines) {
		r.Flags = append(r.Flags, FlagMissing)
	}
	r.Line = l.Name
	return r
}

// bottleneck makes r's figures those of m.
func (m *Result) bottleneck(r *Result) {
	r.Sums, r.Stops, r.Outputs = m.Sums, m.Stops, m.Outputs
	r.Flags = append([]Flag{FlagBottleneck}, m.Flags...)
	r.Bottleneck = cmp.Or(m.Bottleneck, m.Machine, m.Line)
}

// bottleneck chooses the member that limits the line.
func (l *Line) bottleneck(members []Result) int {
	if i := slices.IndexFunc(members, func(r Result) bool {
		return l.Bottleneck != "" && (r.Machine == l.Bottleneck || r.Line == l.Bottleneck)
	}); i >= 0 {
		return i
	}
	best := 0
	for i := range members[1:] {
		if members[i+1].slower(&members[best]) {
			best = i + 1
		}
	}
	return best
}

// slower says whether a limits a line more than b: its ideal rate is slower,
// or as slow and its OEE lower. One without units has no rate to compare; one
// without OEE comes last.
func (a *Result) slower(b *Result) bool {
	if a.Sums.Total > 0 && b.Sums.Total > 0 {
		// ideal time a unit, to the microsecond: what rounding leaves is no difference
		x := float64(a.Sums.IdealTotal) / float64(a.Sums.Total)
		y := float64(b.Sums.IdealTotal) / float64(b.Sums.Total)
		if d := x - y; d > 1e-6*y || d < -1e-6*y {
			return d > 0
		}
	}
	x, defined := a.OEE()
	y, other := b.OEE()
	if defined != other {
		return defined
	}
	return x < y
}

// Pool adds up the sums of results of one window: of the machines of a plant,
// or of a pooled line. There is at least one.
func Pool(members []Result) Result {
	r := Result{View: members[0].View, Window: members[0].Window, Through: members[0].Through, State: members[0].State}
	stops, outputs := map[stopKeyText]int{}, map[string]int{}
	for i := range members {
		m := &members[i]
		r.Sums.Add(&m.Sums)
		r.Revision += m.Revision
		if m.Through.Before(r.Through) {
			r.Through = m.Through
		}
		r.State = min(r.State, m.State)
		for _, stop := range m.Stops {
			key := stopKeyText{stop.Class, stop.Reason}
			at, found := stops[key]
			if !found {
				at = len(r.Stops)
				stops[key] = at
				r.Stops = append(r.Stops, Stop{Class: stop.Class, Reason: stop.Reason})
			}
			r.Stops[at].Time += stop.Time
			r.Stops[at].Number += stop.Number
		}
		for _, out := range m.Outputs {
			at, found := outputs[out.Product]
			if !found {
				at = len(r.Outputs)
				outputs[out.Product] = at
				r.Outputs = append(r.Outputs, Output{Product: out.Product})
			}
			to := &r.Outputs[at]
			to.Total, to.Good, to.Rejected = add(to.Total, out.Total), add(to.Good, out.Good), add(to.Rejected, out.Rejected)
			to.IdealTotal, to.IdealGood = add(to.IdealTotal, out.IdealTotal), add(to.IdealGood, out.IdealGood)
		}
		if slices.Contains(m.Flags, FlagOverfull) && !slices.Contains(r.Flags, FlagOverfull) {
			r.Flags = append(r.Flags, FlagOverfull)
		}
	}
	sortStops(r.Stops)
	slices.SortFunc(r.Outputs, func(a, b Output) int { return cmp.Compare(a.Product, b.Product) })
	r.flag()
	return r
}

type stopKeyText struct {
	class  Class
	reason string
}

func sortStops(stops []Stop) {
	slices.SortFunc(stops, func(a, b Stop) int {
		return cmp.Or(cmp.Compare(b.Time, a.Time), cmp.Compare(a.Class, b.Class), cmp.Compare(a.Reason, b.Reason))
	})
}

// Add adds other sums to s.
func (s *Sums) Add(o *Sums) {
	s.Length = add(s.Length, o.Length)
	s.Planned = add(s.Planned, o.Planned)
	s.Run = add(s.Run, o.Run)
	s.Idle = add(s.Idle, o.Idle)
	s.Stopped = add(s.Stopped, o.Stopped)
	s.Unknown = add(s.Unknown, o.Unknown)
	s.Unplanned = add(s.Unplanned, o.Unplanned)
	s.Changeover = add(s.Changeover, o.Changeover)
	s.PlannedStop = add(s.PlannedStop, o.PlannedStop)
	s.Slow = add(s.Slow, o.Slow)
	s.MicroStops += o.MicroStops
	s.Total = add(s.Total, o.Total)
	s.Good = add(s.Good, o.Good)
	s.Rejected = add(s.Rejected, o.Rejected)
	s.IdealTotal = add(s.IdealTotal, o.IdealTotal)
	s.IdealGood = add(s.IdealGood, o.IdealGood)
	s.Unrated = add(s.Unrated, o.Unrated)
}
