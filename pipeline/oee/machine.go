package oee

import (
	"hash/maphash"
	"math"
	"slices"
	"time"
)

// machine is what a view knows of one machine.
type machine struct {
	name string

	// high is the machine's time: of its latest event, or later when it was
	// silent for Config.Idle. Events up to low are in the book, later ones wait.
	high, low int64
	queue     queue
	book      book
	hours     []storedHour // over and in the book, in order of start
	gone      int64        // hours before it are saved, and no longer at hand; never: none

	shards []shardPlace
	last   int // index in shards of the latest event's

	began    int64           // the earliest event's time; forever: there was none
	reported [counters]int64 // when each counter was first reported by an event; forever: never

	heard    int64 // the latest event's time or arrival
	heardNow int64 // the time (Advance) when an event last came
	live     held  // as of high

	rows    machineRows
	reports []report // of windows whose results may still change, or all of them
	alerts  []alertState
	outbox  []*outgoing
	due     int64 // when the next alert on a state is
	told    int64 // before a restart alerts were told up to here; what is read again up to it is not told again

	// What has changed since results were last made: all in touched, and what
	// came after closed.
	touched span
	closed  int64
	next    int64 // before it nothing more can be said of windows that are over, if nothing is touched
	early   bool  // open windows may have changed
	unsaved bool

	projected *projection // nil: to be made anew
}

// shardPlace is a shard that a machine was seen on.
type shardPlace struct {
	shard string
	last  Position // of the latest event that was applied
	// saved says that last is what was restored: events up to it are read again.
	saved bool
}

// maxShards bounds the shards of a machine: of those that it was on longest
// ago it is forgotten what was counted as a side output there.
const maxShards = 16

// maxWaiting bounds the events of one machine that wait.
const maxWaiting = 100_000

var nothing = span{forever, never}

func newMachine(name string, alerts int) *machine {
	m := &machine{
		name: name, high: never, low: never, gone: never, closed: never, next: never, heard: never, heardNow: never,
		began: forever, reported: [counters]int64{forever, forever, forever}, touched: nothing, due: forever, told: never, rows: newMachineRows(),
	}
	for range alerts {
		m.alerts = append(m.alerts, alertState{since: never, due: forever})
	}
	return m
}

// touch says that what happened in s has changed.
func (v *View) touch(m *machine, s span) {
	if v.knowing {
		return
	}
	m.touched = span{min(m.touched.from, s.from), max(m.touched.to, s.to)}
	m.early = true
}

// shard returns the number of a shard, and whether the machine came back to
// it from another one: it is on both, then.
func (m *machine) shard(name string) (number int, back bool) {
	if m.last < len(m.shards) && m.shards[m.last].shard == name {
		return m.last, false
	}
	i := slices.IndexFunc(m.shards, func(s shardPlace) bool { return s.shard == name })
	back = i >= 0 && !m.shards[i].saved
	if i < 0 {
		if len(m.shards) == maxShards {
			i = (m.last + 1) % maxShards
			m.shards[i] = shardPlace{shard: name}
		} else {
			i = len(m.shards)
			m.shards = append(m.shards, shardPlace{shard: name})
		}
	}
	m.last = i
	return i, back
}

// Apply takes an event. What is wrong with it is counted (Side).
func (v *View) Apply(e Event) {
	if e.Machine == "" {
		v.aside(SideMachine, &e, "the event names no machine")
		return
	}
	seconds := e.Time.Unix()
	if seconds < earliest || seconds >= latest {
		v.aside(SideClock, &e, "its time is not between the years 2000 and 2200: is it seconds, milliseconds, or neither?")
		return
	}
	m := v.machines[e.Machine]
	if m == nil {
		if m = v.discover(&e); m == nil {
			return
		}
	}
	shard, back := m.shard(e.Position.Shard)
	place := &m.shards[shard]
	again := place.saved && e.Position.Compare(place.last) <= 0
	if !again {
		place.last, place.saved = e.Position, false
		m.unsaved = true
		if back {
			v.aside(SideShards, &e, "the machine is on more than one shard, where nobody can order its events: make the machine the partition key, or re-key the stream through a kinesis destination first")
		}
	}
	at := e.Time.UnixNano()
	arrival := int64(never)
	if !e.Arrival.IsZero() {
		arrival = e.Arrival.UnixNano()
		if note := v.clock(at, arrival); note != "" {
			if !again {
				v.aside(SideClock, &e, note)
			}
			return
		}
	}
	if at <= m.low {
		if !again {
			v.aside(SideLate, &e, "it is older than allowed_lateness behind the machine's latest event")
		}
		return
	}

	p := waiting{time: at, index: e.Index, shard: uint16(shard), item: uint16(min(e.Position.Item, math.MaxUint16))}
	if e.ID != "" {
		p.id = maphash.String(v.seed, e.ID) | 1
	}
	p.state, p.reason, p.product = v.state(&e, again), v.name(e.Reason), v.name(e.Product)
	for i, reading := range [counters]Reading{total: e.Total, good: e.Good, rejected: e.Rejected} {
		if reading.Valid {
			p.units[i] = reading.Units
			p.has |= 1 << i
		}
	}
	if !m.queue.insert(p, !v.config.KeepDuplicates) {
		return
	}
	v.waiting++
	m.projected, m.early = nil, true
	m.began = min(m.began, at)
	for i := range counters {
		if p.has.has(i) && at < m.reported[i] {
			v.reported(m, i, at)
		}
	}
	m.heard = max(m.heard, at, arrival)
	m.heardNow = v.now
	if !again {
		v.heardOf(m, at)
	}
	if at >= m.high {
		m.high = at
		v.follow(m, &p)
	} else {
		v.touch(m, span{at, m.high + 1})
		if m.live.altered(&p, v.rules.maxHold) {
			v.relive(m)
		}
	}
	if !again { // what is read again does not move the time on: the rest of it is still to come
		v.settle(m, &e)
	}
}

