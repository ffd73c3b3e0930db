package deliver

import (
	"fmt"
	"time"

	"github.com/shardline/shardline/pipeline"
)

// State is what operators see of a destination.
type State struct {
	Name string
	// Held: its answers hold it, and it is only probed.
	Held      bool
	Circuit   Circuit
	Since     time.Time     // of Held, or of the circuit's opening
	Reason    string        // of these
	Commanded bool          // a command holds it: nothing starts
	HeldKeys  int           // that are held by their own
	Keys      []HeldKey     // those for longest, 20 at most
	InFlight  int           // attempts
	Waiting   int           // keys that wait for a retry
	Oldest    time.Duration // age, since it arrived in the stream, of the oldest record that is not settled; 0: there is none
}

// Circuit is the state of a destination's breaker on this worker.
type Circuit string

// The states of a circuit.
const (
	CircuitClosed   Circuit = "closed"    // attempts start as they come
	CircuitOpen     Circuit = "open"      // none starts
	CircuitHalfOpen Circuit = "half_open" // a probe is in flight
)

// State says how the destination is.
func (d *Destination) State() State {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := &d.stop
	s := State{Name: d.name, Held: h.cause == heldByAnswer, Circuit: CircuitClosed, Commanded: d.orders.all,
		InFlight: d.inFlight, Waiting: len(d.waiting)}
	s.HeldKeys, s.Keys = d.heldKeys()
	switch {
	case h.cause == openCircuit && h.prober != nil:
		s.Circuit = CircuitHalfOpen
	case h.cause == openCircuit:
		s.Circuit = CircuitOpen
	}
	if h.cause != notStopped {
		s.Since, s.Reason = h.since, h.reason.String()
		if h.status != 0 {
			s.Reason = fmt.Sprintf("%s (HTTP %d): %s", s.Reason, h.status, reasons[h.reason].todo)
		} else {
			s.Reason = fmt.Sprintf("%s: %s", s.Reason, reasons[h.reason].todo)
		}
	}
	var oldest time.Time
	for _, a := range d.attached {
		if at, ok := a.oldest(); ok && (oldest.IsZero() || at.Before(oldest)) {
			oldest = at
		}
	}
	if !oldest.IsZero() {
		s.Oldest = max(time.Since(oldest), 0) // by two clocks
	}
	return s
}

var _ pipeline.Ager = (*Destination)(nil)

// Oldest implements pipeline.Ager.
func (d *Destination) Oldest(c *pipeline.Cursor) (time.Time, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	a := d.attached[c]
	if a == nil {
		return time.Time{}, false
	}
	return a.oldest()
}

// oldest is when the oldest record of its lanes arrived. The destination's mutex
// is held.
func (a *attachment) oldest() (at time.Time, ok bool) {
	for _, l := range a.lanes {
		if !ok || l.entry.Arrival.Before(at) {
			at, ok = l.entry.Arrival, true
		}
	}
	return at, ok
}
