package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/internal/localaws"
)

// TestWallClockJumps moves the wall clock of busy workers by ten minutes and
// more, forth and back: no lease changes hands, and deliveries go on. The
// workers are built with a time package whose Now a signal can shift; the
// machine's clock stays as it is, so that the service refuses their signatures
// until they are dated by its own clock.
func TestWallClockJumps(t *testing.T) {
	t.Parallel()
	executable := buildJumping(t)
	s := newScene(t, localaws.Config{}, 4)
	r := s.receiver("channel")
	config := s.config(settings{failover: 3 * time.Second})
	var workers [2]*process
	for i := range workers {
		name := fmt.Sprintf("jumping-%d", i)
		workers[i] = startExecutable(t, executable, name, append([]string{"TEST_WORKER=" + name}, s.environment...), "run", "--config", config)
	}
	s.some(200, 20)
	stopFeeding := s.keepFeeding(2, 20, 20*time.Millisecond)
	before := s.awaitLeases("they share", func(leases []checkpoint.Lease) error {
		for _, l := range leases {
			if l.Tenure == "" || l.HandingOver != "" {
				return fmt.Errorf("lease %s is being handed over", l.Key)
			}
		}
		return ownedBy(2, workers[:]...)(leases)
	})
	held := make(map[string]checkpoint.Lease)
	for _, l := range before {
		held[l.Key] = l
	}
	for _, jump := range []struct {
		worker int
		signal syscall.Signal
		times  int
	}{{0, forward, 1}, {1, back, 1}, {0, back, 2}, {1, forward, 2}} {
		for range jump.times {
			workers[jump.worker].signal(jump.signal)
		}
		counters := make(map[string]int64)
		leases, err := s.leases()
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range leases {
			counters[l.Key] = l.Counter
		}
		s.awaitLeases("every lease is renewed for two fail-over times", func(leases []checkpoint.Lease) error {
			for _, l := range leases {
				if was := held[l.Key]; l.Owner != was.Owner || l.Tenure != was.Tenure {
					t.Fatalf("lease %s went from %s to %s after a jump of the clock", l.Key, was.Owner, l.Owner)
				}
				if l.Counter < counters[l.Key]+7 {
					return fmt.Errorf("lease %s was renewed %d times", l.Key, l.Counter-counters[l.Key])
				}
			}
			return nil
		})
		n := r.count()
		r.awaitCount(t, n+50)
	}
	for _, w := range workers {
		if line := w.logged("the clock jumps"); line == "" {
			t.Errorf("the clock of %s did not jump", w.name)
		}
		if line := w.logged("lease lost"); line != "" {
			t.Error(line)
		}
	}
	stopFeeding()
	s.awaitThrough(r)
	for _, w := range workers {
		w.stop()
	}
	if result := s.check(r); result.Duplicates != 0 {
		t.Errorf("%d duplicates", result.Duplicates)
	}
}

// The signals that move a worker's wall clock by ten minutes.
const (
	forward = syscall.SIGUSR1
	back    = syscall.SIGUSR2
)

// jumping is a file more of the command: it shifts the clock at a signal, and
// ends the process with its test, which keeps its standard input open.
const jumping = `package main

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func init() {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGUSR2)
	go func() {
		for s := range signals {
			seconds := int64(600)
			if s == syscall.SIGUSR2 {
				seconds = -600
			}
			time.Jump(seconds)
			fmt.Fprintln(os.Stderr, "the clock jumps by", seconds, "s")
		}
	}()
	go func() {
		io.Copy(io.Discard, os.Stdin)
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}()
}
`

// buildJumping builds the command with a shifted time.Now and returns its path.
func buildJumping(t *testing.T) string {
	t.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Skipf("SKIPPED: the go command, which builds the worker, cannot be run: %v", err)
	}
	folder := t.TempDir()
	source := filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go")
	text, err := os.ReadFile(source)
	if err != nil {
		t.Skipf("SKIPPED: the time package, which the worker is built with, has no source: %v", err)
	}
	const now = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	const imports = "import (\n"
	if strings.Count(string(text), now) != 1 || strings.Count(string(text), imports) != 1 {
		t.Fatalf("%s is not as this test expects it: adapt the change that shifts the clock", source)
	}
	changed := strings.Replace(string(text), now, now+"\tsec += jumped.Load()\n", 1)
	changed = strings.Replace(changed, imports, imports+"\t\"sync/atomic\"\n", 1)
	changed += "\nvar jumped atomic.Int64\n\n// Jump moves the wall clock.\nfunc Jump(seconds int64) { jumped.Add(seconds) }\n"
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	replace := make(map[string]string)
	for path, text := range map[string]string{source: changed, filepath.Join(here, "jumping.go"): jumping} {
		file := filepath.Join(folder, filepath.Base(path))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[path] = file
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	list, executable := filepath.Join(folder, "overlay.json"), filepath.Join(folder, "shardline")
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-overlay", list, "-o", executable, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build a worker whose clock jumps: %v\n%s", err, out)
	}
	return executable
}
