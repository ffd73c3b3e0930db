package checkpoint

import (
	"math/big"
	"slices"
)

// HashRange is a part of the hash key space: decimal, both ends inclusive.
type HashRange struct{ From, To string }

// lastHashKey is 2^128-1, the end of the hash key space.
var lastHashKey = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 128), big.NewInt(1))

// Holes are the parts of the hash key space that nobody reads and nobody comes
// to: no lease that is not at its end covers them, nor does a listed descendant
// of one. leases are those of the stream, with what Audit creates. Right after
// a reshard there may be a hole for as long as a listing is old. Without the
// ranges of all open shards nothing can be said: nil.
func Holes(shards []Shard, leases []Lease) []HashRange {
	type span struct{ from, to *big.Int }
	var spans []span
	covered := func(from, to string) bool {
		f, okFrom := new(big.Int).SetString(from, 10)
		t, okTo := new(big.Int).SetString(to, 10)
		if okFrom && okTo {
			spans = append(spans, span{f, t})
		}
		return okFrom && okTo
	}
	comes := reached(shards, leases)
	for _, s := range shards {
		known := covered(s.HashFrom, s.HashTo)
		if !known && !s.Closed {
			return nil
		}
		if known && !comes[s.ID] {
			spans = spans[:len(spans)-1]
		}
	}
	for _, l := range leases {
		if !l.Finished() {
			covered(l.HashFrom, l.HashTo)
		}
	}
	slices.SortFunc(spans, func(a, b span) int { return a.from.Cmp(b.from) })
	var holes []HashRange
	one, next := big.NewInt(1), new(big.Int) // the first key that is not covered yet
	hole := func(before *big.Int) {
		if next.Cmp(before) < 0 {
			holes = append(holes, HashRange{next.String(), new(big.Int).Sub(before, one).String()})
		}
	}
	for _, s := range spans {
		hole(s.from)
		if s.to.Cmp(next) >= 0 {
			next = new(big.Int).Add(s.to, one)
		}
	}
	hole(new(big.Int).Add(lastHashKey, one))
	return holes
}

// reached are the listed shards that have a lease which is not at its end, or
// descend from one that has.
func reached(shards []Shard, leases []Lease) map[string]bool {
	comes := make(map[string]bool)
	for _, l := range leases {
		if !l.Finished() {
			comes[l.Shard] = true
		}
	}
	for more := true; more; {
		more = false
		for _, s := range shards {
			if !comes[s.ID] && slices.ContainsFunc(s.Parents, func(id string) bool { return comes[id] }) {
				comes[s.ID], more = true, true
			}
		}
	}
	return comes
}

// Heal says what closes a hole that lineage alone does not explain. create are
// leases at TRIM_HORIZON, Key and Stream left to the caller, for the open
// shards that lie in it: rather repeated than skipped. reset are leases at
// SHARD_END of shards that are open: they say what is not so, and have to be
// deleted before theirs are created.
func Heal(shards []Shard, leases []Lease, holes []HashRange) (create, reset []Lease) {
	for _, s := range shards {
		if s.Closed || !slices.ContainsFunc(holes, s.overlaps) {
			continue
		}
		i := slices.IndexFunc(leases, func(l Lease) bool { return l.Shard == s.ID })
		switch {
		case i >= 0 && !leases[i].Finished():
			continue
		case i >= 0:
			reset = append(reset, leases[i])
		}
		create = append(create, Lease{Shard: s.ID, Parents: s.Parents, HashFrom: s.HashFrom, HashTo: s.HashTo})
	}
	return create, reset
}

func (s Shard) overlaps(r HashRange) bool {
	return compareDigits(s.HashFrom, r.To) <= 0 && compareDigits(r.From, s.HashTo) <= 0
}
