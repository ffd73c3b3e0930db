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

// check holds what the workers did against what was put, and against the
// tenures of Shardline's.
func (s *peerScene) check() {
	s.t.Helper()
	all := s.handlings()
	tenures := make(map[string][]*tenure)
	for _, p := range s.shardlines {
		p.tenures(tenures)
	}
	faults := append(lostOrEarly(s.records(), all), outsideTenures(all, tenures)...)
	for i, f := range faults {
		if i == 10 {
			s.t.Errorf("and %d more", len(faults)-i)
			break
		}
		s.t.Error(f)
	}
	by := make(map[string]int)
	repeats := -len(s.records())
	for _, h := range all {
		if h.handled {
			by[h.worker]++
			repeats++
		}
	}
	s.t.Logf("%d records put; handled %v; %d repeats", len(s.records()), by, max(repeats, 0))
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
