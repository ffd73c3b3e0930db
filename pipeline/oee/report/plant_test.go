package report_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shardline/shardline/pipeline/oee"
	"github.com/shardline/shardline/pipeline/oee/report"
)

// plant is figures worked out in the plainest way from time lines that a seed
// makes: three shifts in Berlin, each with a break, a view at 21:41 of a Sunday.
type plant struct {
	names   []string
	lines   map[string][]oee.Result
	results map[string][]oee.Result
	times   map[string][]oee.Interval
}

func (p *plant) Machines() []string { return p.names }

func (p *plant) Windows(machine, kind string, from, to time.Time) []oee.Result {
	return between(p.results[machine], kind, from, to)
}

func (p *plant) LineWindows(line, kind string, from, to time.Time) []oee.Result {
	return between(p.lines[line], kind, from, to)
}

func between(all []oee.Result, kind string, from, to time.Time) (some []oee.Result) {
	for _, r := range all {
		if (kind == "" || kind == r.Window.Kind) && r.Window.End.After(from) && r.Window.Start.Before(to) {
			some = append(some, r)
		}
	}
	return some
}

func (p *plant) Timeline(machine string, from, to time.Time) (some []oee.Interval) {
	for _, i := range p.times[machine] {
		if i.Start.Before(to) && i.End.After(from) {
			some = append(some, i)
		}
	}
	return some
}

func (p *plant) Now(machine string) (oee.Interval, time.Time, bool) {
	all := p.times[machine]
	if len(all) == 0 {
		return oee.Interval{}, time.Time{}, false
	}
	last := all[len(all)-1]
	return last, last.End, true
}

var (
	berlin = func() *time.Location {
		z, err := time.LoadLocation("Europe/Berlin")
		if err != nil {
			panic(err)
		}
		return z
	}()
	sunday = oee.Date{Year: 2026, Month: time.November, Day: 22}
	// now is when the figures end: in the late shift.
	now = time.Date(2026, 11, 22, 21, 41, 0, 0, berlin)
)

func viewConfig(machines ...string) *oee.Config {
	day := []time.Weekday{time.Sunday, time.Monday}
	c := &oee.Config{Name: "plant-1", Zone: berlin, Target: 0.85, Warn: 0.65, Windows: []oee.WindowConfig{{Kind: oee.ShiftWindow}, {Kind: oee.HourWindow}},
		Shifts: []oee.Shift{{Name: "early", Start: 6 * time.Hour, Length: 8 * time.Hour, Days: day}, {Name: "late", Start: 14 * time.Hour, Length: 8 * time.Hour, Days: day},
			{Name: "night", Start: 22 * time.Hour, Length: 8 * time.Hour, Days: day}}}
	if n := len(machines); n > 1 {
		c.Lines = []oee.Line{{Name: "line-1", Machines: machines[:n/2]}, {Name: "line-2", Machines: machines[n/2:], Pooled: true}}
	}
	return c
}

// build makes a plant of machines, each with its own habits.
func build(seed uint64, names ...string) *plant {
	p := &plant{names: slices.Sorted(slices.Values(names)), results: map[string][]oee.Result{}, times: map[string][]oee.Interval{}, lines: map[string][]oee.Result{}}
	for n, name := range names {
		dice := rand.New(rand.NewPCG(seed, uint64(n)))
		p.times[name] = timeline(dice, n)
		for s, start := range []int{6, 14} {
			w := oee.Window{Kind: "shift", Name: []string{"early", "late"}[s], Start: time.Date(2026, 11, 22, start, 0, 0, 0, berlin), Date: "2026-11-22"}
			w.End = w.Start.Add(8 * time.Hour)
			// Units of each shift, and seconds a unit takes at its best.
			cycle := 2300 * time.Millisecond
			speed := 0.78 + 0.2*dice.Float64()
			if n%5 == 3 {
				speed = 1.12 // the ideal rate of this one is wrong
			}
			p.results[name] = append(p.results[name], window(name, p.times[name], w, cycle, speed, 0.94+0.055*dice.Float64()))
		}
	}
	c := viewConfig(names...)
	for _, l := range c.Lines {
		for s := range 2 {
			r := p.results[l.Machines[0]][s]
			r.Line, r.Machine = l.Name, ""
			r.Bottleneck, r.Flags = l.Machines[0], []oee.Flag{oee.FlagBottleneck}
			p.lines[l.Name] = append(p.lines[l.Name], r)
		}
	}
	return p
}

