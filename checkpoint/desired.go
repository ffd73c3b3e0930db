package checkpoint

import (
	"maps"
	"slices"
	"time"
)

// Desired is what operators want of the destinations, as their commands have
// left it: one item of the state table, which every worker obeys. The zero
// value is that of a table that saw no command.
type Desired struct {
	// Version grows by one with every change. A lease that says it has
	// acknowledged a version tells that everything is in force on its shard
	// which that version, and every one before it, asks for.
	Version int64 `json:"-"`
	// Destinations are those of which something is wanted, by name.
	Destinations map[string]Wish `json:"destinations,omitempty"`
	// Commands are the last ones that were given, oldest first: an id that is
	// among them is not applied again.
	Commands []Given `json:"commands,omitempty"`
}

// Wish is what is wanted of one destination. The zero value is nothing: it
// takes and delivers its records.
type Wish struct {
	Pause   *Order           `json:"pause,omitempty"`   // it takes no records, and nothing of it is in flight
	Hold    *Order           `json:"hold,omitempty"`    // nothing of it is attempted, nothing probes
	Keys    map[string]Order `json:"keys,omitempty"`    // nothing of these keys is attempted
	Replay  *Replay          `json:"replay,omitempty"`  // it is set back, and goes on by itself
	Removal *Removal         `json:"removal,omitempty"` // it leaves the rosters
	// Replayed is what its last replay says of deliveries that come again: it is
	// kept when the replay is over.
	Replayed *Replayed `json:"replayed,omitempty"`
}

// Replayed tells the deliveries of a replay from those before it: they are of
// another command, so that a receiver does not take them for what it had.
type Replayed struct {
	Command string `json:"command"` // id
	// Until is when everything had arrived that may have been delivered before.
	Until time.Time `json:"until"`
}

// Order says since when something is wanted, and who wants it.
type Order struct {
	Version int64     `json:"version"` // with which it was ordered
	Command string    `json:"command"` // id
	At      time.Time `json:"at"`      // by the commander's clock: for people
	By      string    `json:"by,omitempty"`
	Reason  string    `json:"reason,omitempty"`
}

// Replay sets a destination back, in three steps: it is paused on every shard;
// its position is set in every lease; it goes on. The steps are taken by
// whichever worker finds that one is done, so that they outlive the commander.
type Replay struct {
	Order
	// From is where it is set back to: the smaller of that and its first
	// unsettled position, in each lease.
	From Position `json:"from"`
	// Leases are the only ones that are set back, by key, and where to. Nil:
	// all, to From.
	Leases map[string]Position `json:"leases,omitempty"`
	// Set is the version with which the second step began; 0: the first is not
	// done. A lease that acknowledged it has been set: it is never set twice.
	Set int64 `json:"set,omitempty"`
	// Streams are those whose removed leases were made again, and where it is
	// set in every lease.
	Streams []string `json:"streams,omitempty"`
}

// Removal takes a destination off the rosters, in two steps: it stops on every
// shard; then its name leaves every lease. In one step a finished parent's lease
// could be without it, and go, while a worker that does not know of the removal
// yet opens its gate on a child. Steps are taken as those of a replay.
type Removal struct {
	Order
	// Set is the version with which the second step began; 0: the first is not
	// done. Until then leases that list the name keep it, with its places.
	Set int64 `json:"set,omitempty"`
}

// Leaving says whether the name is to leave the leases now.
func (r *Removal) Leaving() bool { return r != nil && r.Set > 0 }

// Given is a command that was applied.
type Given struct {
	ID           string    `json:"id"`
	Version      int64     `json:"version"` // that it made
	Verb         Verb      `json:"verb"`
	Destinations []string  `json:"destinations"`
	Keys         []string  `json:"keys,omitempty"`
	At           time.Time `json:"at"`
	By           string    `json:"by,omitempty"`
}

const (
	// mostDesired bounds the item, below the service's 400 KB: every worker
	// reads it with every scan.
	mostDesired = 256 << 10
	// mostGiven is how many commands are remembered.
	mostGiven = 64
	// mostKeys bounds what is held by key of one destination. More of them are
	// a destination that should be held as a whole.
	mostKeys = 1000
)

