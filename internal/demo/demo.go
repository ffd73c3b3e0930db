package demo

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/shardline/shardline/internal/daemon"
)

// Config says how the demo runs.
type Config struct {
	Executable string        // the shardline binary whose run command the workers are
	Dir        string        // for the configuration, logs and dead letters; kept
	Messages   string        // a folder with the user's own messages; empty: generated ones
	Hotels     int           // for generated messages
	Rate       int           // messages per second
	Aggregate  bool          // the producer writes aggregated records
	Feed       time.Duration // how long the producer runs
	Settle     time.Duration // how long the end may take after that
	Seed       uint64
	Keep       bool // leave everything running until ctx ends
	Out        io.Writer
}

// destination is a receiver and where it listens.
type destination struct {
	*Receiver
	url string
}

// newReceivers are ten travel sites: seven are well, one is slow, one is down
// for a while, one refuses some messages.
func newReceivers(feed time.Duration) []*Receiver {
	var all []*Receiver
	for i := range 10 {
		r := NewReceiver(fmt.Sprintf("channel-%03d", i+1))
		switch i {
		case 2:
			r.Slow(20 * time.Millisecond)
		case 4:
			r.FailsBetween(feed/4, feed/2)
		case 6:
			r.AnswersErrors(150)
		}
		all = append(all, r)
	}
	return all
}

// run is one demo under way.
type run struct {
	Config
	ledger       *Ledger
	cloud        *cloud
	destinations []destination
	workers      []*daemon.Process
	addresses    []string // the workers' metrics listeners, in step with workers
	config       string   // the workers' file
	began        time.Time
	fed          func() (FeedCount, error)
}

// Run runs the demo and reports on c.Out. It says whether everything that was
// promised was kept; an error means that the demo itself could not run.
func Run(ctx context.Context, c Config) (ok bool, err error) {
	r := &run{Config: c, ledger: NewLedger(), began: time.Now()}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	if r.cloud, err = newCloud(); err != nil {
		return false, err
	}
	stopCloud := r.cloud.serve(ctx)
	defer func() { err = first(err, stopCloud()) }()

	stopReceivers, err := r.receive()
	if err != nil {
		return false, err
	}
	defer stopReceivers()

	r.config = filepath.Join(c.Dir, "shardline.yaml")
	if err := os.WriteFile(r.config, []byte(configuration(r.cloud, r.destinations)), 0o600); err != nil {
		return false, err
	}
	r.say("local AWS at %s: accounts %s and %s with a stream each, %s with the tables", r.cloud.Endpoint(), hotelsAccount, resortsAccount, tablesAccount)
	r.say("%d receivers; workers are processes of `shardline run --config %s`", len(r.destinations), r.config)
	defer func() {
		for _, w := range r.workers {
			if _, ended := w.Ended(); !ended {
				w.Kill()
			}
		}
	}()
	for range 3 {
		if err := r.start(); err != nil {
			return false, err
		}
	}
	if err := r.feedAndDisturb(ctx); err != nil {
		return false, err
	}
	if c.Keep {
		r.keep(ctx)
	}
	clean := true
	for _, w := range r.workers {
		if _, ended := w.Ended(); ended {
			continue // killed
		}
		if err := w.Stop(30 * time.Second); err != nil {
			clean = false
			r.say("NOT CLEAN: %v", err)
		}
	}
	ok, err = r.report()
	return ok && clean, err
}

// receive starts the receivers.
func (r *run) receive() (stop func(), err error) {
	var servers []*http.Server
	var all sync.WaitGroup
	stop = func() {
		for _, s := range servers {
			s.Close()
		}
		all.Wait()
	}
	for _, receiver := range newReceivers(r.Feed) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			stop()
			return nil, err
		}
		s := &http.Server{Handler: receiver, ReadHeaderTimeout: 10 * time.Second}
		servers = append(servers, s)
		all.Go(func() { s.Serve(l) }) //nolint:errcheck // it ends with Close
		r.destinations = append(r.destinations, destination{receiver, "http://" + l.Addr().String() + "/ota"})
	}
	return stop, nil
}

