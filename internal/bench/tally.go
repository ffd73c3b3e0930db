package bench

import (
	"slices"
	"sync"
	"time"
)

// tally is what one receiver got, against what order allows: the attempt that
// comes is for the message behind the one that was settled last, or a step
// back; behind a step back everything comes again.
type tally struct {
	mu         sync.Mutex
	settled    []int // by key: how many of its messages are settled, as of the last attempt
	top        []int // by key: the most that ever were
	accepted   int64 // different messages
	refused    int64 // attempts
	duplicates int64
	disordered int64
	newest     int64       // when the message was put that was accepted last
	waits      [][]float32 // by phase of the message: seconds from put to accepted
	poison     int         // this key counts for none of that but the order; -1: there is none
}

func newTally(keys int) *tally {
	return &tally{settled: make([]int, keys), top: make([]int, keys), poison: -1}
}

// attempt notes an attempt, and whether it was accepted, before it is answered.
func (t *tally) attempt(s stamp, accepted bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.key >= len(t.settled) {
		t.disordered++
		return
	}
	if s.number > t.settled[s.key] {
		t.disordered++
	}
	t.settled[s.key] = s.number
	if !accepted {
		t.refused++
		return
	}
	t.settled[s.key] = s.number + 1
	if s.number < t.top[s.key] {
		t.duplicates++
		return
	}
	t.top[s.key] = s.number + 1
	if s.key == t.poison {
		return
	}
	t.accepted++
	t.newest = s.put
	for len(t.waits) <= s.phase {
		t.waits = append(t.waits, nil)
	}
	t.waits[s.phase] = append(t.waits[s.phase], float32(time.Duration(time.Now().UnixNano()-s.put).Seconds()))
}

func (t *tally) count() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.accepted
}

// take appends the waits of a phase, and forgets them.
func (t *tally) take(phase int, to []float32) []float32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if phase < len(t.waits) {
		to = append(to, t.waits[phase]...)
		t.waits[phase] = nil
	}
	return to
}

// missing is how many messages that were put are not settled. With the steps
// back that nothing followed they are what a receiver lacks in the end.
func (t *tally) missing(p *producer) int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	n := int64(0)
	for key, settled := range t.settled {
		n += int64(len(p.put[key]) - settled)
	}
	return n
}

// of is how many messages of a key were ever accepted.
func (t *tally) of(key int) int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return int64(t.top[key])
}

// oldest is when the message was put that is not settled and was put first; if
// there is none, now.
func (t *tally) oldest(p *producer) int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	oldest := time.Now().UnixNano()
	for key, settled := range t.settled {
		if settled < len(p.put[key]) {
			oldest = min(oldest, p.put[key][settled])
		}
	}
	return oldest
}

// since is how many of the messages that were put at a time or later were ever
// accepted.
func (t *tally) since(p *producer, at int64) (n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, top := range t.top {
		i, _ := slices.BinarySearch(p.put[key][:top], at)
		n += int64(top - i)
	}
	return n
}
