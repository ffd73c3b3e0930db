package http1

import (
	"bytes"
	"errors"
	"math"
)

var (
	errNotHTTP       = errors.New("malformed answer: it is not HTTP/1.1")
	errField         = errors.New("malformed answer: a line of its head is not a header")
	errLength        = errors.New("malformed answer: Content-Length is not one number")
	errCoding        = errors.New("malformed answer: Transfer-Encoding is not chunked")
	errHeadTooLong   = errors.New("the answer's headers are longer than 64 KiB")
	errFoldedFraming = errors.New("malformed answer: a header that says where the body ends is folded")
)

// protocol is what every answer begins with.
const protocol = "HTTP/1."

// headEnd is the length of the head that b begins with, its empty line
// included; 0: the end is not in b. There is none before from.
func headEnd(b []byte, from int) int {
	for i := max(from-3, 0); ; {
		n := bytes.IndexByte(b[i:], '\n')
		if n < 0 {
			return 0
		}
		i += n + 1
		switch {
		case i < len(b) && b[i] == '\n':
			return i + 1
		case i+1 < len(b) && b[i] == '\r' && b[i+1] == '\n':
			return i + 2
		}
	}
}

// parseHead reads a whole head.
func (a *Answer) parseHead(b []byte) error {
	line, rest := cutLine(b)
	// HTTP/1.1 200 OK: the reason may lack.
	if len(line) < len("HTTP/1.1 200") || string(line[:7]) != protocol || line[7] != '0' && line[7] != '1' || line[8] != ' ' ||
		len(line) > 12 && line[12] != ' ' {
		return errNotHTTP
	}
	status := 0
	for _, c := range line[9:12] {
		if c < '0' || c > '9' {
			return errNotHTTP
		}
		status = status*10 + int(c-'0')
	}
	if status < 100 {
		return errNotHTTP
	}
	*a = Answer{Status: status, old: line[7] == '0', length: -1}
	a.keep = !a.old
	a.framing = byClose
	framed := false // the last line says where the body ends
	for {
		if line, rest = cutLine(rest); len(line) == 0 {
			return a.frame()
		}
		if line[0] == ' ' || line[0] == '\t' { // the line before goes on
			if framed || len(rest) == 0 {
				return errFoldedFraming
			}
			continue
		}
		colon := bytes.IndexByte(line, ':')
		if colon <= 0 || !token(line[:colon]) {
			return errField
		}
		var err error
		if framed, err = a.field(line[:colon], trim(line[colon+1:])); err != nil {
			return err
		}
	}
}

// field takes a header; framed: it says where the body ends, or whether the
// connection stays.
func (a *Answer) field(name, value []byte) (framed bool, err error) {
	switch len(name) {
	case len("date"):
		if fold(name, "date") {
			a.Date = value
		}
	case len("connection"):
		if fold(name, "connection") {
			a.close = a.close || listed(value, "close")
			a.keep = !a.close && (a.keep || listed(value, "keep-alive"))
			return true, nil
		}
	case len("retry-after"):
		if fold(name, "retry-after") {
			a.RetryAfter = value
		}
	case len("content-length"):
		if fold(name, "content-length") {
			n, ok := number(value)
			if !ok || a.length >= 0 && n != a.length {
				return true, errLength
			}
			a.length = n
			return true, nil
		}
	case len("content-encoding"):
		if fold(name, "content-encoding") {
			a.ContentEncoding = value
		}
	case len("transfer-encoding"):
		if fold(name, "transfer-encoding") {
			if !fold(value, "chunked") || a.framing == chunked {
				return true, errCoding
			}
			a.framing = chunked
			return true, nil
		}
	}
	return false, nil
}

// frame decides how the body ends.
func (a *Answer) frame() error {
	if a.old && a.framing == chunked {
		// HTTP/1.0 has no chunks: who wrote this may mean either.
		a.framing, a.keep = byClose, false
	}
	switch {
	case a.Status < 200 || a.Status == 204 || a.Status == 304:
		a.framing = noBody
	case a.framing == chunked:
		// With a length beside it somebody on the way may have understood the
		// answer in another way.
		a.keep = a.keep && a.length < 0
	case a.length >= 0:
		a.framing = byLength
	default:
		a.keep = false
	}
	return nil
}

// cutLine splits off a line without its end.
func cutLine(b []byte) (line, rest []byte) {
	n := bytes.IndexByte(b, '\n')
	if n < 0 {
		return b, nil
	}
	line, rest = b[:n], b[n+1:]
	if n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return line, rest
}

// trim is b without the blanks around it.
func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for n := len(b) - 1; n >= 0 && (b[n] == ' ' || b[n] == '\t'); n-- {
		b = b[:n]
	}
	return b
}

// fold says whether b is the lower-case text in any case.
func fold(b []byte, text string) bool {
	if len(b) != len(text) {
		return false
	}
	for i := range b {
		c := b[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != text[i] {
			return false
		}
	}
	return true
}

// listed says whether a comma-separated list has the lower-case text.
func listed(list []byte, text string) bool {
	for len(list) > 0 {
		var one []byte
		if n := bytes.IndexByte(list, ','); n >= 0 {
			one, list = list[:n], list[n+1:]
		} else {
			one, list = list, nil
		}
		if fold(trim(one), text) {
			return true
		}
	}
	return false
}

// number reads digits alone.
func number(b []byte) (int64, bool) {
	n := int64(0)
	for _, c := range b {
		if c < '0' || c > '9' || n > (math.MaxInt64-9)/10 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, len(b) > 0
}

// token says whether b can be a header's name.
func token(b []byte) bool {
	for _, c := range b {
		if !tokens[c] {
			return false
		}
	}
	return true
}

var tokens = func() (t [256]bool) {
	for c := byte('!'); c <= '~'; c++ {
		t[c] = bytes.IndexByte([]byte(`"(),/:;<=>?@[\]{}`), c) < 0
	}
	return t
}()
