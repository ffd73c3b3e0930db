package oee

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// rowKey names a row.
type rowKey struct {
	kind       RowKind
	table, key string
}

// machineRows are the rows of one machine. What is derived of them is made
// anew after a change.
type machineRows struct {
	rows    map[rowKey]*Row // deleted ones too, so that an older form does not come back
	through int64           // the latest instant that a row of a machine without events tells of

	fresh    bool
	schedule []scheduled
	planned  []span // the schedule's: a union
	made     []madeRow
	down     []downRow // none overlaps another
	since    [counters]int64
	hasDown  bool
}

// scheduled is what a machine is to make.
type scheduled struct {
	span    span
	product uint32
}

// madeRow is what a quality or production row reports.
type madeRow struct {
	time    int64
	product uint32
	has     counts
	units   [counters]Units
}

// downRow is a stop that a table tells of.
type downRow struct {
	span   span
	reason uint32
}

func newMachineRows() machineRows {
	return machineRows{through: never, since: [counters]int64{forever, forever, forever}}
}

// MaxRows bounds the rows of a view. Beyond it those that are older than
// Config.Retain are dropped, and new ones refused if there is none.
const MaxRows = 2_000_000

// Put takes a row, and says whether it changed anything.
func (v *View) Put(r Row) bool {
	key := rowKey{r.Kind, r.Table, r.Key}
	if r.Kind == IdealRate {
		return v.putRate(key, r)
	}
	// A delete may name the key alone, and an update may move a row to another
	// machine: the row is looked for where it was.
	owner := v.rows[key]
	var old *Row
	if owner != nil {
		old = owner.rows.rows[key]
		if r.Position.Compare(old.Position) <= 0 {
			return false
		}
	}
	if old == nil && r.Delete && r.Machine == "" {
		// Nothing is known of it. Its older form, if that is still to come, comes
		// from the same shard: not after this one.
		return false
	}
	machine := r.Machine
	if r.Delete && owner != nil {
		machine = owner.name
	}
	m := v.machines[machine]
	if m == nil {
		if machine == "" || len(v.machines) >= v.config.MaxMachines {
			e := Event{Machine: machine, Time: r.from(), Position: r.Position}
			v.aside(SideMachine, &e, "a row of "+r.Table+" names no machine that the view has or may have")
			return false
		}
		m = v.add(machine)
	}
	if old == nil && len(v.rows) >= MaxRows {
		v.forgetRows()
		if len(v.rows) >= MaxRows {
			e := Event{Machine: machine, Time: r.from(), Position: r.Position}
			v.aside(SideOverfull, &e, "the view has as many rows as it may have")
			return false
		}
	}
	if owner != nil && owner != m {
		v.dropRow(owner, key, old)
	}
	if m.rows.rows == nil {
		m.rows.rows = map[rowKey]*Row{}
	}
	before := v.since(m)
	if old != nil && owner == m {
		v.touch(m, old.touches())
	}
	if r.Delete && old != nil {
		kept := *old // where it was, for what comes after
		kept.Delete, kept.Position = true, r.Position
		r = kept
	}
	m.rows.rows[key] = &r
	v.rows[key] = m
	m.rows.fresh = false
	if !r.Delete {
		v.touch(m, r.touches())
		m.rows.through = max(m.rows.through, r.tells())
	}
	v.touchSince(m, before)
	if r.Kind == Schedule && v.config.Planned == PlannedSchedule {
		v.rescheduled(m)
	}
	return true
}

// Know is Put for rows that were there before a restart: what they revise was
// told.
func (v *View) Know(r Row) bool {
	v.knowing = true
	defer func() { v.knowing = false }()
	return v.Put(r)
}

// dropRow takes a row away from a machine that no longer has it.
func (v *View) dropRow(m *machine, key rowKey, r *Row) {
	before := v.since(m)
	delete(m.rows.rows, key)
	m.rows.fresh = false
	v.touch(m, r.touches())
	v.touchSince(m, before)
	if r.Kind == Schedule && v.config.Planned == PlannedSchedule {
		v.rescheduled(m)
	}
}

// forgetRows drops rows that revise no window any more.
func (v *View) forgetRows() {
	for _, m := range v.machines {
		if m.through() == never {
			continue
		}
		oldest := m.through() - int64(v.config.Retain)
		for key, r := range m.rows.rows {
			if s := r.touches(); s.to < oldest || r.Kind == Schedule && !r.End.IsZero() && nanos(r.End) < oldest {
				delete(m.rows.rows, key)
				delete(v.rows, key)
				m.rows.fresh = false
			}
		}
	}
}

