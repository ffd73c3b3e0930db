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
	name  string
	index int // -1: no index
	field int // of the value here; -1: the way goes on
	inner branch
}

// branch is the places within one object or list.
type branch struct {
	places []*place
	// Records are alike: names are where the last one had them, also those that
	// nobody asks for.
	names []name
	next  int // of names, what most likely comes next
}

// name is a name as records have it, in its quotes, and its place; nil: nobody
// asks for it.
type name struct {
	quoted []byte
	place  *place
}

// maxNamesKept bounds the names of an object that are kept, and maxName each of
// them: others are found as well, but more slowly.
const maxNamesKept = 64

// named is the place with the name, which stands in quotes.
func (b *branch) named(quoted []byte) *place {
	if b.next < len(b.names) {
		if n := &b.names[b.next]; bytes.Equal(n.quoted, quoted) {
			b.next++
			return n.place
		}
	}
	for i := range b.names {
		if n := &b.names[i]; bytes.Equal(n.quoted, quoted) {
			b.next = i + 1
			return n.place
		}
	}
	var found *place
	plain, ok := raw(quoted).text()
	for _, p := range b.places {
		if ok && p.name == string(plain) {
			found = p
		}
	}
	if len(b.names) < maxNamesKept && len(quoted) <= maxName {
		b.names = append(b.names, name{bytes.Clone(quoted), found})
		b.next = len(b.names)
	}
	return found
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
				p = &place{name: name, index: -1, field: -1}
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

// reader says whether a record is JSON, value by value. What has passed it is
// walked as text, in which nothing can be wrong any more: that costs less than
// the library's tokens, and allocates nothing.
type reader struct {
	decoder *jsontext.Decoder
	buffer  bytes.Buffer
	options jsontext.Options
	data    []byte
}

func newReader() *reader {
	// Of a name that an object has twice the last one counts, as with most
	// readers and as with keys.
	r := &reader{options: jsontext.AllowDuplicateNames(true)}
	r.decoder = jsontext.NewDecoder(&r.buffer, r.options)
	return r
}

func (r *reader) reset(data []byte) {
	r.data = data
	r.buffer = *bytes.NewBuffer(data)
	r.decoder.Reset(&r.buffer, r.options)
}

// next is the next value of the record, and io.EOF behind the last. Its text is
// the record's, and stays what it is for as long as the record does.
func (r *reader) next() (raw, error) {
	v, err := r.decoder.ReadValue()
	if err != nil {
		return nil, err
	}
	end := r.decoder.InputOffset()
	return r.data[end-int64(len(v)) : end], nil
}

// only is the one value that text is.
func (r *reader) only(text []byte) (raw, error) {
	r.reset(text)
	v, err := r.next()
	if err != nil {
		return nil, err
	}
	switch _, err = r.next(); err {
	case io.EOF:
		return v, nil
	case nil:
		err = errors.New("something stands behind it")
	}
	return nil, err
}

// read finds the values at the places of an object.
func (b *branch) read(object raw, found []raw) { b.object(object, 0, found) }

// object reads the object at i, and returns where it ends.
func (b *branch) object(text raw, i int, found []raw) int {
	b.next = 0
	for i = blank(text, i+1); text[i] != '}'; {
		end := textEnd(text, i)
		p := b.named(text[i:end])
		i = blank(text, end) // the colon
		i = blank(text, p.read(text, blank(text, i+1), found))
		if text[i] == ',' {
			i = blank(text, i+1)
		}
	}
	return i + 1
}

// list reads the list at i, and returns where it ends.
func (b *branch) list(text raw, i int, found []raw) int {
	i = blank(text, i+1)
	for n := 0; text[i] != ']'; n++ {
		i = blank(text, b.indexed(n).read(text, i, found))
		if text[i] == ',' {
			i = blank(text, i+1)
		}
	}
	return i + 1
}

// read reads the value at i, which stands at p, and returns where it ends; nil:
// nobody asks for it.
func (p *place) read(text raw, i int, found []raw) int {
	switch {
	case p == nil:
		return valueEnd(text, i)
	case p.field >= 0:
		end := valueEnd(text, i)
		found[p.field] = text[i:end]
		return end
	}
	p.inner.forget(found)
	switch text[i] {
	case '{':
		return p.inner.object(text, i, found)
	case '[':
		return p.inner.list(text, i, found)
	}
	return valueEnd(text, i)
}

// each calls do for the objects of a list, with what stands at the places.
func (b *branch) each(list raw, found []raw, do func() error) error {
	if list[0] != '[' {
		return errNoList
	}
	for i := blank(list, 1); list[i] != ']'; {
		if list[i] != '{' {
			return errNoList
		}
		clear(found)
		end := b.object(list, i, found)
		if err := do(); err != nil {
			return err
		}
		if i = blank(list, end); list[i] == ',' {
			i = blank(list, i+1)
		}
	}
	return nil
}

var errNoList = errors.New("it is no list of objects")

// blank is the first byte from i on that is no space.
func blank(text raw, i int) int {
	for i < len(text) && text[i] <= ' ' {
		i++
	}
	return i
}

// textEnd is behind the text that begins at i.
func textEnd(text raw, i int) int {
	for i++; ; i++ {
		switch text[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
	}
}

// valueEnd is behind the value that begins at i.
func valueEnd(text raw, i int) int {
	switch text[i] {
	case '"':
		return textEnd(text, i)
	case '{', '[':
		for depth := 0; ; {
			switch text[i] {
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			case '"':
				i = textEnd(text, i)
				continue
			}
			i++
		}
	}
	for ; i < len(text); i++ {
		if c := text[i]; c <= ' ' || c == ',' || c == '}' || c == ']' {
			break
		}
	}
	return i
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
