package opentravel

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// SyntaxError says why a message is refused and where. Line and Column count
// from 1; a line ends with LF, CR or CR LF; a column is a character of the
// decoded text, so that positions do not depend on the encoding. A byte-order
// mark has no column.
type SyntaxError struct {
	Line, Column int
	Reason       string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%d:%d: %s", e.Line, e.Column, e.Reason)
}

// syntaxError builds the error for byte pos of text.
func syntaxError(text []byte, pos int, reason string) *SyntaxError {
	line, column := position(text, pos)
	return &SyntaxError{Line: line, Column: column, Reason: reason}
}

// position is the line and column of byte pos of text, counted only when
// something is wrong. Bytes that are no UTF-8 count one column each.
func position(text []byte, pos int) (line, column int) {
	before := bytes.TrimPrefix(text[:min(pos, len(text))], utf8BOM)
	line = 1
	start := 0
	for i, c := range before {
		// CR LF ends its line at the LF.
		if c == '\n' || c == '\r' && (i+1 == len(before) || before[i+1] != '\n') {
			line++
			start = i + 1
		}
	}
	return line, utf8.RuneCount(before[start:]) + 1
}

// reference decodes the reference whose '&' stands at text[pos]: the character
// and the byte after its ';', or the reason why it is refused. Only the five
// predefined entities and characters by number exist without a DTD.
func reference(text []byte, pos int) (char rune, next int, reason string) {
	const longest = 12 // &#x0010FFFF;
	i := pos + 1
	end := bytes.IndexByte(text[i:min(len(text), i+longest)], ';')
	if end < 0 {
		return 0, 0, "unescaped & (write &amp;), or a reference without its ;, or an entity that is not predefined"
	}
	name := text[i : i+end]
	next = i + end + 1
	if len(name) > 1 && name[0] == '#' {
		char, ok := numbered(name[1:])
		if !ok {
			return 0, 0, fmt.Sprintf("&%.12q; names no character that XML allows", name)
		}
		return char, next, ""
	}
	switch string(name) {
	case "amp":
		return '&', next, ""
	case "lt":
		return '<', next, ""
	case "gt":
		return '>', next, ""
	case "quot":
		return '"', next, ""
	case "apos":
		return '\'', next, ""
	}
	return 0, 0, fmt.Sprintf("entity %.12q is not predefined; others are not accepted", name)
}

// numbered is the character of a reference without & # and ;.
func numbered(digits []byte) (rune, bool) {
	base := rune(10)
	if digits[0] == 'x' {
		base, digits = 16, digits[1:]
	}
	if len(digits) == 0 {
		return 0, false
	}
	var char rune
	for _, c := range digits {
		var digit rune
		switch {
		case '0' <= c && c <= '9':
			digit = rune(c - '0')
		case base == 16 && 'a' <= c && c <= 'f':
			digit = rune(c-'a') + 10
		case base == 16 && 'A' <= c && c <= 'F':
			digit = rune(c-'A') + 10
		default:
			return 0, false
		}
		char = char*base + digit
		if char > utf8.MaxRune {
			return 0, false
		}
	}
	return char, isChar(char)
}

// isChar says whether XML 1.0 allows the character at all.
func isChar(r rune) bool {
	switch {
	case r < 0x20:
		return r == '\t' || r == '\n' || r == '\r'
	case r < 0xD800:
		return true
	case r < 0xE000: // surrogates
		return false
	default:
		return r <= utf8.MaxRune && r != 0xFFFE && r != 0xFFFF
	}
}

// appendText appends raw character data or an attribute's value with its
// references decoded. White space becomes single characters as XML wants: in an
// attribute a space each, elsewhere CR and CR LF a LF. The scanner has accepted
// raw: a reference that does not decode stays as it is.
func appendText(dst, raw []byte, attribute bool) []byte {
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		switch {
		case c == '&':
			if char, next, reason := reference(raw, i); reason == "" {
				dst = utf8.AppendRune(dst, char)
				i = next - 1
				continue
			}
		case c == '\r':
			if i+1 < len(raw) && raw[i+1] == '\n' {
				i++
			}
			c = '\n'
		}
		if attribute && (c == '\n' || c == '\t') {
			c = ' '
		}
		dst = append(dst, c)
	}
	return dst
}
