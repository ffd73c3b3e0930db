package pipeline

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/shardline/shardline/checkpoint"
)

// wayModel is a subscriber and its worker in miniature: lanes that settle at random,
// a log that is read, catch-ups, parking, crashes.
type wayModel struct {
	t       *testing.T
	rng     *rand.Rand
	keys    []string         // of record n, at n-1
	settled map[string][]int // by key, in the order of settling
	log     *Log             // the shard log
	read    int              // the last record in it
	c       *Cursor
	lanes   map[string]*Entry
	begun   map[string]bool
	catchUp *Log // nil: none runs
	upTo    int  // the last record that it has read
	main    bool // it has the main way
	pin     *walk
	pinned  int

	ids       []int        // of record n, at n-1; nil: nothing is de-duplicated
	delivered map[int]bool // what was ever settled by a lane
}

func number(n int) checkpoint.Position { return checkpoint.Number(strconv.Itoa(n), 0) }

func recordOf(p checkpoint.Position) int {
	n, _ := strconv.Atoi(p.Sequence)
	return n
}

func (m *wayModel) record(n int) Record {
	r := Record{Position: number(n), Description: Description{Key: m.keys[n-1]}, Data: []byte("x")}
	if m.ids != nil {
		r.Data, r.Arrival = fmt.Append(nil, m.ids[n-1]), time.Unix(int64(n), 0)
	}
	return r
}

// repeats says whether record n repeats one that was delivered.
func (m *wayModel) repeats(n int) bool {
	for o := max(1, n-modelWindow); o < n && m.ids != nil; o++ {
		if m.delivered[o] && m.keys[o-1] == m.keys[n-1] && m.ids[o-1] == m.ids[n-1] {
			return true
		}
	}
	return false
}

// modelWindow is the window of de-duplication, in records: there is one a second.
const modelWindow = 20

func (m *wayModel) take() {
	for e := m.c.Next(); e != nil; e = m.c.Next() {
		if m.lanes[e.Key] == nil {
			m.lanes[e.Key] = e
		}
	}
}

// settleOne settles a lane's entry: the next of its key, not one before, not one
// behind, unless that repeats one that was delivered.
func (m *wayModel) settleOne() {
	if len(m.lanes) == 0 {
		return
	}
	names := slices.Sorted(func(yield func(string) bool) {
		for k := range m.lanes {
			if !yield(k) {
				return
			}
		}
	})
	key := names[m.rng.IntN(len(names))]
	e := m.lanes[key]
	n := recordOf(e.Position)
	want := 0
	for i := range m.keys {
		if m.keys[i] == key && !slices.Contains(m.settled[key], i+1) && !m.repeats(i+1) {
			want = i + 1
			break
		}
	}
	if s := m.settled[key]; n != want && !m.repeats(n) || want > 0 && n > want || len(s) > 0 && n <= s[len(s)-1] {
		m.t.Fatalf("key %s: settles record %d, want %d; settled %v", key, n, want, s)
	}
	m.delivered[n] = true
	m.settled[key] = append(m.settled[key], n)
	delete(m.begun, key)
	if next := m.c.Settle(e); next != nil {
		m.lanes[key] = next
	} else {
		delete(m.lanes, key)
	}
	m.take()
}

// check: no position passes a record that is not settled (P2), and none goes
// back (the caller compares).
func (m *wayModel) check() {
	place := m.c.place()
	for i, key := range m.keys {
		p := place.At
		if q, ok := place.Keys[key]; ok {
			p = q
		}
		if number(i+1).Compare(p) <= 0 && p.IsNumber() && !slices.Contains(m.settled[key], i+1) && !m.repeats(i+1) {
			m.t.Fatalf("record %d of %s is not settled, but place is %v", i+1, key, place)
		}
	}
}

func (m *wayModel) leave(way Way) {
	for key, e := range m.lanes {
		if m.c.Way(e) != way {
			continue
		}
		if m.begun[key] && m.c.Keep(e, true) {
			continue
		}
		m.c.Drop(e)
		delete(m.lanes, key)
	}
	m.c.Left(way)
	m.take()
}

