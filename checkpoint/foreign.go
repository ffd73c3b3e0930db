package checkpoint

import (
	"maps"
	"slices"
	"time"

	"go.uber.org/zap"
)

// foreigners tells from scans which leases are renewed by workers that are not
// Shardline: of the Kinesis Client Library. On a table that is not shared with
// them they are an alarm. Owned by the Holder's Run.
type foreigners struct {
	shared   bool
	failover time.Duration
	log      *zap.Logger
	metrics  *Metrics
	leases   map[string]foreign // bounded by the table
	held     int                // leases that they renew
}

type foreign struct {
	owner   string
	counter int64
	at      time.Duration // local clock when the counter was first seen
	renews  bool          // a write of the owner was seen
	said    bool          // what is to be said of it
}

// see notes what a scan saw at now. Who owns a lease without having renewed it
// yet may be a Shardline worker that was given it.
func (f *foreigners) see(leases []Lease, now time.Duration) {
	next := map[string]foreign{}
	found := map[string][]string{} // leases by owner, to be said
	held := 0
	for _, l := range leases {
		owner, shardline := l.Holder()
		if owner == "" || shardline {
			continue
		}
		n := foreign{owner: owner, counter: l.Counter, at: now}
		if old, known := f.leases[l.Key]; known && old.owner == owner {
			n.said, n.renews = old.said, true
			if l.Counter <= old.counter {
				n = old
				n.renews = old.renews && now-old.at <= f.failover
			}
		}
		if n.renews {
			held++
		}
		if n.renews && !n.said && !f.shared {
			n.said = true
			found[owner] = append(found[owner], l.Key)
		}
		if n.renews && !n.said && f.shared && len(l.Behind) > 0 {
			n.said = true
			f.log.Error("a KCL worker owns a lease on which subscribers are behind, and does not serve them: "+
				"stop the KCL workers until Shardline has brought everybody to the checkpoint",
				zap.String("lease", l.Key), zap.String("owner", owner), zap.Strings("subscribers", slices.Sorted(maps.Keys(l.Behind))))
		}
		next[l.Key] = n
	}
	for _, owner := range slices.Sorted(maps.Keys(found)) {
		f.log.Error("a worker that is not Shardline renews leases of this table: their shards are not read here; "+
			"stop the application that it belongs to, or set leases.shared_with_kcl for the time of a migration",
			zap.String("owner", owner), zap.Strings("leases", slices.Sorted(slices.Values(found[owner]))))
	}
	switch {
	case f.held > 0 && held == 0:
		f.log.Info("workers that are not Shardline hold no leases any more")
	case f.held == 0 && held > 0 && f.shared:
		f.log.Info("KCL workers hold leases of this table", zap.Int("leases", held))
	}
	f.leases, f.held = next, held
	f.metrics.foreign.WithLabelValues(expected[f.shared]).Set(float64(held))
}

// renews says whether a lease is renewed by a worker that is not Shardline.
func (f *foreigners) renews(l Lease) bool {
	n := f.leases[l.Key]
	return n.renews && n.owner == l.Owner
}

var expected = map[bool]string{false: "false", true: "true"}
