package simulation_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/shardline/shardline/internal/simulation"
)

// number is an environment variable as a number.
func number(t *testing.T, name string, otherwise uint64) uint64 {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// repeatsOfOne is how often a seed by itself is run: goroutines that are due at
// the same instant run in any order, so that a rare violation needs some tries.
const repeatsOfOne = 100

// TestHistories runs SIMULATE_N histories from seed SIMULATE_SEED on.
func TestHistories(t *testing.T) {
	n, seed := number(t, "SIMULATE_N", 300), number(t, "SIMULATE_SEED", 1)
	repeats := 1
	if n == 1 {
		repeats = repeatsOfOne
	}
	var mu sync.Mutex
	counts := make(map[string]int)
	records, attempts, writes := 0, 0, 0
	t.Run("histories", func(t *testing.T) {
		for s := seed; s < seed+n; s++ {
			t.Run(fmt.Sprint("seed=", s), func(t *testing.T) {
				t.Parallel()
				for range repeats {
					var r simulation.Report
					synctest.Test(t, func(*testing.T) { r = simulation.Run(s) })
					mu.Lock()
					for kind, n := range r.Counts {
						counts[kind] += n
					}
					records, attempts, writes = records+r.Records, attempts+r.Attempts, writes+r.Writes
					mu.Unlock()
					if len(r.Violations) > 0 {
						fail(t, r)
						return
					}
				}
			})
		}
	})
	t.Logf("%d histories: %d records, %d attempts, %d writes of leases", n, records, attempts, writes)
	for _, kind := range slices.Sorted(maps.Keys(counts)) {
		t.Logf("%8d  %s", counts[kind], kind)
	}
	if n < 100 {
		return
	}
	wanted := kinds
	if n >= 300 {
		for _, op := range simulation.CrashPoints {
			wanted = append(wanted, "crash before "+op, "crash after "+op)
		}
	}
	for _, kind := range wanted {
		if counts[kind] == 0 {
			t.Errorf("in %d histories this never happened: %s", n, kind)
		}
	}
}

// fail prints a failed history: its violations, the end of its log up to the
// first of them, and how to run it again.
func fail(t *testing.T, r simulation.Report) {
	t.Helper()
	lines := r.Log
	if i := slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, "VIOLATION") }); i >= 0 {
		lines = lines[:i+1]
	}
	if folder := os.Getenv("SIMULATE_LOG"); folder != "" {
		file := filepath.Join(folder, fmt.Sprintf("seed-%d.log", r.Seed))
		if err := os.WriteFile(file, []byte(strings.Join(r.Log, "\n")+"\n"), 0o644); err != nil {
			t.Error(err)
		}
	}
	lines = lines[max(0, len(lines)-40):]
	t.Errorf("seed %d: %d violations\n%s\nlast events before the first:\n%s\nagain: make simulate N=1 SEED=%d",
		r.Seed, len(r.Violations), strings.Join(r.Violations, "\n"), strings.Join(lines, "\n"), r.Seed)
}

// kinds is everything that has to happen in some history, or the simulation
// has gone blind.
var kinds = []string{
	"start", "crash", "freeze", "cut off from the table", "deaf to commands", "credentials lost", "graceful stop",
	"aggregate: empty", "aggregate: out of range", "saved in the middle of an aggregate", "split", "merge", "several generations at once", "lease deleted", "step back after a crash or loss", "delivered again",
	"configuration: added", "configuration: removed", "configuration: renamed", "configuration: rolled back", "configuration: while a process works", "roster: added",
	"receiver is slow", "receiver fails", "receiver hangs", "receiver is down", "receiver answers 401",
	"receiver: 400", "receiver: 503", "receiver: answer lost", "receiver: hangs", "receiver: slow answer",
	"dead letter", "dead letter of a source", "dead letter: before trim", "dead letters: disk full",
	"storm of store faults", "storm of stream faults",
	"store: throttled", "store: slow", "store: hangs", "store: stale scan", "store: positions too large",
	"store: error before the write", "store: error after the write", "store: write lands late", "store: write of a frozen process",
	"stream: throttled", "stream: error", "stream: slow", "stream: answer lost", "stream: denied",
	"stream: listing throttled", "stream: stale listing", "stream: expired iterator",
	"stream: empty read that is not the tip", "stream: end without children", "stream: read again at the position",
	"stream: records trimmed", "stream: shard trimmed",
	"command: pause", "command: resume", "command: hold", "command: hold a key", "command: release", "command: replay", "replay: set", "command: remove", "removal: over",
	"fan-out: no consumer to be had", "fan-out: subscription", "fan-out: subscription in use", "fan-out: subscription taken over",
	"fan-out: subscription breaks", "fan-out: the service ends a subscription",
}
