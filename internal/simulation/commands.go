package simulation

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/shardline/shardline/checkpoint"
)

// command lets an operator command a destination, of which nothing is ordered
// yet, and take a pause or a hold back after a while. One is removed for good:
// more often than not when no configuration has it any more, but some worker may.
func (h *history) command() {
	d := h.dice
	names := slices.Sorted(maps.Keys(h.receivers))
	name := names[d.below("commands", len(names))]
	if w := h.desired().Wish(name); w.Replay != nil && d.chance("commands", 0.5) {
		h.give(checkpoint.Command{Verb: checkpoint.RemoveVerb, Destinations: []string{name}})
		return
	} else if w.Stopped() || w.Hold != nil || len(w.Keys) > 0 {
		return
	}
	c := checkpoint.Command{Destinations: []string{name}}
	back := checkpoint.Command{Destinations: []string{name}, Verb: checkpoint.ReleaseVerb}
	switch d.below("commands", 8) {
	case 0, 1:
		c.Verb, back.Verb = checkpoint.PauseVerb, checkpoint.ResumeVerb
	case 2:
		c.Verb = checkpoint.HoldVerb
	case 3:
		c.Verb, c.Keys = checkpoint.HoldVerb, []string{"hotel-0"}
	case 4, 5:
		c.Verb = checkpoint.RemoveVerb
		if gone := h.gone(); len(gone) > 0 && d.chance("commands", 0.7) {
			c.Destinations = []string{pick(d, "commands", gone...)}
		}
	default:
		c.Verb, c.From = checkpoint.ReplayVerb, checkpoint.TrimHorizon
		if d.chance("commands", 0.7) {
			c.From = checkpoint.At(time.Now().Add(-d.span("commands", 0, h.now())))
		}
	}
	if !h.give(c) || c.Verb == checkpoint.ReplayVerb || c.Verb == checkpoint.RemoveVerb {
		return
	}
	h.in(d.span("commands", time.Second, 40*time.Second), func() { h.give(back) })
}

// gone are the subscribers that no source has any more.
func (h *history) gone() []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(h.receivers)) {
		if h.desired().Wish(name).Stopped() {
			continue
		}
		configured := false
		for _, theirs := range h.deployed {
			configured = configured || slices.Contains(theirs, name)
		}
		if !configured {
			names = append(names, name)
		}
	}
	return names
}

// give gives a command, by a commander whose calls do not fail.
func (h *history) give(c checkpoint.Command) bool {
	h.mu.Lock() // a removal takes the checker's claims away with it
	defer h.mu.Unlock()
	a, err := checkpoint.Give(context.Background(), h.table, c, time.Now())
	switch {
	case err == nil && c.Verb == checkpoint.RemoveVerb:
		h.check.remove(c.Destinations[0])
	case err == nil && c.Verb == checkpoint.ReplayVerb:
		h.check.replays[c.Destinations[0]] = h.now()
	}
	if errors.Is(err, checkpoint.ErrRefused) {
		h.happened("command: refused")
		return false
	}
	kind := "command: " + string(c.Verb)
	if len(c.Keys) > 0 {
		kind += " a key"
	}
	h.happened(kind)
	h.logf("%s of %s from %s: version %d", kind, c.Destinations[0], h.check.short(c.From), a.Version)
	return err == nil
}

// desired is what is desired now.
func (w *world) desired() checkpoint.Desired {
	d, _ := w.table.Desired(context.Background()) // it has no faults
	return d
}

// takeBack takes back whatever is ordered, but for replays and removals: they
// come to their end.
func (h *history) takeBack() {
	for name, w := range h.desired().Destinations {
		if w.Pause != nil {
			h.give(checkpoint.Command{Verb: checkpoint.ResumeVerb, Destinations: []string{name}})
		}
		if w.Hold != nil || len(w.Keys) > 0 {
			h.give(checkpoint.Command{Verb: checkpoint.ReleaseVerb, Destinations: []string{name}})
		}
	}
}

// obeys checks an attempt against what the lease of its shard has acknowledged.
func (c *checker) obeys(a *attempt) {
	l, found := c.world.lease(c.world.leaseKey(a.record.shard))
	if !found {
		return // P3 has said so
	}
	w := c.world.desired().Wish(a.truth.name)
	orders := map[string]*checkpoint.Order{"pause": w.Pause, "hold": w.Hold}
	if w.Replay != nil {
		orders["replay"] = &w.Replay.Order
	}
	if w.Removal != nil {
		orders["removal"] = &w.Removal.Order
	}
	if o, held := w.Keys[a.record.key]; held {
		orders["hold of the key"] = &o
	}
	for what, o := range orders {
		if o != nil && l.Acknowledged >= o.Version {
			c.broken("command", "%s gets %s from %s, although the lease of %s has acknowledged its %s (version %d)",
				a.truth.name, a.record.name(), a.process.id, a.record.shard.name(), what, o.Version)
		}
	}
}

