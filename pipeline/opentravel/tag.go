package opentravel

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// Classes of bytes. Bytes beyond ASCII count as parts of names at first; a name
// that has some is looked at character by character.
const (
	nameStart uint8 = 1 << iota
	name            // continues a name; the colon does not: it ends a prefix
	space
	valueStop // may end an attribute's value or needs a look inside it
)

var class = func() (table [256]uint8) {
	for c := range table {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '_', c >= utf8.RuneSelf:
			table[c] = nameStart | name
		case '0' <= c && c <= '9', c == '-', c == '.':
			table[c] = name
		case c == ' ', c == '\t', c == '\n', c == '\r':
			table[c] = space
		case c == '"', c == '\'', c == '<', c == '&':
			table[c] = valueStop
		}
	}
	return table
}()

func isSpace(c byte) bool { return class[c]&space != 0 }

// skipSpace is the first byte at or behind i that is no white space.
func skipSpace(text []byte, i int) int {
	for i < len(text) && class[text[i]]&space != 0 {
		i++
	}
	return i
}

// startTag reads <name attribute="value" …> or <name …/>.
func (s *scanner) startTag() token {
	text, start := s.text, s.pos
	element, local, reason := s.name(start + 1)
	if reason != "" {
		return s.fail(start, "< begins no tag (write &lt;): "+reason)
	}
	if s.rootDone {
		return s.fail(start, fmt.Sprintf("second root element <%s>", clip(s.slice(element))))
	}
	if s.depth == maxDepth {
		return s.fail(start, fmt.Sprintf("nested deeper than %d elements", maxDepth))
	}
	s.open[s.depth] = attribute{name: element, local: local}
	s.attributes = 0
	seen := uint64(0) // a hash bit per name: one not set before is no duplicate
	for i := int(element.end); ; {
		at := skipSpace(text, i)
		if at == len(text) {
			return s.fail(start, fmt.Sprintf("truncated: the tag <%s is not closed", clip(s.slice(element))))
		}
		switch text[at] {
		case '>':
			s.pos = at + 1
			s.depth++
			return tokenStart
		case '/':
			if at+1 == len(text) || text[at+1] != '>' {
				return s.fail(at, "/ inside a tag")
			}
			s.pos = at + 2
			s.depth++
			s.closing = true
			return tokenStart
		}
		if at == i {
			return s.fail(at, fmt.Sprintf("no white space before %.10q in the tag <%s", text[at:min(len(text), at+10)], clip(s.slice(element))))
		}
		if s.attributes == maxAttributes {
			return s.fail(at, fmt.Sprintf("more than %d attributes", maxAttributes))
		}
		a := &s.attribute[s.attributes]
		if a.name, a.local, reason = s.name(at); reason != "" {
			return s.fail(at, "malformed tag: "+reason)
		}
		if i, reason = s.value(a, int(a.name.end)); reason != "" {
			return s.fail(i, reason)
		}
		first, last := text[a.name.start], text[a.name.end-1]
		bit := uint64(1) << ((uint(first) + uint(last)*5 + uint(a.name.end-a.name.start)*11) & 63)
		if seen&bit != 0 && s.duplicate(s.attributes) {
			return s.fail(at, fmt.Sprintf("attribute %s stands twice", clip(s.slice(a.name))))
		}
		seen |= bit
		s.attributes++
	}
}

func (s *scanner) duplicate(n int) bool {
	found := s.slice(s.attribute[n].name)
	for i := range n {
		if bytes.Equal(s.slice(s.attribute[i].name), found) {
			return true
		}
	}
	return false
}

// value reads ="…" behind an attribute's name. It answers the byte behind the
// closing quote, or where and why the value is refused.
func (s *scanner) value(a *attribute, i int) (next int, reason string) {
	text := s.text
	equal := skipSpace(text, i)
	if equal == len(text) || text[equal] != '=' {
		return i, fmt.Sprintf("attribute %s has no value", clip(s.slice(a.name)))
	}
	i = skipSpace(text, equal+1)
	if i == len(text) || text[i] != '"' && text[i] != '\'' {
		return i, fmt.Sprintf("value of attribute %s is not quoted", clip(s.slice(a.name)))
	}
	quote := text[i]
	start := i + 1
	for i = start; i < len(text); i++ {
		if class[text[i]]&valueStop == 0 {
			continue
		}
		switch text[i] {
		case quote:
			a.value = span{uint32(start), uint32(i)}
			return i + 1, ""
		case '<':
			return i, fmt.Sprintf("< inside the value of attribute %s: a quote is missing, or write &lt;", clip(s.slice(a.name)))
		case '&':
			_, after, reason := reference(text, i)
			if reason != "" {
				return i, reason
			}
			i = after - 1
		}
	}
	return start - 1, fmt.Sprintf("truncated: the value of attribute %s is not closed", clip(s.slice(a.name)))
}

// name reads a name with at most one prefix at byte i. local is where the part
// behind the prefix begins.
func (s *scanner) name(i int) (found span, local uint32, reason string) {
	text := s.text
	start := i
	local = uint32(i)
	for {
		if i == len(text) || class[text[i]]&nameStart == 0 {
			if i == len(text) {
				return span{}, 0, "a name is truncated"
			}
			return span{}, 0, fmt.Sprintf("%.4q begins no name", text[i:min(len(text), i+1)])
		}
		wide := byte(0)
		part := i
		for i < len(text) && class[text[i]]&name != 0 {
			wide |= text[i]
			i++
		}
		if wide >= utf8.RuneSelf && !isName(text[part:i]) {
			return span{}, 0, "a name holds a character that XML does not allow there"
		}
		if i == len(text) || text[i] != ':' {
			return span{uint32(start), uint32(i)}, local, ""
		}
		if part != start {
			return span{}, 0, "a name has two colons"
		}
		i++
		local = uint32(i)
	}
}

// isName holds a name's part against the characters of XML 1.0, fifth edition.
func isName(part []byte) bool {
	first := true
	for len(part) > 0 {
		r, size := utf8.DecodeRune(part)
		part = part[size:]
		switch {
		case r < utf8.RuneSelf: // its class was looked at
		case r == utf8.RuneError && size == 1:
			return false
		case r == 0xB7, 0x300 <= r && r <= 0x36F, r == 0x203F, r == 0x2040:
			if first {
				return false
			}
		case r < 0xC0, r == 0xD7, r == 0xF7, r == 0x37E,
			0x2000 <= r && r <= 0x200B, 0x200E <= r && r <= 0x206F,
			0x2190 <= r && r <= 0x2BFF, 0x2FF0 <= r && r <= 0x3000,
			0xD800 <= r && r <= 0xF8FF, 0xFDD0 <= r && r <= 0xFDEF, 0xFFFE <= r && r <= 0xFFFF, r > 0xEFFFF:
			return false
		}
		first = false
	}
	return true
}
