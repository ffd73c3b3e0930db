package checkpoint

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// The plan is the arithmetic inside a pass; through a Holder its rows could only
// be reached by luck.
func TestPlan(t *testing.T) {
	type group struct {
		n                         int
		owner                     string // of leases held by others
		from                      string // who let free ones go
		mine, free, spare, barred bool
		sure                      bool
		foreign                   bool // an owner that knows no tenures
		work                      float64
	}
	free := func(n int) group { return group{n: n, free: true} }
	of := func(owner string, n int) group { return group{n: n, owner: owner} }
	mine := func(n int) group { return group{n: n, mine: true} }
	for _, tt := range []struct {
		name      string
		groups    []group
		most      int
		take, ask int
	}{
		{name: "alone: everything", groups: []group{free(78)}, take: 78},
		{name: "alone, at most 5", groups: []group{free(78)}, most: 5, take: 5},
		{name: "another holds 1 of 4: 2 each", groups: []group{free(3), of("z", 1)}, take: 2},
		{name: "3 of 5 are free, 1 each: the first by id gets two", groups: []group{free(3), of("z", 1), mine(1)}, take: 2},
		{name: "the same, second by id", groups: []group{free(3), of("b", 1), mine(1)}, take: 1},
		{name: "who let them go gets none", groups: []group{{n: 4, free: true, from: "b"}, of("c", 3), mine(3)}, take: 2},
		{name: "what they still hold is dealt at once, and taken when it is free", groups: []group{{n: 1, free: true, from: "b"}, of("b", 9)}, take: 1},
		{name: "what nobody came for is anybody's", groups: []group{{n: 3, free: true, spare: true}, of("b", 1)}, take: 3},
		{name: "the same, but at most 2", groups: []group{{n: 3, free: true, spare: true}, of("b", 1)}, most: 2, take: 2},
		{name: "what was handed to me is mine, however many I have", groups: []group{{n: 1, free: true, sure: true}, of("b", 1), mine(9)}, take: 1},
		{name: "others are full as I am", groups: []group{free(6), of("b", 2), mine(1)}, most: 3, take: 2},
		{name: "2, 2 and my 1 of 5: nobody has two more", groups: []group{of("b", 2), of("c", 2), mine(1)}},
		{name: "1, 5 and my 1 of 7: one for the other first, one for me", groups: []group{of("b", 1), of("c", 5), mine(1)}, ask: 1},
		{name: "3 and 2 of 5, nothing yet: one", groups: []group{of("b", 3), of("c", 2)}, ask: 1},
		{name: "one lease for two workers", groups: []group{of("b", 1)}},
		{name: "nothing is asked for while something is free", groups: []group{free(1), of("b", 9)}, take: 1},
		{name: "78 of one worker, nothing yet: a first one", groups: []group{of("b", 78)}, ask: 1},
		{name: "77 of one worker: as many as one may ask for", groups: []group{of("b", 77), mine(1)}, ask: 16},
		{name: "26, 26, 25 and my 1: floor(78/4) in all", groups: []group{of("b", 26), of("c", 26), of("d", 20), mine(10)}, ask: 10},
		{name: "at most 3 are asked for", groups: []group{of("b", 77), mine(1)}, most: 4, ask: 3},
		{name: "barred leases are left to others", groups: []group{{n: 2, free: true, barred: true}}},
		{name: "owners without tenures are not asked", groups: []group{{n: 8, owner: "java", foreign: true}}},
		{name: "owners without tenures get nothing of the deal", groups: []group{{n: 1, owner: "java", foreign: true}, free(5)}, take: 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var leases []candidate
			for _, g := range tt.groups {
				for range g.n {
					l := Lease{Key: fmt.Sprint(len(leases)), Owner: g.owner, Throughput: g.work}
					if g.owner != "" && !g.foreign {
						l.Tenure = tenureOf(g.owner, "01234567", "0123456789abcdef")
					}
					leases = append(leases, candidate{lease: l, mine: g.mine, barred: g.barred, free: g.free, sure: g.sure, spare: g.spare, from: g.from})
				}
			}
			v := look("me", leases, tt.most)
			take, ask := v.takes(), v.asks(atOnce)
			if len(take) != tt.take || len(ask) != tt.ask {
				t.Errorf("takes %d and asks for %d, want %d and %d", len(take), len(ask), tt.take, tt.ask)
			}
			twice := map[string]bool{}
			for _, l := range append(take, ask...) {
				if twice[l.Key] {
					t.Errorf("lease %s twice", l.Key)
				}
				twice[l.Key] = true
			}
		})
	}
}

