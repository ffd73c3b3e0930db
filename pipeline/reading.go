package pipeline

import (
	"context"
	"errors"
	"time"

	"github.com/shardline/shardline/checkpoint"
)

// errNobodyLive pauses the reading: nobody reads the shard log.
var errNobodyLive = errors.New("nobody reads the shard log")

// read reads the shard until everybody has settled it to its end, a record can
// neither be read nor dead-lettered, or ctx ends.
func (s *shard) read(ctx context.Context, lease checkpoint.Lease) error {
	err := errNobodyLive
	for errors.Is(err, errNobodyLive) && !s.finished() {
		if err = s.base(ctx); err == nil {
			err = s.readLog(ctx, lease)
		}
	}
	if err != nil && !errors.Is(err, errNobodyLive) {
		return err
	}
	for !s.settled() { // the shard is at its end; those behind are on their way
		if !s.pause(ctx) {
			return context.Cause(ctx)
		}
	}
	return nil
}

// pause returns when a member may have changed; false: ctx has ended.
func (s *shard) pause(ctx context.Context) bool {
	t := time.NewTimer(idleLook)
	defer t.Stop()
	select {
	case <-s.joined:
	case <-t.C:
	case <-ctx.Done():
		return false
	}
	return true
}

// base returns when somebody reads the shard log. When nobody does, the
// laggards that are the least behind, and can take records, begin it anew.
func (s *shard) base(ctx context.Context) error {
	for !s.anyLive() {
		if s.rebase() {
			return nil
		}
		if !s.pause(ctx) {
			return context.Cause(ctx)
		}
	}
	return nil
}

func (s *shard) rebase() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	var first []*member
	var at checkpoint.Position
	for _, m := range s.of(behind) {
		if m.retired || !m.sub.Wants() {
			continue
		}
		switch p := m.cursor.place().At; {
		case len(first) == 0 || p.Compare(at) > 0:
			first, at = []*member{m}, p
		case p == at:
			first = append(first, m)
		}
	}
	if len(first) == 0 {
		s.unpin(time.Now())
		s.worker.budget.release(s.log.free()) // nobody reads it
		return false
	}
	s.unpin(time.Now())
	s.worker.budget.release(s.log.free())
	s.log.seen.close()
	s.log = s.newLog(at)
	for _, m := range first {
		m.sub.Leave(m.cursor, Main) // of a catch-up
		s.join(m)
		m.sub.Wake(m.cursor)
	}
	return true
}

// readLog reads the shard into its log while there is somebody who reads that.
func (s *shard) readLog(ctx context.Context, lease checkpoint.Lease) error {
	w, log := s.worker, s.log
	s.stale = stale{} // it counts entries of this log
	places := s.liveplaces()
	reader := s.source.config.Source.Reader(checkpoint.Shard{ID: lease.Shard, HashFrom: lease.HashFrom, HashTo: lease.HashTo}, log.head.Position)
	defer reader.Close()
	unproven := newUnproven(log.head.Position, places)
	for {
		if err := reader.Wait(ctx); err != nil {
			return context.Cause(ctx)
		}
		if !s.anyLive() {
			return errNobodyLive
		}
		if err := w.budget.reserve(ctx, log, readBytes, s.relieve); err != nil {
			return err
		}
		if !s.tenure.Valid() { // the process stood still: a new owner's subscription is not to be taken from it
			w.budget.release(readBytes)
			return context.Cause(ctx)
		}
		before := log.bytes
		batch, err := reader.Read(ctx)
		if errors.Is(err, ErrShardGone) {
			batch, err = s.gone(ctx, log, lease)
		}
		var unkept error
		if err == nil && !batch.Continues {
			unkept = s.same(ctx)
		}
		if err == nil && unkept == nil && batch.Gap == nil {
			batch.Gap = unproven.gap(batch, s.source.source)
		}
		if err == nil && unkept == nil && batch.Gap != nil {
			unkept = s.gap(ctx, places, *batch.Gap)
		}
		if err == nil && unkept == nil {
			unkept = s.append(ctx, log, batch.Records)
		}
		w.budget.release(readBytes - (log.bytes - before))
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if unkept != nil { // the next read would begin behind what was not appended
			return unkept
		}
		s.source.read(lease.Shard, err)
		if upTo := s.stale.pass(log.head.Index); upTo > log.passed.Load() {
			s.parkStale(upTo, len(log.byKey))
		}
		if err != nil || !batch.End {
			continue
		}
		return s.finish(ctx, log, lease, batch.Children)
	}
}

// liveplaces are the positions of those who read the shard log.
func (s *shard) liveplaces() []checkpoint.Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	var places []checkpoint.Position
	for _, m := range s.of(live) {
		places = append(places, m.cursor.place().At)
	}
	return places
}

// stale remembers how far the log was some time ago.
type stale struct {
	marks []mark
	upTo  uint64
}

type mark struct {
	at   time.Time
	head uint64
}

// pass notes the head of now, and returns the one of parkAfter ago.
func (s *stale) pass(head uint64) uint64 {
	now := time.Now()
	for len(s.marks) > 0 && now.Sub(s.marks[0].at) >= parkAfter {
		s.upTo, s.marks = s.marks[0].head, s.marks[1:]
	}
	if n := len(s.marks); n == 0 || now.Sub(s.marks[n-1].at) >= parkAfter/8 {
		s.marks = append(s.marks, mark{now, head})
	}
	return s.upTo
}

// wakeEvery is how many records are appended before the subscribers are woken.
const wakeEvery = 64

// append describes records, appends them, and wakes the live members. After an
// error the record that it is about, and those behind it, are not appended.
func (s *shard) append(ctx context.Context, log *Log, records []Record) error {
	for i := range records {
		if err := s.describe(ctx, log, &records[i]); err != nil {
			return err
		}
		s.tenure.Appended(int64(len(records[i].Data)))
		if (i+1)%wakeEvery == 0 || i+1 == len(records) {
			s.wake()
		}
	}
	return nil
}

// describe describes a record and appends it to a log. One that cannot be read
// goes to the dead letters of its source, once in a tenure: nobody knows who has
// read it before.
func (s *shard) describe(ctx context.Context, log *Log, r *Record) error {
	skipped := r.Blank
	var err error
	if r.Blank {
		// Nothing to say of it.
	} else if r.Description, err = s.source.config.Describe(r.PartitionKey, r.Data); err != nil {
		skipped = true
		s.wake() // what is before it does not wait for its dead letter
		if !s.lettered(r.Position) {
			if err := s.source.unreadable(ctx, s, *r, err); err != nil {
				return err
			}
			s.letter(r.Position)
		}
	} else if r.Fallback != "" {
		s.worker.metrics.keyless.WithLabelValues(s.source.name, r.Fallback).Inc()
	}
	if !skipped {
		info := s.info()
		r.Identity = info.Identity(r.Position)
	}
	log.append(*r, skipped)
	return nil
}

// maxLettered bounds the unreadable records that a tenure remembers.
const maxLettered = 10_000

func (s *shard) lettered(at checkpoint.Position) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, is := s.letters[at]
	return is
}

func (s *shard) letter(at checkpoint.Position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.letters) >= maxLettered {
		clear(s.letters)
	}
	if s.letters == nil {
		s.letters = make(map[checkpoint.Position]struct{})
	}
	s.letters[at] = struct{}{}
}
