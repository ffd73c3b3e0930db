package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/pipeline"
)

// Config is what New needs.
type Config struct {
	Store  checkpoint.Store
	Format checkpoint.KeyFormat
	// Destinations are the names of those that are configured.
	Destinations func() []string
	// Sources are those that are configured, and the way to their streams: asked
	// for replays alone. The function it returns gives them back.
	Sources func(ctx context.Context) ([]Source, func(), error)
	// SharedWithKCL: KCL workers live on the lease table, and obey no command.
	SharedWithKCL bool
	// Every is how often the leases are looked at for acknowledgements.
	Every time.Duration
	// Local is what this process knows of its destinations, by name; nil: it is
	// no worker.
	Local func() map[string]Local
}

// Source is a stream that is read for destinations.
type Source struct {
	Name         string
	Destinations []string
	Stream       Stream
}

// Stream is what a replay asks of a stream: pipeline.Source.
type Stream interface {
	Stream(ctx context.Context) (pipeline.Stream, error)
	Shards(ctx context.Context) ([]checkpoint.Shard, time.Time, error)
}

// Control gives commands and lists what is desired.
type Control struct{ config Config }

// New makes a Control. It starts nothing.
func New(c Config) *Control { return &Control{c} }

// ErrUnknown: there is no such destination, or no such command.
var ErrUnknown = errors.New("unknown")

// Request is a command as operators give it.
type Request struct {
	ID           string // empty: a random one
	Verb         checkpoint.Verb
	Destinations []string
	Keys         []string
	From         string // of replay: trim_horizon, an RFC 3339 time, or SEQUENCE[:SUB] with Lease
	Lease        string // of replay: this lease and those of its shard's descendants alone
	Force        bool
	By, Reason   string
}

// Result is what became of a command.
type Result struct {
	ID           string          `json:"id"`
	Version      int64           `json:"version"`
	Command      checkpoint.Verb `json:"command"`
	Destinations []string        `json:"destinations"`
	Keys         []string        `json:"keys,omitempty"`
	At           time.Time       `json:"at"`
	By           string          `json:"by,omitempty"`
	Again        bool            `json:"again,omitempty"` // it had been given before, and was not applied again
	Notes        []string        `json:"notes,omitempty"`
	State        State           `json:"state"`
	Shards       []Shard         `json:"shards"`
}

// State is how far a command is.
type State string

const (
	// InForce: every shard has acknowledged it, or nobody reads it.
	InForce State = "in_force"
	// Waiting: the owner of a shard has not acknowledged it yet.
	Waiting State = "waiting"
	// Pausing is the first step of a replay: shards have to acknowledge the
	// pause.
	Pausing State = "pausing"
	// Setting is the second step of a replay: positions are being set.
	Setting State = "setting"
	// Stopping is the first step of a removal: shards have to acknowledge that
	// the destination has stopped.
	Stopping State = "stopping"
	// Removing is the second step of a removal: the destination is still on a
	// roster.
	Removing State = "removing"
)

// Shard is what a shard has made of a command.
type Shard struct {
	Lease string               `json:"lease"`
	Shard string               `json:"shard"`
	Owner string               `json:"owner,omitempty"`
	State checkpoint.Obedience `json:"state"`
}

// Give applies a command, and says what became of it so far.
func (c *Control) Give(ctx context.Context, r Request) (Result, error) {
	command, notes, err := c.command(ctx, r)
	if err != nil {
		return Result{}, err
	}
	answer, err := checkpoint.Give(ctx, c.config.Store, command, time.Now())
	if err != nil {
		return Result{ID: answer.ID}, err
	}
	result, err := c.look(ctx, answer.Given)
	result.Again, result.Notes = answer.Again, append(notes, answer.Notes...)
	if err != nil {
		result.Notes = append(result.Notes, "it was applied; what the shards made of it is not known: "+err.Error())
	}
	return result, nil
}

// Await looks again until a command is in force everywhere, or ctx ends.
func (c *Control) Await(ctx context.Context, r Result) (Result, error) {
	timer := time.NewTicker(c.config.Every)
	defer timer.Stop()
	for r.State != InForce {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return r, nil
		}
		now, err := c.look(ctx, checkpoint.Given{ID: r.ID, Version: r.Version, Verb: r.Command, Destinations: r.Destinations, Keys: r.Keys, At: r.At, By: r.By})
		if err != nil && ctx.Err() == nil {
			return r, err
		}
		if err == nil {
			now.Again, now.Notes = r.Again, r.Notes
			r = now
		}
	}
	return r, nil
}

// Command says what became of a command that was given a while ago. ErrUnknown.
func (c *Control) Command(ctx context.Context, id string) (Result, error) {
	d, err := c.config.Store.Desired(ctx)
	if err != nil {
		return Result{}, fmt.Errorf("read the desired state: %w", err)
	}
	i := slices.IndexFunc(d.Commands, func(g checkpoint.Given) bool { return g.ID == id })
	if i < 0 {
		return Result{}, fmt.Errorf("command %q: %w: it is not among the last %d", id, ErrUnknown, len(d.Commands))
	}
	return c.look(ctx, d.Commands[i])
}

