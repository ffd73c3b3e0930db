package localaws

import (
	"fmt"
	"slices"
	"sort"
	"strconv"
	"sync"
	"time"
)

// stream is one data stream. Its mutex guards everything that changes, in its
// shards too.
type stream struct {
	arn, account, region, name, mode string
	created                          time.Time // whole seconds, as in the service

	mu        sync.Mutex
	retention time.Duration
	shards    []*shard // by index: shard i of the stream's life; trimmed ones are nil
	open      []*shard // by first hash key
	readers   map[string]bool
	bytes     int64
	stamp     int64 // of the newest shard: a child's is greater than its parents'
	status    string
	until     time.Time // status holds until then
	deleted   bool
	changed   chan struct{} // closed at a change that subscriptions wait for; nil: none waits

	consumers     map[string]*streamConsumer // by name
	consumerStamp int64                      // of the newest
	registrations bucket
}

// shard is a shard of a stream, open or closed.
type shard struct {
	index            int
	id               string
	parent, adjacent *shard
	first, last      hashKey
	prefix, suffix   string // of its sequence numbers
	opened           time.Time
	closed           time.Time // zero: open
	children         []*shard

	records []record // from head on; before it trimmed
	head    int
	lastN   uint64    // of the newest record or of the shard's end
	lastAt  time.Time // arrival of the newest record

	reads, readBytes   bucket
	writes, writeBytes bucket
}

// record is one record; n orders it within its shard.
type record struct {
	n       uint64
	arrival int64 // Unix milliseconds
	key     string
	data    []byte
}

func (r *record) size() int64 { return int64(len(r.data) + len(r.key)) }

// A sequence number has 56 digits, grows within a shard and from parent to
// child, and is unique in its stream: "49", the shard's stamp (14 digits), the
// record's number in the shard (20), the shard's index (20).
const (
	sequenceDigits = 56
	sequencePrefix = 16
	sequenceNumber = 20
)

func (sh *shard) sequence(n uint64) string {
	b := make([]byte, 0, sequenceDigits)
	b = append(b, sh.prefix...)
	b = appendPadded(b, n, sequenceNumber)
	return string(append(b, sh.suffix...))
}

func appendPadded(b []byte, n uint64, width int) []byte {
	at := len(b)
	for range width {
		b = append(b, '0')
	}
	for i := at + width - 1; n > 0; i-- {
		b[i] = byte('0' + n%10)
		n /= 10
	}
	return b
}

// parseSequence returns the record number of a sequence number of this shard.
func (sh *shard) parseSequence(s string) (uint64, bool) {
	if len(s) != sequenceDigits || s[:sequencePrefix] != sh.prefix || s[sequencePrefix+sequenceNumber:] != sh.suffix {
		return 0, false
	}
	n, err := strconv.ParseUint(s[sequencePrefix:sequencePrefix+sequenceNumber], 10, 64)
	return n, err == nil
}

// newStream has count equal shards.
func newStream(account, region, name string, count int, created, now time.Time) *stream {
	st := &stream{
		arn:     "arn:aws:kinesis:" + region + ":" + account + ":stream/" + name,
		account: account, region: region, name: name,
		created: created, retention: 24 * time.Hour, readers: map[string]bool{}, status: "ACTIVE",
		registrations: newBucket(registrationsPerSecond, now),
	}
	starts := shares(count)
	for i, first := range starts {
		last := lastHashKey
		if i+1 < count {
			last = starts[i+1].minusOne()
		}
		st.addShard(now, first, last, nil, nil)
	}
	return st
}

// addShard opens a shard. The caller closes its parents.
func (st *stream) addShard(now time.Time, first, last hashKey, parent, adjacent *shard) *shard {
	st.stamp = max(st.stamp+1, now.UnixMilli())
	index := len(st.shards)
	sh := &shard{
		index: index, id: fmt.Sprintf("shardId-%012d", index), parent: parent, adjacent: adjacent,
		first: first, last: last, opened: now, lastAt: now,
		prefix: "49" + fmt.Sprintf("%014d", st.stamp), suffix: fmt.Sprintf("%020d", index),
		reads: newBucket(readsPerSecond, now), readBytes: newBucket(readBytesPerSecond, now),
		writes: newBucket(writesPerSecond, now), writeBytes: newBucket(writeBytesPerSecond, now),
	}
	st.shards = append(st.shards, sh)
	at := sort.Search(len(st.open), func(i int) bool { return st.open[i].first.compare(first) > 0 })
	st.open = slices.Insert(st.open, at, sh)
	for _, p := range []*shard{parent, adjacent} {
		if p != nil {
			p.children = append(p.children, sh)
		}
	}
	return sh
}

