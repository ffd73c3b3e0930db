package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/shardline/shardline/cmd/shardline/config"
	"github.com/shardline/shardline/pipeline/deliver"
)

// reloadMetrics are those of changed configurations.
type reloadMetrics struct {
	reloads *prometheus.CounterVec
	refused prometheus.Gauge
}

// The outcomes of a reload.
const (
	reloadApplied   = "applied"
	reloadUnchanged = "unchanged"
	reloadRefused   = "refused"
)

func newReloadMetrics(reg prometheus.Registerer) *reloadMetrics {
	m := &reloadMetrics{
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "shardline_config_reloads_total",
			Help: "Times that the configuration was read again, by what came of it."}, []string{"outcome"}),
		refused: prometheus.NewGauge(prometheus.GaugeOpts{Name: "shardline_config_refused",
			Help: "1 while the file that was read last is refused and an older configuration is in force, else 0."}),
	}
	for _, outcome := range []string{reloadApplied, reloadUnchanged, reloadRefused} {
		m.reloads.WithLabelValues(outcome)
	}
	reg.MustRegister(m.reloads, m.refused)
	return m
}

// reloads applies the configuration anew at each signal, until ctx ends.
func (a *app) reloads(ctx context.Context, signals <-chan os.Signal, load func() (*config.Config, error)) {
	for {
		select {
		case <-signals:
		case <-ctx.Done():
			return
		}
		notify(a.logger, reloading())
		outcome := a.reload(ctx, load)
		a.metrics.reloads.WithLabelValues(outcome).Inc()
		a.metrics.refused.Set(map[string]float64{reloadRefused: 1}[outcome])
		notify(a.logger, daemon.SdNotifyReady+"\nSTATUS=configuration "+outcome)
	}
}

// reloading is what systemd is told of a reload that begins.
func reloading() string {
	return daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec()
}

// reload reads the configuration and applies it, all of it or nothing.
func (a *app) reload(ctx context.Context, load func() (*config.Config, error)) string {
	const refused = "configuration not applied: the one before stays in force"
	next, err := load()
	if err != nil {
		fields := []zap.Field{zap.Error(err)}
		var problems config.Problems
		if errors.As(err, &problems) {
			lines := make([]string, len(problems))
			for i, p := range problems {
				lines[i] = p.String()
			}
			fields = []zap.Field{zap.Strings("problems", lines)}
		}
		a.logger.Error(refused, fields...)
		return reloadRefused
	}
	changes := config.Compare(a.current(), next)
	if len(changes) == 0 {
		a.logger.Info("configuration unchanged")
		return reloadUnchanged
	}
	if restart := needRestart(next, changes); len(restart) > 0 {
		a.logger.Error(refused, zap.String("error", "these changes need a restart: undo them, or restart the workers one after another"),
			zap.Strings("restart", restart))
		return reloadRefused
	}
	if err := a.apply(ctx, next, changes); err != nil {
		a.logger.Error(refused, zap.Error(err))
		return reloadRefused
	}
	a.logger.Info("configuration applied", zap.Strings("changes", placesOf(changes)))
	return reloadApplied
}

// placesOf are changes as the log has them.
func placesOf(changes []config.Change) []string {
	places := make([]string, len(changes))
	for i, c := range changes {
		places[i] = c.String()
	}
	return places
}

// needRestart are the changes that a running worker cannot make.
func needRestart(next *config.Config, changes []config.Change) (restart []string) {
	for _, c := range changes {
		whole := c.Field == ""
		switch {
		case c.Section == "" && c.Field == "log.level":
		case c.Section == "destinations":
		case c.Section == "sources" && strings.HasPrefix(c.Field, "subscribers[") && !next.Leases.SharedWithKCL:
		case c.Section == "dead_letter_queues" && whole: // one that is removed is used by nobody
		default:
			restart = append(restart, c.String())
		}
	}
	return restart
}

