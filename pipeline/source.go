package pipeline

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/shardline/shardline/checkpoint"
)

// SourceConfig is a source and who reads it.
type SourceConfig struct {
	Source      Source
	Initial     Initial // where a stream without leases begins
	Describe    Describe
	Subscribers []Subscription
	// Unreadable makes a record durable that Describe refuses. It is tried
	// until it succeeds; nil: Describe refuses nothing.
	Unreadable func(ctx context.Context, shard ShardInfo, r Record, reason error) error
	// Gap makes a note durable of records that the stream trimmed before they
	// were read. It is tried until it succeeds; nil: a metric and an error log
	// have to do.
	Gap func(ctx context.Context, shard ShardInfo, g Gap) error
}

// Subscription is a subscriber of a source. Initial says where it begins when
// the application has checkpoints that do not cover it.
type Subscription struct {
	Subscriber Subscriber
	Initial    Initial
}

// SourceState is what operators see of a source.
type SourceState struct {
	Name   string
	Up     bool
	Reason string    // why it is not up
	Since  time.Time // of Up or Reason
	Shards int       // owned by this worker
}

// source is a configured source at run time.
type source struct {
	name        string
	config      SourceConfig
	subscribers []Subscriber
	initials    map[string]Initial
	format      checkpoint.KeyFormat
	logger      *zap.Logger
	metrics     *Metrics
	looks       chan struct{} // capacity 1: the discovery is to look now
	asking      chan struct{} // capacity 1: whoever has put something in calls Source.Stream

	mu      sync.Mutex
	epoch   *epoch             // nil: not known yet; replaced, its stream does not change
	asked   *description       // the call of Source.Stream that comes next; nil: nobody has asked
	trouble map[string]trouble // by shard, "" for the discovery: what failed the last time
	state   SourceState
	cause   error // the meaning of state.Reason
}

func newSource(c SourceConfig, format checkpoint.KeyFormat, logger *zap.Logger, m *Metrics) *source {
	s := &source{name: c.Source.Name(), config: c, format: format, metrics: m, initials: make(map[string]Initial),
		logger: logger.With(zap.String("source", c.Source.Name())), trouble: make(map[string]trouble),
		looks: make(chan struct{}, 1), asking: make(chan struct{}, 1),
		state: SourceState{Name: c.Source.Name(), Reason: notReachedYet, Since: time.Now()}}
	for _, d := range c.Subscribers {
		s.subscribers = append(s.subscribers, d.Subscriber)
		s.initials[d.Subscriber.Name()] = d.Initial
	}
	m.up.WithLabelValues(s.name).Set(0)
	m.gaps.WithLabelValues(s.name)
	m.garbage.WithLabelValues(s.name).Set(0)
	m.holes.WithLabelValues(s.name).Set(0)
	m.unreadable.WithLabelValues(s.name)
	return s
}

// notReachedYet is the reason before the first discovery has ended.
const notReachedYet = "not reached yet"

// listed notes the outcome of a discovery.
func (s *source) listed(err error) {
	if err != nil {
		err = fmt.Errorf("discover: %w", err)
	}
	s.note("", err)
}

// read notes the outcome of a shard's read. A throttle is the service's
// ordinary way to pace; its metric tells.
func (s *source) read(shard string, err error) {
	if err != nil && !errors.Is(err, ErrThrottled) {
		s.note(shard, fmt.Errorf("read shard %s: %w", shard, err))
		return
	}
	s.note(shard, nil)
}

// trouble is what keeps failing, and since when.
type trouble struct {
	err   error
	since time.Time
}

// grace is how long an error without a clear cause may repeat before the
// source counts as down.
const grace = 10 * time.Second

// lasting says whether an error will not go away by itself soon.
func (t trouble) lasting() bool {
	return errors.Is(t.err, ErrDenied) || errors.Is(t.err, ErrStreamGone) || time.Since(t.since) > grace
}

