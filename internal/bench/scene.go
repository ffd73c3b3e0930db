package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/shardline/shardline/internal/localaws"
)

// Load is how much there is to do.
type Load struct {
	Destinations int // every record goes to each
	Size         int // bytes of a message
	Concurrency  int // connections per destination
	Keys         int
	Shards       int
}

// Run says how real worker processes are run beside a local AWS, a producer and
// receivers of this process.
type Run struct {
	Load
	Executable string        // the shardline binary whose run command the workers are
	Dir        string        // for the configuration and logs
	Window     int64         // bytes of a worker's shard logs
	FanOut     bool          // shards are read by enhanced fan-out, not by polling
	Poll       time.Duration // pause between two readings of a shard's tip
	Timeout    time.Duration // of an attempt
	Failover   time.Duration
}

// scene is one such run.
type scene struct {
	Run
	*cloud
	other     string // ARN of an empty stream, which is read too
	producer  *producer
	receivers []*receiver
	config    string
	workers   []*worker

	all    sync.WaitGroup
	failed chan error // the first end of what should have gone on
}

// otherStream is another source's, which may fail.
const otherStream = "resorts"

// maxStream bounds the memory that the local AWS may take for records.
const maxStream = 4 << 30

// newScene starts everything but workers. hold is how many messages the stream
// must be able to hold. limit is a destination's rate_limit; 0: it has none. pace
// tells the producer its own.
func newScene(ctx context.Context, r Run, hold float64, limit func(destination int) float64, pace func(*scene)) (s *scene, stop func() error, err error) {
	bytes := int64(hold*float64(r.Size+64)) + 64<<20
	if bytes > maxStream {
		return nil, nil, fmt.Errorf("the stream would have to hold %d MiB: choose a lower rate, a shorter time, or smaller messages", bytes>>20)
	}
	s = &scene{Run: r, failed: make(chan error, 1)}
	var stopCloud func() error
	if s.cloud, stopCloud, err = newCloud(ctx, localaws.Config{StreamBytes: bytes}, r.Shards); err != nil {
		return nil, nil, err
	}
	if s.other, err = s.aws.CreateStream(cloudAccount, cloudRegion, otherStream, 1); err != nil {
		return nil, nil, errors.Join(err, stopCloud())
	}
	ctx, cancel := context.WithCancel(ctx)
	stop = func() error {
		for _, w := range s.workers {
			w.Kill()
		}
		cancel()
		s.all.Wait()
		return stopCloud()
	}
	s.producer = newProducer(s.cloud, r.Keys, r.Size)
	for i := range r.Destinations {
		rc, err := newReceiver(fmt.Sprintf("channel-%03d", i), newTally(r.Keys))
		if err != nil {
			return nil, nil, errors.Join(err, stop())
		}
		s.receivers = append(s.receivers, rc)
		s.goOn(func() error { return rc.serve(ctx) })
	}
	if s.config, err = s.writeConfig(r.Dir, "shardline.yaml", s.text(limit)); err != nil {
		return nil, nil, errors.Join(err, stop())
	}
	pace(s)
	s.goOn(func() error { return s.producer.run(ctx) })
	return s, stop, nil
}

// goOn runs what should end with the scene alone.
func (s *scene) goOn(f func() error) {
	s.all.Go(func() {
		if err := f(); err != nil {
			select {
			case s.failed <- err:
			default: // the first one says enough
			}
		}
	})
}

func (s *scene) text(limit func(destination int) float64) string {
	var b strings.Builder
	read := "polling"
	if s.FanOut {
		read = "enhanced_fan_out"
	}
	fmt.Fprintf(&b, `leases: {failover: %s}
pipeline: {window: %d, drain_timeout: 10s}
log: {level: info, format: json}
delivery:
  timeout: %s
  concurrency: %d
  retry: {initial: 200ms, max: 2s}
  breaker: {failures: 10, open_for: 1s}
  on_exhausted: hold_destination
sources:
  - {name: %s, stream: %q, read: %s, poll_interval: %s, initial_position: trim_horizon, subscribers: all_destinations}
  - {name: %s, stream: %q, poll_interval: %[8]s, initial_position: trim_horizon, subscribers: all_destinations}
destinations:
`, s.Failover, s.Window, s.Timeout, s.Concurrency, streamName, s.arn, read, s.Poll, otherStream, s.other)
	for i, r := range s.receivers {
		fmt.Fprintf(&b, "  - {name: %s, type: http, url: %q, rate_limit: %g}\n", r.name, r.url, limit(i))
	}
	return b.String()
}

// start starts one more worker.
func (s *scene) start() (*worker, error) {
	w, err := s.cloud.start(s.Executable, s.Dir, fmt.Sprintf("worker-%d", len(s.workers)+1), s.config)
	if err == nil {
		s.workers = append(s.workers, w)
	}
	return w, err
}

// pause lets d pass, unless something ends that should go on.
func (s *scene) pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		return ctx.Err()
	case err := <-s.failed:
		return err
	}
	return nil
}

// await looks every tenth of a second whether something has come to be.
func (s *scene) await(ctx context.Context, what string, patience time.Duration, condition func() bool) error {
	for deadline := time.Now().Add(patience); !condition(); {
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: still not after %s: see the logs in %s", what, patience, s.Dir)
		}
		if err := s.pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// missing is what the receivers lack of what was put, together.
func (s *scene) missing() (n int64) {
	for _, r := range s.receivers {
		n += r.tally.missing(s.producer)
	}
	return n
}

// through waits until every receiver has everything, while nothing is put.
func (s *scene) through(ctx context.Context, patience time.Duration) error {
	held := s.producer.hold.Swap(true)
	defer s.producer.hold.Store(held)
	return s.await(ctx, "every receiver has everything", patience, func() bool { return s.missing() == 0 })
}

// accepted is what the receivers have accepted, together.
func (s *scene) accepted() (n int64) {
	for _, r := range s.receivers {
		n += r.tally.count()
	}
	return n
}

// flatOut has the producer keep ahead of the receiver that has the least.
func (s *scene) flatOut() {
	s.producer.ahead = calibrateAhead
	s.producer.behind = func() int64 {
		least := int64(math.MaxInt64)
		for _, r := range s.receivers {
			least = min(least, r.tally.count())
		}
		return least
	}
}

// Of the calibration.
const (
	calibrateAhead = 2000 // messages that wait in the stream
	calibrateWarm  = 2 * time.Second
	calibrateFor   = 4 * time.Second
)

// maximum is how many deliveries a second one worker makes on this machine,
// beside everything else of the scene.
func maximum(ctx context.Context, r Run) (perSecond float64, err error) {
	s, stop, err := newScene(ctx, r, 1e5, func(int) float64 { return 0 }, (*scene).flatOut)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if _, err := s.start(); err != nil {
		return 0, err
	}
	if err := s.await(ctx, "a worker delivers", time.Minute, func() bool { return s.accepted() > 0 }); err != nil {
		return 0, err
	}
	if err := s.pause(ctx, calibrateWarm); err != nil {
		return 0, err
	}
	n, began := s.accepted(), time.Now()
	if err := s.pause(ctx, calibrateFor); err != nil {
		return 0, err
	}
	return float64(s.accepted()-n) / time.Since(began).Seconds(), nil
}
