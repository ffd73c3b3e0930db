package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/shardline/shardline/internal/bench"
)

func newBenchEngineCommand(env environment) *cobra.Command {
	o := bench.EngineOptions{Destinations: []int{1, 10, 100, 1000}, Keys: []int{1, 1000, 100_000}, Shards: 4, Size: 4096, Concurrency: 2, Rounds: 3, Slice: time.Second, IdleKeys: 100_000}
	memory := bench.Load{Destinations: 100, Shards: 78, Keys: 1000}
	asJSON, check := false, false
	cmd := &cobra.Command{
		Use:   "engine",
		Short: "The cost of a delivery without HTTP, and the memory of lanes",
		Long: `Runs a whole worker in this process on a stream in memory, with destinations that
take every record at once: what is left is the way through shard logs, cursors
and lanes. Prints for every number of destinations and keys the deliveries/s,
and of each delivery the CPU time, the allocations, and how long goroutines
waited for locks; then what a lane leaves when it is idle again, and the most
memory of a process with 100 destinations, 78 shards of 1,000 keys each, and the
default window, as fast as it goes, also with a destination that takes nothing.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			numbers := append(slices.Concat(o.Destinations, o.Keys), o.Shards, o.Size, o.Concurrency, o.Rounds, int(o.Slice/time.Millisecond),
				memory.Destinations-1, memory.Shards, memory.Keys)
			if len(o.Destinations) == 0 || len(o.Keys) == 0 || slices.Min(numbers) < 1 {
				return errors.New("every number must be at least 1, --slice 1ms, --memory-destinations 2")
			}
			memory.Size, memory.Concurrency = o.Size, o.Concurrency
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			res, err := bench.MeasureEngine(ctx, o, func(line string) { fmt.Fprintln(env.stderr, line) })
			if err != nil {
				return err
			}
			for _, stalled := range []int{0, 1} {
				m, err := engineMemory(ctx, memory, stalled, 10*o.Slice)
				if err != nil {
					return err
				}
				res.Memory = append(res.Memory, m)
			}
			res.Judge()
			if err := printEngine(env.stdout, res, asJSON); err != nil {
				return err
			}
			if missed := bench.Missed(res.Criteria); check && len(missed) > 0 {
				return fmt.Errorf("%d of %d criteria missed", len(missed), len(res.Criteria))
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.IntSliceVar(&o.Destinations, "destinations", o.Destinations, "numbers of destinations")
	f.IntSliceVar(&o.Keys, "keys", o.Keys, "numbers of keys per shard")
	f.IntVar(&o.Shards, "shards", o.Shards, "shards of the stream")
	f.IntVar(&o.Size, "size", o.Size, "bytes of a message")
	f.IntVar(&o.Concurrency, "concurrency", o.Concurrency, "attempts in flight per destination")
	f.IntVar(&o.Rounds, "rounds", o.Rounds, "how often everything is measured")
	f.DurationVar(&o.Slice, "slice", o.Slice, "how long each is measured in a round; memory ten times as long")
	f.IntVar(&memory.Destinations, "memory-destinations", memory.Destinations, "destinations of the process whose memory is measured")
	f.IntVar(&memory.Shards, "memory-shards", memory.Shards, "its shards")
	f.IntVar(&memory.Keys, "memory-keys", memory.Keys, "its keys per shard")
	f.BoolVar(&check, "check", false, "end with an error when a criterion is missed")
	f.BoolVar(&asJSON, "json", false, "print the result as JSON")
	return cmd
}

// engineMemory measures in a process of its own: this one's memory tells what
// it has done before.
func engineMemory(ctx context.Context, l bench.Load, stalled int, d time.Duration) (m bench.EngineMemory, err error) {
	self, err := os.Executable()
	if err != nil {
		return m, err
	}
	cmd := exec.CommandContext(ctx, self, "bench", "engine-memory", "--destinations", strconv.Itoa(l.Destinations), "--shards", strconv.Itoa(l.Shards),
		"--keys", strconv.Itoa(l.Keys), "--size", strconv.Itoa(l.Size), "--concurrency", strconv.Itoa(l.Concurrency), "--stalled", strconv.Itoa(stalled), "--for", d.String())
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return m, fmt.Errorf("measure memory: %w", err)
	}
	if err := json.Unmarshal(out, &m); err != nil {
		return m, fmt.Errorf("measure memory: %w", err)
	}
	return m, nil
}

// newBenchEngineMemoryCommand is the process of which engineMemory measures the
// memory.
func newBenchEngineMemoryCommand(env environment) *cobra.Command {
	l := bench.Load{}
	stalled, d := 0, time.Second
	cmd := &cobra.Command{
		Use:    "engine-memory",
		Short:  "Deliver to nowhere, and say how much memory that took",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := bench.MeasureEngineMemory(cmd.Context(), l, stalled, d)
			if err != nil {
				return err
			}
			return printJSON(env.stdout, m)
		},
	}
	loadFlags(cmd, &l, "keys per shard")
	cmd.Flags().IntVar(&stalled, "stalled", stalled, "destinations that take nothing")
	cmd.Flags().DurationVar(&d, "for", d, "how long")
	return cmd
}

func printEngine(w io.Writer, res bench.EngineResult, asJSON bool) error {
	if asJSON {
		return printJSON(w, res)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "destinations\tkeys per shard\tdeliveries/s\tCPU µs\tallocations\tlock wait, of CPU\t\n")
	for _, c := range res.Cells {
		fmt.Fprintf(t, "%d\t%d\t%.0f\t%.3f\t%.3f\t%.3f\t\n", c.Destinations, c.Keys, c.PerSecond, c.CPU, c.Allocations, c.Waits)
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