// note keeps an outcome and logs when it changes how the source is.
func (s *source) note(of string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, failed := s.trouble[of]
	switch {
	case err != nil && failed:
		s.trouble[of] = trouble{err, before.since}
	case err != nil:
		s.trouble[of] = trouble{err, time.Now()}
	case failed:
		delete(s.trouble, of)
	case s.state.Up || of != "":
		return // nothing new; and it is not up before the first discovery
	}
	var down error
	for _, of := range slices.Sorted(maps.Keys(s.trouble)) {
		if t := s.trouble[of]; t.lasting() {
			down = t.err
			break
		}
	}
	switch {
	case down == nil && !s.state.Up && s.epoch == nil:
	case down == nil && !s.state.Up:
		s.cause = nil
		s.state = SourceState{Name: s.name, Up: true, Since: time.Now()}
		s.metrics.up.WithLabelValues(s.name).Set(1)
		s.logger.Info("source is up")
	case down != nil:
		if s.state.Up || s.state.Reason == notReachedYet {
			s.state.Since = time.Now()
		}
		// The text may differ from try to try (ports, request ids): what it
		// means decides whether it is said again.
		if cause := meaning(down); s.state.Up || s.cause != cause {
			s.cause = cause
			s.metrics.up.WithLabelValues(s.name).Set(0)
			s.logger.Error("source is down: trying again with back-off; other sources go on", zap.Error(down))
		}
		s.state.Up, s.state.Reason = false, down.Error()
	}
}

var errOther = errors.New("another error")

// meaning is the sentinel that an error wraps.
func meaning(err error) error {
	for _, sentinel := range []error{ErrDenied, ErrStreamGone, ErrShardGone} {
		if errors.Is(err, sentinel) {
			return sentinel
		}
	}
	return errOther
}

// anyOf says whether one of the names is a subscriber of the worker's.
func (s *source) anyOf(names map[string]checkpoint.Entry) bool {
	for name := range names {
		if _, ours := s.initials[name]; ours {
			return true
		}
	}
	return false
}

// closed forgets a shard that is no longer read here.
func (s *source) closed(shard string) {
	s.read(shard, nil)
	s.config.Source.Forget(shard)
}

// unreadable makes a record that cannot be keyed durable, once for the source.
func (s *source) unreadable(ctx context.Context, sh *shard, r Record, reason error) error {
	if s.config.Unreadable == nil {
		return fmt.Errorf("record %s: %w", r.Position, reason)
	}
	err := s.durable(ctx, sh, "the shard waits: a record that cannot be read could not be dead-lettered", r.Position, func() error {
		return s.config.Unreadable(ctx, sh.info(), r, reason)
	})
	if err == nil {
		s.metrics.unreadable.WithLabelValues(s.name).Inc()
	}
	return err
}

// durable tries put until it succeeds or ctx ends.
func (s *source) durable(ctx context.Context, sh *shard, complaint string, at checkpoint.Position, put func() error) error {
	for wait := firstLetterWait; ; wait = min(2*wait, 30*time.Second) {
		err := put()
		if err == nil {
			return nil
		}
		if wait == firstLetterWait {
			sh.logger.Error(complaint, zap.Stringer("position", at), zap.Error(err))
		}
		if !sleep(ctx, wait) {
			return context.Cause(ctx)
		}
	}
}

const firstLetterWait = 500 * time.Millisecond

// discovery: how often a source's shards are listed, and how long to wait
// after an error.
const (
	discoverEvery   = time.Minute
	discoverBackoff = time.Second
	discoverMaxWait = 30 * time.Second
)

// discover identifies the stream, lists its shards and creates the leases
// that are missing, again and again until ctx ends.
func (w *Worker) discover(ctx context.Context, s *source) {
	backoff := discoverBackoff
	for {
		err := w.audit(ctx, s)
		if ctx.Err() != nil {
			return
		}
		s.listed(err)
		wait := discoverEvery
		if err != nil {
			wait, backoff = backoff, min(2*backoff, discoverMaxWait)
		} else {
			backoff = discoverBackoff
		}
		if e := s.current(); e != nil && e.garbage > 0 {
			wait = min(wait, w.failover)
		}
		if !s.rest(ctx, jitter(wait)) {
			return
		}
	}
}

// rest waits until the next audit is due, or somebody asks for it; false: ctx
// has ended.
func (s *source) rest(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.looks:
	case <-ctx.Done():
		return false
	}
	return true
}

// jitter is a random half of d, and the other half.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2) }

