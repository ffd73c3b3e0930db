package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/consumers"
	"github.com/shardline/shardline/pipeline"
	"github.com/shardline/shardline/pipeline/deliver"
	"github.com/shardline/shardline/pipeline/redrive"
)

const (
	// recordTimeout bounds the reading of one record from its stream.
	recordTimeout = time.Minute
	// recordBefore is how long before a record's arrival reading begins.
	recordBefore = time.Second
)

// record reads the data of a letter from its stream, as its source reads it.
func (l *openLetters) record(ctx context.Context, letter *deliver.DeadLetter) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, recordTimeout, fmt.Errorf("%s of %s was not found within %s", letter.SequenceNumber(), letter.Shard, recordTimeout))
	defer cancel()
	s, err := l.source(letter.Stream)
	if err != nil {
		return nil, err
	}
	return readRecord(ctx, s, letter)
}

// source is the way to a stream of the configuration, until close.
func (l *openLetters) source(arn string) (*consumers.Source, error) {
	if s := l.sources[arn]; s != nil {
		return s, nil
	}
	for i := range l.config.Sources {
		c := &l.config.Sources[i]
		if c.Stream.String() != arn {
			continue
		}
		// Aggregates are opened whatever shard their records are of: this one was
		// delivered from here.
		s, err := consumers.NewSource(consumers.Config{Name: c.Name, StreamARN: arn, Role: role(c.Role), Application: l.config.Application,
			PollInterval: c.PollInterval, OutOfRange: consumers.DeliverOutOfRange, Base: l.services.base})
		if err != nil {
			return nil, err
		}
		l.services.refresh(s.Run)
		if l.sources == nil {
			l.sources = make(map[string]*consumers.Source)
		}
		l.sources[arn] = s
		return s, nil
	}
	return nil, fmt.Errorf("no source of the configuration has the stream %s, in which its data is", arn)
}

// readRecord reads from shortly before the record's arrival on, up to it.
func readRecord(ctx context.Context, s *consumers.Source, letter *deliver.DeadLetter) ([]byte, error) {
	gone := func(why string) ([]byte, error) {
		return nil, fmt.Errorf("the record %s of %s: %s: %w", letter.SequenceNumber(), letter.Shard, why, redrive.ErrGone)
	}
	stream, err := s.Stream(ctx)
	if err != nil {
		return nil, err
	}
	if !stream.Created.Equal(letter.StreamCreated) {
		return gone("the stream was made again at " + stream.Created.UTC().Format(time.RFC3339))
	}
	want := checkpoint.Number(letter.Sequence, letter.SubSequence)
	shards, _, err := s.Shards(ctx)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(shards, func(known checkpoint.Shard) bool { return known.ID == letter.Shard })
	if i < 0 {
		return gone("its shard is trimmed")
	}
	r := s.Reader(shards[i], checkpoint.At(letter.Arrival.Add(-recordBefore)))
	defer r.Close()
	var failed error // the last one
	for {
		if err := r.Wait(ctx); err != nil { // it backs off after an error
			return nil, errors.Join(context.Cause(ctx), failed)
		}
		batch, err := r.Read(ctx)
		switch {
		case ctx.Err() != nil:
			return nil, errors.Join(context.Cause(ctx), failed)
		case errors.Is(err, pipeline.ErrDenied):
			return nil, err
		case errors.Is(err, pipeline.ErrShardGone), errors.Is(err, pipeline.ErrStreamGone):
			return gone(err.Error())
		case err != nil:
			failed = err
			continue
		}
		for i := range batch.Records {
			switch c := batch.Records[i].Position.Compare(want); {
			case c == 0:
				return batch.Records[i].Data, nil
			case c > 0:
				return gone("the stream has trimmed it")
			}
		}
		if batch.End || batch.Lag == 0 && len(batch.Records) == 0 {
			return gone("the stream has trimmed it")
		}
	}
}
