package main

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/internal/demo"
)

// feed puts messages and knows what was acknowledged.
type feed struct {
	scene *scene
	seed  uint64

	mu   sync.Mutex
	rng  *rand.Rand
	all  []message
	keys map[string]int
	of   map[demo.Digest]message
}

// message is one that the stream has.
type message struct {
	key    string
	index  int // among its key's, from 0
	digest demo.Digest
	body   []byte
	time   time.Time // when it was put
}

func newFeed(s *scene, seed uint64) *feed {
	return &feed{scene: s, seed: seed, rng: rand.New(rand.NewPCG(seed, 1)),
		keys: make(map[string]int), of: make(map[demo.Digest]message)}
}

// put puts one message of any bytes, with its key as partition key.
func (f *feed) put(st *stream, key string, body []byte) message {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.putAs(st, key, key, body)
}

// putAs is put with another partition key than the key that the message is
// to be ordered by. f.mu is held.
func (f *feed) putAs(st *stream, partitionKey, key string, body []byte) message {
	f.scene.t.Helper()
	if _, _, err := f.scene.aws.Put(st.arn, partitionKey, body); err != nil {
		f.scene.t.Errorf("put: %v", err)
	}
	return f.acknowledge(key, body)
}

// acknowledge notes a message that the stream has. f.mu is held.
func (f *feed) acknowledge(key string, body []byte) message {
	m := message{key: key, index: f.keys[key], digest: sha256.Sum256(body), body: body, time: time.Now()}
	if _, twice := f.of[m.digest]; twice {
		f.scene.t.Fatalf("a body comes twice: %.40q", body)
	}
	f.keys[key]++
	f.all = append(f.all, m)
	f.of[m.digest] = m
	return m
}

// some puts n messages of random bytes for so many keys, all over the streams.
func (f *feed) some(n, keys int, streams ...*stream) {
	if len(streams) == 0 {
		streams = f.scene.streams
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for range n {
		k := f.rng.IntN(keys)
		st := streams[k%len(streams)]
		key := fmt.Sprintf("%s %03d", st.name, k) // no key is on two streams
		f.putAs(st, key, key, f.bytes(key))
	}
}

// bytes makes a body that no other message has. f.mu is held.
func (f *feed) bytes(key string) []byte {
	body := fmt.Appendf(nil, "%s %d ", key, f.keys[key])
	for range f.rng.IntN(300) {
		body = append(body, byte(f.rng.Uint32()))
	}
	return body
}

// messages is a copy of what was put.
func (f *feed) messages() []message {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]message(nil), f.all...)
}

// mark is how many messages each key has now.
func (f *feed) mark() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.keys)
}

// check holds what a receiver logged against what was put: nothing lost, the
// order of every key kept (P1), every body as it was put, and the headers as
// promised. Duplicates are the caller's to judge.
func (s *scene) check(r *receiver) demo.Result {
	s.t.Helper()
	return s.checkSince(nil, r)
}

// checkSince is check for a receiver that began after mark: what came earlier
// may be there or not, but in order too.
func (s *scene) checkSince(mark map[string]int, r *receiver) demo.Result {
	s.t.Helper()
	result := s.checkOrder(mark, r)
	s.checkHeaders(s.t, r.name, r.all(), s.dead(r.name))
	return result
}

// checkOrder is checkSince but for the headers.
func (s *scene) checkOrder(mark map[string]int, r *receiver) demo.Result {
	s.t.Helper()
	dead := s.dead(r.name)
	requests := r.all()
	began := maps.Clone(mark) // the first message of each key that it was given
	for _, q := range requests {
		if m, known := s.of[q.digest]; known && m.index < began[m.key] {
			began[m.key] = m.index
		}
	}
	ledger := demo.NewLedger()
	for _, m := range s.messages() {
		if m.index >= began[m.key] {
			ledger.Acknowledge(m.key, m.body, m.time)
		}
	}
	attempts := make([]demo.Attempt, 0, len(requests))
	for _, q := range requests {
		attempts = append(attempts, demo.Attempt{Time: q.time, Digest: q.digest, Accepted: q.accepted})
	}
	result := demo.Check(ledger, demo.Logged(r.name, attempts), dead)
	if !result.OK() || result.Acknowledged == 0 {
		s.t.Errorf("%s: %d acknowledged, %d delivered, %d dead-lettered, %d lost, %d out of order, %d changed on the way", r.name,
			result.Acknowledged, result.Delivered, result.DeadLettered, result.Lost, result.OutOfOrder, result.Foreign)
		s.explain(r, requests, began, dead)
	}
	return result
}