// audit creates the leases of a source that are missing and removes those
// that are through, or of an earlier epoch.
func (w *Worker) audit(ctx context.Context, s *source) error {
	e, shards, now, err := s.list(ctx)
	if err != nil {
		return err
	}
	leases, err := w.store.List(ctx)
	if err != nil {
		return fmt.Errorf("list the leases: %w", err)
	}
	// An application that has leases of the stream's earlier life has missed
	// what is in the new one.
	e.again = e.again || slices.ContainsFunc(leases, e.outlived)
	if err := w.sweep(ctx, e, leases); err != nil {
		return err
	}
	leases = slices.DeleteFunc(leases, func(l checkpoint.Lease) bool { return !e.owns(l) })
	initial, tip := e.begin(now, len(leases) > 0)
	if w.shared { // rosters say nothing there: children that KCL made have none
		for i := range leases {
			leases[i].Roster = nil
		}
	}
	first, err := w.first(ctx, e, shards, leases, initial, tip)
	if err != nil {
		return fmt.Errorf("decide on the first leases: %w", err)
	}
	create, remove := checkpoint.Audit(shards, leases, initial, tip, first)
	if err := w.createAll(ctx, e, create); err != nil {
		return err
	}
	for _, l := range remove {
		if !w.holder.Free(l) {
			continue
		}
		if err := w.store.Delete(ctx, l); err != nil && !errors.Is(err, checkpoint.ErrConflict) && !errors.Is(err, checkpoint.ErrNotFound) {
			return fmt.Errorf("delete lease %s: %w", l.Key, err)
		}
		s.logger.Info("lease of a finished shard removed", zap.String("shard", l.Shard))
	}
	if len(create) > 0 {
		w.holder.Scan()
	}
	return w.closeHoles(ctx, e, shards, slices.Concat(leases, create))
}

// first is where the stream's first leases begin when it begins at latest: all
// workers create the same ones, whatever each of them sees in its first
// listing. KCL workers make theirs by themselves.
func (w *Worker) first(ctx context.Context, e *epoch, shards []checkpoint.Shard, leases []checkpoint.Lease,
	initial checkpoint.Position, tip bool) (map[string]checkpoint.Position, error) {
	if !e.config.Initial.latest || e.again || w.shared || e.first != nil {
		return e.first, nil
	}
	proposal := make(map[string]checkpoint.Position)
	if len(leases) == 0 {
		create, _ := checkpoint.Audit(shards, nil, initial, tip, nil)
		for _, l := range create {
			proposal[l.Shard] = l.Checkpoint
		}
	}
	first, err := w.store.First(ctx, e.id(), proposal)
	if err == nil && (first != nil || len(leases) > 0) {
		if e.first = first; first == nil {
			e.first = map[string]checkpoint.Position{} // the leases are older than this rule, or not ours
		}
	}
	return first, err
}

// createAtOnce bounds the leases that one source creates at a time: a stream of
// hundreds of shards is read within seconds, and its table is not flooded.
const createAtOnce = 16

// createAll creates leases, ancestors first: none before those of its parents.
func (w *Worker) createAll(ctx context.Context, e *epoch, create []checkpoint.Lease) error {
	for len(create) > 0 {
		waiting := make(map[string]bool, len(create))
		for _, l := range create {
			waiting[l.Shard] = true
		}
		var now, later []checkpoint.Lease
		for _, l := range create {
			if slices.ContainsFunc(l.Parents, func(id string) bool { return waiting[id] }) {
				later = append(later, l)
			} else {
				now = append(now, l)
			}
		}
		if len(now) == 0 { // a circle: no service lists one
			now, later = later, nil
		}
		var g errgroup.Group
		g.SetLimit(createAtOnce)
		for _, l := range now {
			g.Go(func() error {
				l.Stream = e.id()
				l.Key = e.leaseKey(l.Shard)
				l.Checkpoint = w.sentinel(e.source, l.Checkpoint)
				err := w.store.Create(ctx, l)
				switch {
				case errors.Is(err, checkpoint.ErrExists):
					return nil
				case err != nil:
					return fmt.Errorf("create lease %s: %w", l.Key, err)
				}
				e.logger.Info("lease created", zap.String("shard", l.Shard), zap.Stringer("position", l.Checkpoint))
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
		create = later
	}
	return nil
}

// begin says where shards without leases begin, for checkpoint.Audit. Latest is
// the service's own time at first sight, less a margin for the seconds of its
// date and for clocks that differ between its hosts. What a first try could
// not create begins there too; by then a closed shard may hold something
// newer, so that this listing is no longer the tip. A stream that was made
// again has nothing that is older than the application: it begins at its
// beginning.
func (e *epoch) begin(now time.Time, leased bool) (initial checkpoint.Position, tip bool) {
	if e.config.Initial.latest && e.again {
		return checkpoint.TrimHorizon, false
	}
	tip = e.config.Initial.latest && (e.pinned.IsZero() || leased)
	if e.pinned.IsZero() {
		e.pinned = now.Add(-latestMargin)
	}
	return e.config.Initial.position(checkpoint.At(e.pinned)), tip
}

const latestMargin = 5 * time.Second
