package decode_test

import (
	"testing"

	"github.com/shardline/shardline/pipeline/jsonpointer"
	"github.com/shardline/shardline/pipeline/oee/decode"
)

// FuzzFind holds the walk over a record against the reader of keys, which goes
// by the standard library.
func FuzzFind(f *testing.F) {
	for _, seed := range [][2]string{
		{"/a", `{"a":"b"}`}, {"/a/0/b", `{"a":[{"b":1.5}],"a":[{"b":[]}]}`}, {"/a~1b/~0", ` {"x":{"}":"\"]"},"a\/b" : {"~":"\u00e9"} , "a/b":{"~":"\\"}}`},
		{"/a/1", `{"a":[[1,[2,"]"]],-0.5e+7]}`}, {"/a/b", `{"a":{"b":1},"a":null}`}, {"/", `{"":true}`}, {"/a/00", `{"a":[1],"b":{}}`},
	} {
		f.Add(seed[0], []byte(seed[1]))
	}
	f.Fuzz(func(t *testing.T, pointer string, data []byte) {
		p, err := jsonpointer.Parse(pointer)
		if err != nil {
			return
		}
		got, err := decode.Find(pointer, data)
		if err != nil {
			return // no object, or a text that is no UTF-8
		}
		want, err := p.Find(data)
		if err != nil {
			t.Fatalf("%s in %q: found, and it is no JSON: %v", pointer, data, err)
		}
		if got != want && got != "true" && got != "false" { // which are no keys
			t.Errorf("%s in %q: %q, want %q", pointer, data, got, want)
		}
	})
}
