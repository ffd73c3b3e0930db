package deliver

import (
	"context"
	"strconv"
	"time"

	"github.com/shardline/shardline/pipeline"
)

// DeadLetters keeps records that nobody can deliver, read or key. Put returns
// nil when the letter is durable. After an error it may or may not be there;
// the caller tries again, so that a letter may come twice, but never not at
// all. It is called by many goroutines.
type DeadLetters interface {
	Put(ctx context.Context, letter DeadLetter) error
}

// DeadLetter is a record with all that is needed to see why it is here, and to
// deliver it again. It is one line of JSON; data is in base64.
type DeadLetter struct {
	Time        time.Time `json:"time"`
	Destination string    `json:"destination"` // empty: it is its source's
	Reason      string    `json:"reason"`
	Detail      string    `json:"detail,omitempty"`

	Source        string    `json:"source"`
	Stream        string    `json:"stream"` // ARN
	StreamCreated time.Time `json:"stream_created"`
	Shard         string    `json:"shard"`
	Sequence      string    `json:"sequence_number"`
	SubSequence   int64     `json:"sub_sequence_number"`
	Arrival       time.Time `json:"arrival"`

	Attempts     int        `json:"attempts"`
	FirstAttempt *time.Time `json:"first_attempt,omitempty"`
	LastAttempt  *time.Time `json:"last_attempt,omitempty"`
	LastAnswer   *Excerpt   `json:"last_answer,omitempty"`

	PartitionKey string `json:"partition_key"`
	Key          string `json:"key,omitempty"`
	Type         string `json:"type,omitempty"`
	ContentType  string `json:"content_type,omitempty"`
	Action       string `json:"action,omitempty"`
	SOAP         string `json:"soap,omitempty"`
	Data         []byte `json:"data"`

	reason Reason
}

// Excerpt is the beginning of an answer.
type Excerpt struct {
	Status int    `json:"status,omitempty"`
	Body   string `json:"body,omitempty"`
}

func newLetter(shard *pipeline.ShardInfo, r *pipeline.Record, reason Reason, detail string, now time.Time) *DeadLetter {
	return &DeadLetter{
		Time: now, Reason: reason.String(), Detail: detail,
		Source: shard.Source, Stream: shard.Stream.ARN, StreamCreated: shard.Stream.Created, Shard: shard.Shard,
		Sequence: r.Position.Sequence, SubSequence: r.Position.Sub, Arrival: r.Arrival,
		PartitionKey: r.PartitionKey, Key: r.Key, Type: r.Type, ContentType: r.ContentType, Action: r.Action, SOAP: r.SOAP,
		Data: r.Data, reason: reason,
	}
}

// letterOf is the dead letter of a lane's entry. d.mu is held.
func (d *Destination) letterOf(l *lane, reason Reason, a Answer, now time.Time) *DeadLetter {
	detail := a.Detail
	if reason != a.Reason { // the retries are used up: say on what
		detail = a.Reason.String()
		if a.Detail != "" {
			detail += ": " + a.Detail
		}
	}
	letter := newLetter(&l.of.shard, &l.entry.Record, reason, detail, now)
	letter.Destination = d.name
	letter.Attempts = l.attempts
	first, last := l.first, l.last
	letter.FirstAttempt, letter.LastAttempt = &first, &last
	if a.Status != 0 || len(a.Body) > 0 {
		letter.LastAnswer = &Excerpt{Status: a.Status, Body: string(a.Body)}
	}
	return letter
}

// Unreadable puts records that cannot be read or keyed into letters, once for
// their source: it is made for pipeline.SourceConfig.Unreadable.
func Unreadable(letters DeadLetters) func(context.Context, pipeline.ShardInfo, pipeline.Record, error) error {
	return func(ctx context.Context, shard pipeline.ShardInfo, r pipeline.Record, reason error) error {
		return letters.Put(ctx, *newLetter(&shard, &r, ReasonUnreadable, reason.Error(), time.Now()))
	}
}

// sequenceNumber is a record's sequence number, with the sub-sequence number
// behind it when there is one: it grows per key.
func sequenceNumber(r *pipeline.Record) string {
	if r.Position.Sub == 0 {
		return r.Position.Sequence
	}
	return r.Position.Sequence + ":" + strconv.FormatInt(r.Position.Sub, 10)
}
