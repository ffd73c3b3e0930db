package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/cmd/shardline/config"
	"github.com/shardline/shardline/consumers"
	"github.com/shardline/shardline/internal/control"
	"github.com/shardline/shardline/internal/secrets"
	"github.com/shardline/shardline/metrics"
	"github.com/shardline/shardline/pipeline"
	"github.com/shardline/shardline/pipeline/deliver"
)

// app is one worker process, wired: newApp starts nothing, Run blocks.
type app struct {
	logger        *zap.Logger
	level         zap.AtomicLevel // of logger
	metrics       *reloadMetrics
	server        *metrics.Server
	api           *metrics.Listener // nil: none
	worker        *pipeline.Worker
	secrets       *secrets.Store
	services      services
	shared        delivering
	loads         loads // before the first attempt
	queues        []openQueue
	letterMetrics *deliver.LetterMetrics
	lives         map[string]func()                 // ends the credentials of a destination, by its name
	refresh       []func(ctx context.Context) error // credentials, one per role
	cleanups      []func() error                    // run last to first

	mu           sync.Mutex
	config       *config.Config // in force
	destinations []*deliver.Destination
}

// openQueue is a dead letter queue that may be written to.
type openQueue struct {
	config  config.DeadLetterQueue
	letters deliver.DeadLetters
}

// appMetrics are the metrics of all packages.
type appMetrics struct {
	consumers  *consumers.Metrics
	checkpoint *checkpoint.Metrics
	pipeline   *pipeline.Metrics
	deliver    *deliver.Metrics
	letters    *deliver.LetterMetrics
	secrets    *secrets.Metrics
	reload     *reloadMetrics
	api        *control.APIMetrics
}

func newAppMetrics(reg prometheus.Registerer) appMetrics {
	return appMetrics{consumers.NewMetrics(reg), checkpoint.NewMetrics(reg), pipeline.NewMetrics(reg), deliver.NewMetrics(reg), deliver.NewLetterMetrics(reg), secrets.NewMetrics(reg), newReloadMetrics(reg), control.NewAPIMetrics(reg)}
}

// newApp wires everything in one straight line. When it fails, what it had
// acquired is given back.
func newApp(ctx context.Context, cfg *config.Config, env environment, level zap.AtomicLevel, logger *zap.Logger) (_ *app, err error) {
	if len(cfg.Views) > 0 {
		return nil, errors.New("views are computed offline by `shardline oee replay` so far: run needs a configuration without them")
	}
	a := &app{config: cfg, level: level, logger: logger, lives: make(map[string]func())}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close())
		}
	}()
	registry := metrics.NewRegistry(versionString())
	m := newAppMetrics(registry)
	id, err := workerID(cfg.WorkerID)
	if err != nil {
		return nil, err
	}
	base, baseCredentials, err := consumers.NewBase(ctx, consumers.BaseConfig{
		Region: cfg.Region, Profile: cfg.AWS.Profile, Role: role(cfg.AWS.Role), Application: cfg.Application,
		Metrics: m.consumers, Logger: logger,
	})
	if err != nil {
		return nil, err
	}
	a.refresh = append(a.refresh, baseCredentials.Run)
	a.services = services{base: base, application: cfg.Application, metrics: m.consumers, logger: logger,
		refresh: func(run func(context.Context) error) { a.refresh = append(a.refresh, run) }}

	a.secrets = newSecrets(&a.services, m.secrets)
	bindSecrets(cfg, a.secrets)

	a.metrics, a.letterMetrics = m.reload, m.letters
	a.shared = delivering{config: cfg, services: &a.services, gzip: deliver.NewGzip(), env: env, metrics: m.deliver, logger: logger,
		secretMetrics: m.secrets, loads: &a.loads}
	shared := &a.shared
	if shared.letters, err = a.openQueues(cfg); err != nil {
		return nil, err
	}
	a.cleanups = append(a.cleanups, a.closeDestinations)
	for i := range cfg.Destinations {
		made, discard, err := shared.made(&cfg.Destinations[i])
		if err != nil {
			return nil, err
		}
		a.lives[made.Name] = discard
		d, err := deliver.New(made)
		if err != nil {
			return nil, err
		}
		a.destinations = append(a.destinations, d)
	}
	var sources []pipeline.SourceConfig
	for i := range cfg.Sources {
		c := &cfg.Sources[i]
		s, err := consumers.NewSource(consumers.Config{
			Name: c.Name, StreamARN: c.Stream.String(), Role: role(c.Role), Application: cfg.Application,
			PollInterval: c.PollInterval, Consumer: c.Consumer(cfg), OutOfRange: outOfRange(c.OutOfRange), Base: base, Metrics: m.consumers, Logger: logger,
		})
		if err != nil {
			return nil, err
		}
		a.refresh = append(a.refresh, s.Run)
		source := pipeline.SourceConfig{Source: s, Initial: initial(c.InitialPosition), Subscribers: a.subscriptions(cfg, c), Describe: describe(c.Key), Deduplicate: deduplication(c.Deduplicate)}
		if queue := shared.letters[c.DeadLetters]; queue != nil {
			source.Unreadable, source.Gap = deliver.Unreadable(queue), deliver.Gap(queue)
		}
		sources = append(sources, source)
	}

	format := checkpoint.KeyFormat(cfg.Leases.KeyFormat)
	var store checkpoint.Store = &checkpoint.Memory{}
	if cfg.Leases.Store == config.StoreDynamoDB {
		store = checkpoint.NewDynamoDB(checkpoint.DynamoDBConfig{
			Client: dynamodb.NewFromConfig(base), Table: cfg.LeaseTable(), StateTable: cfg.StateTable(),
			Failover: cfg.Leases.Failover, Format: format, Create: cfg.Leases.CreateTables, Logger: logger,
		})
	}
	a.worker = pipeline.NewWorker(pipeline.Config{
		ID: id, Store: env.hooks.store(store), Format: format, Failover: cfg.Leases.Failover, MaxLeases: cfg.Leases.MaxLeases,
		SharedWithKCL: cfg.Leases.SharedWithKCL,
		Sources:       sources, Window: int64(cfg.Pipeline.Window), DrainTimeout: cfg.Pipeline.DrainTimeout,
		Metrics: m.pipeline, LeaseMetrics: m.checkpoint, Logger: logger,
	})
	a.server = metrics.NewServer(metrics.Config{
		Listen: cfg.Listen.Metrics, Gatherer: registry, Ready: a.ready, Alive: a.worker.Alive,
		Version: versionString(), Logger: logger,
	})
	a.cleanups = append(a.cleanups, a.server.Close)
	address, err := a.server.Listen()
	if err != nil {
		return nil, err
	}
	if err := a.listenAPI(env.hooks.store(store), sources, m.api); err != nil {
		return nil, err
	}
	logger.Info("starting", zap.String("version", versionString()), zap.String("worker", id), zap.String("metrics", "http://"+address+"/metrics"),
		zap.Int("sources", len(sources)), zap.Int("destinations", len(a.destinations)))
	return a, nil
}

