package simulation

import (
	"crypto/md5"
	"encoding/binary"
	"fmt"
	"math/big"
	"slices"
	"sort"
	"time"
)

// stream is one Kinesis stream in memory. Everything in it is guarded by the
// world's mutex.
type stream struct {
	source  string
	arn     string
	created time.Time
	shards  []*shard             // in the order of their creation; trimmed ones too
	byID    map[string]*shard    // every shard that there ever was
	indexes map[string]int       // records so far of each key
	keys    map[string][]*record // every record by key, in the order of the stream
	denied  time.Time            // until when every call is refused
	initial start                // where the source begins that has no leases
	seen    time.Time            // its first lease was created; zero: not yet
	truths  map[string]*truth    // of every subscriber that was ever on a roster, or attempted
}

// shard is a shard; hashes are the upper 32 bits of the real ones.
type shard struct {
	stream   *stream
	id       string
	first    uint64 // hash, inclusive
	last     uint64 // hash, inclusive
	start    uint64 // sequence number at its creation
	created  time.Time
	closed   time.Time // zero: open
	end      uint64    // sequence number at its end
	parents  []*shard
	children []*shard
	records  []*record
	trimmed  int  // records from the front that the stream no longer holds
	gone     bool // the stream no longer lists it
	leased   bool // it has, or had, a lease
}

// record is a record that the stream has acknowledged.
type record struct {
	id         int // index in world.records
	shard      *shard
	number     uint64
	key        string
	index      int // from 1, among the records of its key in this stream: its lineage
	arrival    time.Time
	body       []byte
	unreadable bool
	durable    bool // unreadable, and in the dead letters of its source
}

// sequence is a sequence number as the service writes them: 56 digits.
func sequence(n uint64) string { return fmt.Sprintf("49%054d", n) }

// parseSequence reads what sequence writes.
func parseSequence(s string) (uint64, bool) {
	var n uint64
	if len(s) != 56 {
		return 0, false
	}
	if _, err := fmt.Sscanf(s[30:], "%d", &n); err != nil {
		return 0, false
	}
	return n, sequence(n) == s
}

func hashOf(key string) uint64 {
	sum := md5.Sum([]byte(key))
	return uint64(binary.BigEndian.Uint32(sum[:4]))
}

// hashKey is the whole hash key whose upper 32 bits are h, lowest or highest.
func hashKey(h uint64, highest bool) string {
	x := new(big.Int).SetUint64(h)
	if highest {
		x.Add(x, big.NewInt(1))
	}
	x.Lsh(x, 96)
	if highest {
		x.Sub(x, big.NewInt(1))
	}
	return x.String()
}

const wholeRange = 1 << 32

func (w *world) addStream(source string, shards int) *stream {
	s := &stream{source: source, arn: "arn:aws:kinesis:eu-west-1:111111111111:stream/" + source, created: time.Now().Add(-time.Hour).Truncate(time.Second),
		byID: make(map[string]*shard), indexes: make(map[string]int), keys: make(map[string][]*record), truths: make(map[string]*truth)}
	for i := range uint64(shards) {
		w.addShard(s, i*wholeRange/uint64(shards), (i+1)*wholeRange/uint64(shards)-1)
	}
	w.streams = append(w.streams, s)
	return s
}

func (w *world) addShard(s *stream, first, last uint64, parents ...*shard) *shard {
	h := &shard{stream: s, id: fmt.Sprintf("shardId-%012d", len(s.shards)), first: first, last: last,
		start: w.number(), created: time.Now(), parents: parents}
	s.shards = append(s.shards, h)
	s.byID[h.id] = h
	for _, p := range parents {
		p.children = append(p.children, h)
		if p.closed.IsZero() {
			p.closed, p.end = time.Now(), w.number()
		}
	}
	return h
}

// number is the next sequence number; they grow over all shards.
func (w *world) number() uint64 {
	w.numbers += uint64(1 + w.dice.below("numbers", 1000))
	return w.numbers
}

