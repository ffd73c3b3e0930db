package pipeline

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/shardline/shardline/checkpoint"
)

// TestCursorsAgainstModel appends, takes, settles and frees at random, and
// compares every cursor with a plain list of what is settled.
func TestCursorsAgainstModel(t *testing.T) {
	for seed := range uint64(200) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			log := newLog(checkpoint.TrimHorizon)
			type model struct {
				*Cursor
				start   int
				open    []*Entry
				settled map[uint64]bool
				last    map[string]uint64
			}
			var cursors []*model
			for range 1 + rng.IntN(4) {
				m := &model{start: rng.IntN(30), settled: map[uint64]bool{}, last: map[string]uint64{}}
				start := checkpoint.Entry{At: checkpoint.Number(fmt.Sprint(m.start), 0)}
				m.Cursor = log.Attach(ShardInfo{}, start, func() bool { return true })
				cursors = append(cursors, m)
			}
			n := 0
			skipped := map[int]bool{} // settled for everybody
			for range 600 {
				if rng.IntN(2) == 0 {
					n++
					key := fmt.Sprint("k", rng.IntN(4))
					skipped[n] = rng.IntN(20) == 0
					log.append(Record{Position: checkpoint.Number(fmt.Sprint(n), 0), Description: Description{Key: key}, Data: make([]byte, 10)}, skipped[n])
				}
				m := cursors[rng.IntN(len(cursors))]
				if rng.IntN(3) > 0 {
					if e := m.Next(); e != nil {
						if int(e.Index) <= m.start || e.skip != nil {
							t.Fatalf("Next gave %d, which was settled before (start %d, skipped %v)", e.Index, m.start, e.skip != nil)
						}
						m.open = append(m.open, e)
					}
				}
				if len(m.open) > 0 && rng.IntN(3) > 0 {
					i := rng.IntN(len(m.open))
					e := m.open[i]
					m.open = append(m.open[:i], m.open[i+1:]...)
					m.settled[e.Index] = true
					if f := m.Settle(e); f != nil && (f.Key != e.Key || f.Index <= e.Index || m.settled[f.Index]) {
						t.Fatalf("the entry after %d is %d (%s %s, settled %v)", e.Index, f.Index, e.Key, f.Key, m.settled[f.Index])
					}
				}
				through := taken(m.Cursor)
				for _, e := range m.open {
					through = min(through, e.Index-1)
				}
				if m.Through() != through {
					t.Fatalf("Through is %d, want %d (taken %d)", m.Through(), through, taken(m.Cursor))
				}
				position := int(through)
				for skipped[position+1] {
					position++
				}
				want := checkpoint.Number(fmt.Sprint(max(position, m.start)), 0)
				if got := m.place(); got.At != want {
					t.Fatalf("settled through %s, want %s", got.At, want)
				}
				low := uint64(n)
				for _, c := range cursors {
					low = min(low, c.Through())
				}
				log.free()
				if log.tail.Index != low || log.bytes != int64(uint64(n)-low)*(10+entryBytes) {
					t.Fatalf("tail %d bytes %d, want %d and %d", log.tail.Index, log.bytes, low, (uint64(n)-low)*(10+entryBytes))
				}
			}
		})
	}
}

func taken(c *Cursor) uint64 {
	if c.main == nil {
		return 0
	}
	return c.main.taken.Index
}
