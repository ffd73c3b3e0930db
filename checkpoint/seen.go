package checkpoint

import "time"

// sightings tells from scans which leases are renewed. Clocks of workers are
// never compared: what counts is how long this worker has not seen a lease
// change. Owned by the Holder's Run.
type sightings struct {
	failover time.Duration
	leases   map[string]sighting // bounded by the table: a lease that is gone is dropped
}

type sighting struct {
	lease Lease
	at    time.Duration // local clock when it was first seen as it is
	free  bool          // it may be taken
	again bool          // it could have been taken at the scan before, too
}

// scan notes what a scan saw at now. worker is the one that asks: what another
// worker handed to it is free for it.
func (s *sightings) scan(leases []Lease, now time.Duration, worker string) {
	next := make(map[string]sighting, len(leases))
	for _, l := range leases {
		next[l.Key] = s.see(l, now, worker)
	}
	s.leases = next
}

// see is the sighting of l at now. Whoever sees a lease for the first time
// takes it as renewed just now if it has an owner, also if that is this
// worker's own id: KCL takes its own back at once, but here ids are unique to
// a process, so that whoever holds it is another one.
func (s *sightings) see(l Lease, now time.Duration, worker string) sighting {
	old, known := s.leases[l.Key]
	n := sighting{lease: l, at: now}
	if known && old.lease.as(l) {
		n.at = old.at
	}
	// A lease that is owned in no tenure was handed over and not taken yet.
	given := l.Owner == worker && l.Tenure == "" && l.HandingOver == ""
	n.free = l.Owner == "" || given || now-n.at > s.failover
	n.again = n.free && old.free
	return n
}