// Whoever has taken a part of what was dealt to it leaves the others' parts as
// they were: workers that look at different moments do not collide.
func TestDealDoesNotDependOnWhenOneLooks(t *testing.T) {
	workers := []string{"a", "b", "c"}
	held := map[string]int{"a": 7, "b": 9, "c": 8}
	owner := func(w string) Lease { return Lease{Owner: w, Tenure: tenureOf(w, "01234567", "0123456789abcdef")} }
	fleet := func(taken map[string]string) func(worker string) []string {
		return func(worker string) []string {
			var leases []candidate
			for w, n := range held {
				for i := range n {
					l := owner(w)
					l.Key = fmt.Sprint(w, i)
					leases = append(leases, candidate{lease: l, mine: w == worker})
				}
			}
			for i := range 26 {
				l := Lease{Key: fmt.Sprintf("x%02d", i)}
				if w := taken[l.Key]; w != "" {
					o := owner(w)
					o.Key = l.Key
					leases = append(leases, candidate{lease: o, mine: w == worker})
					continue
				}
				leases = append(leases, candidate{lease: l, free: true, from: "dead"})
			}
			var keys []string
			for _, l := range look(worker, leases, 0).takes() {
				keys = append(keys, l.Key)
			}
			return keys
		}
	}
	all, want := map[string]string{}, map[string][]string{}
	for _, w := range workers {
		want[w] = fleet(nil)(w)
		for _, key := range want[w] {
			if all[key] != "" {
				t.Errorf("%s is dealt to %s and %s", key, all[key], w)
			}
			all[key] = w
		}
		if n := held[w] + len(want[w]); n < 16 || n > 17 {
			t.Errorf("%s comes to %d, want 16 or 17 (50 of 3)", w, n)
		}
	}
	if len(all) != 26 {
		t.Errorf("%d of 26 are dealt", len(all))
	}
	for i := range 26 { // after any one of them was taken
		key := fmt.Sprintf("x%02d", i)
		for _, w := range workers {
			rest := slices.DeleteFunc(slices.Clone(want[w]), func(k string) bool { return k == key })
			if got := fleet(map[string]string{key: all[key]})(w); !slices.Equal(got, rest) {
				t.Errorf("after %s took %s, %s takes %v, want %v", all[key], key, w, got, rest)
			}
		}
	}
}

// The clock starts when this worker first sees a lease as it is.
func TestSightings(t *testing.T) {
	s := sightings{failover: 10 * time.Second, worker: "me"}
	owned := Lease{Key: "k", Owner: "b", Counter: 3, Tenure: "t"}
	renewed := owned
	renewed.Counter++
	retaken := renewed
	retaken.Tenure = "u"
	asked := retaken
	asked.Owner, asked.HandingOver = "me", "b"
	given := asked
	given.HandingOver, given.Tenure = "", ""
	given.Counter++
	nobody := Lease{Key: "k", Counter: 9}
	for i, step := range []struct {
		at    time.Duration
		lease Lease
		free  bool
		from  string
	}{
		{100 * time.Second, owned, false, ""},                       // first sight
		{110 * time.Second, owned, false, ""},                       // unchanged for 10 s: not more than the fail-over time
		{110*time.Second + 1, owned, true, ""},                      // more
		{111 * time.Second, renewed, false, ""},                     // the owner lives
		{112 * time.Second, owned, false, ""},                       // an older reading: nothing new
		{121 * time.Second, renewed, false, ""},                     // 10 s since it was seen first
		{121*time.Second + 1, renewed, true, ""},                    // more
		{122 * time.Second, retaken, false, ""},                     // in a new tenure
		{130 * time.Second, asked, false, ""},                       // being handed to me: not yet mine
		{132*time.Second + 1, asked, true, ""},                      // but the old owner renews no longer; asking was no sign of life
		{143 * time.Second, given, true, ""},                        // handed to me
		{144 * time.Second, nobody, true, "me"},                     // let go by me
		{145 * time.Second, nobody, true, "me"},                     // still
		{146 * time.Second, Lease{Key: "other"}, true, ""},          // new and nobody's
		{147 * time.Second, owned, false, ""},                       // first sight again
		{148 * time.Second, Lease{Key: "k", Counter: 4}, true, "b"}, // let go
	} {
		s.scan([]Lease{step.lease}, step.at)
		n := s.leases[step.lease.Key]
		if _, got := s.free(n, step.at); got != step.free || n.from != step.from {
			t.Errorf("step %d: free is %t, from %q, want %t, %q", i, got, n.from, step.free, step.from)
		}
		if len(s.leases) != 1 {
			t.Errorf("step %d: %d leases are remembered", i, len(s.leases))
		}
	}
}
