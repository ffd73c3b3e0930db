package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/shardline/shardline/cmd/shardline/config"
	"github.com/shardline/shardline/internal/bench"
)

// runFlags are the flags of the benchmarks that run real workers.
type runFlags struct {
	bench.Run
	window string
	read   string
	rate   float64
	share  float64
	check  bool
	json   bool
}

func newRunFlags(cmd *cobra.Command, l bench.Load, window string, failover time.Duration, share float64) *runFlags {
	r := &runFlags{Run: bench.Run{Load: l, Poll: 500 * time.Millisecond, Timeout: 2 * time.Second, Failover: failover}, window: window, read: "polling", share: share}
	loadFlags(cmd, &r.Load, "keys")
	f := cmd.Flags()
	f.StringVar(&r.window, "window", r.window, "pipeline.window of a worker")
	f.StringVar(&r.read, "read", r.read, "how shards are read: polling or enhanced_fan_out")
	f.DurationVar(&r.Poll, "poll", r.Poll, "poll_interval of the source")
	f.DurationVar(&r.Timeout, "timeout", r.Timeout, "time-out of an attempt")
	f.DurationVar(&r.Failover, "failover", r.Failover, "fail-over time of the workers")
	f.Float64Var(&r.rate, "rate", 0, "messages a second; 0: --share of what a worker can, measured first")
	f.Float64Var(&r.share, "share", r.share, "of the maximum, that is put")
	f.BoolVar(&r.check, "check", false, "end with an error when a criterion is missed")
	f.BoolVar(&r.json, "json", false, "print everything as JSON")
	return r
}

// prepare checks the flags, and makes a folder for the run.
func (r *runFlags) prepare() (done func() error, err error) {
	if err := atLeastOne(r.Load, 1); err != nil {
		return nil, err
	}
	window, err := config.ParseSize(r.window)
	if err != nil {
		return nil, fmt.Errorf("--window: %w", err)
	}
	r.Window = int64(window)
	switch {
	case !slices.Contains([]string{"polling", "enhanced_fan_out"}, r.read):
		return nil, fmt.Errorf("--read %q: allowed are polling and enhanced_fan_out", r.read)
	case r.rate < 0 || r.share <= 0 || r.share > 1:
		return nil, fmt.Errorf("--rate must not be negative, --share above 0 and at most 1")
	}
	r.FanOut = r.read == "enhanced_fan_out"
	if r.Executable, err = os.Executable(); err != nil {
		return nil, err
	}
	if r.Dir, err = os.MkdirTemp("", "shardline-bench-"); err != nil {
		return nil, err
	}
	return func() error { return os.RemoveAll(r.Dir) }, nil
}

func newBenchIsolationCommand(env environment) *cobra.Command {
	o := bench.IsolationOptions{Rounds: 3, Limit: 4}
	seconds := 30
	cmd := &cobra.Command{
		Use:   "isolation",
		Short: "What destinations notice of five others that are down",
		Long: `Runs a worker process on a local AWS, with and without faults in turns: of its
destinations one hangs until the time-out, one answers 500, one resets
connections, one reads a byte a second, and one answers 500 to one key. At the
same time everything about another source is refused.

Each round measures: a baseline of --seconds; a split of all shards; an outage
twice as long as the baseline; a split of all shards in the outage; and the way
back of the five, whose rate_limit is --limit times the rate. Prints what the
destinations without faults got, and a verdict for every criterion, by medians
over the rounds. The rate is a share of what the worker can on this machine, so
that a ratio speaks of isolation and not of processors.`,
		Args: cobra.NoArgs,
	}
	r := newRunFlags(cmd, bench.Load{Destinations: 100, Size: 4096, Concurrency: 16, Keys: 200, Shards: 4}, "16MiB", 10*time.Second, .25)
	f := cmd.Flags()
	f.IntVar(&seconds, "seconds", seconds, "seconds of a baseline; an outage takes twice as long")
	f.IntVar(&o.Rounds, "rounds", o.Rounds, "how often there is an outage")
	f.Float64Var(&o.Limit, "limit", o.Limit, "rate_limit of the five with faults, in rates; 0: none")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if r.Destinations < 6 || seconds < 1 || o.Rounds < 1 || o.Limit < 0 {
			return fmt.Errorf("--destinations must be at least 6, --seconds and --rounds at least 1, --limit not negative")
		}
		o.Steady, o.Reshard = time.Duration(seconds)*time.Second, max(time.Duration(seconds)*time.Second/2, 5*time.Second)
		return r.run(cmd.Context(), func(ctx context.Context) ([]bench.Criterion, error) {
			o.Run, o.Rate, o.Share = r.Run, r.rate, r.share
			res, err := bench.MeasureIsolation(ctx, o, func(line string) { fmt.Fprintln(env.stderr, line) })
			if err != nil {
				return nil, err
			}
			if r.json {
				return res.Criteria, printJSON(env.stdout, res)
			}
			return res.Criteria, printIsolation(env.stdout, res)
		})
	}
	return cmd
}

