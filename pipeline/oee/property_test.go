package oee_test

import (
	"fmt"
	"math"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/shardline/shardline/pipeline/oee"
)

// history is what happened to one machine: events as they arrive, and rows.
type history struct {
	config oee.Config
	events []oee.Event
	rows   []oee.Row
}

var berlin = func() *time.Location {
	z, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		panic(err)
	}
	return z
}()

// anyConfig draws a view's configuration.
func anyConfig(t *rapid.T) oee.Config {
	c := oee.Config{
		Name: "drawn", Zone: map[string]*time.Location{"UTC": time.UTC, "Europe/Berlin": berlin}[rapid.SampledFrom([]string{"UTC", "Europe/Berlin"}).Draw(t, "zone")],
		States: map[string]oee.Class{
			"RUN": oee.Running, "IDLE": oee.Idle, "STOP": oee.Stopped, "FAULT": oee.Stopped,
			"PM": oee.PlannedStop, "CO": oee.Changeover, "OFF": oee.Unknown,
		},
		Reporting:    oee.OnChange,
		Lateness:     rapid.SampledFrom([]time.Duration{0, time.Minute, 10 * time.Minute, 3 * time.Hour}).Draw(t, "lateness"),
		MicroStop:    rapid.SampledFrom([]time.Duration{0, time.Minute, 20 * time.Minute}).Draw(t, "micro"),
		MaxHold:      rapid.SampledFrom([]time.Duration{0, 25 * time.Minute, 3 * time.Hour}).Draw(t, "hold"),
		CountRunning: rapid.Bool().Draw(t, "running"),
		Windows:      []oee.WindowConfig{{Kind: oee.HourWindow}, {Kind: oee.DayWindow}, {Kind: oee.FixedWindow, Length: 15 * time.Minute}},
		Planned:      rapid.SampledFrom([]oee.Planned{oee.PlannedShifts, oee.PlannedShifts, oee.PlannedSchedule}).Draw(t, "planned"),
		IdealRates:   []oee.RateConfig{{Rate: oee.PerMinute(208_330_000)}, {Product: "A", Rate: oee.Cycle(45 * time.Second)}},
	}
	counter := func(name string) oee.Counter {
		return rapid.SampledFrom([]oee.Counter{{}, {Cumulative: true}, {Cumulative: true, Modulus: 1000 * oee.Unit}}).Draw(t, name)
	}
	c.Total, c.Good, c.Rejected = counter("total"), counter("good"), counter("rejected")
	pause := []oee.Break{{Start: 10 * time.Hour, Length: 15 * time.Minute}}
	night := []oee.Break{{Start: time.Hour, Length: 30 * time.Minute}}
	c.Shifts = rapid.SampledFrom([][]oee.Shift{
		nil,
		{{Name: "early", Start: 6 * time.Hour, Length: 8 * time.Hour, Breaks: pause}, {Name: "late", Start: 14 * time.Hour, Length: 8 * time.Hour}, {Name: "night", Start: 22 * time.Hour, Length: 8 * time.Hour, Breaks: night}},
		{{Name: "one", Start: 7*time.Hour + 30*time.Minute, Length: 10 * time.Hour, Breaks: pause, Days: []time.Weekday{time.Saturday, time.Monday}}},
		{{Name: "night", Start: 20 * time.Hour, Length: 11 * time.Hour, Breaks: night, Days: []time.Weekday{time.Friday, time.Saturday}}},
	}).Draw(t, "shifts")
	if c.Shifts != nil {
		c.Windows = append(c.Windows, oee.WindowConfig{Kind: oee.ShiftWindow})
	}
	if rapid.Bool().Draw(t, "holiday") {
		c.Holidays = []oee.Date{{Year: 2026, Month: 10, Day: 25}, {Year: 2026, Month: 3, Day: 29}}
	}
	return c
}