// shut closes a shard: its number goes one beyond the last record's.
func (st *stream) shut(sh *shard, now time.Time) {
	sh.closed = now
	sh.lastN++
	st.wake()
	st.open = slices.DeleteFunc(st.open, func(o *shard) bool { return o == sh })
}

// route returns the open shard of a hash key.
func (st *stream) route(h hashKey) *shard {
	i := sort.Search(len(st.open), func(i int) bool { return st.open[i].first.compare(h) > 0 })
	return st.open[i-1] // the first open shard begins at 0
}

// find returns a listed shard.
func (st *stream) find(id string) *shard {
	for _, sh := range st.shards {
		if sh != nil && sh.id == id {
			return sh
		}
	}
	return nil
}

// append stores a record; data and key become the stream's.
func (st *stream) append(sh *shard, key string, data []byte, now time.Time) uint64 {
	sh.lastN = max(sh.lastN+1, uint64(now.UnixMicro()))
	if now.After(sh.lastAt) {
		sh.lastAt = now
	}
	r := record{n: sh.lastN, arrival: sh.lastAt.UnixMilli(), key: key, data: data}
	sh.records = append(sh.records, r)
	st.bytes += r.size()
	st.wake()
	return r.n
}

// dropFirst forgets a shard's oldest count records.
func (st *stream) dropFirst(sh *shard, count int) {
	for i := sh.head; i < sh.head+count; i++ {
		st.bytes -= sh.records[i].size()
		sh.records[i] = record{}
	}
	sh.head += count
	if sh.head > 1024 && sh.head*2 > len(sh.records) {
		sh.records = append([]record(nil), sh.records[sh.head:]...)
		sh.head = 0
	}
}

// live are the records that have not been trimmed.
func (sh *shard) live() []record { return sh.records[sh.head:] }

// trim applies retention and forgets closed shards that have passed it, and
// returns how many records went.
func (st *stream) trim(now time.Time) int {
	horizon := now.Add(-st.retention)
	total := 0
	for i, sh := range st.shards {
		if sh == nil {
			continue
		}
		live := sh.live()
		if len(live) > 0 && live[0].arrival < horizon.UnixMilli() {
			n := sort.Search(len(live), func(i int) bool { return live[i].arrival >= horizon.UnixMilli() })
			st.dropFirst(sh, n)
			total += n
		}
		if !sh.closed.IsZero() && sh.closed.Before(horizon) {
			st.shards[i] = nil
		}
	}
	return total
}

// makeRoom drops the oldest records until limit holds, and returns how many.
func (st *stream) makeRoom(limit int64) int {
	total := 0
	for st.bytes > limit {
		var oldest *shard
		for _, sh := range st.shards {
			if sh != nil && len(sh.live()) > 0 && (oldest == nil || sh.live()[0].arrival < oldest.live()[0].arrival) {
				oldest = sh
			}
		}
		if oldest == nil {
			break
		}
		// A sixteenth at a time: the search is not made for each record.
		n := max(1, len(oldest.live())/16)
		st.dropFirst(oldest, n)
		total += n
	}
	return total
}

// state is the stream's status now.
func (st *stream) state(now time.Time) string {
	if now.Before(st.until) {
		return st.status
	}
	return "ACTIVE"
}

// bucket is a token bucket that holds one second's worth.
type bucket struct {
	rate   float64 // per second
	tokens float64
	at     time.Time
}

// The service's limits per shard and second.
const (
	readsPerSecond      = 5
	readBytesPerSecond  = 2 << 20
	writesPerSecond     = 1000
	writeBytesPerSecond = 1 << 20
)

func newBucket(rate float64, now time.Time) bucket { return bucket{rate: rate, tokens: rate, at: now} }

func (b *bucket) refill(now time.Time) {
	if elapsed := now.Sub(b.at); elapsed > 0 {
		b.tokens = min(b.rate, b.tokens+b.rate*elapsed.Seconds())
		b.at = now
	}
}

// covers reports whether n tokens are there; a full bucket covers anything, so
// that one record larger than a second's worth can pass.
func (b *bucket) covers(n float64) bool { return b.tokens >= n || b.tokens >= b.rate }