// look says how far a command is.
func (c *Control) look(ctx context.Context, g checkpoint.Given) (Result, error) {
	r := Result{ID: g.ID, Version: g.Version, Command: g.Verb, Destinations: g.Destinations, Keys: g.Keys, At: g.At, By: g.By, State: Waiting, Shards: []Shard{}}
	d, err := c.config.Store.Desired(ctx)
	if err != nil {
		return r, fmt.Errorf("read the desired state: %w", err)
	}
	leases, err := c.config.Store.ListNow(ctx)
	if err != nil {
		return r, fmt.Errorf("list the leases: %w", err)
	}
	version, state := g.Version, InForce
	for _, name := range g.Destinations {
		w := d.Wish(name)
		switch {
		case w.Replay != nil && w.Replay.Command == g.ID && w.Replay.Set == 0:
			state = Pausing
		case w.Replay != nil && w.Replay.Command == g.ID:
			version, state = w.Replay.Set, Setting
		case w.Removal != nil && w.Removal.Command == g.ID && !w.Removal.Leaving():
			state = Stopping
		case w.Removal != nil && w.Removal.Command == g.ID:
			version, state = w.Removal.Set, Removing
		}
	}
	for _, a := range checkpoint.Acknowledgements(leases, version) {
		r.Shards = append(r.Shards, Shard{Lease: a.Lease, Shard: a.Shard, Owner: a.Owner, State: a.Obedience})
		if a.Obedience == checkpoint.Waiting && state == InForce {
			state = Waiting
		}
	}
	r.State = state
	return r, nil
}

// command is the command that a request asks for, and what is not obvious about
// it. ErrUnknown, checkpoint.ErrRefused.
func (c *Control) command(ctx context.Context, r Request) (checkpoint.Command, []string, error) {
	command := checkpoint.Command{ID: r.ID, Verb: r.Verb, Destinations: r.Destinations, Keys: r.Keys, Force: r.Force, By: r.By, Reason: r.Reason}
	moves := r.Verb == checkpoint.PauseVerb || r.Verb == checkpoint.ReplayVerb || r.Verb == checkpoint.RemoveVerb
	switch {
	case c.config.SharedWithKCL && moves:
		return command, nil, fmt.Errorf("%w: the table is shared with KCL workers (leases.shared_with_kcl), which obey no command and serve nobody who is behind: %s is for later", checkpoint.ErrRefused, r.Verb)
	case r.Verb != checkpoint.ReplayVerb && (r.From != "" || r.Lease != ""):
		return command, nil, fmt.Errorf("%w: from and lease go with replay", checkpoint.ErrRefused)
	}
	d, err := c.config.Store.Desired(ctx)
	if err != nil {
		return command, nil, fmt.Errorf("read the desired state: %w", err)
	}
	leases, err := c.config.Store.ListNow(ctx)
	if err != nil {
		return command, nil, fmt.Errorf("list the leases: %w", err)
	}
	if slices.ContainsFunc(d.Commands, func(g checkpoint.Given) bool { return g.ID == r.ID }) {
		return command, nil, nil // it is not applied again
	}
	for _, name := range r.Destinations {
		if err := c.known(name, r.Verb, d, leases); err != nil {
			return command, nil, err
		}
	}
	if r.Verb != checkpoint.ReplayVerb {
		return command, nil, nil
	}
	notes, err := c.from(ctx, &command, r, leases)
	return command, notes, err
}

// known says nil when a destination exists for a verb.
func (c *Control) known(name string, verb checkpoint.Verb, d checkpoint.Desired, leases []checkpoint.Lease) error {
	configured := slices.Contains(c.config.Destinations(), name)
	_, ordered := d.Destinations[name]
	listed := listing(leases, name)
	switch {
	case verb == checkpoint.RemoveVerb && configured:
		return fmt.Errorf("%w: %s is still configured: take it out of the configuration of every worker first, or it begins anew where its initial_position says", checkpoint.ErrRefused, name)
	case verb == checkpoint.RemoveVerb && listed == 0 && !ordered:
		return fmt.Errorf("%s: %w: it is on no lease's roster: there is nothing to remove", name, ErrUnknown)
	case verb == checkpoint.RemoveVerb || configured:
		return nil
	case ordered && (verb == checkpoint.ResumeVerb || verb == checkpoint.ReleaseVerb):
		return nil // whatever was ordered can be taken back
	case listed > 0:
		return fmt.Errorf("%s: %w: it is not configured any more; its place is kept on %d of %d leases until it comes back, or `destinations remove %s` gives it up", name, ErrUnknown, listed, len(leases), name)
	}
	names := slices.Sorted(slices.Values(c.config.Destinations()))
	more := ""
	if n := len(names); n > 20 {
		names, more = nearest(names, name), fmt.Sprintf(", and %d more", n-20)
	}
	return fmt.Errorf("%s: %w: no destination of that name; there are %s%s", name, ErrUnknown, strings.Join(names, ", "), more)
}

// nearest are the 20 names that begin most like name.
func nearest(names []string, name string) []string {
	alike := func(s string) int {
		n := 0
		for n < min(len(s), len(name)) && s[n] == name[n] {
			n++
		}
		return n
	}
	return slices.SortedStableFunc(slices.Values(names), func(a, b string) int { return cmp.Compare(alike(b), alike(a)) })[:20]
}

// listing is how many leases know a destination.
func listing(leases []checkpoint.Lease, name string) int {
	n := 0
	for _, l := range leases {
		if l.Lists(name) {
			n++
		}
	}
	return n
}
