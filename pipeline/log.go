package pipeline

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/shardline/shardline/checkpoint"
)

// Entry is a record in a shard log.
type Entry struct {
	Record
	// Index counts the entries of the log from 1.
	Index uint64

	skipped bool                  // settled for everybody: dead-lettered for its source
	next    atomic.Pointer[Entry] // the entry after this one
	sameKey atomic.Pointer[Entry] // the next entry with this key
}

// Log is the shard log: a bounded window of consecutive records that every
// subscriber's cursor walks. It is a linked list: cursors follow it without
// a lock, and what all have passed is garbage.
//
// Append and Free are called by the shard's reader alone.
type Log struct {
	head   *Entry            // owned by the reader
	tail   *Entry            // owned by the reader: the last entry that was freed
	byKey  map[string]*Entry // owned by the reader: the last entry of each key in the window
	bytes  int64             // owned by the reader: of the entries behind tail
	passed atomic.Uint64     // index of tail

	blocked atomic.Bool   // the reader waits for room
	room    chan struct{} // capacity 1; signalled when a cursor that held the tail moves on while blocked

	mu      sync.Mutex
	cursors []*Cursor
}

// entryBytes is what an entry takes beside its data and its partition key: 224
// bytes of its own, its sequence number, its key, and its place in byKey.
const entryBytes = 384

func (e *Entry) bytes() int64 { return int64(len(e.Data)+len(e.PartitionKey)) + entryBytes }

// readBytes is what the entries of one batch take at most.
const readBytes = ReadBytes + ReadRecords*entryBytes

func newLog() *Log {
	origin := &Entry{}
	return &Log{head: origin, tail: origin, byKey: make(map[string]*Entry), room: make(chan struct{}, 1)}
}

// append adds records behind the head.
func (l *Log) append(r Record, skipped bool) {
	e := &Entry{Record: r, Index: l.head.Index + 1, skipped: skipped}
	if !skipped {
		if last := l.byKey[r.Key]; last != nil {
			last.sameKey.Store(e)
		}
		l.byKey[r.Key] = e
	}
	l.bytes += e.bytes()
	l.head.next.Store(e)
	l.head = e
}

// free lets go of what all cursors have passed and returns the bytes freed.
func (l *Log) free() int64 {
	upTo := l.head.Index
	l.mu.Lock()
	for _, c := range l.cursors {
		upTo = min(upTo, c.done.Load().Index)
	}
	l.mu.Unlock()
	before := l.bytes
	for l.tail.Index < upTo {
		e := l.tail.next.Load()
		l.bytes -= e.bytes()
		if l.byKey[e.Key] == e {
			delete(l.byKey, e.Key)
		}
		l.tail = e
	}
	l.passed.Store(l.tail.Index)
	return before - l.bytes
}

// moved is called by a cursor that went on from the entry with index from.
func (l *Log) moved(from uint64) {
	if l.blocked.Load() && from <= l.passed.Load() {
		select {
		case l.room <- struct{}{}:
		default:
		}
	}
}

// wait returns when a cursor that held the tail has moved on, or when freed
// is closed; false: ctx has ended.
func (l *Log) wait(ctx context.Context, freed <-chan struct{}) bool {
	l.blocked.Store(true)
	// A cursor may have moved between the last free and the flag.
	if l.tailMoved() {
		return true
	}
	select {
	case <-l.room:
	case <-freed:
	case <-ctx.Done():
		return false
	}
	return true
}

func (l *Log) tailMoved() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.cursors {
		if c.done.Load().Index <= l.tail.Index {
			return false
		}
	}
	return true
}

// NewLog makes a log without a shard, for tests and benchmarks of subscribers.
// Its Append and Free are called by one goroutine.
func NewLog() *Log { return newLog() }

// Append adds a record behind the head; skipped: it is settled for everybody.
func (l *Log) Append(r Record, skipped bool) { l.append(r, skipped) }

// Attach adds a cursor that begins at the log's tail with what start has not
// settled.
func (l *Log) Attach(info ShardInfo, start checkpoint.Entry, valid func() bool) *Cursor {
	c := newCursor(info, l, start, valid)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cursors = append(l.cursors, c)
	return c
}

// Free lets go of what all cursors have passed and returns the bytes freed.
func (l *Log) Free() int64 { return l.free() }
