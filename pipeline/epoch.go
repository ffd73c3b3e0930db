package pipeline

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/shardline/shardline/checkpoint"
)

// epoch is one life of a source's stream. A stream that is deleted and made
// again under its name begins another one, with leases of its own: nothing of
// it is ever read under a lease of an earlier one.
type epoch struct {
	*source
	stream Stream
	over   chan struct{} // closed when a later one has begun

	again   bool                           // owned by discover: the application has known an earlier one
	pinned  time.Time                      // owned by discover: where latest begins; zero: not listed yet
	first   map[string]checkpoint.Position // owned by discover: what the stream's first leases are; nil: not known yet
	garbage int                            // owned by discover: leases of earlier epochs at the last audit
	holes   holes                          // owned by discover
}

// errReplaced ends the tenures of an epoch that is over.
var errReplaced = errors.New("the stream was deleted and made again")

// current is the source's epoch; nil: not known yet.
func (s *source) current() *epoch {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.epoch
}

// enter makes the stream's epoch the current one, unless it is already.
func (s *source) enter(stream Stream) (*epoch, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.epoch
	switch {
	case before == nil:
	case before.stream.Created.Equal(stream.Created):
		return before, nil
	case stream.Created.Before(before.stream.Created):
		return nil, fmt.Errorf("stream %s: it was made at %s and now counts as made at %s", stream.ARN, before.stream.Created, stream.Created)
	}
	s.epoch = &epoch{source: s, stream: stream, again: before != nil, over: make(chan struct{})}
	if before != nil {
		close(before.over)
		s.logger.Error("the stream was deleted and made again: going on with the new one, from its beginning or where initial_position says; leases of the old one end",
			zap.Time("old", before.stream.Created), zap.Time("new", stream.Created))
	}
	return s.epoch, nil
}

// list lists the shards of the current epoch, which it enters when it has
// begun. A listing counts when the stream was the same before and after it.
func (s *source) list(ctx context.Context) (*epoch, []checkpoint.Shard, time.Time, error) {
	var before Stream
	var err error
	if e := s.current(); e != nil {
		before = e.stream
	} else if before, err = s.describe(ctx); err != nil {
		return nil, nil, time.Time{}, err
	}
	for range 2 {
		shards, now, err := s.config.Source.Shards(ctx)
		if err != nil {
			return nil, nil, time.Time{}, fmt.Errorf("list the shards: %w", err)
		}
		after, err := s.describe(ctx)
		if err != nil {
			return nil, nil, time.Time{}, err
		}
		if after.Created.Equal(before.Created) {
			e, err := s.enter(after)
			return e, shards, now, err
		}
		before = after
	}
	return nil, nil, time.Time{}, fmt.Errorf("stream %s was made again while it was listed", before.ARN)
}

// description is one call of Source.Stream, for all who asked before it began.
type description struct {
	done   chan struct{} // closed when the rest is set
	stream Stream
	err    error
}

// describe asks which stream it is, with a call that begins after this one.
// Callers share calls: the service allows an account few of them.
func (s *source) describe(ctx context.Context) (Stream, error) {
	s.mu.Lock()
	if s.asked == nil {
		s.asked = &description{done: make(chan struct{})}
	}
	d := s.asked
	s.mu.Unlock()
	select {
	case s.asking <- struct{}{}:
		s.mu.Lock()
		mine := s.asked == d
		if mine {
			s.asked = nil
		}
		s.mu.Unlock()
		if mine {
			if d.stream, d.err = s.config.Source.Stream(ctx); d.err != nil {
				d.err = fmt.Errorf("describe the stream: %w", d.err)
			}
			s.mu.Lock()
			s.keeps.learn(d.stream)
			s.mu.Unlock()
			close(d.done)
		}
		<-s.asking
	case <-d.done:
	case <-ctx.Done():
		return Stream{}, context.Cause(ctx)
	}
	<-d.done
	return d.stream, d.err
}

// look asks the discovery to look at the stream now.
func (s *source) look() {
	select {
	case s.looks <- struct{}{}:
	default:
	}
}

