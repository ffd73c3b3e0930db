package checkpoint

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// candidate is a lease that this worker wants, held by itself or not.
type candidate struct {
	sighting
	mine   bool // this worker holds it, or has asked for it
	barred bool // this worker must not take it now
}

// plan decides what a pass takes and whom it asks. Every worker aims at
// ceil(leases / workers that hold one), at most most leases when most > 0.
//
// Free leases are taken in random order up to that. What is still free at the
// next pass is taken by anybody: no lease stays free for the sake of balance.
// Only when nothing is free are leases asked from the most loaded worker, at
// most asks of them, until the two are within one of each other.
func plan(worker string, leases []candidate, most, asks int, rnd *rand.Rand) (take, ask []Lease) {
	held := map[string]int{worker: 0}
	theirs := map[string][]Lease{}
	var free []candidate
	for _, c := range leases {
		switch {
		case c.mine:
			held[worker]++
		case c.free:
			if !c.barred {
				free = append(free, c)
			}
		default:
			held[c.lease.Owner]++
			if c.lease.Tenure != "" && c.lease.HandingOver == "" && !c.barred {
				theirs[c.lease.Owner] = append(theirs[c.lease.Owner], c.lease)
			}
		}
	}
	room := len(leases)
	if most > 0 {
		room = most - held[worker]
	}
	target := (len(leases) + len(held) - 1) / len(held)

	rnd.Shuffle(len(free), func(i, j int) { free[i], free[j] = free[j], free[i] })
	slices.SortStableFunc(free, func(a, b candidate) int { // those that wait longer first
		switch {
		case a.again == b.again:
			return 0
		case a.again:
			return -1
		}
		return 1
	})
	for _, c := range free {
		if len(take) < room && (c.again || held[worker]+len(take) < target) {
			take = append(take, c.lease)
		}
	}
	if len(free) > 0 {
		return take, nil
	}
	owners := slices.Sorted(maps.Keys(theirs))
	for held[worker] < target && len(ask) < min(room, asks) {
		from := ""
		for _, o := range owners {
			if len(theirs[o]) > 0 && held[o] > held[worker]+1 && (from == "" || held[o] > held[from]) {
				from = o
			}
		}
		if from == "" {
			break
		}
		i := rnd.IntN(len(theirs[from]))
		ask = append(ask, theirs[from][i])
		theirs[from] = slices.Delete(theirs[from], i, i+1)
		held[from]--
		held[worker]++
	}
	return take, ask
}
