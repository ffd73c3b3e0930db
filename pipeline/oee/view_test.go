package oee_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/shardline/shardline/pipeline/oee"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// plain is a view of one shift, 06:00 to 14:00 in UTC, one unit a minute.
func plain() oee.Config {
	return oee.Config{
		Name:       "plant-1",
		Zone:       time.UTC,
		Reporting:  oee.OnChange,
		States:     map[string]oee.Class{"RUN": oee.Running, "IDLE": oee.Idle, "STOP": oee.Stopped, "FAULT": oee.Stopped, "PM": oee.PlannedStop, "CO": oee.Changeover},
		Lateness:   10 * time.Minute,
		Windows:    []oee.WindowConfig{{Kind: oee.ShiftWindow}},
		Shifts:     []oee.Shift{{Name: "early", Start: 6 * time.Hour, Length: 8 * time.Hour}},
		IdealRates: []oee.RateConfig{{Rate: oee.PerMinute(oee.Unit)}},
	}
}

// fataler is a test, of the testing package or of rapid.
type fataler interface {
	Helper()
	Fatal(args ...any)
}

func newView(t fataler, c oee.Config) *oee.View {
	t.Helper()
	v, err := oee.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// feed gives events to a view as they come from one shard.
type feed struct {
	view *oee.View
	next uint64
}

func (f *feed) apply(events ...oee.Event) {
	for _, e := range events {
		if e.Machine == "" {
			e.Machine = "m1"
		}
		f.next++
		e.Index = f.next
		e.Position = oee.Position{Shard: "plc/0", Sequence: strconv.FormatUint(f.next, 10)}
		f.view.Apply(e)
	}
}

// day is the day of the tests, a Tuesday.
var day = time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)

// at is a time on it.
func at(clock string) time.Time {
	t, err := time.Parse("15:04:05.999999999", clock)
	if err != nil {
		if t, err = time.Parse("15:04", clock); err != nil {
			panic(err)
		}
	}
	return day.Add(t.Sub(time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)))
}

func state(clock, s string) oee.Event { return oee.Event{Time: at(clock), State: s} }

func units(n int64) oee.Reading { return oee.Read(oee.Units(n) * oee.Unit) }

func made(clock string, total, good int64) oee.Event {
	return oee.Event{Time: at(clock), Total: units(total), Good: units(good)}
}

// only returns the one result of a kind.
func only(t testing.TB, results []oee.Result, kind string) oee.Result {
	t.Helper()
	var found []oee.Result
	for _, r := range results {
		if r.Window.Kind == kind {
			found = append(found, r)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d results of %s, not one: %+v", len(found), kind, found)
	}
	return found[0]
}

// show is a ratio to four digits.
func show(f float64, ok bool) string {
	if !ok {
		return "null"
	}
	return strconv.FormatFloat(f, 'f', 4, 64)
}

func check[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, not %v", what, got, want)
	}
}
