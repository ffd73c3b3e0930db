package checkpoint

import "math"

// Leases carry the work that they make, in kB/s. Workers even it, beyond the
// counts, when it is uneven by more than a quarter of the mean; the count rule
// in turn does not uneven it by more than an eighth. Between the two nothing
// moves, so that the rules cannot undo each other. What is below quiet is
// never worth a move.
const (
	quiet  = 64.0 // kB/s
	uneven = 1.0 / 4
	even   = 1.0 / 8
)

// fits says whether the count rule may move so much work: from one who has no
// less to do afterwards than the other had, or where the fleet stays even.
func (v *view) fits(from, to string, work float64) bool {
	f, t := v.loads[from].work-work, v.loads[to].work+work
	if t <= v.loads[from].work {
		return true
	}
	low, high := min(f, t), max(f, t)
	for w, o := range v.loads {
		if w != from && w != to && !o.gone {
			low, high = min(low, o.work), max(high, o.work)
		}
	}
	return high-low <= max(even*v.mean, quiet/2)
}

// evens is the lease that this worker asks for to even the work: when it has
// the least to do, the one that evens best, of the most loaded worker that has
// a good one. A move that would turn the difference round, or leave more than
// three quarters of it, is not worth it.
func (v *view) evens() (Lease, bool) {
	if v.moving || len(v.free) > 0 || v.least() != v.worker {
		return Lease{}, false
	}
	mine := v.loads[v.worker].work
	best, lease := -1.0, Lease{}
	for _, w := range v.owners {
		gap := v.loads[w].work - mine
		if gap <= max(uneven*v.mean, quiet) || gap <= best {
			continue
		}
		rest := 0.75 * gap
		for _, l := range v.loads[w].give {
			if after := math.Abs(gap - 2*l.Throughput); after < rest {
				best, rest, lease = gap, after, l
			}
		}
	}
	return lease, best > 0
}

// least is the worker with the least to do among those with room.
func (v *view) least() string {
	to := ""
	for _, w := range v.owners {
		o := v.loads[w]
		if !o.shardline || o.gone || v.most > 0 && o.leases >= v.most {
			continue
		}
		if to == "" || o.work < v.loads[to].work {
			to = w
		}
	}
	return to
}