// reported says that an event reports a counter before any other has.
func (v *View) reported(m *machine, i int, at int64) {
	before := v.since(m)
	m.reported[i] = at
	v.touchSince(m, before)
}

// What event times may be.
var (
	earliest = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	latest   = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
)

// clock says what is wrong with an event's time, held against its arrival.
func (v *View) clock(at, arrival int64) string {
	switch {
	case at-arrival > int64(v.config.Ahead):
		return "its time is ahead of its arrival: is the machine's clock or time zone wrong?"
	case arrival-at > int64(v.config.Retain):
		return "its time is further before its arrival than retain: is the machine's clock wrong?"
	}
	return ""
}

// discover makes a machine known.
func (v *View) discover(e *Event) *machine {
	if len(v.machines) >= v.config.MaxMachines {
		v.aside(SideMachine, e, "the view has as many machines as it may have")
		return nil
	}
	if len(v.onLines) > 0 && !v.onLines[e.Machine] {
		v.aside(SideMachine, e, "no line has the machine: its figures are its own")
	}
	return v.add(e.Machine)
}

func (v *View) add(name string) *machine {
	m := newMachine(name, len(v.config.Alerts))
	v.machines[name] = m
	v.order = nil
	return m
}

// state is the number of an event's raw state.
func (v *View) state(e *Event, again bool) uint32 {
	if e.State == "" {
		return 0
	}
	id := v.name(e.State)
	if _, mapped := v.class(id); !mapped && !again {
		v.aside(SideState, e, "states does not map its state: it counts as unknown")
	}
	return id
}

// settle takes what has waited long enough, or cannot wait longer, into the
// book.
func (v *View) settle(m *machine, e *Event) {
	if m.high == never {
		return
	}
	low := max(m.low, m.high-int64(v.config.Lateness)-1)
	if all := m.queue.all(); len(all) > 0 && (len(all) > maxWaiting || v.waiting > v.config.MaxWaiting) {
		low = max(low, all[len(all)/4].time)
		v.aside(SideForced, e, "too many events wait: its machine's oldest were taken before their time")
	}
	m.low = low
	taken := 0
	all := m.queue.all()
	for taken < len(all) && all[taken].time <= low {
		v.take(m, &all[taken], e)
		taken++
	}
	if taken > 0 {
		m.projected = nil
	}
	m.queue.drop(taken)
	v.waiting -= taken
}

// take puts an event into the book.
func (v *View) take(m *machine, p *waiting, e *Event) {
	t := m.book.take(p, &v.rules, func(h *hour) { m.hours = append(m.hours, storedHour{start: h.start, data: v.encode(h), unsaved: true}) })
	if t == (taken{}) {
		return
	}
	at := Event{Machine: m.name, Time: time.Unix(0, p.time), State: v.names.name(p.state), Product: v.names.name(p.product)}
	if p.time == e.Time.UnixNano() {
		at = *e
	}
	if t.drop != 0 {
		v.aside(SideCounter, &at, "a cumulative counter dropped: it counts from 0, or on from its modulus")
	}
	if t.absurd != 0 {
		v.aside(SideAbsurd, &at, "it adds more than a billion units at once: they do not count")
	}
	if t.overfull {
		v.aside(SideOverfull, &at, "its hour has more changes of state, or products, than are kept")
	}
}

// follow goes on with the live state.
func (v *View) follow(m *machine, p *waiting) {
	v.passed(m, p.time)
	if m.live.follow(p, v.rules.maxHold) {
		v.changed(m, p.time)
	}
}

// altered says whether an event that is not the latest may alter what holds
// now.
func (h *held) altered(p *waiting, maxHold int64) bool {
	switch {
	case p.state == 0:
		return p.reason != 0 || maxHold > 0
	case p.time < h.since: // it may be what began earlier
		return p.state == h.state
	default:
		return p.state != h.state || p.reason != 0 && p.reason != h.reason
	}
}

// relive makes the live state anew, after an event that was not the latest.
func (v *View) relive(m *machine) {
	before := m.live
	m.live = m.book.held
	all := m.queue.all()
	for i := range all {
		m.live.follow(&all[i], v.rules.maxHold)
	}
	if m.live.state != before.state || m.live.reason != before.reason {
		v.changed(m, m.high)
	}
}

// projection is a book as it would be if nothing more were to come.
type projection struct {
	book  book
	hours []*hour // that are not in machine.hours, in order
}

// project returns the machine's projection.
func (v *View) project(m *machine) *projection {
	if m.projected != nil {
		return m.projected
	}
	p := &projection{book: m.book.clone()}
	all := m.queue.all()
	for i := range all {
		p.book.take(&all[i], &v.rules, func(h *hour) { p.hours = append(p.hours, h) })
	}
	if p.book.hour != nil {
		p.hours = append(p.hours, p.book.hour)
	}
	m.projected = p
	return p
}
