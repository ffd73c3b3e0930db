package consumers

import (
	"container/heap"
	"time"
)

// lanes holds what a Producer has yet to get acknowledged, by key. It is pure:
// its owner passes the time in and guards it.
//
// A lane is in exactly one of three states: ready (its first message may go),
// waiting (its first message failed; it may go again at due) or out (its first
// message is in a batch). An empty lane is removed. So a key is in one
// outstanding batch at most, once, and a message never overtakes an earlier one
// of its key.
type lanes struct {
	aggregate bool // a turn is as many messages as an aggregate holds
	byKey     map[string]*lane
	ready     []*lane // in the order in which their turn comes
	waiting   waitingLanes
	held      int // messages in all lanes, those that are out among them
	bytes     int
}

// turn is what of a lane is out: its first message, or several to be
// aggregated. They are a view of the lane's first messages, which stay as they
// are until they are settled: the lane itself may only be read by whoever
// guards the lanes.
type turn struct {
	lane     *lane
	messages []Message
	bytes    int
}

type lane struct {
	key      string
	messages []Message // in the order of Put; the first one goes first
	failures int       // of the first message
	since    time.Time // when it became ready
	due      time.Time // while waiting
}

func newLanes(aggregate bool) *lanes {
	return &lanes{aggregate: aggregate, byKey: make(map[string]*lane)}
}

// size is what a message counts against the limits of bytes.
func size(m Message) int { return len(m.Data) + len(m.Key) }

func (l *lanes) put(m Message, now time.Time) {
	l.held++
	l.bytes += size(m)
	if existing := l.byKey[m.Key]; existing != nil {
		existing.messages = append(existing.messages, m)
		return
	}
	made := &lane{key: m.Key, messages: []Message{m}, since: now}
	l.byKey[m.Key] = made
	l.ready = append(l.ready, made)
}

// wake makes waiting lanes ready whose time has come.
func (l *lanes) wake(now time.Time) {
	for len(l.waiting) > 0 && !l.waiting[0].due.After(now) {
		woken := heap.Pop(&l.waiting).(*lane)
		woken.since = now
		l.ready = append(l.ready, woken)
	}
}

// take takes the first messages of ready lanes, as many as a batch holds: each
// lane's one at most, since PutRecords may refuse a record and take a later one
// of the same key.
func (l *lanes) take() []turn {
	var batch []turn
	n, bytes := 0, 0
	for n < len(l.ready) && n < maxBatchRecords {
		next := l.turn(l.ready[n])
		if n > 0 && bytes+next.bytes > maxBatchBytes {
			break
		}
		bytes += next.bytes
		batch = append(batch, next)
		n++
	}
	rest := copy(l.ready, l.ready[n:])
	clear(l.ready[rest:])
	l.ready = l.ready[:rest]
	return batch
}

// turn is what of a lane goes next.
func (l *lanes) turn(next *lane) turn {
	n, bytes := 1, size(next.messages[0])
	for l.aggregate && n < len(next.messages) && bytes+size(next.messages[n]) <= maxAggregate {
		bytes += size(next.messages[n]) // the key again, for the frame of a user record
		n++
	}
	return turn{next, next.messages[:n:n], bytes}
}

// full says whether a batch would be full.
func (l *lanes) full() bool {
	if len(l.ready) >= maxBatchRecords {
		return true
	}
	bytes := 0
	for _, r := range l.ready {
		if bytes += l.turn(r).bytes; bytes >= maxBatchBytes {
			return true
		}
	}
	return false
}

// settle removes the messages of a turn from its lane.
func (l *lanes) settle(t turn, now time.Time) {
	done := t.lane
	for i, m := range t.messages {
		l.held--
		l.bytes -= size(m)
		done.messages[i] = Message{} // its data may go
	}
	done.messages = done.messages[len(t.messages):]
	done.failures = 0
	if len(done.messages) == 0 {
		delete(l.byKey, done.key)
		return
	}
	done.since = now
	l.ready = append(l.ready, done)
}

// repeat lets a lane that is out wait until due for another try.
func (l *lanes) repeat(again *lane, due time.Time) {
	again.due = due
	heap.Push(&l.waiting, again)
}

// next is when a waiting lane becomes ready; false: none waits.
func (l *lanes) next() (time.Time, bool) {
	if len(l.waiting) == 0 {
		return time.Time{}, false
	}
	return l.waiting[0].due, true
}

// waitingLanes is a heap, the earliest due first.
type waitingLanes []*lane

func (w waitingLanes) Len() int           { return len(w) }
func (w waitingLanes) Less(i, j int) bool { return w[i].due.Before(w[j].due) }
func (w waitingLanes) Swap(i, j int)      { w[i], w[j] = w[j], w[i] }
func (w *waitingLanes) Push(x any)        { *w = append(*w, x.(*lane)) }
func (w *waitingLanes) Pop() any {
	last := len(*w) - 1
	x := (*w)[last]
	(*w)[last] = nil
	*w = (*w)[:last]
	return x
}
