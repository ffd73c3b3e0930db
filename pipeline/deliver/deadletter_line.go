package deliver

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/pipeline"
)

// DataInStream is DataIn of a letter whose data is to be read from the stream
// again.
const DataInStream = "stream"

// Line is the letter as a line of JSON, with its end.
func (l *DeadLetter) Line() []byte {
	var line bytes.Buffer
	encoder := json.NewEncoder(&line) // it ends the line
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(l); err != nil {
		panic(err) // text, bytes and times of this era are JSON
	}
	return line.Bytes()
}

// ParseDeadLetter reads a letter's line. An error says what is wrong with it.
func ParseDeadLetter(line []byte) (DeadLetter, error) {
	var l DeadLetter
	if err := json.Unmarshal(line, &l); err != nil {
		return l, fmt.Errorf("no dead letter: %w", err)
	}
	switch {
	case l.Reason == "" || l.Stream == "" || l.Shard == "":
		return l, errors.New("no dead letter: it names no reason, stream or shard")
	case l.Time.IsZero():
		return l, errors.New("no dead letter: it has no time")
	case l.Sequence == "" && l.Gap == nil:
		return l, errors.New("no dead letter: it names no record")
	case l.Gap == nil && strings.Trim(l.Sequence, "0123456789") != "":
		return l, errors.New("no dead letter: its sequence number is none")
	}
	return l, nil
}

// ID names one letter: the same record has another one when it comes to the
// dead letters again, and the same one when its letter was only written twice.
func (l *DeadLetter) ID() string { return l.digest(l.Time.UTC().Format("20060102T150405.000000000")) }

// RecordID names the record and whom it is for, whenever it came to the dead
// letters by one delivery: that of a command is another one.
func (l *DeadLetter) RecordID() string { return l.digest(l.Command) }

func (l *DeadLetter) digest(more string) string {
	h := sha256.New()
	from, to := "", ""
	if l.Gap != nil {
		from, to = l.Gap.From, l.Gap.To
	}
	fmt.Fprintf(h, "%s\n%s\n%d\n%s\n%s:%d\n%s\n%s\n%s", l.Destination, l.Stream, l.StreamCreated.Unix(), l.Shard, l.Sequence, l.SubSequence, from, to, more)
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// SequenceNumber is what X-Shardline-Sequence-Number says of its record.
func (l *DeadLetter) SequenceNumber() string {
	return sequenceNumber(&pipeline.Record{Position: checkpoint.Position{Sequence: l.Sequence, Sub: l.SubSequence}})
}

// EscapedKey is its key as visible ASCII: what X-Shardline-Key says.
func (l *DeadLetter) EscapedKey() string {
	return string(appendEscaped(nil, l.Key, &headerSafe))
}

// Without is the letter without its data, which is at the place that in names.
func (l *DeadLetter) Without(in string) *DeadLetter {
	less := *l
	less.Data, less.DataIn = nil, in
	return &less
}
