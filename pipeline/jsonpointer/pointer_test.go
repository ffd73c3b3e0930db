package jsonpointer_test

import (
	"testing"

	"github.com/shardline/shardline/pipeline/jsonpointer"
)

func TestFind(t *testing.T) {
	const document = ` {"machine": {"id": "M-7", "n": 12.50, "on": true, "none": null, "list": ["a", {"b": "c"}], "": "empty", "a/b": "slash", "m~n": "tilde"},
		"twice": "first", "twice": "last", "é": "\u00e9"} `
	for pointer, want := range map[string]string{
		"/machine/id":       "M-7",
		"/machine/n":        "12.50",
		"/machine/on":       "",
		"/machine/none":     "",
		"/machine/none/x":   "",
		"/machine":          "",
		"/machine/list":     "",
		"/machine/list/0":   "a",
		"/machine/list/1/b": "c",
		"/machine/list/2":   "",
		"/machine/list/-":   "",
		"/machine/list/00":  "",
		"/machine/list/+1":  "",
		"/machine/":         "empty",
		"/machine/a~1b":     "slash",
		"/machine/m~0n":     "tilde",
		"/machine/ID":       "", // names are exact
		"/twice":            "last",
		"/é":                "é",
		"/nobody/there":     "",
		"/machine/id/x":     "",
	} {
		p, err := jsonpointer.Parse(pointer)
		if err != nil {
			t.Error(err)
			continue
		}
		if got, err := p.Find([]byte(document)); got != want || err != nil {
			t.Errorf("%s: %q, %v, want %q", pointer, got, err, want)
		}
	}
	p, _ := jsonpointer.Parse("/a")
	for _, data := range []string{"", "<xml/>", `{"a": "b"`, `{"a": "b"} x`, "\xff"} {
		if got, err := p.Find([]byte(data)); err == nil {
			t.Errorf("%q: %q, want an error", data, got)
		}
	}
	for data, want := range map[string]string{"null": "", "7": "", `"a"`: "", `["x"]`: ""} {
		if got, err := p.Find([]byte(data)); got != want || err != nil {
			t.Errorf("%q: %q, %v", data, got, err)
		}
	}
	for _, bad := range []string{"", "a", "/a~", "/a~2"} {
		if _, err := jsonpointer.Parse(bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
	p, _ = jsonpointer.Parse("/~01")
	if p[0] != "~1" {
		t.Errorf("~01 is %q, want ~1", p[0])
	}
}

func FuzzFind(f *testing.F) {
	f.Add("/a/0", []byte(`{"a": ["b"]}`))
	f.Fuzz(func(t *testing.T, pointer string, data []byte) {
		if p, err := jsonpointer.Parse(pointer); err == nil {
			_, _ = p.Find(data)
		}
	})
}
