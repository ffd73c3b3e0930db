package amazon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/shardline/shardline/pipeline/deliver"
)

const (
	// letterTimeout bounds the writing of one letter: its lane then tries again.
	letterTimeout = 15 * time.Second
	// unbounded: how many lanes have letters at once is not known, so calls go
	// by their linger alone.
	unbounded = 1 << 30
)

// sourceName stands for the destination of letters that are their source's. No
// destination has it, since their names begin with a letter or a digit.
const sourceName = "_source"

// putLetter waits for the answer to a letter.
func putLetter[T any](ctx context.Context, b *batches[T], record T) (deliver.Answer, error) {
	bounded, cancel := context.WithTimeoutCause(ctx, letterTimeout, errors.New("the service did not answer in time"))
	defer cancel()
	answer := b.send(bounded, record)
	switch {
	case answer.Reason == deliver.ReasonDelivered:
		return answer, nil
	case bounded.Err() != nil && answer.Detail == "":
		return answer, context.Cause(bounded)
	}
	return answer, errors.New(answer.Detail)
}

// reduced puts a letter that may be too large for its queue: with its data when
// that is within limit and the queue takes it, else with its data in the
// overflow, or without, for it is in the stream.
func reduced(ctx context.Context, letter *deliver.DeadLetter, size, limit int, overflow *Overflow, put func(*deliver.DeadLetter) (deliver.Answer, error)) error {
	if size <= limit {
		answer, err := put(letter)
		// A queue or stream may have a limit of its own, which only its refusal
		// tells.
		if err == nil || answer.Reason.Class() != deliver.Refused || len(letter.Data) == 0 {
			return err
		}
	}
	in := deliver.DataInStream
	if overflow != nil {
		var err error
		if in, err = overflow.put(ctx, letter); err != nil {
			return err
		}
	}
	_, err := put(letter.Without(in))
	return err
}

// letterGroup is what keeps letters of one destination and key in order in a
// FIFO queue: DESTINATION/KEY, or the digest of that when it is too long.
func letterGroup(l *deliver.DeadLetter) string {
	name := l.Destination
	if name == "" {
		name = sourceName + "/" + l.Source
	}
	if text := name + "/" + l.EscapedKey(); len(text) <= maxGroup {
		return text
	}
	sum := sha256.Sum256([]byte(name + "/" + l.Key))
	return "sha256-" + hex.EncodeToString(sum[:])
}

// letterKey is the partition key of a letter: its record's key.
func letterKey(l *deliver.DeadLetter) string {
	switch {
	case l.Key == "" && l.PartitionKey == "": // of a gap
		return l.Shard
	case l.Key == "":
		return l.PartitionKey
	case len([]rune(l.Key)) <= maxPartitionKey:
		return l.Key
	}
	sum := sha256.Sum256([]byte(l.Key))
	return "sha256-" + hex.EncodeToString(sum[:])
}

// letterError is an error of a queue, which is named.
func letterError(queue string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("dead letters %s: %w", queue, err)
}