// anyHistory draws a configuration and what happened, around a clock change.
func anyHistory(t *rapid.T) history {
	h := history{config: anyConfig(t)}
	// Saturday evening to Monday noon: one day of 25 h, of 23 h, and of 24 h.
	start := rapid.SampledFrom([]time.Time{
		time.Date(2026, 10, 24, 16, 0, 0, 0, time.UTC), time.Date(2026, 3, 28, 16, 0, 0, 0, time.UTC), time.Date(2026, 6, 6, 16, 0, 0, 0, time.UTC),
	}).Draw(t, "start")
	instant := func(name string) time.Time {
		grid := rapid.SampledFrom([]time.Duration{time.Hour, time.Minute, time.Second, 1}).Draw(t, name+" grid")
		return start.Add(time.Duration(rapid.Int64Range(0, int64(40*time.Hour/grid)).Draw(t, name)) * grid)
	}
	reading := func(name string) oee.Reading {
		if !rapid.Bool().Draw(t, name+" said") {
			return oee.Reading{}
		}
		return oee.Read(oee.Units(rapid.Int64Range(0, 999).Draw(t, name)) * oee.Unit)
	}
	text := func(name string, of ...string) string { return rapid.SampledFrom(of).Draw(t, name) }
	counts := rapid.IntRange(0, 3).Draw(t, "counts")
	for range rapid.IntRange(1, 40).Draw(t, "events") {
		e := oee.Event{
			Machine: "m1", Time: instant("time"),
			State:   text("state", "RUN", "RUN", "IDLE", "STOP", "FAULT", "PM", "CO", "OFF", "HUH", ""),
			Reason:  text("reason", "", "", "jam", "tool"),
			Product: text("product", "", "", "A", "B"),
		}
		if counts > 0 {
			e.Total = reading("total")
		}
		if counts > 1 {
			e.Good = reading("good")
		}
		if counts > 2 {
			e.Rejected = reading("rejected")
		}
		h.events = append(h.events, e)
	}
	for range rapid.IntRange(0, 8).Draw(t, "rows") {
		r := oee.Row{
			Kind:  rapid.SampledFrom([]oee.RowKind{oee.Schedule, oee.IdealRate, oee.Quality, oee.Production, oee.Downtime}).Draw(t, "kind"),
			Table: "mes.t", Key: text("key", "1", "2", "3"), Machine: "m1", Delete: rapid.IntRange(0, 4).Draw(t, "delete") == 0,
			Product: text("row product", "", "A", "B"),
		}
		switch r.Kind {
		case oee.Quality:
			r.Time, r.Good, r.Rejected = instant("at"), reading("row good"), reading("row rejected")
		case oee.Production:
			r.Time, r.Total = instant("at"), reading("row total")
		case oee.Downtime:
			r.Start, r.Reason = instant("from"), text("why", "jam", "PM", "power")
			r.End = r.Start.Add(time.Duration(rapid.IntRange(1, 200).Draw(t, "minutes")) * time.Minute)
		default:
			r.Start = instant("from")
			if rapid.Bool().Draw(t, "ends") {
				r.End = r.Start.Add(time.Duration(rapid.IntRange(1, 600).Draw(t, "minutes")) * time.Minute)
			}
			r.Rate = oee.PerMinute(oee.Units(rapid.Int64Range(1, 1000).Draw(t, "rate")) * oee.Unit)
			if r.Kind == oee.IdealRate && rapid.Bool().Draw(t, "any machine") {
				r.Machine = ""
			}
		}
		h.rows = append(h.rows, r)
	}
	sort.SliceStable(h.events, func(i, j int) bool { return h.events[i].Time.Before(h.events[j].Time) })
	for i := range h.events { // as they arrive
		h.events[i].Index = uint64(i + 1)
		h.events[i].Position = oee.Position{Shard: "plc/0", Sequence: strconv.Itoa(i + 1)}
	}
	for i := range h.rows {
		h.rows[i].Position = oee.Position{Shard: "mes/0", Sequence: strconv.Itoa(i + 1)}
	}
	return h
}

// String is the history in short, for a failure.
func (h *history) String() string {
	var b strings.Builder
	c := &h.config
	fmt.Fprintf(&b, "zone %s lateness %v micro %v hold %v running %v planned %v counters %v %v %v shifts %v holidays %v\n",
		c.Zone, c.Lateness, c.MicroStop, c.MaxHold, c.CountRunning, c.Planned, c.Total, c.Good, c.Rejected, c.Shifts, c.Holidays)
	for _, e := range h.events {
		fmt.Fprintf(&b, "%s %q %q %q %v %v %v\n", e.Time.In(c.Zone).Format("01-02T15:04:05.999999999Z07"), e.State, e.Reason, e.Product, e.Total, e.Good, e.Rejected)
	}
	for _, r := range h.rows {
		fmt.Fprintf(&b, "%s %s delete %v machine %q product %q reason %q at %v from %v to %v: %v %v %v %v\n", r.Kind, r.Key, r.Delete, r.Machine, r.Product, r.Reason, r.Time, r.Start, r.End, r.Total, r.Good, r.Rejected, r.Rate)
	}
	return b.String()
}

func (h *history) end() time.Time {
	return h.events[len(h.events)-1].Time.Add(7 * time.Hour).Truncate(time.Hour)
}

