package main

import (
	"context"
	"crypto/tls"
	"errors"
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
	cmd.AddCommand(newBenchFanoutCommand(env), newBenchLatencyCommand(env), newBenchLeasesCommand(env),
		newBenchIsolationCommand(env), newBenchEngineCommand(env), newBenchEngineMemoryCommand(env),
		newBenchSoakCommand(env), newBenchSinkCommand(env))
	return cmd
}

// loadFlags are the flags of every benchmark that delivers.
func loadFlags(cmd *cobra.Command, l *bench.Load, keys string) {
	f := cmd.Flags()
	f.IntVar(&l.Destinations, "destinations", l.Destinations, "destinations; every record goes to each")
	f.IntVar(&l.Size, "size", l.Size, "bytes of a message")
	f.IntVar(&l.Concurrency, "concurrency", l.Concurrency, "connections per destination, of every client")
	f.IntVar(&l.Keys, "keys", l.Keys, keys)
	f.IntVar(&l.Shards, "shards", l.Shards, "shards of the stream")
}

func atLeastOne(l bench.Load, others ...int) error {
	if min(l.Destinations, l.Size, l.Concurrency, l.Keys, l.Shards, slices.Min(others)) < 1 {
		return errors.New("every number must be at least 1")
	}
	return nil
}

func newBenchFanoutCommand(env environment) *cobra.Command {
	o := bench.Options{Load: bench.Load{Destinations: 100, Size: 4096, Concurrency: 2, Keys: 1000, Shards: 4}, Rounds: 5}
	seconds, asJSON, nginx, secure := 10, false, false, false
	cmd := &cobra.Command{
		Use:   "fanout",
		Short: "Deliveries per second and CPU beside bare clients",
		Long: `Delivers to one sink, in turns, over the same number of connections: bare
clients of net/http and fasthttp; a bare loop over sockets (a goroutine per
connection, one write per request, the least reading of the answer); and a whole
Shardline worker (reader, shard logs, cursors, lanes, retry, metrics, positions;
order kept per key) from a stream in this process. The bare clients repeat one
request over each connection, with no time-outs, keys or records.

Prints the median over the rounds of deliveries/s and CPU seconds per 1,000
deliveries of each client, and the medians of the rounds' ratios. CPU is that of
the client's process alone: the sink is a minimal answerer, or nginx, in a
process of its own, unless --sink names another.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := atLeastOne(o.Load, seconds, o.Rounds); err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			o.Measured = time.Duration(seconds) * time.Second
			own := o.Sink == "" && !nginx
			if o.Sink == "" {
				sink, err := startSink(ctx, nginx, secure)
				if err != nil {
					return err
				}
				defer sink.stop()
				o.Sink, o.Roots = sink.url, sink.roots
			}
			o.Sink = strings.TrimSuffix(o.Sink, "/")
			res, err := bench.Fanout(ctx, o, own, func(round int, client string, r bench.Rate) {
				fmt.Fprintf(env.stderr, "round %d  %-10s %8.0f deliveries/s  %.4f CPU s per 1,000\n", round+1, client, r.DeliveriesPerSecond, r.CPUSecondsPer1000)
			})
			if err != nil {
				return err
			}
			return printFanout(env.stdout, res, asJSON)
		},
	}
	f := cmd.Flags()
	loadFlags(cmd, &o.Load, "keys per shard")
	f.IntVar(&seconds, "seconds", seconds, "seconds measured per client, over all rounds")
	f.IntVar(&o.Rounds, "rounds", o.Rounds, "how often the clients take turns")
	f.StringVar(&o.Sink, "sink", "", "base URL of another sink that answers 200")
	f.StringVar(&o.Roots, "roots", "", "PEM file of that sink's certificate")
	f.BoolVar(&nginx, "nginx", false, "let nginx, found on the PATH, be the sink")
	f.BoolVar(&secure, "tls", false, "deliver over TLS")
	f.StringSliceVar(&o.Only, "only", nil, "run only these clients beside Shardline: net_http, fasthttp, socket")
	f.BoolVar(&asJSON, "json", false, "print the result as JSON")
	return cmd
}

func printFanout(w io.Writer, res bench.Result, asJSON bool) error {
	if asJSON {
		return printJSON(w, res)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "client\tdeliveries/s\tCPU s per 1,000\tShardline's rate\tShardline's CPU\t\n")
	for _, name := range slices.Sorted(maps.Keys(res.Clients)) {
		rate, cpu := "", ""
		if r, ok := res.Ratio[name]; ok {
			rate, cpu = fmt.Sprintf("%.2f of it", r), fmt.Sprintf("%.2f of it", res.CPURatio[name])
		}
		c := res.Clients[name]
		fmt.Fprintf(t, "%s\t%.0f\t%.4f\t%s\t%s\t\n", name, c.DeliveriesPerSecond, c.CPUSecondsPer1000, rate, cpu)
	}
	if res.Sink != nil {
		fmt.Fprintf(t, "(the sink)\t\t%.4f\t\t\t\n", res.Sink.CPUSecondsPer1000)
	}
	return t.Flush()
}

// newBenchSinkCommand is the sink's own process.
func newBenchSinkCommand(env environment) *cobra.Command {
	certificate, key := "", ""
	cmd := &cobra.Command{
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
			scheme := "http"
			if certificate != "" {
				pair, err := tls.LoadX509KeyPair(certificate, key)
				if err != nil {
					return err
				}
				scheme, l = "https", tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{pair}})
			}
			fmt.Fprintf(env.stdout, "%s://%s\n", scheme, l.Addr())
			return bench.ServeSink(ctx, l)
		},
	}
	cmd.Flags().StringVar(&certificate, "certificate", "", "PEM file: speak TLS")
	cmd.Flags().StringVar(&key, "key", "", "PEM file of its key")
	return cmd
}

// benchSink is a sink in a process of its own.
type benchSink struct {
	url   string
	roots string // PEM file of its certificate; empty: it speaks no TLS
	stop  func()
}

// startSink starts this program again as a sink, or nginx.
func startSink(ctx context.Context, nginx, secure bool) (*benchSink, error) {
	dir, err := os.MkdirTemp("", "shardline-bench-")
	if err != nil {
		return nil, err
	}
	s := &benchSink{}
	remove := func() { os.RemoveAll(dir) } //nolint:errcheck // a temporary folder
	key := ""
	if secure {
		if s.roots, key, err = bench.Certificate(dir); err != nil {
			remove()
			return nil, err
		}
	}
	var stop func()
	if nginx {
		var binary string
		if binary, err = exec.LookPath("nginx"); err == nil {
			s.url, stop, err = bench.StartNginx(ctx, binary, dir, s.roots, key)
		}
	} else {
		s.url, stop, err = startOwnSink(ctx, s.roots, key)
	}
	if err != nil {
		remove()
		return nil, err
	}
	s.stop = func() { stop(); remove() }
	return s, nil
}

func startOwnSink(ctx context.Context, certificate, key string) (url string, stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	cmd := exec.CommandContext(ctx, self, "bench", "sink", "--certificate", certificate, "--key", key)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, fmt.Errorf("start the sink: %w", err)
	}
	stop = func() {
		cmd.Process.Signal(syscall.SIGTERM) //nolint:errcheck // it may have ended
		cmd.Wait()                          //nolint:errcheck // ended by the signal
	}
	if _, err := fmt.Fscanln(out, &url); err != nil {
		stop()
		return "", nil, fmt.Errorf("the sink did not say where it listens: %w", err)
	}
	return url, stop, nil
}