// run runs a benchmark in a folder that stays when it fails.
func (r *runFlags) run(ctx context.Context, measure func(context.Context) ([]bench.Criterion, error)) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	done, err := r.prepare()
	if err != nil {
		return err
	}
	criteria, err := measure(ctx)
	if err != nil {
		return err
	}
	if missed := bench.Missed(criteria); r.check && len(missed) > 0 {
		return fmt.Errorf("%d of %d criteria missed: see the logs in %s", len(missed), len(criteria), r.Dir)
	}
	return done()
}

func printIsolation(w io.Writer, res bench.IsolationResult) error {
	fmt.Fprintf(w, "%d destinations, %d shards, %.1f messages/s of %d bytes, window %d MiB\n\n", res.Destinations, res.Shards, res.Rate, res.Size, res.Window>>20)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "round\t\tdeliveries/s\tp50\tp99\tlongest\tlive reads\tall reads\tCPU s per 1,000\tlogs\tmemory\tlaggards\tparked\t\n")
	for i, r := range res.Rounds {
		for _, p := range []struct {
			name string
			bench.Phase
		}{{"baseline", r.Baseline}, {"reshard", r.BaselineReshard}, {"outage", r.Outage}, {"reshard", r.OutageReshard}, {"catching up", r.CatchingUp}} {
			fmt.Fprintf(t, "%d\t%s\t%.0f\t%.0f ms\t%.0f ms\t%.0f ms\t%.2f/s\t%.2f/s\t%.4f\t%d MiB\t%d MiB\t%d\t%d\t\n", i+1, p.name,
				p.Well.PerSecond, p.Well.P50*1000, p.Well.P99*1000, p.Well.Longest*1000, p.LiveReads, p.AllReads, p.CPUSeconds, p.Window>>20, p.RSS>>20, p.Laggards, p.Parked)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w, "\n(deliveries and latencies are those of the destinations without faults)")
	t = tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "round\tback from\tbacklog\tfirst delivery after\tcaught up after\tdeliveries/s\tpossible\tshare\t\n")
	for i, r := range res.Rounds {
		for _, c := range r.Back {
			if !c.Reached {
				fmt.Fprintf(t, "%d\t%s\t%d\t\tnot at all\t\t%.0f\t\t\n", i+1, c.Fault, c.Backlog, c.Possible)
				continue
			}
			fmt.Fprintf(t, "%d\t%s\t%d\t%.1f s\t%.1f s\t%.0f\t%.0f\t%.2f\t\n", i+1, c.Fault, c.Backlog, c.Began, c.Began+c.Seconds, c.Rate, c.Possible, c.Share)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	for _, c := range res.Criteria {
		fmt.Fprintln(w, c)
	}
	return nil
}
