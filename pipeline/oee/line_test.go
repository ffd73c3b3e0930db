package oee_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/shardline/shardline/pipeline/oee"
)

// lines are two machines: m1 runs 8 h and makes 240 units of one a minute, m2
// runs 4 h and makes 300 of two a minute. OEE 0.5 and 0.3125.
func lines(t *testing.T, all ...oee.Line) []oee.Result {
	c := plain()
	c.IdealRates = []oee.RateConfig{{Machine: "m1", Rate: oee.PerMinute(oee.Unit)}, {Machine: "m2", Rate: oee.PerMinute(2 * oee.Unit)}}
	c.Lines = all
	v := newView(t, c)
	f := feed{view: v}
	on := func(machine string, e oee.Event) oee.Event { e.Machine = machine; return e }
	f.apply(on("m1", state("06:00", "RUN")), on("m1", made("07:00", 240, 240)), on("m1", state("14:00", "STOP")))
	f.apply(on("m2", state("06:00", "RUN")), on("m2", made("07:00", 300, 300)), on("m2", state("10:00", "STOP")), on("m2", state("14:00", "STOP")))
	v.Finish()
	var found []oee.Result
	for _, r := range v.Results() {
		if r.Line != "" {
			found = append(found, r)
		}
	}
	check(t, "results", len(found), len(all))
	return found
}

func TestLines(t *testing.T) {
	r := lines(t,
		oee.Line{Name: "slowest", Machines: []string{"m1", "m2"}},
		oee.Line{Name: "named", Machines: []string{"m1", "m2"}, Bottleneck: "m2"},
		oee.Line{Name: "pooled", Machines: []string{"m1", "m2", "m3"}, Pooled: true},
		oee.Line{Name: "plant", Machines: []string{"named", "m1"}},
	)
	check(t, "the slowest ideal rate", r[0].Bottleneck, "m1")
	check(t, "OEE", show(r[0].OEE()), "0.5000")
	check(t, "flags", fmt.Sprint(r[0].Flags), "[bottleneck]")
	check(t, "the one that is named", r[1].Bottleneck, "m2")
	check(t, "OEE", show(r[1].OEE()), "0.3125")
	check(t, "pooled", r[2].Bottleneck, "")
	check(t, "OEE", show(r[2].OEE()), "0.4062") // (240 + 150) / 960 minutes
	check(t, "flags", fmt.Sprint(r[2].Flags), "[pooled machines_missing]")
	check(t, "planned", r[2].Sums.Planned, 16*time.Hour)
	check(t, "a line of a line", r[3].Bottleneck, "m1")
	check(t, "final", r[3].State, oee.Final)
}

// Of machines with one ideal rate the one with the lowest OEE limits.
func TestBottleneckOfEquals(t *testing.T) {
	c := plain()
	c.Lines = []oee.Line{{Name: "line-1", Machines: []string{"m1", "m2"}}}
	v := newView(t, c)
	f := feed{view: v}
	for machine, n := range map[string]int64{"m1": 300, "m2": 299} {
		e := made("07:00", n, n)
		e.Machine, e.State = machine, "RUN"
		f.apply(e)
	}
	v.Finish()
	v.Results()
	r := v.LineWindows("line-1", "shift", at("06:00"), at("14:00"))
	check(t, "bottleneck", r[0].Bottleneck, "m2")
}
