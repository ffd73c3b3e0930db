package main

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/shardline/shardline/internal/bench"
)

func newBenchLeasesCommand(env environment) *cobra.Command {
	o := bench.LeaseOptions{Shards: 78, Failover: 10 * time.Second, Rounds: 3}
	asJSON := false
	cmd := &cobra.Command{
		Use:   "leases",
		Short: "How fast workers take, share and take over shards",
		Long: `Runs worker processes on a local AWS with one idle stream, and measures in each
round: from the start of a lone worker until it has read every shard; from the
start of a second one until each has its half, and how many leases moved; from
kill -9 of one until the other one has read the last of its shards; and the
longest time from the release of a shard, after SIGTERM, until a peer reads it.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if o.Shards < 2 || o.Rounds < 1 || o.Failover < time.Second {
				return fmt.Errorf("--shards must be at least 2, --rounds at least 1, --failover at least 1s")
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			if o.Executable, err = os.Executable(); err != nil {
				return err
			}
			if o.Dir, err = os.MkdirTemp("", "shardline-bench-"); err != nil {
				return err
			}
			times, err := bench.Leases(ctx, o, func(round int, t bench.LeaseTimes) {
				fmt.Fprintf(env.stderr, "round %d of %d: start %.1f s, join %.1f s, killed %.1f s, stopped %.1f s\n", round+1, o.Rounds,
					t.Start[round], t.Join[round], t.Killed[round], t.Stopped[round])
			})
			if err != nil {
				return err // the logs stay
			}
			if err := os.RemoveAll(o.Dir); err != nil {
				return err
			}
			return printLeases(env.stdout, times, asJSON)
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.Shards, "shards", o.Shards, "shards of the stream")
	f.DurationVar(&o.Failover, "failover", o.Failover, "fail-over time of the workers")
	f.IntVar(&o.Rounds, "rounds", o.Rounds, "how often everything is measured")
	f.BoolVar(&asJSON, "json", false, "print every round as JSON")
	return cmd
}

func printLeases(w io.Writer, times bench.LeaseTimes, asJSON bool) error {
	if asJSON {
		return printJSON(w, times)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "%d shards, fail-over time %.0f s\tmedian\tlongest\n", times.Shards, times.Failover)
	for _, row := range []struct {
		what    string
		seconds []float64
	}{
		{"lone worker: start to all shards read", times.Start},
		{"second worker: start to half of the leases", times.Join},
		{"kill -9: to all its shards read by the peer", times.Killed},
		{"SIGTERM: release of a shard to its next read", times.Stopped},
	} {
		sorted := slices.Sorted(slices.Values(row.seconds))
		fmt.Fprintf(t, "%s\t%.2f s\t%.2f s\n", row.what, sorted[len(sorted)/2], sorted[len(sorted)-1])
	}
	moves := slices.Sorted(slices.Values(times.Moves))
	fmt.Fprintf(t, "second worker: leases moved (at least %d must)\t%d\t%d\n", times.Shards/2, moves[len(moves)/2], moves[len(moves)-1])
	return t.Flush()
}
