package oee

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sort"
)

// storedHour is an hour that is over, in its compact form.
type storedHour struct {
	start   int64
	data    []byte
	unsaved bool
}

// hoursFrom calls f with the machine's hours, from the one that t is in on,
// until it returns false. Hours without an event are not among them: what
// holds in them, the next one took over.
func (v *View) hoursFrom(m *machine, p *projection, t int64, f func(*hour) bool) {
	from := t
	if t != never {
		from = hourOf(t)
	}
	first := sort.Search(len(m.hours), func(i int) bool { return m.hours[i].start >= from })
	for i := first; i < len(m.hours); i++ {
		h, err := v.decode(m.hours[i].data)
		if err != nil {
			panic(err) // it was made here, or decoded when it was restored
		}
		if !f(h) {
			return
		}
	}
	for _, h := range p.hours {
		if h.start >= from && !f(h) {
			return
		}
	}
}

// The compact form of an hour, version 1. Numbers are varints. It begins with
// the version and the names that it uses, and refers to them by their place,
// from 1 on; 0 is no name.
const hourVersion = 1

// errHour is behind every error of decode.
var errHour = errors.New("not the item of a machine-hour")

// encode returns the compact form of an hour.
func (v *View) encode(h *hour) []byte {
	e := encoder{v: v, places: map[uint32]uint64{0: 0}}
	e.held(h.before, h.start)
	e.bool(h.overfull)
	e.uint(uint64(len(h.changes)))
	at := h.start
	for _, c := range h.changes {
		e.held(c, at)
		at = c.since
	}
	e.uint(uint64(len(h.cells)))
	for i := range h.cells {
		e.cell(&h.cells[i])
	}
	return e.finish(hourVersion, h.start)
}

// encoder writes numbers and names.
type encoder struct {
	v      *View
	body   []byte
	places map[uint32]uint64
	names  []uint32
}

func (e *encoder) uint(n uint64) { e.body = binary.AppendUvarint(e.body, n) }
func (e *encoder) int(n int64)   { e.body = binary.AppendVarint(e.body, n) }

func (e *encoder) bool(b bool) {
	if b {
		e.uint(1)
	} else {
		e.uint(0)
	}
}

func (e *encoder) text(s string) {
	e.uint(uint64(len(s)))
	e.body = append(e.body, s...)
}

func (e *encoder) name(id uint32) {
	place, ok := e.places[id]
	if !ok {
		e.names = append(e.names, id)
		place = uint64(len(e.names))
		e.places[id] = place
	}
	e.uint(place)
}

func (e *encoder) held(h held, base int64) {
	e.name(h.state)
	e.name(h.reason)
	e.int(h.since - base)
	e.int(h.seen - h.since)
}

// A cell's counters, and whether they are whole units.
const wholeUnits = 1 << counters

func (e *encoder) cell(c *cell) {
	kind := uint64(wholeUnits)
	for i, u := range c.units {
		if u != 0 {
			kind |= 1 << i
		}
		if u%Unit != 0 {
			kind &^= wholeUnits
		}
	}
	e.uint(uint64(c.minute))
	e.name(c.product)
	e.uint(kind)
	for _, u := range c.units {
		if u == 0 {
			continue
		}
		if kind&wholeUnits != 0 {
			u /= Unit
		}
		e.int(int64(u))
	}
}

// finish returns what was written, behind the version, an instant and the
// names.
func (e *encoder) finish(version uint64, start int64) []byte {
	head := encoder{}
	head.uint(version)
	head.int(start)
	head.uint(uint64(len(e.names)))
	for _, id := range e.names {
		head.text(e.v.names.name(id))
	}
	out := make([]byte, 0, len(head.body)+len(e.body))
	return append(append(out, head.body...), e.body...)
}

// decode reads what encode wrote.
func (v *View) decode(data []byte) (*hour, error) {
	d := decoder{rest: data}
	h := &hour{start: d.start(v, hourVersion)}
	if d.err == nil && h.start != hourOf(h.start) {
		d.fail("it does not begin with an hour")
	}
	h.before = d.held(h.start)
	h.overfull = d.bool()
	if n := d.count(maxChanges + 1); n > 0 {
		h.changes = make([]held, n)
		at := h.start
		for i := range h.changes {
			h.changes[i] = d.held(at)
			if h.changes[i].since < at || h.changes[i].since >= h.start+hourLength {
				d.fail("changes are not in order")
			}
			at = h.changes[i].since
		}
	}
	if n := d.count(maxCells + 60); n > 0 {
		h.cells = make([]cell, n)
		var minute uint8
		for i := range h.cells {
			h.cells[i] = d.cell()
			if h.cells[i].minute < minute || h.cells[i].minute >= 60 {
				d.fail("minutes are not in order")
			}
			minute = h.cells[i].minute
		}
	}
	return h, d.end()
}

// decoder reads numbers and names. After an error everything is zero.
type decoder struct {
	rest  []byte
	names []uint32
	err   error
}

func (d *decoder) fail(why string) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s", errHour, why)
	}
	d.rest = nil
}

func (d *decoder) uint() uint64 {
	n, size := binary.Uvarint(d.rest)
	if size <= 0 {
		d.fail("it is cut short")
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

func (d *decoder) int() int64 {
	n, size := binary.Varint(d.rest)
	if size <= 0 {
		d.fail("it is cut short")
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

func (d *decoder) bool() bool { return d.uint() != 0 }

// count reads how many of something there are. Each takes a byte or more.
func (d *decoder) count(most int) int {
	n := d.uint()
	if n > uint64(most) || n > uint64(len(d.rest)) {
		d.fail("it has more of something than there can be")
		return 0
	}
	return int(n)
}

func (d *decoder) text() string {
	n := d.uint()
	if n > uint64(len(d.rest)) {
		d.fail("it is cut short")
		return ""
	}
	s := string(d.rest[:n])
	d.rest = d.rest[n:]
	return s
}

// start reads version, instant and names.
func (d *decoder) start(v *View, version uint64) int64 {
	if got := d.uint(); d.err == nil && got != version {
		d.fail(fmt.Sprintf("its version is %d, not %d: was it written by a later release?", got, version))
	}
	start := d.int()
	d.names = make([]uint32, 1, 8)
	for range d.count(1 << 16) {
		d.names = append(d.names, v.name(d.text()))
	}
	return start
}

func (d *decoder) name() uint32 {
	place := d.uint()
	if place >= uint64(len(d.names)) {
		if d.err == nil {
			d.fail("a name is missing")
		}
		return 0
	}
	return d.names[place]
}

func (d *decoder) held(base int64) held {
	h := held{state: d.name(), reason: d.name()}
	h.since = d.int() + base
	h.seen = d.int() + h.since
	return h
}

func (d *decoder) cell() cell {
	c := cell{minute: uint8(min(d.uint(), 255)), product: d.name()}
	kind := d.uint()
	for i := range c.units {
		if kind&(1<<i) != 0 {
			c.units[i] = Units(d.int())
			if kind&wholeUnits != 0 {
				c.units[i] *= Unit
			}
		}
	}
	return c
}

func (d *decoder) end() error {
	if d.err == nil && len(d.rest) > 0 {
		d.fail("something stands behind its end")
	}
	return d.err
}
