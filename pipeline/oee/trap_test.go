package oee_test

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/shardline/shardline/pipeline/oee"
)

// The traps that other systems fell into, one test each.

// The state before the window counts inside it: RUN since 05:00, one STOP of
// an hour in the shift from 06:00 to 14:00.
func TestStateBeforeTheWindow(t *testing.T) {
	v := newView(t, plain())
	f := feed{view: v}
	f.apply(state("05:00", "RUN"), state("09:00", "STOP"), state("10:00", "RUN"), state("15:00", "STOP"))
	r := only(t, v.Results(), "shift")
	check(t, "run", r.Sums.Run, 7*time.Hour)
	check(t, "stopped", r.Sums.Stopped, time.Hour)
	check(t, "unknown", r.Sums.Unknown, 0)
}

// A machine that falls silent is unknown after max_hold, not what it was for
// ever. RUN until the last word at 08:00, held for half an hour.
func TestSilentMachineIsUnknown(t *testing.T) {
	c := plain()
	c.Reporting, c.MaxHold = oee.Periodic, 30*time.Minute
	v := newView(t, c)
	f := feed{view: v}
	for m := range 5 {
		f.apply(oee.Event{Time: at("06:00").Add(time.Duration(m) * 30 * time.Minute), State: "RUN"})
	}
	f.apply(state("13:00", "RUN"))
	v.Finish()
	r := only(t, v.Results(), "shift")
	check(t, "run", r.Sums.Run, 3*time.Hour) // 06:00 to 08:30 and 13:00 to 13:30
	check(t, "unknown", r.Sums.Unknown, 5*time.Hour)
	check(t, "planned", r.Sums.Planned, 8*time.Hour)
	line := v.Timeline("m1", at("06:00"), at("14:00"))
	check(t, "intervals", len(line), 4)
	check(t, "silent", line[1].Silent, true)
	check(t, "class", line[1].Class, oee.Unknown)
	check(t, "from", line[1].Start.Equal(at("08:30")), true)
}

// Yesterday's count is not summed into today: a cumulative counter's baseline
// is its last value before the window.
func TestBaselineBeforeTheWindow(t *testing.T) {
	c := plain()
	c.Total = oee.Counter{Cumulative: true}
	v := newView(t, c)
	f := feed{view: v}
	f.apply(oee.Event{Time: at("05:30"), State: "RUN", Total: units(10_000)}, oee.Event{Time: at("07:00"), Total: units(10_050)}, oee.Event{Time: at("13:00"), Total: units(10_120)})
	v.Finish()
	check(t, "total", only(t, v.Results(), "shift").Sums.Total, 120*oee.Unit)
}

// A night shift belongs to the date that it starts on, as a whole, and to that
// date's day.
func TestNightShift(t *testing.T) {
	c := plain()
	c.Zone = zone(t, "Europe/Berlin")
	c.Windows = []oee.WindowConfig{{Kind: oee.ShiftWindow}, {Kind: oee.DayWindow}, {Kind: oee.HourWindow}}
	c.Shifts = []oee.Shift{{Name: "night", Start: 22 * time.Hour, Length: 8 * time.Hour}}
	v := newView(t, c)
	f := feed{view: v}
	local := func(day, hour int) time.Time { return time.Date(2026, 11, day, hour, 0, 0, 0, c.Zone) }
	f.apply(oee.Event{Time: local(24, 22), State: "RUN"}, oee.Event{Time: local(25, 3), Total: units(60)}, oee.Event{Time: local(25, 6), State: "STOP"}, oee.Event{Time: local(26, 7), State: "STOP"})
	results := v.Results()
	for _, r := range results {
		switch {
		case r.Window.Kind == "shift" && r.Window.Date == "2026-11-24":
			check(t, "run", r.Sums.Run, 8*time.Hour)
			check(t, "total", r.Sums.Total, 60*oee.Unit)
			check(t, "start", r.Window.Start.Format(time.RFC3339), "2026-11-24T22:00:00+01:00")
		case r.Window.Kind == "day" && r.Window.Date == "2026-11-24":
			check(t, "run", r.Sums.Run, 8*time.Hour)
			check(t, "total", r.Sums.Total, 60*oee.Unit)
			check(t, "end", r.Window.End.Format(time.RFC3339), "2026-11-25T06:00:00+01:00")
		case r.Window.Kind == "hour" && r.Window.Start.Equal(local(25, 3)):
			check(t, "date of an hour", r.Window.Date, "2026-11-25")
			check(t, "total", r.Sums.Total, 60*oee.Unit)
		}
	}
	check(t, "results", len(results) > 30, true)
}

