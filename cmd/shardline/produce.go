package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/shardline/shardline/cmd/shardline/config"
	"github.com/shardline/shardline/consumers"
	"github.com/shardline/shardline/pipeline/opentravel"
)

const (
	// maxProduced bounds one message: the largest record of a stream.
	maxProduced = 10 << 20
	// maxProducedTotal bounds what is read before the first message is put.
	maxProducedTotal = 512 << 20
	// produceApplication is the session name of a role assumed by produce.
	produceApplication = "shardline-produce"
)

type produceOptions struct {
	stream, profile string
	role            consumers.Role
	key             string
	rate            float64
	repeat          int
	aggregate       bool
	giveUp          time.Duration
}

func newProduceCommand(env environment) *cobra.Command {
	var o produceOptions
	command := &cobra.Command{
		Use:   "produce --stream ARN [flags] FILE…",
		Short: "Put OpenTravel messages into a stream, keyed by hotel, in order per hotel",
		Long: `Put OpenTravel messages into a stream. Each file is one message; a directory is
all its files, in the order of their names; - is standard input.

The partition key is the hotel code of the message. A message that cannot be
read, or that names no hotel or several, is refused, and nothing is put, unless
--key says which key such messages take.

Messages of one hotel are in the stream in the order given: each goes when the
one before it is acknowledged. What the stream refuses for its rate, and calls
whose outcome is unknown, are put again with back-off; the latter may be in the
stream twice.

With --aggregate messages of one hotel that wait together go as one aggregated
record of up to 50 KiB, in their order, under the hotel's key; consumers have to
open it, as the Kinesis Client Library and shardline run do. It makes a stream
take many small messages of one hotel faster; messages of several hotels are
never in one record, so that a split or merge moves a hotel's as a whole.

Prints how many messages Kinesis acknowledged. Exits 1 when any was not.`,
		Args: someFiles,
		RunE: func(cmd *cobra.Command, files []string) error {
			messages, err := loadMessages(env, files, o.key)
			if err != nil {
				return err
			}
			return produce(cmd.Context(), env, o, messages)
		},
	}
	flags := command.Flags()
	flags.StringVar(&o.stream, "stream", "", "ARN of the stream")
	flags.StringVar(&o.role.ARN, "role", "", "ARN of a role to assume; without it the default credentials put")
	flags.StringVar(&o.role.ExternalID, "external-id", "", "external id of the role")
	flags.StringVar(&o.profile, "profile", "", "profile of the AWS configuration files")
	flags.StringVar(&o.key, "key", "", "partition key of messages without exactly one hotel code")
	flags.Float64Var(&o.rate, "rate", 0, "messages per second; 0: as fast as the stream takes them")
	flags.IntVar(&o.repeat, "repeat", 1, "put all files so many times; 0, or no number: until interrupted")
	flags.Lookup("repeat").NoOptDefVal = "0"
	flags.BoolVar(&o.aggregate, "aggregate", false, "put messages of one hotel that wait together as one aggregated record")
	flags.DurationVar(&o.giveUp, "give-up", time.Minute, "end when nothing was acknowledged for so long")
	cobra.CheckErr(command.MarkFlagRequired("stream"))
	return command
}

// loadMessages reads files and directories, all before anything is put: a file
// that is refused is found in time.
func loadMessages(env environment, files []string, key string) ([]consumers.Message, error) {
	var messages []consumers.Message
	var problems []error
	total := 0
	add := func(file string, data []byte, err error) error {
		if err == nil {
			total += len(data)
			if total > maxProducedTotal {
				return fmt.Errorf("more than %d MiB of messages: put them in several calls", maxProducedTotal>>20)
			}
			var m consumers.Message
			if m, err = keyedMessage(data, key); err == nil {
				messages = append(messages, m)
				return nil
			}
		}
		problems = append(problems, fmt.Errorf("%s: %w", file, err))
		return nil
	}
	for _, file := range files {
		if file == "-" {
			data, err := readMessage(env.stdin)
			if err := add(file, data, err); err != nil {
				return nil, err
			}
			continue
		}
		err := filepath.WalkDir(file, func(path string, entry fs.DirEntry, err error) error {
			switch {
			case err != nil:
				problems = append(problems, err)
				return nil
			case entry.IsDir(), path != file && !entry.Type().IsRegular():
				return nil
			}
			data, err := readMessageFile(path)
			return add(path, data, err)
		})
		if err != nil {
			return nil, err
		}
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("nothing was put:\n%w", errors.Join(problems...))
	}
	if len(messages) == 0 {
		return nil, errors.New("no messages: the directories hold no files")
	}
	return messages, nil
}

func readMessageFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, plainPathError(err)
	}
	defer file.Close()
	data, err := readMessage(file)
	return data, plainPathError(err)
}

