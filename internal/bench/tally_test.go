package bench

import (
	"strings"
	"testing"
	"time"
)

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
