package oee

import (
	"time"
)

// State is how settled a result is.
type State uint8

const (
	Early  State = iota + 1 // the window is not over: figures up to Result.Through
	OnTime                  // the machine's time has passed its end
	Late                    // a later event or row has changed it
	Final                   // no event can change it any more; a row still can: then it is Late again
)

func (s State) String() string {
	switch s {
	case Early:
		return "early"
	case OnTime:
		return "on_time"
	case Late:
		return "late"
	case Final:
		return "final"
	default:
		return ""
	}
}

// Window is a span of time that figures are made for: Start is in it, End is
// not. Both are in the view's zone.
type Window struct {
	Kind       string // "shift", "hour", "day", or the length of a fixed one: "15m"
	Name       string // of a shift; else empty
	Start, End time.Time
	Date       string // the business date, as 2026-11-22
}

// Sums are what ratios are made of. They are exact, and additive: the sums of
// a day are those of its hours.
//
// Planned = Run + Idle + Stopped + Changeover + Unknown, and Length = that +
// Unplanned, to the nanosecond. With planned minutes, Planned is what the
// configuration says instead.
type Sums struct {
	Length    time.Duration // of the window, as far as it is known: to Result.Through
	Planned   time.Duration
	Run       time.Duration // Slow included
	Idle      time.Duration
	Stopped   time.Duration
	Unknown   time.Duration
	Unplanned time.Duration // PlannedStop included

	Changeover  time.Duration
	PlannedStop time.Duration // by plan, in what would have been planned time
	Slow        time.Duration // run time that is performance loss: micro-stops, and classes that are said to be
	MicroStops  int64         // that began in the window

	Total, Good, Rejected Units
	IdealTotal, IdealGood time.Duration // of the units with an ideal rate
	Unrated               Units         // units without one
}

// Stop is the time of one reason in a window.
type Stop struct {
	Reason string // the raw state where no reason was said
	Class  Class
	Time   time.Duration
	Number int64 // of stops whose planned time begins in the window; another raw state is another stop
}

// Output is what was made of one product.
type Output struct {
	Product               string // empty: not said
	Total, Good, Rejected Units
	IdealTotal, IdealGood time.Duration
}

// Flag points at something to look at.
type Flag string

const (
	FlagPerformance Flag = "performance_above_1" // the ideal rate is too low
	FlagGood        Flag = "good_above_total"
	FlagRejected    Flag = "rejected_above_total" // what is left as good is negative
	FlagNoRate      Flag = "no_ideal_rate"        // units of a product without one: no performance
	FlagOverfull    Flag = "overfull"             // an hour had more changes of state than are kept: the rest is unknown
	FlagBottleneck  Flag = "bottleneck"           // of a line: the figures are those of Result.Bottleneck
	FlagPooled      Flag = "pooled"               // of a line: the figures are of all its machines together
	FlagMissing     Flag = "machines_missing"     // of a line: not every machine has a result
)

// Result is the figures of a machine, or of a line, in a window. A later one of
// the same view, machine or line, and window replaces it whole; its Revision is
// higher, and is so only if a figure has changed.
type Result struct {
	View       string
	Machine    string // empty for a line
	Line       string // empty for a machine
	Bottleneck string // of a line whose figures are those of one machine: which
	Window     Window
	Through    time.Time // figures are up to here: the window's End unless it is Early
	Sums       Sums
	Stops      []Stop   // longest first
	Outputs    []Output // by product
	Flags      []Flag
	Revision   int64
	State      State
}

// Availability is run time in planned time; false: nothing was planned.
func (r *Result) Availability() (float64, bool) {
	return ratio(int64(r.Sums.Run), int64(r.Sums.Planned))
}

// Performance is the ideal time of all units in run time; false: it did not
// run, or units have no ideal rate.
func (r *Result) Performance() (float64, bool) {
	if r.Sums.Unrated != 0 {
		return 0, false
	}
	return ratio(int64(r.Sums.IdealTotal), int64(r.Sums.Run))
}

// Quality is the ideal time of good units in that of all, so that availability
// × performance × quality is OEE whatever the products. Where ideal rates are
// missing it is QualityUnits. False: no units.
func (r *Result) Quality() (float64, bool) {
	if r.Sums.Unrated != 0 || r.Sums.IdealTotal == 0 {
		return r.QualityUnits()
	}
	return ratio(int64(r.Sums.IdealGood), int64(r.Sums.IdealTotal))
}

// QualityUnits is good units in all units; false: no units.
func (r *Result) QualityUnits() (float64, bool) {
	return ratio(int64(r.Sums.Good), int64(r.Sums.Total))
}

// OEE is the ideal time of good units in planned time: 0 where nothing was
// made. False: nothing was planned, or units have no ideal rate.
func (r *Result) OEE() (float64, bool) {
	if r.Sums.Unrated != 0 {
		return 0, false
	}
	return ratio(int64(r.Sums.IdealGood), int64(r.Sums.Planned))
}

func ratio(a, b int64) (float64, bool) {
	if b <= 0 {
		return 0, false
	}
	return float64(a) / float64(b), true
}
