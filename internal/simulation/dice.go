package simulation

import (
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"time"
)

// dice makes the decisions of a history: at every place (a process's renewals,
// a destination's answers) its own sequence, so that they do not depend on the
// order in which places ask.
type dice struct {
	seed uint64

	mu     sync.Mutex
	places map[string]*rand.Rand // bounded by the places of a history
}

func newDice(seed uint64) *dice { return &dice{seed: seed, places: make(map[string]*rand.Rand)} }

// roll draws from place under the lock.
func (d *dice) roll(place string, draw func(r *rand.Rand)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r, ok := d.places[place]
	if !ok {
		h := fnv.New64a()
		_, _ = h.Write([]byte(place)) // never fails
		r = rand.New(rand.NewPCG(d.seed, h.Sum64()))
		d.places[place] = r
	}
	draw(r)
}

// chance says yes with probability p.
func (d *dice) chance(place string, p float64) (yes bool) {
	d.roll(place, func(r *rand.Rand) { yes = r.Float64() < p })
	return yes
}

// below is a number in [0, n).
func (d *dice) below(place string, n int) (x int) {
	d.roll(place, func(r *rand.Rand) { x = r.IntN(n) })
	return x
}

// span is a duration in [low, high).
func (d *dice) span(place string, low, high time.Duration) (x time.Duration) {
	d.roll(place, func(r *rand.Rand) { x = low + time.Duration(r.Int64N(int64(high-low))) })
	return x
}

// pick is one of the choices.
func pick[T any](d *dice, place string, choices ...T) T { return choices[d.below(place, len(choices))] }
