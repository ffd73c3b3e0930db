package deliver

import (
	"container/heap"
	"context"
	"time"

	"github.com/shardline/shardline/pipeline"
)

// attachment is a destination's part of one shard: the cursor and its lanes.
// Everything in it is guarded by the destination's mutex.
type attachment struct {
	cursor *pipeline.Cursor
	shard  pipeline.ShardInfo
	ctx    context.Context // ends with the tenure; the seam hands it over once
	cancel context.CancelFunc
	lanes  map[string]*lane // by key; bounded by the entries of the shard's log

	held    map[string]*heldKey // keys that are held by their own
	expire  time.Time           // what arrived before it is dead-lettered; zero: nothing is
	taken   uint64              // the index that was taken last on the main way
	hungry  bool                // it stands in the destination's queue of those
	next    *attachment         // hungry: behind it in that queue
	begun   uint64              // the highest index on the main way that was attempted
	limit   uint64              // no attempt above it; set by Drain, else no limit
	closed  bool                // by Detach, or the tenure is over: nothing starts
	busy    int                 // lanes in flight
	changed chan struct{}       // capacity 1; while somebody waits in Drain or Detach, signalled after each attempt
}

// place is where a lane is.
type place uint8

const (
	parked  place = iota // nowhere: its tenure is over, or it drains
	ready                // in the queue
	flying               // a goroutine attempts its entry or writes its letter
	waiting              // in the heap
	probing              // held back to probe with
	held                 // its key is held: nobody attempts it
)

// lane is the queue of one key: an entry that is being worked on, and behind
// it in the log whatever cursor.Settle gives. It is guarded by the
// destination's mutex; while it is flying, entry, letter and message are read
// by its goroutine.
type lane struct {
	of    *attachment
	key   string
	entry *pipeline.Entry
	place place

	dropped bool // it is being forgotten

	// Of the entry's attempts so far.
	attempts   int           // all of them, as the receiver sees them
	failures   int           // those that count for the limits
	unclear    int           // answers that decided nothing
	first      time.Time     // start of the first attempt
	last       time.Time     // start of the last attempt
	downBefore time.Duration // the destination's downtime before first
	letter     *DeadLetter   // is to be written before the entry settles
	letters    DeadLetters   // where it is to be written
	unsaved    int           // failed tries to write it

	message Message
	sending *sending // how its attempt is made
	round   uint64   // the destination's, when the last attempt began
	probe   bool     // that one probes a destination that is held

	due  time.Time // waiting: when it is ready again
	slot int       // waiting: its place in the heap
	next *lane     // ready: behind it in the queue; free: the next free one
}

// reset forgets what an entry's attempts have left.
func (l *lane) reset(e *pipeline.Entry) {
	*l = lane{of: l.of, key: l.key, entry: e}
}

// hungry is a first-in, first-out queue of attachments whose cursors may have
// entries that were not taken yet.
type hungry struct{ front, back *attachment }

func (q *hungry) push(a *attachment) {
	if a.hungry {
		return
	}
	a.hungry, a.next = true, nil
	if q.back == nil {
		q.front = a
	} else {
		q.back.next = a
	}
	q.back = a
}

func (q *hungry) pop() *attachment {
	a := q.front
	if a == nil {
		return nil
	}
	if q.front = a.next; q.front == nil {
		q.back = nil
	}
	a.hungry, a.next = false, nil
	return a
}

// drop removes an attachment.
func (q *hungry) drop(a *attachment) {
	var rest hungry
	for b := q.pop(); b != nil; b = q.pop() {
		if b != a {
			rest.push(b)
		}
	}
	*q = rest
}

// queue is a first-in, first-out queue of lanes.
type queue struct {
	front, back *lane
	n           int
}

func (q *queue) push(l *lane) {
	l.place, l.next = ready, nil
	if q.back == nil {
		q.front = l
	} else {
		q.back.next = l
	}
	q.back = l
	q.n++
}

func (q *queue) pop() *lane {
	l := q.front
	if l == nil {
		return nil
	}
	if q.front = l.next; q.front == nil {
		q.back = nil
	}
	l.place, l.next = parked, nil
	q.n--
	return l
}

// anyFresh says whether there is a lane whose record was never attempted.
func (q *queue) anyFresh() bool {
	for l := q.front; l != nil; l = l.next {
		if l.attempts == 0 {
			return true
		}
	}
	return false
}

// fresh takes the first lane whose record was never attempted; nil: there is none.
func (q *queue) fresh() *lane {
	var before *lane
	for l := q.front; l != nil; before, l = l, l.next {
		if l.attempts > 0 {
			continue
		}
		if before == nil {
			return q.pop()
		}
		if before.next = l.next; q.back == l {
			q.back = before
		}
		l.place, l.next = parked, nil
		q.n--
		return l
	}
	return nil
}

// dropIf removes lanes.
func (q *queue) dropIf(gone func(*lane) bool) {
	var rest queue
	for l := q.pop(); l != nil; l = q.pop() {
		if !gone(l) {
			rest.push(l)
		}
	}
	*q = rest
}

// timetable is a heap of waiting lanes, the one that is due first in front.
type timetable []*lane

func (t *timetable) add(l *lane, due time.Time) {
	l.place, l.due = waiting, due
	heap.Push(t, l)
}

// due removes and returns a lane whose time has come; nil: there is none.
func (t *timetable) due(now time.Time) *lane {
	if len(*t) == 0 || (*t)[0].due.After(now) {
		return nil
	}
	l := heap.Pop(t).(*lane)
	l.place = parked
	return l
}

func (t *timetable) remove(l *lane) {
	heap.Remove(t, l.slot)
	l.place = parked
}

// Len, Less, Swap, Push and Pop implement heap.Interface.
func (t timetable) Len() int           { return len(t) }
func (t timetable) Less(i, j int) bool { return t[i].due.Before(t[j].due) }
func (t timetable) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].slot, t[j].slot = i, j
}

func (t *timetable) Push(x any) {
	l := x.(*lane)
	l.slot = len(*t)
	*t = append(*t, l)
}

func (t *timetable) Pop() any {
	old := *t
	l := old[len(old)-1]
	old[len(old)-1] = nil
	*t = old[:len(old)-1]
	return l
}
