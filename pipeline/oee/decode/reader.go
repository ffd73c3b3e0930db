package decode

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/shardline/shardline/pipeline/jsonpointer"
)

// raw is a value as it stands in the record: a JSON scalar, in its quotes when
// it is a text. nil: there is none.
type raw []byte

// present says whether there is a value that says something.
func (v raw) present() bool { return len(v) > 0 && v[0] != 'n' }

// text is a text, number or truth value as text; ok is false when it is
// something else. The bytes are the record's, where they can be.
func (v raw) text() (text []byte, ok bool) {
	if len(v) == 0 {
		return nil, false
	}
	switch v[0] {
	case '"':
		if inner := v[1 : len(v)-1]; bytes.IndexByte(inner, '\\') < 0 {
			return inner, true
		}
		text, err := jsontext.AppendUnquote(nil, v)
		return text, err == nil
	case '{', '[', 'n':
		return nil, false
	}
	return v, true
}

// place is a name or index on the way of a pointer.
type place struct {
	quoted []byte // the name as most records write it
	name   string
	index  int // -1: no index
	field  int // of the value here; -1: the way goes on
	inner  branch
}

// branch is the places within one object or list.
type branch struct {
	places []*place
	next   int // of places, what most likely comes next: records are alike
}

// named is the place with the name, which stands in quotes.
func (b *branch) named(name []byte) *place {
	if b.next < len(b.places) {
		if p := b.places[b.next]; bytes.Equal(p.quoted, name) {
			b.next++
			return p
		}
	}
	for i, p := range b.places {
		if bytes.Equal(p.quoted, name) {
			b.next = i + 1
			return p
		}
	}
	if bytes.IndexByte(name, '\\') < 0 {
		return nil
	}
	plain, ok := raw(name).text()
	for _, p := range b.places {
		if ok && p.name == string(plain) {
			return p
		}
	}
	return nil
}

func (b *branch) indexed(i int) *place {
	for _, p := range b.places {
		if p.index == i {
			return p
		}
	}
	return nil
}

// forget drops what an earlier value of the same name had.
func (b *branch) forget(found []raw) {
	for _, p := range b.places {
		if p.field >= 0 {
			found[p.field] = nil
		}
		p.inner.forget(found)
	}
}

// places are the pointers of an input as a tree, so that one pass over a record
// finds them all; of each the index is its field. Empty ones lead nowhere.
func places(pointers []string) (*branch, error) {
	root := new(branch)
	for i, text := range pointers {
		if text == "" {
			continue
		}
		pointer, err := jsonpointer.Parse(text)
		if err != nil {
			return nil, err
		}
		at := root
		for depth, name := range pointer {
			var p *place
			for _, other := range at.places {
				if other.name == name {
					p = other
				}
			}
			if p == nil {
				quoted, err := jsontext.AppendQuote(nil, name)
				if err != nil {
					return nil, fmt.Errorf("JSON pointer %q: %w", text, err)
				}
				p = &place{quoted: quoted, name: name, index: -1, field: -1}
				if n, err := strconv.ParseUint(name, 10, 31); err == nil && strconv.FormatUint(n, 10) == name {
					p.index = int(n)
				}
				at.places = append(at.places, p)
			}
			last := depth == len(pointer)-1
			if p.field >= 0 || last && len(p.inner.places) > 0 {
				return nil, fmt.Errorf("JSON pointer %q: another one leads to the same value, or into it", text)
			}
			if last {
				p.field = i
			}
			at = &p.inner
		}
	}
	return root, nil
}

// reader reads the values at places, in one pass without allocation. It goes by
// tokens, which cost half of what whole values do.
type reader struct {
	decoder *jsontext.Decoder
	buffer  bytes.Buffer
	options jsontext.Options
	data    []byte
	at      int // behind the last token
}

func newReader() *reader {
	// Of a name that an object has twice the last one counts, as with most
	// readers and as with keys.
	r := &reader{options: jsontext.AllowDuplicateNames(true)}
	r.decoder = jsontext.NewDecoder(&r.buffer, r.options)
	return r
}

