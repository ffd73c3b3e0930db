package config_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shardline/shardline/cmd/shardline/config"
	"github.com/shardline/shardline/pipeline/oee"
	"github.com/shardline/shardline/pipeline/oee/decode"
)

// TestViews is everything that a view has, as its calculation and its decoders
// get it.
func TestViews(t *testing.T) {
	c, err := config.Load("testdata/good/views.yaml", none, nil)
	if err != nil {
		t.Fatal(err)
	}
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	workdays := []time.Weekday{time.Monday, time.Tuesday, time.Wednesday, time.Thursday, time.Friday}
	v := c.View("plant-1")
	want := oee.Config{
		Name: "plant-1", Zone: berlin,
		States: map[string]oee.Class{"RUN": oee.Running, "1": oee.Running, "IDLE": oee.Idle, "STOP": oee.Stopped, "FAULT": oee.Stopped,
			"PM": oee.PlannedStop, "CO": oee.Changeover, "?": oee.Unknown, "no data": oee.Unknown},
		Losses: map[oee.Class]oee.Loss{oee.Running: oee.NoLoss, oee.Idle: oee.PerformanceLoss, oee.Stopped: oee.AvailabilityLoss,
			oee.PlannedStop: oee.PlannedLoss, oee.Changeover: oee.PlannedLoss, oee.Unknown: oee.AvailabilityLoss},
		Total:     oee.Counter{Cumulative: true, Modulus: 65536 * oee.Unit},
		MicroStop: 90 * time.Second, Reporting: oee.Periodic, MaxHold: 5 * time.Minute, CountRunning: true, KeepDuplicates: true,
		Lateness: time.Hour, Idle: 3 * time.Minute, Ahead: time.Minute, Retain: 720 * time.Hour,
		Windows: []oee.WindowConfig{{Kind: oee.ShiftWindow}, {Kind: oee.HourWindow}, {Kind: oee.DayWindow}, {Kind: oee.FixedWindow, Length: 15 * time.Minute}},
		Shifts: []oee.Shift{
			{Name: "early", Start: 6 * time.Hour, Length: 8 * time.Hour, Days: workdays, Breaks: []oee.Break{{Start: 10 * time.Hour, Length: 15 * time.Minute}}},
			{Name: "late", Start: 14 * time.Hour, Length: 8 * time.Hour, Days: workdays},
			{Name: "night", Start: 22*time.Hour + 30*time.Minute, Length: 7*time.Hour + 30*time.Minute, Days: workdays[:4]},
		},
		Holidays: []oee.Date{{Year: 2026, Month: 12, Day: 25}, {Year: 2026, Month: 12, Day: 26}},
		Planned:  oee.PlannedMinutes, Minutes: 480,
		IdealRates: []oee.RateConfig{
			{Rate: oee.Rate{Units: 208_330_000, Per: time.Minute}},
			{Machine: "m1", Rate: oee.Rate{Units: 100 * oee.Unit, Per: time.Minute}},
			{Product: "A", Rate: oee.Rate{Units: oee.Unit, Per: 1500 * time.Millisecond}},
		},
		Lines:  []oee.Line{{Name: "line-1", Machines: []string{"m1", "m2"}, Bottleneck: "m1"}, {Name: "plant", Machines: []string{"line-1", "m3"}, Pooled: true}},
		Target: 0.8, Warn: 0.5,
		Alerts: []oee.AlertConfig{
			{Name: "idle", When: oee.WhenIdle, Longer: 5 * time.Minute},
			{Name: "silent", When: oee.WhenNoData, Longer: 10 * time.Minute},
			{Name: "target", When: oee.WhenBelowTarget, Window: oee.WindowConfig{Kind: oee.ShiftWindow}},
		},
		MaxMachines: 500,
	}
	if got := v.OEE(); !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
	if _, err := oee.New(want); err != nil {
		t.Error(err)
	}

	plc := v.Decoder(&v.Inputs[0])
	wantPLC := decode.Config{Format: decode.JSON, Zone: time.UTC, BeforeImage: "before-image", Machines: map[string]string{"17": "press-17"},
		Tables: map[string]decode.Table{}, Fields: decode.Fields{Machine: "/machine", Time: "/epochtime", State: "/state", Total: "/units",
			Good: "/good", Rejected: "/scrap", Product: "/sku", Reason: "/reason", ID: "/id"}}
	if !reflect.DeepEqual(plc, wantPLC) {
		t.Errorf("got\n%+v\nwant\n%+v", plc, wantPLC)
	}
	mes := v.Decoder(&v.Inputs[1])
	if mes.Zone.String() != "Europe/Berlin" || mes.BeforeImage != "old" {
		t.Errorf("%+v", mes)
	}
	wantTables := map[string]decode.Table{
		"mes.schedule":   {Kind: oee.Schedule, Key: []string{"id"}, Columns: decode.Columns{Machine: "machine_id", Product: "sku", Start: "starts_at", End: "ends_at"}},
		"mes.ideal_rate": {Kind: oee.IdealRate, Columns: decode.Columns{Machine: "machine_id", Product: "sku", PerMinute: "rate", Start: "valid_from"}},
		"mes.cycle":      {Kind: oee.IdealRate, Columns: decode.Columns{Product: "sku", CycleSeconds: "seconds"}},
		"mes.made":       {Kind: oee.Production, Columns: decode.Columns{Machine: "machine_id", Time: "at", Total: "made", Good: "good", Rejected: "bad", Product: "sku"}},
		"mes.stop":       {Kind: oee.Downtime, Columns: decode.Columns{Machine: "machine_id", Start: "at", Minutes: "minutes", Reason: "why"}},
	}
	if !reflect.DeepEqual(mes.Tables, wantTables) {
		t.Errorf("got\n%+v\nwant\n%+v", mes.Tables, wantTables)
	}
	for i := range v.Inputs {
		if _, err := decode.New(v.Decoder(&v.Inputs[i])); err != nil {
			t.Errorf("input %d: %v", i, err)
		}
	}

	// Between late and night half an hour is in no shift.
	warnings := c.Warnings()
	if len(warnings) != 1 || warnings[0].Path != "views[0].shifts[2].start" || warnings[0].Line == 0 || !strings.Contains(warnings[0].Message, "30m0s are in no shift") {
		t.Errorf("warnings: %v", warnings)
	}
	if r := v.Reports[0]; r.At.String() != "06:15" || !slices.Equal(r.Format, []string{"html", "csv"}) {
		t.Errorf("%+v", r)
	}
}

