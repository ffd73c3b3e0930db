package bench

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/shardline/shardline/internal/localaws"
)

// LeaseOptions say what Leases measures.
type LeaseOptions struct {
	Executable string // the shardline binary whose run command the workers are
	Dir        string // for the configuration and logs
	Shards     int
	Failover   time.Duration
	Rounds     int
}

// LeaseTimes are the seconds of each round.
type LeaseTimes struct {
	Shards   int     `json:"shards"`
	Failover float64 `json:"failover_seconds"`
	// Start is from the start of a lone worker's process until it owns and
	// has read every shard.
	Start []float64 `json:"start_seconds"`
	// Join is from the start of a second process until each has its half.
	Join []float64 `json:"join_seconds"`
	// Moves are the leases that changed their owner meanwhile; half of them
	// have to.
	Moves []int `json:"join_moves"`
	// Killed is from kill -9 of one of two workers until the other one has
	// read the last of its shards.
	Killed []float64 `json:"killed_seconds"`
	// Stopped is the longest time from the release of a shard, after SIGTERM,
	// until the other worker has read it.
	Stopped []float64 `json:"stopped_seconds"`
}

const (
	leaseLook     = 10 * time.Millisecond // how often the table and the reads are looked at
	leasePatience = 2 * time.Minute
)

// fleet is workers on a local AWS of this process.
type fleet struct {
	LeaseOptions
	*cloud
	config  string
	workers []*worker
}

// Leases measures how fast real worker processes take, share and take over the
// shards of an idle stream on the local AWS. told is called after every round.
func Leases(ctx context.Context, o LeaseOptions, told func(round int, t LeaseTimes)) (LeaseTimes, error) {
	t := LeaseTimes{Shards: o.Shards, Failover: o.Failover.Seconds()}
	for round := range o.Rounds {
		if err := leaseRound(ctx, o, round, &t); err != nil {
			return t, err
		}
		told(round, t)
	}
	return t, nil
}

func leaseRound(ctx context.Context, o LeaseOptions, round int, t *LeaseTimes) (err error) {
	f, stop, err := newFleet(ctx, o, round)
	if err != nil {
		return err
	}
	defer func() {
		for _, w := range f.workers {
			w.Kill()
		}
		err = errors.Join(err, stop())
	}()

	began := time.Now()
	first, err := f.start()
	if err != nil {
		return err
	}
	err = f.await(ctx, "a lone worker owns and reads every shard", func(owners map[string]string) bool {
		return shares(owners)[first.Name] == o.Shards && len(f.reads()) == o.Shards
	})
	if err != nil {
		return err
	}
	t.Start = append(t.Start, time.Since(began).Seconds())

	began = time.Now()
	second, moves, err := f.join(ctx, first)
	if err != nil {
		return err
	}
	t.Join, t.Moves = append(t.Join, time.Since(began).Seconds()), append(t.Moves, moves)

	owners, err := f.owners(ctx)
	if err != nil {
		return err
	}
	second.Kill()
	began = time.Now()
	reads := f.reads()
	err = f.await(ctx, "the shards of a killed worker are read again", func(map[string]string) bool {
		now := f.reads()
		for shard, owner := range owners {
			if owner == second.Name && now[shard] == reads[shard] {
				return false
			}
		}
		return true
	})
	if err != nil {
		return err
	}
	t.Killed = append(t.Killed, time.Since(began).Seconds())

	third, _, err := f.join(ctx, first)
	if err != nil {
		return err
	}
	longest, err := f.release(ctx, third)
	if err != nil {
		return err
	}
	t.Stopped = append(t.Stopped, longest.Seconds())
	return first.Stop(leasePatience)
}

