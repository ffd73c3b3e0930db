package simulation

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shardline/shardline/checkpoint"
)

// world is everything that outlives the processes of a history, and the truth
// about what happened.
type world struct {
	dice       *dice
	began      time.Time
	format     checkpoint.KeyFormat
	bears      time.Duration  // how old a record is that its subscribers save before the stream trims it; 0: they do not
	plenty     bool           // a read gives what there is, as the service does, and not a part of it
	calm       atomic.Bool    // no faults any more
	over       atomic.Bool    // only what has crashed is left
	quiet      atomic.Bool    // from here on nothing is delivered twice
	background sync.WaitGroup // writes that land late

	noteMu sync.Mutex
	counts map[string]int // by kind of event or fault
	log    []string       // the last events; at most logLines
	storms map[string]time.Time

	mu        sync.Mutex // guards what follows, and everything in streams
	numbers   uint64
	streams   []*stream
	processes []*process // every one that there ever was
	records   []*record
	byNumber  map[spot]*record
	table     *checkpoint.Memory   // written under mu, so that the checker sees every write by itself
	written   map[string]time.Time // last write of each lease
	check     *checker
}

// logLines bounds the log: a long history has some 15,000 events.
const logLines = 30_000

func newWorld(seed uint64) *world {
	w := &world{dice: newDice(seed), began: time.Now(), counts: make(map[string]int), storms: make(map[string]time.Time),
		byNumber: make(map[spot]*record), table: &checkpoint.Memory{}, written: make(map[string]time.Time)}
	w.check = &checker{world: w, ever: make(map[*shard]map[string]bool), former: make(map[*shard]bool), leaving: make(map[string]time.Duration), replays: make(map[string]time.Duration), taken: make(map[string]time.Duration), removed: make(map[string]bool), joins: make(map[string]bool), settled: make(map[string]int)}
	return w
}

// retention is the streams', by their descriptions. What they trim is what nobody
// needs.
const retention = 24 * time.Hour

// now is the time since the world began.
func (w *world) now() time.Duration { return time.Since(w.began) }

// fault says whether a fault of a kind happens here, with probability p, or
// eight times that in a storm.
func (w *world) fault(place, kind string, p float64) bool {
	if w.calm.Load() {
		return false
	}
	if w.storming(kind) {
		p *= 8
	}
	if !w.dice.chance(place, min(p, 0.5)) {
		return false
	}
	w.happened(kind)
	return true
}

// storm makes the faults whose kind begins with prefix frequent for a while.
func (w *world) storm(prefix string, d time.Duration) {
	w.noteMu.Lock()
	defer w.noteMu.Unlock()
	w.storms[prefix] = time.Now().Add(d)
}

func (w *world) storming(kind string) bool {
	w.noteMu.Lock()
	defer w.noteMu.Unlock()
	for prefix, until := range w.storms {
		if len(kind) >= len(prefix) && kind[:len(prefix)] == prefix && time.Now().Before(until) {
			return true
		}
	}
	return false
}

// happened counts an event.
func (w *world) happened(kind string) {
	w.noteMu.Lock()
	defer w.noteMu.Unlock()
	w.counts[kind]++
}

func (w *world) logf(format string, args ...any) {
	line := fmt.Sprintf("%9.3f ", w.now().Seconds()) + fmt.Sprintf(format, args...)
	w.noteMu.Lock()
	defer w.noteMu.Unlock()
	if len(w.log) == logLines {
		w.log = append(w.log[:0], w.log[logLines/2:]...)
	}
	w.log = append(w.log, line)
}

// leaseKey is the key of a shard's lease.
func (w *world) leaseKey(h *shard) string {
	return checkpoint.LeaseKey(w.format, checkpoint.StreamID(account, h.stream.source, h.stream.created), h.id)
}

const account = "111111111111"

// shardOf is the shard of a lease key.
func (w *world) shardOf(key string) *shard {
	for _, s := range w.streams {
		for _, h := range s.shards {
			if w.leaseKey(h) == key {
				return h
			}
		}
	}
	return nil
}