// Stops that overlap count once: availability is never negative.
func TestOverlappingStops(t *testing.T) {
	v := newView(t, plain())
	f := feed{view: v}
	f.apply(state("06:00", "RUN"), state("08:00", "STOP"), state("12:00", "RUN"), state("15:00", "STOP"))
	down := func(n, from, to, reason string) {
		v.Put(oee.Row{Kind: oee.Downtime, Table: "mes.down", Key: n, Machine: "m1", Position: oee.Position{Sequence: n}, Start: at(from), End: at(to), Reason: reason})
	}
	down("1", "07:00", "13:00", "power")
	down("2", "08:00", "14:00", "jam")
	down("3", "06:30", "13:30", "tool")
	r := only(t, v.Results(), "shift")
	check(t, "run", r.Sums.Run, 30*time.Minute)
	check(t, "stopped", r.Sums.Stopped, 7*time.Hour+30*time.Minute)
	check(t, "stops", fmt.Sprint(r.Stops), fmt.Sprint([]oee.Stop{{"tool", oee.Stopped, 7 * time.Hour, 1}, {"jam", oee.Stopped, 30 * time.Minute, 1}}))
}

// Rounding on the way gives two OEEs: sums are exact, hours add up to the
// shift to the nanosecond and the millionth, and A × P × Q is OEE.
func TestNoRoundingOnTheWay(t *testing.T) {
	c := plain()
	c.Windows = []oee.WindowConfig{{Kind: oee.ShiftWindow}, {Kind: oee.HourWindow}}
	c.IdealRates = []oee.RateConfig{{Rate: oee.PerMinute(208_330_000)}, {Product: "B", Rate: oee.Cycle(7 * time.Second)}}
	v := newView(t, c)
	f := feed{view: v}
	f.apply(state("06:00", "RUN"))
	third, _ := oee.ParseUnits("0.333333")
	for i := range 470 {
		e := oee.Event{Time: at("06:00").Add(time.Duration(i)*time.Minute + time.Duration(i*i)), Total: oee.Read(third * 3), Good: oee.Read(third * 2), Product: "A"}
		if i%3 == 0 {
			e.Product = "B"
		}
		if i%7 == 0 {
			e.State = []string{"RUN", "STOP", "IDLE"}[i/7%3]
		}
		f.apply(e)
	}
	v.Finish()
	var hours oee.Sums
	results := v.Results()
	for _, r := range results {
		if r.Window.Kind == "hour" {
			hours.Add(&r.Sums)
		}
	}
	r := only(t, results, "shift")
	check(t, "hours", hours, r.Sums)
	a, _ := r.Availability()
	p, _ := r.Performance()
	q, _ := r.Quality()
	all, _ := r.OEE()
	if math.Abs(a*p*q-all) > 1e-12 {
		t.Errorf("%v × %v × %v is not %v", a, p, q, all)
	}
}

