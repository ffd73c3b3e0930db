package localaws

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// jsonReader reads the requests of the hot operations without reflection. It
// is a plain pull parser: each method consumes one value or fails.
type jsonReader struct {
	data []byte
	at   int
}

// maxDepth bounds nesting: DynamoDB allows 32 levels of documents, two JSON
// levels each.
const maxDepth = 80

var errJSON = errors.New("the request is no valid JSON of this operation")

func (j *jsonReader) fail(what string) error {
	return fmt.Errorf("%w: %s at byte %d", errJSON, what, j.at)
}

// next skips white space and returns the byte that follows; 0 at the end.
func (j *jsonReader) next() byte {
	for j.at < len(j.data) {
		switch c := j.data[j.at]; c {
		case ' ', '\t', '\n', '\r':
			j.at++
		default:
			return c
		}
	}
	return 0
}

func (j *jsonReader) expect(c byte) error {
	if j.next() != c {
		return j.fail("expected " + string(c))
	}
	j.at++
	return nil
}

// end checks that nothing follows.
func (j *jsonReader) end() error {
	if j.next() != 0 || j.at < len(j.data) {
		return j.fail("trailing data")
	}
	return nil
}

// null consumes a null if one is there.
func (j *jsonReader) null() bool {
	if j.next() == 'n' && bytes.HasPrefix(j.data[j.at:], []byte("null")) {
		j.at += 4
		return true
	}
	return false
}

// object calls field for every field; it must consume the value.
func (j *jsonReader) object(field func(name string) error) error {
	if err := j.expect('{'); err != nil {
		return err
	}
	if j.next() == '}' {
		j.at++
		return nil
	}
	for {
		name, err := j.text()
		if err != nil {
			return err
		}
		if err := j.expect(':'); err != nil {
			return err
		}
		if err := field(name); err != nil {
			return err
		}
		switch j.next() {
		case ',':
			j.at++
		case '}':
			j.at++
			return nil
		default:
			return j.fail("expected , or }")
		}
	}
}

// array calls element for every element; it must consume the value.
func (j *jsonReader) array(element func() error) error {
	if err := j.expect('['); err != nil {
		return err
	}
	if j.next() == ']' {
		j.at++
		return nil
	}
	for {
		if err := element(); err != nil {
			return err
		}
		switch j.next() {
		case ',':
			j.at++
		case ']':
			j.at++
			return nil
		default:
			return j.fail("expected , or ]")
		}
	}
}

// text reads a string; null is the empty one.
func (j *jsonReader) text() (string, error) {
	b, err := j.raw()
	return string(b), err
}

// raw reads a string and returns its bytes, which may be those of the request.
func (j *jsonReader) raw() ([]byte, error) {
	if j.null() {
		return nil, nil
	}
	if err := j.expect('"'); err != nil {
		return nil, err
	}
	start := j.at
	end := bytes.IndexByte(j.data[start:], '"')
	if end < 0 {
		return nil, j.fail("unterminated string")
	}
	plain := j.data[start : start+end]
	if bytes.IndexByte(plain, '\\') < 0 {
		j.at = start + end + 1
		return plain, nil
	}
	return j.escaped()
}

// escaped reads the rest of a string that has escapes.
func (j *jsonReader) escaped() ([]byte, error) {
	var out []byte
	for j.at < len(j.data) {
		c := j.data[j.at]
		j.at++
		switch c {
		case '"':
			return out, nil
		case '\\':
			if j.at >= len(j.data) {
				return nil, j.fail("unterminated string")
			}
			e := j.data[j.at]
			j.at++
			switch e {
			case '"', '\\', '/':
				out = append(out, e)
			case 'b':
				out = append(out, '\b')
			case 'f':
				out = append(out, '\f')
			case 'n':
				out = append(out, '\n')
			case 'r':
				out = append(out, '\r')
			case 't':
				out = append(out, '\t')
			case 'u':
				r, err := j.hex4()
				if err != nil {
					return nil, err
				}
				if utf16.IsSurrogate(r) && bytes.HasPrefix(j.data[j.at:], []byte(`\u`)) {
					before := j.at
					j.at += 2
					low, err := j.hex4()
					if err != nil {
						return nil, err
					}
					if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
						r = pair
					} else {
						j.at = before
					}
				}
				out = utf8.AppendRune(out, r)
			default:
				return nil, j.fail("bad escape")
			}
		default:
			out = append(out, c)
		}
	}
	return nil, j.fail("unterminated string")
}

func (j *jsonReader) hex4() (rune, error) {
	if j.at+4 > len(j.data) {
		return 0, j.fail("bad escape")
	}
	n, err := strconv.ParseUint(string(j.data[j.at:j.at+4]), 16, 32)
	if err != nil {
		return 0, j.fail("bad escape")
	}
	j.at += 4
	return rune(n), nil
}

func (j *jsonReader) boolean() (bool, error) {
	j.next()
	switch rest := j.data[j.at:]; {
	case bytes.HasPrefix(rest, []byte("true")):
		j.at += 4
		return true, nil
	case bytes.HasPrefix(rest, []byte("false")), bytes.HasPrefix(rest, []byte("null")):
		ok := rest[0] == 'n'
		j.at += 5
		if ok {
			j.at--
		}
		return false, nil
	}
	return false, j.fail("expected a boolean")
}

// integer reads a whole number.
func (j *jsonReader) integer() (int, error) {
	j.next()
	start := j.at
	for j.at < len(j.data) && (j.data[j.at] == '-' || (j.data[j.at] >= '0' && j.data[j.at] <= '9')) {
		j.at++
	}
	n, err := strconv.Atoi(string(j.data[start:j.at]))
	if err != nil {
		return 0, j.fail("expected a whole number")
	}
	return n, nil
}

// skip consumes any value.
func (j *jsonReader) skip(depth int) error {
	if depth > maxDepth {
		return j.fail("nested too deeply")
	}
	switch c := j.next(); {
	case c == '{':
		return j.object(func(string) error { return j.skip(depth + 1) })
	case c == '[':
		return j.array(func() error { return j.skip(depth + 1) })
	case c == '"':
		_, err := j.raw()
		return err
	case c == 't' || c == 'f' || c == 'n':
		_, err := j.boolean()
		return err
	case c == '-' || (c >= '0' && c <= '9'):
		for j.at < len(j.data) && bytes.IndexByte([]byte("+-.eE0123456789"), j.data[j.at]) >= 0 {
			j.at++
		}
		return nil
	}
	return j.fail("expected a value")
}

func quote(s string) []byte { return appendQuoted(nil, s) }

// appendQuoted appends s as a JSON string.
func appendQuoted(out []byte, s string) []byte {
	const digits = "0123456789abcdef"
	out = append(out, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				out = append(append(out, s[start:i]...), `\ufffd`...)
				start = i + 1
			}
			i += size
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		out = append(out, s[start:i]...)
		switch c {
		case '"', '\\':
			out = append(out, '\\', c)
		case '\n':
			out = append(out, '\\', 'n')
		default:
			out = append(out, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		}
		i++
		start = i
	}
	return append(append(out, s[start:]...), '"')
}
