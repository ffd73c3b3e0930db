package oee

import (
	"slices"
	"time"
)

// Bounds of one machine-hour: its item stays well below what one item of the
// state table may have.
const (
	// maxChanges bounds the changes of state in an hour, one in two seconds. What
	// comes after them in that hour is unknown (FlagOverfull): a state that
	// flickers like this says nothing.
	maxChanges = 1800
	// maxCells bounds units by minute and product: 60 of each minute's. What is
	// beyond is counted for the product "(other)".
	maxCells = 3600
)

// hour is what is kept of one machine and hour of Unix time: what it took over
// from before, the changes of its state and what was made in each minute of
// each product.
type hour struct {
	start    int64
	before   held
	changes  []held // in order of since
	cells    []cell // in order of minute
	overfull bool
}

// held is a state from an instant on.
type held struct {
	since  int64
	seen   int64 // the machine's last word in this state
	state  uint32
	reason uint32
}

// cell is what a machine made in one minute of one product.
type cell struct {
	minute  uint8
	product uint32
	units   [counters]Units
}

// counters are total, good and rejected.
const counters = 3

const (
	total = iota
	good
	rejected
)

// counts is a set of counters.
type counts uint8

func (c counts) has(i int) bool { return c&(1<<i) != 0 }

const (
	hourLength   = int64(time.Hour)
	minuteLength = int64(time.Minute)
)

// hourOf is the start of the hour of Unix time that t is in.
func hourOf(t int64) int64 {
	start := t - t%hourLength
	if t%hourLength < 0 {
		start -= hourLength
	}
	return start
}

// minuteOf is the start of the minute that t is in. Schedules and ideal rates
// are looked up by it, for rows as for events.
func minuteOf(t int64) int64 {
	h := hourOf(t)
	return h + (t-h)/minuteLength*minuteLength
}

func (h *hour) clone() *hour {
	c := *h
	c.changes, c.cells = slices.Clone(h.changes), slices.Clone(h.cells)
	return &c
}

// cell returns the cell of a minute and product, the minute being the latest
// of the hour, and whether it is the product's own.
func (h *hour) cell(minute uint8, product uint32) (*cell, bool) {
	for i := len(h.cells) - 1; i >= 0 && h.cells[i].minute == minute; i-- {
		if h.cells[i].product == product {
			return &h.cells[i], true
		}
	}
	if len(h.cells) >= maxCells && product != otherName {
		c, _ := h.cell(minute, otherName) // 60 more at most
		return c, false
	}
	h.cells = append(h.cells, cell{minute: minute, product: product})
	return &h.cells[len(h.cells)-1], true
}

// otherName is the number of the name other.
const otherName = 1
