package oee

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// Item is a part of a machine that is kept outside: the machine's own item,
// one of its hours, or what was told of the windows that begin on a day of UTC.
type Item struct {
	Machine string
	Key     string
	Data    []byte
}

// The keys of items. Those of one kind sort by time.
const (
	machineKey    = "machine"
	hourPrefix    = "hour/"
	reportsPrefix = "reports/"

	hourFormat = "2006-01-02T15"
)

// MachineKey is the key of a machine's own item.
func MachineKey() string { return machineKey }

// HourKeys are the least keys that the hours and the reports from an instant
// on have.
func HourKeys(from time.Time) (hours, reports string) {
	return hourKey(hourOf(nanos(from))), reportsKey(dayOf(nanos(from)))
}

func hourKey(start int64) string { return hourPrefix + time.Unix(0, start).UTC().Format(hourFormat) }
func reportsKey(day int64) string {
	return reportsPrefix + time.Unix(0, day).UTC().Format(time.DateOnly)
}

// dayOf is the start of the day of UTC that t is in.
func dayOf(t int64) int64 {
	const length = 24 * hourLength
	day := t - t%length
	if t%length < 0 {
		day -= length
	}
	return day
}

// Unsaved names the machines that have changed since they were last saved,
// sorted.
func (v *View) Unsaved() []string {
	return slices.DeleteFunc(v.Machines(), func(name string) bool { return !v.machines[name].unsaved })
}

// Save returns what of a machine has changed since the last call, to be written
// in this order, each conditional on still owning the machine. The last one is
// the machine's own: with it the others count, and before it they do no harm.
// Save is called again only when all are written.
//
// A round is: Results, Early and Alerts; Save of every machine that is Unsaved;
// the position of each shard, which is Oldest as of Save; what was returned goes
// out; Told. Dying anywhere in it loses nothing and counts nothing twice.
func (v *View) Save(machine string) []Item {
	m := v.machines[machine]
	if m == nil || !m.unsaved {
		return nil
	}
	var items []Item
	var day int64 = never
	for i := range m.reports {
		r := &m.reports[i]
		if of := dayOf(r.key.from); r.unsaved && of != day {
			day = of
			items = append(items, Item{machine, reportsKey(day), v.encodeReports(m, day)})
		}
		r.unsaved = false
	}
	for i := range m.hours {
		if h := &m.hours[i]; h.unsaved {
			h.unsaved = false
			items = append(items, Item{machine, hourKey(h.start), h.data})
		}
	}
	m.unsaved = false
	return append(items, Item{machine, machineKey, v.encodeMachine(m)})
}

// ErrItems is behind every error of Restore and Load.
var ErrItems = errors.New("not the items of a machine")

// Restore makes a machine what it was when it was saved, of its own item, its
// hours and reports from an instant on (the zero time: all). Then its events
// are applied from the saved position of their shard on: those that it has
// already count once.
func (v *View) Restore(machine string, items []Item, from time.Time) error {
	if v.machines[machine] != nil {
		return fmt.Errorf("restore machine %s: it is there already", machine)
	}
	own := slices.IndexFunc(items, func(i Item) bool { return i.Key == machineKey })
	if own < 0 {
		return fmt.Errorf("restore machine %s: %w: its own is missing", machine, ErrItems)
	}
	m := newMachine(machine, len(v.config.Alerts))
	if err := v.decodeMachine(m, items[own].Data); err != nil {
		return fmt.Errorf("restore machine %s: %w: %w", machine, ErrItems, err)
	}
	if err := v.load(m, items, from); err != nil {
		return err
	}
	m.live, m.early = m.book.held, true
	class, _ := v.class(m.live.state)
	m.book.running = v.config.CountRunning && class == Running
	for i := range m.alerts {
		if a, c := &m.alerts[i], &v.config.Alerts[i]; !a.open && c.watches(class) {
			a.since = m.live.since
			a.due = v.dueAt(m, a.since, c.Longer)
		}
	}
	v.nextDue(m)
	v.alerts = append(v.alerts, m.outbox...)
	v.machines[machine] = m
	v.order = nil
	return nil
}

// Need is a machine whose hours and reports from an instant on are to be
// loaded, since a row revises figures of them.
type Need struct {
	Machine string
	From    time.Time
}

// Needs returns what is to be loaded before Results can tell everything.
func (v *View) Needs() (needs []Need) {
	for _, name := range v.sorted() {
		m := v.machines[name]
		if m.touched.from < m.atHand() {
			needs = append(needs, Need{name, time.Unix(0, hourOf(m.touched.from-hourLength-v.slack))})
		}
	}
	return needs
}