// inOrder gives everything to a view in one pass.
func (h *history) inOrder(t fataler) *oee.View {
	v := newView(t, h.config)
	for _, e := range h.events {
		v.Apply(e)
	}
	for _, r := range h.rows {
		v.Put(r)
	}
	v.FinishAt(h.end())
	return v
}

// figures are all windows of a view as text, without revision and state.
func figures(v *oee.View, h *history) string {
	var b strings.Builder
	for _, r := range v.Windows("m1", "", h.events[0].Time.Add(-time.Hour), h.end()) {
		r.Revision, r.State = 0, 0
		b.Write(r.AppendJSON(nil))
		b.WriteByte('\n')
	}
	return b.String()
}

// TestFiguresAreTheReferences holds every window against the slow reference.
func TestFiguresAreTheReferences(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := anyHistory(t)
		v := h.inOrder(t)
		ref := newReference(h.config, h.events, h.rows, h.end())
		from := h.events[0].Time.Add(-40 * time.Hour).Truncate(time.Minute)
		all := ref.pieces(from)
		reports, since := ref.made()
		for _, r := range v.Windows("m1", "", h.events[0].Time, h.end()) {
			to := r.Through
			f := ref.window(all, reports, since, r.Window.Start, r.Window.End)
			s := r.Sums
			got := refFigures{
				planned: s.Planned, run: s.Run, slow: s.Slow, idle: s.Idle, stopped: s.Stopped, changeover: s.Changeover, unknown: s.Unknown,
				plannedStop: s.PlannedStop, unplanned: s.Unplanned, total: s.Total, good: s.Good, rejected: s.Rejected,
				micro: s.MicroStops, stops: map[string]string{},
			}
			for _, stop := range r.Stops {
				key := stop.Class.String() + " " + stop.Reason
				got.stops[key] = fmt.Sprint(stop.Time, " ", stop.Number)
				if stop.Class == oee.Unknown {
					got.stops[key] = stop.Time.String()
				}
			}
			got.idealTotal, got.idealGood = f.idealTotal, f.idealGood
			if fmt.Sprint(got) != fmt.Sprint(f) {
				t.Fatalf("%s %s to %s (%s):\n got %+v\nwant %+v\n%s", r.Window.Kind, r.Window.Start, r.Window.End, to, got, f, &h)
			}
			if math.Abs(s.IdealTotal.Seconds()-f.idealTotal) > 1e-6*(1+math.Abs(f.idealTotal)) || math.Abs(s.IdealGood.Seconds()-f.idealGood) > 1e-6*(1+math.Abs(f.idealGood)) {
				t.Fatalf("%s %s: ideal times %v and %v, not %v and %v\n%s", r.Window.Kind, r.Window.Start, s.IdealTotal, s.IdealGood, f.idealTotal, f.idealGood, &h)
			}
			if s.Length != r.Through.Sub(r.Window.Start) || s.Length != s.Planned+s.Unplanned {
				t.Fatalf("%s %s: the states do not add up to the window: %+v", r.Window.Kind, r.Window.Start, s)
			}
		}
	})
}

// TestHoursAddUp: a window whose edges are those of quarters is their sum, in
// every figure and to the last nanosecond and millionth; so is a shift the sum
// of its hours.
func TestHoursAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := anyHistory(t)
		if rapid.IntRange(0, 2).Draw(t, "minutes") == 0 && h.config.Shifts != nil {
			h.config.Planned, h.config.Minutes = oee.PlannedMinutes, 437
		}
		v := h.inOrder(t)
		for _, r := range v.Windows("m1", "", h.events[0].Time, h.end()) {
			if r.Window.Kind == "15m" || r.Window.End.After(h.end()) {
				continue
			}
			for _, kind := range []string{"15m", "hour"} {
				var sum oee.Sums
				for _, part := range v.Windows("m1", kind, r.Window.Start, r.Window.End) {
					if part.Window.Start.Before(r.Window.Start) || part.Window.End.After(r.Window.End) {
						sum.Length = -1 // its edges are not those of the window
						break
					}
					sum.Add(&part.Sums)
				}
				if sum.Length >= 0 && sum != r.Sums {
					t.Fatalf("%s %s is not the sum of its windows of %s:\n%+v\n%+v\n%s", r.Window.Kind, r.Window.Start, kind, r.Sums, sum, &h)
				}
			}
		}
	})
}