// Wish is what is wanted of a destination.
func (d Desired) Wish(destination string) Wish { return d.Destinations[destination] }

// Stopped says whether a destination takes no records: it is paused, being
// replayed, or being removed.
func (w Wish) Stopped() bool { return w.Pause != nil || w.Replay != nil || w.Removal != nil }

// stoppedSince is the version with which the first order came that stops it.
func (w Wish) stoppedSince() int64 {
	var since int64
	note := func(o Order) {
		if since == 0 || o.Version < since {
			since = o.Version
		}
	}
	if w.Pause != nil {
		note(*w.Pause)
	}
	if w.Replay != nil {
		note(w.Replay.Order)
	}
	if w.Removal != nil {
		note(w.Removal.Order)
	}
	return since
}

// none says whether nothing is wanted.
func (w Wish) none() bool {
	return !w.Stopped() && w.Hold == nil && len(w.Keys) == 0 && w.Replayed == nil
}

// Where is where a replay sets the destination back to in a lease; false: not
// at all.
func (r Replay) Where(lease string) (Position, bool) {
	if r.Leases == nil {
		return r.From, true
	}
	at, ok := r.Leases[lease]
	return at, ok
}

// Setting says whether the destination's position is to be set in a lease that
// has acknowledged a version.
func (r *Replay) Setting(acknowledged int64) bool {
	return r != nil && r.Set > 0 && acknowledged < r.Set
}

// InForce is the version that a shard may acknowledge. busy says of a
// destination that is to stop whether something of it is still in flight
// there, or about to be; due of one that is to be set back or removed whether
// that is still to be done, so that the write that acknowledges it does it.
func (d Desired) InForce(busy, due func(destination string) bool) int64 {
	v := d.Version
	for name, w := range d.Destinations {
		if w.Stopped() && busy(name) {
			v = min(v, w.stoppedSince()-1)
		}
		if w.Replay != nil && w.Replay.Set > 0 && due(name) {
			v = min(v, w.Replay.Set-1)
		}
		if w.Removal.Leaving() && due(name) {
			v = min(v, w.Removal.Set-1)
		}
	}
	return v
}

// Needs says whether somebody has to take a lease, although there is nothing
// to read: a position is to be set in it, or a name to leave its roster.
func (d Desired) Needs(l Lease) bool {
	// A first step waits for whoever owned the lease last, and may be dead.
	first := func(o Order, set int64) bool { return set == 0 && l.Owner != "" && l.Acknowledged < o.Version }
	for name, w := range d.Destinations {
		if r := w.Replay; r != nil && first(r.Order, r.Set) {
			return true
		}
		if r := w.Removal; r != nil && first(r.Order, r.Set) {
			return true
		}
		if w.Replay.Setting(l.Acknowledged) && l.Lists(name) {
			if _, touched := w.Replay.Where(l.Key); touched {
				return true
			}
		}
		if w.Removal.Leaving() && l.Acknowledged < w.Removal.Set && l.Lists(name) {
			return true
		}
	}
	return false
}

// Stepping says whether a command is under way that has steps.
func (d Desired) Stepping() bool {
	for _, w := range d.Destinations {
		if w.Replay != nil || w.Removal != nil {
			return true
		}
	}
	return false
}

// Lists says whether a lease knows a subscriber.
func (l Lease) Lists(name string) bool {
	_, behind := l.Behind[name]
	return behind || slices.Contains(l.Roster, name)
}

// Clone is a deep copy.
func (d Desired) Clone() Desired {
	d.Destinations = maps.Clone(d.Destinations)
	for name, w := range d.Destinations {
		d.Destinations[name] = w.clone()
	}
	d.Commands = slices.Clone(d.Commands)
	return d
}

// clone copies what Apply changes in place; orders are never changed.
func (w Wish) clone() Wish {
	w.Keys = maps.Clone(w.Keys)
	return w
}

// MarshalText and UnmarshalText are a position as String has it.
func (p Position) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (p *Position) UnmarshalText(text []byte) error {
	at, err := ParsePosition(string(text))
	if err == nil {
		*p = at
	}
	return err
}
