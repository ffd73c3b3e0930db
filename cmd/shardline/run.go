package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/shardline/shardline/cmd/shardline/config"
)

func newRunCommand(env environment) *cobra.Command {
	var file string
	var dry bool
	cmd := &cobra.Command{
		Use:   "run --config FILE",
		Short: "Read the sources and deliver to the destinations, until SIGTERM",
		Long: `Reads the sources of the configuration and delivers to its destinations.

SIGTERM or SIGINT: stops reading, waits for what is in flight up to
pipeline.drain_timeout, saves, releases its leases and exits 0.
A second signal ends the process at once.

SIGHUP: reads the configuration again and applies it, all of it or nothing: the
log says what changed, what is wrong, or what needs a restart.

With --dry-run everything is read and keyed, and logged instead of delivered or
dead-lettered: a line for each record, without its data. Leases are in memory, so
reading begins at each source's initial_position whatever the lease table says,
and takes its share of the reads of real workers; no table is touched, no stream
consumer registered, and nothing listens but for metrics, on a port of the
kernel's choice.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadConfig(env, file)
			if err != nil {
				return err
			}
			if dry {
				cfg, env.dry = newDryRun(cfg)
			}
			return runDaemon(cmd.Context(), cfg, env, func() (*config.Config, error) {
				if dry {
					return nil, errors.New("a dry run ends as it began: start another one")
				}
				if file == "-" {
					return nil, errors.New("it came from standard input, which cannot be read again: restart the worker")
				}
				return config.Load(file, env.getenv, nil)
			})
		},
	}
	configFlag(cmd, &file)
	cmd.Flags().BoolVar(&dry, "dry-run", false, "read and key, and log what would be delivered: nothing is posted, leased or changed")
	return cmd
}

// runDaemon runs until the first signal, then drains; a second one ends the
// process at once. At SIGHUP load reads the configuration again.
func runDaemon(ctx context.Context, cfg *config.Config, env environment, load func() (*config.Config, error)) error {
	hangups := make(chan os.Signal, 1) // those that come during a reload are one more
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	level, err := zap.ParseAtomicLevel(cfg.Log.Level)
	if err != nil {
		return fmt.Errorf("log.level: %w", err)
	}
	logger := newLoggerAt(level, cfg.Log.Format, env.stderr)
	defer logger.Sync() //nolint:errcheck // standard error cannot be synced
	if env.dry != nil {
		env.dry.logger = logger
	}
	a, err := newApp(ctx, cfg, env, level, logger)
	if err != nil {
		return err
	}

	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	// After the first signal the default action is back: a second one kills.
	quiet := context.AfterFunc(ctx, func() {
		stop()
		notify(logger, daemon.SdNotifyStopping)
		logger.Info("stopping: no more reading; draining, saving and releasing leases",
			zap.Duration("drain_timeout", cfg.Pipeline.DrainTimeout))
	})
	err = a.Run(ctx, hangups, load)
	quiet() // it ended by itself: the function above must not speak of a stop
	if err != nil {
		return fmt.Errorf("run: %w", err)
	}
	logger.Info("stopped")
	return nil
}

// notify tells systemd, when it is listening.
func notify(logger *zap.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		logger.Warn("systemd was not told", zap.String("state", state), zap.Error(err))
	}
}
