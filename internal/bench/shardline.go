package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/pipeline"
	"github.com/shardline/shardline/pipeline/deliver"
)

// window bounds the records that wait in the shard logs, so that a run ends
// soon after its slice: every record waits for a hundred deliveries.
const window = 64 << 20

// startShardline starts a whole worker: reader, shard logs, cursors, lanes,
// HTTP, positions saved to leases in memory. Only the stream is in this
// process.
func startShardline(ctx context.Context, o Options, bodies [][]byte) (func() int64, func() error, error) {
	reg := prometheus.NewRegistry()
	all := deliver.NewMetrics(reg)
	records := &stream{shards: o.Shards, keys: o.Keys, bodies: bodies, made: time.Now(), pace: o.pace}
	source := pipeline.SourceConfig{
		Source: records,
		Describe: func(key string, _ []byte) (pipeline.Description, error) {
			return pipeline.Description{Key: key, ContentType: contentType}, nil
		},
	}
	if o.source != nil {
		source.Source = o.source(records)
	}
	var destinations []*deliver.Destination
	for i := range o.Destinations {
		c := deliver.Config{
			Name: fmt.Sprintf("channel-%03d", i), URL: o.url(i), TLS: deliver.TLS{Roots: o.Roots}, Timeout: 10 * time.Second,
			Concurrency: o.Concurrency, OnExhausted: deliver.ExhaustedHold, Metrics: all,
		}
		switch {
		case o.transport != nil:
			c.Transport = o.transport(i)
		case o.taken != nil:
			transport, err := deliver.NewHTTP(c)
			if err != nil {
				return nil, nil, err
			}
			c.Transport = timed{transport, o.taken}
		}
		d, err := deliver.New(c)
		if err != nil {
			return nil, nil, err
		}
		destinations = append(destinations, d)
		source.Subscribers = append(source.Subscribers, pipeline.Subscription{Subscriber: d})
	}
	w := pipeline.NewWorker(pipeline.Config{
		ID: "bench", Store: &checkpoint.Memory{}, Format: checkpoint.MultiStream, Failover: 10 * time.Second,
		Sources: []pipeline.SourceConfig{source}, Window: window, DrainTimeout: 2 * time.Second,
		Metrics: pipeline.NewMetrics(reg), LeaseMetrics: checkpoint.NewMetrics(reg), Logger: zap.NewNop(),
	})
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	delivered := func() int64 { return sum(reg, "shardline_deliver_deliveries_total") }
	wait := func() error {
		err := <-ended
		for _, d := range destinations {
			if e := d.Close(); err == nil {
				err = e
			}
		}
		return err
	}
	return delivered, wait, nil
}

// sum adds up a counter over its labels.
func sum(reg *prometheus.Registry, name string) int64 {
	families, err := reg.Gather()
	if err != nil {
		return 0
	}
	total := 0.0
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				total += m.GetCounter().GetValue()
			}
		}
	}
	return int64(total)
}
