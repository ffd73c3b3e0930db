package simulation

import (
	"slices"
	"time"
)

// attempt is one attempt of a delivery, from when it leaves the process until
// the process has the answer.
type attempt struct {
	process *process
	truth   *truth
	record  *record
	number  int // as the sender counts
}

// began checks P1 and P3 as an attempt begins.
func (c *checker) began(a *attempt) {
	c.attempts++
	p, t, r := a.process, a.truth, a.record
	c.world.logf("%s -> %s: %s attempt %d", p.id, t.name, r.name(), a.number)
	c.tenure(a)
	c.obeys(a)
	c.again(a)
	last, attempted := t.last[r.key]
	if attempted {
		// Everything between the last attempt and this one has to be needless.
		for _, skipped := range t.stream.keys[r.key][min(last, r.index-1) : r.index-1] {
			if !t.needless(skipped) && !t.saved[skipped] && !(t.settled[skipped] && skipped.forgotten()) {
				c.broken("P1", "%s gets %s from %s after record %d: a gap, %s is left out", t.name, r.name(), p.id, last, skipped.name())
				break
			}
		}
	}
	if r.index > t.top[r.key] {
		if n := t.reached(r.key); n < r.index-1 {
			c.broken("P1", "%s gets %s from %s for the first time before %s is settled", t.name, r.name(), p.id, t.stream.keys[r.key][n].name())
		}
		t.top[r.key] = r.index
		t.waited[r.key] = max(t.waited[r.key], time.Since(r.arrival))
	} else if c.world.quiet.Load() && t.settled[r] {
		c.broken("P6", "%s gets %s again from %s, although nothing went wrong since it was settled", t.name, r.name(), p.id)
	}
	if attempted && r.index <= last && t.settled[r] {
		c.world.happened("step back after a crash or loss")
	}
	t.last[r.key] = r.index
	if f := t.flight[r.key]; f != nil {
		c.broken("P1", "%s gets %s from %s while %s is in flight from %s", t.name, r.name(), p.id, f.record.name(), f.process.id)
	}
	t.flight[r.key] = a
}

// tenure checks that an attempt begins within its process's tenure.
func (c *checker) tenure(a *attempt) {
	p, h := a.process, a.record.shard
	key := c.world.leaseKey(h)
	l, found := c.world.lease(key)
	if !found || holder(l) != p.id {
		c.broken("P3", "%s delivers %s, but the lease is held by %q", p.id, a.record.name(), holder(l))
		return
	}
	if until := p.renewed[key] + c.failover; p.view() >= until {
		c.broken("P3", "%s delivers %s %s after its tenure has ended", p.id, a.record.name(), p.view()-until)
	}
	if !slices.Contains(l.Roster, a.truth.name) {
		c.broken("P2", "%s gets %s before the roster lists it", a.truth.name, a.record.name())
	}
}

// again checks P6: what is delivered again was not saved as settled. That is
// what was in flight, settled since the last save, or settled ahead of the
// subscriber's saved position.
func (c *checker) again(a *attempt) {
	t, r := a.truth, a.record
	if !t.settled[r] {
		return
	}
	c.world.happened("delivered again")
	l, found := c.world.lease(c.world.leaseKey(r.shard))
	if !found {
		return // P3 has said so
	}
	if e, covered := c.place(l, r.shard, t); covered && c.covers(r, e) {
		c.broken("P6", "%s gets %s again from %s, although its lease says that it is settled", t.name, r.name(), a.process.id)
	}
}

// ended notes that the sender has the answer.
func (c *checker) ended(a *attempt, settled, refused bool) {
	if a.truth.flight[a.record.key] == a {
		delete(a.truth.flight, a.record.key)
	}
	if settled {
		a.truth.settled[a.record] = true
	}
	if refused {
		a.truth.refused[a.record] = true
	}
}

// abandoned forgets what is in flight from a process that is frozen or dead: it
// may still arrive, and no sender can prevent that.
func (c *checker) abandoned(p *process) {
	for _, s := range c.world.streams {
		for _, t := range s.truths {
			for key, a := range t.flight {
				if a.process == p {
					delete(t.flight, key)
				}
			}
		}
	}
}

// savedBefore notes that a record is dead-lettered before the stream trims it.
func (c *checker) savedBefore(t *truth, r *record) {
	c.world.happened("dead letter: before trim")
	if age := time.Since(r.arrival); c.world.bears == 0 || age < c.world.bears {
		c.broken("P2", "%s, %s old, is dead-lettered for %s as if the stream were about to trim it", r.name(), age, t.name)
	}
	t.refused[r], t.saved[r] = true, true
}

// deadLettered notes that a dead letter is durable.
func (c *checker) deadLettered(t *truth, r *record) {
	if !t.refused[r] {
		c.broken("P2", "%s is dead-lettered for %s, which never refused it", r.name(), t.name)
	}
	t.settled[r] = true
}

// missing is the first record that a subscriber should have and has not, for
// every subscriber of every stream that lacks one.
func (c *checker) missing() []string {
	var all []string
	for _, s := range c.world.streams {
		for _, t := range s.truths {
			if c.leaves(t.name) {
				continue
			}
			for _, h := range s.shards {
				if n := t.frontier(h); n < len(h.records) {
					all = append(all, t.name+" lacks "+h.records[n].name())
				}
			}
		}
	}
	slices.Sort(all)
	return all
}
