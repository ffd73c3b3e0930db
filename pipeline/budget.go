package pipeline

import (
	"context"
	"slices"
	"sync"
	"time"
)

// budget bounds the bytes of all shard logs of a worker. A log that is empty
// always gets room for one read, so that no shard can starve another for
// good: memory is at most the limit and one read per shard. The others get
// room in the order in which they asked for it: whoever reads fast cannot take
// every byte that a slow one waits for.
type budget struct {
	limit int64

	mu   sync.Mutex
	used int64      // reserved and not released
	line []*booking // who waits, in the order of asking; at most one per log

	refused time.Time // when tryReserve last failed
}

// booking is one reader's wait for room.
type booking struct {
	bytes   int64
	granted chan struct{} // closed, and out of the line, when the bytes are reserved
}

func newBudget(limit int64) *budget { return &budget{limit: limit} }

// Used is what is reserved now, in bytes.
func (b *budget) Used() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

func (b *budget) release(n int64) {
	if n == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= n
	b.serve()
}

// serve reserves for those at the front of the line what fits. mu is held.
func (b *budget) serve() {
	for len(b.line) > 0 && b.used+b.line[0].bytes <= b.limit {
		first := b.line[0]
		b.used += first.bytes
		b.line = slices.Delete(b.line, 0, 1)
		close(first.granted)
	}
}

// try reserves n bytes, beyond the limit and past the line when must is set.
// Otherwise it returns a booking at the end of the line, or the one that the
// caller has.
func (b *budget) try(n int64, must bool, waits *booking) (bool, *booking) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case waits != nil && !slices.Contains(b.line, waits):
		return true, nil // it was granted
	case must || waits == nil && len(b.line) == 0 && b.used+n <= b.limit:
		b.leave(waits)
		b.used += n
		return true, nil
	case waits == nil:
		waits = &booking{bytes: n, granted: make(chan struct{})}
		b.line = append(b.line, waits)
	}
	return false, waits
}

// leave takes a booking out of the line; mu is held.
func (b *budget) leave(waits *booking) {
	if i := slices.Index(b.line, waits); i >= 0 {
		b.line = slices.Delete(b.line, i, i+1)
	}
}

// giveUp is the end of a wait: what was granted meanwhile is given back.
func (b *budget) giveUp(waits *booking) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.Contains(b.line, waits) {
		b.used -= waits.bytes
	}
	b.leave(waits)
	b.serve()
}

// tryReserve reserves n bytes if they are there now, or nothing is reserved.
func (b *budget) tryReserve(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.used > 0 && b.used+n > b.limit {
		b.refused = time.Now()
		return false
	}
	b.used += n
	return true
}

// pressed says whether somebody was refused lately.
func (b *budget) pressed(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.refused.IsZero() && now.Sub(b.refused) < pressedFor
}

const pressedFor = time.Second

// reserve waits until the log may take n more bytes, freeing what its
// cursors have passed. While it waits it calls relieve now and then, unless that
// is nil. It is called by the log's reader.
func (b *budget) reserve(ctx context.Context, l *Log, n int64, relieve func(*Log)) error {
	var waits *booking
	for {
		l.blocked.Store(false)
		b.release(l.free())
		var ok bool
		if ok, waits = b.try(n, l.bytes == 0, waits); ok {
			return nil
		}
		var look <-chan time.Time
		if relieve != nil {
			relieve(l)
			look = time.After(relieveEvery)
		}
		if !l.wait(ctx, waits.granted, look) {
			b.giveUp(waits)
			return context.Cause(ctx)
		}
	}
}

// relieveEvery is how often a log without room is looked at: the next record of
// whoever is fast waits for it.
const relieveEvery = 20 * time.Millisecond

// settled waits until every cursor has settled all that was appended.
func (b *budget) settled(ctx context.Context, l *Log) error {
	for {
		l.blocked.Store(false)
		b.release(l.free())
		if l.tail == l.head {
			return nil
		}
		if !l.wait(ctx, nil, nil) {
			return context.Cause(ctx)
		}
	}
}
