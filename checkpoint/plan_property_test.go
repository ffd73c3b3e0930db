package checkpoint

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// model is a fleet at the level of plans: workers that look one after another
// in a random order, each at a reading of the table that may be a moment old.
type model struct {
	rnd     *rand.Rand
	owner   map[string]string // by lease; "": nobody
	last    map[string]string // who had it last
	since   map[string]int    // the round in which it became nobody's
	work    map[string]float64
	workers []string
	tenures map[string]string
	before  map[string]string // the table as it was when somebody looked last
	most    int
	uneven  map[string]int // rounds in a row in which a worker should even the work
	moves   int
	round   int
}

func newModel(rnd *rand.Rand, leases int) *model {
	m := &model{rnd: rnd, owner: map[string]string{}, last: map[string]string{}, since: map[string]int{}, work: map[string]float64{}, uneven: map[string]int{}, tenures: map[string]string{}}
	for i := range leases {
		m.owner[fmt.Sprintf("shardId-%012d", i)] = ""
	}
	m.before = maps.Clone(m.owner)
	return m
}

// steady is how many rounds the work has to be uneven before a lease moves.
const steady = 3

// step lets every worker make one pass.
func (m *model) step() {
	m.round++
	order := slices.Clone(m.workers)
	m.rnd.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	for _, w := range order {
		seen := maps.Clone(m.owner)
		for key := range seen { // what changed while somebody looked last may not be seen yet
			if was, ok := m.before[key]; ok && m.rnd.IntN(30) == 0 {
				seen[key] = was
			}
		}
		m.before = maps.Clone(m.owner)
		var leases []candidate
		for _, key := range slices.Sorted(maps.Keys(seen)) {
			l := Lease{Key: key, Owner: seen[key], Throughput: m.work[key]}
			if l.Owner != "" {
				l.Tenure = m.tenure(l.Owner)
			}
			free := l.Owner == ""
			leases = append(leases, candidate{lease: l, mine: m.owner[key] == w, free: free, from: m.last[key], spare: free && m.round > m.since[key]+1})
		}
		v := look(w, leases, m.most)
		even, uneven := v.evens()
		take, ask := v.takes(), v.asks(atOnce)
		if m.uneven[w]++; !uneven || len(ask) > 0 {
			m.uneven[w] = 0
		} else if m.uneven[w] >= steady {
			m.uneven[w], ask = 0, []Lease{even}
		}
		for _, l := range append(take, ask...) {
			if m.owner[l.Key] == seen[l.Key] && m.owner[l.Key] != w { // the condition of the write
				m.owner[l.Key] = w
				m.moves++
			}
		}
	}
}

func (m *model) tenure(w string) string {
	if m.tenures[w] == "" {
		m.tenures[w] = tenureOf(w, "01234567", "0123456789abcdef")
	}
	return m.tenures[w]
}

// leave makes a worker's leases nobody's.
func (m *model) leave(w string) {
	m.workers = slices.DeleteFunc(m.workers, func(x string) bool { return x == w })
	for key, o := range m.owner {
		if o == w {
			m.owner[key], m.last[key], m.since[key] = "", w, m.round
		}
	}
}

// counts are the leases of every worker, sorted by number.
func (m *model) counts() []int {
	n := map[string]int{}
	for _, w := range m.workers {
		n[w] = 0
	}
	for _, o := range m.owner {
		n[o]++
	}
	return slices.Sorted(maps.Values(n))
}

func (m *model) loads() (low, high, mean float64) {
	n := map[string]float64{}
	for _, w := range m.workers {
		n[w] = 0
	}
	for key, o := range m.owner {
		n[o] += m.work[key]
	}
	sorted := slices.Sorted(maps.Values(n))
	for _, x := range sorted {
		mean += x / float64(len(sorted))
	}
	return sorted[0], sorted[len(sorted)-1], mean
}

func (m *model) settled() bool {
	n := m.counts() // with "" if a lease is nobody's
	return len(n) == len(m.workers) && n[len(n)-1]-n[0] <= 1
}

