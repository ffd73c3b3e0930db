package checkpoint

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// plan is the arithmetic inside a pass; through a Holder its rows could only be
// reached by luck.
func TestPlan(t *testing.T) {
	type group struct {
		n                         int
		owner                     string // of leases held by others
		mine, free, again, barred bool
		foreign                   bool // an owner that knows no tenures
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
		{name: "another holds 1 of 4: target 2", groups: []group{free(3), of("b", 1)}, take: 2},
		{name: "free twice: taken beyond the target", groups: []group{{n: 3, free: true, again: true}, of("b", 1)}, take: 3},
		{name: "free twice, but at most 2", groups: []group{{n: 3, free: true, again: true}, of("b", 1)}, most: 2, take: 2},
		{name: "2, 2 and my 1 of 5: target 2, nobody has two more", groups: []group{of("b", 2), of("c", 2), mine(1)}},
		{name: "1, 5 and my 0 of 6: target 2, both from the 5", groups: []group{of("b", 1), of("c", 5)}, ask: 2},
		{name: "3 and 2 of 5: one from the 3", groups: []group{of("b", 3), of("c", 2)}, ask: 1},
		{name: "one lease for two workers", groups: []group{of("b", 1)}},
		{name: "nothing is asked for while something is free", groups: []group{free(1), of("b", 9)}, take: 1},
		{name: "78 of one worker: as many as one may ask for", groups: []group{of("b", 78)}, ask: 16},
		{name: "at most 3 are asked for", groups: []group{of("b", 78)}, most: 3, ask: 3},
		{name: "barred leases are left to others", groups: []group{{n: 2, free: true, barred: true}}},
		{name: "owners without tenures are not asked", groups: []group{{n: 8, owner: "java", foreign: true}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var leases []candidate
			for _, g := range tt.groups {
				for range g.n {
					l := Lease{Key: fmt.Sprint(len(leases)), Owner: g.owner}
					if g.owner != "" && !g.foreign {
						l.Tenure = "t"
					}
					leases = append(leases, candidate{sighting: sighting{lease: l, free: g.free, again: g.again}, mine: g.mine, barred: g.barred})
				}
			}
			take, ask := plan("me", leases, tt.most, atOnce, rand.New(rand.NewPCG(1, 1)))
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

// The clock starts when this worker first sees a lease as it is.
func TestSightings(t *testing.T) {
	s := sightings{failover: 10 * time.Second}
	owned := Lease{Key: "k", Owner: "b", Counter: 3, Tenure: "t"}
	renewed := owned
	renewed.Counter++
	retaken := renewed
	retaken.Tenure = "u"
	asked := retaken
	asked.Owner, asked.HandingOver = "me", "b"
	given := asked
	given.HandingOver, given.Tenure = "", ""
	for i, step := range []struct {
		at    time.Duration
		lease Lease
		free  bool
	}{
		{100 * time.Second, owned, false},              // first sight
		{110 * time.Second, owned, false},              // unchanged for 10 s: not more than the fail-over time
		{110*time.Second + 1, owned, true},             // more
		{111 * time.Second, renewed, false},            // the owner lives
		{121 * time.Second, retaken, false},            // in a new tenure
		{131 * time.Second, asked, false},              // being handed to me: not yet mine
		{142 * time.Second, asked, true},               // but the old owner renews no longer
		{143 * time.Second, given, true},               // handed to me
		{144 * time.Second, Lease{Key: "k"}, true},     // nobody's
		{145 * time.Second, Lease{Key: "k"}, true},     // still
		{146 * time.Second, Lease{Key: "other"}, true}, // new and nobody's
		{147 * time.Second, owned, false},              // first sight again
	} {
		s.scan([]Lease{step.lease}, step.at, "me")
		if got := s.leases[step.lease.Key].free; got != step.free {
			t.Errorf("step %d: free is %t, want %t", i, got, step.free)
		}
		if len(s.leases) != 1 {
			t.Errorf("step %d: %d leases are remembered", i, len(s.leases))
		}
	}
}
