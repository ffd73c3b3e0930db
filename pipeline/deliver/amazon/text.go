package amazon

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"time"
	"unicode/utf8"

	"github.com/shardline/shardline/pipeline/deliver"
)

// attribute is a message attribute of SQS and SNS, of type String.
type attribute struct{ name, value string }

const (
	// maxGroup is the longest message group id.
	maxGroup = 128
	// attributeType is counted against a message's size too.
	attributeType = "String"
)

// attributes are what is known of a message. They are nine at most, since SQS
// takes ten, also from SNS. Their names are those of the envelope.
func attributes(m *deliver.Message) []attribute {
	r := m.Record
	all := []attribute{
		{"sequence_number", m.SequenceNumber()},
		{"key", m.EscapedKey()}, // a key may have characters that an attribute may not
		{"type", r.Type},
		{"arrival", r.Arrival.UTC().Format(time.RFC3339Nano)},
		{"source", m.Shard.Source},
		{"shard", m.Shard.Shard},
		{"content_type", m.ContentType()},
		{"action", r.Action},
		{"idempotency_key", m.IdempotencyKey()},
	}
	set := all[:0]
	for _, a := range all {
		if a.value != "" && textOnly(a.value) == nil { // an empty one is refused
			set = append(set, a)
		}
	}
	return set
}

// group is the message group of a key: the key itself as visible ASCII, or when
// that is too long its digest, which no two keys share.
func group(m *deliver.Message) string {
	escaped := m.EscapedKey()
	if len(escaped) <= maxGroup {
		return escaped
	}
	sum := sha256.Sum256([]byte(m.Record.Key))
	return "sha256-" + hex.EncodeToString(sum[:])
}

// textOnly says why SQS does not take a text: it takes the characters of XML.
func textOnly(s string) error {
	if s == "" {
		return errors.New("it is empty")
	}
	for i, c := range s {
		switch {
		case c == utf8.RuneError:
			if _, size := utf8.DecodeRuneInString(s[i:]); size == 1 {
				return errors.New("it is not UTF-8")
			}
		case c < ' ' && c != '\t' && c != '\n' && c != '\r', c == 0xfffe, c == 0xffff:
			return errors.New("it has characters that no text has, such as U+0000")
		}
	}
	return nil
}