// live says nil when the epoch is not over: so whatever the service answered
// before the call was about this stream.
func (e *epoch) live(ctx context.Context) error {
	stream, err := e.describe(ctx)
	if err == nil && !stream.Created.Equal(e.stream.Created) {
		e.look()
		err = fmt.Errorf("stream %s: %w", stream.ARN, errReplaced)
	}
	return err
}

// shards lists the shards of this epoch.
func (e *epoch) shards(ctx context.Context) ([]checkpoint.Shard, error) {
	shards, _, err := e.config.Source.Shards(ctx)
	if err == nil {
		err = e.live(ctx)
	}
	return shards, err
}

// id is what leases call the stream.
func (e *epoch) id() string {
	return checkpoint.StreamID(e.stream.Account, e.stream.Name, e.stream.Created)
}

func (e *epoch) leaseKey(shard string) string {
	return checkpoint.LeaseKey(e.format, e.id(), shard)
}

// owns says whether a lease is of this epoch. In a single-stream table one that
// does not say of which it is, because another program made it, counts as ours.
func (e *epoch) owns(l checkpoint.Lease) bool {
	return l.Stream == e.id() || l.Stream == "" && e.format == checkpoint.SingleStream
}

// outlived says whether a lease is of an earlier epoch of the same stream.
func (e *epoch) outlived(l checkpoint.Lease) bool {
	account, name, created, err := checkpoint.ParseStreamID(l.Stream)
	return err == nil && account == e.stream.Account && name == e.stream.Name && created.Before(e.stream.Created)
}

// same tries until it knows that what a reader has begun anew is still the
// epoch's stream.
func (s *shard) same(ctx context.Context) error {
	for wait := firstLetterWait; ; wait = min(2*wait, 10*time.Second) {
		err := s.source.live(ctx)
		if err == nil || errors.Is(err, errReplaced) {
			return err
		}
		s.source.read(s.tenure.Lease().Shard, err)
		if !sleep(ctx, jitter(wait)) {
			return context.Cause(ctx)
		}
	}
}

// outlive lets the subscribers have what was read of a stream that is no more:
// it is left nowhere else. It returns errReplaced when they have, or why they
// cannot.
func (s *shard) outlive(ctx context.Context) error {
	s.logger.Error("the stream was deleted and made again: this lease is of the old one, and ends when what was read is settled")
	s.closed()
	ctx, cancel := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-s.tenure.Draining():
			cancel(errDraining)
		case <-ctx.Done():
		}
	}()
	s.mu.Lock()
	s.unpin(time.Now())
	log := s.log
	s.mu.Unlock()
	var err error
	if log != nil {
		err = s.worker.budget.settled(ctx, log)
	}
	cancel(nil)
	<-watched
	if err == nil {
		err = fmt.Errorf("lease %s: %w: there are leases of its own for the new one", s.tenure.Lease().Key, errReplaced)
	}
	return err
}

// sweep removes the leases of earlier epochs that nobody holds any more. Those
// of other streams are no business of this source.
func (w *Worker) sweep(ctx context.Context, e *epoch, all []checkpoint.Lease) error {
	left, removed := 0, 0
	for _, l := range all {
		if !e.outlived(l) {
			continue
		}
		left++
		if !w.holder.Free(l) {
			continue
		}
		err := w.store.Delete(ctx, l)
		switch {
		case errors.Is(err, checkpoint.ErrConflict): // somebody has it after all
			continue
		case err != nil && !errors.Is(err, checkpoint.ErrNotFound):
			return fmt.Errorf("delete lease %s: %w", l.Key, err)
		}
		left, removed = left-1, removed+1
	}
	if left > 0 && left != e.garbage {
		e.logger.Warn("leases of the stream's earlier life are still held; they are removed when nobody renews them", zap.Int("leases", left))
	}
	if removed > 0 {
		e.logger.Warn("leases of the stream's earlier life removed: the stream was deleted and made again", zap.Int("leases", removed))
	}
	e.garbage = left
	w.metrics.garbage.WithLabelValues(e.name).Set(float64(left))
	return nil
}