// open are the shards that take records.
func (s *stream) open() []*shard {
	return slices.DeleteFunc(slices.Clone(s.shards), func(h *shard) bool { return !h.closed.IsZero() })
}

// put acknowledges a record. w.mu is held.
func (w *world) put(s *stream, key string, unreadable bool) *record {
	hash := hashOf(key)
	for _, h := range s.open() {
		if h.first > hash || hash > h.last {
			continue
		}
		s.indexes[key]++
		r := &record{id: len(w.records), shard: h, number: w.number(), key: key, index: s.indexes[key],
			arrival: time.Now().Truncate(time.Millisecond), unreadable: unreadable}
		r.body = fmt.Appendf(nil, "record %d of %s in %s", r.index, key, s.source)
		if unreadable {
			r.body = append([]byte("unreadable "), r.body...)
		}
		h.records = append(h.records, r)
		s.keys[key] = append(s.keys[key], r)
		w.records = append(w.records, r)
		w.byNumber[r.number] = r
		return r
	}
	panic("no open shard for key " + key)
}

// split divides an open shard in two; w.mu is held.
func (w *world) split(s *stream) bool {
	open := s.open()
	h := open[w.dice.below("reshard", len(open))]
	if h.last-h.first < 4 || len(open) >= maxOpenShards {
		return false
	}
	middle := h.first + (h.last-h.first)/2
	w.addShard(s, h.first, middle, h)
	w.addShard(s, middle+1, h.last, h)
	w.logf("%s: %s splits", s.source, h.id)
	return true
}

const maxOpenShards = 4

// merge unites two adjacent open shards; w.mu is held.
func (w *world) merge(s *stream) bool {
	open := s.open()
	if len(open) < 2 {
		return false
	}
	sort.Slice(open, func(i, j int) bool { return open[i].first < open[j].first })
	i := w.dice.below("reshard", len(open)-1)
	a, b := open[i], open[i+1]
	w.addShard(s, a.first, b.last, a, b)
	w.logf("%s: %s and %s merge", s.source, a.id, b.id)
	return true
}

// generations splits and merges several times in one moment; w.mu is held.
func (w *world) generations(s *stream) bool {
	done := 0
	for range 2 + w.dice.below("reshard", 3) {
		if len(s.shards) < maxShards && (w.dice.chance("reshard", 0.5) && w.split(s) || w.merge(s)) {
			done++
		}
	}
	return done > 1
}

// trim lets go of what nobody needs again, as a retention does that was long
// enough: records, and whole shards. w.mu is held.
func (w *world) trim(s *stream) (records, shards bool) {
	if len(s.truths) == 0 {
		return false, false
	}
	for _, h := range s.shards {
		if n := w.check.saved(h); n > h.trimmed {
			h.trimmed, records = n, true
		}
		// A generation that is trimmed before anybody has seen it breaks the
		// lineage; a retention that short is not what is tried here.
		finished := h.leased && !h.closed.IsZero() && h.trimmed == len(h.records) && time.Since(h.closed) > 20*time.Second
		if finished && !h.gone && !slices.ContainsFunc(h.parents, func(p *shard) bool { return !p.gone }) {
			h.gone, shards = true, true
			w.logf("%s: %s is trimmed", s.source, h.id)
		}
	}
	return records, shards
}

// after is the index of the first record behind a sequence number.
func (h *shard) after(n uint64) int {
	return sort.Search(len(h.records), func(i int) bool { return h.records[i].number > n })
}

// since is the index of the first record that arrived at t or later.
func (h *shard) since(t time.Time) int {
	return sort.Search(len(h.records), func(i int) bool { return !h.records[i].arrival.Before(t) })
}

// above are the shards that h descends from.
func (h *shard) above() []*shard {
	var all []*shard
	for _, p := range h.parents {
		if !slices.Contains(all, p) {
			all = append(all, p)
		}
		for _, q := range p.above() {
			if !slices.Contains(all, q) {
				all = append(all, q)
			}
		}
	}
	return all
}
