package checkpoint

import (
	"cmp"
	"slices"
)

// Audit compares a stream's shards with the leases of that stream, which all
// of them are. initial is where the application begins with the stream; tip says
// that initial is the time of this listing, so that closed shards hold nothing
// newer ("latest"). That holds at first sight alone: once the stream has leases,
// a shard whose ancestors are unknown (the stream has trimmed them) begins at
// the time of first sight, if a lease still tells it, or at TRIM_HORIZON.
//
// create are the leases that are missing, ancestors first; Key and Stream are
// the caller's to fill in. A shard with an ancestor that is listed or leased
// gets its lease when that one ends; Audit makes it only when all leased
// parents are finished already (somebody died in between, or the item was
// lost). Then, and only then, it begins at TRIM_HORIZON whatever initial says.
// A shard with a leased descendant has been read to its end, and its lease
// removed: it gets none, for as long as the stream may still list it.
//
// first says where the first leases begin, when that was decided once for all
// workers. What it names and has no lease counts as leased, and is created: two
// workers whose first listings differ, by a split between them, do not create a
// shard and its ancestor both. A listing that is older than that decision tells
// of nothing else.
//
// remove are leases that are through: SHARD_END, nobody behind, every child
// begun, and no lease of a parent left. Whether somebody still holds one, or
// died before releasing it, is the caller's to know. Every child lists whoever this one
// lists: a subscriber that joined here, and not yet there, still has to get the
// child's records, and once this lease is gone only the child's roster says so.
func Audit(shards []Shard, leases []Lease, initial Position, tip bool, first map[string]Position) (create, remove []Lease) {
	listed := make(map[string]Shard, len(shards))
	for _, s := range shards {
		listed[s.ID] = s
	}
	leased := make(map[string]Lease, len(leases))
	for _, l := range leases {
		leased[l.Shard] = l
	}

	all := slices.Clone(leases)
	read := continued(leases, listed, leased)
	for _, s := range shards {
		at, decided := first[s.ID]
		if _, ok := leased[s.ID]; ok || read[s.ID] || !decided {
			continue
		}
		l := newLease(s, at)
		create, all = append(create, l), append(all, l)
		leased[s.ID] = l
	}
	if predates(listed, first) {
		return create, nil // what else it lacks, it cannot tell
	}
	if tip && len(all) > 0 {
		tip, initial = false, firstSight(all)
	}
	through := continued(all, listed, leased)
	shards = slices.SortedFunc(slices.Values(shards), func(a, b Shard) int {
		return cmp.Or(compareDigits(a.Start, b.Start), cmp.Compare(a.ID, b.ID))
	})
	for _, s := range shards {
		if _, ok := leased[s.ID]; ok || through[s.ID] {
			continue
		}
		at, ok := startOf(s, listed, leased, through, initial, tip)
		if !ok {
			continue
		}
		create = append(create, newLease(s, at))
	}
	for _, l := range leases {
		if removable(l, shards, leases, leased) {
			remove = append(remove, l)
		}
	}
	return create, remove
}

// predates says whether a listing lacks a shard of first that is newer than all
// that it has: ids grow.
func predates(listed map[string]Shard, first map[string]Position) bool {
	newest := ""
	for id := range listed {
		newest = max(newest, id)
	}
	for id := range first {
		if _, ok := listed[id]; !ok && id > newest {
			return true
		}
	}
	return false
}

func newLease(s Shard, at Position) Lease {
	return Lease{Shard: s.ID, Saved: Saved{Checkpoint: at}, Parents: s.Parents, HashFrom: s.HashFrom, HashTo: s.HashTo}
}

// firstSight is the earliest time that a lease still stands at, else
// TRIM_HORIZON.
func firstSight(leases []Lease) Position {
	first := TrimHorizon
	for _, l := range leases {
		if t, ok := l.Checkpoint.Time(); ok {
			if earliest, known := first.Time(); !known || t.Before(earliest) {
				first = l.Checkpoint
			}
		}
	}
	return first
}

