package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/shardline/shardline/checkpoint"
)

// handling is one record at one worker: an attempt of Shardline's, or a record
// that a KCL worker processed.
type handling struct {
	time    time.Time
	worker  string
	record  peerRecord
	handled bool // accepted, or processed
}

// handlings are all, in the order of time. Workers share the machine's clock.
func (s *peerScene) handlings() []handling {
	s.t.Helper()
	of := make(map[string]peerRecord)
	for _, r := range s.records() {
		of[r.data] = r
	}
	var all []handling
	for _, q := range s.receiver.all() {
		if r, ok := of[string(q.body)]; ok && r.key == q.key {
			all = append(all, handling{q.time, q.worker, r, q.accepted})
		} else {
			s.t.Fatalf("%s delivered %q with key %q: nobody put that", q.worker, q.body, q.key)
		}
	}
	for _, w := range s.kcls {
		for _, e := range w.log() {
			if e.kind == "record" {
				all = append(all, handling{e.time, w.name, of[e.data], true})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b handling) int { return a.time.Compare(b.time) })
	return all
}

// awaitHandled waits until every record that was put is handled.
func (s *peerScene) awaitHandled() {
	s.t.Helper()
	s.await("every record is handled", func() error {
		open := make(map[string]bool)
		for _, r := range s.records() {
			open[r.data] = true
		}
		wanted := len(open)
		for _, h := range s.handlings() {
			if h.handled {
				delete(open, h.record.data)
			}
		}
		for data := range open {
			return fmt.Errorf("%d of %d are not, %q among them", len(open), wanted, data)
		}
		return nil
	})
}

// check holds what the workers did against what was put: every record is
// handled by one side or the other, and no side begins with a record of a key
// before all earlier ones are handled.
func (s *peerScene) check() {
	s.t.Helper()
	next, handled, repeated := make(map[string]int), make(map[string]int), 0
	gaps := 0
	for _, h := range s.handlings() {
		if h.record.index > next[h.record.key] {
			if gaps++; gaps <= 5 {
				s.t.Errorf("gap: %s handled %s number %d of %s at %s, when number %d was to come", h.worker, h.record.key, h.record.index, h.record.shard,
					h.time.Format("15:04:05.000"), next[h.record.key])
			}
			continue
		}
		if !h.handled {
			continue
		}
		handled[h.worker]++
		if h.record.index == next[h.record.key] {
			next[h.record.key]++
		} else {
			repeated++
		}
	}
	wanted := make(map[string]int)
	for _, r := range s.records() {
		wanted[r.key]++
	}
	for key, n := range wanted {
		if next[key] != n {
			s.t.Errorf("lost: %s is handled up to number %d of %d", key, next[key], n)
		}
	}
	s.t.Logf("%d records put; handled %v; %d of these are repeats", len(s.records()), handled, repeated)
	s.checkTenures()
}

// tenure is one ownership of a shard by a Shardline worker, as its log has it.
type tenure struct {
	worker      string
	from, until time.Time
	attempts    []time.Time
}

// checkTenures holds the attempts of Shardline workers against their leases:
// each is within a tenure of its worker on its shard, and those of two workers
// on one shard do not overlap.
func (s *peerScene) checkTenures() {
	s.t.Helper()
	tenures := make(map[string][]*tenure) // by shard
	for _, p := range s.shardlines {
		p.tenures(tenures)
	}
	outside := 0
	for _, h := range s.handlings() {
		if !slices.ContainsFunc(s.shardlines, func(p *process) bool { return p.name == h.worker }) {
			continue
		}
		i := slices.IndexFunc(tenures[h.record.shard], func(n *tenure) bool {
			return n.worker == h.worker && !h.time.Before(n.from) && !h.time.After(n.until)
		})
		if i < 0 {
			if outside++; outside <= 5 {
				s.t.Errorf("%s delivered %q of %s at %s without owning it", h.worker, h.record.data, h.record.shard, h.time.Format("15:04:05.000"))
			}
			continue
		}
		n := tenures[h.record.shard][i]
		n.attempts = append(n.attempts, h.time)
	}
	for shard, list := range tenures {
		for i, a := range list {
			for _, b := range list[:i] {
				if a.worker != b.worker && len(a.attempts) > 0 && len(b.attempts) > 0 &&
					!a.attempts[0].After(b.attempts[len(b.attempts)-1]) && !b.attempts[0].After(a.attempts[len(a.attempts)-1]) {
					s.t.Errorf("%s and %s delivered from %s at the same time", a.worker, b.worker, shard)
				}
			}
		}
	}
}

// tenures adds those of a worker's log, by shard.
func (p *process) tenures(to map[string][]*tenure) {
	p.mu.Lock()
	defer p.mu.Unlock()
	open := make(map[string]*tenure)
	for _, line := range p.log {
		var l struct {
			Time       time.Time
			Msg, Lease string
		}
		if json.NewDecoder(bytes.NewReader([]byte(line))).Decode(&l) != nil {
			continue
		}
		switch l.Msg {
		case "lease taken":
			n := &tenure{worker: p.name, from: l.Time, until: time.Now()}
			open[l.Lease], to[l.Lease] = n, append(to[l.Lease], n)
		case "lease released", "lease lost":
			if n := open[l.Lease]; n != nil {
				n.until = l.Time
			}
		}
	}
}

// checkLeases holds what the table says in the end: closed shards are at their
// end, or their leases are gone; open ones are at the last record that they
// have. Children of shards that have ended are there.
func (s *peerScene) checkLeases() {
	s.t.Helper()
	last := make(map[string]checkpoint.Position)
	for _, r := range s.records() {
		last[r.shard] = checkpoint.Number(r.sequence, 0)
	}
	shards, err := s.shards()
	if err != nil {
		s.t.Fatal(err)
	}
	leases, err := s.leases()
	if err != nil {
		s.t.Fatal(err)
	}
	for id, closed := range shards {
		l, leased := leases[id]
		switch {
		case closed && leased && !l.finished():
			s.t.Errorf("the lease of the closed shard %s is at %s", id, l.checkpoint)
		case !closed && !leased:
			s.t.Errorf("the open shard %s has no lease", id)
		case !closed && last[id].IsNumber() && l.checkpoint.Compare(last[id]) < 0:
			s.t.Errorf("the lease of %s is at %s, its last record is %s", id, l.checkpoint, last[id])
		}
	}
}
