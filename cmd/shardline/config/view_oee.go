package config

import (
	"fmt"
	"time"

	"github.com/shardline/shardline/pipeline/oee"
	"github.com/shardline/shardline/pipeline/oee/decode"
)

var weekdays = map[string]time.Weekday{
	"mon": time.Monday, "tue": time.Tuesday, "wed": time.Wednesday, "thu": time.Thursday,
	"fri": time.Friday, "sat": time.Saturday, "sun": time.Sunday,
}

// OEE is the view as its calculation wants it. What is wrong in the file stays
// wrong, and at its place, so that oee.Config.Check names it.
func (v *View) OEE() oee.Config {
	c := oee.Config{
		Name: v.Name, Zone: location(v.TimeZone),
		States: make(map[string]oee.Class),
		Losses: map[oee.Class]oee.Loss{
			oee.Running: losses[v.Losses.Running], oee.Idle: losses[v.Losses.Idle], oee.Stopped: losses[v.Losses.Stopped],
			oee.PlannedStop: losses[v.Losses.PlannedStop], oee.Changeover: losses[v.Losses.Changeover], oee.Unknown: losses[v.Losses.Unknown],
		},
		Total: counter(v.Counters.Total), Good: counter(v.Counters.Good), Rejected: counter(v.Counters.Rejected),
		MicroStop: v.MicroStop, MaxHold: v.MaxHold, CountRunning: v.CountWhen == CountRunning, KeepDuplicates: v.KeepDuplicates,
		Lateness: v.AllowedLateness, Idle: v.IdleTimeout, Ahead: v.MaxAhead, Retain: v.Retain,
		Target: v.Targets.OEE, Warn: v.Targets.Warn, MaxMachines: v.MaxMachines,
	}
	switch v.Reporting {
	case ReportingOnChange:
		c.Reporting = oee.OnChange
	case ReportingPeriodic:
		c.Reporting = oee.Periodic
	}
	for _, class := range v.States.classes() {
		for _, state := range class.states {
			c.States[state] = class.class
		}
	}
	if _, own := c.States[decode.NoData]; !own && len(c.States) > 0 {
		c.States[decode.NoData] = oee.Unknown
	}
	for _, window := range v.Windows {
		w, _ := parseWindow(window)
		c.Windows = append(c.Windows, w)
	}
	for i := range v.Shifts {
		c.Shifts = append(c.Shifts, v.Shifts[i].oee())
	}
	for _, day := range v.Holidays {
		date := oee.Date{} // no date
		if t, err := time.Parse(time.DateOnly, day); err == nil {
			date = oee.Date{Year: t.Year(), Month: t.Month(), Day: t.Day()}
		}
		c.Holidays = append(c.Holidays, date)
	}
	switch v.Planned.Kind {
	case PlannedSchedule:
		c.Planned = oee.PlannedSchedule
	case PlannedMinutes:
		c.Planned, c.Minutes = oee.PlannedMinutes, v.Planned.Minutes
	}
	if r := rate(v.IdealRate.PerMinute, v.IdealRate.CycleSeconds); r.Valid() {
		c.IdealRates = append(c.IdealRates, oee.RateConfig{Rate: r})
	}
	for _, of := range v.IdealRate.Of {
		c.IdealRates = append(c.IdealRates, oee.RateConfig{Machine: of.Machine, Product: of.Product, Rate: rate(of.PerMinute, of.CycleSeconds)})
	}
	for _, line := range v.Lines {
		c.Lines = append(c.Lines, oee.Line{Name: line.Name, Machines: line.Machines, Pooled: line.OEE == LinePooled, Bottleneck: line.Bottleneck})
	}
	for _, a := range v.Alerts {
		w, _ := parseWindow(a.Window)
		c.Alerts = append(c.Alerts, oee.AlertConfig{Name: a.Name, When: alertKinds[a.When], Longer: a.LongerThan, Window: w})
	}
	return c
}