// Load adds hours and reports from an instant on, which is before those that
// are at hand.
func (v *View) Load(machine string, items []Item, from time.Time) error {
	m := v.machines[machine]
	if m == nil {
		return fmt.Errorf("load hours of machine %s: no such machine", machine)
	}
	return v.load(m, items, from)
}

func (v *View) load(m *machine, items []Item, from time.Time) error {
	end := int64(never) // hours from it on are at hand, or not to be believed
	if len(m.hours) > 0 {
		end = m.hours[0].start
	} else if m.book.hour != nil {
		end = m.book.hour.start
	}
	var hours []storedHour
	for _, item := range items {
		switch {
		case strings.HasPrefix(item.Key, hourPrefix):
			h, err := v.decode(item.Data)
			if err != nil {
				return fmt.Errorf("load %s of machine %s: %w: %w", item.Key, m.name, ErrItems, err)
			}
			if h.start < end {
				hours = append(hours, storedHour{start: h.start, data: item.Data})
			}
		case strings.HasPrefix(item.Key, reportsPrefix):
			if err := v.decodeReports(m, item.Data); err != nil {
				return fmt.Errorf("load %s of machine %s: %w: %w", item.Key, m.name, ErrItems, err)
			}
		}
	}
	slices.SortFunc(hours, func(a, b storedHour) int { return cmp.Compare(a.start, b.start) })
	m.hours = slices.Concat(hours, m.hours)
	m.gone = never
	if !from.IsZero() {
		m.gone = hourOf(nanos(from))
	}
	m.projected = nil
	return nil
}

// atHand is from when on a machine's figures can be derived. Of the first hour
// that is there it is not known whether a stop went on from before it.
func (m *machine) atHand() int64 {
	if m.gone == never {
		return never
	}
	return m.gone + hourLength
}

// AtHand is from when on a machine's figures can be derived without Load. The
// zero time: all.
func (v *View) AtHand(machine string) time.Time {
	if m := v.machines[machine]; m != nil && m.gone != never {
		return v.calendar.local(m.atHand())
	}
	return time.Time{}
}

// Trim forgets hours and reports that are saved and older than keep before
// their machine's time. Needs says when they are wanted again.
func (v *View) Trim(keep time.Duration) {
	for _, m := range v.machines {
		if m.through() == never {
			continue
		}
		oldest := hourOf(m.through() - int64(keep))
		n := 0
		for n < len(m.hours) && m.hours[n].start < oldest && !m.hours[n].unsaved {
			n++
		}
		if n == 0 {
			continue
		}
		if n < len(m.hours) {
			oldest = min(oldest, m.hours[n].start)
		}
		m.hours = slices.Clone(m.hours[n:])
		m.gone = max(m.gone, oldest)
		// Reports are saved by the day: a day is kept as a whole.
		cut := dayOf(oldest)
		for i := range m.reports {
			if r := &m.reports[i]; r.unsaved || r.pending {
				cut = min(cut, dayOf(r.key.from))
			}
		}
		m.dropReports(cut)
	}
}

// Forget drops a machine and its rows: another worker has it now.
func (v *View) Forget(name string) {
	m := v.machines[name]
	if m == nil {
		return
	}
	v.waiting -= m.queue.len()
	maps.DeleteFunc(v.rows, func(_ rowKey, owner *machine) bool { return owner == m })
	delete(v.machines, name)
	v.order = nil
}

// The compact form of a machine, version 1.
const machineVersion = 1

func (v *View) encodeMachine(m *machine) []byte {
	e := encoder{v: v, places: map[uint32]uint64{0: 0}}
	for _, t := range [...]int64{m.low, m.began, m.heard, max(m.told, m.high), m.closed, m.touched.from, m.touched.to, m.rows.through} {
		e.int(t)
	}
	for _, t := range m.reported {
		e.int(t)
	}
	b := &m.book
	e.held(b.held, 0)
	e.bool(b.begun)
	e.name(b.product)
	for _, c := range b.counters {
		e.bool(c.known)
		e.int(int64(c.value))
	}
	e.uint(uint64(len(m.shards)))
	for _, s := range m.shards {
		e.text(s.shard)
		e.text(s.last.Sequence)
		e.int(s.last.Sub)
		e.int(int64(s.last.Item))
	}
	e.uint(uint64(m.last))
	e.uint(uint64(len(m.alerts)))
	for i, a := range m.alerts {
		e.text(v.config.Alerts[i].Name)
		e.bool(a.open)
		e.int(a.since)
	}
	e.uint(uint64(len(m.outbox)))
	for _, o := range m.outbox {
		e.alert(&o.Alert)
	}
	var hour []byte
	if b.hour != nil {
		hour = v.encode(b.hour)
	}
	e.text(string(hour))
	return e.finish(machineVersion, m.high)
}

