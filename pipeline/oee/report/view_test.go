package report_test

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/shardline/shardline/pipeline/oee"
	"github.com/shardline/shardline/pipeline/oee/report"
)

// The day on which clocks go back, from a view itself: the night shift of the
// 24th has nine hours, and the page says which clock it shows.
func TestViewOverClockChange(t *testing.T) {
	c := oee.Config{Name: "plant-1", Zone: berlin, Reporting: oee.OnChange, Lateness: time.Minute,
		States:     map[string]oee.Class{"RUN": oee.Running, "STOP": oee.Stopped},
		Total:      oee.Counter{},
		IdealRates: []oee.RateConfig{{Rate: oee.PerMinute(100 * oee.Unit)}},
		Windows:    []oee.WindowConfig{{Kind: oee.ShiftWindow}, {Kind: oee.HourWindow}},
		Shifts: []oee.Shift{{Name: "early", Start: 6 * time.Hour, Length: 8 * time.Hour}, {Name: "late", Start: 14 * time.Hour, Length: 8 * time.Hour},
			{Name: "night", Start: 22 * time.Hour, Length: 8 * time.Hour}}}
	v, err := oee.New(c)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Date(2026, 10, 24, 6, 0, 0, 0, berlin)
	say := func(after time.Duration, state string, total int64) {
		e := oee.Event{Machine: "m1", Time: start.Add(after), State: state}
		if total > 0 {
			e.Total = oee.Read(oee.Units(total) * oee.Unit)
		}
		v.Apply(e)
	}
	say(0, "RUN", 0)
	say(8*time.Hour, "RUN", 40_000)                  // 400 of 480 minutes at the ideal rate
	say(20*time.Hour, "STOP", 0)                     // 02:00 CEST
	say(20*time.Hour+90*time.Minute, "RUN", 24_000)  // 02:30 CET, an hour and a half later
	say(25*time.Hour+30*time.Minute, "STOP", 30_000) // 06:30 CET
	say(25*time.Hour+40*time.Minute, "RUN", 0)       // beyond the date
	v.Finish()
	r, err := report.New(v, report.Config{View: &c, Date: oee.Date{Year: 2026, Month: time.October, Day: 24}})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Windows) != 3 || r.End.Sub(r.Start) != 25*time.Hour {
		t.Fatalf("windows are %v", r.Windows)
	}
	night := r.Machines[0].Results[2]
	// 540 minutes less the stop of 90.
	if s := night.Sums; s.Planned != 9*time.Hour || s.Run != 450*time.Minute || s.Stopped != 90*time.Minute {
		t.Errorf("the night's sums are %+v", s)
	}
	var whole time.Duration
	for _, i := range r.Machines[0].Timeline {
		whole += i.End.Sub(i.Start)
	}
	if whole != 25*time.Hour {
		t.Errorf("the time line has %v", whole)
	}
	if n := len(r.Machines[0].Other); n != 25 {
		t.Errorf("%d hours of the date, want 25", n)
	}
	page := written(t, func(w *bytes.Buffer) error { return r.HTML(w) })
	for _, want := range []string{"Europe/Berlin, UTC&#43;02:00 until the clocks change to UTC&#43;01:00", "22:00 CEST–06:00 CET", ">run 450.0 of 540.0\u00a0min planned", "02:00:00 CEST", "02:30:00 CET"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	// A shift of the 25th is none of the 24th's.
	if strings.Contains(page, "06:30:00") {
		t.Error("the page shows what is beyond the date")
	}
}

var _ report.Live = (*oee.View)(nil)

// one is a process with one view.
type one struct {
	config *oee.Config
	*oee.View
}

func (o one) Names() []string { return []string{o.config.Name} }

func (o one) Look(_ context.Context, _ string, look func(c *oee.Config, f report.Live) error) error {
	return look(o.config, o.View)
}

// A machine's figures so far are those of its shift, up to its last word, also
// while that still waits for older ones.
func TestViewNow(t *testing.T) {
	c := oee.Config{Name: "plant-1", Zone: berlin, Reporting: oee.OnChange, Lateness: 10 * time.Minute, States: map[string]oee.Class{"RUN": oee.Running},
		Windows: []oee.WindowConfig{{Kind: oee.ShiftWindow}}, Shifts: []oee.Shift{{Name: "early", Start: 6 * time.Hour, Length: 8 * time.Hour}}}
	v, err := oee.New(c)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Date(2026, 11, 22, 6, 0, 0, 0, berlin)
	v.Apply(oee.Event{Machine: "m1", Time: start, State: "RUN"})
	v.Apply(oee.Event{Machine: "m1", Time: start.Add(time.Hour), State: "RUN"})
	var got struct {
		Machines []struct {
			Heard   time.Time
			State   struct{ Class string }
			Current *struct {
				Window struct{ Name string }
				Run    float64 `json:"run_s"`
				State  string
			}
		}
	}
	if err := json.Unmarshal(get(t, report.NewAPI(one{&c, v}), "/api/v1/oee/plant-1/machines").Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Machines) != 1 || got.Machines[0].Current == nil {
		t.Fatalf("machines are %+v", got.Machines)
	}
	m := got.Machines[0]
	if m.State.Class != "running" || !m.Heard.Equal(start.Add(time.Hour)) || m.Current.Window.Name != "early" || m.Current.Run != 3600 || m.Current.State != "early" {
		t.Errorf("the machine is %+v, its shift %+v", m, m.Current)
	}
}

// A view without shifts is shown by its day.
func TestViewWithoutShifts(t *testing.T) {
	c := oee.Config{Name: "plant-1", Zone: berlin, Reporting: oee.OnChange, States: map[string]oee.Class{"RUN": oee.Running},
		Windows: []oee.WindowConfig{{Kind: oee.HourWindow}, {Kind: oee.DayWindow}}}
	v, err := oee.New(c)
	if err != nil {
		t.Fatal(err)
	}
	v.Apply(oee.Event{Machine: "m1", Time: time.Date(2026, 11, 22, 0, 0, 0, 0, berlin), State: "RUN"})
	v.Apply(oee.Event{Machine: "m1", Time: time.Date(2026, 11, 23, 1, 0, 0, 0, berlin), State: "RUN"})
	v.Finish()
	r, err := report.New(v, report.Config{View: &c, Date: sunday})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Windows) != 1 || r.Windows[0].Kind != "day" || r.End.Sub(r.Start) != 24*time.Hour || len(r.Machines[0].Other) != 24 {
		t.Errorf("windows are %v, and %d others", r.Windows, len(r.Machines[0].Other))
	}
	text := written(t, func(w *bytes.Buffer) error { return r.Text(w) })
	if !strings.Contains(text, "00:00–00:00 next day") {
		t.Errorf("the text is\n%s", text)
	}
}
