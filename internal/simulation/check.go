package simulation

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/shardline/shardline/checkpoint"
)

// violation is a promise that was broken.
type violation struct {
	promise string // P1, P2, P3 or P6; "drain" when a history does not come to its end
	text    string
}

func (v violation) String() string { return v.promise + ": " + v.text }

// maxViolations bounds what is kept: the first one tells.
const maxViolations = 20

// checker holds a history to the promises. Its methods are called with
// world.mu held.
type checker struct {
	world      *world
	failover   time.Duration
	starts     map[string]start           // of every subscriber, by name
	ever       map[*shard]map[string]bool // on the shard's roster before its end
	violations []violation
	former     map[*shard]bool          // somebody who was on its roster was removed
	leaving    map[string]time.Duration // subscribers that are being removed, since when
	replays    map[string]time.Duration // when a replay of a subscriber was last ordered
	taken      map[string]time.Duration // by lease key: when it was taken the last time
	removed    map[string]bool          // those that were, and may have begun anew
	joins      map[string]bool          // those that may have come to a process that works
	settled    map[string]int           // outcomes by kind, for the summary
	writes     int
	attempts   int
}

func (c *checker) broken(promise, format string, args ...any) {
	if len(c.violations) == maxViolations {
		return
	}
	v := violation{promise: promise, text: fmt.Sprintf(format, args...)}
	c.world.logf("VIOLATION %s", v)
	c.violations = append(c.violations, v)
}

// write is a write to the lease table that landed.
type write struct {
	op            string
	process       *process
	sent          time.Duration // on the process's clock
	key           string
	before, after checkpoint.Lease
	found, still  bool // whether there was an item, and whether there is one
}

// wrote checks a write: who wrote it, and what a worker would believe that
// took the lease now.
func (c *checker) wrote(x write) {
	c.writes++
	h := c.world.shardOf(x.key)
	if h == nil {
		c.broken("P2", "a lease %s is written, for a shard that does not exist", x.key)
		return
	}
	c.world.logf("%s %s %s: counter %d owner %q handing over %q checkpoint %s roster %v behind %v acknowledged %d", x.process.id, x.op, h.name(),
		x.after.Counter, x.after.Owner, x.after.HandingOver, c.short(x.after.Checkpoint), x.after.Roster, c.entries(x.after.Behind), x.after.Acknowledged)
	h.leased = true
	c.owner(x, h)
	if !x.still {
		c.deleted(h)
		return
	}
	switch x.op {
	case "create":
		c.pinned(h)
	case "take":
		c.taken[x.key] = c.world.now()
	}
	if x.found && ordered(x.before.Checkpoint) && x.after.Checkpoint.Compare(x.before.Checkpoint) < 0 {
		c.broken("P2", "the checkpoint of %s moves back from %s to %s", h.name(), c.short(x.before.Checkpoint), c.short(x.after.Checkpoint))
	}
	if x.after.Finished() && !x.before.Finished() {
		c.continued(h)
	}
	if n, ok := parseSequence(x.after.Checkpoint.Sequence); ok {
		if i := h.after(spot{n, x.after.Checkpoint.Sub}); h.begun(i) != i {
			c.world.happened("saved in the middle of an aggregate")
		}
	}
	c.rosters(x, h)
	c.acknowledged(x, h)
	c.forgets(x, h)
	c.believed(x.after, h)
}

// continued checks that the children of a shard have leases before it is at its
// end: KCL workers never make them afterwards.
func (c *checker) continued(h *shard) {
	for _, child := range h.children {
		if !child.leased {
			c.broken("P2", "%s is at its end, but its child %s has no lease", h.name(), child.name())
		}
	}
}

// pinned notes since when a stream's records count that begins at latest: since
// the first lease of it was created.
func (c *checker) pinned(h *shard) {
	if s := h.stream; s.initial.latest && s.seen.IsZero() {
		s.seen = time.Now()
	}
}

// holder is who holds a lease: while it hands over, that is the old owner.
func holder(l checkpoint.Lease) string {
	switch {
	case l.Tenure == "":
		return ""
	case l.HandingOver != "":
		return l.HandingOver
	}
	return l.Owner
}

