package oee

import (
	"cmp"
	"slices"
	"time"
)

// figures are what is derived of a machine and window.
type figures struct {
	sums     Sums
	stops    []Stop
	outputs  []Output
	overfull bool
}

// figure derives the figures of a machine in a window, as far as the machine's
// time has come.
func (v *View) figure(m *machine, w span) figures {
	var f figures
	known := span{w.from, min(w.to, m.through())}
	if known.from < known.to {
		v.figureTime(m, known, &f)
	}
	v.figureUnits(m, w, &f)
	return f
}

// plannedIn is a machine's planned time in s, planned stops included: a union.
func (v *View) plannedIn(m *machine, s span) []span {
	if v.config.Planned != PlannedSchedule {
		return v.shiftsIn(s)
	}
	idle := v.calendar.idle(s)
	var in []span
	for _, plan := range v.derive(m).planned {
		if plan.overlaps(s) {
			in = subtract(in, plan.clip(s), idle)
		}
	}
	return in
}

// plansAtHand bounds the spans whose planned time is at hand.
const plansAtHand = 1024

// shiftsIn is calendar.planned, once for all machines.
func (v *View) shiftsIn(s span) []span {
	in, ok := v.planned[s]
	if !ok {
		if len(v.planned) >= plansAtHand {
			clear(v.planned)
		}
		in = v.calendar.planned(s)
		v.planned[s] = in
	}
	return in
}

// figureTime adds up the states in s.
func (v *View) figureTime(m *machine, s span, f *figures) {
	planned := v.plannedIn(m, s)
	all := v.stretches(m, s)
	f.sums.Length = s.length()
	stops := map[stopKey]int{}
	micro := false // the micro-stop that one is of was looked at
	for i := range all {
		one := &all[i]
		if one.to <= s.from {
			continue
		}
		micro = micro && one.micro
		worked := measure(planned, one.clip(s))
		v.spend(&f.sums, one, worked)
		if one.class == Running || worked == 0 {
			continue
		}
		key := stopKey{one.class, one.label(), one.silent}
		at, found := stops[key]
		if !found {
			at = len(f.stops)
			stops[key] = at
			f.stops = append(f.stops, Stop{Reason: v.names.name(key.label), Class: one.class})
			if one.silent {
				f.stops[at].Reason = "(no data)"
			}
		}
		f.stops[at].Time += worked
		// Of a stop that goes on from before, the window that has its first planned
		// instant counts it.
		if v.begins(m, one, s.from) {
			f.stops[at].Number++
			if one.micro && !micro {
				f.sums.MicroStops++
			}
		}
		micro = one.micro
	}
	sortStops(f.stops)
	sums := &f.sums
	counted := sums.Run + sums.Idle + sums.Stopped + sums.Changeover + sums.Unknown
	sums.Unplanned = sums.Length - counted
	sums.Planned = counted
	if v.config.Planned == PlannedMinutes {
		sums.Planned = v.calendar.minutes(s, v.config.Minutes) - sums.PlannedStop
	}
	v.hoursFrom(m, v.project(m), s.from, func(h *hour) bool {
		f.overfull = f.overfull || h.overfull && h.start < s.to
		return h.start < s.to
	})
}

// stopKey is what stops are counted by.
type stopKey struct {
	class  Class
	label  uint32
	silent bool
}

// begins says whether the planned time of a stop in a window from from on is
// the first that the stop has.
func (v *View) begins(m *machine, one *stretch, from int64) bool {
	if one.began == 0 {
		return false // nothing was ever said
	}
	before := span{max(one.began, from-int64(v.config.Retain)), max(one.from, from)}
	return before.from >= before.to || measure(v.plannedIn(m, before), before) == 0
}

// spend puts planned time where its class belongs.
func (v *View) spend(s *Sums, one *stretch, d time.Duration) {
	loss := v.losses[one.class]
	if one.micro && loss == AvailabilityLoss {
		loss = PerformanceLoss
	}
	switch loss {
	case NoLoss:
		s.Run += d
	case PerformanceLoss:
		s.Run += d
		s.Slow += d
	case PlannedLoss:
		s.PlannedStop += d
	default:
		switch one.class {
		case Idle:
			s.Idle += d
		case Changeover:
			s.Changeover += d
		case Unknown:
			s.Unknown += d
		default:
			s.Stopped += d
		}
	}
}

