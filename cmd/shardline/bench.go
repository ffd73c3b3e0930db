package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/shardline/shardline/internal/bench"
)

func newBenchCommand(env environment) *cobra.Command {
	cmd := &cobra.Command{Use: "bench", Short: "Measure Shardline beside others, both sides in one run"}
	cmd.AddCommand(newBenchFanoutCommand(env), newBenchLeasesCommand(env), newBenchSinkCommand(env))
	return cmd
}

func newBenchFanoutCommand(env environment) *cobra.Command {
	o := bench.Options{Destinations: 100, Size: 4096, Concurrency: 2, Keys: 1000, Shards: 4, Rounds: 5}
	seconds, asJSON := 10, false
	cmd := &cobra.Command{
		Use:   "fanout",
		Short: "Deliveries per second and CPU beside a bare net/http client",
		Long: `Delivers to one sink, in turns: a bare net/http client with the same
connections, which drains the answers, and a whole Shardline worker (reader,
shard logs, lanes, positions; order kept) from a stream in this process.

Prints the median over the rounds of deliveries/s and CPU seconds per 1,000
deliveries of each client, and the median of the rounds' ratios. The sink is a
minimal answerer in a process of its own, unless --sink names another.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Destinations < 1 || o.Size < 1 || seconds < 1 || o.Concurrency < 1 || o.Keys < 1 || o.Shards < 1 || o.Rounds < 1 {
				return fmt.Errorf("every number must be at least 1")
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			o.Measured = time.Duration(seconds) * time.Second
			var own *sinkProcess
			if o.Sink == "" {
				var err error
				if own, err = startSink(ctx); err != nil {
					return err
				}
				defer own.stop()
				o.Sink = own.url
			}
			o.Sink = strings.TrimSuffix(o.Sink, "/")
			res, err := bench.Fanout(ctx, o, own != nil, func(round int, client string, r bench.Rate) {
				fmt.Fprintf(env.stderr, "round %d  %-10s %8.0f deliveries/s  %.4f CPU s per 1,000\n", round+1, client, r.DeliveriesPerSecond, r.CPUSecondsPer1000)
			})
			if err != nil {
				return err
			}
			return printFanout(env.stdout, res, asJSON)
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.Destinations, "destinations", o.Destinations, "destinations; every record goes to each")
	f.IntVar(&o.Size, "size", o.Size, "bytes of a message")
	f.IntVar(&seconds, "seconds", seconds, "seconds measured per client, over all rounds")
	f.IntVar(&o.Concurrency, "concurrency", o.Concurrency, "connections per destination, of every client")
	f.IntVar(&o.Keys, "keys", o.Keys, "keys per shard")
	f.IntVar(&o.Shards, "shards", o.Shards, "shards of the stream")
	f.IntVar(&o.Rounds, "rounds", o.Rounds, "how often the clients take turns")
	f.StringVar(&o.Sink, "sink", "", "base URL of another sink, such as nginx")
	f.BoolVar(&asJSON, "json", false, "print the result as JSON")
	return cmd
}

func printFanout(w io.Writer, res bench.Result, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(res)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "client\tdeliveries/s\tCPU s per 1,000\tShardline is\t\n")
	for _, name := range slices.Sorted(maps.Keys(res.Clients)) {
		ratio := ""
		if r, ok := res.Ratio[name]; ok {
			ratio = fmt.Sprintf("%.2f of it", r)
		}
		c := res.Clients[name]
		fmt.Fprintf(t, "%s\t%.0f\t%.4f\t%s\t\n", name, c.DeliveriesPerSecond, c.CPUSecondsPer1000, ratio)
	}
	if res.Sink != nil {
		fmt.Fprintf(t, "(the sink)\t\t%.4f\t\t\n", res.Sink.CPUSecondsPer1000)
	}
	return t.Flush()
}

// newBenchSinkCommand is the sink's own process.
func newBenchSinkCommand(env environment) *cobra.Command {
	return &cobra.Command{
		Use:    "sink",
		Short:  "Answer and count deliveries on a loopback port",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			fmt.Fprintf(env.stdout, "http://%s\n", l.Addr())
			return bench.ServeSink(ctx, l)
		},
	}
}

// sinkProcess is this program again, as a sink.
type sinkProcess struct {
	url string
	cmd *exec.Cmd
}

func startSink(ctx context.Context) (*sinkProcess, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &sinkProcess{cmd: exec.CommandContext(ctx, self, "bench", "sink")}
	s.cmd.Stderr = os.Stderr
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the sink: %w", err)
	}
	if _, err := fmt.Fscanln(out, &s.url); err != nil {
		s.stop()
		return nil, fmt.Errorf("the sink did not say where it listens: %w", err)
	}
	return s, nil
}

func (s *sinkProcess) stop() {
	s.cmd.Process.Signal(syscall.SIGTERM) //nolint:errcheck // it may have ended
	s.cmd.Wait()                          //nolint:errcheck // ended by the signal
}
