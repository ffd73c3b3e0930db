package pipeline

import (
	"context"
	"sync"
)

// Budget bounds the bytes of all shard logs of a worker. A log that is empty
// always gets room for one read, so that no shard can starve another for
// good: memory is at most the limit and one read per shard.
type Budget struct {
	limit int64

	mu    sync.Mutex
	used  int64         // reserved and not released
	freed chan struct{} // closed and replaced when bytes are released
}

func newBudget(limit int64) *Budget {
	return &Budget{limit: limit, freed: make(chan struct{})}
}

// Used is what is reserved now, in bytes.
func (b *Budget) Used() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

func (b *Budget) release(n int64) {
	if n == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= n
	close(b.freed)
	b.freed = make(chan struct{})
}

// try reserves n bytes, beyond the limit when must is set; else it says when
// to try again.
func (b *Budget) try(n int64, must bool) (bool, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !must && b.used+n > b.limit {
		return false, b.freed
	}
	b.used += n
	return true, nil
}

// reserve waits until the log may take n more bytes, freeing what its
// cursors have passed. It is called by the log's reader.
func (b *Budget) reserve(ctx context.Context, l *Log, n int64) error {
	for {
		l.blocked.Store(false)
		b.release(l.free())
		ok, freed := b.try(n, l.bytes == 0)
		if ok {
			return nil
		}
		if !l.wait(ctx, freed) {
			return context.Cause(ctx)
		}
	}
}

// settled waits until every cursor has settled all that was appended.
func (b *Budget) settled(ctx context.Context, l *Log) error {
	for {
		l.blocked.Store(false)
		b.release(l.free())
		if l.tail == l.head {
			return nil
		}
		if !l.wait(ctx, nil) {
			return context.Cause(ctx)
		}
	}
}
