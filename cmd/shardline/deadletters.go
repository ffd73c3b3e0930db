package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/shardline/shardline/cmd/shardline/config"
	"github.com/shardline/shardline/consumers"
	"github.com/shardline/shardline/pipeline/redrive"
)

func newDeadLettersCommand(env environment) *cobra.Command {
	command := &cobra.Command{
		Use:   "dead-letters",
		Short: "List and show dead letters, and deliver them again",
		Long: `Reads the dead letter queues that the configuration names, beside running
workers, and delivers letters again to the destinations they were for.

A queue of SQS hides from others what is being read, for five minutes at most
after a crash, and counts a receipt: it should have no redrive policy of its own
to another queue.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return command.Help() },
	}
	command.AddCommand(newDeadLettersListCommand(env), newDeadLettersShowCommand(env), newDeadLettersRedriveCommand(env))
	return command
}

// letterOptions are the flags that say which letters are meant.
type letterOptions struct {
	config, queue                          string
	destination, key, reason, since, until string
}

func (o *letterOptions) flags(command *cobra.Command) {
	configFlag(command, &o.config)
	flags := command.Flags()
	flags.StringVar(&o.queue, "queue", "", "`NAME` of the dead letter queue; needed when the configuration has several")
	flags.StringVar(&o.destination, "destination", "", "only letters for this `DESTINATION`")
	flags.StringVar(&o.key, "key", "", "only letters of this `KEY`")
	flags.StringVar(&o.reason, "reason", "", "only letters with this `REASON`, such as rejected or max_attempts")
	flags.StringVar(&o.since, "since", "", "only letters that came at this `TIME` or later: RFC 3339, or as long ago as 90m, 36h")
	flags.StringVar(&o.until, "until", "", "only letters that came before this `TIME`")
}

// filter is what the flags mean.
func (o *letterOptions) filter(now time.Time) (redrive.Filter, error) {
	f := redrive.Filter{Destination: o.destination, Key: o.key, Reason: o.reason}
	for _, flag := range []struct {
		name, text string
		at         *time.Time
	}{{"since", o.since, &f.Since}, {"until", o.until, &f.Until}} {
		if flag.text == "" {
			continue
		}
		if ago, err := time.ParseDuration(flag.text); err == nil && ago >= 0 {
			*flag.at = now.Add(-ago)
		} else if *flag.at, err = time.Parse(time.RFC3339Nano, flag.text); err != nil {
			return f, fmt.Errorf("--%s %s: neither a time such as 2026-03-01T06:00:00Z nor how long ago, such as 90m", flag.name, flag.text)
		}
	}
	if !f.Since.IsZero() && !f.Until.IsZero() && !f.Since.Before(f.Until) {
		return f, errors.New("--since is not before --until: no letter came then")
	}
	return f, nil
}

// openLetters is a dead letter queue that a command reads, and the way to AWS.
type openLetters struct {
	config   *config.Config
	queue    *config.DeadLetterQueue
	letters  redrive.Queue
	services *services
	sources  map[string]*consumers.Source // by the stream's ARN, as far as they were needed
	close    func()                       // ends the refreshing of credentials
}

// open loads the configuration and finds the queue. Nothing is read yet.
func (o *letterOptions) open(ctx context.Context, env environment) (*openLetters, error) {
	c, err := loadConfig(env, o.config)
	if err != nil {
		return nil, err
	}
	q, err := o.queueOf(c)
	if err != nil {
		return nil, err
	}
	base, credentials, err := consumers.NewBase(ctx, consumers.BaseConfig{
		Region: c.Region, Profile: c.AWS.Profile, Role: role(c.AWS.Role), Application: c.Application,
	})
	if err != nil {
		return nil, err
	}
	start, stop := refreshing(ctx)
	start(credentials.Run)
	s := &services{base: base, application: c.Application, logger: zap.NewNop(), refresh: start}
	return &openLetters{config: c, queue: q, letters: readLetters(c, q, s), services: s, close: stop}, nil
}

func (o *letterOptions) queueOf(c *config.Config) (*config.DeadLetterQueue, error) {
	var names []string
	for i := range c.DeadLetterQueues {
		names = append(names, c.DeadLetterQueues[i].Name)
	}
	slices.Sort(names)
	switch {
	case len(names) == 0:
		return nil, errors.New("the configuration has no dead_letter_queues")
	case o.queue == "" && len(names) == 1:
		return c.DeadLetterQueue(names[0]), nil
	case o.queue == "":
		return nil, fmt.Errorf("say which queue, with --queue: there are %s", strings.Join(names, ", "))
	}
	q := c.DeadLetterQueue(o.queue)
	if q == nil {
		return nil, fmt.Errorf("there is no dead letter queue %s; there are %s", o.queue, strings.Join(names, ", "))
	}
	return q, nil
}

// scanned reads what the queue has, and gives it back unless it failed before.
func (l *openLetters) scanned(ctx context.Context, f redrive.Filter) ([]*redrive.Found, error) {
	return redrive.Scanned(ctx, l.letters, f)
}

// release gives back what was read.
func (l *openLetters) release(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	return l.letters.Release(ctx)
}