// UTC and local hours are not mixed: a shift from 06:00 in Kolkata begins at
// 00:30 UTC, and its hours at half past.
func TestLocalHours(t *testing.T) {
	c := plain()
	c.Zone = zone(t, "Asia/Kolkata")
	c.Windows = []oee.WindowConfig{{Kind: oee.ShiftWindow}, {Kind: oee.HourWindow}}
	v := newView(t, c)
	f := feed{view: v}
	f.apply(state("00:30", "RUN"), made("01:29:59.999999999", 1, 1), made("01:30", 2, 2), state("08:30", "STOP"))
	results := v.Results()
	check(t, "run", only(t, results, "shift").Sums.Run, 8*time.Hour)
	check(t, "first hour", results[0].Sums.Total, oee.Unit)
	check(t, "second hour", results[1].Sums.Total, 2*oee.Unit)
	check(t, "start", results[0].Window.Start.Format(time.RFC3339), "2026-11-24T06:00:00+05:30")
}

// The step across a reset of a counter is not lost, and a rollover is told
// from it by the modulus. An event out of order is differenced anew.
func TestCounterReset(t *testing.T) {
	for _, x := range []struct {
		name    string
		modulus oee.Units
		values  []int64 // minutes apart, from 06:00 on
		order   []int
		want    oee.Units
	}{
		{"reset", 0, []int64{100, 150, 20, 30}, []int{0, 1, 2, 3}, 80 * oee.Unit},            // 50, then 20 from 0, 10
		{"rollover", 1000 * oee.Unit, []int64{900, 990, 20}, []int{0, 1, 2}, 120 * oee.Unit}, // 90, 30
		{"out of order", 0, []int64{100, 110, 120, 130}, []int{0, 2, 1, 3}, 30 * oee.Unit},
		{"reset out of order", 0, []int64{100, 150, 20, 30}, []int{0, 3, 1, 2}, 80 * oee.Unit},
	} {
		t.Run(x.name, func(t *testing.T) {
			c := plain()
			c.Total = oee.Counter{Cumulative: true, Modulus: x.modulus}
			v := newView(t, c)
			f := feed{view: v}
			f.apply(state("06:00", "RUN"))
			for _, i := range x.order {
				f.apply(oee.Event{Time: at("06:01").Add(time.Duration(i) * time.Minute), Total: units(x.values[i])})
			}
			v.Finish()
			check(t, "total", only(t, v.Results(), "shift").Sums.Total, x.want)
		})
	}
}

// Windows close although a shard is idle: the machine's own time, then the
// idle time-out, moves them on.
func TestIdleShardHoldsNoWindow(t *testing.T) {
	c := plain()
	c.Idle = 2 * time.Minute
	v := newView(t, c)
	f := feed{view: v}
	f.apply(oee.Event{Machine: "m1", Time: at("06:00"), State: "RUN"}, oee.Event{Machine: "m2", Time: at("06:00"), State: "RUN"})
	f.apply(oee.Event{Machine: "m1", Time: at("14:00"), State: "STOP"})
	check(t, "m1 alone", len(v.Results()), 1)
	v.Advance(at("13:59"))
	check(t, "before", len(v.Results()), 0)
	v.Advance(at("14:02"))
	results := v.Results()
	check(t, "after", len(results), 1)
	check(t, "machine", results[0].Machine, "m2")
	check(t, "state", results[0].State, oee.OnTime)
	check(t, "run", results[0].Sums.Run, 8*time.Hour)
	v.Advance(at("14:13"))
	results = v.Results()
	check(t, "final", len(results), 2)
	check(t, "state", results[1].State, oee.Final)
	check(t, "revision", results[1].Revision, 1) // no figure has changed
}

// Performance above 1 is kept and pointed at: 960 units in 480 minutes at one
// a minute.
func TestPerformanceIsNotCapped(t *testing.T) {
	v := newView(t, plain())
	f := feed{view: v}
	f.apply(state("06:00", "RUN"), made("13:00", 960, 960))
	v.Finish()
	r := only(t, v.Results(), "shift")
	check(t, "P", show(r.Performance()), "2.0000")
	check(t, "OEE", show(r.OEE()), "2.0000")
	check(t, "flags", fmt.Sprint(r.Flags), "[performance_above_1]")
}

