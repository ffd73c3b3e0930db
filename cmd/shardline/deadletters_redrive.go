package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os/signal"
	"regexp"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/shardline/shardline/pipeline/deliver"
	"github.com/shardline/shardline/pipeline/redrive"
)

type redriveOptions struct {
	letterOptions
	id           string
	dryRun, hold bool
	rate         float64
	giveUp, wait time.Duration
}

// redriveID is what an id may be: it is shown, and part of hashes.
var redriveID = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,64}$`)

func newDeadLettersRedriveCommand(env environment) *cobra.Command {
	var o redriveOptions
	command := &cobra.Command{
		Use:   "redrive",
		Short: "Deliver letters again to their destinations",
		Long: `Delivers the letters of a queue again, each to the destination it was for, over
that destination's own transport and with its settings: in the order of their
records per key, keys in parallel. A letter leaves the queue, or is marked there,
when it was delivered; one that is refused again stays, and its key goes on.

Requests are as they were, with the same X-Shardline-Sequence-Number, but for the
idempotency key: it is the SHA-256, in hex, of the record's own, a line feed and
the redrive's id. After a crash the same --id goes on, and repeats only what was
delivered and not yet marked, under the same keys.

Letters are older than what their key has delivered since. With --hold the keys
are held first, on every worker, so that their live records wait until the redrive
is through; a redrive that fails leaves them held and says how to go on.

What notes a gap, is no letter, or is for a destination that is not configured
stays and is named. Exits 1 when a letter was refused again or is left.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(command.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return redriveLetters(ctx, env, o)
		},
	}
	o.flags(command)
	flags := command.Flags()
	flags.StringVar(&o.id, "id", "", "`ID` of the redrive, to go on with one that ended early (default: a random one)")
	flags.BoolVar(&o.dryRun, "dry-run", false, "say what would be delivered, in which order, and deliver nothing")
	flags.BoolVar(&o.hold, "hold", false, "hold the letters' keys on every worker until the redrive is through")
	flags.Float64Var(&o.rate, "rate", 0, "letters a second; 0: as fast as the destinations are")
	flags.DurationVar(&o.giveUp, "give-up", 2*time.Minute, "end when nothing was delivered or refused for so long; 0: never")
	flags.DurationVar(&o.wait, "wait", -1, "with --hold: how long to wait until every shard holds (default: three times leases.failover)")
	flags.Lookup("wait").DefValue = "0s" // not printed
	return command
}

func redriveLetters(ctx context.Context, env environment, o redriveOptions) error {
	f, err := o.filter(time.Now())
	switch {
	case err != nil:
		return err
	case o.rate < 0 || o.giveUp < 0:
		return errors.New("--rate and --give-up cannot be negative")
	case o.id == "":
		var random [8]byte
		rand.Read(random[:]) //nolint:errcheck // never fails
		o.id = hex.EncodeToString(random[:])
	case !redriveID.MatchString(o.id):
		return fmt.Errorf("--id %q: an id has 1 to 64 letters, digits and . _ -", o.id)
	}
	q, err := o.open(ctx, env)
	if err != nil {
		return err
	}
	defer func() { q.close() }() // hold adds to it
	configured := func(name string) bool { return q.config.Destination(name) != nil }
	if o.dryRun {
		return planLetters(ctx, env, q, f, configured)
	}
	fmt.Fprintf(env.stderr, "redrive %s of %s; should it end early, go on with --id %[1]s\n", o.id, q.queue.Name)
	release := func() error { return nil }
	if o.hold {
		if release, err = q.hold(ctx, env, o, f, configured); err != nil {
			return err
		}
	}
	result, err := q.redrive(ctx, env, o, f, configured)
	if printed := printRedriven(env, o.id, result); err == nil {
		err = printed
	}
	switch {
	case err != nil && o.hold:
		return fmt.Errorf("%w (the keys stay held: go on with --id %s --hold, or end it with shardline destinations release DESTINATION --key KEY)", err, o.id)
	case err != nil:
		return err
	}
	if err := release(); err != nil {
		return err
	}
	if result.Refused > 0 || result.Left > 0 {
		return errReported
	}
	return nil
}

