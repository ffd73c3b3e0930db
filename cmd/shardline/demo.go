package main

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/shardline/shardline/internal/demo"
)

func newDemoCommand(env environment) *cobra.Command {
	c := demo.Config{Hotels: 200, Rate: 250, Feed: 20 * time.Second, Settle: time.Minute, Seed: 1}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run the whole job on an embedded local AWS and check it",
		Long: `Starts a local AWS with three accounts, ten HTTP receivers (one slow, one down
for a while, one that answers 200 with <Errors> to some messages) and three
workers, each a process of the run command. Feeds OpenTravel messages, kills a
worker, splits a shard, and compares what Kinesis acknowledged with what the
receivers logged, byte for byte. Exits 1 when anything is lost or out of order.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if c.Hotels < 1 || c.Rate < 1 || c.Feed < time.Second {
				return fmt.Errorf("--hotels and --rate must be at least 1, --feed at least 1s")
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			if c.Executable, err = os.Executable(); err != nil {
				return err
			}
			if c.Dir == "" {
				c.Dir, err = os.MkdirTemp("", "shardline-demo-")
			} else if err = os.MkdirAll(c.Dir, 0o755); err == nil {
				c.Dir, err = filepath.Abs(c.Dir)
			}
			if err != nil {
				return err
			}
			c.Out = env.stdout
			ok, err := demo.Run(ctx, c)
			if err == nil && !ok {
				return errReported
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.Messages, "messages", "", "folder with your own messages (.xml) instead of generated ones")
	f.IntVar(&c.Hotels, "hotels", c.Hotels, "hotels, for generated messages")
	f.IntVar(&c.Rate, "rate", c.Rate, "messages per second")
	f.BoolVar(&c.Aggregate, "aggregate", false, "aggregate messages of one hotel that wait together; a high rate on few hotels makes many of them")
	f.DurationVar(&c.Feed, "feed", c.Feed, "how long messages are produced")
	f.Uint64Var(&c.Seed, "seed", c.Seed, "seed of the generated messages")
	f.StringVar(&c.Dir, "dir", "", "folder for configuration, logs and dead letters (default: a new temporary one)")
	f.BoolVar(&c.Keep, "keep", false, "leave everything running until Ctrl-C, and print the addresses")
	return cmd
}