// timeline is a machine's day from 06:00 to now.
func timeline(dice *rand.Rand, n int) (all []oee.Interval) {
	at := time.Date(2026, 11, 22, 6, 0, 0, 0, berlin)
	put := func(class oee.Class, state, reason string, d time.Duration) {
		end := at.Add(d.Round(time.Second))
		if end.After(now) {
			end = now
		}
		// Breaks cut what they fall into.
		for _, edge := range []time.Time{time.Date(2026, 11, 22, 10, 0, 0, 0, berlin), time.Date(2026, 11, 22, 10, 15, 0, 0, berlin), time.Date(2026, 11, 22, 18, 0, 0, 0, berlin), time.Date(2026, 11, 22, 18, 15, 0, 0, berlin)} {
			if at.Before(edge) && end.After(edge) {
				all = append(all, oee.Interval{Start: at, End: edge, Class: class, State: state, Reason: reason, Planned: planned(at)})
				at = edge
			}
		}
		if end.After(at) {
			all = append(all, oee.Interval{Start: at, End: end, Class: class, State: state, Reason: reason, Planned: planned(at) && class != oee.PlannedStop, Silent: class == oee.Unknown})
			at = end
		}
	}
	minutes := func(least, most float64) time.Duration {
		return time.Duration((least + dice.Float64()*(most-least)) * float64(time.Minute))
	}
	reasons := []string{"material missing", "tool change", "jam at infeed", "sensor fault", "operator absent"}
	for round := 0; at.Before(now); round++ {
		put(oee.Running, "RUN", "", minutes(20, 110))
		switch dice.IntN(6) {
		case 0, 1:
			put(oee.Stopped, "FAULT", reasons[min(dice.IntN(7), 4)], minutes(2, 25))
		case 2:
			put(oee.Idle, "IDLE", "", minutes(2, 18))
		case 3:
			put(oee.Changeover, "CO", "", minutes(8, 22))
		case 4:
			if round%2 == 0 {
				put(oee.PlannedStop, "PM", "", minutes(10, 20))
			}
		case 5:
			if n%4 == 1 {
				put(oee.Unknown, "", "", minutes(25, 70))
			}
		}
	}
	return all
}

// planned says whether an instant is in no break.
func planned(t time.Time) bool {
	h, m, _ := t.Clock()
	return (h != 10 && h != 18) || m >= 15
}

func window(machine string, times []oee.Interval, w oee.Window, cycle time.Duration, speed, good float64) oee.Result {
	r := oee.Result{View: "plant-1", Machine: machine, Window: w, Through: w.End, Revision: 1, State: oee.Final}
	stops := map[string]*oee.Stop{}
	var order []string
	for _, i := range times {
		if i.Start.Before(w.Start) {
			i.Start = w.Start
		}
		if i.End.After(w.End) {
			i.End = w.End
		}
		d := i.End.Sub(i.Start)
		if d <= 0 {
			continue
		}
		s := &r.Sums
		s.Length += d
		if i.Class == oee.Stopped || i.Class == oee.Changeover {
			reason := i.Reason
			if reason == "" {
				reason = i.State
			}
			if stops[reason] == nil {
				stops[reason] = &oee.Stop{Reason: reason, Class: i.Class}
				order = append(order, reason)
			}
			stops[reason].Time += d
			stops[reason].Number++
		}
		if !i.Planned {
			s.Unplanned += d
			if i.Class == oee.PlannedStop {
				s.PlannedStop += d
			}
			continue
		}
		s.Planned += d
		switch i.Class {
		case oee.Running:
			s.Run += d
		case oee.Idle:
			s.Idle += d
		case oee.Stopped:
			s.Stopped += d
		case oee.Changeover:
			s.Changeover += d
		default:
			s.Unknown += d
		}
	}
	for _, reason := range order {
		r.Stops = append(r.Stops, *stops[reason])
	}
	slices.SortFunc(r.Stops, func(a, b oee.Stop) int { return int(b.Time/time.Second - a.Time/time.Second) })
	total := int64(speed * float64(r.Sums.Run) / float64(cycle))
	fine := int64(good * float64(total))
	r.Sums.Total, r.Sums.Good, r.Sums.Rejected = oee.Units(total)*oee.Unit, oee.Units(fine)*oee.Unit, oee.Units(total-fine)*oee.Unit
	r.Sums.IdealTotal, r.Sums.IdealGood = time.Duration(total)*cycle, time.Duration(fine)*cycle
	r.Outputs = []oee.Output{{Product: "cap-28", Total: r.Sums.Total, Good: r.Sums.Good, Rejected: r.Sums.Rejected, IdealTotal: r.Sums.IdealTotal, IdealGood: r.Sums.IdealGood}}
	if p, ok := r.Performance(); ok && p > 1 {
		r.Flags = append(r.Flags, oee.FlagPerformance)
	}
	if w.End.After(now) {
		r.State, r.Through = oee.Early, now
	}
	return r
}

