package checkpoint

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// TestNativeFleet follows what tells a live fleet of native KCL workers from
// what a stopped one left behind. F is 10 s.
func TestNativeFleet(t *testing.T) {
	type facts = map[string]fact
	const native, compatible = "CLIENT_VERSION_3X", "CLIENT_VERSION_UPGRADE_FROM_2X"
	left := func(change facts) facts {
		f := facts{factMode + "t": {"w1", native}, factLease + "w1 a": {"w1", "7"}, factWorker + "w2": {"w2", "100"}}
		for name, c := range change {
			if f[name] = c; c == (fact{}) {
				delete(f, name)
			}
		}
		return f
	}
	led := func(version string) facts { return left(facts{factLeader: {"w3", version}}) }
	type look struct {
		at    time.Duration
		mode  string
		facts facts
		live  string // the worker named; empty: no live fleet
	}
	for _, tt := range []struct {
		name  string
		looks []look
		still time.Duration // nothing changed for so long at the last look
		waits time.Duration
	}{
		{name: "nothing changes", looks: []look{{0, native, left(nil), ""}, {11 * time.Second, native, left(nil), ""}},
			still: 11 * time.Second, waits: 10 * time.Second},
		{name: "a lease is renewed", looks: []look{{0, native, left(nil), ""},
			{3 * time.Second, native, left(facts{factLease + "w1 a": {"w1", "8"}}), "w1"}}, waits: 10 * time.Second},
		{name: "a worker writes its metrics", looks: []look{{0, native, left(nil), ""},
			{9 * time.Second, native, left(facts{factWorker + "w2": {"w2", "130"}}), "w2"}}, waits: 10 * time.Second},
		{name: "a leader's beat is waited for", looks: []look{{0, native, led("x"), ""}, {30 * time.Second, native, led("y"), "w3"}},
			waits: leaderBeat},
		{name: "a worker turns up", looks: []look{{0, native, left(nil), ""},
			{9 * time.Second, native, left(facts{factWorker + "w9": {"w9", "1"}}), "w9"}}, waits: 10 * time.Second},
		{name: "a lease that was given to a Shardline worker is not one that is renewed", looks: []look{{0, native, left(nil), ""},
			{3 * time.Second, native, left(facts{factLease + "ours b": {"ours", "3"}}), ""}}, still: 3 * time.Second, waits: 10 * time.Second},
		{name: "what disappears says nothing", looks: []look{{0, native, left(nil), ""},
			{3 * time.Second, native, left(facts{factLease + "w1 a": {}}), ""}}, still: 3 * time.Second, waits: 10 * time.Second},
		{name: "workers that are compatible with 2.x take leases themselves", looks: []look{{0, compatible, left(nil), ""},
			{3 * time.Second, compatible, led("y"), ""}}, waits: leaderBeat},
		{name: "a fleet becomes native", looks: []look{{0, compatible, left(facts{factMode + "t": {"w1", compatible}}), ""},
			{time.Hour, native, left(facts{factMode + "t": {"w5", native}}), "w5"}}, waits: 10 * time.Second},
		{name: "and stops", looks: []look{{0, compatible, left(facts{factMode + "t": {"w1", compatible}}), ""},
			{time.Hour, native, left(nil), "w1"}, {time.Hour + 9*time.Second, native, left(nil), "w1"}, {time.Hour + 11*time.Second, native, left(nil), ""}},
			still: 11 * time.Second, waits: 10 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := &nativeFleet{failover: 10 * time.Second}
			begin := time.Now()
			var now time.Time
			for _, l := range tt.looks {
				now = begin.Add(l.at)
				n.mode, n.table = l.mode, "t"
				n.see(l.facts, now)
				err := n.live(now)
				if (err != nil) != (l.live != "") || err != nil && (!errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), "("+l.live+")")) {
					t.Errorf("after %s: %v, want %q", l.at, err, l.live)
				}
			}
			if still := now.Sub(n.changed); still != tt.still {
				t.Errorf("still for %s, want %s", still, tt.still)
			}
			if n.window() != tt.waits {
				t.Errorf("waits %s, want %s", n.window(), tt.waits)
			}
		})
	}
}
