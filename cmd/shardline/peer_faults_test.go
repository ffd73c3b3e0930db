package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// lostOrEarly are the faults of a history: every record has to be handled, by
// whichever worker, and nobody may begin with a record before all earlier ones
// of its key are handled.
func lostOrEarly(put []peerRecord, all []handling) (faults []string) {
	next := make(map[string]int)
	for _, h := range all {
		switch want := next[h.record.key]; {
		case h.record.index > want:
			faults = append(faults, fmt.Sprintf("early: %s began with number %d of %s at %s, when number %d was to come",
				h.worker, h.record.index, h.record.key, h.time.Format(clock), want))
		case h.record.index == want && h.handled:
			next[h.record.key]++
		}
	}
	for _, r := range put {
		if r.index == next[r.key] { // and not what follows it
			faults = append(faults, fmt.Sprintf("lost: number %d of %s, put into %s as %s", r.index, r.key, r.shard, r.sequence))
		}
	}
	return faults
}

const clock = "15:04:05.000"

// tenure is one ownership of a shard by a Shardline worker, as its log has it.
type tenure struct {
	worker      string
	from, until time.Time
}

// outsideTenures are the faults of a history against the tenures of each
// shard: every attempt has to be within a tenure of its worker, and the
// attempts of two workers on one shard must not overlap. KCL workers have no
// tenures.
func outsideTenures(all []handling, tenures map[string][]*tenure) (faults []string) {
	type span struct{ first, last handling }
	spans := make(map[*tenure]*span)
	shardline := make(map[string]bool)
	for _, list := range tenures {
		for _, n := range list {
			shardline[n.worker] = true
		}
	}
	for _, h := range all {
		if !shardline[h.worker] {
			continue
		}
		i := slices.IndexFunc(tenures[h.record.shard], func(n *tenure) bool {
			return n.worker == h.worker && !h.time.Before(n.from) && !h.time.After(n.until)
		})
		if i < 0 {
			faults = append(faults, fmt.Sprintf("stray: %s attempted %q of %s at %s without owning it", h.worker, h.record.data, h.record.shard, h.time.Format(clock)))
			continue
		}
		n := tenures[h.record.shard][i]
		if spans[n] == nil {
			spans[n] = &span{first: h}
		}
		spans[n].last = h
	}
	for shard, list := range tenures {
		for i, n := range list {
			for _, m := range list[:i] {
				a, b := spans[n], spans[m]
				if n.worker != m.worker && a != nil && b != nil && !a.first.time.After(b.last.time) && !b.first.time.After(a.last.time) {
					faults = append(faults, fmt.Sprintf("together: %s and %s delivered from %s at %s", n.worker, m.worker, shard, a.first.time.Format(clock)))
				}
			}
		}
	}
	return faults
}

// TestFleetFaults holds the checks of the mixed fleets against short histories.
func TestFleetFaults(t *testing.T) {
	t.Parallel()
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	put := []peerRecord{{key: "k", index: 0, shard: "1", data: "k 0"}, {key: "k", index: 1, shard: "1", data: "k 1"}}
	h := func(s int, worker string, index int, handled bool) handling {
		return handling{at(s), worker, put[index], handled}
	}
	own := func(worker string, from, until int) *tenure { return &tenure{worker, at(from), at(until)} }
	for _, tt := range []struct {
		name    string
		all     []handling
		tenures []*tenure
		want    []string // how each fault begins
	}{
		{name: "all by one", all: []handling{h(1, "a", 0, true), h(2, "a", 1, true)}, tenures: []*tenure{own("a", 0, 9)}},
		{name: "by both sides", all: []handling{h(1, "kcl", 0, true), h(2, "a", 1, true)}, tenures: []*tenure{own("a", 2, 9)}},
		{name: "a step back", all: []handling{h(1, "a", 0, true), h(2, "a", 1, true), h(3, "kcl", 0, true), h(4, "kcl", 1, true)}, tenures: []*tenure{own("a", 0, 2)}},
		{name: "the last one is lost", all: []handling{h(1, "kcl", 0, true)}, want: []string{"lost: number 1"}},
		{name: "refused is not handled", all: []handling{h(1, "kcl", 0, true), h(2, "a", 1, false)}, tenures: []*tenure{own("a", 2, 9)}, want: []string{"lost: number 1"}},
		{name: "the first one is lost", all: []handling{h(2, "kcl", 1, true)}, want: []string{"early: kcl", "lost: number 0"}},
		{name: "too early", all: []handling{h(1, "kcl", 1, true), h(2, "kcl", 0, true), h(3, "kcl", 1, true)}, want: []string{"early: kcl"}},
		{name: "before the take", all: []handling{h(1, "a", 0, true), h(5, "a", 1, true)}, tenures: []*tenure{own("a", 2, 9)}, want: []string{"stray: a"}},
		{name: "after the loss", all: []handling{h(1, "a", 0, true), h(5, "a", 1, true)}, tenures: []*tenure{own("a", 0, 4), own("b", 5, 9)}, want: []string{"stray: a"}},
		{name: "two at once", all: []handling{h(1, "a", 0, true), h(2, "b", 0, true), h(3, "a", 1, true)}, tenures: []*tenure{own("a", 0, 9), own("b", 2, 9)}, want: []string{"together: b and a"}},
		{name: "one after the other", all: []handling{h(1, "a", 0, true), h(3, "b", 0, true), h(4, "b", 1, true)}, tenures: []*tenure{own("a", 0, 9), own("b", 2, 9)}},
	} {
		got := append(lostOrEarly(put, tt.all), outsideTenures(tt.all, map[string][]*tenure{"1": tt.tenures})...)
		ok := len(got) == len(tt.want)
		for i := range min(len(got), len(tt.want)) {
			ok = ok && strings.HasPrefix(got[i], tt.want[i])
		}
		if !ok {
			t.Errorf("%s: faults %q, want %q", tt.name, got, tt.want)
		}
	}
}
