package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/internal/control"
	"github.com/shardline/shardline/pipeline/redrive"
)

// hold holds the keys of the letters that a filter means, and returns when every
// shard does. The function that it returns releases those that no one else holds.
func (l *openLetters) hold(ctx context.Context, env environment, o redriveOptions, f redrive.Filter, configured func(string) bool) (release func() error, err error) {
	tables, err := openLeases(ctx, env, o.config)
	if err != nil {
		return nil, fmt.Errorf("--hold needs the lease table: %w", err)
	}
	before := l.close
	l.close = func() {
		tables.close()
		before()
	}
	found, err := l.scanned(ctx, f)
	if err = errors.Join(err, l.release(ctx)); err != nil {
		return nil, err
	}
	keys := map[string][]string{}
	for _, c := range redrive.NewPlan(found, configured).Chains {
		keys[c.Destination] = append(keys[c.Destination], c.Key)
	}
	desired, err := tables.store.Desired(ctx)
	if err != nil {
		return nil, err
	}
	commands, reason := tables.control(), "redrive "+o.id
	ours := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(keys)) {
		slices.Sort(keys[name])
		for _, key := range slices.Compact(keys[name]) {
			order, held := desired.Wish(name).Keys[key]
			if held && order.Reason != reason {
				fmt.Fprintf(env.stderr, "key %s of %s is held already, and stays so (%s)\n", cell(key), cell(name), dash(order.Reason))
				continue
			}
			ours[name] = append(ours[name], key)
		}
	}
	give := func(ctx context.Context, verb checkpoint.Verb, name string) (control.Result, error) {
		return commands.Give(ctx, control.Request{Verb: verb, Destinations: []string{name}, Keys: ours[name], By: commander(env), Reason: reason})
	}
	names := slices.Sorted(maps.Keys(ours))
	undo := func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		for _, name := range names {
			if _, err := give(ctx, checkpoint.ReleaseVerb, name); err != nil {
				return fmt.Errorf("release the keys of %s: %w (do it with shardline destinations release %s --key KEY)", name, err, name)
			}
		}
		return nil
	}
	wait := o.wait
	if wait < 0 {
		wait = 3 * l.config.Leases.Failover
	}
	var longest time.Duration
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for _, name := range names {
		given, err := give(ctx, checkpoint.HoldVerb, name)
		if err != nil {
			return nil, fmt.Errorf("hold the keys of %s: %w", name, err)
		}
		now, err := commands.Await(waiting, given)
		if err != nil {
			return nil, fmt.Errorf("hold the keys of %s: %w", name, err)
		}
		if now.State != control.InForce {
			return nil, errors.Join(fmt.Errorf("the keys of %s are not held on every shard after %s: nothing was redriven; see shardline destinations list", name, wait), undo())
		}
		fmt.Fprintf(env.stderr, "%s: %s held on every shard\n", cell(name), count(len(ours[name]), "key"))
		longest = max(longest, l.config.Destination(name).Timeout)
	}
	// What was on its way when its key was held ends within an attempt's time.
	select {
	case <-time.After(longest):
		return undo, nil
	case <-ctx.Done():
		return nil, errors.Join(context.Cause(ctx), undo())
	}
}
