package http1

import (
	"errors"
	"io"
)

var (
	errChunk     = errors.New("malformed answer: a chunk's size or end is wrong")
	errBodyCut   = errors.New("the answer's body broke off: the connection was closed")
	errChunkHead = errors.New("malformed answer: a chunk's line or the trailers have no end")
)

// maxChunkLine bounds a chunk's size with its extensions.
const maxChunkLine = 4 << 10

// fill reads more into b; the answer is at its end when that is an error.
func (x *conn) fill(b []byte) ([]byte, error) {
	if len(b) == cap(b) {
		b = append(b, 0)[:len(b)]
	}
	n, err := x.net.Read(b[len(b):cap(b)])
	b = b[:len(b)+n]
	if n > 0 {
		return b, nil // an error comes again
	}
	if err == nil {
		err = io.ErrNoProgress // no reader of ours reads nothing
	}
	return b, err
}

// readBody reads the body of an answer. b[start:] is what has come of it with
// the head. It says whether the connection can be used again.
func (x *conn) readBody(call *Call, b []byte, start int) bool {
	a := &call.Answer
	switch {
	case a.framing == noBody || call.NoBody:
		return a.keep && len(b) == start
	case a.framing == chunked:
		return x.readChunks(call, b, start)
	}
	left := a.length // with byLength: what the body still has
	if a.framing == byClose {
		left = 1 << 62
	}
	wanted := int(min(left, int64(call.Limit)))
	var err error
	for len(b)-start < wanted && err == nil {
		b, err = x.fill(b)
	}
	have := len(b) - start
	a.Body = b[start : start+min(have, wanted)]
	left -= int64(have)
	if a.framing == byClose {
		switch {
		case errors.Is(err, io.EOF):
		case err != nil:
			a.Truncated, a.Err = true, err
		default:
			a.Truncated = true
		}
		return false
	}
	if err != nil {
		a.Truncated, a.Err = true, cut(err)
		return false
	}
	if left < 0 { // something behind the answer that nobody asked for
		return false
	}
	a.Truncated = have > wanted || left > 0
	if left > maxDrain {
		return false
	}
	return x.drain(left) && a.keep
}

// drain reads n bytes that nobody wants, and says whether no more came.
func (x *conn) drain(n int64) bool {
	if n == 0 {
		return true
	}
	b := make([]byte, min(n, bufferSize)+1)
	for n > 0 {
		got, err := x.net.Read(b)
		if n -= int64(got); err != nil && n > 0 {
			return false
		}
	}
	return n == 0
}

// readChunks reads a chunked body and joins the chunks where they stand.
func (x *conn) readChunks(call *Call, b []byte, start int) bool {
	a := &call.Answer
	var d chunks
	end := start + call.Limit // nothing is kept from there on
	kept, dropped := start, 0
	for raw := b[start:]; ; {
		for len(raw) > 0 && !d.ended {
			used, data, err := d.next(raw)
			if err != nil {
				a.Body, a.Truncated, a.Err = b[start:kept], true, err
				return false
			}
			if data {
				n := copy(b[kept:min(end, kept+used)], raw[:used]) // raw stands at kept or behind it
				kept += n
				dropped += used - n
			}
			raw = raw[used:]
		}
		a.Body = b[start:kept]
		if d.ended {
			a.Truncated = dropped > 0
			return a.keep && len(raw) == 0
		}
		if dropped > maxDrain {
			a.Truncated = true
			return false
		}
		var err error
		if b, err = x.fill(b[:kept]); err != nil {
			a.Body, a.Truncated, a.Err = b[start:kept], true, cut(err)
			return false
		}
		raw = b[kept:]
	}
}

func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return errBodyCut
	}
	return err
}

// chunks is where the reading of a chunked body stands.
type chunks struct {
	state chunkState
	left  int64 // of the chunk's data
	line  int   // bytes of the line so far
	total int   // bytes of the trailers so far
	named bool  // the trailer's line has its name
	ended bool
}

type chunkState uint8

const (
	inSize      chunkState = iota
	inExtension            // up to the line's end
	inSizeEnd              // the LF of the size's line
	inData
	inDataCR // behind the data
	inDataLF
	inTrailer // a trailer's line, or the last, empty one
	inTrailerLF
)

// next takes what b begins with: data, or a byte of the framing.
func (d *chunks) next(b []byte) (used int, data bool, err error) {
	c := b[0]
	switch d.state {
	case inSize:
		digit, ok := hexDigit(c)
		switch {
		case ok && d.line < 15: // less than 2^60
			d.left = d.left<<4 | digit
			d.line++
		case ok || d.line == 0:
			return 0, false, errChunk
		case c == '\r':
			d.state = inSizeEnd
		case c == ';' || c == ' ' || c == '\t':
			d.state = inExtension
		default:
			return 0, false, errChunk
		}
	case inExtension:
		if d.line++; d.line > maxChunkLine {
			return 0, false, errChunkHead
		}
		switch c {
		case '\r':
			d.state = inSizeEnd
		case '\n':
			return 0, false, errChunk
		}
	case inSizeEnd:
		if c != '\n' {
			return 0, false, errChunk
		}
		if d.line = 0; d.left == 0 {
			d.state = inTrailer
		} else {
			d.state = inData
		}
	case inData:
		n := int(min(d.left, int64(len(b))))
		if d.left -= int64(n); d.left == 0 {
			d.state = inDataCR
		}
		return n, true, nil
	case inDataCR:
		if c != '\r' {
			return 0, false, errChunk
		}
		d.state = inDataLF
	case inDataLF:
		if c != '\n' {
			return 0, false, errChunk
		}
		d.state = inSize
	case inTrailer:
		if d.total++; d.total > maxHead {
			return 0, false, errChunkHead
		}
		switch c {
		case '\r':
			d.state = inTrailerLF
		case '\n':
			return 0, false, errChunk
		default:
			if c == ':' && d.line > 0 {
				d.named = true
			}
			if !d.named && !tokens[c] {
				return 0, false, errField
			}
			d.line++
		}
	case inTrailerLF:
		if c != '\n' || d.line > 0 && !d.named {
			return 0, false, errField
		}
		if d.line == 0 {
			d.ended = true
		}
		d.line, d.named, d.state = 0, false, inTrailer
	}
	return 1, false, nil
}

func hexDigit(c byte) (int64, bool) {
	switch {
	case '0' <= c && c <= '9':
		return int64(c - '0'), true
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int64(c|0x20-'a') + 10, true
	}
	return 0, false
}