func (r *reader) reset(data []byte) {
	r.data, r.at = data, 0
	r.buffer = *bytes.NewBuffer(data)
	r.decoder.Reset(&r.buffer, r.options)
}

// next reads a token. Its text is that of the record, and stays what it is for
// as long as the record does.
func (r *reader) next() (kind jsontext.Kind, text raw, err error) {
	token, err := r.decoder.ReadToken()
	if err != nil {
		return 0, nil, err
	}
	start, end := r.at, int(r.decoder.InputOffset())
	r.at = end
	for start < end {
		switch r.data[start] {
		case ' ', '\t', '\n', '\r', ',', ':':
			start++
			continue
		}
		break
	}
	return token.Kind(), r.data[start:end], nil
}

// rest reads to the end of the object or list that has just begun.
func (r *reader) rest() error {
	for depth := 1; depth > 0; {
		token, err := r.decoder.ReadToken()
		if err != nil {
			return err
		}
		switch token.Kind() {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
	}
	r.at = int(r.decoder.InputOffset())
	return nil
}

// object reads an object that has just begun.
func (r *reader) object(at *branch, found []raw) error {
	for {
		kind, name, err := r.next()
		if err != nil || kind == '}' {
			return err
		}
		if err := r.one(at.named(name), found); err != nil {
			return err
		}
	}
}

// list reads a list that has just begun.
func (r *reader) list(at *branch, found []raw) error {
	for i := 0; ; i++ {
		if r.decoder.PeekKind() == ']' {
			_, _, err := r.next()
			return err
		}
		if err := r.one(at.indexed(i), found); err != nil {
			return err
		}
	}
}

// one reads the next value, which stands at p; nil: nobody asks for it.
func (r *reader) one(p *place, found []raw) error {
	kind, text, err := r.next()
	composite := kind == '{' || kind == '['
	switch {
	case err != nil:
		return err
	case p == nil && composite:
		return r.rest()
	case p == nil:
		return nil
	case p.field >= 0:
		if composite {
			start := r.at - 1
			if err := r.rest(); err != nil {
				return err
			}
			text = r.data[start:r.at]
		}
		found[p.field] = text
		return nil
	}
	p.inner.forget(found)
	switch kind {
	case '{':
		return r.object(&p.inner, found)
	case '[':
		return r.list(&p.inner, found)
	}
	return nil
}

// each reads a list of objects, of each what stands at the places, and calls do
// for it.
func (r *reader) each(data []byte, at *branch, found []raw, do func() error) error {
	r.reset(data)
	if kind, _, err := r.next(); err != nil || kind != '[' {
		return errNoList
	}
	for {
		kind, _, err := r.next()
		switch {
		case err != nil:
			return err
		case kind == ']':
			return nil
		case kind != '{':
			return errNoList
		}
		clear(found)
		if err := r.object(at, found); err != nil {
			return err
		}
		if err := do(); err != nil {
			return err
		}
	}
}

var errNoList = errors.New("it is no list of objects")

// whole reads the one object that data is.
func (r *reader) whole(data []byte, at *branch, found []raw) error {
	r.reset(data)
	kind, _, err := r.next()
	if err == nil && kind != '{' {
		err = errors.New("it is no object")
	}
	if err == nil {
		err = r.object(at, found)
	}
	if err == nil {
		if _, _, err = r.next(); err == io.EOF {
			return nil
		} else if err == nil {
			err = errors.New("something stands behind it")
		}
	}
	return err
}

// shown is a value in a message: short, on one line, and in quotes of our own.
func shown(v []byte) string {
	const most = 40
	if len(v) > 1 && v[0] == '"' {
		v = v[1 : len(v)-1]
	}
	text := strings.ToValidUTF8(string(v[:min(len(v), most+1)]), "�")
	if len(v) > most {
		text = text[:most] + "…"
	}
	return strconv.QuoteToGraphic(text)
}
