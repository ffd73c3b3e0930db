package deliver

import (
	"context"
	"strconv"
	"time"

	"github.com/shardline/shardline/checkpoint"
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
	Command       string    `json:"command,omitempty"` // that had it delivered again

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
	// DataIn says where the data is when the queue could not take it:
	// s3://BUCKET/KEY, or DataInStream.
	DataIn string `json:"data_in,omitempty"`

	// Gap: this is no record, but a note of records that the stream trimmed.
	Gap *GapNote `json:"gap,omitempty"`

	reason Reason
}

// GapNote says where records are missing. Positions are
// SEQUENCE:SUB, or TRIM_HORIZON or AT_TIMESTAMP:MILLISECONDS.
type GapNote struct {
	From  string     `json:"from"`            // everything up to it was read
	To    string     `json:"to,omitempty"`    // the first record that is left; empty: none is
	Since *time.Time `json:"since,omitempty"` // what is missing arrived then or later
	Until *time.Time `json:"until,omitempty"` // when To arrived
}

// Excerpt is the beginning of an answer.
type Excerpt struct {
	Status int    `json:"status,omitempty"`
	Body   string `json:"body,omitempty"`
}

func newLetter(shard *pipeline.ShardInfo, r *pipeline.Record, reason Reason, detail string, now time.Time) *DeadLetter {
	return &DeadLetter{
		Time: now, Reason: reason.String(), Detail: detail,
		Source: shard.Source, Stream: shard.Stream.ARN, StreamCreated: shard.Stream.Created, Shard: shard.Shard, Command: shard.CommandOf(r),
		Sequence: r.Position.Sequence, SubSequence: r.Position.Sub, Arrival: r.Arrival,
		PartitionKey: r.PartitionKey, Key: r.Key, Type: r.Type, ContentType: r.ContentType, Action: r.Action, SOAP: r.SOAP,
		Data: r.Data, reason: reason,
	}
}

// letterOf is the dead letter of a lane's entry. d.mu is held.
func (d *Destination) letterOf(l *lane, reason Reason, a Answer, now time.Time) *DeadLetter {
	detail := a.Detail
	if reason != a.Reason { // the retries are used up: say on what
		detail = detailOf(a)
	}
	letter := newLetter(&l.of.shard, &l.entry.Record, reason, detail, now)
	letter.Destination = d.name
	letter.Attempts = l.attempts
	if l.attempts > 0 {
		first, last := l.first, l.last
		letter.FirstAttempt, letter.LastAttempt = &first, &last
	}
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

// Gap puts notes of trimmed records into letters, once for their source: it is
// made for pipeline.SourceConfig.Gap.
func Gap(letters DeadLetters) func(context.Context, pipeline.ShardInfo, pipeline.Gap) error {
	return func(ctx context.Context, shard pipeline.ShardInfo, g pipeline.Gap) error {
		reason, detail := ReasonPossibleGap, "the stream has trimmed the record of the position; records behind it may be lost"
		if g.Certain {
			reason, detail = ReasonGap, "the stream has trimmed records that were not settled"
		}
		note := GapNote{From: g.From.String()}
		if g.To != (checkpoint.Position{}) {
			note.To = g.To.String()
		}
		if !g.Since.IsZero() {
			note.Since = &g.Since
		}
		if !g.Until.IsZero() {
			note.Until = &g.Until
		}
		letter := newLetter(&shard, &pipeline.Record{Position: g.To, Arrival: g.Until}, reason, detail, time.Now())
		letter.Gap = &note
		return letters.Put(ctx, *letter)
	}
}

// sequenceNumber is a record's sequence number, with the sub-sequence number
// behind it when there is one: it grows per key.
func sequenceNumber(r *pipeline.Record) string {
	if r.Position.Sub == 0 {
		return r.Position.Sequence
	}
	return string(appendSequenceNumber(nil, r))
}

func appendSequenceNumber(b []byte, r *pipeline.Record) []byte {
	b = append(b, r.Position.Sequence...)
	if r.Position.Sub != 0 {
		b = append(b, ':')
		b = strconv.AppendInt(b, r.Position.Sub, 10)
	}
	return b
}
