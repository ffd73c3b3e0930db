package oee

import "time"

// Class is what a machine's state means.
type Class uint8

const (
	Unknown     Class = iota // not said, not mapped, or too old to be believed
	Running                  // makes units
	Idle                     // could make units, but has none to make
	Stopped                  // does not work
	PlannedStop              // stopped by plan: not planned time
	Changeover               // set up for another product
)

// Classes are all classes, as a report shows them.
var Classes = []Class{Running, Idle, Stopped, Changeover, PlannedStop, Unknown}

func (c Class) String() string {
	switch c {
	case Running:
		return "running"
	case Idle:
		return "idle"
	case Stopped:
		return "stopped"
	case PlannedStop:
		return "planned_stop"
	case Changeover:
		return "changeover"
	default:
		return "unknown"
	}
}

// MarshalText writes the class's name.
func (c Class) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// Loss is where the time of a class is lost.
type Loss uint8

const (
	DefaultLoss      Loss = iota // what the class has by itself
	NoLoss                       // run time
	PerformanceLoss              // run time in which too little is made
	AvailabilityLoss             // planned, but not run time
	PlannedLoss                  // not planned time
)

// Reporting is what a machine's silence means.
type Reporting uint8

const (
	OnChange Reporting = iota + 1 // nothing has changed
	Periodic                      // something is wrong: Config.MaxHold
)

// Planned is where planned time comes from.
type Planned uint8

const (
	PlannedShifts   Planned = iota // the shifts, less breaks and holidays; without shifts: always
	PlannedSchedule                // the schedule's rows, less breaks and holidays
	PlannedMinutes                 // Config.PlannedMinutes of each shift, whatever its length
)

// Counter says how machines count.
type Counter struct {
	// Cumulative: a reading is what was made ever. A drop is a reset, from which
	// it counts from 0; with a Modulus it is a rollover at that value.
	// Otherwise a reading is what was made since the one before.
	Cumulative bool
	Modulus    Units
}

// Config is a view. Its durations are exact and its zero values mean the
// defaults that stand at the fields. Check says what is wrong with it.
type Config struct {
	Name string
	Zone *time.Location // of shifts, hours and days; required

	States map[string]Class // by raw state; one that it lacks is Unknown, and counted (Side)
	Losses map[Class]Loss   // where time of a class is lost, if not at its usual place

	Total, Good, Rejected Counter

	MicroStop      time.Duration // stops shorter than this are performance loss; 0: off
	Reporting      Reporting     // required
	MaxHold        time.Duration // a state is unknown this long after the machine's last word; required for Periodic; 0: it holds until the next
	CountRunning   bool          // units that are reported while a machine does not run do not count (count_when: running)
	KeepDuplicates bool          // events of one time that say the same all count, unless they have one ID or position

	Lateness time.Duration // how long after the latest event of its machine an older one is taken
	Idle     time.Duration // a machine that is silent for this long does not hold its windows open; 0: it does
	Ahead    time.Duration // an event that is this much ahead of its arrival has a wrong clock; 0: 15 minutes
	Retain   time.Duration // how far back rows revise, and events are taken; 0: 35 days

	Windows  []WindowConfig
	Shifts   []Shift
	Holidays []Date
	Planned  Planned
	Minutes  int // with PlannedMinutes: of each shift

	IdealRates []RateConfig // the one that names most wins; rows win over them
	Lines      []Line
	Target     float64 // of OEE; 0: none
	Warn       float64 // below it is bad, between it and Target fair; 0: none
	Alerts     []AlertConfig

	// Bounds of memory; 0: the defaults.
	MaxMachines int // 20,000; events of further ones are counted (Side) and dropped
	MaxWaiting  int // events that wait; 4,000,000: beyond it, or beyond 100,000 of one machine, its oldest no longer do
}

// WindowKind is a kind of window.
type WindowKind uint8

const (
	ShiftWindow WindowKind = iota + 1
	HourWindow             // of the local clock
	DayWindow              // a business date: from local midnight, or the end of a shift of the date before that is still on then, to the next such instant
	FixedWindow            // of WindowConfig.Length from local midnight
)

// WindowConfig asks for windows of a kind.
type WindowConfig struct {
	Kind   WindowKind
	Length time.Duration // of FixedWindow: whole minutes, and a part of 24 h
}

// Date is a day of the calendar.
type Date struct {
	Year  int
	Month time.Month
	Day   int
}

// Clock is a time of day of the local clock, since its midnight.
type Clock = time.Duration

// Shift recurs on its days. Start and Length are of the local clock: a shift of
// 8 h over a clock change has 7 or 9. It may pass midnight; its business date
// is the date it starts on.
type Shift struct {
	Name   string
	Start  Clock
	Length time.Duration
	Days   []time.Weekday // judged at the start; none: every day
	Breaks []Break
}

// Break is unplanned time in a shift; one that starts before the shift's start
// is on the next day.
type Break struct {
	Start  Clock
	Length time.Duration
}

// RateConfig is an ideal rate for a machine and product; empty: any.
type RateConfig struct {
	Machine, Product string
	Rate             Rate
}

// Line is a line of machines, whose figure is that of its bottleneck or of
// all of them together (Pooled).
type Line struct {
	Name     string
	Machines []string
	Pooled   bool
	// Bottleneck names the machine. Empty: the one with the slowest ideal rate in
	// the window, of equals the one with the lowest OEE.
	Bottleneck string
}

// AlertKind is what an alert watches.
type AlertKind uint8

const (
	WhenIdle AlertKind = iota + 1
	WhenStopped
	WhenNoData
	WhenBelowTarget
)

func (k AlertKind) String() string {
	switch k {
	case WhenIdle:
		return "idle"
	case WhenStopped:
		return "stopped"
	case WhenNoData:
		return "no_data"
	case WhenBelowTarget:
		return "below_target"
	default:
		return "unknown"
	}
}

// AlertConfig is an alert on every machine.
type AlertConfig struct {
	Name   string
	When   AlertKind
	Longer time.Duration // of planned time
	Window WindowConfig  // of WhenBelowTarget
}
