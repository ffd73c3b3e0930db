package oee

import (
	"errors"
	"time"
)

// View makes the figures of the machines of one Config. It belongs to one
// goroutine.
type View struct {
	config Config
}

// New makes a view. What Check finds is an error.
func New(c Config) (*View, error) {
	if c.Zone == nil {
		return nil, errors.New("a view needs a time zone")
	}
	return &View{config: c}, nil
}

// Apply takes an event. What is wrong with it is counted (Side).
func (v *View) Apply(e Event) {}

// Put takes a row, and says whether it changed anything.
func (v *View) Put(r Row) bool { return false }

// Advance says what time it is: machines that have been silent for Config.Idle
// no longer hold their windows open, and alerts are due. It is called only
// when everything that the streams have was applied: at their tips.
func (v *View) Advance(now time.Time) {}

// Finish says that nothing more will come, for input that has an end: every
// window that ends by the end of the shift, or else of the shortest window,
// that the last event of all lies in, is final.
func (v *View) Finish() {}

// Results returns the windows that are over, and new or changed since the last
// call: of machines, then of lines.
func (v *View) Results() []Result { return nil }

// Early returns the windows that are not over, and new or changed since the
// last call.
func (v *View) Early() []Result { return nil }

// Alerts returns what is due since the last call.
func (v *View) Alerts() []Alert { return nil }

// Machines names all machines, sorted.
func (v *View) Machines() []string { return nil }

// Windows returns a machine's results between two instants, of one kind
// (Window.Kind; empty: all), as they are now; nothing is counted as given.
func (v *View) Windows(machine, kind string, from, to time.Time) []Result { return nil }

// LineWindows is Windows for a line.
func (v *View) LineWindows(line, kind string, from, to time.Time) []Result { return nil }

// Timeline returns a machine's states between two instants, as far as they are
// known.
func (v *View) Timeline(machine string, from, to time.Time) []Interval { return nil }

// Now is what a machine does: the last interval of its time line, as far as it
// is known, and when the machine was last heard of. False: no such machine.
func (v *View) Now(machine string) (state Interval, heard time.Time, ok bool) {
	return Interval{}, time.Time{}, false
}

// Side returns a side output.
func (v *View) Side(kind SideKind) SideOutput { return SideOutput{} }

// Oldest is the smallest index of the events of a shard that are not in what
// was last saved of their machines; false: none.
func (v *View) Oldest(shard string) (index uint64, waiting bool) { return 0, false }