// owner checks P3 at a write, and notes how long the tenure lasts.
func (c *checker) owner(x write, h *shard) {
	p := x.process
	had := holder(x.before)
	switch x.op {
	case "take":
		for _, q := range c.world.processes {
			until, ok := q.renewed[x.key]
			if !ok || q == p || q.crashed() {
				continue
			}
			if now := c.world.now(); now < until+c.failover {
				c.broken("P3", "%s takes %s %s before the tenure of %s ends", p.id, h.name(), until+c.failover-now, q.id)
			}
			delete(q.renewed, x.key)
		}
		p.renewed[x.key] = x.sent
	case "renew", "release", "set_children":
		if had != p.id {
			c.broken("P3", "%s writes (%s) to %s, which is held by %q", p.id, x.op, h.name(), had)
		}
		switch x.op {
		case "renew":
			p.renewed[x.key] = max(p.renewed[x.key], x.sent)
		case "release":
			delete(p.renewed, x.key)
		}
	}
}

// rosters notes who is on a roster for the first time, and excuses what lies
// before its start.
func (c *checker) rosters(x write, h *shard) {
	lineage := append(h.above(), h)
	knew := c.anybody(lineage)
	for _, name := range x.after.Roster {
		if slices.Contains(x.before.Roster, name) || name == checkpoint.Nobody {
			continue
		}
		t := c.world.truthOf(h.stream, name, c.starts[name])
		for _, q := range h.above() { // read and forgotten before it came
			if _, exists := c.world.lease(c.world.leaseKey(q)); !exists && !c.was(name, append(q.above(), q)) {
				t.excuse(q.records)
			}
		}
		if c.was(name, lineage) {
			continue
		}
		if knew { // a founder has no other start than the checkpoint
			c.world.happened("roster: added")
			begin := x.before.Checkpoint
			if c.removed[name] || c.joins[name] { // it may begin in the middle of a tenure
				begin = x.after.Checkpoint
				if e, behind := x.after.Behind[name]; behind {
					begin = e.At
				}
			}
			c.begin(t, begin, h)
		}
	}
	for _, name := range x.after.Roster {
		if c.leaves(name) || name == checkpoint.Nobody {
			continue
		}
		// Whoever is first listed on a finished shard has no claim to it; that may
		// be one whose lease is made again for a replay.
		if (x.before.Finished() || x.op == "create" && x.after.Finished()) && c.starts[name].latest {
			continue
		}
		// Nor who came when its lease was gone, which is made again for a replay.
		if x.op == "create" && x.after.Finished() && !c.was(name, lineage) {
			c.world.truthOf(h.stream, name, c.starts[name]).excuse(h.records)
			continue
		}
		if c.ever[h] == nil {
			c.ever[h] = make(map[string]bool)
		}
		c.ever[h][name] = true
	}
}

// begin excuses what lies before the start of a new subscriber on a shard.
func (c *checker) begin(t *truth, at checkpoint.Position, h *shard) {
	if !t.start.latest {
		t.timed = !t.start.time.IsZero()
		return
	}
	t.excuse(h.records[:c.covered(h, at)])
	for _, q := range h.above() {
		t.excuse(q.records)
	}
}

func (c *checker) anybody(lineage []*shard) bool {
	return slices.ContainsFunc(lineage, func(q *shard) bool { return len(c.ever[q]) > 0 || c.former[q] })
}

func (c *checker) was(name string, lineage []*shard) bool {
	return slices.ContainsFunc(lineage, func(q *shard) bool { return c.ever[q][name] })
}

// deleted checks that everybody on its roster is through with a shard whose
// lease goes. Whoever comes later than that does without it.
func (c *checker) deleted(h *shard) {
	c.world.happened("lease deleted")
	lineage := append(h.above(), h)
	for _, t := range h.stream.truths {
		if c.leaves(t.name) { // nobody owes it what is in there, and it is owed nothing out of order
			continue
		}
		if !c.was(t.name, lineage) {
			t.excuse(h.records)
		} else if n := t.frontier(h); n < len(h.records) {
			c.broken("P2", "the lease of %s is deleted, and %s has not settled %s", h.name(), t.name, h.records[n].name())
		}
	}
}