// openQueues opens the dead letter queues of a configuration, those that are not
// open yet, and returns all of it by name. One that no configuration names any
// more stays open: somebody may be writing to it.
func (a *app) openQueues(c *config.Config) (map[string]deliver.DeadLetters, error) {
	letters := make(map[string]deliver.DeadLetters, len(c.DeadLetterQueues))
	for n := range c.DeadLetterQueues {
		q := &c.DeadLetterQueues[n]
		i := slices.IndexFunc(a.queues, func(o openQueue) bool { return reflect.DeepEqual(o.config, *q) })
		if i < 0 {
			var queue letterQueue = a.shared.env.dry
			if a.shared.env.dry == nil {
				var err error
				if queue, err = newLetters(c, q, &a.services, a.logger); err != nil {
					return nil, err
				}
			}
			a.cleanups = append(a.cleanups, queue.Close)
			i = len(a.queues)
			a.queues = append(a.queues, openQueue{*q, a.letterMetrics.Watch(q.Name, a.shared.env.hooks.letters(queue))})
		}
		letters[q.Name] = a.queues[i].letters
	}
	return letters, nil
}

// Run works until ctx ends, then drains; meanwhile each hangup has the
// configuration loaded and applied anew. The metrics server is the last to stop.
func (a *app) Run(ctx context.Context, hangups <-chan os.Signal, load func() (*config.Config, error)) error {
	// The drain still needs credentials and is still watched.
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	var all sync.WaitGroup
	for _, refresh := range a.refresh {
		all.Go(func() { a.keepFresh(background, refresh) })
	}
	all.Go(func() { a.watchdog(background) })
	all.Go(func() {
		if err := a.server.Run(background); err != nil {
			a.logger.Error("metrics are no longer served", zap.Error(err))
		}
	})
	if a.api != nil {
		all.Go(func() {
			if err := a.api.Run(background); err != nil {
				a.logger.Error("the API is no longer served", zap.Error(err))
			}
		})
	}
	notify(a.logger, daemon.SdNotifyReady)
	_ = loadSecrets(ctx, a.secrets, &a.loads)        // it is logged, and tried again
	all.Go(func() { _ = a.secrets.Run(background) }) // ends with it, and has no other outcome
	a.services.refresh = func(run func(context.Context) error) { all.Go(func() { a.keepFresh(background, run) }) }
	reloading, end := context.WithCancel(ctx)
	all.Go(func() { a.reloads(reloading, hangups, load) })
	err := a.worker.Run(ctx)
	end() // the worker may have ended by itself
	stop()
	all.Wait()
	return errors.Join(err, a.close())
}

