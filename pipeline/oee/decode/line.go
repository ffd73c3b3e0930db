package decode

import (
	"bytes"
	"encoding/base64"
	"time"
)

// Line is a record as a line of a file of history has it.
type Line struct {
	Source  string    // empty: the line does not say
	Arrival time.Time // zero: it does not say
	Data    []byte    // valid until the next line
}

// The values of a line with an envelope, by their index.
const (
	lineSource = iota
	lineKey
	lineArrival
	lineData
	lineMetadata
	lineCount
)

// Lines reads lines of history. A line is the payload itself, or an envelope,
// {"source":…,"partition_key":…,"approximate_arrival":…,"data":…}, with the
// payload in its data: as an object, as text, or as text in base64.
type Lines struct {
	reader *reader
	places *branch
	found  [lineCount]raw
	data   []byte
}

// NewLines makes a reader of lines.
func NewLines() *Lines {
	p, err := places([]string{"/source", "/partition_key", "/approximate_arrival", "/data", "/metadata"})
	if err != nil {
		panic(err) // they are pointers
	}
	return &Lines{reader: newReader(), places: p}
}

// Read reads one line. A line that is no envelope is payload, whatever it is.
func (l *Lines) Read(line []byte) (Line, error) {
	if !bytes.Contains(line, []byte(`"data"`)) {
		return Line{Data: line}, nil
	}
	clear(l.found[:])
	v, err := l.reader.only(line)
	if err != nil || v[0] != '{' {
		return Line{Data: line}, nil // the decoder says what is wrong with it
	}
	l.places.read(v, l.found[:])
	named := l.found[lineSource] != nil || l.found[lineKey] != nil || l.found[lineArrival] != nil
	data := l.found[lineData]
	if !named || data == nil || l.found[lineMetadata] != nil { // a change record of DMS has data too
		return Line{Data: line}, nil
	}
	var read Line
	source, _ := l.found[lineSource].text()
	read.Source = string(source)
	if arrival := l.found[lineArrival]; arrival.present() {
		var err error
		if read.Arrival, err = instant(arrival, time.UTC); err != nil {
			return Line{}, wrong("/approximate_arrival", "%s: %v", shown(arrival), err)
		}
	}
	switch data[0] {
	case '{', '[':
		read.Data = data
	case '"':
		text, ok := data.text()
		if !ok {
			return Line{}, wrong("/data", "it is no text")
		}
		l.data = append(l.data[:0], make([]byte, base64.StdEncoding.DecodedLen(len(text)))...)
		n, err := base64.StdEncoding.Decode(l.data, text)
		if read.Data = l.data[:n]; err != nil { // no JSON object is base64
			read.Data = text
		}
	default:
		return Line{}, wrong("/data", "%s is neither an object nor text", shown(data))
	}
	return read, nil
}
