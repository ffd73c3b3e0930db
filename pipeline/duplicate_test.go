package pipeline

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"

	"github.com/shardline/shardline/checkpoint"
)

// restart gives the log to a worker that knows no more than what was saved.
func (m *wayModel) restart() {
	place := m.c.place()
	positions := []checkpoint.Position{place.At}
	for _, at := range place.Keys {
		positions = append(positions, at)
	}
	from := checkpoint.Lowest(positions...)
	for i, key := range m.keys { // what was settled ahead comes again
		at := place.At
		if p, ok := place.Keys[key]; ok {
			at = p
		}
		if s := m.settled[key]; len(s) > 0 && number(i+1).Compare(at) > 0 && s[len(s)-1] >= i+1 {
			for len(s) > 0 && s[len(s)-1] >= i+1 {
				s = s[:len(s)-1]
			}
			m.settled[key] = s
		}
	}
	m.catchUp, m.pin, m.main = nil, nil, false
	m.lanes, m.begun = map[string]*Entry{}, map[string]bool{}
	m.begin(from, place)
}

// begin begins to read behind a position.
func (m *wayModel) begin(from checkpoint.Position, place checkpoint.Entry) {
	m.log.seen.close()
	m.log = newLog(from)
	m.log.seen = newTestSeen(modelWindow*time.Second, new(atomic.Int64))
	m.read = recordOf(from)
	m.c = m.log.Attach(ShardInfo{}, place, func() bool { return true })
	m.c.keep = &room{limit: 1 << 40}
	m.take()
}

func newTestSeen(window time.Duration, all *atomic.Int64) *seen {
	s := &source{name: "s", metrics: NewMetrics(prometheus.NewRegistry()), config: SourceConfig{
		Deduplicate: &Deduplication{Window: window, ID: func(data []byte) []byte { return data }}}}
	m := s.newSeen(zap.NewNop())
	m.all = all
	return m
}

// TestDuplicatesAgainstModel parks keys, leaves, catches up, joins and restarts
// at random while records repeat others: nobody loses a record of which no
// earlier one with its key and id was delivered (P2), each key's records come in
// order (P1).
func TestDuplicatesAgainstModel(t *testing.T) {
	for seed := range uint64(150) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			m := &wayModel{t: t, rng: rand.New(rand.NewPCG(seed, 3)), settled: map[string][]int{}, delivered: map[int]bool{},
				lanes: map[string]*Entry{}, begun: map[string]bool{}, ids: []int{}, log: newLog(checkpoint.TrimHorizon)}
			m.begin(checkpoint.TrimHorizon, checkpoint.Entry{})
			for range 400 {
				if m.rng.IntN(60) == 0 {
					m.restart()
				}
				m.step(m.rng.IntN(12))
			}
			for range 60 * (len(m.keys) + 10) { // nothing more is put
				m.step([]int{2, 3, 4, 5, 6, 7, 9, 10, 11}[m.rng.IntN(9)])
			}
			for i, key := range m.keys {
				if !m.delivered[i+1] && !m.repeats(i+1) {
					t.Fatalf("record %d of %s is lost: %v", i+1, key, m.c.place())
				}
			}
			if at := m.c.place().At; recordOf(at) != len(m.keys) {
				t.Fatalf("place %v in the end, want %d", m.c.place(), len(m.keys))
			}
		})
	}
}

// TestDuplicates: who gets which records of one key, ID at SECOND each. A
// cursor's start is the number of a record.
func TestDuplicates(t *testing.T) {
	tests := []struct {
		name    string
		records string // of key k; K:… is of key K
		start   int
		want    string
	}{
		{"one is repeated", "a0 a1 b2 a3", 0, "1 3"},
		{"within the window, to its end", "a0 a10 a11", 0, "1 3"},
		{"the window begins with the one that was delivered", "a0 a6 a12 a18", 0, "1 3"},
		{"another key", "a0 K:a1", 0, "1 2"},
		{"no id", "-0 -1", 0, "1 2"},
		{"arrivals out of order", "a5 a4 a3", 0, "1"},
		{"whoever begins behind the first gets the second", "a0 a1 a2", 1, "2 3"},
		{"one that begins before it does not", "b0 a1 a2", 1, "2"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			log := newLog(checkpoint.TrimHorizon)
			log.seen = newTestSeen(10*time.Second, new(atomic.Int64))
			c := log.Attach(ShardInfo{}, checkpoint.Entry{At: number(test.start)}, func() bool { return true })
			var key, id rune
			var got string
			for n, text := range testRecords(test.records) {
				key, id = text.key, text.id
				data := []byte(string(id))
				if id == '-' {
					data = nil
				}
				log.append(Record{Position: number(n + 1), Description: Description{Key: string(key)}, Data: data, Arrival: time.Unix(text.second, 0)}, false)
			}
			for e := c.Next(); e != nil; e = c.Next() {
				got += " " + e.Position.Sequence
				if at := c.place().At; at.Compare(e.Position) >= 0 {
					t.Errorf("place %v passes record %s, which is not settled", at, e.Position)
				}
				c.Settle(e)
			}
			if got != " "+test.want {
				t.Errorf("got%s, want %s", got, test.want)
			}
			if at := c.place().At; recordOf(at) != int(log.head.Index) {
				t.Errorf("place %v, want the last record", at)
			}
		})
	}
}

