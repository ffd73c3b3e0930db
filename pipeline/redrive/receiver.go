package redrive

import (
	"context"
	"io"
	"strings"
	"sync"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/pipeline"
	"github.com/shardline/shardline/pipeline/deliver"
)

// receiver is a destination with the logs through which it gets letters, one
// for each shard.
type receiver struct {
	destination *deliver.Destination
	outcomes    chan<- outcome
	logs        map[shardKey]*shardLog

	mu     sync.Mutex // guards flying
	flying map[recordKey]*flight
}

type shardKey struct {
	stream  string
	created int64
	shard   string
}

type recordKey struct {
	shardKey
	at  checkpoint.Position
	key string // a source's keys may have been others
}

// shardLog is the letters of one shard on their way.
type shardLog struct {
	log    *pipeline.Log
	cursor *pipeline.Cursor
	cancel context.CancelFunc
}

func newReceiver(outcomes chan<- outcome) *receiver {
	return &receiver{outcomes: outcomes, logs: make(map[shardKey]*shardLog), flying: make(map[recordKey]*flight)}
}

func keyOf(l *deliver.DeadLetter) recordKey {
	return recordKey{shardKey{l.Stream, l.StreamCreated.Unix(), l.Shard}, position(l), l.Key}
}

// send hands a letter's record to the destination.
func (to *receiver) send(ctx context.Context, f *flight, command string) {
	l := &f.item.First().Letter
	key := keyOf(l)
	to.mu.Lock()
	to.flying[key] = f
	to.mu.Unlock()
	s := to.logs[key.shardKey]
	if s == nil {
		s = to.attach(ctx, l, command)
		to.logs[key.shardKey] = s
	}
	s.log.Append(pipeline.Record{Position: key.at, PartitionKey: l.PartitionKey, Data: l.Data, Arrival: l.Arrival,
		Description: pipeline.Description{Key: l.Key, Type: l.Type, ContentType: l.ContentType, Action: l.Action, SOAP: l.SOAP}}, false)
	to.destination.Wake(s.cursor)
}

func (to *receiver) attach(ctx context.Context, l *deliver.DeadLetter, command string) *shardLog {
	ctx, cancel := context.WithCancel(ctx)
	s := &shardLog{log: pipeline.NewLog(), cancel: cancel}
	info := pipeline.ShardInfo{Source: l.Source, Shard: l.Shard, Command: command,
		Stream: pipeline.Stream{ARN: l.Stream, Created: l.StreamCreated}}
	if parts := strings.SplitN(l.Stream, ":", 6); len(parts) == 6 {
		info.Stream.Account, info.Stream.Name = parts[4], strings.TrimPrefix(parts[5], "stream/")
	}
	s.cursor = s.log.Attach(info, checkpoint.Entry{}, func() bool { return ctx.Err() == nil })
	to.destination.Attach(ctx, s.cursor)
	return s
}

// free lets go of what has its outcome.
func (to *receiver) free(f *flight) {
	if s := to.logs[keyOf(&f.item.First().Letter).shardKey]; s != nil {
		s.log.Free()
	}
}

// close cancels what is on its way and waits for it.
func (to *receiver) close() error {
	for _, s := range to.logs {
		s.cancel()
		to.destination.Detach(s.cursor)
	}
	return to.destination.Close()
}

// came says what became of a record; refused nil: it is delivered.
func (to *receiver) came(key recordKey, refused *deliver.DeadLetter) {
	to.mu.Lock()
	f := to.flying[key]
	delete(to.flying, key)
	to.mu.Unlock()
	if f != nil {
		to.outcomes <- outcome{f, refused} // there is room for all that fly
	}
}

// Put implements deliver.DeadLetters: a letter that is refused again is in its
// queue already.
func (to *receiver) Put(_ context.Context, letter deliver.DeadLetter) error {
	to.came(keyOf(&letter), &letter)
	return nil
}

// wrap makes a transport that says what it has delivered.
func (to *receiver) wrap(t deliver.Transport) deliver.Transport { return &heard{t, to} }

type heard struct {
	deliver.Transport
	to *receiver
}

// Send implements deliver.Transport.
func (h *heard) Send(ctx context.Context, m *deliver.Message) deliver.Answer {
	answer := h.Transport.Send(ctx, m)
	if answer.Reason == deliver.ReasonDelivered {
		s := m.Shard
		h.to.came(recordKey{shardKey{s.Stream.ARN, s.Stream.Created.Unix(), s.Shard}, m.Record.Position, m.Record.Key}, nil)
	}
	return answer
}

// Close closes the transport.
func (h *heard) Close() error {
	if c, ok := h.Transport.(io.Closer); ok {
		return c.Close()
	}
	return nil
}
