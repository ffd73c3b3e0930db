package pipeline

import (
	"maps"
	"slices"
	"time"

	"github.com/shardline/shardline/checkpoint"
)

// Initial is where somebody begins who has no position yet. The zero value
// is the oldest record that the stream holds.
type Initial struct {
	latest bool
	time   time.Time
}

// InitialLatest begins behind what is settled already (a destination), or at
// the tip (a source).
func InitialLatest() Initial { return Initial{latest: true} }

// InitialTime begins with the first record that arrived at t or later.
func InitialTime(t time.Time) Initial { return Initial{time: t} }

// position is where a subscriber begins that a checkpoint does not cover.
func (i Initial) position(checkpointed checkpoint.Position) checkpoint.Position {
	switch {
	case i.latest:
		return checkpointed
	case i.time.IsZero():
		return checkpoint.TrimHorizon
	}
	return checkpoint.At(i.time)
}

// plan is how a tenure begins with a shard: what a worker makes of the lease
// item, its parents' items and its own configuration (the model's Take).
type plan struct {
	taken  checkpoint.Position         // the checkpoint as taken
	roster []string                    // sorted: the item's, the parents' at a first take, and the worker's
	starts map[string]checkpoint.Entry // of the worker's subscribers that have something to read here
	held   map[string]checkpoint.Entry // whose gate is shut, the worker's or not
	absent map[string]checkpoint.Entry // on the roster, but not the worker's: they keep their place
	save   bool                        // the item must say this before the first attempt
	// shared: KCL workers live on the table, who would serve nobody that is
	// behind. Nobody gets an entry in this tenure; those there are only move up.
	shared bool
	left   []string // shared: on the roster, but not the worker's: the checkpoint goes on without them
}

// makePlan compares the saved form of a lease with the worker's subscribers
// and where new ones begin. parents are the leases of the parents that still
// exist, all finished. On a table that is shared with KCL workers everybody
// without an entry begins at the checkpoint.
func makePlan(saved checkpoint.Saved, parents []checkpoint.Lease, subscribers map[string]Initial, shared bool) plan {
	known := saved.Roster
	if len(known) == 0 {
		for _, p := range parents {
			known = append(known, p.Roster...)
		}
	}
	p := plan{
		taken:  saved.Checkpoint,
		shared: shared,
		starts: make(map[string]checkpoint.Entry),
		held:   make(map[string]checkpoint.Entry),
		absent: make(map[string]checkpoint.Entry),
	}
	// Without any roster the checkpoint was written for everybody: a new
	// lease, or one of a KCL application.
	founders := len(known) == 0
	p.roster = union(known, slices.Collect(maps.Keys(subscribers)))
	if len(p.roster) > 1 || shared {
		p.roster = slices.DeleteFunc(p.roster, func(name string) bool { return name == checkpoint.Nobody })
	}
	if shared {
		p.roster, p.left = split(p.roster, func(name string) bool {
			_, ours := subscribers[name]
			_, behind := saved.Behind[name]
			return ours || behind
		})
	}
	p.save = !slices.Equal(p.roster, saved.Roster)

	for _, name := range p.roster {
		if name == checkpoint.Nobody {
			continue
		}
		initial, ours := subscribers[name]
		entry, behind := saved.Behind[name]
		if !behind {
			entry = checkpoint.Entry{At: saved.Checkpoint}
			if !founders && !shared && !slices.Contains(known, name) {
				entry.At = initial.position(saved.Checkpoint)
			}
		}
		switch {
		case !gateOpen(name, parents, shared):
			p.held[name] = entry
		case !ours:
			p.absent[name] = entry
		case entry.At != checkpoint.ShardEnd || len(entry.Keys) > 0:
			p.starts[name] = entry
		}
	}
	return p
}

// gateOpen says whether a subscriber may get records of a shard with these
// parents: it has settled each of them, parked keys aside (the model's GateOpen).
// What a lease item says of it stays true, so that an old reading can only be too
// careful. On a shared table whom a parent's roster lacks is behind nowhere.
func gateOpen(name string, parents []checkpoint.Lease, shared bool) bool {
	for _, p := range parents {
		if !p.Finished() {
			return false
		}
		if e, behind := p.Behind[name]; behind && (shared || e.At != checkpoint.ShardEnd) {
			return false
		}
		if shared {
			continue
		}
		if len(p.Roster) > 0 && !slices.Contains(p.Roster, name) {
			return false
		}
	}
	return true
}