// explain logs what came of the first key that is out of order.
func (s *scene) explain(r *receiver, requests []request, began map[string]int, dead map[demo.Digest]bool) {
	next := make(map[string]int)
	maps.Copy(next, began)
	for _, q := range requests {
		m, known := s.of[q.digest]
		if !known {
			s.t.Logf("%s: nobody put the body of the request for %s, %s", r.name, q.key, q.sequence)
			continue
		}
		if m.index > next[m.key] {
			s.t.Logf("%s: %s number %d by %s attempt %d, when number %d was to come", r.name, m.key, m.index, q.worker, q.attempt, next[m.key])
			for _, o := range requests {
				if o.key == q.key {
					s.t.Logf("  %s number %d by %s attempt %d accepted %v dead %v", o.time.Format("05.000"), s.of[o.digest].index, o.worker, o.attempt, o.accepted, dead[o.digest])
				}
			}
			return
		}
		next[m.key] = m.index
		if q.accepted || dead[q.digest] {
			next[m.key]++
		}
	}
}

// checkHeaders holds the headers of requests against the messages.
func (s *scene) checkHeaders(t testing.TB, name string, requests []request, dead map[demo.Digest]bool) {
	t.Helper()
	ids, of := make(map[demo.Digest]string), make(map[string]demo.Digest)
	sequences := make(map[demo.Digest]string)
	last := make(map[string]message) // the last attempt of each key
	for _, q := range requests {
		m, known := s.of[q.digest]
		if !known {
			continue
		}
		if q.key != m.key {
			t.Errorf("%s: X-Shardline-Key %q, want %q", name, q.key, m.key)
		}
		if q.attempt < 1 {
			t.Errorf("%s: X-Shardline-Attempt %q", name, q.header.Get("X-Shardline-Attempt"))
		}
		if before, ok := ids[q.digest]; ok && before != q.id || len(q.id) < 16 || len(q.id) > 64 {
			t.Errorf("%s: Idempotency-Key %q, before %q", name, q.id, before)
		}
		if other, ok := of[q.id]; ok && other != q.digest {
			t.Errorf("%s: two messages have the Idempotency-Key %q", name, q.id)
		}
		ids[q.digest], of[q.id] = q.id, q.digest
		if before, ok := sequences[q.digest]; ok && before != q.sequence {
			t.Errorf("%s: X-Shardline-Sequence-Number %s, before %s", name, q.sequence, before)
		}
		sequences[q.digest] = q.sequence
		last[m.key] = m
	}
	// A step back is followed by everything, to the end.
	for key, m := range last {
		if m.index != s.keys[key]-1 && !dead[m.digest] {
			t.Errorf("%s: the last attempt of %s is for number %d of %d", name, key, m.index, s.keys[key])
		}
	}
	newest := make(map[string]string)
	for _, m := range s.messages() { // in order per key
		n, ok := sequences[m.digest]
		if !ok {
			continue
		}
		if before := newest[m.key]; before != "" && !grows(before, n) {
			t.Errorf("%s: the sequence number of %s number %d, %s, does not grow from %s", name, m.key, m.index, n, before)
		}
		newest[m.key] = n
	}
}

// grows compares sequence numbers, with the index in an aggregate behind them.
func grows(a, b string) bool {
	before, err := checkpoint.ParsePosition(a)
	after, wrong := checkpoint.ParsePosition(b)
	return err == nil && wrong == nil && after.Compare(before) > 0
}
