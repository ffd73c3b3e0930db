package pipeline

import (
	"context"

	"github.com/shardline/shardline/checkpoint"
)

// Sharer is a Subscriber whose limits hold over the whole fleet.
type Sharer interface {
	// SetShare says which part of them is this worker's, above 0 and at most 1. It
	// is called after every scan of the leases. Never blocks.
	SetShare(share float64)
}

// share gives the subscribers their shares until ctx ends.
func (w *Worker) share(ctx context.Context) {
	for {
		scanned := w.holder.Scanned()
		if all := w.holder.Snapshot(); all != nil {
			for sharer, share := range w.shares(all) {
				sharer.SetShare(share)
			}
		}
		select {
		case <-scanned:
		case <-ctx.Done():
			return
		}
	}
}

// shares is each subscriber's share: of the leases on which it has something to
// read, those that this worker holds. A worker that has attempts to make has
// one lease at least, whether the scan has seen it or not.
func (w *Worker) shares(all map[string]checkpoint.Lease) map[Sharer]float64 {
	held, total := make(map[Sharer]int), make(map[Sharer]int)
	for _, s := range w.sources {
		e := s.current()
		if e == nil {
			continue
		}
		for _, sub := range s.subscribed().subscribers {
			sharer, ok := sub.(Sharer)
			if !ok {
				continue
			}
			for _, l := range all {
				if !e.owns(l) || !toRead(l, sub.Name()) {
					continue
				}
				total[sharer]++
				if l.Owner == w.holder.Worker() {
					held[sharer]++
				}
			}
		}
	}
	shares := make(map[Sharer]float64, len(total))
	for sharer, n := range total {
		shares[sharer] = float64(max(held[sharer], 1)) / float64(n)
	}
	return shares
}

// toRead says whether a subscriber has something to read under a lease.
func toRead(l checkpoint.Lease, name string) bool {
	_, behind := l.Behind[name]
	return behind || !l.Finished()
}