// desires notes a change of what is desired that a worker made: the end of a
// replay or of a removal.
func (c *checker) desires(before, after checkpoint.Desired) {
	for name, w := range before.Destinations {
		switch r := w.Replay; {
		case r == nil:
		case after.Wish(name).Replay == nil:
			c.world.happened("replay: set")
			c.world.logf("the replay of %s is set", name)
			c.replayed(name, r)
		case r.Set == 0 && after.Wish(name).Replay.Set > 0:
			c.world.logf("the replay of %s is being set", name)
			for _, s := range c.world.streams {
				if s.truths[name] != nil {
					c.quiet(s, name, r.Version, c.replays[name], "its replay is set")
				}
			}
		}
		switch r := w.Removal; {
		case r == nil:
		case after.Wish(name).Removal == nil:
			c.world.happened("removal: over")
			c.world.logf("the removal of %s is over", name)
			c.left(name)
		case r.Set == 0 && after.Wish(name).Removal.Set > 0:
			c.world.logf("%s leaves the rosters", name)
		}
	}
}

// leaves says whether a subscriber is being removed.
func (c *checker) leaves(name string) bool {
	_, leaving := c.leaving[name]
	return leaving
}

// remove takes the rights of a subscriber that is to be removed: nobody owes it
// anything from now on. What it still gets, it gets in order.
func (c *checker) remove(name string) {
	c.leaving[name] = c.world.now()
	for h, names := range c.ever {
		c.former[h] = c.former[h] || names[name]
		delete(names, name)
	}
}

// left makes a subscriber whose removal is over one that never was.
func (c *checker) left(name string) {
	delete(c.leaving, name)
	c.removed[name] = true
	for _, s := range c.world.streams {
		for _, h := range s.shards {
			if l, found := c.world.lease(c.world.leaseKey(h)); found && l.Lists(name) {
				c.broken("command", "the removal of %s is over, and the lease of %s still has it", name, h.name())
			}
		}
		if t := s.truths[name]; t != nil {
			for _, a := range t.flight {
				c.broken("command", "the removal of %s is over while %s is in flight from %s", name, a.record.name(), a.process.id)
			}
		}
		delete(s.truths, name)
	}
}

// forgets checks that a lease lets a name go only when nobody delivers to it any
// more.
func (c *checker) forgets(x write, h *shard) {
	for name, since := range c.leaving {
		w := c.world.desired().Wish(name).Removal
		if w == nil || !x.before.Lists(name) || x.after.Lists(name) {
			continue
		}
		c.quiet(h.stream, name, w.Version, since, "the lease of "+h.name()+" forgets it")
	}
}

// quiet checks that nobody delivers to a name any more: every lease of the stream
// that had an owner when a command was ordered has acknowledged it, or has been
// taken since.
func (c *checker) quiet(s *stream, name string, version int64, since time.Duration, what string) {
	for _, q := range s.shards {
		l, found := c.world.lease(c.world.leaseKey(q))
		if found && holder(l) != "" && l.Acknowledged < version && c.taken[l.Key] < since {
			c.broken("command", "%s may still deliver records of %s to %s, and %s", holder(l), q.name(), name, what)
		}
	}
}

// acknowledged checks a lease that says that everything up to a version is in
// force: nothing of whoever was to stop is in flight.
func (c *checker) acknowledged(x write, h *shard) {
	for name, w := range c.world.desired().Destinations {
		t := h.stream.truths[name]
		if t == nil {
			continue
		}
		stops := map[string]*checkpoint.Order{"pause": w.Pause}
		if w.Replay != nil {
			stops["replay"] = &w.Replay.Order
		}
		if w.Removal != nil {
			stops["removal"] = &w.Removal.Order
		}
		for what, o := range stops {
			if o == nil || x.before.Acknowledged >= o.Version || x.after.Acknowledged < o.Version {
				continue
			}
			for _, a := range t.flight {
				if a.record.shard == h {
					c.broken("command", "the lease of %s acknowledges the %s of %s (version %d) while %s is in flight from %s",
						h.name(), what, name, o.Version, a.record.name(), a.process.id)
				}
			}
		}
	}
}

// replayed makes the records of a replay unsettled again: each of them has to
// come again, in order, as if it had never been attempted.
func (c *checker) replayed(name string, r *checkpoint.Replay) {
	for _, s := range c.world.streams {
		t := s.truths[name]
		if t == nil {
			continue
		}
		first := make(map[string]int) // by key: the index of its first record that comes again
		for _, h := range s.shards {
			_, leased := c.world.lease(c.world.leaseKey(h))
			for _, x := range h.records[max(h.trimmed, c.covered(h, r.From)):] {
				if !t.settled[x] || h.gone {
					continue
				}
				if !leased {
					c.broken("command", "the replay of %s leaves %s out: its shard has no lease", name, x.name())
					break
				}
				delete(t.settled, x)
				if n, ok := first[x.key]; !ok || x.index < n {
					first[x.key] = x.index
				}
			}
		}
		clear(t.fronts)
		clear(t.lineage)
		for key, n := range first {
			t.last[key], t.top[key] = min(t.last[key], n-1), min(t.top[key], n-1)
		}
	}
}