// Random fleets: whoever joins or leaves, after a few passes everything is owned
// and counts differ by one at most, one who joins moves floor(L/(N+1)) leases,
// one who leaves only its own; and then nothing moves.
func TestPlansOfRandomFleets(t *testing.T) {
	exact := map[bool]int{}
	for seed := range uint64(16) {
		rnd := rand.New(rand.NewPCG(seed, 11))
		leases := 1 + rnd.IntN(120)
		m := newModel(rnd, leases)
		if rnd.IntN(2) == 0 { // about equal throughput changes nothing of all this
			for key := range m.owner {
				m.work[key] = 200 + 10*rnd.Float64()
			}
		}
		m.workers = []string{"w"}
		m.step()
		m.step()
		for event := range 12 {
			before := m.moves
			was := m.counts()
			bound, what := 0, ""
			if len(m.workers) == 1 || rnd.IntN(2) == 0 && len(m.workers) < 10 {
				w := fmt.Sprintf("%c%d", 'a'+rnd.IntN(26), event)
				bound, what = leases/(len(m.workers)+1), w+" joins"
				m.workers = append(m.workers, w)
			} else {
				w := m.workers[rnd.IntN(len(m.workers))]
				for _, o := range m.owner {
					if o == w {
						bound++
					}
				}
				what = w + " leaves"
				m.leave(w)
			}
			passes := 0
			for ; passes < 60 && !m.settled(); passes++ {
				m.step()
			}
			if most := 4 + bound/8; passes > most { // sixteen are asked for at a time, and old readings cost passes
				t.Errorf("seed %d, %s of %d leases: %d passes, want %d at most: %v, then %v", seed, what, leases, passes, most, was, m.counts())
			}
			for range 20 {
				m.step()
			}
			// Who read an old state may come for what was meant for another.
			if n := m.moves - before; n < bound || n > bound+bound/16+1 {
				t.Errorf("seed %d, %s of %d leases: %d moves, want %d: %v, then %v", seed, what, leases, n, bound, was, m.counts())
			}
			if exact[m.moves-before == bound]++; !m.settled() {
				t.Errorf("seed %d, %s of %d leases: it does not stay: %v", seed, what, leases, m.counts())
			}
			if t.Failed() {
				return
			}
		}
	}
	if exact[true] < 20*exact[false] {
		t.Errorf("%d joins and leaves took the fewest moves, %d took more", exact[true], exact[false])
	}
}

// With a limit nobody holds more, and what can be owned is.
func TestPlansKeepTheLimit(t *testing.T) {
	for seed := range uint64(16) {
		rnd := rand.New(rand.NewPCG(seed, 12))
		m := newModel(rnd, 1+rnd.IntN(60))
		m.most = 1 + rnd.IntN(20)
		for i := range 1 + rnd.IntN(6) {
			m.workers = append(m.workers, fmt.Sprint("w", i))
			m.step()
		}
		for range 30 {
			m.step()
		}
		sum := 0
		for _, w := range m.workers {
			n := 0
			for _, o := range m.owner {
				if o == w {
					n++
				}
			}
			if sum += n; n > m.most {
				t.Errorf("seed %d: %s holds %d, want %d at most", seed, w, n, m.most)
			}
		}
		if want := min(len(m.owner), m.most*len(m.workers)); sum != want {
			t.Errorf("seed %d: %d leases are owned, want %d", seed, sum, want)
		}
	}
}

// Whatever the leases' work: the moves end, and what is left uneven could not
// be made better by one move from the most to the least loaded.
func TestWorkOfRandomFleets(t *testing.T) {
	for seed := range uint64(16) {
		rnd := rand.New(rand.NewPCG(seed, 13))
		leases := 4 + rnd.IntN(80)
		m := newModel(rnd, leases)
		for i := range 2 + rnd.IntN(6) {
			m.workers = append(m.workers, fmt.Sprint("w", i))
		}
		for range 10 {
			m.step()
		}
		base := map[string]float64{}
		for _, key := range slices.Sorted(maps.Keys(m.owner)) {
			base[key] = 100 * math.Exp(1.5*rnd.NormFloat64())
		}
		start := m.moves
		settled := 0 // moves until it had time to settle
		for round := range 400 {
			for _, key := range slices.Sorted(maps.Keys(base)) { // it is never quite the same
				m.work[key] = base[key] * (1 + 0.01*rnd.NormFloat64())
			}
			if m.step(); round == 100 {
				settled = m.moves
			}
		}
		low, high, mean := m.loads()
		if n := m.moves - settled; n > 2 { // noise at a threshold may cost one
			t.Errorf("seed %d: %d moves of %d leases, and then %d more: it does not rest", seed, settled-start, leases, n)
		}
		if n := m.moves - start; n > leases {
			t.Errorf("seed %d: %d moves of %d leases", seed, n, leases)
		}
		if gap := high - low; gap > max(mean/4, quiet) {
			for key, o := range m.owner {
				n := 0.0
				for k, p := range m.owner {
					if p == o {
						n += m.work[k]
					}
				}
				if w := m.work[key]; n == high && w > 0.15*gap && w < 0.85*gap {
					t.Errorf("seed %d: between %.0f and %.0f kB/s, and %.0f of the most loaded would even it", seed, low, high, w)
				}
			}
		}
	}
}
