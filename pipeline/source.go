package pipeline

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/shardline/shardline/checkpoint"
)

// SourceConfig is a source and who reads it.
type SourceConfig struct {
	Source      Source
	Initial     Initial // where a stream without leases begins
	Describe    Describe
	Subscribers []Subscription
	Deduplicate *Deduplication // nil: every record is delivered
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
	name    string
	config  SourceConfig // but for its Subscribers, which change
	format  checkpoint.KeyFormat
	logger  *zap.Logger
	metrics *Metrics
	looks   chan struct{} // capacity 1: the discovery is to look now
	seen    atomic.Int64  // records that its shards' logs remember
	asking  chan struct{} // capacity 1: whoever has put something in calls Source.Stream

	mu            sync.Mutex
	subscriptions *subscriptions
	keeps         retention          // of the stream, as last described
	epoch         *epoch             // nil: not known yet; replaced, its stream does not change
	asked         *description       // the call of Source.Stream that comes next; nil: nobody has asked
	trouble       map[string]trouble // by shard, "" for the discovery: what failed the last time
	state         SourceState
	cause         error // the meaning of state.Reason
}

func newSource(c SourceConfig, format checkpoint.KeyFormat, logger *zap.Logger, m *Metrics) *source {
	s := &source{name: c.Source.Name(), config: c, format: format, metrics: m, subscriptions: newSubscriptions(c.Subscribers),
		logger: logger.With(zap.String("source", c.Source.Name())), trouble: make(map[string]trouble),
		looks: make(chan struct{}, 1), asking: make(chan struct{}, 1),
		state: SourceState{Name: c.Source.Name(), Reason: notReachedYet, Since: time.Now()}}
	m.up.WithLabelValues(s.name).Set(0)
	m.gaps.WithLabelValues(s.name)
	m.garbage.WithLabelValues(s.name).Set(0)
	m.holes.WithLabelValues(s.name).Set(0)
	m.unreadable.WithLabelValues(s.name)
	m.duplicates.WithLabelValues(s.name)
	m.forgotten.WithLabelValues(s.name)
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
