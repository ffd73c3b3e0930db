package pipeline

import (
	"context"
	"crypto/sha256"
	"errors"
	"strconv"
	"time"

	"github.com/shardline/shardline/checkpoint"
)

// Record is one user record of a shard.
type Record struct {
	Position     checkpoint.Position
	PartitionKey string
	Data         []byte    // shared by all subscribers: nobody writes to it
	Arrival      time.Time // approximate arrival time, by the stream's clock
	Blank        bool      // nothing to deliver: it is here for its position alone

	// Filled in by the worker before the record is appended.
	Description
	// Identity is what ShardInfo.Identity says, once for all subscribers; zero:
	// nobody asked yet.
	Identity [sha256.Size]byte
}

// Identity names a record of a shard for ever: the SHA-256 of the stream, its
// creation, the shard and the position.
func (i *ShardInfo) Identity(at checkpoint.Position) [sha256.Size]byte {
	var buffer [256]byte
	b := append(buffer[:0], i.Stream.ARN...)
	b = append(b, '\n')
	b = strconv.AppendInt(b, i.Stream.Created.Unix(), 10)
	b = append(b, '\n')
	b = append(b, i.Shard...)
	b = append(b, '\n')
	b = append(b, at.Sequence...)
	b = append(b, ':')
	b = strconv.AppendInt(b, at.Sub, 10)
	return sha256.Sum256(b)
}

// Description is what a source's Describe says of a record.
type Description struct {
	Key         string   // the lane key; never empty for a record that is delivered
	Type        string   // message type; empty: unknown
	Hotels      []string // that the message names; nobody writes to it
	ContentType string
	Action      string // SOAPAction, or the action of SOAP 1.2; empty: none
	SOAP        string // "1.1", "1.2" or empty
	Fallback    string // why Key is the partition key although another one is configured; empty: it is as configured
}

// Describe says what a record is and which key orders it. An error means
// that the record cannot be read or keyed: it goes to the dead letters of its
// source.
type Describe func(partitionKey string, data []byte) (Description, error)

// Stream is what identifies a stream, and how long it keeps its records.
type Stream struct {
	ARN     string
	Account string
	Name    string
	Created time.Time // to the second: a stream made again under its name is another one

	// As it was when it was described: how long it keeps a record, and when that
	// was, by the service's clock. Zero: not known.
	Retention time.Duration
	At        time.Time
}

var (
	// ErrStreamGone: the stream does not exist (any more).
	ErrStreamGone = errors.New("no such stream")
	// ErrShardGone: the shard does not exist (any more): the stream trimmed it.
	ErrShardGone = errors.New("no such shard")
	// ErrDenied: the role is refused or lacks a permission.
	ErrDenied = errors.New("access denied")
	// ErrThrottled: the service asks to slow down.
	ErrThrottled = errors.New("throttled")
)

// Source is a stream and the way to reach it.
type Source interface {
	Name() string
	// Stream identifies the stream.
	Stream(ctx context.Context) (Stream, error)
	// Shards lists every shard that the stream still knows, and says when by
	// the service's own clock.
	Shards(ctx context.Context) ([]checkpoint.Shard, time.Time, error)
	// Reader reads a shard from behind a position: records that the position
	// covers may come again. Of the shard its id and hash keys are known. It
	// starts nothing before Read is called.
	Reader(shard checkpoint.Shard, from checkpoint.Position) Reader
	// CatchUp reads a shard a second time beside its Reader, by polling.
	CatchUp(shard checkpoint.Shard, from checkpoint.Position) Reader
	// Forget says that a shard is no longer read here.
	Forget(shard string)
}

// Reader reads one shard from front to end. It is used by one goroutine.
type Reader interface {
	// Wait returns when the next read is due: it paces reads, and backs off
	// after an error of Read.
	Wait(ctx context.Context) error
	// Read returns at most ReadRecords records with ReadBytes bytes of data and
	// partition keys. After an error the next Read continues at the same place;
	// without one, it says that the batch before it has been appended.
	Read(ctx context.Context) (Batch, error)
	// Close ends the reading and returns when nothing of it runs any more.
	// Whoever has the reader closes it; nothing is read afterwards.
	Close()
}

// ReadBytes bounds the data and keys of one batch: the service's limit per
// call, and the largest record.
const ReadBytes = 10 << 20

// ReadRecords bounds the records of one batch: the service's limit per call.
// Aggregated records may hold many more, which come in further batches.
const ReadRecords = 10_000

// Batch is the answer of one read.
type Batch struct {
	Records  []Record
	Lag      time.Duration      // how far behind the tip the last record was read
	Tip      bool               // nothing was left to read behind the records
	End      bool               // the shard is closed and this was its last batch
	Children []checkpoint.Shard // with End: the shards that continue it
	Gap      *Gap               // records before these that the stream has trimmed; nil: none
	// Continues: it was read with what the batch before it gave, and of the same
	// stream for certain. Otherwise the stream's name was used, and the worker
	// makes sure that it is still the same stream.
	Continues bool
}

// Gap is where records may be lost: the stream trimmed them before they were
// read.
type Gap struct {
	From  checkpoint.Position // everything up to it was read
	To    checkpoint.Position // the first record after it that is left; zero: none is
	Since time.Time           // when what came after From arrived at the earliest; zero: not known
	Until time.Time           // when To arrived; zero: not known
	// Certain: a record between them is known to be lost. Otherwise From may
	// have been the last before To. The worker fills it in.
	Certain bool
}