func (m *wayModel) step(what int) {
	switch what {
	case 0, 1: // a record is put
		m.keys = append(m.keys, fmt.Sprint("k", m.rng.IntN(4)))
		if m.ids != nil {
			m.ids = append(m.ids, m.rng.IntN(2))
		}
	case 2, 3: // the live reading
		if m.read < len(m.keys) {
			m.read++
			m.log.append(m.record(m.read), false)
		}
		m.take()
	case 4, 5, 6:
		m.settleOne()
	case 7: // an attempt begins
		for key := range m.lanes {
			m.begun[key] = m.begun[key] || m.rng.IntN(2) == 0
		}
	case 8: // pressure: keys are parked, or it leaves the live set
		if m.c.main == nil || m.c.main.log != m.log {
			return
		}
		upTo := uint64(m.rng.IntN(len(m.keys) + 1))
		if m.rng.IntN(3) == 0 {
			m.leave(Main)
			return
		}
		m.c.PassHeld(upTo)
		for _, e := range m.lanes {
			if m.c.Way(e) == Main && e.Index <= upTo && !m.c.Park(e, true) {
				m.t.Fatal("no room")
			}
		}
		m.take()
	case 9: // a catch-up begins
		if m.catchUp != nil {
			return
		}
		main, keys := m.c.wants()
		place := m.c.place()
		from := len(m.keys)
		if main {
			from = min(from, recordOf(place.At))
		}
		var names []string
		for key, p := range keys {
			names = append(names, key)
			from = min(from, recordOf(p))
		}
		if !main && len(keys) == 0 {
			return
		}
		origin := checkpoint.TrimHorizon
		if from > 0 {
			origin = number(from)
		}
		m.catchUp, m.upTo = newLog(origin), from
		if m.main = main; main {
			m.c.put(Main, m.catchUp.begin(), nil)
		}
		if len(names) > 0 {
			m.c.put(Side, m.catchUp.begin(), names)
		}
	case 10: // it reads
		if m.catchUp == nil {
			return
		}
		for range m.rng.IntN(4) {
			if m.upTo < len(m.keys) {
				m.upTo++
				m.catchUp.append(m.record(m.upTo), false)
			}
		}
		m.take()
		m.catchUp.free()
		if m.rng.IntN(2) == 0 {
			m.c.holdBack()
		}
		if m.main && m.pin == nil && m.rng.IntN(2) == 0 {
			m.pin = m.log.begin()
			m.pinned = recordOf(m.pin.taken.Position)
		}
	case 11: // it ends, perhaps by joining
		if m.catchUp == nil {
			return
		}
		m.leave(Side)
		if m.main {
			m.leave(Main)
		}
		if m.pin != nil {
			if place := m.c.place(); reached(place.At, m.pin.taken.Position) || m.pinned == 0 && m.pin.taken.Index == 0 {
				m.c.put(Main, m.pin, nil)
			} else {
				m.log.leave(m.pin)
			}
			m.pin = nil
		}
		m.catchUp.free()
		m.catchUp = nil
		m.take()
	}
	if m.pin == nil || m.rng.IntN(4) > 0 {
		m.log.free()
	}
	m.check()
}

// TestParkedAgainstModel parks keys, leaves, catches up and joins at random:
// every key's records are settled in their order, once, and no place passes one
// that is not. In the end everything is settled.
func TestParkedAgainstModel(t *testing.T) {
	for seed := range uint64(400) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			m := &wayModel{t: t, rng: rand.New(rand.NewPCG(seed, 2)), settled: map[string][]int{}, delivered: map[int]bool{},
				lanes: map[string]*Entry{}, begun: map[string]bool{}}
			m.log = newLog(checkpoint.TrimHorizon)
			m.c = m.log.Attach(ShardInfo{}, checkpoint.Entry{}, func() bool { return true })
			m.c.keep = &room{limit: 1 << 40}
			for range 400 {
				m.step(m.rng.IntN(12))
			}
			for range 60 * (len(m.keys) + 10) { // nothing more is put
				m.step([]int{2, 3, 4, 5, 6, 7, 9, 10, 11}[m.rng.IntN(9)])
			}
			all := 0
			for _, s := range m.settled {
				all += len(s)
			}
			if all != len(m.keys) {
				t.Fatalf("%d of %d records are settled: %v, lanes %v, catch-up %v", all, len(m.keys), m.c.place(), m.lanes, m.catchUp != nil)
			}
			if n := m.c.keep.used.Load(); n != 0 {
				t.Errorf("%d bytes of room are still taken", n)
			}
		})
	}
}