// keepFresh refreshes credentials until ctx ends.
func (a *app) keepFresh(ctx context.Context, refresh func(context.Context) error) {
	if err := refresh(ctx); err != nil && ctx.Err() == nil {
		a.logger.Error("credentials are no longer refreshed", zap.Error(err))
	}
}

// current is the configuration in force.
func (a *app) current() *config.Config {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.config
}

// all are the destinations.
func (a *app) all() []*deliver.Destination {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.destinations
}

// subscriptions are the subscribers of a source. Their destinations exist.
func (a *app) subscriptions(c *config.Config, s *config.Source) (all []pipeline.Subscription) {
	for _, name := range s.SubscriberNames(c) {
		all = append(all, pipeline.Subscription{Subscriber: a.destination(name), Initial: initial(c.Destination(name).InitialPosition)})
	}
	return all
}

// closeDestinations closes all destinations. Nobody uses them any more.
func (a *app) closeDestinations() error {
	var errs []error
	for _, d := range a.all() {
		errs = append(errs, d.Close())
	}
	return errors.Join(errs...)
}

// destination is the destination of that name; nil when there is none.
func (a *app) destination(name string) *deliver.Destination {
	for _, d := range a.all() {
		if d.Name() == name {
			return d
		}
	}
	return nil
}

// close gives back what newApp acquired, last first.
func (a *app) close() error {
	var errs []error
	for i := len(a.cleanups) - 1; i >= 0; i-- {
		errs = append(errs, a.cleanups[i]())
	}
	a.cleanups = nil
	return errors.Join(errs...)
}

// watchdog tells systemd that the process lives, when it asks for that, for as
// long as the worker is not stuck.
func (a *app) watchdog(ctx context.Context) {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil || interval == 0 {
		return
	}
	tick := time.NewTicker(interval / 3)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := a.worker.Alive(); err != nil {
				a.logger.Error("the worker is stuck", zap.Error(err))
				continue
			}
			notify(a.logger, daemon.SdNotifyWatchdog)
		case <-ctx.Done():
			return
		}
	}
}

// ready answers /readyz: sources and destinations are details.
func (a *app) ready() metrics.Readiness {
	r := metrics.Readiness{Ready: true, Leases: metrics.LeaseState{Table: a.current().LeaseTable(), Held: a.worker.Held()}}
	if err := a.worker.Ready(); err != nil {
		r.Ready, r.Reason = false, err.Error()
	}
	for _, s := range a.worker.Sources() {
		state := metrics.SourceState{Name: s.Name, State: "up", Reason: s.Reason, Since: s.Since, Shards: s.Shards}
		if !s.Up {
			state.State = "down"
		}
		r.Sources = append(r.Sources, state)
	}
	for _, d := range a.all() {
		s := d.State()
		r.Destinations = append(r.Destinations, metrics.DestinationState{Name: s.Name, Held: s.Held, Reason: s.Reason,
			Since: s.Since, InFlight: s.InFlight, OldestUnsettledSeconds: s.Oldest.Seconds()})
	}
	return r
}

// workerID is unique per process: two with one id would believe that they own
// the same leases.
func workerID(configured string) (string, error) {
	if configured != "" {
		return configured, nil
	}
	host, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("worker_id is empty and the host has no name: %w", err)
	}
	var random [4]byte
	rand.Read(random[:]) //nolint:errcheck // never fails
	return host + "-" + hex.EncodeToString(random[:]), nil
}

func role(r *config.Role) *consumers.Role {
	if r == nil {
		return nil
	}
	return &consumers.Role{ARN: r.ARN, ExternalID: r.ExternalID, SessionName: r.SessionName, Duration: r.Duration}
}

func initial(p config.InitialPosition) pipeline.Initial {
	switch p.Kind {
	case config.PositionLatest:
		return pipeline.InitialLatest()
	case config.PositionAtTimestamp:
		return pipeline.InitialTime(p.At)
	}
	return pipeline.Initial{}
}

func outOfRange(what string) consumers.OutOfRange {
	if what == config.OutOfRangeDeliver {
		return consumers.DeliverOutOfRange
	}
	return consumers.DropOutOfRange
}
