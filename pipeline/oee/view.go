package oee

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"strings"
	"time"
)

// View makes the figures of the machines of one Config. It belongs to one
// goroutine.
type View struct {
	config   Config
	calendar *calendar
	names    *names
	classes  []classOf // by number of a raw state's name
	losses   [len(lossOf)]Loss
	rules    rules
	slack    int64 // how long after its end events may still change a window
	onLines  map[string]bool
	seed     maphash.Seed

	machines map[string]*machine
	order    []string            // their names, sorted; nil: to be made anew
	waiting  int                 // events that wait, of all machines
	rows     map[rowKey]*machine // whose each row is
	rates    rates
	planned  map[span][]span // of shifts, by window
	sides    [sides]SideOutput
	alerts   []*outgoing // for Alerts
	finished bool
	knowing  bool // rows come whose figures were told

	now int64 // as Advance said; never: it has not
}

type classOf struct {
	known, mapped bool
	class         Class
}

// lossOf is where a class's time is lost unless it is configured.
var lossOf = [...]Loss{
	Unknown: AvailabilityLoss, Running: NoLoss, Idle: AvailabilityLoss, Stopped: AvailabilityLoss,
	PlannedStop: PlannedLoss, Changeover: AvailabilityLoss,
}

// New makes a view. What Check finds, but for warnings, is an error.
func New(c Config) (*View, error) {
	var wrong []string
	for _, p := range c.Check() {
		if !p.Warning {
			wrong = append(wrong, p.String())
		}
	}
	if wrong != nil {
		return nil, fmt.Errorf("view %s: %s", c.Name, strings.Join(wrong, "; "))
	}
	c.Retain = cmp.Or(c.Retain, defaultRetain)
	c.Ahead = cmp.Or(c.Ahead, defaultAhead)
	c.MaxMachines = cmp.Or(c.MaxMachines, defaultMachines)
	c.MaxWaiting = cmp.Or(c.MaxWaiting, defaultWaiting)
	v := &View{
		config: c, calendar: newCalendar(&c), names: newNames(), seed: maphash.MakeSeed(),
		machines: map[string]*machine{}, rows: map[rowKey]*machine{}, rates: newRates(&c), planned: map[span][]span{},
		losses: lossOf, onLines: map[string]bool{}, now: never,
		slack: int64(max(c.Lateness, c.MicroStop)),
	}
	for class, loss := range c.Losses {
		if loss != DefaultLoss {
			v.losses[class] = loss
		}
	}
	v.rules = rules{
		counters:     [counters]Counter{total: c.Total, good: c.Good, rejected: c.Rejected},
		maxHold:      int64(c.MaxHold),
		countRunning: c.CountRunning,
		classes:      func(state uint32) Class { class, _ := v.class(state); return class },
	}
	for _, line := range c.Lines {
		for _, machine := range line.Machines {
			v.onLines[machine] = true
		}
	}
	return v, nil
}

// name is the number of a name.
func (v *View) name(name string) uint32 {
	if name == "" {
		return 0
	}
	return v.names.id(name)
}

// class is what a raw state means, and whether the configuration says so.
func (v *View) class(state uint32) (Class, bool) {
	if int(state) >= len(v.classes) {
		v.classes = append(v.classes, make([]classOf, len(v.names.list)-len(v.classes))...)
	}
	c := &v.classes[state]
	if !c.known {
		c.known = true
		c.class, c.mapped = v.config.States[v.names.name(state)]
	}
	return c.class, c.mapped
}

// Advance says what time it is: machines that have been silent for Config.Idle
// no longer hold their windows open, and alerts are due. It is called only
// when everything that the streams have was applied: at their tips.
func (v *View) Advance(now time.Time) {
	v.now = max(v.now, now.UnixNano()) // a clock that went back waits
	for _, name := range v.sorted() {
		v.advance(v.machines[name])
	}
}

func (v *View) advance(m *machine) {
	if m.heardNow == never {
		m.heardNow = v.now
	}
	if idle := int64(v.config.Idle); idle > 0 && v.now-m.heardNow >= idle {
		v.pass(m, v.now-idle)
	}
	v.noData(m)
}

// pass moves the machine's time on without an event.
func (v *View) pass(m *machine, to int64) {
	switch {
	case m.high == never:
		if to > m.rows.through && m.rows.through != never {
			m.rows.through, m.early = to, true
		}
	case to > m.high:
		m.high, m.early, m.unsaved = to, true, true
		v.passed(m, to)
		v.settle(m, &Event{Machine: m.name, Time: time.Unix(0, to)})
	}
}

// through is up to when the machine's figures are known; never: not at all.
func (m *machine) through() int64 {
	if m.high == never {
		return m.rows.through
	}
	return m.high
}

// Finish says that nothing more will come, for input that has an end: every
// window that ends by the end of the shift, or else of the shortest window,
// that the last event of all lies in, is final.
func (v *View) Finish() {
	last := int64(never)
	for _, m := range v.machines {
		last = max(last, m.through())
	}
	if last == never {
		return
	}
	instant := span{last, last + 1}
	end := int64(never)
	for _, shift := range v.calendar.shiftsIn(instant) {
		end = max(end, shift.span.to)
	}
	if end == never {
		end = forever
		for i, c := range v.config.Windows {
			for _, w := range v.calendar.windows(nil, i, c, instant) {
				end = min(end, w.span.to)
			}
		}
	}
	if end == forever {
		end = last
	}
	v.FinishAt(time.Unix(0, end))
}

// FinishAt is Finish with the end given.
func (v *View) FinishAt(end time.Time) {
	v.finished = true
	for _, name := range v.sorted() {
		m := v.machines[name]
		v.pass(m, end.UnixNano())
		m.early = true
	}
}

// Machines names all machines, sorted.
func (v *View) Machines() []string { return slices.Clone(v.sorted()) }

func (v *View) sorted() []string {
	if v.order == nil {
		v.order = slices.Sorted(maps.Keys(v.machines))
	}
	return v.order
}

// Side returns a side output.
func (v *View) Side(kind SideKind) SideOutput {
	side := v.sides[kind]
	oldest := 0
	if len(side.Samples) == Samples {
		oldest = int(side.Count % Samples)
	}
	side.Samples = slices.Concat(side.Samples[oldest:], side.Samples[:oldest])
	return side
}

// aside counts an event in a side output.
func (v *View) aside(kind SideKind, e *Event, note string) {
	side := &v.sides[kind]
	side.Count++
	if e.Time.After(side.Last) {
		side.Last = e.Time
	}
	if len(side.Samples) < Samples {
		side.Samples = append(side.Samples, Sample{Event: *e, Note: note})
	} else {
		side.Samples[(side.Count-1)%Samples] = Sample{Event: *e, Note: note}
	}
}

// Oldest is the smallest index of the events of a shard that still wait, of
// all machines; false: none does.
func (v *View) Oldest(shard string) (index uint64, waiting bool) {
	for _, m := range v.machines {
		number := slices.IndexFunc(m.shards, func(s shardPlace) bool { return s.shard == shard })
		if number < 0 {
			continue
		}
		for _, p := range m.queue.all() {
			if int(p.shard) == number && (!waiting || p.index < index) {
				index, waiting = p.index, true
			}
		}
	}
	return index, waiting
}
