package config

import "time"

// View is a view of overall equipment effectiveness: it makes figures per
// machine of the events of its inputs. See [OEE](oee.md).
type View struct {
	// The name in results, metrics and saved state: letters, digits, `-`, `_`,
	// `.`; at most 64; unique among views and destinations, since both subscribe.
	Name string `yaml:"name" required:"true"`
	// What kind of view it is.
	Type string `yaml:"type" required:"true" enum:"oee"`
	// The plant's time zone, by its IANA name, such as `Europe/Berlin`: in it
	// shifts begin, days change, and times are shown.
	TimeZone string `yaml:"time_zone" required:"true"`
	// The sources that the view reads, and how their records are to be
	// understood; at least one.
	Inputs []ViewInput `yaml:"inputs" required:"true"`
	// How the unit counters of machines count.
	Counters Counters `yaml:"counters"`
	// Which raw states mean what. A state that stands in no list is counted, and
	// its time is `unknown`.
	States States `yaml:"states"`
	// What the time in classes of states is, where it is not the usual.
	Losses Losses `yaml:"losses"`
	// Stops (`stopped`, in one go) shorter than this count as performance loss:
	// their time stays run time. Up to 1h; 0: off.
	MicroStop time.Duration `yaml:"micro_stop"`
	// What silence means. `on_change`: machines report changes, and a state
	// holds until the next one. `periodic`: machines report all the time, and
	// one that is silent for longer than `max_hold` is `unknown`. It has no
	// default, since a wrong guess either shows a dead machine as running or a
	// steady one as unknown.
	Reporting string `yaml:"reporting" required:"true" enum:"on_change,periodic"`
	// A state that nothing was heard of for longer than this is `unknown` from
	// then on: inside planned time, no run time. Required with `periodic`. 0: a
	// state holds until the next.
	MaxHold time.Duration `yaml:"max_hold"`
	// Which units count. `always`: all that are reported. `running`: those that
	// are reported while the machine runs.
	CountWhen string `yaml:"count_when" enum:"always,running"`
	// How late, by the machine's own clock, an event may come and still take
	// its place. Longer waits longer with figures that are on time, and holds
	// more in memory. Quality rows, schedules and rates are never too late within
	// `retain`.
	AllowedLateness time.Duration `yaml:"allowed_lateness"`
	// A machine that is silent for this long does not hold its windows open;
	// 1s to 24h.
	IdleTimeout time.Duration `yaml:"idle_timeout"`
	// An event that is this far ahead of its arrival has a wrong clock: it is
	// counted and left out; 1s to 24h.
	MaxAhead time.Duration `yaml:"max_ahead"`
	// Events of a machine that have one time and say the same all count. With
	// false they are one, sent again, unless `fields` have an `id` that differs.
	KeepDuplicates bool `yaml:"keep_duplicates"`
	// The windows that figures are made for: `shift`, `hour`, `day`, and fixed
	// lengths such as `15m`, which divide a day and are counted from local
	// midnight.
	Windows []string `yaml:"windows" required:"true"`
	// The shifts of the plant. They must not overlap. Time between them is
	// unplanned; a short gap is warned of. Without shifts all time is planned.
	Shifts []Shift `yaml:"shifts"`
	// Dates, such as `2026-12-25`: nothing is planned on them, from midnight to
	// midnight.
	Holidays []string `yaml:"holidays"`
	// What planned time is. `shifts`: the shifts without their breaks.
	// `schedule`: the rows of tables of the kind `schedule`. `{minutes: 480}`:
	// that many minutes of every shift, whatever the clock does.
	Planned Planned `yaml:"planned"`
	// How fast machines make units at best.
	IdealRate IdealRate `yaml:"ideal_rate"`
	// The lines of the plant, with figures of their own.
	Lines []Line `yaml:"lines"`
	// What is good, and what is bad.
	Targets Targets `yaml:"targets"`
	// When somebody is told.
	Alerts []Alert `yaml:"alerts"`
	// Where results go.
	Publish []Publish `yaml:"publish"`
	// Reports by the clock.
	Reports []Report `yaml:"reports"`
	// How far back figures may still be revised, and events are taken; at least
	// 48h. Longer keeps more items in the state table.
	Retain time.Duration `yaml:"retain"`
	// How often what is counted is saved; 1s to 10m. Longer writes less, and
	// reads more again after a crash.
	SaveEvery time.Duration `yaml:"save_every"`
	// The most machines; events of further ones are counted and left out, 1 to
	// 100000. It bounds memory and metrics.
	MaxMachines int `yaml:"max_machines"`
}

