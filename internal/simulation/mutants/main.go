// Mutants builds the simulation with one deliberate defect at a time and shows
// that its checker catches each: proof that it can fail.
//
// A defect is a small textual change to a source file, put in place by go's
// -overlay: the production code does not know of it. A text that is not found
// exactly once is an error, so that a defect cannot vanish when the code
// changes. Every mutant runs at most maxSeeds histories. Exit code 1: one of
// them survived, or could not be built.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

const (
	// batch is how many histories run before somebody looks at the outcome.
	batch = 30
	// maxSeeds bounds the histories of a mutant.
	maxSeeds = 300
	// timeout bounds one mutant: a defect may also make a history hang.
	timeout = 5 * time.Minute
)

func main() {
	only := flag.String("only", "", "run the mutants whose name contains this")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *only, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, only string, out io.Writer) error {
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	caught, survived := 0, 0
	for _, m := range mutants {
		if !strings.Contains(m.name, only) {
			continue
		}
		began := time.Now()
		verdict, err := m.hunt(ctx, root)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			survived++
			_, _ = fmt.Fprintf(out, "SURVIVED  %-62s %v\n", m.name, err)
		default:
			caught++
			_, _ = fmt.Fprintf(out, "caught    %-62s %3.0f s  %s\n", m.name, time.Since(began).Seconds(), verdict)
		}
	}
	_, _ = fmt.Fprintf(out, "%d of %d mutants caught\n", caught, caught+survived)
	if survived > 0 || caught == 0 {
		return fmt.Errorf("%d mutants survived", survived)
	}
	return nil
}

func moduleRoot(ctx context.Context) (string, error) {
	mod, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(mod))), nil
}

// hunt builds the simulation with the defect and runs it until a history
// fails. The verdict says which seed, and which promise was broken.
func (m mutant) hunt(ctx context.Context, root string) (verdict string, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	folder, err := os.MkdirTemp("", "shardline-mutant-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	overlay, err := m.overlay(root, folder)
	if err != nil {
		return "", err
	}
	binary := filepath.Join(folder, "simulation.test")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-o", binary, "-overlay", overlay, "./internal/simulation")
	build.Dir = root
	if text, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("it does not build: %w\n%s", err, text)
	}
	for seed := 1; seed <= maxSeeds; seed += batch {
		test := exec.CommandContext(ctx, binary, "-test.run", "^TestHistories$", "-test.failfast", "-test.timeout", timeout.String())
		test.Env = append(os.Environ(), fmt.Sprint("SIMULATE_N=", batch), fmt.Sprint("SIMULATE_SEED=", seed), "SIMULATE_LOG=")
		text, err := test.CombinedOutput()
		if err == nil {
			continue
		}
		if found := violation.FindSubmatch(text); found != nil {
			return fmt.Sprintf("seed %s  %s", found[1], strings.TrimSpace(string(found[2]))), nil
		}
		if ctx.Err() != nil {
			return "", errors.New("it hangs, and breaks no promise")
		}
		return "", fmt.Errorf("it ends without breaking a promise: %w\n%s", err, text[:min(len(text), 2000)])
	}
	return "", fmt.Errorf("%d histories kept every promise", maxSeeds)
}

// violation finds the first one in a failed test's output.
var violation = regexp.MustCompile(`seed (\d+): \d+ violations\n\s*((?:P\d|drain|command): [^\n]{0,150})`)

// overlay writes the changed files and the JSON that puts them in place.
func (m mutant) overlay(root, folder string) (string, error) {
	changed := make(map[string]string)
	for _, c := range m.changes {
		if err := c.apply(root, changed); err != nil {
			return "", err
		}
	}
	replace := make(map[string]string)
	for path, text := range changed {
		file := filepath.Join(folder, fmt.Sprintf("%d.go", len(replace)))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return "", err
		}
		replace[path] = file
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	overlay := filepath.Join(folder, "overlay.json")
	return overlay, os.WriteFile(overlay, b, 0o600)
}

// apply makes the change in one of the texts by path.
func (c change) apply(root string, changed map[string]string) error {
	files, err := filepath.Glob(filepath.Join(root, c.folder, "*.go"))
	if err != nil {
		return err
	}
	times := 0
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		text, ok := changed[path]
		if !ok {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text = string(b)
		}
		if n := strings.Count(text, c.find); n > 0 {
			times += n
			changed[path] = strings.Replace(text, c.find, c.put, 1)
		}
	}
	if times != 1 {
		return fmt.Errorf("package %s has %d times instead of once: %s", c.folder, times, c.find)
	}
	return nil
}
