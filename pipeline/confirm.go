package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/shardline/shardline/checkpoint"
)

// confirm reads the leases anew, consistently, on which an audit creates some
// although the stream has leases: a scan may be a moment old, and each item of
// it another one. So a lease that was removed, because its shard has been read
// and a child has begun, could seem lost beside that child as it stood before.
//
// The leases to be created are read first: whatever let somebody remove one of
// them is then to be seen in those that are read after it.
func (w *Worker) confirm(ctx context.Context, e *epoch, shards []checkpoint.Shard, leases, create []checkpoint.Lease) ([]checkpoint.Lease, error) {
	var wanted, others []string
	for _, l := range create {
		wanted = append(wanted, e.leaseKey(l.Shard))
	}
	for _, s := range shards {
		others = append(others, e.leaseKey(s.ID))
	}
	for _, l := range leases {
		others = append(others, l.Key)
	}
	slices.Sort(others)
	others = slices.DeleteFunc(slices.Compact(others), func(key string) bool { return slices.Contains(wanted, key) })
	var now []checkpoint.Lease
	for _, keys := range [][]string{wanted, others} {
		read, err := w.read(ctx, keys)
		if err != nil {
			return nil, err
		}
		now = append(now, read...)
	}
	return slices.DeleteFunc(now, func(l checkpoint.Lease) bool { return !e.owns(l) }), nil
}

// read reads those of the leases that exist.
func (w *Worker) read(ctx context.Context, keys []string) ([]checkpoint.Lease, error) {
	var mu sync.Mutex
	var leases []checkpoint.Lease
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(createAtOnce)
	for _, key := range keys {
		g.Go(func() error {
			l, err := w.store.Get(ctx, key)
			switch {
			case errors.Is(err, checkpoint.ErrNotFound):
				return nil
			case err != nil:
				return fmt.Errorf("read lease %s: %w", key, err)
			}
			mu.Lock()
			defer mu.Unlock()
			leases = append(leases, l)
			return nil
		})
	}
	return leases, g.Wait()
}
