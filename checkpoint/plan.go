package checkpoint

import (
	"cmp"
	"hash/fnv"
	"maps"
	"math"
	"slices"
)

// candidate is a lease that this worker wants, held by itself or not.
type candidate struct {
	lease   Lease
	mine    bool   // this worker holds it, or has asked for it
	barred  bool   // this worker must not take it now
	free    bool   // it may be taken
	sure    bool   // free, and nobody else's to take: handed to this worker, or taken by it without knowing
	spare   bool   // free for so long that whoever it was dealt to does not come for it
	from    string // free: who let it go or let it expire
	foreign bool   // a KCL worker renews it, on a table that is shared with them
}

// load is what a worker holds of the leases that this one wants.
type load struct {
	leases    int
	work      float64 // kB/s
	shardline bool    // it plans as this worker does
	gone      bool    // it lets go of leases: it stops, or is dead
	give      []Lease // what it may be asked for
	foreign   []Lease // what may be stolen from it: it is a KCL worker
}

// view is the fleet as one worker sees it at one moment. Workers that see the
// same come to the same plan, so that each takes and asks for its own part of it.
type view struct {
	worker string
	most   int // leases that a worker may hold; 0: no limit
	loads  map[string]*load
	owners []string    // of loads, sorted
	free   []candidate // what nobody holds, and what those will let go who are gone: it is dealt at once
	moving bool        // a lease is being handed over
	mean   float64     // work per worker
}

// look counts. Leases that nobody holds count for nobody.
func look(worker string, leases []candidate, most int) *view {
	v := &view{worker: worker, most: most, loads: map[string]*load{}}
	v.load(worker).shardline = true
	for _, c := range leases {
		if c.free && !c.mine && !c.barred && c.from != "" && c.from != worker {
			v.load(c.from).gone = true
		}
	}
	for _, c := range leases {
		owner := worker
		if !c.mine {
			owner = c.lease.Owner
		}
		if !c.mine && (c.free || v.load(owner).gone) {
			if !c.barred {
				v.free = append(v.free, c)
			}
			continue
		}
		v.moving = v.moving || c.lease.HandingOver != ""
		o := v.load(owner)
		o.leases++
		o.work += c.lease.Throughput
		if c.foreign && !c.mine && !c.barred {
			o.foreign = append(o.foreign, c.lease)
		}
		if _, ours := c.lease.Holder(); ours {
			o.shardline = true
			if c.lease.HandingOver == "" && !c.barred && owner != worker {
				o.give = append(o.give, c.lease)
			}
		}
	}
	delete(v.loads, "")
	v.owners = slices.Sorted(maps.Keys(v.loads))
	workers := 0
	for _, o := range v.loads {
		if v.mean += o.work; !o.gone {
			workers++
		}
	}
	v.mean /= float64(workers)
	slices.SortFunc(v.free, func(a, b candidate) int { return cmp.Compare(a.lease.Key, b.lease.Key) })
	return v
}

func (v *view) load(worker string) *load {
	if v.loads[worker] == nil {
		v.loads[worker] = &load{}
	}
	return v.loads[worker]
}

// fewest is the worker that gets the next lease: of those with room the one
// with the fewest, by id among equals; empty: none.
func (v *view) fewest(out map[string]bool) string {
	to := ""
	for _, w := range v.owners {
		o := v.loads[w]
		if !o.shardline || o.gone || out[w] || v.most > 0 && o.leases >= v.most {
			continue
		}
		if to == "" || o.leases < v.loads[to].leases {
			to = w
		}
	}
	return to
}

