package opentravel

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// Limits of one message. Real ones stay below 30 levels and 40 attributes; the
// scanner's room for both is part of its own value, so that nothing is
// allocated per token and nothing grows with the input.
const (
	maxDepth      = 128
	maxAttributes = 128
)

type token uint8

const (
	tokenEnd     token = iota // an end tag, also behind <empty/>
	tokenStart                // a start tag
	tokenText                 // character data, only while wantText
	tokenDone                 // the document is complete
	tokenFailure              // see failure
)

// span is a range of the scanned text.
type span struct{ start, end uint32 }

type attribute struct {
	name  span
	local uint32 // where the name without its prefix begins
	value span   // between the quotes, references not decoded
}

// scanner splits well-formed XML into tokens. It holds ranges of the text, no
// copies. Well-formedness is checked as it goes; only encoding and characters
// were checked before, see decode.
type scanner struct {
	text []byte
	pos  int

	wantText bool // report character data
	closing  bool // the start tag was <empty/>: its end comes next
	rootDone bool // the root element was closed

	depth      int // open elements, the one just started included
	open       [maxDepth]attribute
	attributes int // of the start tag
	attribute  [maxAttributes]attribute

	data  span // of tokenText
	cdata bool // data is a CDATA section: nothing to decode

	failedAt int
	reason   string
}

func (s *scanner) slice(r span) []byte { return s.text[r.start:r.end] }

// local is the name, without prefix, of the open element at level (0: root).
func (s *scanner) local(level int) []byte {
	e := &s.open[level]
	return s.text[e.local:e.name.end]
}

// attributeLocal is the name, without prefix, of attribute i of the start tag.
func (s *scanner) attributeLocal(i int) []byte {
	a := &s.attribute[i]
	return s.text[a.local:a.name.end]
}

func (s *scanner) prefixed(i int) bool {
	return s.attribute[i].local != s.attribute[i].name.start
}

func (s *scanner) failure() *SyntaxError {
	return syntaxError(s.text, s.failedAt, s.reason)
}

func (s *scanner) fail(pos int, reason string) token {
	s.failedAt, s.reason = pos, reason
	return tokenFailure
}

// next is the next token. After tokenDone or tokenFailure there is none.
func (s *scanner) next() token {
	if s.closing {
		s.closing = false
		return s.close()
	}
	for {
		text := s.text
		i := skipSpace(text, s.pos)
		if i == len(text) {
			return s.finish()
		}
		if text[i] != '<' {
			if t := s.characters(i); t != tokenText || s.wantText {
				return t
			}
			continue
		}
		if s.wantText && i > s.pos && s.depth > 0 {
			s.data, s.cdata = span{uint32(s.pos), uint32(i)}, false
			s.pos = i
			return tokenText
		}
		s.pos = i
		if i+1 == len(text) {
			return s.fail(i, "truncated: < at the end")
		}
		switch text[i+1] {
		case '/':
			return s.endTag()
		case '!':
			if t := s.markup(); t != tokenText || s.wantText {
				return t
			}
		case '?':
			if !s.instruction() {
				return tokenFailure
			}
		default:
			return s.startTag()
		}
	}
}

// finish judges the end of the text.
func (s *scanner) finish() token {
	switch {
	case s.depth > 0:
		at := s.open[s.depth-1].name.start
		line, column := position(s.text, int(at)-1)
		return s.fail(len(s.text), fmt.Sprintf("truncated: <%s> of line %d column %d is not closed",
			clip(s.slice(s.open[s.depth-1].name)), line, column))
	case !s.rootDone:
		return s.fail(len(s.text), "no root element")
	}
	return tokenDone
}

// characters reads text up to the next tag; at is its first character that is
// no white space.
func (s *scanner) characters(at int) token {
	if s.depth == 0 {
		if s.rootDone {
			return s.fail(at, "text behind the root element")
		}
		return s.fail(at, "text before the root element")
	}
	start := s.pos
	end := len(s.text)
	if n := bytes.IndexByte(s.text[at:], '<'); n >= 0 {
		end = at + n
	}
	for i := at; i < end; i++ {
		switch s.text[i] {
		case '&':
			_, next, reason := reference(s.text[:end], i)
			if reason != "" {
				return s.fail(i, reason)
			}
			i = next - 1
		case ']':
			if bytes.HasPrefix(s.text[i:end], []byte("]]>")) {
				return s.fail(i, "]]> outside a CDATA section")
			}
		}
	}
	s.pos = end
	s.data, s.cdata = span{uint32(start), uint32(end)}, false
	return tokenText
}

