package pipeline

import (
	"context"
	"fmt"
	"slices"

	"github.com/shardline/shardline/checkpoint"
)

// subscriptions are the subscribers of a source at one time. Others take their
// place as a whole.
type subscriptions struct {
	subscribers []Subscriber
	initials    map[string]Initial
	over        chan struct{} // closed when others are in their place
	idle        chan struct{} // closed when they are over and no shard has members of theirs
	users       int           // shards that may have; guarded by the source's mu
}

func newSubscriptions(subs []Subscription) *subscriptions {
	s := &subscriptions{initials: make(map[string]Initial, len(subs)), over: make(chan struct{}), idle: make(chan struct{})}
	for _, d := range subs {
		s.subscribers = append(s.subscribers, d.Subscriber)
		s.initials[d.Subscriber.Name()] = d.Initial
	}
	return s
}

// newcomers is where each of the subscribers begins that is new now.
func (s *subscriptions) newcomers(r retention) map[string]Initial {
	initials := make(map[string]Initial, len(s.initials))
	for name, i := range s.initials {
		initials[name] = r.since(i)
	}
	return initials
}

// anyOf says whether one of the names is a subscriber's.
func (s *subscriptions) anyOf(names map[string]checkpoint.Entry) bool {
	for name := range names {
		if _, ours := s.initials[name]; ours {
			return true
		}
	}
	return false
}

// subscribed are the source's subscribers now.
func (s *source) subscribed() *subscriptions {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.subscriptions
}

// enlist is subscribed for a shard that will have members of them, until delist.
func (s *source) enlist() *subscriptions {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subscriptions.users++
	return s.subscriptions
}

func (s *source) delist(subs *subscriptions) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if subs.users--; subs.users == 0 && subs != s.subscriptions {
		close(subs.idle)
	}
}

// replace puts others in the place of a source's subscribers, and returns those
// that were.
func (s *source) replace(next *subscriptions) *subscriptions {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.subscriptions
	s.subscriptions = next
	close(before.over)
	if before.users == 0 {
		close(before.idle)
	}
	return before
}

// Reconfigure gives a source other subscribers while its shards are read. Those
// that stay notice nothing. One that is left out begins no attempt any more, and
// keeps its place on the roster; one that is new begins at the place that it has
// there, or as its Initial says. It returns when nobody uses those that were left
// out, or with ctx: then they go on leaving, and whoever comes under one of their
// names waits for that. It is called by one goroutine at a time.
func (w *Worker) Reconfigure(ctx context.Context, name string, subs []Subscription) error {
	i := slices.IndexFunc(w.sources, func(s *source) bool { return s.name == name })
	switch {
	case i < 0:
		return fmt.Errorf("source %s: there is none", name)
	case w.shared:
		return fmt.Errorf("source %s: its subscribers cannot change while the lease table is shared with KCL workers", name)
	}
	next := newSubscriptions(subs)
	w.desired.command(slices.Concat(w.subscribers(), next.subscribers)) // before they get anything
	before := w.sources[i].replace(next)
	w.holder.Scan() // leases that nobody here had a use for may have one now
	select {
	case <-before.idle:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	w.desired.command(w.subscribers())
	return nil
}

// subscribers are those of all sources now.
func (w *Worker) subscribers() []Subscriber {
	var all []Subscriber
	for _, s := range w.sources {
		all = append(all, s.subscribed().subscribers...)
	}
	return all
}
