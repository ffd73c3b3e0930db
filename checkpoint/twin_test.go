package checkpoint_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/shardline/shardline/checkpoint"
)

func observed(logs **observer.ObservedLogs) func(*checkpoint.HolderConfig) {
	core, l := observer.New(zapcore.InfoLevel)
	*logs = l
	return func(c *checkpoint.HolderConfig) { c.Logger = zap.New(core) }
}

func hasEnded(w *worker) bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}

// A second process under a worker's id gives way, loudly, within seconds; the
// first one does not notice.
func TestSecondProcessUnderOneID(t *testing.T) {
	bubble(t, 4, func(t *testing.T, f *fleet) {
		a := f.add("a")
		time.Sleep(5 * time.Second)
		var logs *observer.ObservedLogs
		b := f.add("a", observed(&logs))
		time.Sleep(failover)
		if !hasEnded(b) || !errors.Is(b.err, checkpoint.ErrSameWorker) {
			t.Fatalf("the second one: ended %t with %v, want ErrSameWorker", hasEnded(b), b.err)
		}
		if !strings.Contains(b.err.Error(), "worker_id") {
			t.Errorf("%q does not say what to do", b.err)
		}
		if n := logs.FilterMessageSnippet("give every process its own worker_id").Len(); n != 1 {
			t.Errorf("said %d times, want once", n)
		}
		if hasEnded(a) {
			t.Fatalf("the first one ended with %v", a.err)
		}
		if n := f.moves(); n != 4 {
			t.Errorf("%d takes, want the first one's 4", n)
		}
		expectOwned(t, f, map[string]int{"a": 4})
	})
}

// When both hold leases one of them gives way, the other goes on.
func TestTwoProcessesThatBothHoldLeases(t *testing.T) {
	bubble(t, 8, func(t *testing.T, f *fleet) {
		half := func(c *checkpoint.HolderConfig) { c.MaxLeases = 4 }
		a := f.add("a", half)
		time.Sleep(time.Second)
		for i := range 8 { // another one has the rest, and leaves it to the second process
			if l := f.lease(i); l.Owner == "" {
				if _, err := f.table.Take(context.Background(), l, "z", "z"); err != nil {
					t.Fatal(err)
				}
			}
		}
		b := f.add("a")
		for i := range 8 {
			if l := f.lease(i); l.Owner == "z" {
				if err := f.table.Release(context.Background(), l, nil); err != nil {
					t.Fatal(err)
				}
			}
		}
		time.Sleep(3 * time.Second)
		expectOwned(t, f, map[string]int{"a": 8})
		time.Sleep(failover)
		switch {
		case hasEnded(a) == hasEnded(b):
			t.Fatalf("ended: %t and %t, want one", hasEnded(a), hasEnded(b))
		case hasEnded(a) && !errors.Is(a.err, checkpoint.ErrSameWorker), hasEnded(b) && !errors.Is(b.err, checkpoint.ErrSameWorker):
			t.Errorf("ended with %v, %v", a.err, b.err)
		}
		for i := range 8 {
			for _, v := range f.visits(shardName(i)) {
				if v.ended != 0 && v.cause != nil {
					t.Errorf("%s was not drained: %v", shardName(i), v.cause)
				}
			}
		}
	})
}

// A process that is started again after kill -9 waits for the fail-over time
// and takes what it had, also when a last write of its predecessor lands late.
func TestRestartUnderTheSameID(t *testing.T) {
	bubble(t, 4, func(t *testing.T, f *fleet) {
		a := f.add("a")
		time.Sleep(5 * time.Second)
		a.Kill()
		<-a.done
		var logs *observer.ObservedLogs
		b := f.add("a", observed(&logs))
		time.Sleep(2 * time.Second)
		for i := range 4 {
			if _, err := f.table.Renew(context.Background(), f.lease(i), nil); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(failover + 2*time.Second)
		if hasEnded(b) {
			t.Fatalf("ended with %v", b.err)
		}
		expectOwned(t, f, map[string]int{"a": 4})
		if n := logs.FilterMessageSnippet("worker_id").Len(); n != 0 {
			t.Error("complains of itself")
		}
	})
}