// sample is the report that golden files and the browser look at: six machines,
// one of them silent all day, one too fast for its ideal rate, one with a late
// revision and one with a hostile name.
func sample(t *testing.T) *report.Report {
	t.Helper()
	names := []string{"press-01", "press-02", "press-03", "press-04", hostile, "wrap-02"}
	p := build(20, names...)
	p.results["press-02"][0].State, p.results["press-02"][0].Revision = oee.Late, 3
	p.times["wrap-02"] = []oee.Interval{{Start: time.Date(2026, 11, 22, 6, 0, 0, 0, berlin), End: now, Class: oee.Unknown, Planned: true}}
	for i, w := range p.results["wrap-02"] {
		p.results["wrap-02"][i] = window("wrap-02", p.times["wrap-02"], w.Window, time.Second, 0, 0)
		p.results["wrap-02"][i].Outputs = nil
	}
	r, err := report.New(p, report.Config{View: viewConfig(names...), Date: sunday, Made: time.Date(2026, 11, 22, 21, 45, 0, 0, berlin)})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

const hostile = `<script>alert("wrap-01")</script>`

// crowded is a report with all names as long as they may be, in six shifts.
func crowded(t *testing.T) *report.Report {
	t.Helper()
	long := strings.Repeat("longname", 25)
	names := []string{long + "1", "2" + strings.Repeat("wide name ", 20)}
	p := build(9, names...)
	c := viewConfig(names...)
	c.Name, c.Lines = long, []oee.Line{{Name: long, Machines: names, Pooled: true}}
	c.Shifts = nil
	for i := range 6 {
		c.Shifts = append(c.Shifts, oee.Shift{Name: fmt.Sprintf("shift number %d of six", i+1), Start: time.Duration(4*i) * time.Hour, Length: 4 * time.Hour})
	}
	for _, n := range names {
		one := p.results[n][0]
		// Together as much as 500 machines make in a day.
		one.Sums.Total, one.Sums.Good, one.Sums.Planned = 12_500_000*oee.Unit, 12_500_000*oee.Unit, 60_000*time.Minute
		one.Stops = []oee.Stop{{Reason: long, Class: oee.Changeover, Time: 60_000 * time.Minute, Number: 10_000}}
		one.Outputs = []oee.Output{{Product: long, Total: 12_500_000 * oee.Unit}, {Product: "b"}}
		one.Flags = []oee.Flag{oee.FlagGood, oee.Flag("a_flag_that_this_version_does_not_know_by_its_name")}
		p.results[n] = nil
		for i, s := range c.Shifts {
			one.Window.Name, one.Window.Start = s.Name, time.Date(2026, 11, 22, 4*i, 0, 0, 0, berlin)
			one.Window.End = one.Window.Start.Add(s.Length)
			p.results[n] = append(p.results[n], one)
		}
		p.lines[long] = p.results[n]
		for i := range p.times[n] {
			p.times[n][i].State, p.times[n][i].Reason = long, long
		}
	}
	r, err := report.New(p, report.Config{View: c, Date: sunday})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func many(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("machine-%04d", i+1))
	}
	return names
}
