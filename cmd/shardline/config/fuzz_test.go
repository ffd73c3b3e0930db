package config_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shardline/shardline/cmd/shardline/config"
)

// FuzzLoad loads any text. It never panics; a configuration is complete, and
// problems lie in the text, in order, and never show the environment.
func FuzzLoad(f *testing.F) {
	for _, pattern := range []string{"testdata/bad/*.yaml", "testdata/good/*.yaml", "../../../deploy/examples/*.yaml"} {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			f.Fatalf("%s: %v", pattern, err)
		}
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	const canary = "hunter-from-the-environment"
	env := func(string) string { return canary }
	f.Fuzz(func(t *testing.T, data []byte) {
		if bytes.Contains(data, []byte("hunter")) || bytes.Contains(data, []byte("files")) {
			return // its own text may be shown; and no foreign files
		}
		c, err := config.Load("-", env, bytes.NewReader(data))
		if (c == nil) == (err == nil) {
			t.Fatalf("%v, %v", c, err)
		}
		if err == nil {
			if len(c.Sources) == 0 || len(c.Destinations)+len(c.Views) == 0 || c.LeaseTable() == "" {
				t.Errorf("incomplete: %+v", c)
			}
			for i := range c.Sources {
				for _, name := range c.Sources[i].SubscriberNames(c) {
					if c.Destination(name) == nil {
						t.Errorf("no destination %q", name)
					}
				}
			}
			return
		}
		var problems config.Problems
		if !errors.As(err, &problems) || len(problems) == 0 {
			t.Fatalf("not problems: %v", err)
		}
		if strings.Contains(err.Error(), canary) {
			t.Errorf("the environment is shown: %v", err)
		}
		lines, last := 1+bytes.Count(data, []byte("\n"))+bytes.Count(data, []byte("\r")), 0
		for _, p := range problems {
			if p.File != "<stdin>" || p.Line < last || p.Line > lines || p.Message == "" || strings.ContainsAny(p.String(), "\n\x1b") {
				t.Errorf("%d lines, last %d: %+v", lines, last, p)
			}
			last = p.Line
		}
	})
}
