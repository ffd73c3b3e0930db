package oee_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/shardline/shardline/pipeline/oee"
)

// The worked examples that others published, to four digits.
func TestWorkedExamples(t *testing.T) {
	for _, x := range []struct {
		planned     int
		run         time.Duration
		cycle       time.Duration
		total, good int64
		a, p, q     string // as published; empty: not
		oee         string
	}{
		{420, 373 * time.Minute, time.Second, 19271, 18848, "0.8881", "0.8611", "0.9780", "0.7479"},
		{480, 420 * time.Minute, 60 * time.Second, 400, 380, "0.8750", "0.9524", "0.9500", "0.7917"},
		{455, 423 * time.Minute, 10 * time.Second, 2240, 2190, "", "", "", "0.8022"},
		{455, 437 * time.Minute, 45 * time.Second, 450, 425, "", "", "", "0.7005"},
		{480, 180 * time.Minute, 30 * time.Second, 240, 236, "0.3750", "0.6667", "0.9833", "0.2458"},
		{480, 459*time.Minute + 1000020*time.Microsecond, 21 * time.Second, 1298, 1285, "0.9563", "0.9897", "0.9900", "0.9370"},
	} {
		t.Run(fmt.Sprint(x.planned, x.run), func(t *testing.T) {
			c := plain()
			c.Shifts[0].Length = time.Duration(x.planned) * time.Minute
			c.IdealRates = []oee.RateConfig{{Rate: oee.Cycle(x.cycle)}}
			v := newView(t, c)
			f := feed{view: v}
			f.apply(state("06:00", "RUN"), made("06:30", x.total, x.good), oee.Event{Time: at("06:00").Add(x.run), State: "STOP"})
			v.Finish()
			r := only(t, v.Results(), "shift")
			check(t, "planned", r.Sums.Planned, time.Duration(x.planned)*time.Minute)
			check(t, "run", r.Sums.Run, x.run)
			if x.a != "" {
				check(t, "A", show(r.Availability()), x.a)
				check(t, "P", show(r.Performance()), x.p)
				check(t, "Q", show(r.Quality()), x.q)
			}
			check(t, "OEE", show(r.OEE()), x.oee)
			check(t, "state", r.State, oee.Final)
		})
	}
}

// The article's plant: three shifts of 480 planned minutes, 203 units a minute.
func TestArticlesPlant(t *testing.T) {
	c := plain()
	c.Windows = []oee.WindowConfig{{Kind: oee.ShiftWindow}, {Kind: oee.DayWindow}}
	c.Shifts = []oee.Shift{
		{Name: "1", Start: 0, Length: 8 * time.Hour},
		{Name: "2", Start: 8 * time.Hour, Length: 8 * time.Hour},
		{Name: "3", Start: 16 * time.Hour, Length: 8 * time.Hour},
	}
	c.IdealRates = []oee.RateConfig{{Rate: oee.PerMinute(203 * oee.Unit)}}
	v := newView(t, c)
	f := feed{view: v}
	for shift := range 3 {
		start := day.Add(time.Duration(shift) * 8 * time.Hour)
		f.apply(
			oee.Event{Time: start, State: "RUN"},
			oee.Event{Time: start.Add(100 * time.Minute), State: "IDLE"},
			oee.Event{Time: start.Add(120 * time.Minute), State: "RUN", Total: units(84_000), Good: units(79_000)},
			oee.Event{Time: start.Add(450 * time.Minute), State: "STOP"},
		)
	}
	v.Finish()
	results := v.Results()
	check(t, "results", len(results), 4)
	for _, r := range results {
		check(t, "A", show(r.Availability()), "0.8958") // 430 / 480
		check(t, "P", show(r.Performance()), "0.9623")  // 84000 / 430 / 203
		check(t, "Q", show(r.Quality()), "0.9405")      // 79000 / 84000
		check(t, "OEE", show(r.OEE()), "0.8108")        // 79000 / 203 / 480
	}
	whole := only(t, results, "day")
	check(t, "planned", whole.Sums.Planned, 1440*time.Minute)
	check(t, "date", whole.Window.Date, "2026-11-24")
	text, err := json.Marshal(whole)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s", text)
}
