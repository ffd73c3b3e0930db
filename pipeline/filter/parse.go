package filter

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	// maxText bounds a filter: some thousand hotels. What names more is a stream
	// or a source of its own.
	maxText = 64 << 10
	// maxDepth bounds how far conditions stand within others.
	maxDepth = 100
)

// Error is what is wrong with a filter's text.
type Error struct {
	Column  int // from 1, in characters
	Message string
}

func (e *Error) Error() string { return fmt.Sprintf("column %d: %s", e.Column, e.Message) }

// Parse reads a filter:
//
//	condition  = both {"||" both}
//	both       = one {"&&" one}
//	one        = "!" one | "(" condition ")" | FIELD test
//	test       = ("==" | "!=" | "=~" | "!~") VALUE | "in" "[" VALUE {"," VALUE} "]"
//
// FIELD is key, partition_key, type, hotel or source. A VALUE is in quotes, single
// or double, with a backslash before a quote or backslash that is part of it; or it
// is a word of letters, digits and _ . : -. `hotel` tests hold when they hold for
// one of the hotels that the message names; without any it is the empty text. `!=`
// and `!~` are the opposite of `==` and `=~`. A pattern (RE2) matches all of a
// value. The error is an *Error.
func Parse(text string) (*Filter, error) {
	p := parser{text: text}
	if len(text) > maxText {
		return nil, p.at(0, "longer than %d bytes", maxText)
	}
	if !utf8.ValidString(text) {
		return nil, p.at(0, "no UTF-8")
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	root, err := p.condition(0)
	if err != nil {
		return nil, err
	}
	if p.token.kind != end {
		return nil, p.unexpected("&&, || or the end")
	}
	return &Filter{text: text, root: root}, nil
}

// parser reads a text, one token ahead.
type parser struct {
	text  string
	next  int // of the text, behind the token
	token token
}

type token struct {
	kind  kind
	text  string // of a word or value: what it means
	start int
}

type kind uint8

const (
	end    kind = iota
	word        // a field, "in", or a value without quotes
	quoted      // a value
	symbol      // one of symbols
)

// symbols are those of two characters before those of one.
var symbols = []string{"||", "&&", "==", "!=", "=~", "!~", "!", "(", ")", "[", "]", ","}

func (p *parser) condition(depth int) (*node, error) { return p.several("||", or, depth, p.both) }

func (p *parser) both(depth int) (*node, error) { return p.several("&&", and, depth, p.one) }

// several are conditions that stand side by side.
func (p *parser) several(between string, o operation, depth int, of func(int) (*node, error)) (*node, error) {
	left, err := of(depth)
	for err == nil && p.is(between) {
		if err = p.advance(); err != nil {
			break
		}
		n := &node{operation: o, left: left}
		n.right, err = of(depth)
		left = n
	}
	return left, err
}

func (p *parser) one(depth int) (*node, error) {
	if depth == maxDepth {
		return nil, p.at(p.token.start, "more than %d conditions within each other", maxDepth)
	}
	switch {
	case p.is("!"):
		if err := p.advance(); err != nil {
			return nil, err
		}
		n, err := p.one(depth + 1)
		return &node{operation: not, left: n}, err
	case p.is("("):
		if err := p.advance(); err != nil {
			return nil, err
		}
		n, err := p.condition(depth + 1)
		if err != nil {
			return nil, err
		}
		return n, p.expect(")")
	}
	f, known := fields[p.token.text]
	if p.token.kind != word || !known {
		return nil, p.unexpected(strings.Join(slices.Sorted(maps.Keys(fields)), ", ") + ", ! or (")
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	return p.test(f)
}

// test is what is asked of a field.
func (p *parser) test(f field) (*node, error) {
	n := &node{operation: is, field: f}
	opposite := p.is("!=") || p.is("!~")
	switch {
	case p.is("=="), p.is("!="), p.is("=~"), p.is("!~"):
		if strings.HasSuffix(p.token.text, "~") {
			n.operation = match
		}
		if err := p.advance(); err != nil {
			return nil, err
		}
		at := p.token.start
		value, err := p.value()
		if err != nil {
			return nil, err
		}
		n.set = map[string]struct{}{value: {}}
		if n.operation == match {
			if n.pattern, err = regexp.Compile(`^(?s:` + value + `)$`); err != nil {
				return nil, p.at(at, "not a regular expression (RE2): %v", err)
			}
		}
	case p.token.kind == word && p.token.text == "in":
		if err := p.advance(); err != nil {
			return nil, err
		}
		var err error
		if n.set, err = p.list(); err != nil {
			return nil, err
		}
	default:
		return nil, p.unexpected("==, !=, =~, !~ or in")
	}
	if opposite {
		return &node{operation: not, left: n}, nil
	}
	return n, nil
}

// list is values in brackets.
func (p *parser) list() (map[string]struct{}, error) {
	if err := p.expect("["); err != nil {
		return nil, err
	}
	set := make(map[string]struct{})
	for {
		value, err := p.value()
		if err != nil {
			return nil, err
		}
		set[value] = struct{}{}
		if !p.is(",") {
			return set, p.expect("]")
		}
		if err := p.advance(); err != nil {
			return nil, err
		}
	}
}

func (p *parser) value() (string, error) {
	if p.token.kind != word && p.token.kind != quoted {
		return "", p.unexpected("a value")
	}
	text := p.token.text
	return text, p.advance()
}

func (p *parser) is(s string) bool { return p.token.kind == symbol && p.token.text == s }

func (p *parser) expect(s string) error {
	if !p.is(s) {
		return p.unexpected(s)
	}
	return p.advance()
}

// advance reads the next token.
func (p *parser) advance() error {
	p.next += len(p.text[p.next:]) - len(strings.TrimLeft(p.text[p.next:], " \t\r\n"))
	rest, start := p.text[p.next:], p.next
	if rest == "" {
		p.token = token{kind: end, start: start}
		return nil
	}
	if rest[0] == '"' || rest[0] == '\'' {
		return p.quoted()
	}
	for _, s := range symbols {
		if strings.HasPrefix(rest, s) {
			p.token, p.next = token{kind: symbol, text: s, start: start}, start+len(s)
			return nil
		}
	}
	n := strings.IndexFunc(rest, func(r rune) bool { return !strings.ContainsRune(wordCharacters, r) })
	if n < 0 {
		n = len(rest)
	}
	if n == 0 {
		r, _ := utf8.DecodeRuneInString(rest)
		return p.at(start, "%q has no meaning here; a value with it stands in quotes", r)
	}
	p.token, p.next = token{kind: word, text: rest[:n], start: start}, start+n
	return nil
}

const wordCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:-"

// quoted reads a value in quotes.
func (p *parser) quoted() error {
	var b strings.Builder
	start, quote := p.next, p.text[p.next]
	for i := start + 1; i < len(p.text); i++ {
		switch c := p.text[i]; {
		case c == quote:
			p.token, p.next = token{kind: quoted, text: b.String(), start: start}, i+1
			return nil
		case c == '\\' && i+1 < len(p.text) && strings.IndexByte(`\'"`, p.text[i+1]) >= 0:
			i++
			b.WriteByte(p.text[i])
		default:
			b.WriteByte(c)
		}
	}
	return p.at(start, "the quote is not closed")
}

func (p *parser) unexpected(want string) error {
	found := "the end"
	if p.token.kind != end {
		text := p.text[p.token.start:p.next]
		if r := []rune(text); len(r) > 40 {
			text = string(r[:40]) + "…"
		}
		found = fmt.Sprintf("%q", text)
	}
	return p.at(p.token.start, "%s where %s is expected", found, want)
}

func (p *parser) at(offset int, format string, args ...any) error {
	return &Error{Column: utf8.RuneCountInString(p.text[:offset]) + 1, Message: fmt.Sprintf(format, args...)}
}