// apply prepares everything that can fail, then applies what cannot.
func (a *app) apply(ctx context.Context, next *config.Config, changes []config.Change) (err error) {
	var undo []func()
	defer func() {
		if err != nil {
			for _, u := range slices.Backward(undo) {
				u()
			}
		}
	}()
	bindSecrets(next, a.secrets)
	undo = append(undo, func() { a.secrets.Keep(secretIDs(a.current())) })
	var tokens loads
	if err := loadSecrets(ctx, a.secrets, &tokens); err != nil {
		return err
	}
	level, err := zapcore.ParseLevel(next.Log.Level)
	if err != nil {
		return fmt.Errorf("log.level: %w", err)
	}
	shared := a.shared
	shared.config, shared.loads = next, &tokens
	if shared.letters, err = a.openQueues(next); err != nil {
		return err
	}
	var prepared []*deliver.Next
	var fresh []*deliver.Destination
	lives := map[string]func(){}
	for _, name := range changedDestinations(changes) {
		c, discard, err := shared.made(next.Destination(name))
		if err != nil {
			return err
		}
		undo = append(undo, discard)
		lives[name] = discard
		if d := a.destination(name); d != nil {
			n, err := d.Prepare(c)
			if err != nil {
				return err
			}
			undo = append(undo, n.Discard)
			prepared = append(prepared, n)
			continue
		}
		d, err := deliver.New(c)
		if err != nil {
			return err
		}
		undo = append(undo, func() { d.Close() }) //nolint:errcheck // it has done nothing
		fresh = append(fresh, d)
	}
	if err := loadSecrets(ctx, a.secrets, &tokens); err != nil {
		return err
	}

	a.level.SetLevel(level)
	for _, n := range prepared {
		n.Apply()
	}
	for name, discard := range lives {
		if end := a.lives[name]; end != nil {
			end() // what is in flight ends long before its credentials do
		}
		a.lives[name] = discard
	}
	a.shared = shared
	a.mu.Lock()
	a.config, a.destinations = next, slices.Concat(a.destinations, fresh)
	a.mu.Unlock()
	a.secrets.Keep(secretIDs(next))
	a.resubscribe(ctx, next, changes)
	return nil
}

// resubscribe gives the sources their subscribers, and closes the destinations
// that are removed when nobody uses them any more.
func (a *app) resubscribe(ctx context.Context, c *config.Config, changes []config.Change) {
	for i := range c.Sources {
		s := &c.Sources[i]
		subscribers := s.SubscriberNames(c)
		if !slices.ContainsFunc(changes, func(c config.Change) bool {
			return c.Section == "sources" && c.Name == s.Name ||
				c.Section == "destinations" && strings.HasPrefix(c.Field, "initial_position") && slices.Contains(subscribers, c.Name)
		}) {
			continue
		}
		if err := a.worker.Reconfigure(ctx, s.Name, a.subscriptions(c, s)); err != nil {
			a.logger.Warn("removed destinations end with the worker", zap.String("source", s.Name), zap.Error(err))
			return
		}
	}
	for _, change := range changes {
		if change.Section != "destinations" || change.Kind != config.Removed || change.Field != "" {
			continue
		}
		d := a.destination(change.Name)
		a.mu.Lock()
		a.destinations = slices.DeleteFunc(slices.Clone(a.destinations), func(x *deliver.Destination) bool { return x == d })
		a.mu.Unlock()
		if err := d.Close(); err != nil {
			a.logger.Warn("destination not closed", zap.String("destination", change.Name), zap.Error(err))
		}
		a.lives[change.Name]()
		delete(a.lives, change.Name)
	}
}

// changedDestinations are the names of those that are new or work otherwise, once
// each.
func changedDestinations(changes []config.Change) (names []string) {
	for _, c := range changes {
		whole := c.Field == ""
		if c.Section == "destinations" && !(whole && c.Kind == config.Removed) && !slices.Contains(names, c.Name) {
			names = append(names, c.Name)
		}
	}
	return names
}
