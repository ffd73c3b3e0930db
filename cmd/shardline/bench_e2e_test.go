package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/shardline/shardline/internal/bench"
)

// workerScript is an executable that makes the test binary a worker: one that
// ends with the test.
func workerScript(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	input := filepath.Join(dir, "input")
	if err := syscall.Mkfifo(input, 0o600); err != nil {
		t.Fatal(err)
	}
	hold, err := os.OpenFile(input, os.O_RDWR, 0) // both ends: a worker's end does not wait for another
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { hold.Close() })
	path := filepath.Join(dir, "worker")
	if err := os.WriteFile(path, fmt.Appendf(nil, "#!/bin/sh\nexec env %s=1 '%s' \"$@\" <'%s'\n", envWorker, self, input), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// benchRun is a small load on real workers.
func benchRun(t *testing.T) bench.Run {
	return bench.Run{
		Load:       bench.Load{Destinations: 7, Size: 200, Concurrency: 8, Keys: 20, Shards: 2},
		Executable: workerScript(t), Dir: t.TempDir(), Window: 16 << 20,
		Poll: 200 * time.Millisecond, Timeout: time.Second, Failover: 2 * time.Second,
	}
}

// TestBenchIsolation runs a short round on a real worker, and looks at what does
// not depend on how fast this machine is: who got what, and that all ends well.
func TestBenchIsolation(t *testing.T) {
	t.Parallel()
	o := bench.IsolationOptions{Run: benchRun(t), Rounds: 1, Rate: 50, Limit: 10, Steady: 2 * time.Second, Reshard: time.Second}
	res, err := bench.MeasureIsolation(t.Context(), o, func(line string) { t.Log(line) })
	if err != nil {
		t.Fatal(err)
	}
	if res.Missing != 0 || res.Disordered != 0 || res.Duplicates != 0 {
		t.Errorf("%d missing, %d out of order, %d duplicates; want none", res.Missing, res.Disordered, res.Duplicates)
	}
	r := res.Rounds[0]
	if b := r.Baseline; b.Well.PerSecond < 1 || b.OtherKeys.PerSecond < 1 || b.Well.P50 <= 0 || b.Well.P99 < b.Well.P50 || b.LiveReads <= 0 || b.RSS == 0 || b.CPUSeconds <= 0 {
		t.Errorf("baseline %+v", b)
	}
	if len(r.Back) != 5 || r.Back[0].Backlog < 50 || r.Back[4].Backlog >= r.Back[0].Backlog {
		t.Errorf("back %+v: four lack everything of the outage, the fifth a key's share of it", r.Back)
	}
	if r.Refused == 0 {
		t.Error("nothing of the other source was refused")
	}
	for _, c := range r.Back {
		if !c.Reached || c.Began+c.Seconds > 60 {
			t.Errorf("%s did not come back: %+v", c.Fault, c)
		}
	}
	if len(res.Criteria) < 10 {
		t.Errorf("criteria %v", res.Criteria)
	}
}

// TestBenchSoak is a soak of half a minute, with one of every disturbance.
func TestBenchSoak(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it takes half a minute")
	}
	o := bench.SoakOptions{Run: benchRun(t), Rate: 50, For: 26 * time.Second, Every: 5 * time.Second, Seed: 3}
	res, err := bench.Soak(t.Context(), o, func(line string) { t.Log(line) })
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", res)
	if res.Kills < 1 || res.Stops < 1 || res.Reshards < 1 || res.Faults == 0 || res.Messages < 100 || res.Deliveries != 7*res.Messages {
		t.Errorf("%d kills, %d stops, %d reshards, %d faults, %d messages, %d deliveries", res.Kills, res.Stops, res.Reshards, res.Faults, res.Messages, res.Deliveries)
	}
	if res.Lost != 0 || res.Disordered != 0 || res.Duplicates > res.Allowed || !res.CleanStops {
		t.Errorf("lost %d, out of order %d, duplicates %d of %d, clean %t", res.Lost, res.Disordered, res.Duplicates, res.Allowed, res.CleanStops)
	}
	if res.RSS[0] == 0 || res.Goroutines[1] == 0 || len(res.Criteria) < 5 {
		t.Errorf("%+v", res)
	}
}
