// Package jsonpointer finds one value in a JSON text by its pointer (RFC 6901),
// for keys. It reads the whole text: what is not JSON is an error, wherever it
// goes wrong.
package jsonpointer

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Pointer leads to a value.
type Pointer []string

var unescape = strings.NewReplacer("~1", "/", "~0", "~")

// Parse reads a pointer such as /machine/id. In its names ~1 stands for a slash
// and ~0 for a tilde.
func Parse(text string) (Pointer, error) {
	if !strings.HasPrefix(text, "/") {
		return nil, fmt.Errorf("JSON pointer %q: it does not begin with a slash", text)
	}
	if rest := strings.NewReplacer("~0", "", "~1", "").Replace(text); strings.Contains(rest, "~") {
		return nil, fmt.Errorf("JSON pointer %q: a ~ without 0 or 1 behind it", text)
	}
	p := Pointer(strings.Split(text[1:], "/"))
	for i := range p {
		p[i] = unescape.Replace(p[i])
	}
	return p, nil
}

// Find returns the text or the number at the pointer, as it stands there; empty:
// there is none, or it is something else. Of a name that an object has twice the
// last one counts, as with most readers.
func (p Pointer) Find(data []byte) (string, error) {
	if !json.Valid(data) {
		return "", errors.New("it is no JSON")
	}
	at := json.RawMessage(data)
	for _, name := range p {
		var object map[string]json.RawMessage
		var array []json.RawMessage
		switch {
		case json.Unmarshal(at, &object) == nil && object != nil:
			at = object[name]
		case json.Unmarshal(at, &array) == nil:
			i, err := strconv.ParseUint(name, 10, 31)
			if err != nil || int(i) >= len(array) || len(name) > 1 && name[0] == '0' {
				return "", nil
			}
			at = array[i]
		default:
			return "", nil
		}
		if at == nil {
			return "", nil
		}
	}
	var text string
	var number json.Number
	switch {
	case json.Unmarshal(at, &text) == nil:
		return text, nil // null too, which leaves it empty
	case at[0] != '"' && json.Unmarshal(at, &number) == nil:
		return number.String(), nil
	}
	return "", nil
}
