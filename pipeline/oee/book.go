package oee

// book is what a machine's events have become, in event-time order: what holds
// now, the hour that is being written, and those before it.
type book struct {
	held     held
	begun    bool // an event was taken
	product  uint32
	counters [counters]struct {
		value Units
		known bool
	}
	running bool // held is of class Running
	hour    *hour
}

// rules are what of a configuration matters when events are taken.
type rules struct {
	counters     [counters]Counter
	maxHold      int64
	countRunning bool
	classes      func(state uint32) Class
}

// taken tells what taking an event met.
type taken struct {
	drop     counts // cumulative counters that dropped
	absurd   counts // more units than one event can report
	overfull bool
}

// maxIncrement bounds what one event adds: a billion units at once are none.
const maxIncrement = 1_000_000_000 * Unit

// take adds an event that is not before any it has taken. Of an hour that is
// over, sealed is told.
func (b *book) take(p *waiting, r *rules, sealed func(*hour)) (t taken) {
	if start := hourOf(p.time); b.hour == nil || b.hour.start != start {
		if b.hour != nil {
			sealed(b.hour)
		}
		b.hour = &hour{start: start, before: b.held}
	}
	b.begun = true
	t.overfull = b.hold(p, r)
	if p.product != 0 {
		b.product = p.product
	}
	for i := range counters {
		if p.has.has(i) {
			b.count(i, p, r, &t)
		}
	}
	return t
}

// hold follows the state.
func (b *book) hold(p *waiting, r *rules) (overfull bool) {
	if !b.held.follow(p, r.maxHold) {
		if b.held.seen == p.time {
			b.hour.see(p.time)
		}
		return false
	}
	b.running = r.countRunning && r.classes(b.held.state) == Running
	return !b.hour.change(b.held)
}

// follow goes on with what an event says, and says whether that is another
// state or reason.
func (h *held) follow(p *waiting, maxHold int64) (changed bool) {
	silent := h.state != 0 && p.time > h.until(maxHold)
	switch {
	case p.state == 0 && silent:
		return false // alive again, but in which state?
	case (p.state == 0 || p.state == h.state && !silent) && (p.reason == 0 || p.reason == h.reason):
		h.seen = p.time
		return false
	case p.state == 0: // a reason for the state that holds
		h.since, h.seen, h.reason = p.time, p.time, p.reason
	default:
		*h = held{since: p.time, seen: p.time, state: p.state, reason: p.reason}
	}
	return true
}

// see says that what holds last in the hour was heard of at t.
func (h *hour) see(t int64) {
	if n := len(h.changes); n > 0 {
		h.changes[n-1].seen = t
	} else {
		h.before.seen = t
	}
}

// change adds a change of state; false: the hour has too many.
func (h *hour) change(to held) bool {
	if h.overfull {
		return false
	}
	if n := len(h.changes); n > 0 && h.changes[n-1].since == to.since {
		h.changes[n-1] = to // of one instant the last one counts
		return true
	}
	if len(h.changes) == maxChanges {
		h.overfull = true
		h.changes = append(h.changes, held{since: to.since, seen: to.since}) // unknown until the next hour
		return false
	}
	h.changes = append(h.changes, to)
	return true
}

// count adds what a counter reports.
func (b *book) count(i int, p *waiting, r *rules, t *taken) {
	value := p.units[i]
	made := value
	if c := r.counters[i]; c.Cumulative {
		before := b.counters[i]
		b.counters[i].value, b.counters[i].known = value, true
		switch {
		case !before.known:
			made = 0
		case value >= before.value:
			made = value - before.value
		default:
			t.drop |= 1 << i
			if c.Modulus > before.value {
				made = c.Modulus - before.value + value
			}
		}
	}
	if made > maxIncrement {
		t.absurd |= 1 << i
		return
	}
	if r.countRunning && !b.running {
		return
	}
	cell, own := b.hour.cell(uint8((p.time-b.hour.start)/minuteLength), b.product)
	t.overfull = t.overfull || !own
	cell.units[i] = add(cell.units[i], made)
}

// clone is a book that can go on by itself.
func (b *book) clone() book {
	c := *b
	if b.hour != nil {
		c.hour = b.hour.clone()
	}
	return c
}

// until is how long a state can be believed.
func (h held) until(maxHold int64) int64 {
	if maxHold == 0 {
		return forever
	}
	return h.seen + maxHold
}
