package secrets

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Value is a secret's value, or one field of it.
type Value struct {
	store  *Store
	secret *secret
	field  string // empty: the whole text
}

// Text is the value as it was read last. It waits for nothing.
func (v *Value) Text() (string, error) {
	v.store.mu.Lock()
	defer v.store.mu.Unlock()
	kept := v.secret
	switch {
	case kept.known:
		text, err := kept.value.of(v.field)
		if err != nil {
			return "", fmt.Errorf("secret %s: %w", kept.id, err)
		}
		return text, nil
	case kept.err != nil:
		return "", fmt.Errorf("read secret %s: %w", kept.id, kept.err)
	}
	return "", fmt.Errorf("read secret %s: %w", kept.id, errNotRead)
}

// Refused says that a receiver refused the value, and answers whether another
// one may be there soon: then it is worth trying again. At most every ten
// seconds it has the secret read at once.
func (v *Value) Refused() bool {
	v.store.mu.Lock()
	defer v.store.mu.Unlock()
	kept, now := v.secret, time.Now()
	switch {
	case kept.refused:
		return true
	case now.Sub(kept.tried) >= refusedPause:
		kept.refused, kept.due = true, now
		v.store.signal()
		return true
	}
	return now.Sub(kept.changed) < refusedPause
}

// value is the text of a secret, and its fields when it is a JSON object.
type value struct {
	text   string
	fields map[string]string // nil: it is no JSON object
}

func newValue(text string) value {
	v := value{text: text}
	var object map[string]any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if d.Decode(&object) != nil || object == nil || d.More() {
		return v
	}
	v.fields = make(map[string]string, len(object))
	for name, x := range object {
		switch x := x.(type) {
		case string:
			v.fields[name] = x
		case json.Number:
			v.fields[name] = x.String()
		}
	}
	return v
}

// of is a field, or the whole text. Its errors show nothing of the value.
func (v *value) of(field string) (string, error) {
	if field == "" {
		return v.text, nil
	}
	if v.fields == nil {
		return "", fmt.Errorf("it is not a JSON object, so it has no field %q: leave #%[1]s out, or make it one", field)
	}
	text, ok := v.fields[field]
	if !ok {
		return "", fmt.Errorf("it has no field %q that is a text or a number", field)
	}
	return text, nil
}