// Nothing produced is no 100 %: OEE 0, quality undefined; nothing planned is
// no 0.
func TestNothingProduced(t *testing.T) {
	c := plain()
	c.Holidays = []oee.Date{{Year: 2026, Month: 11, Day: 25}}
	v := newView(t, c)
	f := feed{view: v}
	f.apply(state("06:00", "STOP"), oee.Event{Time: at("15:00").Add(24 * time.Hour), State: "STOP"})
	results := v.Results()
	check(t, "results", len(results), 2)
	worked, holiday := results[0], results[1]
	check(t, "A", show(worked.Availability()), "0.0000")
	check(t, "P", show(worked.Performance()), "null")
	check(t, "Q", show(worked.Quality()), "null")
	check(t, "OEE", show(worked.OEE()), "0.0000")
	check(t, "holiday A", show(holiday.Availability()), "null")
	check(t, "holiday OEE", show(holiday.OEE()), "null")
	var keys map[string]any
	text, _ := json.Marshal(holiday)
	if err := json.Unmarshal(text, &keys); err != nil {
		t.Fatal(err)
	}
	for _, key := range strings.Fields("view machine window planned_s run_s idle_s stopped_s unknown_s total good rejected ideal_total_s ideal_good_s availability performance quality quality_units oee revision state") {
		if _, there := keys[key]; !there {
			t.Errorf("%s is missing in %s", key, text)
		}
	}
	if keys["oee"] != nil || keys["quality_units"] != nil {
		t.Errorf("not null in %s", text)
	}
}

// A shift over a clock change has 7 or 9 h; planned minutes have not.
func TestClockChange(t *testing.T) {
	for _, x := range []struct {
		date  time.Time
		hours time.Duration
	}{
		{time.Date(2026, 3, 28, 0, 0, 0, 0, time.UTC), 7},
		{time.Date(2026, 10, 24, 0, 0, 0, 0, time.UTC), 9},
		{time.Date(2026, 6, 6, 0, 0, 0, 0, time.UTC), 8},
	} {
		for _, minutes := range []int{0, 480} {
			c := plain()
			c.Zone = zone(t, "Europe/Berlin")
			c.Windows = []oee.WindowConfig{{Kind: oee.ShiftWindow}, {Kind: oee.HourWindow}}
			c.Shifts = []oee.Shift{{Name: "night", Start: 22 * time.Hour, Length: 8 * time.Hour}}
			if minutes > 0 {
				c.Planned, c.Minutes = oee.PlannedMinutes, minutes
			}
			v := newView(t, c)
			f := feed{view: v}
			start := time.Date(x.date.Year(), x.date.Month(), x.date.Day(), 22, 0, 0, 0, c.Zone)
			end := time.Date(x.date.Year(), x.date.Month(), x.date.Day()+1, 6, 0, 0, 0, c.Zone)
			f.apply(oee.Event{Time: start, State: "RUN"}, oee.Event{Time: end, State: "STOP"})
			results := v.Results()
			r := only(t, results, "shift")
			check(t, "run", r.Sums.Run, x.hours*time.Hour)
			planned := x.hours * time.Hour
			if minutes > 0 {
				planned = 8 * time.Hour
			}
			check(t, "planned", r.Sums.Planned, planned)
			var hours oee.Sums
			n := 0
			for _, r := range results {
				if r.Window.Kind == "hour" {
					hours.Add(&r.Sums)
					n++
				}
			}
			check(t, "hours", n, int(x.hours))
			check(t, "hours' planned", hours.Planned, planned)
		}
	}
}

