package pipeline

import (
	"crypto/sha256"
	"encoding/binary"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/shardline/shardline/checkpoint"
)

// Deduplication says which records of a source a producer sent twice: those
// that follow, within Window by the stream's clock, a record of the same shard
// with the same key and the same ID.
type Deduplication struct {
	Window time.Duration
	ID     func(data []byte) []byte // empty: the record has none, and is no duplicate
}

// skip says who settles an entry without being given it: everybody, or whoever
// is given an earlier record that it repeats.
type skip struct {
	at      checkpoint.Position // of the earlier record
	arrival time.Time
}

var everybody = &skip{}

// skipped says whether an entry is settled without being given for whoever has
// settled everything up to at. A duplicate is as long as its original is still
// to come to them. It is not when they have passed the original: they may have
// begun behind it, and never had it.
func (e *Entry) skipped(at checkpoint.Position) bool {
	switch e.skip {
	case nil:
		return false
	case everybody:
		return true
	}
	return !at.Covers(e.skip.at, e.skip.arrival)
}

const (
	// mostSeen bounds what one source remembers on a worker, some 50 MB; each
	// shard has room for leastSeen of its own.
	mostSeen  = 1 << 18
	leastSeen = 1 << 10
)

// seen remembers the records of one shard log that a later one may repeat. It
// is owned by the log's reader.
//
// Everything is decided by what stands in the stream, and a record counts as a
// duplicate of one that was appended to this log before it. So a log that begins
// elsewhere (a restart, another worker, a catch-up) may know fewer duplicates,
// never more.
type seen struct {
	rule       Deduplication
	all        *atomic.Int64 // of the source's shards
	duplicates prometheus.Counter
	forgotten  prometheus.Counter
	logger     *zap.Logger

	records map[identity]*skip
	order   []seenRecord // by position, from next on
	next    int
}

// identity is a hash of a record's key and ID: as long as nobody finds two
// messages with one hash on purpose, which takes 2^64 tries, no two share it.
type identity [16]byte

type seenRecord struct {
	id     identity
	record *skip
}

// newSeen makes the memory of a shard log; nil: nothing is de-duplicated.
func (s *source) newSeen(logger *zap.Logger) *seen {
	if s.config.Deduplicate == nil {
		return nil
	}
	return &seen{rule: *s.config.Deduplicate, all: &s.seen, records: make(map[identity]*skip), logger: logger,
		duplicates: s.metrics.duplicates.WithLabelValues(s.name), forgotten: s.metrics.forgotten.WithLabelValues(s.name)}
}

// original is the earlier record that r repeats; nil: it is new.
func (s *seen) original(r *Record) *skip {
	if s == nil || r.Arrival.IsZero() {
		return nil
	}
	name := s.rule.ID(r.Data)
	if len(name) == 0 {
		return nil
	}
	for s.next < len(s.order) && r.Arrival.Sub(s.order[s.next].record.arrival) > s.rule.Window {
		s.forget()
	}
	id := identify(r.Key, name)
	if first := s.records[id]; first != nil && r.Arrival.Sub(first.arrival) <= s.rule.Window {
		s.duplicates.Inc()
		s.logger.Debug("a record repeats an earlier one: it is not delivered",
			zap.Stringer("position", r.Position), zap.Stringer("original", first.at))
		return first
	}
	for s.all.Load() >= mostSeen && len(s.order)-s.next > leastSeen {
		s.forget()
		s.forgotten.Inc()
	}
	if s.all.Load() >= mostSeen && len(s.order)-s.next >= leastSeen {
		s.forgotten.Inc()
		return nil
	}
	first := &skip{r.Position, r.Arrival}
	s.records[id] = first
	s.order = append(s.order, seenRecord{id, first})
	s.all.Add(1)
	return nil
}

// forget lets go of the earliest record.
func (s *seen) forget() {
	oldest := s.order[s.next]
	s.order[s.next] = seenRecord{}
	if s.next++; s.next > len(s.order)/2 {
		n := copy(s.order, s.order[s.next:])
		clear(s.order[n:])
		s.order, s.next = s.order[:n], 0
	}
	if s.records[oldest.id] == oldest.record {
		delete(s.records, oldest.id)
	}
	s.all.Add(-1)
}

// close lets go of all.
func (s *seen) close() {
	if s != nil {
		s.all.Add(int64(s.next - len(s.order)))
		s.records, s.order, s.next = nil, nil, 0
	}
}

func identify(key string, name []byte) identity {
	h := sha256.New()
	var length [8]byte
	binary.BigEndian.PutUint64(length[:], uint64(len(key)))
	h.Write(length[:])
	h.Write([]byte(key))
	h.Write(name)
	return identity(h.Sum(nil)[:16])
}