// redrive delivers letters through the destinations of the configuration.
func (l *openLetters) redrive(ctx context.Context, env environment, o redriveOptions, f redrive.Filter, configured func(string) bool) (redrive.Result, error) {
	store := newSecrets(l.services, nil)
	bindSecrets(l.config, store)
	if len(secretIDs(l.config)) > 0 {
		if err := loadSecrets(ctx, store, &loads{}); err != nil {
			return redrive.Result{}, err
		}
		l.services.refresh(store.Run)
	}
	var tokens loads
	shared := delivering{loads: &tokens, config: l.config, services: l.services, letters: map[string]deliver.DeadLetters{}, gzip: deliver.NewGzip(), env: environment{},
		metrics: deliver.NewMetrics(prometheus.NewRegistry()), logger: zap.NewNop()}
	return redrive.Run(ctx, redrive.Config{
		Queue: l.letters, Filter: f, Command: o.id, Rate: o.rate, GiveUp: o.giveUp, Configured: configured, Stream: l.record,
		Open: func(name string, wrap func(deliver.Transport) deliver.Transport, letters deliver.DeadLetters) (*deliver.Destination, error) {
			c, _, err := shared.made(l.config.Destination(name)) // its credentials end with the command
			if err != nil {
				return nil, err
			}
			if err := tokens.run(ctx); err != nil {
				return nil, err
			}
			if c.Transport == nil {
				if c.Transport, err = deliver.NewHTTP(c); err != nil {
					return nil, err
				}
			}
			c.Transport, c.DeadLetters = wrap(c.Transport), letters
			c.Filter = nil // the records had passed it, and somebody asks for them
			return deliver.New(c)
		},
		Tell: func(s redrive.Stayed) {
			fmt.Fprintf(env.stderr, "stays: %s %s %s: %s\n", s.Found.Letter.ID()[:shownID], cell(s.Found.Letter.Destination), dash(s.Found.Letter.Key), cell(s.Why))
		},
	})
}

// printRedriven prints what became of letters.
func printRedriven(env environment, id string, r redrive.Result) error {
	for _, s := range r.Skipped {
		fmt.Fprintf(env.stderr, "stays: %s: %s\n", cell(s.Found.Where), cell(s.Why))
	}
	_, err := fmt.Fprintf(env.stdout, "redrive %s: %s delivered, %d refused again, %d left, %d skipped\n", id, count(r.Delivered, "letter"), r.Refused, r.Left, len(r.Skipped))
	return err
}

// planLetters says what a redrive would do.
func planLetters(ctx context.Context, env environment, q *openLetters, f redrive.Filter, configured func(string) bool) error {
	found, err := q.scanned(ctx, f)
	if err = errors.Join(err, q.release(ctx)); err != nil {
		return err
	}
	plan := redrive.NewPlan(found, configured)
	for _, c := range plan.Chains {
		for i, item := range c.Items {
			l := &item.First().Letter
			fmt.Fprintf(env.stdout, "%s %s: %d of %d: %s %s of %s, %s\n", cell(c.Destination), dash(c.Key), i+1, len(c.Items), l.ID()[:shownID],
				cell(l.SequenceNumber()), cell(l.Source), cell(l.Reason))
		}
	}
	for _, s := range plan.Skipped {
		fmt.Fprintf(env.stderr, "would stay: %s: %s\n", cell(s.Found.Where), cell(s.Why))
	}
	more := ""
	if q.letters.Partial() {
		more = ", and what waits behind them in the queue"
	}
	_, err = fmt.Fprintf(env.stdout, "would deliver %s of %s%s; %d would stay\n", count(plan.Letters, "letter"), count(len(plan.Chains), "key"), more, len(plan.Skipped))
	return err
}