// start starts one more worker.
func (r *run) start() error {
	address, err := freeAddress()
	if err != nil {
		return err
	}
	name := fmt.Sprintf("worker-%d", len(r.workers)+1)
	w, err := daemon.Start(r.Executable, r.Dir, name, r.config,
		append(slices.Clone(r.cloud.environment), "DEMO_METRICS="+address, "DEMO_DIR="+r.Dir, "DEMO_WORKER="+name))
	if err != nil {
		return err
	}
	r.workers, r.addresses = append(r.workers, w), append(r.addresses, address)
	r.say("%s started: pid %d, http://%s/metrics, log %s", name, w.ID(), address, w.Log)
	return nil
}

// feedAndDisturb feeds the streams, kills a worker and splits a shard on the
// way, and waits until everything has arrived or the time is up.
func (r *run) feedAndDisturb(ctx context.Context) error {
	feedCtx, stopFeeding := context.WithTimeout(ctx, r.Feed)
	defer stopFeeding()
	done := r.feed(ctx, feedCtx)
	kill, split := time.After(r.Feed*2/5), time.After(r.Feed*3/5)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var deadline <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-kill:
			r.workers[0].Kill()
			r.say("%s killed (SIGKILL): its shards go to the others after the fail-over time of 3s", r.workers[0].Name)
		case <-split:
			if err := r.cloud.SplitShard(r.cloud.streams[0], "shardId-000000000000"); err != nil {
				return fmt.Errorf("split a shard: %w", err)
			}
			r.say("shardId-000000000000 of %s split", r.cloud.streams[0])
		case <-done:
			done = nil
			if _, err := r.fed(); err != nil {
				return err
			}
			r.say("fed: Kinesis acknowledged %d messages", r.ledger.Count())
			deadline = time.After(r.Settle)
		case <-tick.C:
			r.progress()
			for _, w := range r.workers[1:] {
				if err, ended := w.Ended(); ended {
					return fmt.Errorf("%s ended by itself: %v: see %s", w.Name, err, w.Log)
				}
			}
			if done == nil && r.through() {
				return nil
			}
		case <-deadline:
			r.say("time is up: not everything has arrived within %s of the end of the feed", r.Settle)
			return nil
		}
	}
}

// through says whether every receiver has accepted, or the dead letters hold,
// everything that was acknowledged.
func (r *run) through() bool {
	dead, err := readDeadLetters(r.Dir)
	if err != nil {
		return false
	}
	for _, d := range r.destinations {
		if d.Accepted()+len(deadFor(dead, d.Name)) < r.ledger.Count() {
			return false
		}
	}
	return true
}

func (r *run) progress() {
	least, most := -1, 0
	for _, d := range r.destinations {
		n := d.Accepted()
		most = max(most, n)
		if least < 0 || n < least {
			least = n
		}
	}
	r.say("acknowledged %d, accepted by the slowest %d, by the fastest %d", r.ledger.Count(), least, most)
}

func (r *run) keep(ctx context.Context) {
	r.say("left running; Ctrl-C ends it. The local AWS:")
	for _, e := range r.cloud.environment {
		fmt.Fprintln(r.Out, "  export "+e)
	}
	for i, w := range r.workers {
		if _, ended := w.Ended(); !ended {
			fmt.Fprintf(r.Out, "  %s: http://%s/metrics http://%s/readyz\n", w.Name, r.addresses[i], r.addresses[i])
		}
	}
	<-ctx.Done()
}

func (r *run) say(format string, args ...any) {
	fmt.Fprintf(r.Out, "%5.1fs  %s\n", time.Since(r.began).Seconds(), fmt.Sprintf(format, args...))
}

// freeAddress is a loopback address that nobody listens on now.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

func first(a, b error) error {
	if a != nil {
		return a
	}
	return b
}
