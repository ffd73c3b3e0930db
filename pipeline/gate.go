package pipeline

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/shardline/shardline/checkpoint"
)

// errCommanded ends a plan: commands want it otherwise.
var errCommanded = errors.New("commands want another plan")

// watch waits for what ends a plan, and says which: the lease is to be given up,
// the stream was made again, or commands want another one than with these who are
// stopped. Meanwhile it goes over to other subscribers, and opens gates.
func (s *shard) watch(ctx, attempts context.Context, lease checkpoint.Lease, stopped map[string]bool) error {
	ticker := time.NewTicker(s.worker.failover / 3)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.tenure.Draining():
			return errDraining
		case <-s.source.over:
			return errReplaced
		case <-s.orders.news:
			if s.changed(stopped) {
				return errCommanded
			}
			continue
		case <-s.subs().over:
		case <-s.lefts:
		case <-ticker.C:
		}
		s.regroup(stopped)
		if s.saveRoster(ctx) {
			s.openGates(ctx, attempts, lease, stopped)
		}
	}
}

// openGates opens the gates of those who have settled the parents: they get the
// records of this shard, from their places on. The last scan of the leases tells
// when to look; what counts is a reading of now. An older one may lack an entry
// that a replay has made since, or a lease that was made again.
func (s *shard) openGates(ctx, attempts context.Context, lease checkpoint.Lease, stopped map[string]bool) {
	all := s.worker.holder.Snapshot()
	var seen []checkpoint.Lease
	for _, id := range lease.Parents {
		if q, ok := all[s.source.leaseKey(id)]; ok {
			seen = append(seen, q)
		}
	}
	if !s.opens(attempts, seen, stopped, false) {
		return
	}
	parents, err := s.worker.parents(ctx, s.source, lease)
	if err != nil {
		if ctx.Err() == nil {
			s.logger.Warn("read the leases of the parents: trying again", zap.Error(err))
		}
		return
	}
	s.opens(attempts, parents, stopped, true)
}

// opens says whether a reading of the parents' leases opens a gate, and opens it
// when open is set. A key's gate opens in a reading only that says that its
// subscriber is through with the parents: keys get entries of their own no
// earlier.
func (s *shard) opens(attempts context.Context, parents []checkpoint.Lease, stopped map[string]bool, open bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	shut := false // that would open
	for _, m := range s.members {
		if stopped[m.name()] || !gateOpen(m.name(), parents, s.worker.shared) {
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
