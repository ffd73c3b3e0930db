package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/spf13/cobra"

	"github.com/shardline/shardline/internal/bench"
)

func newBenchSoakCommand(env environment) *cobra.Command {
	o := bench.SoakOptions{}
	minutes := 10.0
	cmd := &cobra.Command{
		Use:   "soak",
		Short: "Steady load with faults, kills and reshards: everything arrives, in order, in flat memory",
		Long: `Runs two worker processes on a local AWS at half of what one of them can, with
receivers of which one request in a hundred meets a fault: a late answer, a 500,
a reset, now and then no answer at all. Every so often chance kills one of the
workers (SIGKILL), stops it (SIGTERM), or splits or merges all shards; a
successor of a worker starts a moment later.

Every receiver checks every message. In the end nothing may be lost or out of
order, duplicates may be no more than the kills allow (what was settled since
the last save, or ahead of a position that was saved then), and the worker that
stayed must have as much memory and as many goroutines in the last quarter of
the time as in the first.`,
		Args: cobra.NoArgs,
	}
	r := newRunFlags(cmd, bench.Load{Destinations: 20, Size: 1024, Concurrency: 16, Keys: 500, Shards: 4}, "64MiB", 4*time.Second, .5)
	f := cmd.Flags()
	f.Float64Var(&minutes, "minutes", minutes, "how long messages are put")
	f.DurationVar(&o.Every, "every", 15*time.Second, "time between two disturbances")
	f.Uint64Var(&o.Seed, "seed", 0, "of the disturbances; 0: another one each time")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if minutes <= 0 || o.Every < 2*r.Failover {
			return fmt.Errorf("--minutes must be above 0, --every twice --failover at least")
		}
		for o.Seed == 0 {
			o.Seed = rand.Uint64()
		}
		fmt.Fprintf(env.stderr, "--seed %d\n", o.Seed)
		return r.run(cmd.Context(), func(ctx context.Context) ([]bench.Criterion, error) {
			o.Run, o.Rate, o.Share, o.For = r.Run, r.rate, r.share, time.Duration(minutes*float64(time.Minute))
			res, err := bench.Soak(ctx, o, func(line string) { fmt.Fprintln(env.stderr, line) })
			if err != nil {
				return nil, err
			}
			if r.json {
				return res.Criteria, printJSON(env.stdout, res)
			}
			return res.Criteria, printSoak(env.stdout, res)
		})
	}
	return cmd
}

func printSoak(w io.Writer, res bench.SoakResult) error {
	fmt.Fprintf(w, `%.0f s: %d messages, %d deliveries (%.0f/s), %d attempts that failed
%d kills, %d stops, %d reshards (--seed %d); everything was there %.1f s after the last message
from put to accepted: p50 %.0f ms, p99 %.0f ms
lost %d, out of order %d, duplicates %d (the kills allow %d)
the worker that stayed: memory %d and %d MiB, goroutines %d and %d (medians of the first and the last quarter), %.0f CPU seconds

`, res.Seconds, res.Messages, res.Deliveries, res.PerSecond, res.Faults, res.Kills, res.Stops, res.Reshards, res.Seed, res.Through,
		res.P50*1000, res.P99*1000, res.Lost, res.Disordered, res.Duplicates, res.Allowed,
		res.RSS[0]>>20, res.RSS[1]>>20, res.Goroutines[0], res.Goroutines[1], res.CPUSeconds)
	for _, c := range res.Criteria {
		fmt.Fprintln(w, c)
	}
	return nil
}