// TestLeastView is a view that names nothing but what it must, and its defaults.
func TestLeastView(t *testing.T) {
	c := load(t, `application: plant
sources:
  - {name: plc, stream: "arn:aws:kinesis:eu-west-1:111111111111:stream/plc", initial_position: latest}
views:
  - name: plant-1
    type: oee
    time_zone: UTC
    inputs: [{source: plc, format: json, fields: {machine: /m, time: /t, state: /s, total: /n}}]
    states: {running: [RUN]}
    reporting: on_change
    windows: [day]
`)
	want := oee.Config{
		Name: "plant-1", Zone: time.UTC, States: map[string]oee.Class{"RUN": oee.Running, "no data": oee.Unknown},
		Losses: map[oee.Class]oee.Loss{oee.Running: oee.NoLoss, oee.Idle: oee.AvailabilityLoss, oee.Stopped: oee.AvailabilityLoss,
			oee.PlannedStop: oee.PlannedLoss, oee.Changeover: oee.AvailabilityLoss, oee.Unknown: oee.AvailabilityLoss},
		Reporting: oee.OnChange, Lateness: 10 * time.Minute, Idle: 2 * time.Minute, Ahead: 15 * time.Minute, Retain: 35 * 24 * time.Hour,
		Windows: []oee.WindowConfig{{Kind: oee.DayWindow}}, Target: 0.85, Warn: 0.65, MaxMachines: 20_000,
	}
	if got := c.Views[0].OEE(); !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
	if c.Views[0].Planned.String() != "shifts" || c.Views[0].SaveEvery != 30*time.Second || c.View("other") != nil {
		t.Errorf("%+v", c.Views[0])
	}
}
