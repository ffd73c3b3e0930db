package checkpoint

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Step is what is desired after the next steps of the commands that have some,
// as far as these leases, read after d was, say that the last ones are done.
// It is d itself when nothing is done.
//
// A replay goes from pausing to setting when nobody delivers any more, and ends
// when every lease that knows the destination is set and every stream's removed
// leases were made again: made are streams of which that is so, beside those
// that the replay names already. A removal's names leave when nobody delivers to
// them any more, and it ends when no lease knows the destination.
func (d Desired) Step(leases []Lease, made []string, now time.Time) Desired {
	leases = current(leases)
	next := d.Clone()
	next.Version = max(d.Version, highest(leases)) + 1
	done := false
	for _, name := range slices.Sorted(maps.Keys(next.Destinations)) {
		w := next.Destinations[name]
		switch r := w.Replay; {
		case r == nil:
		case r.Set == 0 && allQuiet(leases, r.Version):
			set := *r
			set.Set = next.Version
			set.Leases = descendants(r.Leases, leases)
			w.Replay, done = &set, true
			// Nothing of it is in flight any more, by any clock that is right to a minute.
			w.Replayed = &Replayed{Command: r.Command, Until: now.UTC().Add(clockMargin).Truncate(time.Second)}
		case r.Set > 0:
			if news := r.news(name, leases, made); len(news) > 0 {
				set := *r
				set.Streams = slices.Sorted(slices.Values(append(news, r.Streams...)))
				w.Replay, done = &set, true
			}
			if w.Replay.done(name, leases) {
				w.Replay, done = nil, true
			}
		}
		switch r := w.Removal; {
		case r == nil:
		case r.Set == 0 && allQuiet(leases, r.Version):
			leaving := *r
			leaving.Set = next.Version
			w.Removal, done = &leaving, true
		case r.Set > 0 && removed(name, r.Set, leases):
			w.Removal, done = nil, true
		}
		next.put(name, w)
	}
	if !done {
		return d
	}
	return next
}

// clockMargin is by how much the clocks of workers and of streams may differ.
const clockMargin = time.Minute

// done says whether a replay's position is set in every lease.
func (r *Replay) done(name string, leases []Lease) bool {
	for _, l := range leases {
		if !l.Lists(name) {
			continue
		}
		named := l.Stream == "" || slices.Contains(r.Streams, l.Stream)
		if _, touched := r.Where(l.Key); touched && (r.Setting(l.Acknowledged) || !named) {
			return false
		}
	}
	return true
}

// news are the streams of made that a replay may name: it does not yet, and is
// set in all their leases.
func (r *Replay) news(name string, leases []Lease, made []string) []string {
	return slices.DeleteFunc(slices.Clone(made), func(stream string) bool {
		unset := func(l Lease) bool {
			_, touched := r.Where(l.Key)
			return (l.Stream == stream || l.Stream == "") && l.Lists(name) && touched && r.Setting(l.Acknowledged)
		}
		return slices.Contains(r.Streams, stream) || slices.ContainsFunc(leases, unset)
	})
}

// descendants adds to the leases that a replay sets back those that have come
// below them since it was ordered: they are set back to their beginning.
func descendants(set map[string]Position, leases []Lease) map[string]Position {
	if set == nil {
		return nil
	}
	set = maps.Clone(set)
	for found := true; found; {
		found = false
		for _, l := range leases {
			_, there := set[l.Key]
			below := func(id string) bool { _, ok := set[l.keyOf(id)]; return ok }
			if !there && slices.ContainsFunc(l.Parents, below) {
				set[l.Key], found = TrimHorizon, true
			}
		}
	}
	return set
}

// removed says whether a destination has left every lease.
func removed(name string, version int64, leases []Lease) bool {
	return allQuiet(leases, version) && !slices.ContainsFunc(leases, func(l Lease) bool { return l.Acknowledged < version && l.Lists(name) })
}

// current leaves out leases of streams that were deleted and made again since:
// nobody reads them.
func current(leases []Lease) []Lease {
	newest := map[string]int64{}
	for _, l := range leases {
		if account, name, created, err := ParseStreamID(l.Stream); err == nil {
			newest[account+":"+name] = max(newest[account+":"+name], created.Unix())
		}
	}
	return slices.DeleteFunc(slices.Clone(leases), func(l Lease) bool {
		account, name, created, err := ParseStreamID(l.Stream)
		return err == nil && created.Unix() < newest[account+":"+name]
	})
}

// Again are the leases of a stream that were removed, because their shards had
// been read to the end, and that a replay of name has to make again: at their
// end, with the destination behind. shards and leases are those of the stream.
// Key and Stream are the caller's to fill in, and where the destination stands
// in a lease, which Where tells by its key.
func Again(shards []Shard, leases []Lease, name string, r *Replay) []Lease {
	listed := make(map[string]Shard, len(shards))
	for _, s := range shards {
		listed[s.ID] = s
	}
	leased := make(map[string]Lease, len(leases))
	roster := map[string]bool{name: true}
	for _, l := range leases {
		leased[l.Shard] = l
		for _, n := range l.Roster {
			roster[n] = true
		}
		delete(roster, Nobody)
	}
	if !slices.ContainsFunc(leases, func(l Lease) bool { return l.Lists(name) }) {
		return nil // it does not get this stream
	}
	through := continued(leases, listed, leased)
	var again []Lease
	for _, s := range shards {
		if _, ok := leased[s.ID]; ok || !through[s.ID] {
			continue
		}
		l := newLease(s, ShardEnd)
		l.Roster, l.Acknowledged = slices.Sorted(maps.Keys(roster)), r.Set
		l.Behind = map[string]Entry{name: {At: r.From}}
		again = append(again, l)
	}
	slices.SortFunc(again, func(a, b Lease) int { // children first: so one that lacks its parents is never a beginning
		return cmp.Or(compareDigits(listed[b.Shard].Start, listed[a.Shard].Start), cmp.Compare(a.Shard, b.Shard))
	})
	return again
}
