package control

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/shardline/shardline/checkpoint"
)

// Destinations are all of them, as the tables tell.
type Destinations struct {
	Version      int64         `json:"version"` // of the desired state
	Destinations []Destination `json:"destinations"`
}

// Destination is one of them. Fields are added, never renamed.
type Destination struct {
	Name       string    `json:"name"`
	Configured bool      `json:"configured"`
	State      Doing     `json:"state"`
	Since      time.Time `json:"since,omitzero"`    // of a command's state
	Command    string    `json:"command,omitempty"` // the id of the command that made it so
	By         string    `json:"by,omitempty"`
	Reason     string    `json:"reason,omitempty"`
	From       string    `json:"from,omitempty"` // of a replay
	HeldKeys   []HeldKey `json:"held_keys"`      // by command
	Shards     int       `json:"shards"`         // leases that know it
	Behind     int       `json:"behind"`         // on how many of them it is behind the checkpoint
	ParkedKeys int       `json:"parked_keys"`    // keys that are behind the destination itself
	// Waiting are the leases whose owners have not acknowledged the last command yet.
	Waiting []string `json:"waiting"`
	Worker  *Local   `json:"worker,omitempty"` // what the process that answers knows of it
	// Places are where it stands on each lease; only when it is asked for alone.
	Places []Place `json:"places,omitempty"`
	// SecondsUntilTrim is the least of the places'; only when it is asked for.
	SecondsUntilTrim *float64 `json:"seconds_until_trim,omitempty"`
}

// Doing is what a destination does.
type Doing string

const (
	// Delivering: nothing is ordered.
	Delivering Doing = "delivering"
	// Paused, Held, Replaying and BeingRemoved are by command, the later ones
	// before the earlier ones.
	Paused       Doing = "paused"
	Held         Doing = "held"
	Replaying    Doing = "replaying"
	BeingRemoved Doing = "removing"
)

// HeldKey is a key that a command holds.
type HeldKey struct {
	Key    string    `json:"key"`
	Since  time.Time `json:"since"`
	By     string    `json:"by,omitempty"`
	Reason string    `json:"reason,omitempty"`
}

// Place is where a destination stands on one lease.
type Place struct {
	Lease        string `json:"lease"`
	Shard        string `json:"shard"`
	Owner        string `json:"owner,omitempty"`
	Checkpoint   string `json:"checkpoint"`
	At           string `json:"at"` // everything up to it is settled
	ParkedKeys   int    `json:"parked_keys"`
	Acknowledged int64  `json:"acknowledged"` // the version of the desired state that is in force
	// Of its first record that is not settled, parked keys too; only when they
	// are asked for.
	LagSeconds       *float64 `json:"lag_seconds,omitempty"`        // its age; 0: there is none
	SecondsUntilTrim *float64 `json:"seconds_until_trim,omitempty"` // left until the stream forgets it
	LagError         string   `json:"lag_error,omitempty"`

	stream string
	lowest checkpoint.Position
}

// Local is what a worker knows of a destination, of its own shards.
type Local struct {
	Held                   bool      `json:"held"`             // by itself: an answer told so, or every retry was in vain
	Circuit                string    `json:"circuit"`          // closed, open or half_open
	Reason                 string    `json:"reason,omitempty"` // of Held, or of the circuit's opening
	Since                  time.Time `json:"since,omitzero"`
	InFlight               int       `json:"in_flight"`
	WaitingKeys            int       `json:"waiting_keys"` // that wait for a retry
	OldestUnsettledSeconds float64   `json:"oldest_unsettled_seconds"`
}

// List tells of all destinations: those that are configured, those that a
// roster lists, and those of which something is ordered.
func (c *Control) List(ctx context.Context) (Destinations, error) {
	d, err := c.config.Store.Desired(ctx)
	if err != nil {
		return Destinations{}, fmt.Errorf("read the desired state: %w", err)
	}
	leases, err := c.config.Store.ListNow(ctx)
	if err != nil {
		return Destinations{}, fmt.Errorf("list the leases: %w", err)
	}
	configured := c.config.Destinations()
	names := map[string]bool{}
	for _, name := range configured {
		names[name] = true
	}
	for name := range d.Destinations {
		names[name] = true
	}
	for _, l := range leases {
		for _, name := range l.Roster {
			names[name] = true
		}
		delete(names, checkpoint.Nobody)
	}
	all := Destinations{Version: d.Version, Destinations: []Destination{}}
	local := map[string]Local{}
	if c.config.Local != nil {
		local = c.config.Local()
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		one := describe(name, d.Wish(name), leases)
		one.Configured = slices.Contains(configured, name)
		if l, ok := local[name]; ok {
			one.Worker = &l
		}
		all.Destinations = append(all.Destinations, one)
	}
	return all, nil
}

// One tells of one destination, and where it stands on each lease. ErrUnknown.
func (c *Control) One(ctx context.Context, name string) (Destination, error) {
	all, err := c.List(ctx)
	if err != nil {
		return Destination{}, err
	}
	i := slices.IndexFunc(all.Destinations, func(d Destination) bool { return d.Name == name })
	if i < 0 {
		return Destination{}, fmt.Errorf("%s: %w: no destination of that name", name, ErrUnknown)
	}
	leases, err := c.config.Store.ListNow(ctx)
	if err != nil {
		return Destination{}, fmt.Errorf("list the leases: %w", err)
	}
	one := all.Destinations[i]
	for _, l := range leases {
		if !l.Lists(name) {
			continue
		}
		p := Place{Lease: l.Key, Shard: l.Shard, Owner: l.Owner, Checkpoint: l.Checkpoint.String(), At: l.Checkpoint.String(), Acknowledged: l.Acknowledged,
			stream: l.Stream, lowest: l.Checkpoint}
		if e, behind := l.Behind[name]; behind {
			p.At, p.ParkedKeys = e.At.String(), len(e.Keys)
			p.lowest = checkpoint.Lowest(append(slices.Collect(maps.Values(e.Keys)), e.At)...)
		}
		one.Places = append(one.Places, p)
	}
	return one, nil
}

// describe is what is desired of a destination, and how its leases stand.
func describe(name string, w checkpoint.Wish, leases []checkpoint.Lease) Destination {
	one := Destination{Name: name, State: Delivering, HeldKeys: []HeldKey{}, Waiting: []string{}}
	var version int64
	note := func(state Doing, o *checkpoint.Order) {
		if o != nil {
			one.State, one.Since, one.Command, one.By, one.Reason = state, o.At, o.Command, o.By, o.Reason
			version = max(version, o.Version)
		}
	}
	note(Held, w.Hold)
	note(Paused, w.Pause)
	if r := w.Replay; r != nil {
		note(Replaying, &r.Order)
		one.From, version = r.From.String(), max(version, r.Set)
	}
	if r := w.Removal; r != nil {
		note(BeingRemoved, &r.Order)
		version = max(version, r.Set)
	}
	for _, key := range slices.Sorted(maps.Keys(w.Keys)) {
		o := w.Keys[key]
		one.HeldKeys = append(one.HeldKeys, HeldKey{Key: key, Since: o.At, By: o.By, Reason: o.Reason})
		version = max(version, o.Version)
	}
	for _, l := range leases {
		if l.Lists(name) {
			one.Shards++
		}
		if e, behind := l.Behind[name]; behind {
			one.Behind++
			one.ParkedKeys += len(e.Keys)
		}
	}
	for _, a := range checkpoint.Acknowledgements(leases, version) {
		if a.Obedience == checkpoint.Waiting {
			one.Waiting = append(one.Waiting, a.Lease)
		}
	}
	return one
}