// Several products: the time-weighted quality makes A × P × Q the OEE, the
// units' own is shown too. 100 of A at one a minute, 90 good; 100 of B at two a
// minute, all good: ideal times 100 + 50 and 90 + 50 minutes.
func TestSeveralProducts(t *testing.T) {
	c := plain()
	c.IdealRates = append(c.IdealRates, oee.RateConfig{Product: "B", Rate: oee.PerMinute(2 * oee.Unit)})
	v := newView(t, c)
	f := feed{view: v}
	a, b := made("08:00", 100, 90), made("09:00", 100, 100)
	a.Product, b.Product = "A", "B"
	f.apply(state("06:00", "RUN"), a, b, state("10:00", "STOP"))
	v.Finish()
	r := only(t, v.Results(), "shift")
	check(t, "Q", show(r.Quality()), show(140.0/150, true))
	check(t, "Q of units", show(r.QualityUnits()), "0.9500")
	check(t, "P", show(r.Performance()), "0.6250")        // 150 of 240 minutes
	check(t, "OEE", show(r.OEE()), show(140.0/480, true)) // 0.5 × 0.625 × 0.9333
	check(t, "outputs", len(r.Outputs), 2)
}

// Planned stops are no planned time, changeovers are, unless they are classed
// as planned; breaks are none; a micro-stop is run time that makes nothing.
func TestWhereTimeGoes(t *testing.T) {
	events := []oee.Event{
		state("06:00", "RUN"),
		state("07:00", "PM"), state("07:30", "RUN"), // 30 min planned stop
		state("08:00", "CO"), state("08:20", "RUN"), // 20 min changeover
		state("09:00", "STOP"), state("09:00:59", "RUN"), // 59 s: a micro-stop
		state("10:05", "STOP"), state("10:20", "RUN"), // break until 10:15: 5 min
		state("13:00", "IDLE"), // to the end
	}
	c := plain()
	c.MicroStop = time.Minute
	c.Shifts[0].Breaks = []oee.Break{{Start: 10 * time.Hour, Length: 15 * time.Minute}}
	v := newView(t, c)
	f := feed{view: v}
	f.apply(events...)
	v.Finish()
	s := only(t, v.Results(), "shift").Sums
	check(t, "planned", s.Planned, 480*time.Minute-15*time.Minute-30*time.Minute)
	check(t, "unplanned", s.Unplanned, 45*time.Minute)
	check(t, "planned stop", s.PlannedStop, 30*time.Minute)
	check(t, "changeover", s.Changeover, 20*time.Minute)
	check(t, "stopped", s.Stopped, 5*time.Minute)
	check(t, "idle", s.Idle, time.Hour)
	check(t, "slow", s.Slow, 59*time.Second)
	check(t, "micro-stops", s.MicroStops, 1)
	check(t, "run", s.Run, 350*time.Minute)

	c.Losses = map[oee.Class]oee.Loss{oee.Changeover: oee.PlannedLoss}
	v = newView(t, c)
	f = feed{view: v}
	f.apply(events...)
	v.Finish()
	s = only(t, v.Results(), "shift").Sums
	check(t, "planned", s.Planned, 415*time.Minute)
	check(t, "planned stop", s.PlannedStop, 50*time.Minute)
	check(t, "changeover", s.Changeover, 0)
}

// A stop that goes on is none that was short, however short it is so far.
func TestStopThatGoesOn(t *testing.T) {
	c := plain()
	c.MicroStop = 5 * time.Minute
	v := newView(t, c)
	f := feed{view: v}
	f.apply(state("06:00", "RUN"), state("07:00", "STOP"), state("07:04", "STOP"))
	s := only(t, v.Early(), "shift").Sums
	check(t, "stopped", s.Stopped, 4*time.Minute)
	f.apply(state("07:04:30", "RUN"), state("07:05", "RUN"))
	s = only(t, v.Early(), "shift").Sums
	check(t, "stopped", s.Stopped, 0)
	check(t, "slow", s.Slow, 4*time.Minute+30*time.Second)
}

// Units that are reported while a machine does not run count only if it says
// so.
func TestCountWhenRunning(t *testing.T) {
	for running, want := range map[bool]oee.Units{false: 30 * oee.Unit, true: 20 * oee.Unit} {
		c := plain()
		c.CountRunning = running
		v := newView(t, c)
		f := feed{view: v}
		f.apply(state("06:00", "RUN"), made("07:00", 20, 20), state("08:00", "STOP"), made("08:01", 10, 10))
		v.Finish()
		check(t, "total", only(t, v.Results(), "shift").Sums.Total, want)
	}
}