// takes are the free leases that this worker takes now: what is surely its own,
// its part of the deal, and what nobody came for.
//
// Every worker gets as many as level the counts. Which ones is decided by hash:
// when somebody has taken a part of its own, the others' parts are still the
// same, so that workers that look at different moments do not collide.
func (v *view) takes() []Lease {
	me := v.loads[v.worker]
	room := math.MaxInt
	if v.most > 0 {
		room = v.most - me.leases
	}
	var take []Lease
	var deal []candidate
	for _, c := range v.free {
		if c.sure {
			take = append(take, c.lease)
		} else {
			deal = append(deal, c)
		}
	}
	me.leases += len(take)
	left := map[string]int{} // how many each worker still gets
	for range deal {
		to := v.fewest(nil)
		if to == "" {
			break
		}
		v.loads[to].leases++
		left[to]++
	}
	for _, c := range deal {
		to := ""
		for _, w := range v.owners {
			if left[w] > 0 && (to == "" || preference(w, c.lease.Key) > preference(to, c.lease.Key)) {
				to = w
			}
		}
		if to != "" {
			left[to]--
		}
		if c.free && (to == v.worker || c.spare) && len(take) < room {
			take = append(take, c.lease)
		}
	}
	return take
}

// asks are the leases that this worker asks for, at most most of them: its part
// of the fewest moves after which the counts differ by one at most. None while
// something is free. A worker that has nothing yet is not known to others that
// have nothing yet: it asks for one, and sees them the next time.
func (v *view) asks(most int) []Lease {
	if len(v.free) > 0 {
		return nil
	}
	if v.loads[v.worker].leases == 0 {
		most = min(most, 1)
	}
	var ask []Lease
	full := map[string]bool{} // workers for which nothing fits
	for len(ask) < most {
		to := v.fewest(full)
		if to == "" {
			break
		}
		from, i := v.donor(to)
		if from == "" {
			full[to] = true
			continue
		}
		l := v.loads[from].give[i]
		v.move(from, i, to)
		if to == v.worker {
			ask = append(ask, l)
		}
	}
	return ask
}

// steals is the lease that this worker takes from a KCL worker, which cannot be
// asked: when it has the fewest of all Shardline workers, one of the KCL worker
// with the most, until the two are within one of each other. KCL counts finished
// leases too and steals from whoever has more than its share of all: neither side
// takes what the other would take back.
func (v *view) steals() (Lease, bool) {
	if len(v.free) > 0 || v.fewest(nil) != v.worker {
		return Lease{}, false
	}
	most := v.loads[v.worker].leases + 1
	var of *load
	for _, w := range v.owners {
		if o := v.loads[w]; len(o.foreign) > 0 && o.leases > most {
			most, of = o.leases, o
		}
	}
	if of == nil {
		return Lease{}, false
	}
	return slices.MaxFunc(of.foreign, func(a, b Lease) int {
		return cmp.Compare(preference(v.worker, a.Key), preference(v.worker, b.Key))
	}), true
}

// donor is the worker with the most leases that may give one to to, and which.
func (v *view) donor(to string) (from string, i int) {
	r := v.loads[to]
	donors := slices.Clone(v.owners)
	slices.SortStableFunc(donors, func(a, b string) int { return cmp.Compare(v.loads[b].leases, v.loads[a].leases) })
	for _, w := range donors {
		if v.loads[w].leases < r.leases+2 {
			break
		}
		if i := v.ordinary(w, to); i >= 0 {
			return w, i
		}
	}
	return "", -1
}

// ordinary is the lease of from whose work is nearest to the mean of its
// leases, among those that do not uneven the work; -1: none.
func (v *view) ordinary(from, to string) int {
	f, best := v.loads[from], -1
	mean := f.work / float64(f.leases)
	off := func(i int) float64 { return math.Abs(f.give[i].Throughput - mean) }
	for i, l := range f.give {
		if !v.fits(from, to, l.Throughput) {
			continue
		}
		if best < 0 || off(i) < off(best) || off(i) == off(best) && preference(to, l.Key) > preference(to, f.give[best].Key) {
			best = i
		}
	}
	return best
}

func (v *view) move(from string, i int, to string) {
	f, t := v.loads[from], v.loads[to]
	l := f.give[i]
	f.give = slices.Delete(f.give, i, i+1)
	f.leases, t.leases = f.leases-1, t.leases+1
	f.work, t.work = f.work-l.Throughput, t.work+l.Throughput
}

// preference orders workers for a lease; the same in every process.
func preference(worker, key string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(worker))
	_, _ = h.Write([]byte{0})
	_, _ = h.Write([]byte(key))
	x := h.Sum64() // its last characters hardly touch the upper bits: mix them
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	return x
}