func (v *View) decodeMachine(m *machine, data []byte) error {
	d := decoder{rest: data}
	m.high = d.start(v, machineVersion)
	for _, t := range [...]*int64{&m.low, &m.began, &m.heard, &m.told, &m.closed, &m.touched.from, &m.touched.to, &m.rows.through} {
		*t = d.int()
	}
	for i := range m.reported {
		m.reported[i] = d.int()
	}
	b := &m.book
	b.held = d.held(0)
	b.begun = d.bool()
	b.product = d.name()
	for i := range b.counters {
		b.counters[i].known = d.bool()
		b.counters[i].value = Units(d.int())
	}
	for range d.count(maxShards) {
		m.shards = append(m.shards, shardPlace{
			shard: d.text(), last: Position{Sequence: d.text(), Sub: d.int(), Item: int32(d.int())}, saved: true,
		})
		at := &m.shards[len(m.shards)-1]
		at.last.Shard = at.shard
	}
	m.last = int(min(d.uint(), maxShards))
	for range d.count(1 << 8) {
		name, open, since := d.text(), d.bool(), d.int()
		i := slices.IndexFunc(v.config.Alerts, func(c AlertConfig) bool { return c.Name == name })
		if i >= 0 && open {
			m.alerts[i] = alertState{open: true, since: since, due: since}
		}
	}
	for range d.count(maxOutbox) {
		if a, ok := d.alert(v); ok {
			o := &outgoing{Alert: a}
			m.outbox = append(m.outbox, o)
		}
	}
	if text := d.text(); text != "" && d.err == nil {
		hour, err := v.decode([]byte(text))
		if err != nil {
			return err
		}
		b.hour = hour
	}
	return d.end()
}

func (e *encoder) alert(a *Alert) {
	e.text(a.ID)
	e.text(a.Name)
	e.text(a.Machine)
	e.bool(a.Recovered)
	e.int(nanos(a.Since))
	e.int(nanos(a.At))
	e.text(a.State)
	e.text(a.Reason)
	e.text(a.Window.Kind)
	e.text(a.Window.Name)
	e.text(a.Window.Date)
	e.int(nanos(a.Window.Start))
	e.int(nanos(a.Window.End))
	e.uint(math.Float64bits(a.OEE))
	e.uint(math.Float64bits(a.Target))
}

// alert reads an alert; false: the configuration no longer has it.
func (d *decoder) alert(v *View) (Alert, bool) {
	local := func() time.Time {
		if t := d.int(); t != never {
			return v.calendar.local(t)
		}
		return time.Time{}
	}
	a := Alert{View: v.config.Name, ID: d.text(), Name: d.text(), Machine: d.text(), Recovered: d.bool()}
	a.Since, a.At = local(), local()
	a.State, a.Reason = d.text(), d.text()
	a.Window.Kind, a.Window.Name, a.Window.Date = d.text(), d.text(), d.text()
	a.Window.Start, a.Window.End = local(), local()
	a.OEE, a.Target = math.Float64frombits(d.uint()), math.Float64frombits(d.uint())
	i := slices.IndexFunc(v.config.Alerts, func(c AlertConfig) bool { return c.Name == a.Name })
	if i < 0 || d.err != nil {
		return Alert{}, false
	}
	a.When = v.config.Alerts[i].When
	return a, true
}

// The compact form of the reports of a day, version 1.
const reportsVersion = 1

func (v *View) encodeReports(m *machine, day int64) []byte {
	e := encoder{v: v}
	first, _ := slices.BinarySearchFunc(m.reports, windowKey{from: day}, report.compare)
	last, _ := slices.BinarySearchFunc(m.reports, windowKey{from: day + 24*hourLength}, report.compare)
	e.uint(uint64(last - first))
	for _, r := range m.reports[first:last] {
		e.text(v.config.Windows[r.key.config].String())
		e.int(r.key.from - day)
		e.int(r.revision)
		e.uint(r.figures)
		e.uint(uint64(r.state))
		e.bool(r.pending || r.again)
	}
	return e.finish(reportsVersion, day)
}

func (v *View) decodeReports(m *machine, data []byte) error {
	d := decoder{rest: data}
	day := d.start(v, reportsVersion)
	for range d.count(1 << 20) {
		kind, from := d.text(), d.int()+day
		r := report{revision: d.int(), figures: d.uint(), state: State(d.uint()), again: d.bool()}
		config := slices.IndexFunc(v.config.Windows, func(c WindowConfig) bool { return c.String() == kind })
		if d.err != nil || config < 0 { // the configuration no longer has it
			continue
		}
		r.key = windowKey{config, from}
		if i, found := slices.BinarySearchFunc(m.reports, r.key, report.compare); !found {
			m.reports = slices.Insert(m.reports, i, r)
			if r.again {
				v.touch(m, span{from, from + 1})
			}
		}
	}
	return d.end()
}