// Quality rows are upserts: the old value is taken back, the new one applied;
// a delete takes back. Each revises the closed window; a row read again does
// nothing.
func TestQualityRows(t *testing.T) {
	v := newView(t, plain())
	f := feed{view: v}
	f.apply(state("06:00", "RUN"), oee.Event{Time: at("07:00"), Total: units(100)}, state("15:00", "STOP"))
	r := only(t, v.Results(), "shift")
	check(t, "state", r.State, oee.Final)
	check(t, "Q", show(r.Quality()), "1.0000") // nothing says that any is bad
	put := func(n, key string, fine, bad int64, gone bool) bool {
		return v.Put(oee.Row{Kind: oee.Quality, Table: "qa.inspection", Key: key, Machine: "m1", Position: oee.Position{Sequence: n},
			Time: at("13:50"), Good: units(fine), Rejected: units(bad), Delete: gone})
	}
	for i, x := range []struct {
		n, key    string
		fine, bad int64
		gone      bool
		q         string
	}{
		{"1", "a", 60, 5, false, "0.6000"},
		{"2", "b", 30, 5, false, "0.9000"},
		{"3", "a", 65, 0, false, "0.9500"},
		{"4", "b", 0, 0, true, "0.6500"},
	} {
		check(t, "taken", put(x.n, x.key, x.fine, x.bad, x.gone), true)
		check(t, "taken again", put(x.n, x.key, x.fine, x.bad, x.gone), false)
		r := only(t, v.Results(), "shift")
		check(t, x.n, show(r.Quality()), x.q)
		check(t, "revision", r.Revision, int64(i+2))
		check(t, "state", r.State, oee.Late)
	}
	check(t, "an old form", put("2", "b", 30, 5, false), false)
	check(t, "results", len(v.Results()), 0)
}

// Late schedules and ideal rates revise what is over.
func TestLateRows(t *testing.T) {
	c := plain()
	c.Planned, c.IdealRates = oee.PlannedSchedule, nil
	v := newView(t, c)
	f := feed{view: v}
	f.apply(state("06:00", "RUN"), made("07:00", 100, 100), state("15:00", "STOP"))
	r := only(t, v.Results(), "shift")
	check(t, "A", show(r.Availability()), "null")
	check(t, "flags", fmt.Sprint(r.Flags), "[no_ideal_rate]")
	v.Put(oee.Row{Kind: oee.Schedule, Table: "s", Key: "1", Position: oee.Position{Sequence: "1"}, Machine: "m1", Product: "A", Start: at("06:00"), End: at("11:00")})
	r = only(t, v.Results(), "shift")
	check(t, "planned", r.Sums.Planned, 5*time.Hour)
	check(t, "product", r.Outputs[0].Product, "A")
	check(t, "P", show(r.Performance()), "null")
	v.Put(oee.Row{Kind: oee.IdealRate, Table: "r", Key: "1", Position: oee.Position{Sequence: "1"}, Product: "A", Rate: oee.Cycle(time.Minute)})
	r = only(t, v.Results(), "shift")
	check(t, "P", show(r.Performance()), show(100.0/300, true))
	check(t, "revision", r.Revision, 3)
}

