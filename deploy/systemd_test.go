package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const installed = "/usr/local/bin/shardline"

func unit(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("systemd/shardline.service")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// systemd-analyze exits 0 on unknown keys and unusable values, so that it must
// be silent. It wants the program to exist: a copy of the unit names this test.
func TestUnitVerifies(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed:", err)
	}
	verify := func(text string) string {
		t.Helper()
		program, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(text, "="+installed+" "); n != 1 {
			t.Fatalf("%d lines run %s, want 1", n, installed)
		}
		file := filepath.Join(t.TempDir(), "shardline.service")
		text = strings.Replace(text, "="+installed+" ", "="+program+" ", 1)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		output, err := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", file).CombinedOutput()
		if err != nil {
			return string(output) + err.Error()
		}
		return string(output)
	}
	if output := verify(unit(t)); output != "" {
		t.Errorf("systemd-analyze verify says:\n%s", output)
	}
	// It does see a misspelt key.
	if output := verify(strings.Replace(unit(t), "NoNewPrivileges=", "NoNewPrivilege=", 1)); !strings.Contains(output, "NoNewPrivilege") {
		t.Errorf("a misspelt key went unseen: %q", output)
	}
}

// The unit gives a drain the time that it needs, and systemd hears what the
// worker says.
func TestUnitLeavesTimeForTheDrain(t *testing.T) {
	settings := map[string]string{}
	for line := range strings.Lines(unit(t)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(key, "#") {
			settings[key] = value
		}
	}
	stop, err := time.ParseDuration(settings["TimeoutStopSec"])
	if err != nil {
		t.Fatalf("TimeoutStopSec: %v", err)
	}
	// pipeline.drain_timeout is 20 s; saving, releasing and the last scrape come after.
	if drain := 20 * time.Second; stop < drain+10*time.Second {
		t.Errorf("TimeoutStopSec=%v leaves less than 10 s after a drain of %v", stop, drain)
	}
	for key, want := range map[string]string{
		"Type":                  "notify",
		"KillSignal":            "SIGTERM",
		"ExecReload":            "/bin/kill -HUP $MAINPID",
		"Restart":               "on-failure",
		"NoNewPrivileges":       "yes",
		"CapabilityBoundingSet": "",
		"ProtectSystem":         "strict",
		"StateDirectory":        "shardline",
	} {
		if got, ok := settings[key]; !ok || got != want {
			t.Errorf("%s=%s (present: %v), want %q", key, got, ok, want)
		}
	}
}
