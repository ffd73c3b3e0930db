package deliver

import (
	"bytes"
	"encoding/json"
	"time"
	"unicode/utf8"
)

// Envelope is a record as files and objects hold it: one line of JSON.
type Envelope struct {
	SequenceNumber string    `json:"sequence_number"` // as in X-Shardline-Sequence-Number
	Key            string    `json:"key"`
	Type           string    `json:"type,omitempty"`
	Arrival        time.Time `json:"arrival"`
	Source         string    `json:"source"`
	Stream         string    `json:"stream"` // ARN
	Shard          string    `json:"shard"`
	PartitionKey   string    `json:"partition_key"`
	ContentType    string    `json:"content_type"`
	Action         string    `json:"action,omitempty"`
	IdempotencyKey string    `json:"idempotency_key"`
	// One of the two: the record as text, or in base64 when it is not UTF-8.
	Data       *string `json:"data,omitempty"`
	DataBase64 []byte  `json:"data_base64,omitempty"`
}

// Envelope is the message with what is known of it.
func (m *Message) Envelope() Envelope {
	r := m.Record
	e := Envelope{
		SequenceNumber: m.SequenceNumber(), Key: r.Key, Type: r.Type, Arrival: r.Arrival.UTC(),
		Source: m.Shard.Source, Stream: m.Shard.Stream.ARN, Shard: m.Shard.Shard, PartitionKey: r.PartitionKey,
		ContentType: m.ContentType(), Action: r.Action, IdempotencyKey: m.IdempotencyKey(),
	}
	if utf8.Valid(r.Data) {
		text := string(r.Data)
		e.Data = &text
	} else {
		e.DataBase64 = r.Data
	}
	return e
}

// Line is the message's envelope as a line, with its end.
func (m *Message) Line() []byte {
	var line bytes.Buffer
	encoder := json.NewEncoder(&line)
	encoder.SetEscapeHTML(false) // XML stays legible
	if err := encoder.Encode(m.Envelope()); err != nil {
		panic(err) // text, bytes and a time of this era are JSON
	}
	return line.Bytes()
}

// SequenceNumber is what X-Shardline-Sequence-Number says.
func (m *Message) SequenceNumber() string { return sequenceNumber(m.Record) }

// IdempotencyKey is the same for a record at every attempt, from every worker.
func (m *Message) IdempotencyKey() string {
	return string(appendIdempotencyKey(nil, m.Shard, m.Record))
}

// ContentType is the message's own, with SOAP 1.2's action.
func (m *Message) ContentType() string {
	return string(appendContentType(nil, m.Record.ContentType, m.Record.SOAP, m.Record.Action))
}

// EscapedKey is the key as visible ASCII: what X-Shardline-Key says.
func (m *Message) EscapedKey() string {
	return string(appendEscaped(nil, m.Record.Key, &headerSafe))
}
