package pipeline

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/shardline/shardline/checkpoint"
)

// watch waits for what ends the work on a shard, and says which: the lease is to be
// given up, or the stream was made again. Meanwhile it obeys commands, goes over to
// other subscribers, and opens gates: each is a matter of the member that it is
// about alone.
func (s *shard) watch(ctx, attempts context.Context, lease checkpoint.Lease) error {
	ticker := time.NewTicker(s.worker.failover / 3)
	defer ticker.Stop()
	for {
		s.regroup()
		s.comply(ctx, lease)
		if s.saveRoster(ctx) {
			s.openGates(ctx, attempts, lease)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.tenure.Draining():
			s.retireSlow(ctx)
			return errDraining
		case <-s.source.over:
			return errReplaced
		case <-s.orders.news:
		case <-s.subs().over:
		case <-s.lefts:
		case <-ticker.C:
		}
	}
}

// openGates opens the gates of those who have settled the parents: they get the
// records of this shard, from their places on. The last scan of the leases tells
// when to look; what counts is a reading of now. An older one may lack an entry
// that a replay has made since, or a lease that was made again.
func (s *shard) openGates(ctx, attempts context.Context, lease checkpoint.Lease) {
	all := s.worker.holder.Snapshot()
	var seen []checkpoint.Lease
	for _, id := range lease.Parents {
		if q, ok := all[s.source.leaseKey(id)]; ok {
			seen = append(seen, q)
		}
	}
	if !s.opens(attempts, seen, false) {
		return
	}
	parents, err := s.worker.parents(ctx, s.source, lease)
	if err != nil {
		if ctx.Err() == nil {
			s.logger.Warn("read the leases of the parents: trying again", zap.Error(err))
		}
		return
	}
	s.opens(attempts, parents, true)
}

// opens says whether a reading of the parents' leases opens a gate, and opens it
// when open is set. A key's gate opens in a reading only that says that its
// subscriber is through with the parents: keys get entries of their own no
// earlier. Commands that stop somebody are looked at under the same lock as what
// is acknowledged.
func (s *shard) opens(attempts context.Context, parents []checkpoint.Lease, open bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	shut := false // that would open
	for _, m := range s.members {
		if m.state == leaving || s.orders.stopped(m.name()) || !gateOpen(m.name(), parents, s.worker.shared) {
			continue
		}
		keys := heldKeys(m.name(), parents)
		switch {
		case !open:
			shut = shut || m.state == held || m.cursor.opens(keys)
		case m.state != held:
			if m.cursor.open(keys) > 0 {
				m.sub.Wake(m.cursor)
			}
		default:
			s.admit(m, s.plan.held[m.name()], keys)
			delete(s.plan.held, m.name())
			m.sub.Attach(attempts, m.cursor)
			s.signal()
		}
	}
	return shut
}