// believed checks P2: what a worker would take as settled that took the lease
// as it is now.
func (c *checker) believed(l checkpoint.Lease, h *shard) {
	lineage := append(h.above(), h)
	for _, t := range h.stream.truths {
		if !c.was(t.name, lineage) {
			continue
		}
		if e, covered := c.place(l, h, t); covered {
			c.entry(t, h, e)
		}
	}
}

// place is where a worker would begin for a subscriber that took the lease now;
// false: it would begin anew, at or before everything.
func (c *checker) place(l checkpoint.Lease, h *shard, t *truth) (checkpoint.Entry, bool) {
	if e, behind := l.Behind[t.name]; behind {
		return e, true
	}
	known := l.Roster
	if len(known) == 0 {
		for _, p := range h.parents {
			if q, ok := c.world.lease(c.world.leaseKey(p)); ok {
				known = append(known, q.Roster...)
			}
		}
	}
	covered := len(known) == 0 || t.start.latest || slices.Contains(known, t.name)
	return checkpoint.Entry{At: l.Checkpoint}, covered
}

// saved is how many records from the front of a shard nobody will need again,
// as its lease says.
func (c *checker) saved(h *shard) int {
	l, found := c.world.lease(c.world.leaseKey(h))
	n := len(h.records)
	for _, t := range h.stream.truths {
		n = min(n, t.frontier(h))
		if !found {
			continue
		}
		e, covered := c.place(l, h, t)
		if !covered || len(e.Keys) > 0 {
			return 0
		}
		n = min(n, c.covered(h, e.At))
	}
	return n
}

// entry checks one subscriber's place in a shard.
func (c *checker) entry(t *truth, h *shard, e checkpoint.Entry) {
	claimed := c.covered(h, e.At)
	if len(e.Keys) == 0 {
		if n := t.frontier(h); claimed > n {
			c.broken("P2", "the lease of %s says that %s has settled %s (%s), but it has not settled %s",
				h.name(), t.name, h.records[claimed-1].name(), c.short(e.At), h.records[n].name())
		}
		return
	}
	for _, r := range h.records {
		if c.covers(r, e) && !t.through(r) {
			c.broken("P2", "the lease of %s says that %s has settled %s, but it has not", h.name(), t.name, r.name())
			return
		}
	}
}

// covers says whether a record is settled for whoever has an entry.
func (c *checker) covers(r *record, e checkpoint.Entry) bool {
	at := e.At
	if p, parked := e.Keys[r.key]; parked {
		at = p
	}
	return slices.Index(r.shard.records, r) < c.covered(r.shard, at)
}

// covered is how many records from the front of a shard a position covers.
func (c *checker) covered(h *shard, p checkpoint.Position) int {
	if t, ok := p.Time(); ok {
		return h.since(t)
	}
	if n, ok := parseSequence(p.Sequence); ok {
		return h.after(spot{n, p.Sub})
	}
	if p == checkpoint.ShardEnd {
		return len(h.records)
	}
	return 0
}

func ordered(p checkpoint.Position) bool { return p.IsNumber() || p == checkpoint.ShardEnd }

// short is a position for people: the number without its zeros.
func (c *checker) short(p checkpoint.Position) string {
	if n, ok := parseSequence(p.Sequence); ok {
		return spot{n, p.Sub}.String()
	}
	if t, ok := p.Time(); ok {
		return fmt.Sprintf("at %.3f", t.Sub(c.world.began).Seconds())
	}
	return p.String()
}

func (c *checker) entries(behind map[string]checkpoint.Entry) []string {
	var all []string
	for name, e := range behind {
		text := fmt.Sprint(name, "=", c.short(e.At))
		for _, key := range slices.Sorted(maps.Keys(e.Keys)) {
			text += fmt.Sprint(" ", key, "=", c.short(e.Keys[key]))
		}
		all = append(all, text)
	}
	slices.Sort(all)
	return all
}

func (h *shard) name() string { return h.stream.source + "/" + h.id[len(h.id)-2:] }

func (r *record) name() string {
	if r.void {
		return fmt.Sprintf("%s (an aggregate of nothing in %s)", r.spot, r.shard.name())
	}
	return fmt.Sprintf("%s (record %d of key %s in %s)", r.spot, r.index, r.key, r.shard.name())
}