// from is when a row begins to tell something.
func (r *Row) from() time.Time {
	if r.Kind == Quality || r.Kind == Production {
		return r.Time
	}
	return r.Start
}

// touches is the time whose figures a row changes.
func (r *Row) touches() span {
	from := nanos(r.from())
	switch r.Kind {
	case Quality, Production:
		return span{from, from + 1}
	case Schedule:
		return span{from, forever} // one without an end may begin to hold after it
	default:
		return span{from, r.end()}
	}
}

// end is when a row ends; one without an end never does.
func (r *Row) end() int64 {
	if r.End.IsZero() {
		return forever
	}
	return nanos(r.End)
}

// tells is the latest instant that a row tells of, for a machine without
// events.
func (r *Row) tells() int64 {
	switch {
	case r.Kind == Quality || r.Kind == Production:
		return nanos(r.Time)
	case r.Kind == Downtime && !r.End.IsZero():
		return nanos(r.End)
	case r.Kind == Downtime:
		return nanos(r.Start)
	default:
		return never
	}
}

// nanos is a time in Unix nanoseconds; the zero time is never.
func nanos(t time.Time) int64 {
	switch seconds := t.Unix(); {
	case seconds < -9_000_000_000:
		return never
	case seconds > 9_000_000_000:
		return forever
	default:
		return t.UnixNano()
	}
}

// derive brings what is derived of the rows up to date.
func (v *View) derive(m *machine) *machineRows {
	d := &m.rows
	if d.fresh {
		return d
	}
	*d = machineRows{rows: d.rows, through: d.through, fresh: true, since: [counters]int64{forever, forever, forever}}
	keys := slices.SortedFunc(maps.Keys(d.rows), func(a, b rowKey) int {
		return cmp.Or(cmp.Compare(nanos(d.rows[a].from()), nanos(d.rows[b].from())), cmp.Compare(a.kind, b.kind), cmp.Compare(a.table, b.table), cmp.Compare(a.key, b.key))
	})
	for _, key := range keys {
		r := d.rows[key]
		if r.Delete {
			continue
		}
		switch r.Kind {
		case Schedule:
			if n := len(d.schedule); n > 0 {
				before := &d.schedule[n-1].span
				if start := nanos(r.Start); before.to == forever {
					before.to = start
				}
			}
			d.schedule = append(d.schedule, scheduled{span{nanos(r.Start), r.end()}, v.name(r.Product)})
		case Quality, Production:
			row := madeRow{time: nanos(r.Time), product: v.name(r.Product)}
			for i, reading := range [counters]Reading{total: r.Total, good: r.Good, rejected: r.Rejected} {
				if reading.Valid {
					row.has |= 1 << i
					row.units[i] = reading.Units
					d.since[i] = min(d.since[i], row.time)
				}
			}
			d.made = append(d.made, row)
		case Downtime:
			d.hasDown = true
			s := span{nanos(r.Start), r.end()}
			if n := len(d.down); n > 0 { // the one that began first keeps what overlaps
				s.from = max(s.from, d.down[n-1].span.to)
			}
			if s.from < s.to {
				d.down = append(d.down, downRow{s, v.name(r.Reason)})
			}
		}
	}
	for _, s := range d.schedule {
		d.planned = append(d.planned, s.span)
	}
	d.planned = union(d.planned)
	return d
}

// scheduledAt is the product that a schedule names for an instant; of rows that
// overlap the one that began last.
func (d *machineRows) scheduledAt(t int64) uint32 {
	for i := len(d.schedule) - 1; i >= 0; i-- {
		if d.schedule[i].span.holds(t) {
			return d.schedule[i].product
		}
	}
	return 0
}

// since is from when on each counter is known to be reported for a machine: it
// begins with the business date that it was first reported on. Before, total
// units are those that are good or rejected, and good ones are those that are
// not rejected.
func (v *View) since(m *machine) [counters]int64 {
	since := v.derive(m).since
	for i := range since {
		if since[i] = min(since[i], m.reported[i]); since[i] == forever {
			continue
		}
		day := v.calendar.dateAt(since[i])
		if start := v.calendar.date(day).business.from; start <= since[i] {
			since[i] = start
		} else { // in a night shift of the date before
			since[i] = v.calendar.date(day.plus(-1)).business.from
		}
	}
	return since
}

// touchSince says that the figures changed between two answers of since.
func (v *View) touchSince(m *machine, before [counters]int64) {
	for i, now := range v.since(m) {
		if now != before[i] {
			v.touch(m, span{min(now, before[i]), max(now, before[i])})
		}
	}
}