// plainPathError is the reason alone: the file's name stands beside it.
func plainPathError(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

func readMessage(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxProduced+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxProduced {
		return nil, fmt.Errorf("larger than a record can be (%d MiB)", maxProduced>>20)
	}
	return data, nil
}

// keyedMessage keys a message by its one hotel; otherwise by key, if there is
// one.
func keyedMessage(data []byte, key string) (consumers.Message, error) {
	m, err := opentravel.Scan(data)
	switch hotel := m.Hotel(); {
	case err == nil && hotel != "":
		return consumers.Message{Key: hotel, Data: data}, nil
	case key != "":
		return consumers.Message{Key: key, Data: data}, nil
	case err != nil:
		return consumers.Message{}, fmt.Errorf("not a message: %w (--key KEY puts it all the same)", err)
	case len(m.HotelCodes) == 0:
		return consumers.Message{}, fmt.Errorf("%s names no hotel: say its partition key with --key", m.Type)
	}
	return consumers.Message{}, fmt.Errorf("%s names %d hotels: say its partition key with --key", m.Type, len(m.HotelCodes))
}

// errInterrupted ends an endless run as it was meant to.
var errInterrupted = errors.New("interrupted")

// produce puts the messages and waits for their acknowledgements.
func produce(ctx context.Context, env environment, o produceOptions, messages []consumers.Message) (err error) {
	if o.rate < 0 || o.repeat < 0 || o.giveUp <= 0 {
		return errors.New("--rate and --repeat must not be negative, --give-up must be positive")
	}
	logger, err := newLogger(config.Log{Level: "warn", Format: "console"}, env.stderr)
	if err != nil {
		return err
	}
	base, baseCredentials, err := consumers.NewBase(ctx, consumers.BaseConfig{Profile: o.profile, Logger: logger})
	if err != nil {
		return err
	}
	reach := consumers.ClientConfig{Name: "produce", StreamARN: o.stream, Application: produceApplication, Base: base, Logger: logger}
	if o.role.ARN != "" {
		reach.Role = &o.role
	} else if o.role.ExternalID != "" {
		return errors.New("--external-id needs --role")
	}
	client, credentials, err := consumers.NewClient(reach)
	if err != nil {
		return err
	}
	signer := credentials
	if signer == nil {
		signer = baseCredentials
	}
	producer := consumers.NewProducer(consumers.ProducerConfig{Client: client, StreamARN: o.stream, Credentials: signer, Aggregate: o.aggregate})

	// The producer outlives the first signal, to get acknowledged what it
	// accepted; the watch ends it when that comes to nothing.
	working, giveUp := context.WithCancelCause(context.WithoutCancel(ctx))
	var all sync.WaitGroup
	// Both end with working, and have no other outcome.
	all.Go(func() { _ = baseCredentials.Run(working) })
	all.Go(func() { _ = credentials.Run(working) })
	all.Go(func() { watchProgress(working, producer, o.giveUp, giveUp) })
	ran := make(chan error, 1)
	all.Go(func() { ran <- producer.Run(working) })

	putting, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	// After the first signal the default action is back: a second one kills.
	context.AfterFunc(putting, stop)
	defer stop()
	start := time.Now()
	put, putErr := putAll(putting, producer, o, messages)
	closeErr := producer.Close(working)
	took := time.Since(start)
	stalled := context.Cause(working)
	giveUp(nil)
	all.Wait()

	done := producer.Produced()
	fmt.Fprintf(env.stdout, "acknowledged %d of %d messages in %s (%.0f/s); put again %d, of these %d with unknown outcome (may be in the stream twice)\n",
		done.Acknowledged, put, took.Round(time.Millisecond), float64(done.Acknowledged)/max(took.Seconds(), 0.001), done.Retries, done.Unknown)
	switch err := <-ran; {
	case err != nil:
		return err
	case stalled != nil:
		if done.LastError != nil {
			return fmt.Errorf("%w; last error: %w", stalled, done.LastError)
		}
		return stalled
	case putErr != nil && !errors.Is(putErr, errInterrupted):
		return putErr
	case closeErr != nil:
		return closeErr
	case errors.Is(putErr, errInterrupted) && o.repeat != 0:
		return fmt.Errorf("interrupted: %d of %d messages were not put", len(messages)*o.repeat-put, len(messages)*o.repeat)
	}
	return nil
}

// putAll puts the messages as often as asked, at the rate asked for, and says
// how many the producer accepted.
func putAll(ctx context.Context, producer *consumers.Producer, o produceOptions, messages []consumers.Message) (int, error) {
	start, put := time.Now(), 0
	for round := 0; o.repeat == 0 || round < o.repeat; round++ {
		for _, m := range messages {
			if o.rate > 0 {
				due := start.Add(time.Duration(float64(put) / o.rate * float64(time.Second)))
				timer := time.NewTimer(time.Until(due))
				select {
				case <-timer.C:
				case <-ctx.Done():
					timer.Stop()
				}
			}
			if ctx.Err() != nil {
				return put, errInterrupted
			}
			if err := producer.Put(ctx, m); err != nil {
				if ctx.Err() != nil {
					return put, errInterrupted
				}
				return put, err
			}
			put++
		}
	}
	return put, nil
}

// watchProgress ends the work when messages wait and nothing was acknowledged
// for a while.
func watchProgress(ctx context.Context, producer *consumers.Producer, patience time.Duration, giveUp context.CancelCauseFunc) {
	last, since := int64(-1), time.Now()
	ticker := time.NewTicker(max(patience/10, time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		switch now := producer.Produced(); {
		case now.Pending == 0 || now.Acknowledged != last:
			last, since = now.Acknowledged, time.Now()
		case time.Since(since) >= patience:
			giveUp(fmt.Errorf("gave up: nothing was acknowledged for %s, %d messages wait", patience, now.Pending))
			return
		}
	}
}
