package amazon

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shardline/shardline/pipeline/deliver"
)

// Batching is how records are gathered into calls.
type Batching struct {
	// Concurrency is how many attempts the destination makes at once. A call
	// that has all of them does not linger: nobody else can come.
	Concurrency int
	Linger      time.Duration     // how long a call that is not full waits for more
	Called      func(records int) // is told of every call; nil: nobody
}

// calls counts the calls of all batches, to tell answers of one call.
var calls atomic.Uint64

// batches gathers the records of concurrent attempts into calls, and gives each
// attempt its own answer.
//
// Order per key: a lane has one attempt in flight, so a key is in one call at
// most, once, and its next record comes only when this one's answer is there.
// That is why records of a call may fail one by one, and calls may overtake
// each other.
type batches[T any] struct {
	Batching
	most  int // records in one call
	bytes int // in one call, by size; one record alone may have more
	size  func(T) int
	// call sends records and answers for each, or for all of them by its error.
	call func(ctx context.Context, records []T) ([]deliver.Answer, error)

	calls sync.WaitGroup // one goroutine for each batch; close waits for them

	mu   sync.Mutex // guards open, and the batches
	open *batch[T]  // gathers; nil: the next record begins one
}

// batch is one call in the making, or on its way. It is guarded by the mutex of
// its batches.
type batch[T any] struct {
	places []*place[T]
	bytes  int
	wanted int           // attempts that still wait for it
	full   chan struct{} // closed when it does not wait for more
	begun  bool
	cancel context.CancelFunc // when begun
}

// place is an attempt's in a batch.
type place[T any] struct {
	record T
	left   bool // the attempt was given up before the call began; guarded as the batch
	answer deliver.Answer
	done   chan struct{} // closed when answer is there
}

func (p *place[T]) give(a deliver.Answer) {
	p.answer = a
	close(p.done)
}

// send puts a record into a call and waits for its answer. When ctx ends it
// returns at once: a record whose call has not begun is not sent, and a call
// that nobody waits for is cancelled. One that others wait for goes on: a
// source that lost a shard does not cost the others their attempts. It is one
// request, which may land like any that was on its way.
func (b *batches[T]) send(ctx context.Context, record T) deliver.Answer {
	t, p := b.join(record)
	select {
	case <-p.done:
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	t.wanted--
	select {
	case <-p.done:
		return p.answer
	default:
	}
	if !t.begun {
		p.left = true
	} else if t.wanted == 0 {
		t.cancel()
	}
	return deliver.Answer{} // the attempt knows what ended it
}

// join takes a place in the open batch.
func (b *batches[T]) join(record T) (*batch[T], *place[T]) {
	size := b.size(record)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open != nil && b.open.bytes+size > b.bytes {
		b.closeOpen()
	}
	if b.open == nil {
		t := &batch[T]{full: make(chan struct{})}
		b.open = t
		b.calls.Go(func() { b.run(t) })
	}
	t, p := b.open, &place[T]{record: record, done: make(chan struct{})}
	t.places = append(t.places, p)
	t.bytes += size
	t.wanted++
	if len(t.places) >= min(b.most, b.Concurrency) || t.bytes >= b.bytes {
		b.closeOpen()
	}
	return t, p
}

// closeOpen sends the open batch off. b.mu is held.
func (b *batches[T]) closeOpen() {
	close(b.open.full)
	b.open = nil
}

// run waits until a batch goes, and makes its call.
func (b *batches[T]) run(t *batch[T]) {
	linger := time.NewTimer(b.Linger)
	defer linger.Stop()
	select {
	case <-t.full:
	case <-linger.C:
	}
	// Its time is that of the attempts that wait for it.
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	b.mu.Lock()
	if b.open == t {
		b.closeOpen()
	}
	t.begun, t.cancel = true, cancel
	var places []*place[T]
	for _, p := range t.places {
		if !p.left {
			places = append(places, p)
		}
	}
	b.mu.Unlock()
	b.ask(ctx, places)
}

// ask makes the call of some places and gives the answers. When it is refused as
// a whole, because of a record that cannot be told, it is made again with each
// half. Each answer is given when it is known: however many such records there
// are, the time of an attempt suffices to get rid of some.
func (b *batches[T]) ask(ctx context.Context, places []*place[T]) {
	if len(places) == 0 {
		return
	}
	records := make([]T, len(places))
	for i, p := range places {
		records[i] = p.record
	}
	call := calls.Add(1)
	if b.Called != nil {
		b.Called(len(records))
	}
	answers, err := b.call(ctx, records)
	if err == nil && len(answers) != len(places) {
		err = fmt.Errorf("%d results for %d records", len(answers), len(places))
	}
	if err == nil {
		for i, p := range places {
			answers[i].Call = call
			p.give(answers[i])
		}
		return
	}
	whole := failed(err)
	whole.Call = call
	if half := len(places) / 2; half > 0 && whole.Reason.Class() == deliver.Refused {
		b.ask(ctx, places[:half])
		b.ask(ctx, places[half:])
		return
	}
	for _, p := range places {
		p.give(whole)
	}
}

// close waits for the calls. No attempt is in flight any more.
func (b *batches[T]) close() { b.calls.Wait() }