// ViewInput is a source, and how its records are to be understood.
type ViewInput struct {
	// The source, by its name. A view reads a source as one input.
	Source string `yaml:"source" required:"true"`
	// What a record is. `json`: a JSON object, or several in an array or one
	// after the other. `dms`: a change record of AWS DMS. `sitewise`: a property
	// notification of AWS IoT SiteWise. `sparkplug`: a Sparkplug B message as
	// JSON, with its `topic`.
	Format string `yaml:"format" required:"true" enum:"json,dms,sitewise,sparkplug" selects:"true"`
	// Where things stand, by what they are: `machine`, `time`, `state`, `total`,
	// `good`, `rejected`, `product`, `reason`, and `id`, the producer's own name
	// for the event, by which what it sends twice is found. `json`: JSON pointers such as
	// `/machine`; `machine` and `time` are required. `sitewise`: property ids;
	// `machine` is the asset's id. `sparkplug`: metric names; `machine` is the
	// device, or the edge node without one.
	Fields map[string]string `yaml:"fields"`
	// The tables of `dms`, by `schema.table`. Changes of others are left out.
	Tables map[string]ViewTable `yaml:"tables"`
	// What the machines are called, by what the input calls them. A machine that
	// does not stand here keeps its name.
	Machines map[string]string `yaml:"machines"`
	// The time zone of times that name none, by its IANA name. Empty: the
	// view's. Times that a clock change makes doubtful are refused.
	TimeZone string `yaml:"time_zone"`
	// What `dms` calls the row before the change. It is not needed.
	BeforeImage string `yaml:"before_image"`
}

// ViewTable is a table of a database, as DMS reports its changes.
type ViewTable struct {
	// What a row is. `schedule`: time that is planned (`machine`, `start`; also
	// `end`, `product`). `ideal_rate`: how fast units are made at best (one of
	// `per_minute` and `cycle_s`; also `machine`, `product`, `start`).
	// `quality`: units that were judged (`machine`, `time`, and `good` or
	// `rejected`; also `product`). `production`: units that were made
	// (`machine`, `time`, `total`; also `good`, `rejected`, `product`).
	// `downtime`: a stop (`machine`, and two of `start`, `end`, `minutes`; also
	// `reason`).
	Kind string `yaml:"kind" required:"true" enum:"schedule,ideal_rate,quality,production,downtime"`
	// The columns, by what they hold.
	Fields map[string]string `yaml:"fields" required:"true"`
	// The columns that tell rows apart. Empty: those of `machine`, `time` or
	// `start`, and `product`; then a change of one of them is a new row unless
	// DMS sends the row before the change.
	Key []string `yaml:"key"`
}

// Counters say how the unit counters of machines count.
type Counters struct {
	// Of `total`.
	Total Counter `yaml:"total"`
	// Of `good`.
	Good Counter `yaml:"good"`
	// Of `rejected`.
	Rejected Counter `yaml:"rejected"`
}

// Counter is how a counter counts.
type Counter struct {
	// `delta`: each value is the units since the last one. `cumulative`: it only
	// rises; a drop is a reset to 0, unless there is a modulus.
	Kind string `yaml:"kind" enum:"delta,cumulative"`
	// Where a `cumulative` counter begins again at 0, such as 65536. 0: nowhere.
	Modulus Decimal `yaml:"modulus"`
}

// States are the raw states of each class, as texts: a number stands as it is
// written, `"1"`, and a truth value as `"true"`.
type States struct {
	// The machine makes units.
	Running []string `yaml:"running"`
	// It could, and does not: no material, no order, no operator.
	Idle []string `yaml:"idle"`
	// It cannot.
	Stopped []string `yaml:"stopped"`
	// It is not meant to: such time is taken out of planned time.
	PlannedStop []string `yaml:"planned_stop"`
	// It is being set up.
	Changeover []string `yaml:"changeover"`
	// Nobody knows, and the machine says so.
	Unknown []string `yaml:"unknown"`
}

// Losses say what the time in a class of states is. `run`: run time.
// `performance`: run time in which too little is made. `availability`: planned,
// but no run time. `planned`: taken out of planned time.
type Losses struct {
	// `run` or `performance`.
	Running string `yaml:"running" enum:"run,performance,availability,planned"`
	// Waiting for material may be a loss of performance.
	Idle string `yaml:"idle" enum:"run,performance,availability,planned"`
	// Stops shorter than `micro_stop` are a loss of performance whatever stands
	// here.
	Stopped string `yaml:"stopped" enum:"run,performance,availability,planned"`
	// Maintenance that shall be seen in the figures is a loss of availability.
	PlannedStop string `yaml:"planned_stop" enum:"run,performance,availability,planned"`
	// Setting up by plan may be no loss at all.
	Changeover string `yaml:"changeover" enum:"run,performance,availability,planned"`
	// Also of states that stand in no list, and of silence.
	Unknown string `yaml:"unknown" enum:"run,performance,availability,planned"`
}