// startOf says where a shard without a lease begins; false: not yet.
func startOf(s Shard, listed map[string]Shard, leased map[string]Lease, through map[string]bool, initial Position, tip bool) (Position, bool) {
	continues := false
	for _, id := range s.Parents {
		parent, isLeased := leased[id]
		_, isListed := listed[id]
		switch {
		case isLeased && !parent.Finished():
			return Position{}, false
		case isLeased:
			continues = true
		case !isListed:
			// trimmed
		case tip && !hasLeasedAncestor(id, listed, leased):
			// What the parent holds is older than the tip.
		case through[id]:
			// It has been read to its end and its lease removed; the lease of
			// this child of it was lost.
		default:
			return Position{}, false // the parent's lease comes first
		}
	}
	if continues {
		return TrimHorizon, true
	}
	if tip && s.Closed {
		return Position{}, false // it holds nothing that is newer than the tip
	}
	return initial, true
}

func hasLeasedAncestor(id string, listed map[string]Shard, leased map[string]Lease) bool {
	seen := make(map[string]bool) // a service that lists a circle must not hang us
	var look func(id string) bool
	look = func(id string) bool {
		if seen[id] {
			return false
		}
		seen[id] = true
		if _, ok := leased[id]; ok {
			return true
		}
		return slices.ContainsFunc(listed[id].Parents, look)
	}
	return look(id)
}

// Unread are those of the shards with these ids that have no lease, are listed,
// and for all that the leases say were not read to their end: Audit makes them
// one, and their children have to wait for it.
func Unread(ids []string, shards []Shard, leases []Lease) []string {
	listed := make(map[string]Shard, len(shards))
	for _, s := range shards {
		listed[s.ID] = s
	}
	leased := make(map[string]Lease, len(leases))
	for _, l := range leases {
		leased[l.Shard] = l
	}
	through := continued(leases, listed, leased)
	var unread []string
	for _, id := range ids {
		_, isListed := listed[id]
		if _, isLeased := leased[id]; isListed && !isLeased && !through[id] {
			unread = append(unread, id)
		}
	}
	return unread
}

// continued are the shards that a leased one descends from and that were read
// to their end for it. A lease that stands at its beginning may have been made
// when only one of its parents had ended; those of its parents are kept until
// it has begun. So a parent without a lease lost it, and gets another one.
// A lease of first sight, at a time, has parents that hold nothing newer.
func continued(leases []Lease, listed map[string]Shard, leased map[string]Lease) map[string]bool {
	above := make(map[string]bool)
	var climb func(parents []string)
	climb = func(parents []string) {
		for _, id := range parents {
			if !above[id] {
				above[id] = true
				climb(listed[id].Parents)
			}
		}
	}
	for _, l := range leases {
		child := l.Checkpoint == TrimHorizon || slices.ContainsFunc(l.Parents, func(id string) bool {
			_, ok := leased[id]
			return ok
		})
		if ordered(l.Checkpoint) || !child {
			climb(l.Parents)
		}
	}
	return above
}

// removable says whether nobody needs a lease any more.
func removable(l Lease, shards []Shard, leases []Lease, leased map[string]Lease) bool {
	if !l.Finished() || len(l.Behind) > 0 {
		return false
	}
	for _, id := range l.Parents {
		if _, ok := leased[id]; ok {
			return false
		}
	}
	children := 0
	for _, c := range leases {
		if slices.Contains(c.Parents, l.Shard) {
			children++
			if !ordered(c.Checkpoint) || !covers(c.Roster, l.Roster) {
				return false
			}
		}
	}
	for _, s := range shards {
		if _, ok := leased[s.ID]; !ok && slices.Contains(s.Parents, l.Shard) {
			return false // its lease was lost, and is made anew from this one
		}
	}
	for _, id := range l.Children {
		if _, ok := leased[id]; !ok {
			return false
		}
	}
	return children > 0
}

// covers says whether a roster lists everybody whom another one lists.
func covers(roster, other []string) bool {
	return !slices.ContainsFunc(other, func(name string) bool { return name != Nobody && !slices.Contains(roster, name) })
}

// ordered says whether a position is one of a record, or behind the last.
func ordered(p Position) bool { return p.IsNumber() || p == ShardEnd }
