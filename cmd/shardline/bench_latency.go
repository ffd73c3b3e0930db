package main

import (
	"fmt"
	"io"
	"maps"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/shardline/shardline/internal/bench"
)

func newBenchLatencyCommand(env environment) *cobra.Command {
	o := bench.LatencyOptions{
		Options: bench.Options{Load: bench.Load{Destinations: 100, Size: 4096, Concurrency: 2, Keys: 1000, Shards: 4}, Rounds: 5},
		Slow:    []time.Duration{10 * time.Millisecond, 100 * time.Millisecond}, SlowRate: 4000,
	}
	seconds, asJSON, nginx, secure := 20, false, false, false
	cmd := &cobra.Command{
		Use:   "latency",
		Short: "How long deliveries take, and what slow receivers leave of the throughput",
		Long: `Finds the maximum of a whole Shardline worker, and measures at a tenth of it the
time from reading a record to the answer of each of its deliveries, in turns
with bare clients (fasthttp, and a loop over sockets) that are given a body for
every destination at the same pace, over as many connections.

Then delivers to receivers that take their time before they answer. The limit
is connections / time, with the time that the receivers themselves measure; the
order of each key is checked by the receiver.

Prints medians over the rounds.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := atLeastOne(o.Load, seconds, o.Rounds, int(o.SlowRate)); err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			o.Measured = time.Duration(seconds) * time.Second
			sink, err := startSink(ctx, nginx, secure)
			if err != nil {
				return err
			}
			defer sink.stop()
			o.Sink, o.Roots = strings.TrimSuffix(sink.url, "/"), sink.roots
			if nginx {
				o.Slow = nil // it does not wait
			}
			res, err := bench.MeasureLatency(ctx, o, func(line string) { fmt.Fprintln(env.stderr, line) })
			if err != nil {
				return err
			}
			return printLatency(env.stdout, res, asJSON)
		},
	}
	f := cmd.Flags()
	loadFlags(cmd, &o.Load, "keys per shard")
	f.IntVar(&seconds, "seconds", seconds, "seconds measured per client and kind of receiver, over all rounds")
	f.IntVar(&o.Rounds, "rounds", o.Rounds, "how often the clients take turns")
	f.Float64Var(&o.SlowRate, "slow-rate", o.SlowRate, "deliveries/s that slow receivers have connections for")
	f.DurationSliceVar(&o.Slow, "slow", o.Slow, "how long slow receivers take")
	f.BoolVar(&nginx, "nginx", false, "let nginx, found on the PATH, be the sink; without slow receivers")
	f.BoolVar(&secure, "tls", false, "deliver over TLS")
	f.BoolVar(&asJSON, "json", false, "print the result as JSON")
	return cmd
}

func printLatency(w io.Writer, res bench.LatencyResult, asJSON bool) error {
	if asJSON {
		return printJSON(w, res)
	}
	fmt.Fprintf(w, "maximum %.0f deliveries/s; latency at %.0f/s\n", res.Maximum, res.Rate)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "client\tp50\tp99\t\n")
	for _, name := range slices.Sorted(maps.Keys(res.Clients)) {
		l := res.Clients[name]
		fmt.Fprintf(t, "%s\t%.2f ms\t%.2f ms\t\n", name, l.P50*1000, l.P99*1000)
	}
	if err := t.Flush(); err != nil || len(res.Slow) == 0 {
		return err
	}
	t = tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "receivers take\tconnections\tlimit\tdeliveries/s\tof the limit\tout of order\t\n")
	for _, s := range res.Slow {
		fmt.Fprintf(t, "%.1f ms\t%d\t%.0f/s\t%.0f\t%.3f\t%d\t\n", s.Takes*1000, s.Connections, s.Limit, s.Rate, s.Share, s.Disordered)
	}
	return t.Flush()
}