// minutes is the planned time of s where each shift has so many minutes: they
// are spread evenly over its planned time, so that parts add up to the whole.
func (k *calendar) minutes(s span, minutes int) (sum time.Duration) {
	for _, shift := range k.shiftsIn(s) {
		whole := measure(shift.planned, shift.span)
		if whole == 0 {
			continue
		}
		until := func(t int64) time.Duration {
			part := measure(shift.planned, span{shift.span.from, t})
			// minutes × part / whole, without leaving 64 bits
			return Rate{Units: Units(whole), Per: time.Duration(minutes) * time.Minute}.ideal(Units(part))
		}
		part := shift.span.clip(s)
		sum += until(part.to) - until(part.from)
	}
	return sum
}

// figureUnits adds up what was made in w.
func (v *View) figureUnits(m *machine, w span, f *figures) {
	rows := v.derive(m)
	u := unitSums{v: v, m: m, since: v.since(m), rows: rows, outputs: map[uint32]int{}, f: f}
	v.hoursFrom(m, v.project(m), w.from, func(h *hour) bool {
		for i := range h.cells {
			c := &h.cells[i]
			if t := h.start + int64(c.minute)*minuteLength; w.holds(t) {
				u.add(t, c.product, c.units)
			}
		}
		return h.start < w.to
	})
	first, _ := slices.BinarySearchFunc(rows.made, w.from, func(r madeRow, t int64) int { return cmp.Compare(r.time, t) })
	for i := first; i < len(rows.made) && rows.made[i].time < w.to; i++ {
		u.add(minuteOf(rows.made[i].time), rows.made[i].product, rows.made[i].units)
	}
	slices.SortFunc(f.outputs, func(a, b Output) int { return cmp.Compare(a.Product, b.Product) })
}

// unitSums adds up units.
type unitSums struct {
	v       *View
	m       *machine
	since   [counters]int64
	rows    *machineRows
	outputs map[uint32]int // by product
	f       *figures
}

// add adds what was reported in the minute at t. What is not reported follows from the rest:
// linearly, so that sums of parts are sums of the whole.
func (u *unitSums) add(t int64, product uint32, units [counters]Units) {
	knows := func(i int) bool { return t >= u.since[i] }
	all, fine, bad := units[total], units[good], units[rejected]
	switch {
	case !knows(total):
		all = fine + bad
	case !knows(good):
		fine = all - bad
	}
	if !knows(rejected) {
		bad = all - fine
	}
	if all == 0 && fine == 0 && bad == 0 {
		return
	}
	if product == 0 {
		product = u.rows.scheduledAt(t)
	}
	at, found := u.outputs[product]
	if !found {
		at = len(u.f.outputs)
		u.outputs[product] = at
		u.f.outputs = append(u.f.outputs, Output{Product: u.v.names.name(product)})
	}
	out, sums := &u.f.outputs[at], &u.f.sums
	out.Total, out.Good, out.Rejected = add(out.Total, all), add(out.Good, fine), add(out.Rejected, bad)
	sums.Total, sums.Good, sums.Rejected = add(sums.Total, all), add(sums.Good, fine), add(sums.Rejected, bad)
	rate, ok := u.v.rates.at(u.m.name, out.Product, t)
	if !ok {
		sums.Unrated = add(sums.Unrated, all)
		return
	}
	idealAll, idealGood := rate.ideal(all), rate.ideal(fine)
	out.IdealTotal, out.IdealGood = add(out.IdealTotal, idealAll), add(out.IdealGood, idealGood)
	sums.IdealTotal, sums.IdealGood = add(sums.IdealTotal, idealAll), add(sums.IdealGood, idealGood)
}

// flag points at what is odd in the figures.
func (r *Result) flag() {
	s := &r.Sums
	if p, ok := r.Performance(); ok && p > 1 {
		r.Flags = append(r.Flags, FlagPerformance)
	}
	if s.Good > s.Total {
		r.Flags = append(r.Flags, FlagGood)
	}
	if s.Rejected > s.Total {
		r.Flags = append(r.Flags, FlagRejected)
	}
	if s.Unrated != 0 {
		r.Flags = append(r.Flags, FlagNoRate)
	}
}