func newFleet(ctx context.Context, o LeaseOptions, round int) (f *fleet, stop func() error, err error) {
	f = &fleet{LeaseOptions: o}
	if f.cloud, stop, err = newCloud(ctx, localaws.Config{}, o.Shards); err != nil {
		return nil, nil, err
	}
	f.config, err = f.writeConfig(o.Dir, fmt.Sprintf("shardline-%d.yaml", round), fmt.Sprintf(`leases: {failover: %s}
sources:
  - {name: hotels, stream: %q, initial_position: trim_horizon, subscribers: all_destinations}
destinations:
  - {name: nobody, type: http, url: "http://127.0.0.1:9/", on_exhausted: hold_destination}
`, o.Failover, f.arn))
	if err != nil {
		return nil, nil, errors.Join(err, stop())
	}
	return f, stop, nil
}

func (f *fleet) start() (*worker, error) {
	w, err := f.cloud.start(f.Executable, f.Dir, fmt.Sprintf("worker-%d", len(f.workers)+1), f.config)
	if err == nil {
		f.workers = append(f.workers, w)
	}
	return w, err
}

// join starts one more worker beside first and waits until each has its half.
// moves are the changes of owner that were seen.
func (f *fleet) join(ctx context.Context, first *worker) (joined *worker, moves int, err error) {
	last, err := f.owners(ctx)
	if err != nil {
		return nil, 0, err
	}
	if joined, err = f.start(); err != nil {
		return nil, 0, err
	}
	err = f.await(ctx, "two workers have half of the shards each", func(owners map[string]string) bool {
		for shard, owner := range owners {
			if owner != "" && owner != last[shard] {
				moves++
				last[shard] = owner
			}
		}
		share := shares(owners)
		return share[first.Name]+share[joined.Name] == f.Shards && max(share[first.Name]-share[joined.Name], share[joined.Name]-share[first.Name]) <= 1
	})
	return joined, moves, err
}

// release stops a worker and returns the longest time from a shard's release
// until another worker has read it.
func (f *fleet) release(ctx context.Context, w *worker) (longest time.Duration, err error) {
	type released struct {
		at    time.Time
		reads int64
	}
	owners, err := f.owners(ctx)
	if err != nil {
		return 0, err
	}
	left := make(map[string]*released) // by shard that w still owned, nil until it is released
	for shard, owner := range owners {
		if owner == w.Name {
			left[shard] = nil
		}
	}
	stopped := make(chan error, 1)
	go func() { stopped <- w.Stop(leasePatience) }()
	err = f.await(ctx, "the shards of a stopped worker are read again", func(owners map[string]string) bool {
		reads := f.reads()
		for shard, r := range left {
			switch {
			case r == nil && owners[shard] != w.Name:
				left[shard] = &released{time.Now(), reads[shard]}
			case r != nil && reads[shard] > r.reads:
				longest = max(longest, time.Since(r.at))
				delete(left, shard)
			}
		}
		return len(left) == 0
	})
	return longest, errors.Join(err, <-stopped)
}

// owners is who holds each shard, nobody while it is handed over.
func (f *fleet) owners(ctx context.Context) (map[string]string, error) {
	leases, err := f.store.List(ctx)
	if err != nil {
		return nil, err
	}
	owners := make(map[string]string, len(leases))
	for _, l := range leases {
		owners[l.Shard] = ""
		if l.Tenure != "" {
			owners[l.Shard], _ = l.Holder()
		}
	}
	return owners, nil
}

func shares(owners map[string]string) map[string]int {
	n := make(map[string]int)
	for owner := range maps.Values(owners) {
		n[owner]++
	}
	return n
}

func (f *fleet) await(ctx context.Context, what string, condition func(owners map[string]string) bool) error {
	tick := time.NewTicker(leaseLook)
	defer tick.Stop()
	for deadline := time.Now().Add(leasePatience); time.Now().Before(deadline); {
		owners, err := f.owners(ctx)
		if err == nil && condition(owners) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return fmt.Errorf("%s: still not after %s: see the logs in %s", what, leasePatience, f.Dir)
}
