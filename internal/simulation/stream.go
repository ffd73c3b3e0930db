package simulation

import (
	"cmp"
	"crypto/md5"
	"encoding/binary"
	"fmt"
	"math/big"
	"slices"
	"sort"
	"strconv"
	"time"

	"github.com/shardline/shardline/consumers"
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
	reads   int                  // calls of GetRecords that gave something, or nothing
	keys    map[string][]*record // every record by key, in the order of the stream
	kpl     bool                 // its producer aggregates
	fanOut  bool                 // it is read by enhanced fan-out
	// consumer is when its stream consumer was registered; zero: there is none.
	consumer time.Time
	denied   time.Time         // until when every call is refused
	initial  start             // where the source begins that has no leases
	seen     time.Time         // its first lease was created; zero: not yet
	truths   map[string]*truth // of every subscriber that was ever on a roster, or attempted
}

// shard is a shard; hashes are the upper 32 bits of the real ones.
type shard struct {
	stream   *stream
	id       string
	from     uint64 // hash, inclusive
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

	subscription *subscription // the last one
}

// record is a user record that the stream has acknowledged.
type record struct {
	spot
	id         int // index in world.records
	shard      *shard
	key        string
	index      int // from 1, among the records of its key in this stream: its lineage
	arrival    time.Time
	body       []byte
	unreadable bool
	durable    bool // unreadable, and in the dead letters of its source
	void       bool // stands for an aggregate of which nobody is to get anything

	// What the stream holds: the same for all records of an aggregate.
	data         []byte
	partitionKey string
}

// forgotten says whether the stream has trimmed the record: a replay cannot give
// it again.
func (r *record) forgotten() bool {
	return r.shard.gone || slices.Contains(r.shard.records[:r.shard.trimmed], r)
}

// spot is where a user record is: the number of the record that holds it, and
// its index in there.
type spot struct {
	outer uint64
	sub   int64
}

func (s spot) String() string {
	if s.sub == 0 {
		return fmt.Sprint("#", s.outer)
	}
	return fmt.Sprint("#", s.outer, ":", s.sub)
}

func (s spot) compare(o spot) int {
	return cmp.Or(cmp.Compare(s.outer, o.outer), cmp.Compare(s.sub, o.sub))
}

// sequence is a sequence number as the service writes them: 56 digits.
func sequence(n uint64) string { return fmt.Sprintf("49%054d", n) }

// parseSequence reads what sequence writes.
func parseSequence(s string) (uint64, bool) {
	const prefix = "490000000000000000000000000000000000"
	if len(s) != 56 || s[:len(prefix)] != prefix {
		return 0, false
	}
	n, err := strconv.ParseUint(s[len(prefix):], 10, 64)
	return n, err == nil
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
	h := &shard{stream: s, id: fmt.Sprintf("shardId-%012d", len(s.shards)), from: first, last: last,
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

// emptyAggregate has a table with one key, and no user record.
func emptyAggregate() []byte {
	message := []byte{0x0a, 1, 'k'}
	digest := md5.Sum(message)
	return slices.Concat([]byte{0xf3, 0x89, 0x9a, 0xc2}, message, digest[:])
}

// shardFor is the open shard that takes a key.
func (s *stream) shardFor(key string) *shard {
	hash := hashOf(key)
	for _, h := range s.open() {
		if h.from <= hash && hash <= h.last {
			return h
		}
	}
	panic("no open shard for key " + key)
}

// userRecord is what a producer wants to put.
type userRecord struct {
	key        string
	unreadable bool
}

// put acknowledges a record of its own, or several that one shard takes as one
// aggregate. w.mu is held.
func (w *world) put(s *stream, all ...userRecord) {
	h, outer, arrival := s.shardFor(all[0].key), w.number(), time.Now().Truncate(time.Millisecond)
	var aggregate []consumers.UserRecord
	records := make([]*record, len(all))
	for i, u := range all {
		s.indexes[u.key]++
		r := &record{spot: spot{outer, int64(i)}, id: len(w.records), shard: h, key: u.key, index: s.indexes[u.key],
			arrival: arrival, unreadable: u.unreadable, partitionKey: all[0].key}
		r.body = fmt.Appendf(nil, "record %d of %s in %s", r.index, u.key, s.source)
		if u.unreadable {
			r.body = append([]byte("unreadable "), r.body...)
		}
		r.data = r.body
		h.records = append(h.records, r)
		s.keys[u.key] = append(s.keys[u.key], r)
		w.records = append(w.records, r)
		w.byNumber[r.spot] = r
		records[i] = r
		aggregate = append(aggregate, consumers.UserRecord{PartitionKey: u.key, Data: r.body})
	}
	if len(all) == 1 {
		return
	}
	data := consumers.Aggregate(aggregate)
	for _, r := range records {
		r.data = data
	}
}

// misplace puts an aggregate of which nobody is to get anything: one with a
// user record of another shard, which its producer puts again, or, where one
// shard takes everything, one that holds nothing. w.mu is held.
func (w *world) misplace(s *stream, keys []string) string {
	h := s.shardFor(keys[0])
	var aggregate []consumers.UserRecord
	kind := "aggregate: empty"
	for _, key := range keys {
		aggregate = append(aggregate, consumers.UserRecord{PartitionKey: key, Data: []byte("of another shard")})
		if s.shardFor(key) != h {
			kind = "aggregate: out of range"
		}
	}
	data := consumers.Aggregate(aggregate)
	if kind == "aggregate: empty" {
		aggregate, data = nil, emptyAggregate()
	}
	r := &record{spot: spot{w.number(), int64(max(0, len(aggregate)-1))}, id: len(w.records), shard: h, void: true,
		arrival: time.Now().Truncate(time.Millisecond), data: data, partitionKey: keys[0]}
	h.records = append(h.records, r)
	w.records = append(w.records, r)
	w.byNumber[r.spot] = r
	return kind
}

// split divides an open shard in two; w.mu is held.
func (w *world) split(s *stream) bool {
	open := s.open()
	h := open[w.dice.below("reshard", len(open))]
	if h.last-h.from < 4 || len(open) >= maxOpenShards {
		return false
	}
	middle := h.from + (h.last-h.from)/2
	w.addShard(s, h.from, middle, h)
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
	sort.Slice(open, func(i, j int) bool { return open[i].from < open[j].from })
	i := w.dice.below("reshard", len(open)-1)
	a, b := open[i], open[i+1]
	w.addShard(s, a.from, b.last, a, b)
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
		if n := h.begun(w.check.saved(h)); n > h.trimmed {
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

// after is the index of the first user record behind a spot.
func (h *shard) after(s spot) int {
	return sort.Search(len(h.records), func(i int) bool { return h.records[i].compare(s) > 0 })
}

// first is the index of the first user record with a sequence number, or behind it.
func (h *shard) first(n uint64) int {
	return sort.Search(len(h.records), func(i int) bool { return h.records[i].outer >= n })
}

// begun is i, or the index of the aggregate's first user record that i is in
// the middle of; whole is the end of that aggregate.
func (h *shard) begun(i int) int {
	for i > 0 && i < len(h.records) && h.records[i].outer == h.records[i-1].outer {
		i--
	}
	return i
}

func (h *shard) whole(i int) int {
	for i > 0 && i < len(h.records) && h.records[i].outer == h.records[i-1].outer {
		i++
	}
	return i
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
