package checkpoint

import "time"

// sightings tells from scans which leases are renewed. Clocks of workers are
// never compared: what counts is how long this worker has not seen a lease
// change. Owned by the Holder's Run.
type sightings struct {
	failover time.Duration
	worker   string              // the one that looks
	leases   map[string]sighting // bounded by the table: a lease that is gone is dropped. Replaced, never changed: it is published
}

type sighting struct {
	lease Lease
	at    time.Duration // local clock when its counter and tenure were first seen as they are
	from  string        // who had it before it became nobody's, as far as this worker saw; empty: unknown
}

// scan notes what a scan saw at now.
func (s *sightings) scan(leases []Lease, now time.Duration) {
	next := make(map[string]sighting, len(leases))
	for _, l := range leases {
		next[l.Key] = s.see(l, now)
	}
	s.leases = next
}

// note keeps one lease that was read by itself.
func (s *sightings) note(l Lease, now time.Duration) sighting {
	next := make(map[string]sighting, len(s.leases)+1)
	for key, seen := range s.leases {
		next[key] = seen
	}
	next[l.Key] = s.see(l, now)
	s.leases = next
	return next[l.Key]
}

// see is the sighting of l at now. Whoever sees a lease for the first time
// takes it as renewed just now if it has an owner, also if that is this
// worker's own id: KCL takes its own back at once, but here ids are unique to
// a process, so that whoever holds it is another one. A request for a lease
// leaves its counter and tenure: it is no sign of life of the owner.
func (s *sightings) see(l Lease, now time.Duration) sighting {
	old, known := s.leases[l.Key]
	if known && l.Counter < old.lease.Counter && now-old.at < s.failover/2 {
		return old // a scan that is older than what was seen before
	}
	n := sighting{lease: l, at: now}
	if known && old.lease.Counter == l.Counter && old.lease.Tenure == l.Tenure && (old.lease.Owner == "") == (l.Owner == "") {
		n.at, n.from = old.at, old.from
	}
	if known && l.Owner == "" && old.lease.Owner != "" {
		n.from, _ = old.lease.Holder()
	}
	return n
}

// given says whether a lease was handed to this worker: one that is owned in no
// tenure was handed over and not taken yet.
func (s *sightings) given(l Lease) bool {
	return l.Owner == s.worker && l.Tenure == "" && l.HandingOver == ""
}

// free says whether a lease may be taken at now, and since when.
func (s *sightings) free(n sighting, now time.Duration) (since time.Duration, free bool) {
	if n.lease.Owner == "" || s.given(n.lease) {
		return n.at, true
	}
	return n.at + s.failover, now-n.at > s.failover
}
