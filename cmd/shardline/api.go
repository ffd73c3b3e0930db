package main

import (
	"context"
	"errors"
	"syscall"

	"go.uber.org/zap"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/cmd/shardline/config"
	"github.com/shardline/shardline/internal/control"
	"github.com/shardline/shardline/metrics"
	"github.com/shardline/shardline/pipeline"
)

// listenAPI takes the address of the API, if there is to be one.
func (a *app) listenAPI(store checkpoint.Store, sources []pipeline.SourceConfig, m *control.APIMetrics) error {
	c := a.config
	if c.Listen.API == "" {
		return nil
	}
	api := control.NewAPI(control.APIConfig{Metrics: m, Logger: a.logger, Token: token(c.Listen.Token), Control: control.New(control.Config{
		Store: store, Format: checkpoint.KeyFormat(c.Leases.KeyFormat), SharedWithKCL: c.Leases.SharedWithKCL, Every: c.Leases.Failover / 10,
		Destinations: func() []string { return destinationNames(a.current()) }, Sources: a.controlled(sources), Local: a.local,
	})})
	listener := metrics.NewListener("api", c.Listen.API, api, a.logger)
	address, err := listener.Listen()
	switch {
	case err == nil:
	case c.Listen.API == config.DefaultAPI && errors.Is(err, syscall.EADDRINUSE):
		a.logger.Warn("there is no API: another process has its default address; set listen.api", zap.Error(err))
		return nil
	default:
		return err
	}
	a.cleanups = append(a.cleanups, listener.Close)
	a.api = listener
	a.logger.Info("API", zap.String("api", "http://"+address+"/api/v1"), zap.Bool("commands", c.Listen.Token.IsSet()))
	return nil
}

// token is what changes need; nil: there is none.
func token(s config.Secret) func() (string, error) {
	if !s.IsSet() {
		return nil
	}
	return s.Value
}

func destinationNames(c *config.Config) []string {
	names := make([]string, len(c.Destinations))
	for i := range c.Destinations {
		names[i] = c.Destinations[i].Name
	}
	return names
}

// controlled are the worker's sources as replays ask for them.
func (a *app) controlled(sources []pipeline.SourceConfig) func(context.Context) ([]control.Source, func(), error) {
	return func(context.Context) ([]control.Source, func(), error) {
		c := a.current()
		var all []control.Source
		for _, s := range sources {
			one := control.Source{Name: s.Source.Name(), Stream: s.Source}
			for i := range c.Sources {
				if c.Sources[i].Name == one.Name {
					one.Destinations = c.Sources[i].SubscriberNames(c)
				}
			}
			all = append(all, one)
		}
		return all, func() {}, nil
	}
}

// local is what this worker knows of its destinations.
func (a *app) local() map[string]control.Local {
	all := make(map[string]control.Local)
	for _, d := range a.all() {
		s := d.State()
		all[s.Name] = control.Local{Held: s.Held, Circuit: string(s.Circuit), Reason: s.Reason, Since: s.Since,
			InFlight: s.InFlight, WaitingKeys: s.Waiting, OldestUnsettledSeconds: s.Oldest.Seconds()}
	}
	return all
}
