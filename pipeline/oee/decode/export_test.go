package decode

import "errors"

// Find is the text at a pointer of an object, as events are read; empty: there
// is none, or it is no text, number or truth value.
func Find(pointer string, object []byte) (string, error) {
	at, err := places([]string{pointer})
	if err != nil {
		return "", err
	}
	v, err := newReader().only(object)
	if err != nil {
		return "", err
	}
	if v[0] != '{' {
		return "", errors.New("no object")
	}
	found := make([]raw, 1)
	for range 2 { // names are learned the first time
		clear(found)
		at.read(v, found)
	}
	text, _ := found[0].text()
	return string(text), nil
}
