package config_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shardline/shardline/cmd/shardline/config"
)

var update = flag.Bool("update", false, "write the expected texts anew; read the difference before you keep it")

// environment is what the test files may refer to. No problem may contain the
// values of the secrets.
func environment(name string) string {
	return map[string]string{
		"PORT":     "8443",
		"SECRET":   "hunter3",
		"PASSWORD": "hunter4",
	}[name]
}

// TestBad loads every file of testdata/bad. Beside each stands its .want: all
// problems, one a line, without the folder.
func TestBad(t *testing.T) {
	const folder = "testdata/bad/"
	paths, err := filepath.Glob(folder + "*.yaml")
	if err != nil || len(paths) < 100 {
		t.Fatalf("%d files: %v", len(paths), err)
	}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".yaml")
		t.Run(name, func(t *testing.T) {
			c, err := config.Load(path, environment, nil)
			var problems config.Problems
			if !errors.As(err, &problems) || len(problems) == 0 || c != nil {
				t.Fatalf("Load: %v, %v; want Problems", c, err)
			}
			got := strings.ReplaceAll(err.Error(), folder, "") + "\n"
			// A literal secret, and what came from the environment.
			for _, secret := range []string{"hunter2", "hunter3", "hunter4"} {
				if strings.Contains(got, secret) {
					t.Errorf("%q is shown in\n%s", secret, got)
				}
			}
			wantPath := strings.TrimSuffix(path, ".yaml") + ".want"
			if *update {
				if err := os.WriteFile(wantPath, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(wantPath)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}
