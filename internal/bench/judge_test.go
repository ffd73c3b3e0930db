package bench

import (
	"slices"
	"strings"
	"testing"
)

// TestJudge gives rounds and compares which criteria are missed.
func TestJudge(t *testing.T) {
	phase := func(perSecond, p99 float64) Phase {
		g := Group{PerSecond: perSecond, P99: p99, Longest: 2 * p99}
		return Phase{Well: g, OtherKeys: g, LiveReads: 8, AllReads: 8, RSS: 50 << 20, EarlyRSS: 50 << 20, Window: 1 << 20}
	}
	back := func(share float64) (all []CatchUp) {
		for range faulty {
			all = append(all, CatchUp{Share: share, Reached: true})
		}
		all[len(all)-1].Share = 0 // the key
		return all
	}
	good := func() IsolationRound {
		return IsolationRound{Baseline: phase(1000, 1), BaselineReshard: phase(1000, 1), Outage: phase(970, 1.25), OutageReshard: phase(970, 1.7), CatchingUp: phase(1000, 1), Back: back(.8)}
	}
	for name, tc := range map[string]struct {
		change func(*IsolationRound)
		missed int
	}{
		"at every bound": {func(*IsolationRound) {}, 0},
		"throughput":     {func(r *IsolationRound) { r.Outage.Well.PerSecond = 969 }, 1},
		"latency":        {func(r *IsolationRound) { r.Outage.Well.P99 = 1.26 }, 1},
		"other keys":     {func(r *IsolationRound) { r.Outage.OtherKeys = Group{PerSecond: 900, P99: 2} }, 2},
		"live reads":     {func(r *IsolationRound) { r.Outage.LiveReads, r.Outage.AllReads = 7, 7 }, 1},
		"catch-up reads": {func(r *IsolationRound) { r.Outage.AllReads, r.CatchingUp.AllReads = 17, 17 }, 2},
		"logs":           {func(r *IsolationRound) { r.CatchingUp.Window = 1 << 30 }, 1},
		"memory":         {func(r *IsolationRound) { r.Outage.RSS = 1 << 30 }, 2},
		"reshard":        {func(r *IsolationRound) { r.OutageReshard = phase(0, 9) }, 2},
		"catch-up":       {func(r *IsolationRound) { r.Back[2].Share = .79 }, 1},
		"never back":     {func(r *IsolationRound) { r.Back[4].Reached = false }, 1},
	} {
		res := IsolationResult{Window: 16 << 20, Shards: 4}
		for range 3 {
			r := good()
			tc.change(&r)
			res.Rounds = append(res.Rounds, r)
		}
		res.Rounds[0] = good() // one round alone decides nothing
		res.judge()
		if missed := Missed(res.Criteria); len(missed) != tc.missed {
			t.Errorf("%s: missed %v, want %d", name, missed, tc.missed)
		}
		res.FanOut = true // how often events are pushed says nothing
		res.judge()
		if reads := slices.ContainsFunc(res.Criteria, func(c Criterion) bool { return strings.Contains(c.What, "reads a second") }); reads {
			t.Errorf("%s: %v: pushed events are judged as reads", name, res.Criteria)
		}
	}
}

// TestSoakJudge compares what is missed.
func TestSoakJudge(t *testing.T) {
	looks := make([]usage, 8)
	for i := range looks {
		looks[i] = usage{rss: 100, goroutines: 50}
	}
	looks[6].rss, looks[7].rss, looks[6].goroutines = 121, 121, 40 // one high figure alone is no growth
	res := SoakResult{Lost: 1, Duplicates: 5, Allowed: 5, Rate: 10, PerSecond: 29.1, destinations: 3, CleanStops: true}
	res.judge(looks)
	missed := Missed(res.Criteria)
	if len(missed) != 2 || !strings.Contains(missed[0].What, "lost") || !strings.Contains(missed[1].What, "memory") {
		t.Errorf("missed %v, want what was lost, and memory", missed)
	}
}
