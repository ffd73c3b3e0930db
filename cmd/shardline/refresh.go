package main

import (
	"context"
	"sync"
)

// refreshing keeps the credentials of a command fresh: start runs some, stop
// ends all and waits for them.
func refreshing(ctx context.Context) (start func(run func(context.Context) error), stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	start = func(run func(context.Context) error) {
		all.Go(func() { _ = run(ctx) }) // ends with ctx, and has no other outcome
	}
	return start, func() {
		cancel()
		all.Wait()
	}
}
