package checkpoint

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Verb is what a command does to destinations.
type Verb string

const (
	// PauseVerb: take no records; what is in flight ends.
	PauseVerb Verb = "pause"
	// ResumeVerb ends a pause, or a replay that has set no position yet.
	ResumeVerb Verb = "resume"
	// HoldVerb: attempt nothing, of the destinations or of Keys.
	HoldVerb Verb = "hold"
	// ReleaseVerb ends holds, those of commands and those that destinations
	// came to by themselves: of the destinations, or of Keys alone.
	ReleaseVerb Verb = "release"
	// ReplayVerb sets the destinations back to From.
	ReplayVerb Verb = "replay"
	// RemoveVerb takes the destinations off the rosters: whatever they have not
	// settled they never get.
	RemoveVerb Verb = "remove"
)

// Verbs are all of them.
func Verbs() []Verb {
	return []Verb{PauseVerb, ResumeVerb, HoldVerb, ReleaseVerb, ReplayVerb, RemoveVerb}
}

// Command changes what is desired. It is applied once, however often it is
// given under its id.
type Command struct {
	ID           string // empty: a random one
	Verb         Verb
	Destinations []string
	Keys         []string            // of hold and release; none: the destinations as a whole
	From         Position            // of replay
	Leases       map[string]Position // of replay: these alone, by key; nil: all, from From
	Force        bool                // of resume: also in the middle of a replay
	By, Reason   string
}

var (
	// ErrRefused: the command makes no sense as things stand; the text says
	// why. Nothing was changed.
	ErrRefused = errors.New("refused")
	// errMany: what is desired is too large for its item.
	errMany = fmt.Errorf("%w: too much is ordered already: release keys, or hold the destination as a whole", ErrRefused)
)

func refused(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrRefused, fmt.Sprintf(format, args...))
}

// Answer is what came of giving a command.
type Answer struct {
	Given
	Again   bool     // it had been given before, and was not applied again
	Notes   []string // what is not obvious
	Desired Desired  // what is desired now
}

// giveTries bounds the tries to give a command against others who give some at the
// same time, and against a store that does not answer.
const giveTries = 12

// Give applies a command to what is desired in the store. After an error other
// than ErrRefused it may have been applied: it may be given again under its id,
// which the outcome tells then, too.
func Give(ctx context.Context, s Store, c Command, now time.Time) (Answer, error) {
	if c.ID == "" {
		c.ID = rand.Text()
	}
	out := Answer{Given: Given{ID: c.ID, Verb: c.Verb, Destinations: c.Destinations, Keys: c.Keys, At: now, By: c.By}}
	if err := c.check(); err != nil {
		return out, err
	}
	var failed error
	tried := false
	for attempt := range giveTries {
		if attempt > 0 && !sleep(ctx, min(50*time.Millisecond<<attempt, time.Second)) {
			break
		}
		d, err := s.Desired(ctx)
		if err != nil {
			failed = err
			continue
		}
		if i := slices.IndexFunc(d.Commands, func(g Given) bool { return g.ID == c.ID }); i >= 0 {
			out.Given, out.Desired, out.Again = d.Commands[i], d, !tried
			if out.Again && (out.Verb != c.Verb || !slices.Equal(out.Destinations, c.Destinations)) {
				return out, refused("the id %s is that of another command: %s %s, given at %s; give every command an id of its own",
					c.ID, out.Verb, strings.Join(out.Destinations, ", "), out.At.UTC().Format(time.RFC3339))
			}
			return out, nil
		}
		// A state table that was lost, or put back from a backup, counts from
		// where the leases are: a version is never given to two commands.
		leases, err := s.ListNow(ctx)
		if err != nil {
			failed = err
			continue
		}
		if c.Verb == ReplayVerb {
			if err := everywhere(leases, c.Destinations); err != nil {
				return out, err
			}
		}
		next, notes, err := d.apply(c, highest(leases), now)
		if err != nil {
			return out, err
		}
		tried = true
		switch err := s.SetDesired(ctx, d.Version, next); {
		case err == nil:
			out.Version, out.Notes, out.Desired = next.Version, notes, next
			return out, nil
		case errors.Is(err, ErrTooLarge):
			return out, errMany
		case !errors.Is(err, ErrConflict):
			failed = err
		default: // somebody was faster, or this one landed before
			failed = err
			out.Notes = notes
		}
	}
	return out, fmt.Errorf("%s %s: it may have been applied; give it again under its id, %s: %w", c.Verb, strings.Join(c.Destinations, ", "), c.ID, failed)
}