// markup reads what begins with <! : a comment (no token of its own, it answers
// an empty text), or a CDATA section. A document type is refused.
func (s *scanner) markup() token {
	start := s.pos
	rest := s.text[start:]
	switch {
	case bytes.HasPrefix(rest, []byte("<!--")):
		body := rest[len("<!--"):]
		n := bytes.Index(body, []byte("--"))
		if n < 0 {
			return s.fail(start, "truncated: the comment is not closed")
		}
		if n+2 == len(body) || body[n+2] != '>' {
			return s.fail(start+len("<!--")+n, "-- inside a comment")
		}
		s.pos = start + len("<!--") + n + len("-->")
		s.data = span{}
		return tokenText
	case bytes.HasPrefix(rest, []byte("<![CDATA[")):
		if s.depth == 0 {
			return s.fail(start, "CDATA outside the root element")
		}
		body := start + len("<![CDATA[")
		n := bytes.Index(s.text[body:], []byte("]]>"))
		if n < 0 {
			return s.fail(start, "truncated: the CDATA section is not closed")
		}
		s.pos = body + n + len("]]>")
		s.data, s.cdata = span{uint32(body), uint32(body + n)}, true
		return tokenText
	case len(rest) >= 9 && bytes.EqualFold(rest[:9], []byte("<!DOCTYPE")):
		return s.fail(start, "document type declaration (DTD): not accepted, and its entities are never expanded")
	case bytes.HasPrefix(rest, []byte("<!ENTITY")):
		return s.fail(start, "entity declaration: not accepted")
	}
	return s.fail(start, "<! begins neither a comment nor a CDATA section")
}

// instruction skips <?target …?>.
func (s *scanner) instruction() bool {
	start := s.pos
	target, _, reason := s.name(start + 2)
	if reason != "" {
		s.fail(start, "processing instruction without a name")
		return false
	}
	after := int(target.end)
	if bytes.EqualFold(s.slice(target), []byte("xml")) {
		s.fail(start, "an XML declaration may stand only at the beginning")
		return false
	}
	n := bytes.Index(s.text[after:], []byte("?>"))
	if n < 0 {
		s.fail(start, "truncated: the processing instruction is not closed")
		return false
	}
	if n > 0 && !isSpace(s.text[after]) {
		s.fail(start, "malformed processing instruction")
		return false
	}
	s.pos = after + n + len("?>")
	return true
}

// endTag reads </name>.
func (s *scanner) endTag() token {
	start := s.pos
	if s.depth == 0 {
		return s.fail(start, "end tag without a start tag")
	}
	open := s.slice(s.open[s.depth-1].name)
	i := start + len("</") + len(open)
	if i > len(s.text) || !bytes.Equal(s.text[start+len("</"):i], open) || i < len(s.text) && class[s.text[i]]&name != 0 {
		found, _, reason := s.name(start + len("</"))
		if reason != "" || int(found.end) == len(s.text) {
			return s.fail(start, "malformed or truncated end tag")
		}
		line, column := position(s.text, int(s.open[s.depth-1].name.start)-1)
		return s.fail(start, fmt.Sprintf("</%s> does not match <%s> of line %d column %d",
			clip(s.slice(found)), clip(open), line, column))
	}
	i = skipSpace(s.text, i)
	switch {
	case i == len(s.text):
		return s.fail(start, "truncated: the end tag is not closed")
	case s.text[i] != '>':
		return s.fail(i, "end tag holds more than its name")
	}
	s.pos = i + 1
	return s.close()
}

func (s *scanner) close() token {
	s.depth--
	s.rootDone = s.depth == 0
	return tokenEnd
}

// clip shortens a name for an error text.
func clip(name []byte) []byte {
	const longest = 60
	if len(name) <= longest {
		return name
	}
	n := longest
	for n > 0 && !utf8.RuneStart(name[n]) {
		n--
	}
	return append(name[:n:n], "…"...)
}
