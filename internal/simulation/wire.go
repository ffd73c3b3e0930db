package simulation

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/consumers"
	"github.com/shardline/shardline/pipeline"
	"github.com/shardline/shardline/pipeline/deliver"
)

// work is a worker process: the real worker, readers and destinations, over
// the calls of p. It returns when all of it has ended.
func (h *history) work(ctx context.Context, p *process, c configuration) error {
	// Sources outlive the worker's ctx: it drains.
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	reg := prometheus.NewRegistry()
	logger := zap.New(logCore{p})
	letters := letterBox{p}
	sizes := deliver.NewMetrics(reg)
	destinations := make(map[string]*deliver.Destination)
	subscriptions := func(names []string) (subs []pipeline.Subscription, err error) {
		for _, name := range names {
			d := destinations[name]
			if d == nil {
				if d, err = h.destination(p, name, letters, sizes, logger); err != nil {
					return nil, err
				}
				destinations[name] = d
			}
			subs = append(subs, pipeline.Subscription{Subscriber: d, Initial: initial(h.startOf(name))})
		}
		return subs, nil
	}
	reads := consumers.NewMetrics(reg)
	config := pipeline.Config{
		ID: p.id, Store: newStore(p, h.table), Format: h.format, Failover: failover,
		Window:       pick[int64](h.dice, "window "+p.id, 1<<20, 25<<20, 64<<20), // room for one read at a time, for two, for more
		DrainTimeout: drainTimeout, Metrics: pipeline.NewMetrics(reg), LeaseMetrics: checkpoint.NewMetrics(reg),
		Logger: logger, Clock: p.clock,
	}
	p.window = config.Window
	p.memory.Store(reg)
	if !h.calm.Load() {
		config.MaxLeases = pick(h.dice, "leases "+p.id, 0, 0, 0, 2)
	}
	for _, name := range slices.Sorted(maps.Keys(c)) {
		i := slices.IndexFunc(h.streams, func(s *stream) bool { return s.source == name })
		s := h.streams[i]
		source, err := consumers.NewSource(consumers.Config{Name: name, StreamARN: s.arn, Application: "simulation",
			PollInterval: 500 * time.Millisecond, Consumer: consumerOf(s), Client: &client{process: p, stream: s}, Metrics: reads, Logger: logger})
		if err != nil {
			return err
		}
		running.Go(func() { _ = source.Run(background) }) // it has no error of its own
		sc := pipeline.SourceConfig{Source: source, Initial: initial(s.initial), Describe: describe,
			Unreadable: deliver.Unreadable(letters), Gap: deliver.Gap(letters)}
		if sc.Subscribers, err = subscriptions(c[name]); err != nil {
			return err
		}
		config.Sources = append(config.Sources, sc)
	}
	worker := pipeline.NewWorker(config)
	running.Go(func() { // owns destinations until it has ended
		for {
			select {
			case c := <-p.reloads:
				h.reconfigure(ctx, p, worker, c, subscriptions, destinations)
			case <-background.Done():
				return
			}
		}
	})
	err := worker.Run(ctx)
	stop()
	running.Wait()
	for _, d := range destinations {
		err = errors.Join(err, d.Close())
	}
	return err
}

// reconfigure gives the sources of a worker the subscribers of another
// configuration, and closes those that none has any more, as a reload does.
func (h *history) reconfigure(ctx context.Context, p *process, w *pipeline.Worker, c configuration,
	subscriptions func([]string) ([]pipeline.Subscription, error), destinations map[string]*deliver.Destination) {
	used := make(map[string]bool)
	for _, source := range slices.Sorted(maps.Keys(c)) {
		subs, err := subscriptions(c[source])
		if err == nil {
			err = w.Reconfigure(ctx, source, subs)
		}
		if err != nil {
			h.logf("%s is not reconfigured: %v", p.id, err)
			return
		}
		for _, name := range c[source] {
			used[name] = true
		}
	}
	for name, d := range destinations {
		if !used[name] {
			_ = d.Close() // has no other outcome
			delete(destinations, name)
		}
	}
	h.logf("%s works with %v", p.id, c)
}

// consumerOf is the stream consumer that a stream is read as.
func consumerOf(s *stream) string {
	if s.fanOut {
		return consumerName
	}
	return ""
}

// startOf is where a subscriber begins that is new.
func (h *history) startOf(name string) start {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.check.starts[name]
}

func (h *history) destination(p *process, name string, letters letterBox, metrics *deliver.Metrics, logger *zap.Logger) (*deliver.Destination, error) {
	place := "destination " + p.id + name
	h.mu.Lock()
	to := h.receivers[name]
	h.mu.Unlock()
	d := deliver.Config{Name: name, Timeout: 5 * time.Second, Concurrency: 1 + h.dice.below(place, 8),
		Retry:       deliver.RetryPolicy{Max: 4 * time.Second},
		Probes:      deliver.Probes{Initial: 2 * time.Second, Max: 8 * time.Second},
		Breaker:     deliver.Breaker{Failures: pick(h.dice, "breaker "+name, 0, 3, 10), OpenFor: time.Second},
		DeadLetters: letters, Transport: transport{p, to}, Metrics: metrics, Logger: logger}
	if to.wasSick != nil {
		d.Concurrency += 4 // an attempt of one key that hangs is not all that there may be
	}
	if h.bears > 0 {
		d.BeforeTrim = retention - h.bears
	}
	return deliver.New(d)
}

func initial(s start) pipeline.Initial {
	switch {
	case s.latest:
		return pipeline.InitialLatest()
	case !s.time.IsZero():
		return pipeline.InitialTime(s.time)
	}
	return pipeline.Initial{}
}

var errUnreadable = errors.New("neither OpenTravel nor anything else")

func describe(partitionKey string, data []byte) (pipeline.Description, error) {
	if bytes.HasPrefix(data, []byte("unreadable")) {
		return pipeline.Description{}, errUnreadable
	}
	return pipeline.Description{Key: partitionKey}, nil
}

// transport carries the attempts of one process to one receiver.
type transport struct {
	process *process
	to      *receiver
}

func (t transport) Send(ctx context.Context, m *deliver.Message) deliver.Answer {
	answer := t.process.world.receive(ctx, t.process, t.to, message{source: m.Shard.Source, position: m.Record.Position,
		key: m.Record.Key, body: m.Record.Data, number: m.Attempt})
	if answer.err != nil {
		return deliver.Answer{Reason: deliver.ReasonConnection, Detail: answer.err.Error()}
	}
	reason := map[int]deliver.Reason{200: deliver.ReasonDelivered, 400: deliver.ReasonRejected, 401: deliver.ReasonUnauthorized, 503: deliver.ReasonServerError}
	return deliver.Answer{Reason: reason[answer.status], Status: answer.status}
}

// letterBox keeps the dead letters of one process.
type letterBox struct{ process *process }

func (b letterBox) Put(ctx context.Context, letter deliver.DeadLetter) error {
	if letter.Gap != nil {
		return b.process.world.gap(ctx, b.process, letter)
	}
	return b.process.world.letter(ctx, b.process, letter)
}
