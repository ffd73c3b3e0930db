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
// yet, and take a pause or a hold back after a while.
func (h *history) command() {
	d := h.dice
	names := slices.Sorted(maps.Keys(h.receivers))
	name := names[d.below("commands", len(names))]
	if w := h.desired().Wish(name); w.Stopped() || w.Hold != nil || len(w.Keys) > 0 {
		return
	}
	c := checkpoint.Command{Destinations: []string{name}}
	back := checkpoint.Command{Destinations: []string{name}, Verb: checkpoint.ReleaseVerb}
	switch d.below("commands", 6) {
	case 0, 1:
		c.Verb, back.Verb = checkpoint.PauseVerb, checkpoint.ResumeVerb
	case 2:
		c.Verb = checkpoint.HoldVerb
	case 3:
		c.Verb, c.Keys = checkpoint.HoldVerb, []string{"hotel-0"}
	default:
		c.Verb, c.From = checkpoint.ReplayVerb, checkpoint.TrimHorizon
		if d.chance("commands", 0.7) {
			c.From = checkpoint.At(time.Now().Add(-d.span("commands", 0, h.now())))
		}
	}
	if !h.give(c) || c.Verb == checkpoint.ReplayVerb {
		return
	}
	h.in(d.span("commands", time.Second, 40*time.Second), func() { h.give(back) })
}

// give gives a command, by a commander whose calls do not fail.
func (h *history) give(c checkpoint.Command) bool {
	a, err := checkpoint.Give(context.Background(), h.table, c, time.Now())
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

// takeBack takes back whatever is ordered, but for replays: they come to their
// end.
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
// replay.
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
