package oee

import "time"

// Interval is a stretch of a machine's time line: one state, for one reason,
// planned or not. Start is in it, End is not.
type Interval struct {
	Start, End time.Time
	Class      Class
	State      string // raw; empty: never said, or of a downtime row
	Reason     string // empty: not said
	Planned    bool   // in planned time; a planned stop and a break are not
	Silent     bool   // unknown because the machine was silent for too long
	Micro      bool   // a stop that is short enough to be performance loss
}

// stretch is an Interval inside the package, planned or not.
type stretch struct {
	span
	began  int64 // when the state began, which may be before the span
	class  Class
	state  uint32
	reason uint32
	silent bool
	micro  bool
}

// label is the reason that a stretch is counted under.
func (s *stretch) label() uint32 {
	if s.silent {
		return 0
	}
	if s.reason != 0 {
		return s.reason
	}
	return s.state
}

// stretches returns what a machine did in s, without gaps, and something of
// before and after. It is known as far as the machine's time.
func (v *View) stretches(m *machine, s span) []stretch {
	// Whether a stop is short, and which one goes on from before, is seen from
	// what is around.
	around := span{s.from - max(int64(v.config.MicroStop), 1), min(add(s.to, int64(v.config.MicroStop)), m.through())}
	all := v.overlay(m, v.states(m, around))
	v.markMicro(all, around.to)
	return all
}

// states returns what the machine itself said.
func (v *View) states(m *machine, s span) (out []stretch) {
	at := s.from
	say := func(one stretch) {
		if n := len(out); n > 0 && out[n-1].began == one.began && out[n-1].state == one.state && out[n-1].reason == one.reason && out[n-1].silent == one.silent {
			out[n-1].to = one.to
		} else if one.from < one.to {
			out = append(out, one)
		}
	}
	hold := func(h held, to int64) {
		if to = min(to, s.to); at >= to {
			return
		}
		class, _ := v.class(h.state)
		one := stretch{span: span{at, to}, began: h.since, class: class, state: h.state, reason: h.reason}
		if believed := h.until(v.rules.maxHold); h.state != 0 && believed < to {
			silent := stretch{span: span{max(at, believed), to}, began: believed, silent: true}
			one.to = believed
			say(one)
			one = silent
		}
		say(one)
		at = to
	}
	p := v.project(m)
	v.hoursFrom(m, p, s.from, func(h *hour) bool {
		holds := h.before
		hold(holds, h.start) // in the hours without an event before it
		for _, change := range h.changes {
			hold(holds, change.since)
			holds = change
		}
		if h.overfull { // what came after is not kept
			hold(holds, h.start+hourLength)
		}
		return at < s.to && h.start < s.to
	})
	hold(p.book.held, forever)
	return out
}

// overlay puts the stops that tables tell of over what the machine said.
func (v *View) overlay(m *machine, said []stretch) []stretch {
	rows := v.derive(m)
	if !rows.hasDown {
		return said
	}
	if v.project(m).book.held.state == 0 {
		// A machine that never says its state runs when no table says otherwise.
		for i := range said {
			said[i].class = Running
		}
	}
	out := make([]stretch, 0, len(said)+2*len(rows.down))
	next := 0
	for _, one := range said {
		for next < len(rows.down) && rows.down[next].span.to <= one.from {
			next++
		}
		if next > 0 {
			one.began = max(one.began, rows.down[next-1].span.to)
		}
		for i := next; i < len(rows.down) && rows.down[i].span.from < one.to; i++ {
			down := &rows.down[i]
			if one.from < down.span.from {
				part := one
				part.to = down.span.from
				out = append(out, part)
			}
			part := down.span.clip(one.span)
			class, mapped := v.class(down.reason)
			if !mapped {
				class = Stopped
			}
			if n := len(out); n > 0 && out[n-1].began == down.span.from && out[n-1].reason == down.reason && out[n-1].to == part.from {
				out[n-1].to = part.to
			} else {
				out = append(out, stretch{span: part, began: down.span.from, class: class, reason: down.reason})
			}
			one.from, one.began = part.to, part.to
		}
		if one.from < one.to {
			out = append(out, one)
		}
	}
	return out
}

// markMicro marks the stops that are over and shorter than a micro-stop: all
// that a machine is stopped for in one go, whatever its reasons.
func (v *View) markMicro(all []stretch, known int64) {
	if v.config.MicroStop == 0 {
		return
	}
	for i := 0; i < len(all); {
		if all[i].class != Stopped {
			i++
			continue
		}
		end := i
		for end < len(all) && all[end].class == Stopped {
			end++
		}
		from, to := min(all[i].began, all[i].from), all[end-1].to
		if to < known && to-from < int64(v.config.MicroStop) {
			for j := i; j < end; j++ {
				all[j].micro = true
			}
		}
		i = end
	}
}

// Timeline returns a machine's states between two instants, as far as they are
// known, from AtHand on.
func (v *View) Timeline(machine string, from, to time.Time) []Interval {
	m := v.machines[machine]
	if m == nil || m.through() == never {
		return nil
	}
	s := span{max(nanos(from), m.atHand()), nanos(to)}
	s.to = min(s.to, m.through())
	all := v.stretches(m, s)
	planned := v.plannedIn(m, s)
	var out []Interval
	show := func(one *stretch, part span, inPlan bool) {
		next := Interval{
			Start: v.calendar.local(part.from), End: v.calendar.local(part.to), Class: one.class,
			State: v.names.name(one.state), Reason: v.names.name(one.reason), Silent: one.silent, Micro: one.micro,
			Planned: inPlan && v.losses[one.class] != PlannedLoss,
		}
		if n := len(out); n > 0 {
			if last := &out[n-1]; last.End.Equal(next.Start) {
				joined := *last
				joined.End = next.End
				if next.Start = last.Start; next == joined {
					*last = joined
					return
				}
				next.Start = last.End
			}
		}
		out = append(out, next)
	}
	for i := range all {
		one := &all[i]
		one.span = one.clip(s)
		at := one.from
		for _, plan := range planned {
			part := plan.clip(one.span)
			if part.from >= part.to {
				continue
			}
			if at < part.from {
				show(one, span{at, part.from}, false)
			}
			show(one, part, true)
			at = part.to
		}
		if at < one.to {
			show(one, span{at, one.to}, false)
		}
	}
	return out
}

// Now is what a machine does: the last interval of its time line, as far as it
// is known, and when the machine was last heard of. False: no such machine, or
// nothing of it was ever heard.
func (v *View) Now(machine string) (state Interval, heard time.Time, ok bool) {
	m := v.machines[machine]
	if m == nil || m.heard == never {
		return Interval{}, time.Time{}, false
	}
	h := m.live
	class, _ := v.class(h.state)
	state = Interval{
		Start: v.calendar.local(h.since), End: v.calendar.local(m.high), Class: class,
		State: v.names.name(h.state), Reason: v.names.name(h.reason),
	}
	if believed := h.until(v.rules.maxHold); h.state != 0 && believed < m.high {
		state.Start, state.Class, state.Silent = v.calendar.local(believed), Unknown, true
	}
	if h.state == 0 {
		state.Start = v.calendar.local(m.heard)
	}
	in := v.plannedIn(m, span{m.high, m.high + 1})
	state.Planned = len(in) > 0 && v.losses[state.Class] != PlannedLoss
	return state, v.calendar.local(m.heard), true
}