// everywhere refuses to replay a destination that a stream's leases list in part:
// where it is about to begin as a new one it would lack what lies between what is
// replayed of the shard's ancestors and its beginning.
func everywhere(leases []Lease, destinations []string) error {
	for _, name := range destinations {
		listed := map[string]bool{} // streams
		for _, l := range leases {
			listed[l.Stream] = listed[l.Stream] || l.Lists(name)
		}
		for _, l := range current(leases) {
			if listed[l.Stream] && len(l.Roster) > 0 && !l.Lists(name) {
				return refused("replay %s: it is new to the stream, and lease %s does not list it yet; when every worker has it in its configuration it soon will", name, l.Key)
			}
		}
	}
	return nil
}

// highest is the highest version that a lease has acknowledged.
func highest(leases []Lease) int64 {
	var v int64
	for _, l := range leases {
		v = max(v, l.Acknowledged)
	}
	return v
}

// apply is what is desired after a command, and what it says of it. No lease
// has acknowledged a version above acknowledged.
func (d Desired) apply(c Command, acknowledged int64, now time.Time) (Desired, []string, error) {
	next := d.Clone()
	next.Version = max(d.Version, acknowledged) + 1
	if next.Destinations == nil {
		next.Destinations = map[string]Wish{}
	}
	order := Order{Version: next.Version, Command: c.ID, At: now.UTC().Truncate(time.Second), By: c.By, Reason: c.Reason}
	var notes []string
	for _, name := range c.Destinations {
		w, note, err := next.Destinations[name].after(c, order)
		if err != nil {
			return d, nil, fmt.Errorf("%s %s: %w", c.Verb, name, err)
		}
		if note != "" {
			notes = append(notes, name+": "+note)
		}
		next.put(name, w)
	}
	next.Commands = append(next.Commands, Given{ID: c.ID, Version: next.Version, Verb: c.Verb,
		Destinations: c.Destinations, Keys: c.Keys, At: order.At, By: c.By})
	next.Commands = next.Commands[max(0, len(next.Commands)-mostGiven):]
	return next, notes, nil
}

// put keeps what is wanted of a destination, if anything is.
func (d *Desired) put(name string, w Wish) {
	if w.none() {
		delete(d.Destinations, name)
		return
	}
	d.Destinations[name] = w
}

// after is the wish after a command, and what is not obvious about it.
func (w Wish) after(c Command, o Order) (Wish, string, error) {
	if w.Removal != nil && c.Verb != RemoveVerb {
		return w, "", refused("it is being removed since %s", w.Removal.since())
	}
	switch c.Verb {
	case PauseVerb:
		if w.Pause != nil {
			return w, "it is paused already, since " + w.Pause.since(), nil
		}
		w.Pause = &o
	case ResumeVerb:
		return w.resumed(c)
	case HoldVerb:
		return w.held(c, o)
	case ReleaseVerb:
		return w.released(c)
	case ReplayVerb:
		if r := w.Replay; r != nil {
			return w, "", refused("a replay from %s is under way since %s (%s): one at a time", r.From, r.since(), r.step())
		}
		w.Replay = &Replay{Order: o, From: c.From, Leases: c.Leases}
		if w.Pause != nil {
			return w, "it is paused since " + w.Pause.since() + ", and stays so when it is set back: resume it then", nil
		}
	case RemoveVerb:
		if w.Removal != nil {
			return w, "it is being removed already, since " + w.Removal.since(), nil
		}
		w = Wish{Removal: &Removal{Order: o}}
	}
	return w, "", nil
}