// What cannot be in the figures is counted with samples, and changes nothing.
func TestSideOutputs(t *testing.T) {
	c := plain()
	c.Lines = []oee.Line{{Name: "line-1", Machines: []string{"m1"}}}
	c.MaxMachines = 2
	c.Total = oee.Counter{Cumulative: true}
	v := newView(t, c)
	f := feed{view: v}
	f.apply(
		oee.Event{Time: at("06:00"), State: "RUN", Total: units(5)},
		state("07:00", "STOP"),
		state("06:30", "STOP"), // older than 10 minutes
		state("07:01", "WHAT"),
		oee.Event{Time: at("07:02"), Arrival: at("06:02"), State: "RUN"}, // an hour ahead
		oee.Event{Time: at("07:02"), Arrival: at("07:02").AddDate(0, 2, 0), State: "RUN"},
		oee.Event{Time: time.Unix(0, 0), State: "RUN"},
		oee.Event{Time: at("07:03"), Total: units(3)},
		oee.Event{Time: at("07:04"), Total: units(3_000_000_000)},
		oee.Event{Machine: "m2", Time: at("06:00"), State: "RUN"}, // on no line
		oee.Event{Machine: "m3", Time: at("06:00"), State: "RUN"}, // one too many
	)
	elsewhere := state("07:05", "RUN")
	elsewhere.Machine, elsewhere.Position = "m1", oee.Position{Shard: "plc/1", Sequence: "99"}
	v.Apply(elsewhere)
	f.apply(state("07:06", "RUN"))
	v.Finish()
	v.Results()
	for kind, want := range map[oee.SideKind]int64{
		oee.SideLate: 1, oee.SideState: 1, oee.SideClock: 3, oee.SideCounter: 1, oee.SideAbsurd: 1, oee.SideMachine: 2, oee.SideShards: 1, oee.SideOverfull: 0, oee.SideForced: 0,
	} {
		side := v.Side(kind)
		check(t, kind.String(), side.Count, want)
		check(t, kind.String()+" samples", int64(len(side.Samples)), want)
		for _, s := range side.Samples {
			if s.Note == "" || s.Event.Machine == "" {
				t.Errorf("%s: %+v", kind, s)
			}
		}
	}
	check(t, "total", v.Windows("m1", "shift", at("06:00"), at("14:00"))[0].Sums.Total, 3*oee.Unit)
}

// A state that flickers is bounded: what is beyond is unknown, says so, and the
// next hour is as ever. So are the events that wait.
func TestBounds(t *testing.T) {
	c := plain()
	c.MaxWaiting = 500
	v := newView(t, c)
	f := feed{view: v}
	for i := range 3000 { // from 06:00 on, 20 a minute: 10 minutes wait
		f.apply(oee.Event{Time: at("06:00").Add(time.Duration(i) * time.Second), State: []string{"RUN", "STOP"}[i%2]})
	}
	if n := v.Side(oee.SideForced).Count; n == 0 {
		t.Error("none of 3000 was taken before its time, although 500 may wait")
	}
	f.apply(state("07:30", "RUN"))
	v.Finish()
	r := only(t, v.Results(), "shift")
	check(t, "overfull", v.Side(oee.SideOverfull).Count, 1200)
	check(t, "flags", fmt.Sprint(r.Flags), "[overfull]")
	check(t, "unknown", r.Sums.Unknown, 30*time.Minute)
	check(t, "length", r.Sums.Length, 8*time.Hour)
	check(t, "stopped", r.Sums.Stopped, 15*time.Minute+30*time.Minute)
}

func TestParseUnits(t *testing.T) {
	for text, want := range map[string]string{
		"0": "0", "12": "12", "12.5": "12.5", "0.000001": "0.000001", "1.2e3": "1200", "1E-3": "0.001", "-0": "0", "0e9": "0",
		"12.3000000000000007": "12.3", "0.0000005": "0.000001", "0.00000049": "0", "1000000000000": "1000000000000", "00012": "12",
		"123456789012.123456": "123456789012.123456",
		"":                    "!", "-1": "!", "NaN": "!", "Infinity": "!", "1e999": "!", "1000000000001": "!", "12a": "!", "1.2.3": "!", ".": "!", "1e": "!", "0x10": "!", "1e400": "!", "99999999999999999999999": "!",
	} {
		got, err := oee.ParseUnits(text)
		shown := got.String()
		if err != nil {
			shown = "!"
		}
		check(t, text, shown, want)
	}
}