// heldKeys are the keys of a subscriber whose gates are shut: a parent's records
// of them are not settled.
func heldKeys(name string, parents []checkpoint.Lease) map[string]checkpoint.Position {
	var keys map[string]checkpoint.Position
	for _, p := range parents {
		for key, at := range p.Behind[name].Keys {
			if keys == nil {
				keys = make(map[string]checkpoint.Position)
			}
			keys[key] = at
		}
	}
	return keys
}

// from is the position to read from.
func (p plan) from() checkpoint.Position { return checkpoint.Lowest(p.places()...) }

// places are the positions behind which somebody has something to read.
func (p plan) places() []checkpoint.Position {
	var positions []checkpoint.Position
	for _, e := range p.starts {
		positions = append(positions, e.At)
		positions = slices.AppendSeq(positions, maps.Values(e.Keys))
	}
	return positions
}

// standing is where a subscriber stands that the worker serves.
type standing struct {
	checkpoint.Entry
	live bool // it counts for the checkpoint
}

// form computes the saved form anew (the model's Form). The checkpoint is the
// smallest position of the live subscribers and never goes back behind c; when
// ahead is set it is the greatest of all, and the others stand behind it: so a
// planned end repeats nothing for anybody. On a shared table it is always the smallest
// of all subscribers and of parked keys too: a KCL worker that takes the lease
// gives everybody the rest.
func (p plan) form(c checkpoint.Position, places map[string]standing, ahead bool) checkpoint.Saved {
	c = p.checkpoint(c, places, ahead && !p.shared)
	saved := checkpoint.Saved{Checkpoint: c, Roster: p.roster, Behind: make(map[string]checkpoint.Entry)}
	for name, s := range places {
		e, needed := checkpoint.Entry{At: s.At}, !p.reached(name, p.place(s.Entry), c)
		for key, at := range s.Keys {
			// What is settled further than the rest is repeated after a crash, not
			// after a planned end.
			if at == s.At || reached(at, s.At) && !ahead {
				continue
			}
			if e.Keys == nil {
				e.Keys = make(map[string]checkpoint.Position)
			}
			e.Keys[key] = at
			needed = needed || !p.shared && (ahead || !reached(at, c)) // else the checkpoint says enough
		}
		if needed {
			saved.Behind[name] = e
		}
	}
	for name, e := range p.absent {
		if len(e.Keys) > 0 || !(e.At == c || ordered(c) && ordered(e.At) && e.At.Compare(c) >= 0) {
			saved.Behind[name] = e
		}
	}
	maps.Copy(saved.Behind, p.held)
	return saved
}

// checkpoint is the one that the places allow.
func (p plan) checkpoint(c checkpoint.Position, places map[string]standing, ahead bool) checkpoint.Position {
	best, known, n := checkpoint.ShardEnd, true, 0
	if ahead {
		best = c
	}
	for _, s := range places {
		if !s.live && !p.shared && !ahead {
			continue
		}
		n++
		at := p.place(s.Entry)
		if !ordered(at) {
			known = false
		} else if (at.Compare(best) > 0) == ahead {
			best = at
		}
	}
	for _, e := range p.absent { // of those who have left meanwhile
		if ahead && ordered(e.At) && e.At.Compare(best) > 0 {
			n, best = n+1, e.At
		}
	}
	if n == 0 || !known && !ahead || ordered(c) && best.Compare(c) <= 0 {
		return c
	}
	return best
}

// place is the position of an entry that counts for the checkpoint. On a shared
// table parked keys count too.
func (p plan) place(e checkpoint.Entry) checkpoint.Position {
	lowest := e.At
	if p.shared {
		for _, at := range e.Keys {
			if at.Compare(lowest) < 0 {
				lowest = at
			}
		}
	}
	return lowest
}

// reached says whether somebody at a position has settled everything up to c.
func (p plan) reached(name string, at, c checkpoint.Position) bool {
	if ordered(at) && ordered(c) {
		return at.Compare(c) >= 0
	}
	// c has not moved in this tenure, so it is enough to have begun there.
	start := p.starts[name].At
	return at == c || c == p.taken && start == c
}

// ordered says whether a position is one of a record, or behind the last.
func ordered(p checkpoint.Position) bool { return p.IsNumber() || p == checkpoint.ShardEnd }

// split keeps the order of names.
func split(names []string, keep func(string) bool) (kept, rest []string) {
	for _, name := range names {
		if keep(name) {
			kept = append(kept, name)
		} else {
			rest = append(rest, name)
		}
	}
	return kept, rest
}

// union is the sorted set of the names in both.
func union(a, b []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(slices.Concat(a, b))))
}