func (w Wish) resumed(c Command) (Wish, string, error) {
	note := ""
	switch r := w.Replay; {
	case r == nil && w.Pause == nil:
		return w, "it is not paused", nil
	case r != nil && r.Set > 0 && !c.Force:
		return w, "", refused("a replay is setting its positions since %s, and resumes it when they are set; with force it goes on at once, and shards that are not set back yet stay where they are", r.since())
	case r != nil:
		note = "its replay was given up: " + r.step()
	}
	w.Pause, w.Replay = nil, nil
	return w, note, nil
}

func (w Wish) held(c Command, o Order) (Wish, string, error) {
	if len(c.Keys) == 0 {
		if w.Hold != nil {
			return w, "it is held already, since " + w.Hold.since(), nil
		}
		w.Hold = &o
		return w, "", nil
	}
	if w.Keys == nil {
		w.Keys = map[string]Order{}
	}
	for _, key := range c.Keys {
		if _, held := w.Keys[key]; !held {
			w.Keys[key] = o
		}
	}
	if len(w.Keys) > mostKeys {
		return w, "", refused("more than %d keys of it would be held: hold the destination as a whole", mostKeys)
	}
	return w, "", nil
}

// released leaves what the destination holds by itself to the workers, who know
// of it.
func (w Wish) released(c Command) (Wish, string, error) {
	if len(c.Keys) == 0 {
		w.Hold, w.Keys = nil, nil
		return w, "", nil
	}
	for _, key := range c.Keys {
		delete(w.Keys, key)
	}
	if len(w.Keys) == 0 {
		w.Keys = nil
	}
	if w.Hold != nil {
		return w, "the destination as a whole stays held, since " + w.Hold.since(), nil
	}
	return w, "", nil
}

// since is when an order was given, and by whom.
func (o Order) since() string {
	s := o.At.UTC().Format(time.RFC3339)
	if o.By != "" {
		s += " by " + o.By
	}
	return s
}

// step says in words where a replay is.
func (r Replay) step() string {
	if r.Set == 0 {
		return "step 1 of 3: pausing"
	}
	return "step 2 of 3: setting positions"
}

const (
	mostText         = 1024
	mostDestinations = 1000
)

// check refuses what makes no sense whatever is desired.
func (c Command) check() error {
	switch {
	case !slices.Contains(Verbs(), c.Verb):
		return refused("there is no command %q", c.Verb)
	case len(c.Destinations) == 0:
		return refused("%s which destinations?", c.Verb)
	case len(c.Destinations) > mostDestinations:
		return refused("%d destinations are too many for one command: %d at most", len(c.Destinations), mostDestinations)
	case len(c.Keys) > 0 && c.Verb != HoldVerb && c.Verb != ReleaseVerb:
		return refused("%s is not of single keys", c.Verb)
	case len(c.Keys) > mostKeys:
		return refused("%d keys are too many: %d at most; %s the destination as a whole", len(c.Keys), mostKeys, c.Verb)
	case c.Verb != ReplayVerb && (c.From != Position{} || c.Leases != nil):
		return refused("%s begins nowhere: only replay does", c.Verb)
	case c.Verb == ReplayVerb && (c.From == ShardEnd || c.From == Latest):
		return refused("a replay from %s would skip what is not settled", c.From)
	}
	for _, text := range slices.Concat([]string{c.ID, c.By, c.Reason}, c.Destinations, c.Keys) {
		if len(text) > mostText || !utf8.ValidString(text) {
			return refused("%.40q… is longer than %d bytes, or no UTF-8", text, mostText)
		}
	}
	for _, name := range c.Destinations {
		if name == "" {
			return refused("a destination has a name")
		}
	}
	if strings.ContainsFunc(c.ID, unicode.IsSpace) {
		return refused("the id %q has spaces", c.ID)
	}
	return nil
}
