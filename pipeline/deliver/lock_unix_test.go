//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package deliver_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// While another process writes, a letter waits for it.
func TestLockedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "failed.jsonl")
	f := openLetters(t, path)
	other, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := syscall.Flock(int(other.Fd()), syscall.LOCK_EX); err != nil {
		t.Skipf("no locks here: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := f.Put(ctx, letter(1)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Put beside another writer: %v, want the context's end", err)
	}
	if err := syscall.Flock(int(other.Fd()), syscall.LOCK_UN); err != nil {
		t.Fatal(err)
	}
	if err := f.Put(t.Context(), letter(2)); err != nil {
		t.Error(err)
	}
	if got := readLetters(t, path); len(got) != 1 || got[0].Sequence != "2" {
		t.Errorf("letters %+v, want letter 2", got)
	}
}