// Decoder is how the records of one of the view's inputs are decoded.
func (v *View) Decoder(in *ViewInput) decode.Config {
	f := in.Fields
	c := decode.Config{
		Format: decode.Format(in.Format), Machines: in.Machines, Zone: location(v.TimeZone), BeforeImage: in.BeforeImage,
		Fields: decode.Fields{
			Machine: f["machine"], Time: f["time"], State: f["state"], Total: f["total"], Good: f["good"], Rejected: f["rejected"],
			Product: f["product"], Reason: f["reason"], ID: f["id"],
		},
		Tables: make(map[string]decode.Table),
	}
	if in.TimeZone != "" {
		c.Zone = location(in.TimeZone)
	}
	for name, table := range in.Tables {
		f := table.Fields
		c.Tables[name] = decode.Table{Kind: rowKinds[table.Kind], Key: table.Key, Columns: decode.Columns{
			Machine: f["machine"], Product: f["product"], Reason: f["reason"], Time: f["time"], Start: f["start"], End: f["end"],
			Total: f["total"], Good: f["good"], Rejected: f["rejected"], PerMinute: f["per_minute"], CycleSeconds: f["cycle_s"], Minutes: f["minutes"],
		}}
	}
	return c
}

var (
	losses = map[string]oee.Loss{
		LossRun: oee.NoLoss, LossAvailability: oee.AvailabilityLoss, LossPerformance: oee.PerformanceLoss, LossPlanned: oee.PlannedLoss,
	}
	alertKinds = map[string]oee.AlertKind{
		AlertIdle: oee.WhenIdle, AlertStopped: oee.WhenStopped, AlertNoData: oee.WhenNoData, AlertBelowTarget: oee.WhenBelowTarget,
	}
	rowKinds = map[string]oee.RowKind{
		"schedule": oee.Schedule, "ideal_rate": oee.IdealRate, "quality": oee.Quality, "production": oee.Production, "downtime": oee.Downtime,
	}
)

// location is a time zone; nil when there is none of that name.
func location(name string) *time.Location {
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil
	}
	return zone
}

func counter(c Counter) oee.Counter {
	return oee.Counter{Cumulative: c.Kind == CounterCumulative, Modulus: c.Modulus.units()}
}

// rate is one of the two; the zero Rate is none.
func rate(perMinute, cycle Decimal) oee.Rate {
	switch {
	case perMinute.IsSet():
		return oee.PerMinute(perMinute.units())
	case cycle.IsSet():
		d, _ := time.ParseDuration(string(cycle) + "s")
		return oee.Cycle(d)
	}
	return oee.Rate{}
}

// units is the number of an input that was checked.
func (v Decimal) units() oee.Units {
	if v == "" {
		return 0
	}
	u, _ := oee.ParseUnits(v)
	return u
}

// parseWindow reads what a window is called.
func parseWindow(text string) (oee.WindowConfig, error) {
	switch text {
	case WindowShift:
		return oee.WindowConfig{Kind: oee.ShiftWindow}, nil
	case WindowHour:
		return oee.WindowConfig{Kind: oee.HourWindow}, nil
	case WindowDay:
		return oee.WindowConfig{Kind: oee.DayWindow}, nil
	}
	length, err := time.ParseDuration(text)
	if err != nil {
		return oee.WindowConfig{}, fmt.Errorf("window %q: %w", text, err)
	}
	return oee.WindowConfig{Kind: oee.FixedWindow, Length: length}, nil
}

func (s *Shift) oee() oee.Shift {
	shift := oee.Shift{Name: s.Name, Start: s.Start.AfterMidnight(), Length: s.Length}
	if s.End.IsSet() {
		shift.Length = s.End.AfterMidnight() - shift.Start
		if shift.Length <= 0 {
			shift.Length += 24 * time.Hour
		}
	}
	for _, day := range s.Days {
		d, ok := weekdays[day]
		if !ok {
			d = -1 // no day
		}
		shift.Days = append(shift.Days, d)
	}
	for _, b := range s.Breaks {
		shift.Breaks = append(shift.Breaks, oee.Break{Start: b.Start.AfterMidnight(), Length: b.Length})
	}
	return shift
}

// stateClass is a class with its raw states.
type stateClass struct {
	name   string
	class  oee.Class
	states []string
}

func (s *States) classes() []stateClass {
	return []stateClass{
		{"running", oee.Running, s.Running}, {"idle", oee.Idle, s.Idle}, {"stopped", oee.Stopped, s.Stopped},
		{"planned_stop", oee.PlannedStop, s.PlannedStop}, {"changeover", oee.Changeover, s.Changeover}, {"unknown", oee.Unknown, s.Unknown},
	}
}
