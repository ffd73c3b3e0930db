package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/cmd/shardline/config"
	"github.com/shardline/shardline/consumers"
	"github.com/shardline/shardline/pipeline"
	"github.com/shardline/shardline/pipeline/deliver"
)

// maxShownBody is how much of an answer's body is printed.
const maxShownBody = 2 << 10

func newSendCommand(env environment) *cobra.Command {
	var file, destination, source, key string
	cmd := &cobra.Command{
		Use:   "send --config FILE --destination NAME MESSAGE",
		Short: "Send one message to one destination and print all of it",
		Long: `Sends the message in a file (- is standard input) to one destination of the
configuration: one real attempt, made as a worker makes it, and not repeated.
Printed are the request and the answer, but for secrets, what the answer means,
and what a worker would do next. The exit code is 0 when it was delivered.

The message is read as the records of the destination's source are (--source,
when it has several). Its key is the hotel in it, or --key. It has the sequence
number 0, which is below every real one, and a new Idempotency-Key each time. No
stream, lease or dead letter queue is touched.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := loadConfig(env, file)
			if err != nil {
				return err
			}
			d := cfg.Destination(destination)
			if d == nil {
				return fmt.Errorf("there is no destination %q; there are: %s", destination, strings.Join(destinationNames(cfg), ", "))
			}
			s, err := sourceOf(cfg, destination, source)
			if err != nil {
				return err
			}
			record, err := sentRecord(env, args[0], s, key)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			return send(cmd.Context(), env, cfg, d, s, record)
		},
	}
	configFlag(cmd, &file)
	cmd.Flags().StringVarP(&destination, "destination", "d", "", "the destination's `NAME`")
	cmd.Flags().StringVar(&source, "source", "", "the source's `NAME`, when the destination has several")
	cmd.Flags().StringVar(&key, "key", "", "partition key, for a message that names no hotel, or several")
	cmd.MarkFlagRequired("destination") //nolint:errcheck // it is defined above
	return cmd
}

// sourceOf is the source that the message is read as one of.
func sourceOf(c *config.Config, destination, name string) (*config.Source, error) {
	var found []*config.Source
	var names []string
	for i := range c.Sources {
		if s := &c.Sources[i]; slices.Contains(s.SubscriberNames(c), destination) && (name == "" || s.Name == name) {
			found = append(found, s)
			names = append(names, s.Name)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return nil, fmt.Errorf("destination %s has several sources: choose one of %s with --source", destination, strings.Join(names, ", "))
	case name != "":
		return nil, fmt.Errorf("destination %s is no subscriber of a source named %q", destination, name)
	}
	return nil, fmt.Errorf("destination %s is no subscriber of any source", destination)
}

// sentRecord is the message of a file as a record of a source.
func sentRecord(env environment, file string, s *config.Source, key string) (*pipeline.Record, error) {
	input := env.stdin
	if file != "-" {
		opened, err := os.Open(file)
		if err != nil {
			return nil, plainPathError(err)
		}
		defer opened.Close()
		input = opened
	}
	data, err := readMessage(input)
	if err != nil {
		return nil, plainPathError(err)
	}
	if key == "" {
		m, err := keyedMessage(data, "")
		if err != nil {
			return nil, err
		}
		key = m.Key
	}
	description, err := describe(s.Key)(key, data)
	if err != nil {
		return nil, fmt.Errorf("a worker would dead-letter it for the source %s: %w", s.Name, err)
	}
	return &pipeline.Record{Position: checkpoint.Number("0", 0), PartitionKey: key, Data: data, Arrival: time.Now(), Description: description}, nil
}

// noLetters stands for the dead letter queues, which a try does not write to.
type noLetters struct{}

func (noLetters) Put(context.Context, deliver.DeadLetter) error {
	return errors.New("nothing is dead-lettered here")
}

// send makes the attempt and prints it.
func send(ctx context.Context, env environment, cfg *config.Config, c *config.Destination, s *config.Source, record *pipeline.Record) (err error) {
	start, stop := refreshing(ctx)
	defer stop()
	base, credentials, err := consumers.NewBase(ctx, consumers.BaseConfig{Region: cfg.Region, Profile: cfg.AWS.Profile, Role: role(cfg.AWS.Role), Application: cfg.Application})
	if err != nil {
		return err
	}
	start(credentials.Run)
	own := &services{base: base, application: cfg.Application, logger: zap.NewNop(), refresh: start}
	store := newSecrets(own, nil)
	bindSecrets(cfg, store)
	store.Keep(secretIDs(&config.Config{Destinations: []config.Destination{*c}})) // no other one is asked for
	var tokens loads
	_ = loadSecrets(ctx, store, &tokens) // the attempt says it better

	shared := delivering{config: cfg, services: own, letters: map[string]deliver.DeadLetters{c.DeadLetters: noLetters{}}, gzip: deliver.NewGzip(),
		env: env, metrics: deliver.NewMetrics(prometheus.NewRegistry()), logger: zap.NewNop(), loads: &tokens}
	made, discard, err := shared.made(c)
	if err != nil {
		return err
	}
	defer discard()
	_ = tokens.run(ctx)
	d, err := deliver.New(made)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()

	var random [8]byte
	rand.Read(random[:]) //nolint:errcheck // never fails
	shard := pipeline.ShardInfo{Source: s.Name, Shard: "send-" + hex.EncodeToString(random[:]),
		Stream: pipeline.Stream{ARN: s.Stream.String(), Account: s.Stream.Account, Name: s.Stream.Name, Created: time.Now()}}
	began := time.Now()
	answer, exchange := d.Try(ctx, deliver.Message{Shard: &shard, Record: record, Attempt: 1})
	took := time.Since(began)

	var out bytes.Buffer
	if !made.Gets(s.Name, record) {
		fmt.Fprintf(&out, "note: a worker would not send it: the destination's filter is %s\n\n", c.Filter)
	}
	printExchange(&out, exchange, record, took)
	fmt.Fprintf(&out, "\n%s\n%s\n", meaningOf(answer), nextOf(c, answer))
	if _, err := env.stdout.Write(out.Bytes()); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	if answer.Reason != deliver.ReasonDelivered {
		return errReported
	}
	return nil
}

// printExchange prints a request and its answer.
func printExchange(out io.Writer, e *deliver.Exchange, record *pipeline.Record, took time.Duration) {
	for _, line := range e.Request {
		fmt.Fprintf(out, "> %s\n", line)
	}
	fmt.Fprintf(out, "> (a message of %d bytes, type %s, key %s)\n", len(record.Data), cell(record.Type), cell(record.Key))
	took = took.Round(time.Millisecond / 10)
	if len(e.Request) > 0 && len(e.Answer) == 0 {
		fmt.Fprintf(out, "< (no answer, after %s)\n", took)
		return
	}
	for i, line := range e.Answer {
		if i == 0 {
			line += fmt.Sprintf("  (after %s)", took)
		}
		fmt.Fprintf(out, "< %s\n", line)
	}
	if len(e.Answer) == 0 {
		return
	}
	body, more := e.Body, e.More
	if len(body) > maxShownBody {
		body, more = body[:maxShownBody], true
	}
	fmt.Fprintln(out, "<")
	for line := range strings.Lines(legible(body)) {
		fmt.Fprintf(out, "< %s\n", strings.TrimRight(line, "\r\n"))
	}
	if more {
		fmt.Fprintln(out, "< (and so on)")
	}
}

// legible is text from outside that does nothing to a terminal.
func legible(b []byte) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) && r != '\n' && r != '\r' && r != '\t' {
			return '�'
		}
		return r
	}, string(b))
}

// meaningOf is the outcome, as metrics call it, with its reason in words.
func meaningOf(a deliver.Answer) string {
	s := a.Reason.String()
	if a.Code != "" {
		s += ", code " + a.Code
	}
	if a.Detail != "" {
		s += ": " + a.Detail
	}
	return s
}

// nextOf is what a worker would do.
func nextOf(c *config.Destination, a deliver.Answer) string {
	hold := "a worker would hold the destination: nothing is lost or skipped, and one attempt now and then finds out when it passes"
	todo := ""
	if t := a.Reason.ToDo(); t != "" {
		todo = "\nto do: " + t
	}
	exhausted := hold
	if c.OnExhausted == config.OnExhaustedDeadLetter {
		exhausted = "it would go to the dead letters " + c.DeadLetters
	}
	switch a.Reason.Class() {
	case deliver.Delivered:
		return "a worker would settle it and go on with the key's next record"
	case deliver.Refused:
		if c.DeadLetters == "" {
			return hold + todo
		}
		return "a worker would write it to the dead letters " + c.DeadLetters + " and go on with the key's next record" + todo
	case deliver.Hold:
		return hold + todo
	}
	pause := fmt.Sprintf("after at most %s", c.Retry.Initial)
	if a.RetryAfter > 0 {
		pause = fmt.Sprintf("after %s, as the receiver asks", a.RetryAfter)
	}
	next := "a worker would try it again " + pause + ", and the key's later records would wait"
	var limits []string
	if c.Retry.MaxAttempts > 0 {
		limits = append(limits, fmt.Sprintf("%d attempts", c.Retry.MaxAttempts))
	}
	if c.Retry.MaxAge > 0 {
		limits = append(limits, c.Retry.MaxAge.String())
	}
	if len(limits) > 0 {
		next += "; after " + strings.Join(limits, " or ") + " " + exhausted
	}
	return next + todo
}