type testRecord struct {
	key, id rune
	second  int64
}

func testRecords(text string) (records []testRecord) {
	for _, word := range strings.Fields(text) {
		r := testRecord{key: 'k'}
		if len(word) > 2 && word[1] == ':' {
			r.key, word = rune(word[0]), word[2:]
		}
		r.id = rune(word[0])
		r.second, _ = strconv.ParseInt(word[1:], 10, 64)
		records = append(records, r)
	}
	return records
}

// TestSeenIsBounded: a source remembers so many records and no more, each shard
// some of them, and counts what it forgets too early; a shard that is closed
// gives back its part.
func TestSeenIsBounded(t *testing.T) {
	all := new(atomic.Int64)
	a, b := newTestSeen(time.Hour, all), newTestSeen(time.Hour, all)
	put := func(s *seen, n int, at int64) *skip {
		return s.original(&Record{Position: number(n), Data: strconv.AppendInt(nil, int64(n), 10), Arrival: time.Unix(at, 0)})
	}
	for n := range mostSeen + 5 {
		put(a, n, 0)
	}
	if n := all.Load(); n != mostSeen || len(a.records) != mostSeen || testutil.ToFloat64(a.forgotten) != 5 {
		t.Errorf("%d records of %d, %v forgotten, want %d and 5", n, len(a.records), testutil.ToFloat64(a.forgotten), mostSeen)
	}
	if put(a, 5, 0) == nil || put(a, 4, 0) != nil {
		t.Error("record 5 is remembered, and 4 is forgotten; want that")
	}
	if n := testutil.ToFloat64(a.duplicates); n != 1 {
		t.Errorf("%v duplicates counted, want 1", n)
	}
	for n := range leastSeen + 5 {
		put(b, n, 0)
	}
	if len(b.records) != leastSeen || all.Load() != mostSeen+leastSeen {
		t.Errorf("%d records of another shard, %d of all, want %d and %d", len(b.records), all.Load(), leastSeen, mostSeen+leastSeen)
	}
	put(a, mostSeen+10, 3601) // the window is over for the rest
	if len(a.records) != 1 || len(a.order)-a.next != 1 || all.Load() != leastSeen+1 {
		t.Errorf("%d records after the window, %d of all, want 1 and %d", len(a.records), all.Load(), leastSeen+1)
	}
	a.close()
	b.close()
	if n := all.Load(); n != 0 {
		t.Errorf("%d records of closed shards, want none", n)
	}
}

// TestDuplicateOfAnUnsettledRecord: a duplicate is settled at once, but says
// nothing of its original: when the main way ends before that is settled, it
// comes again.
func TestDuplicateOfAnUnsettledRecord(t *testing.T) {
	log := newLog(checkpoint.TrimHorizon)
	log.seen = newTestSeen(time.Minute, new(atomic.Int64))
	c := log.Attach(ShardInfo{}, checkpoint.Entry{}, func() bool { return true })
	record := func(n int) Record {
		return Record{Position: number(n), Description: Description{Key: "k"}, Data: []byte("x"), Arrival: time.Unix(1, 0)}
	}
	log.append(record(1), false)
	log.append(record(2), false)
	if e := c.Next(); e == nil || e.Index != 1 {
		t.Fatalf("Next gives %v, want record 1", e)
	}
	if e := c.Next(); e != nil {
		t.Fatalf("Next gives record %s, a duplicate", e.Position)
	}
	c.Left(Main)
	if at := c.place().At; at != checkpoint.TrimHorizon {
		t.Fatalf("place %s, want TRIM_HORIZON", at)
	}
	catchUp := newLog(checkpoint.TrimHorizon)
	c.put(Main, catchUp.begin(), nil)
	catchUp.append(record(1), false)
	if e := c.Next(); e == nil || e.Index != 1 {
		t.Fatalf("Next gives %v, want record 1 again", e)
	}
}
