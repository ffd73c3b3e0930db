package pipeline

import (
	"sync/atomic"
	"time"
)

// walk is a cursor's way along one log: how far it has taken entries, and which
// of those are settled.
type walk struct {
	log   *Log
	taken *Entry                // the last entry that was taken
	done  atomic.Pointer[Entry] // everything up to it is settled
	out   []uint64              // settled ahead of done: a ring of bits by index, a power of two words
}

// newWalk begins behind an entry.
func newWalk(l *Log, from *Entry) *walk {
	w := &walk{log: l, taken: from, out: make([]uint64, 1)}
	w.done.Store(from)
	return w
}

// next takes the next entry; nil: there is none now.
func (w *walk) next() *Entry {
	e := w.taken.next.Load()
	if e != nil {
		w.taken = e
	}
	return e
}

// settle marks an entry that was taken as settled.
func (w *walk) settle(e *Entry) {
	done := w.done.Load()
	if e.Index != done.Index+1 {
		w.mark(done.Index, e.Index)
		return
	}
	from := done.Index
	done = e
	for {
		next := done.next.Load()
		if next == nil || next.Index > w.taken.Index || !w.unmark(next.Index) {
			break
		}
		done = next
	}
	w.done.Store(done)
	w.log.moved(from)
}

// oldest is when the first entry arrived that is not settled; false: there is
// none. A nil walk has none.
func (w *walk) oldest() (time.Time, bool) {
	if w == nil {
		return time.Time{}, false
	}
	e := w.done.Load().next.Load()
	if e == nil {
		return time.Time{}, false
	}
	return e.Arrival, true
}

// following is the next unsettled entry with e's key among those taken. It
// is to be called before e is settled: then the log forgets it.
func (w *walk) following(e *Entry) *Entry {
	for {
		e = e.sameKey.Load()
		if e == nil || e.Index > w.taken.Index {
			return nil
		}
		if !w.settled(e.Index) {
			return e
		}
	}
}

// settled says whether an entry that was taken is settled.
func (w *walk) settled(index uint64) bool {
	done := w.done.Load().Index
	if index <= done {
		return true
	}
	return index-done < uint64(len(w.out)*64) && w.out[w.word(index)]&(1<<(index&63)) != 0
}

func (w *walk) word(index uint64) uint64 { return index >> 6 & uint64(len(w.out)-1) }

func (w *walk) mark(done, index uint64) {
	// One word is left free, so that done+1 and the highest mark never share one.
	for index-done > uint64(len(w.out)-1)*64 {
		w.grow(done)
	}
	w.out[w.word(index)] |= 1 << (index & 63)
}

func (w *walk) unmark(index uint64) bool {
	word, bit := w.word(index), uint64(1)<<(index&63)
	set := w.out[word]&bit != 0
	w.out[word] &^= bit
	return set
}

func (w *walk) grow(done uint64) {
	old, size := w.out, uint64(len(w.out))
	w.out = make([]uint64, 2*size)
	for word := done >> 6; word < done>>6+size; word++ {
		w.out[word&(2*size-1)] = old[word&(size-1)]
	}
}
