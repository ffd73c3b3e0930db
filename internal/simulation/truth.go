package simulation

import "time"

// start is where a subscriber begins that is new to an application with
// checkpoints.
type start struct {
	latest bool
	time   time.Time // zero and not latest: the oldest record
}

// truth is what really happened to the records of one stream for one
// subscriber. Guarded by world.mu.
type truth struct {
	stream  *stream
	name    string
	start   start
	timed   bool // it began as a new one, at start.time
	settled map[*record]bool
	excused map[*record]bool         // from before its start
	saved   map[*record]bool         // dead-lettered before its stream trims it, attempted or not
	refused map[*record]bool         // an answer said that it will never be taken
	last    map[string]int           // by key: index of the last attempt
	top     map[string]int           // by key: highest index that was attempted
	waited  map[string]time.Duration // by key: the longest from an arrival to the first attempt
	flight  map[string]*attempt
	fronts  map[*shard]int // records from the front of a shard that are through
	lineage map[string]int // the same along a key's lineage
}

// truthOf is the truth for a subscriber of a stream. What was trimmed before
// it was first heard of is excused.
func (w *world) truthOf(s *stream, name string, begin start) *truth {
	t := s.truths[name]
	if t == nil {
		t = &truth{stream: s, name: name, start: begin, settled: make(map[*record]bool), excused: make(map[*record]bool),
			refused: make(map[*record]bool), saved: make(map[*record]bool), last: make(map[string]int), top: make(map[string]int), waited: make(map[string]time.Duration), flight: make(map[string]*attempt),
			fronts: make(map[*shard]int), lineage: make(map[string]int)}
		for _, h := range s.shards {
			t.excuse(h.records[:h.trimmed])
		}
		s.truths[name] = t
	}
	return t
}

func (t *truth) excuse(records []*record) {
	for _, r := range records {
		t.excused[r] = true
	}
}

// before says that a record lies before the subscriber's start.
func (t *truth) before(r *record) bool {
	return t.excused[r] || r.arrival.Before(t.stream.from()) || t.timed && r.arrival.Before(t.start.time)
}

// needless says that a record need not be attempted.
func (t *truth) needless(r *record) bool { return r.unreadable || t.before(r) }

// through says that a saved position may pass a record.
func (t *truth) through(r *record) bool { return t.settled[r] || r.durable || r.void || t.before(r) }

// frontier is how many records from the front of a shard are through.
func (t *truth) frontier(h *shard) int {
	n := t.fronts[h]
	for n < len(h.records) && t.through(h.records[n]) {
		n++
	}
	t.fronts[h] = n
	return n
}

// reached is how many records from the front of a key's lineage are through.
func (t *truth) reached(key string) int {
	n, all := t.lineage[key], t.stream.keys[key]
	for n < len(all) && t.through(all[n]) {
		n++
	}
	t.lineage[key] = n
	return n
}

// from is the arrival before which a stream's records concern nobody.
func (s *stream) from() time.Time {
	if s.initial.latest {
		return s.seen
	}
	return s.initial.time
}
