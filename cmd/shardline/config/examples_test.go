package config_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/shardline/shardline/cmd/shardline/config"
)

// TestExamples loads every example with the environment that it asks for.
func TestExamples(t *testing.T) {
	secrets := t.TempDir()
	for _, name := range []string{"channel-001-token", "partner-password"} {
		if err := os.WriteFile(filepath.Join(secrets, name), []byte("secret\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env := func(name string) string {
		return map[string]string{
			"CREDENTIALS_DIRECTORY": secrets,
			"PARTNER_EXTERNAL_ID":   "d2f0",
			"HOTELS_A_EXTERNAL_ID":  "b1d4",
			"HOTELS_C_EXTERNAL_ID":  "c9e7",
			"CHANNEL_002_API_KEY":   "key",
		}[name]
	}
	const folder = "../../../deploy/examples/"
	paths, err := filepath.Glob(folder + "*.yaml")
	if err != nil || len(paths) < 5 {
		t.Fatalf("%d examples: %v", len(paths), err)
	}
	destinations := map[string]int{"minimal": 1, "two-accounts": 2, "memory-trial": 1, "soap-partner": 1, "beside-kcl": 1, "other-destinations": 5, "plant": 3}
	for _, path := range paths {
		c, err := config.Load(path, env, nil)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		name := filepath.Base(path[:len(path)-len(".yaml")])
		if want, ok := destinations[name]; !ok || len(c.Destinations) != want {
			t.Errorf("%s: %d destinations, want %d (an example that this test does not know has 0)", name, len(c.Destinations), want)
		}
	}
}