// Of two events of one time the second is a retry if it has the same ID, or,
// without one, says the same; unless all are to count.
func TestDuplicates(t *testing.T) {
	event := func(id string, n int64) oee.Event {
		e := made("07:00", n, n)
		e.ID = id
		return e
	}
	for _, x := range []struct {
		name   string
		events []oee.Event
		keep   bool
		want   oee.Units
	}{
		{"the same", []oee.Event{event("", 1), event("", 1)}, false, oee.Unit},
		{"the same, kept", []oee.Event{event("", 1), event("", 1)}, true, 2 * oee.Unit},
		{"another number", []oee.Event{event("", 1), event("", 2)}, false, 3 * oee.Unit},
		{"one ID", []oee.Event{event("a", 1), event("a", 2)}, true, oee.Unit},
		{"two IDs", []oee.Event{event("a", 1), event("b", 1)}, false, 2 * oee.Unit},
	} {
		t.Run(x.name, func(t *testing.T) {
			c := plain()
			c.KeepDuplicates = x.keep
			v := newView(t, c)
			f := feed{view: v}
			f.apply(state("06:00", "RUN"))
			f.apply(x.events...)
			v.Finish()
			check(t, "total", only(t, v.Results(), "shift").Sums.Total, x.want)
		})
	}
}

// A machine that only tables know: units from one, stops from another. It runs
// when no table says otherwise. 420 planned, 47 stopped.
func TestTablesAlone(t *testing.T) {
	c := plain()
	c.Shifts[0].Length = 420 * time.Minute
	c.IdealRates = []oee.RateConfig{{Rate: oee.Cycle(time.Second)}}
	v := newView(t, c)
	v.Put(oee.Row{Kind: oee.Downtime, Table: "mes.down", Key: "1", Machine: "m1", Position: oee.Position{Sequence: "1"}, Start: at("08:00"), End: at("08:47"), Reason: "jam"})
	v.Put(oee.Row{Kind: oee.Production, Table: "mes.made", Key: "1", Machine: "m1", Position: oee.Position{Sequence: "2"}, Time: at("12:59"), Total: units(19271), Good: units(18848)})
	early := v.Early()
	check(t, "early", only(t, early, "shift").State, oee.Early)
	v.Finish()
	r := only(t, v.Results(), "shift")
	check(t, "A", show(r.Availability()), "0.8881")
	check(t, "P", show(r.Performance()), "0.8611")
	check(t, "Q", show(r.Quality()), "0.9780")
	check(t, "OEE", show(r.OEE()), "0.7479")

	// An event, even an older one, makes it a machine that speaks.
	f := feed{view: v}
	f.apply(state("07:00", "IDLE"))
	check(t, "late", v.Side(oee.SideLate).Count, 0)
}

// A row that moves to another machine leaves the first as if it had never been
// there; a delete that names the key alone finds it.
func TestRowsMove(t *testing.T) {
	v := newView(t, plain())
	f := feed{view: v}
	for _, machine := range []string{"m1", "m2"} {
		e := oee.Event{Machine: machine, Time: at("06:00"), State: "RUN"}
		f.apply(e)
		e.Time = at("14:30")
		f.apply(e)
	}
	row := func(n, machine string, gone bool) {
		v.Put(oee.Row{Kind: oee.Production, Table: "t", Key: "k", Machine: machine, Position: oee.Position{Sequence: n}, Time: at("07:00"), Total: units(7), Delete: gone})
	}
	totals := func() string {
		v.Results()
		return fmt.Sprint(v.Windows("m1", "shift", at("06:00"), at("07:00"))[0].Sums.Total, v.Windows("m2", "shift", at("06:00"), at("07:00"))[0].Sums.Total)
	}
	row("1", "m1", false)
	check(t, "at first", totals(), "7 0")
	row("2", "m2", false)
	check(t, "moved", totals(), "0 7")
	row("3", "", true)
	check(t, "gone", totals(), "0 0")
	row("2", "m2", false)
	check(t, "read again", totals(), "0 0")
}
