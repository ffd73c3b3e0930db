package checkpoint

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

func encodeEntries(entries map[string]Entry) types.AttributeValue {
	m := make(item, len(entries))
	for name, e := range entries {
		m[name] = encodeEntry(e)
	}
	return &types.AttributeValueMemberM{Value: m}
}

// encodeEntry is the position as text, or {at, keys} when keys have their own.
func encodeEntry(e Entry) types.AttributeValue {
	at := textValue(e.At.String())
	if len(e.Keys) == 0 {
		return at
	}
	keys := make(item, len(e.Keys))
	for key, p := range e.Keys {
		keys[quoteKey(key)] = textValue(p.String())
	}
	return &types.AttributeValueMemberM{Value: item{"at": at, "keys": &types.AttributeValueMemberM{Value: keys}}}
}

func decodeEntry(v types.AttributeValue) (Entry, error) {
	switch v := v.(type) {
	case *types.AttributeValueMemberS:
		at, err := ParsePosition(v.Value)
		return Entry{At: at}, err
	case *types.AttributeValueMemberM:
		keys, ok := v.Value["keys"].(*types.AttributeValueMemberM)
		if !ok || len(v.Value) != 2 {
			return Entry{}, errors.New("not of the form {at, keys}")
		}
		at, err := ParsePosition(text(v.Value, "at"))
		if err != nil {
			return Entry{}, err
		}
		e := Entry{At: at, Keys: make(map[string]Position, len(keys.Value))}
		for quoted := range keys.Value {
			key, err := unquoteKey(quoted)
			if err != nil {
				return Entry{}, fmt.Errorf("key %q: %w", quoted, err)
			}
			if e.Keys[key], err = ParsePosition(text(keys.Value, quoted)); err != nil {
				return Entry{}, fmt.Errorf("key %q: %w", key, err)
			}
		}
		return e, nil
	}
	return Entry{}, errors.New("neither a position nor {at, keys}")
}

// quoteKey makes any key an attribute name: not empty, valid UTF-8.
func quoteKey(key string) string {
	if key == "" || key[0] == '"' || !utf8.ValidString(key) {
		return strconv.Quote(key)
	}
	return key
}

func unquoteKey(s string) (string, error) {
	if strings.HasPrefix(s, `"`) {
		return strconv.Unquote(s)
	}
	return s, nil
}

// sizeOf is the size of a value as the service counts it for the item's limit:
// text in UTF-8 bytes, a map 3 bytes and one more per element.
func sizeOf(v types.AttributeValue) int {
	switch v := v.(type) {
	case *types.AttributeValueMemberS:
		return len(v.Value)
	case *types.AttributeValueMemberM:
		n := 3
		for name, e := range v.Value {
			n += 1 + len(name) + sizeOf(e)
		}
		return n
	}
	return 0
}
