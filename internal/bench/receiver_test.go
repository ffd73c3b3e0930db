package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// put sends message number of a key and returns the status.
func put(url string, key, number int, timeout time.Duration) (int, error) {
	body := fmt.Sprintf(stampFormat, key, number, time.Now().UnixNano(), 1) + strings.Repeat("x", 64<<10)
	c := http.Client{Timeout: timeout, Transport: &http.Transport{DisableKeepAlives: true, WriteBufferSize: 128 << 10}}
	res, err := c.Post(url, "text/xml", strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, err
}

// TestReceiverFaults gives one receiver each fault in turn. Its key 3 is
// poisoned.
func TestReceiverFaults(t *testing.T) {
	tl := newTally(5)
	r, err := newReceiver("channel", tl)
	if err != nil {
		t.Fatal(err)
	}
	r.key = 3
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- r.serve(ctx) }()
	number := 0
	for _, tc := range []struct {
		name   string
		fault  fault
		key    int
		status int // 0: no answer
		hangs  bool
	}{
		{"well", well, 1, 200, false},
		{"hangs", hangs, 1, 0, true},
		{"500", errs, 1, 500, false},
		{"resets", resets, 1, 0, false},
		{"reads a byte a second", drips, 1, 0, true},
		{"well again", well, 1, 200, false},
		{"another key is poisoned", poison, 1, 200, false},
		{"the key is poisoned", poison, 3, 500, false},
	} {
		if err := r.become(tc.fault); err != nil {
			t.Fatal(err)
		}
		before, n := tl.count(), 0
		if tc.key == 1 {
			n = number
		}
		status, err := put(r.url, tc.key, n, time.Second/2)
		if status != tc.status {
			t.Errorf("%s: status %d, %v; want %d", tc.name, status, err, tc.status)
		}
		if tc.hangs != errors.Is(err, os.ErrDeadlineExceeded) && tc.hangs != (err != nil && strings.Contains(err.Error(), "Client.Timeout")) {
			t.Errorf("%s: it hangs: %t; got %v", tc.name, tc.hangs, err)
		}
		accepted := tl.count() - before
		if want := int64(map[bool]int{true: 1}[tc.status == 200]); accepted != want {
			t.Errorf("%s: %d accepted, want %d", tc.name, accepted, want)
		}
		number += int(accepted)
	}
	if tl.disordered != 0 || tl.duplicates != 0 {
		t.Errorf("%d disordered, %d duplicates; want none", tl.disordered, tl.duplicates)
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// TestTally sends sequences of attempts and compares what is counted: a1 is the
// first message of key a, a1! its refusal. Of a 4 and of b 2 were put.
func TestTally(t *testing.T) {
	for _, tc := range []struct {
		name, sent                                string
		accepted, duplicates, disordered, missing int64
	}{
		{"in order", "a1 a2 b1 b2 a3 a4", 6, 0, 0, 0},
		{"refused, then accepted", "a1 a2! a2! a2 a3 a4 b1 b2", 6, 0, 0, 0},
		{"a gap", "a1 a3 a4 b1 b2", 5, 0, 1, 0},
		{"refused, and passed over", "a1 a2! a3 a4 b1 b2", 5, 0, 1, 0},
		{"a step back that everything follows", "a1 a2 a3 a2 a3 a4 b1 b2", 6, 2, 0, 0},
		{"a step back that is not followed by everything", "a1 a2 a3 a1 a4 b1 b2", 6, 1, 1, 0},
		{"a step back at the end", "a1 a2 a3 a4 a2 b1 b2", 6, 1, 0, 2},
		{"a step back that is refused at the end", "a1 a2 a3 a4 b1 b2 a2!", 6, 0, 0, 3},
		{"not everything", "a1 a2 b1", 3, 0, 0, 3},
		{"nobody's key", "c1 a1 a2 a3 a4 b1 b2", 6, 0, 1, 0},
	} {
		p := &producer{put: [][]int64{{1, 2, 3, 4}, {1, 2}}}
		tl := newTally(2)
		for _, m := range strings.Fields(tc.sent) {
			tl.attempt(stamp{key: int(m[0] - 'a'), number: int(m[1] - '1'), put: 1}, !strings.HasSuffix(m, "!"))
		}
		if missing := tl.missing(p); tl.accepted != tc.accepted || tl.duplicates != tc.duplicates || tl.disordered != tc.disordered || missing != tc.missing {
			t.Errorf("%s: %d accepted, %d duplicates, %d out of order, %d missing; want %d, %d, %d, %d", tc.name,
				tl.accepted, tl.duplicates, tl.disordered, missing, tc.accepted, tc.duplicates, tc.disordered, tc.missing)
		}
	}
}

// TestTallyPoison: a key that is poisoned counts for the order, and for nothing
// else.
func TestTallyPoison(t *testing.T) {
	tl := newTally(2)
	tl.poison = 0
	tl.attempt(stamp{key: 0, number: 1, phase: 1}, true)
	tl.attempt(stamp{key: 1, number: 0, phase: 1, put: time.Now().Add(-time.Second).UnixNano()}, true)
	waits := tl.take(1, nil)
	if tl.accepted != 1 || tl.disordered != 1 || len(waits) != 1 || waits[0] < 1 || waits[0] > 60 || len(tl.take(1, nil)) != 0 {
		t.Errorf("%d accepted, %d out of order, waits %v; want 1, 1, one of a second, once", tl.accepted, tl.disordered, waits)
	}
}

func TestEachMetric(t *testing.T) {
	text := "# HELP x y\nplain 3\nlabelled{a=\"} 7\",b=\"{\"} 4.5 1700000000000\nlarge 1e+06\n"
	got := ""
	if err := eachMetric(strings.NewReader(text), func(name, labels string, v float64) { got += fmt.Sprint(name, labels, " ", v, ";") }); err != nil {
		t.Fatal(err)
	}
	if want := `plain 3;labelled{a="} 7",b="{"} 4.5;large 1e+06;`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for _, bad := range []string{"nothing", "x y", "x{a=\"b\"}"} {
		if eachMetric(strings.NewReader(bad), func(string, string, float64) {}) == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

// TestReadsSince: a shard's counter may end and begin anew.
func TestReadsSince(t *testing.T) {
	before := usage{reads: map[string]float64{"ended": 7, "goes on": 5, "anew": 9}}
	now := usage{reads: map[string]float64{"goes on": 8, "anew": 2, "new": 4}}
	if n := now.readsSince(before); n != 3+2+4 {
		t.Errorf("%v reads, want 9", n)
	}
}

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
	}
}

// TestTallyAllowance: a kill allows what was settled of the messages that were
// put since the oldest one that was not settled at an earlier time.
func TestTallyAllowance(t *testing.T) {
	p := &producer{put: [][]int64{{10, 20, 30}, {15, 40}}}
	tl := newTally(2)
	settle := func(key, number int) { tl.attempt(stamp{key: key, number: number}, true) }
	settle(0, 0)
	settle(0, 1)
	if oldest := tl.oldest(p); oldest != 15 { // of key 1
		t.Errorf("the oldest was put at %d, want 15", oldest)
	}
	for at, want := range map[int64]int64{10: 2, 15: 1, 20: 1, 21: 0} {
		if n := tl.since(p, at); n != want {
			t.Errorf("since %d: %d, want %d", at, n, want)
		}
	}
	settle(0, 0) // a step back takes nothing away
	if n := tl.since(p, 10); n != 2 {
		t.Errorf("after a step back: %d, want 2", n)
	}
	settle(0, 1)
	settle(0, 2)
	settle(1, 0)
	settle(1, 1)
	if oldest := tl.oldest(p); time.Since(time.Unix(0, oldest)) > time.Minute {
		t.Errorf("all is settled, and the oldest was put at %d", oldest)
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
