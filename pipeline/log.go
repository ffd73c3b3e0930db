package pipeline

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shardline/shardline/checkpoint"
)

// Entry is a record in a shard log.
type Entry struct {
	Record
	// Index counts the entries of the log from 1.
	Index uint64

	log     *Log
	before  checkpoint.Position   // of the record before it
	skip    *skip                 // who settles it without being given it; nil: nobody
	next    atomic.Pointer[Entry] // the entry after this one; nil once the log has forgotten that
	sameKey atomic.Pointer[Entry] // the next entry with this key; likewise
}

// Log is a bounded window of consecutive records of a shard that cursors walk:
// the shard log, which the live reading fills, or the log of a catch-up. It is
// a linked list: cursors follow it without a lock, and what all have passed is
// garbage.
//
// Append and Free are called by whoever reads the shard into it, alone.
type Log struct {
	head   *Entry            // owned by the reader
	byKey  map[string]*Entry // owned by the reader: the last entry of each key in the window
	bytes  int64             // owned by the reader: of the entries behind tail
	seen   *seen             // owned by the reader; nil: no record counts as a duplicate
	passed atomic.Uint64     // index of tail

	blocked atomic.Bool   // the reader waits for room
	room    chan struct{} // capacity 1; signalled when a cursor that held the tail moves on while blocked

	mu    sync.Mutex
	tail  *Entry // the last entry that was freed
	walks []*walk
}

// entryBytes is what an entry takes beside its data and its partition key: 288
// bytes of its own, its sequence number, its key, and its place in byKey.
const entryBytes = 448

func (e *Entry) bytes() int64 { return int64(len(e.Data)+len(e.PartitionKey)) + entryBytes }

// readBytes is what the entries of one batch take at most.
const readBytes = ReadBytes + ReadRecords*entryBytes

// newLog makes a log that begins behind a position.
func newLog(origin checkpoint.Position) *Log {
	l := &Log{byKey: make(map[string]*Entry), room: make(chan struct{}, 1)}
	l.tail = &Entry{Record: Record{Position: origin}, log: l}
	l.head = l.tail
	return l
}

// append adds a record behind the head; skipped: it is settled for everybody.
func (l *Log) append(r Record, skipped bool) {
	e := &Entry{Record: r, Index: l.head.Index + 1, log: l, before: l.head.Position, skip: everybody}
	if !skipped {
		e.skip = l.seen.original(&r)
		if last := l.byKey[r.Key]; last != nil {
			last.sameKey.Store(e)
		}
		l.byKey[r.Key] = e
	}
	l.bytes += e.bytes()
	l.head.next.Store(e)
	l.head = e
}

// free lets go of what all walks have passed and returns the bytes freed. What
// it lets go of no longer leads to what came later: a subscriber that keeps an
// entry keeps no more than that.
func (l *Log) free() int64 {
	upTo := l.head.Index
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range l.walks {
		upTo = min(upTo, w.done.Load().Index)
	}
	before := l.bytes
	for l.tail.Index < upTo {
		e := l.tail.next.Load()
		l.bytes -= e.bytes()
		if l.byKey[e.Key] == e {
			delete(l.byKey, e.Key)
		}
		l.tail.next.Store(nil)
		l.tail.sameKey.Store(nil)
		l.tail = e
	}
	l.passed.Store(l.tail.Index)
	return before - l.bytes
}

// origin is the position of the tail.
func (l *Log) origin() checkpoint.Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tail.Position
}

// begin adds a walk that begins at the tail, which it holds from now on.
func (l *Log) begin() *walk {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := newWalk(l, l.tail)
	l.walks = append(l.walks, w)
	return w
}

// leave removes a walk. What it alone held can be freed.
func (l *Log) leave(w *walk) {
	l.mu.Lock()
	l.walks = slices.DeleteFunc(l.walks, func(x *walk) bool { return x == w })
	l.mu.Unlock()
	l.moved(0)
}

// moved is called by a walk that went on from the entry with index from.
func (l *Log) moved(from uint64) {
	if l.blocked.Load() && from <= l.passed.Load() {
		select {
		case l.room <- struct{}{}:
		default:
		}
	}
}

// wait returns when a walk that held the tail has moved on, or when freed or
// look is ready; false: ctx has ended.
func (l *Log) wait(ctx context.Context, freed <-chan struct{}, look <-chan time.Time) bool {
	l.blocked.Store(true)
	// A walk may have moved between the last free and the flag.
	if l.tailMoved() {
		return true
	}
	select {
	case <-l.room:
	case <-freed:
	case <-look:
	case <-ctx.Done():
		return false
	}
	return true
}

func (l *Log) tailMoved() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range l.walks {
		if w.done.Load().Index <= l.tail.Index {
			return false
		}
	}
	return true
}

// NewLog makes a log without a shard, for tests and benchmarks of subscribers.
// Its Append and Free are called by one goroutine.
func NewLog() *Log { return newLog(checkpoint.TrimHorizon) }

// Append adds a record behind the head; skipped: it is settled for everybody.
func (l *Log) Append(r Record, skipped bool) { l.append(r, skipped) }

// Attach makes a cursor that begins at the log's tail with what start has not
// settled.
func (l *Log) Attach(info ShardInfo, start checkpoint.Entry, valid func() bool) *Cursor {
	c := newCursor(info, start, valid)
	c.put(Main, l.begin(), nil)
	return c
}

// Put begins a way of a cursor at the log's tail. The side way takes the parked
// keys that have something to read.
func (l *Log) Put(c *Cursor, way Way) {
	_, wanted := c.wants()
	c.put(way, l.begin(), slices.Collect(maps.Keys(wanted)))
}

// Free lets go of what all cursors have passed and returns the bytes freed.
func (l *Log) Free() int64 { return l.free() }
