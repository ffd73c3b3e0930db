package main

import (
	"context"

	"go.uber.org/zap"

	"github.com/shardline/shardline/cmd/shardline/config"
	"github.com/shardline/shardline/pipeline/deliver"
)

// dryRunName is the one subscriber of a dry run.
const dryRunName = "dry-run"

// dryRun logs what a worker would deliver or dead-letter, instead of doing it.
// It stands in the place of transports and dead letter queues.
type dryRun struct {
	destinations map[string][]string // by source
	logger       *zap.Logger
}

// newDryRun makes of a configuration one that reads and changes nothing: leases
// in memory, no stream consumer, one subscriber for the destinations of each
// source, and no address that a real worker may have.
func newDryRun(c *config.Config) (*config.Config, *dryRun) {
	d := &dryRun{destinations: make(map[string][]string)}
	dry := *c
	dry.Leases.Store, dry.Leases.SharedWithKCL = config.StoreMemory, false
	dry.Listen = config.Listen{Metrics: "127.0.0.1:0"}
	if dry.Log.Level != "debug" {
		dry.Log.Level = "info"
	}
	dry.Sources = append([]config.Source(nil), c.Sources...)
	for i := range dry.Sources {
		s := &dry.Sources[i]
		d.destinations[s.Name] = s.SubscriberNames(c)
		s.Read, s.ConsumerName = config.ReadPolling, ""
		s.Subscribers = config.Subscribers{Names: []string{dryRunName}}
	}
	dry.Destinations = []config.Destination{{Name: dryRunName, Type: config.TypeHTTP, Delivery: config.Delivery{
		OnExhausted: config.OnExhaustedHoldDestination, Concurrency: 1}}}
	return &dry, d
}

// Send implements deliver.Transport.
func (d *dryRun) Send(_ context.Context, m *deliver.Message) deliver.Answer {
	r := m.Record
	fields := []zap.Field{zap.String("source", m.Shard.Source), zap.String("shard", m.Shard.Shard), zap.Stringer("sequence_number", r.Position),
		zap.String("key", r.Key), zap.String("type", r.Type), zap.Int("bytes", len(r.Data)), zap.Time("arrival", r.Arrival),
		zap.Strings("destinations", d.destinations[m.Shard.Source])}
	if r.Fallback != "" {
		fields = append(fields, zap.String("partition_key_because", r.Fallback))
	}
	d.logger.Info("would deliver", fields...)
	return deliver.Answer{Reason: deliver.ReasonDelivered}
}

// Put implements deliver.DeadLetters.
func (d *dryRun) Put(_ context.Context, l deliver.DeadLetter) error {
	// Without l.Detail: it may quote the data.
	d.logger.Warn("would dead-letter", zap.String("source", l.Source), zap.String("shard", l.Shard), zap.String("sequence_number", l.Sequence),
		zap.String("reason", l.Reason), zap.Int("bytes", len(l.Data)))
	return nil
}

// Close implements io.Closer.
func (d *dryRun) Close() error { return nil }