// Shift is a shift of the plant.
type Shift struct {
	// The name in results.
	Name string `yaml:"name" required:"true"`
	// When it begins, by the clock on the wall: `06:00`. Where a clock change
	// skips that time it begins with the change; where it comes twice, at the
	// first.
	Start ClockTime `yaml:"start" required:"true"`
	// How long it is by the clock on the wall, up to 24h: one over a clock
	// change is an hour longer or shorter. One of `length` and `end`.
	Length time.Duration `yaml:"length"`
	// When it ends, by the clock on the wall; on the next day when that is not
	// after `start`.
	End ClockTime `yaml:"end"`
	// The weekdays on which it begins: `mon`, `tue`, `wed`, `thu`, `fri`, `sat`,
	// `sun`. Empty: all.
	Days []string `yaml:"days"`
	// Time of the shift that is not planned.
	Breaks []Break `yaml:"breaks"`
}

// Break is time of a shift that is not planned.
type Break struct {
	// When it begins, by the clock on the wall.
	Start ClockTime `yaml:"start" required:"true"`
	// How long it is.
	Length time.Duration `yaml:"length" required:"true"`
}

// IdealRate is how fast machines make units at best. The one that names machine
// and product counts before one that names the machine, that before one that
// names the product, and that before the general one; rows of a table before
// all of them.
type IdealRate struct {
	// Units per minute of every machine and product that has no other; above 0.
	// 0: there is none, and performance is null.
	PerMinute Decimal `yaml:"per_minute"`
	// Seconds per unit, in place of `per_minute`.
	CycleSeconds Decimal `yaml:"cycle_s"`
	// Those of machines and products.
	Of []IdealRateOf `yaml:"of"`
}

// IdealRateOf is the ideal rate of a machine, a product, or both.
type IdealRateOf struct {
	// The machine. Empty: every one.
	Machine string `yaml:"machine"`
	// The product. Empty: every one.
	Product string `yaml:"product"`
	// Units per minute; above 0.
	PerMinute Decimal `yaml:"per_minute"`
	// Seconds per unit, in place of `per_minute`.
	CycleSeconds Decimal `yaml:"cycle_s"`
}

// Line is machines that work one after the other.
type Line struct {
	// The name in results; unique, and no machine's.
	Name string `yaml:"name" required:"true"`
	// Its machines, and lines within it, in the order of the work.
	Machines []string `yaml:"machines" required:"true"`
	// What the figure of the line is. `bottleneck`: that of the machine with the
	// longest ideal time. `pooled`: of the sums of all.
	OEE string `yaml:"oee" enum:"bottleneck,pooled"`
	// The machine that is the bottleneck. Empty: it is found.
	Bottleneck string `yaml:"bottleneck"`
}

// Targets are what is good, and what is bad.
type Targets struct {
	// From this on a figure is good; at most 1. 0: there is no target.
	OEE float64 `yaml:"oee"`
	// Below this it is bad; at most `oee`. 0: nothing is.
	Warn float64 `yaml:"warn"`
}

// Alert is when somebody is told.
type Alert struct {
	// The name in messages; unique within the view.
	Name string `yaml:"name" required:"true"`
	// `idle`, `stopped`: a machine is, in planned time, for longer than
	// `longer_than`. `no_data`: nothing was heard of it for that long.
	// `below_target`: the figure of a window is below `targets.oee` at its end.
	When string `yaml:"when" required:"true" enum:"idle,stopped,no_data,below_target"`
	// How long; at least 1s. Not with `below_target`.
	LongerThan time.Duration `yaml:"longer_than"`
	// The window of `below_target`, one of `windows`.
	Window string `yaml:"window"`
	// The destinations that get it.
	To []string `yaml:"to" required:"true"`
}

// Publish is where results go.
type Publish struct {
	// The destination.
	To string `yaml:"to" required:"true"`
	// How often windows that are still open are published, at least 1s. 0: only
	// those that are through.
	EarlyEvery time.Duration `yaml:"early_every"`
}

// Report is a report by the clock.
type Report struct {
	// When, by the clock on the wall: `06:15`, every day.
	At ClockTime `yaml:"at" required:"true"`
	// Of which window, one of `windows`: the last that is through.
	Window string `yaml:"window" required:"true"`
	// `text`, `csv`, `json`, `html`.
	Format []string `yaml:"format" required:"true"`
	// The destinations that get it.
	To []string `yaml:"to" required:"true"`
}

// View is the view of that name; nil when there is none.
func (c *Config) View(name string) *View {
	for i := range c.Views {
		if c.Views[i].Name == name {
			return &c.Views[i]
		}
	}
	return nil
}
