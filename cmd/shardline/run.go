package main

import (
	"context"
	"fmt"
	"os/signal"
	"syscall"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/shardline/shardline/cmd/shardline/config"
)

func newRunCommand(env environment) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "run --config FILE",
		Short: "Read the sources and deliver to the destinations, until SIGTERM",
		Long: `Reads the sources of the configuration and delivers to its destinations.

SIGTERM or SIGINT: stops reading, waits for what is in flight up to
pipeline.drain_timeout, saves, releases its leases and exits 0.
A second signal ends the process at once.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadConfig(env, file)
			if err != nil {
				return err
			}
			return runDaemon(cmd.Context(), cfg, env)
		},
	}
	configFlag(cmd, &file)
	return cmd
}

// runDaemon runs until the first signal, then drains; a second one ends the
// process at once.
func runDaemon(ctx context.Context, cfg *config.Config, env environment) error {
	logger, err := newLogger(cfg.Log, env.stderr)
	if err != nil {
		return err
	}
	defer logger.Sync() //nolint:errcheck // standard error cannot be synced
	a, err := newApp(ctx, cfg, env, logger)
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
	err = a.Run(ctx)
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