// arrive draws an order of arrival that keeps every event within the lateness
// of those before it; what is of one time keeps its order.
func (h *history) arrive(t *rapid.T) []oee.Event {
	delay := map[time.Time]time.Duration{}
	events := append([]oee.Event(nil), h.events...)
	for _, e := range events {
		if _, drawn := delay[e.Time]; !drawn {
			delay[e.Time] = time.Duration(rapid.Int64Range(0, int64(h.config.Lateness)).Draw(t, "delay"))
		}
	}
	sort.SliceStable(events, func(i, j int) bool {
		return events[i].Time.Add(delay[events[i].Time]).Before(events[j].Time.Add(delay[events[j].Time]))
	})
	for i := range events {
		events[i].Index = uint64(i + 1)
		events[i].Position.Sequence = strconv.Itoa(i + 1)
	}
	return events
}

// TestOrderOfArrival: events in any order within their lateness, repeated, and
// rows at any time among them, make the same figures; and what is told of
// every window in the end is what its figures are.
func TestOrderOfArrival(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := anyHistory(t)
		want := figures(h.inOrder(t), &h)
		v := newView(t, h.config)
		told := newLedger(t)
		rows := h.rows
		put := func(n int) {
			for _, r := range rows[:n] {
				v.Put(r)
			}
			rows = rows[n:]
		}
		for i, e := range h.arrive(t) {
			v.Apply(e)
			if rapid.IntRange(0, 3).Draw(t, "again") == 0 { // a producer's retry: another position
				e.Position.Sequence += "000"
				e.Index += 1000 + uint64(i)
				v.Apply(e)
			}
			put(rapid.IntRange(0, len(rows)).Draw(t, "rows"))
			if rapid.IntRange(0, 3).Draw(t, "looks") == 0 { // which changes nothing
				figures(v, &h)
				v.Timeline("m1", h.events[0].Time, h.end())
				v.Now("m1")
			}
			if rapid.IntRange(0, 3).Draw(t, "results") == 0 {
				told.take(v.Results())
				told.take(v.Early())
			}
		}
		put(len(rows))
		for _, r := range h.rows { // a table read again from its start
			if v.Put(r) {
				t.Fatalf("an old row counts: %+v", r)
			}
		}
		v.FinishAt(h.end())
		told.take(v.Results())
		if got := figures(v, &h); got != want {
			t.Fatalf("%s", difference(got, want, &h))
		}
		told.check(v, &h)
		if n := v.Side(oee.SideLate).Count; n != 0 {
			t.Fatalf("%d events were late", n)
		}
	})
}

// difference shows the first line that differs.
func difference(got, want string, h *history) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("got  %s\nwant %s\n%s", g[i], w[i], h)
		}
	}
	return fmt.Sprintf("%d lines, not %d\n%s", len(g), len(w), h)
}

// ledger keeps what was last told of every window.
type ledger struct {
	t    *rapid.T
	last map[string]oee.Result
	died bool // who tells has died: the same may come again
}

func newLedger(t *rapid.T) *ledger { return &ledger{t: t, last: map[string]oee.Result{}} }

func place(r *oee.Result) string {
	return r.Window.Kind + r.Window.Start.UTC().Format(time.RFC3339Nano)
}

// take holds what is told against what was told before.
func (l *ledger) take(results []oee.Result) {
	for _, r := range results {
		before, told := l.last[place(&r)]
		same := told && plainText(r) == plainText(before)
		switch {
		case told && r.Revision < before.Revision, told && r.Revision == before.Revision && !same:
			l.t.Fatalf("%s: revision %d after %d:\n%s\n%s", place(&r), r.Revision, before.Revision, plainText(before), plainText(r))
		case same && r.State == before.State && !l.died:
			l.t.Fatalf("%s was told twice: %s", place(&r), plainText(r))
		case told && before.State != oee.Early && r.State == oee.Early:
			l.t.Fatalf("%s is early again", place(&r))
		}
		l.last[place(&r)] = r
	}
}

// check holds what was told in the end against the figures.
func (l *ledger) check(v *oee.View, h *history) {
	for _, r := range v.Windows("m1", "", h.events[0].Time, h.end()) {
		if r.Window.End.After(h.end()) {
			continue
		}
		told, ok := l.last[place(&r)]
		if !ok || plainText(told) != plainText(r) || told.State != oee.Final || told.Revision != r.Revision {
			l.t.Fatalf("%s: told %v %d %s\nis %v %d %s\n%s", place(&r), told.State, told.Revision, plainText(told), r.State, r.Revision, plainText(r), h)
		}
	}
}

// plainText is a result without revision and state.
func plainText(r oee.Result) string {
	r.Revision, r.State = 0, 0
	return string(r.AppendJSON(nil))
}
