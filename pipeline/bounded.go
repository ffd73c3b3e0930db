package pipeline

import (
	"context"
	"time"

	"github.com/shardline/shardline/checkpoint"
)

// bounded ends every call of the worker's own that hangs: discovery and the end
// of a shard try again, as after any other error. The holder bounds its calls
// itself.
type bounded struct {
	checkpoint.Store
	call time.Duration
}

// prepareAtMost leaves room for tables that are being created, and for watching
// whether KCL workers live.
const prepareAtMost = 2 * time.Minute

func (b bounded) Prepare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, prepareAtMost)
	defer cancel()
	return b.Store.Prepare(ctx)
}

func (b bounded) List(ctx context.Context) ([]checkpoint.Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*b.call)
	defer cancel()
	return b.Store.List(ctx)
}

func (b bounded) ListNow(ctx context.Context) ([]checkpoint.Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*b.call)
	defer cancel()
	return b.Store.ListNow(ctx)
}

func (b bounded) Desired(ctx context.Context) (checkpoint.Desired, error) {
	ctx, cancel := context.WithTimeout(ctx, b.call)
	defer cancel()
	return b.Store.Desired(ctx)
}

func (b bounded) SetDesired(ctx context.Context, before int64, d checkpoint.Desired) error {
	ctx, cancel := context.WithTimeout(ctx, b.call)
	defer cancel()
	return b.Store.SetDesired(ctx, before, d)
}

func (b bounded) First(ctx context.Context, stream string, proposal map[string]checkpoint.Position) (map[string]checkpoint.Position, error) {
	ctx, cancel := context.WithTimeout(ctx, b.call)
	defer cancel()
	return b.Store.First(ctx, stream, proposal)
}

func (b bounded) Get(ctx context.Context, key string) (checkpoint.Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, b.call)
	defer cancel()
	return b.Store.Get(ctx, key)
}

func (b bounded) Create(ctx context.Context, l checkpoint.Lease) error {
	ctx, cancel := context.WithTimeout(ctx, b.call)
	defer cancel()
	return b.Store.Create(ctx, l)
}

func (b bounded) Delete(ctx context.Context, seen checkpoint.Lease) error {
	ctx, cancel := context.WithTimeout(ctx, b.call)
	defer cancel()
	return b.Store.Delete(ctx, seen)
}
