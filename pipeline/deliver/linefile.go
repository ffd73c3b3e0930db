package deliver

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"
)

// lineFile is a local file to which lines are appended, each durable before
// whoever wrote it goes on. Lines of several lanes share one write and one
// sync. Several processes may share the file. When it is renamed, as for
// rotation, the next line begins a new one.
type lineFile struct {
	path   string
	logger *zap.Logger
	open   func(path string) (file, error) // openFile but in tests

	mu      sync.Mutex
	pending *batch // collects lines until somebody has the disk

	disk chan struct{} // capacity 1: whoever has put something in has the disk, and file and end
	file file          // nil: to be opened again
	end  int64         // where the last good line of ours ends; -1: not known
}

// file is what is needed of an *os.File.
type file interface {
	io.Writer
	io.ReaderAt
	io.Closer
	Truncate(size int64) error
	Sync() error
	Stat() (fs.FileInfo, error)
	Fd() uintptr
}

// batch is lines that are written together.
type batch struct {
	lines [][]byte // a nil one is no longer wanted
	done  bool     // owned by whoever has the disk; then err is its outcome
	err   error
}

const (
	// lineFileMode: whole messages are in it.
	lineFileMode = 0o600
	// maxLockWait bounds the wait for another process that writes.
	maxLockWait = 5 * time.Second
	lockPause   = 5 * time.Millisecond
)

var errLocked = errors.New("another process keeps it locked")

// openLines opens the file, or creates it. A line that a crash has left
// unfinished is ended, so that it spoils no other.
func openLines(path string, logger *zap.Logger) (*lineFile, error) {
	f := &lineFile{path: path, logger: logger.With(zap.String("file", path)), open: openFile, disk: make(chan struct{}, 1)}
	if err := f.commit(context.Background(), nil); err != nil {
		return nil, err
	}
	return f, nil
}

// add makes a line durable; it has its end with it. When ctx ends before its
// turn came, it is not written.
func (f *lineFile) add(ctx context.Context, line []byte) error {
	f.mu.Lock()
	if f.pending == nil {
		f.pending = new(batch)
	}
	b := f.pending
	place := len(b.lines)
	b.lines = append(b.lines, line)
	f.mu.Unlock()

	select {
	case f.disk <- struct{}{}:
	case <-ctx.Done():
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.pending == b { // nobody writes it yet
			b.lines[place] = nil
		}
		return context.Cause(ctx)
	}
	defer func() { <-f.disk }()
	if !b.done {
		// Nobody has written it while this one waited: then it is still the
		// pending one, with whatever others have added.
		f.mu.Lock()
		f.pending = nil
		f.mu.Unlock()
		b.done, b.err = true, f.commit(ctx, bytes.Join(b.lines, nil))
		b.lines = nil
	}
	return b.err
}

// Close closes the file. Nobody may be in add.
func (f *lineFile) Close() error {
	if f.file == nil {
		return nil
	}
	err := f.file.Close()
	f.file = nil
	return err
}

// commit makes lines durable, or leaves the file as it was. The caller has the
// disk.
func (f *lineFile) commit(ctx context.Context, lines []byte) error {
	unlock, err := f.ready(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	info, err := f.file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() { // a pipe or a device: there is nothing to repair or to sync
		if len(lines) > 0 {
			_, err = f.file.Write(lines)
		}
		return err
	}
	start := info.Size()
	lines, err = f.afterWhole(start, lines)
	if err != nil || len(lines) == 0 {
		return err
	}
	_, err = f.file.Write(lines)
	if err == nil {
		err = f.file.Sync()
	}
	if err == nil {
		f.end = start + int64(len(lines))
		return nil
	}
	// Nothing of a batch may stay that was not acknowledged. What cannot be
	// cut now is ended like a crash's leavings by the next commit.
	f.end = -1
	if failed := f.file.Truncate(start); failed != nil {
		return errors.Join(err, failed)
	}
	return err
}

// afterWhole puts an end of line before lines when the file of that size does
// not end in one.
func (f *lineFile) afterWhole(size int64, lines []byte) ([]byte, error) {
	if size == 0 || size == f.end {
		return lines, nil
	}
	var last [1]byte
	if _, err := f.file.ReadAt(last[:], size-1); err != nil {
		return nil, err
	}
	if last[0] == '\n' {
		return lines, nil
	}
	f.logger.Warn("the last line is unfinished: it is ended; its record was not settled and comes again")
	return append([]byte{'\n'}, lines...), nil
}

// ready opens the file when it must be, locks it, and makes sure that it is
// still the one at the path. The caller has the disk.
func (f *lineFile) ready(ctx context.Context) (unlock func(), err error) {
	for range 10 { // renamed again and again: the caller comes back later
		if f.file == nil {
			opened, err := f.open(f.path)
			if err != nil {
				return nil, err
			}
			f.file, f.end = opened, -1
			if err := syncFolder(filepath.Dir(f.path)); err != nil {
				return nil, errors.Join(err, f.Close())
			}
		}
		if err := f.lock(ctx); err != nil {
			return nil, err
		}
		at, err := os.Stat(f.path)
		if err == nil {
			var info fs.FileInfo
			if info, err = f.file.Stat(); err == nil && os.SameFile(at, info) {
				return func() { _ = unlockFile(f.file.Fd()) }, nil
			}
		}
		_ = unlockFile(f.file.Fd())
		if closed := f.Close(); closed != nil {
			f.logger.Warn("close the renamed file", zap.Error(closed))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return nil, errors.New("it is renamed again and again")
}

// lock waits for other processes, for a while.
func (f *lineFile) lock(ctx context.Context) error {
	for start := time.Now(); ; {
		err := lockFile(f.file.Fd())
		if !errors.Is(err, errLocked) || time.Since(start) > maxLockWait {
			return err
		}
		pause := time.NewTimer(lockPause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return context.Cause(ctx)
		}
	}
}

func openFile(path string) (file, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE, lineFileMode)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// syncFolder makes the name of a new file durable.
func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) { // a file system that cannot
		err = nil
	}
	return errors.Join(err, d.Close())
}
