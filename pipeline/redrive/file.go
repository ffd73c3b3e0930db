package redrive

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/shardline/shardline/pipeline/deliver"
)

const (
	// maxLine is more than the line of the largest record.
	maxLine = 32 << 20
	// journalSuffix is what the name of a file's journal has behind the file's.
	journalSuffix = ".redriven"
	// journalMode: ids are no secrets, but the folder is the letters'.
	journalMode = 0o600
)

// File is dead letters in a local file. The file is only read: workers append to
// it. What is redriven stands in a journal beside it, FILE.redriven, a line of
// JSON for each letter.
type File struct{ path string }

// NewFile makes a queue of the file that workers write.
func NewFile(path string) *File { return &File{path} }

// journalLine says that a letter is redriven.
type journalLine struct {
	Redriven string    `json:"redriven"` // the letter's id
	Command  string    `json:"command"`
	Time     time.Time `json:"time"`
}

// lineAt is where a letter stands.
type lineAt struct {
	offset int64
	length int
}

// Partial implements Queue.
func (f *File) Partial() bool { return false }

// Scan implements Queue.
func (f *File) Scan(ctx context.Context, _ Filter, found func(Found) error) error {
	done, err := f.journal()
	if err != nil {
		return err
	}
	file, err := os.Open(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // nothing was ever written
	}
	if err != nil {
		return err
	}
	defer file.Close()
	reader := bufio.NewReaderSize(file, 1<<20)
	for n, at := 1, int64(0); ; n++ {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		line, length, err := readLine(reader)
		if errors.Is(err, io.EOF) {
			// A line without its end is still being written, or a crash's
			// leavings: its record was not settled.
			return nil
		}
		if err != nil && !errors.Is(err, errLongLine) {
			return fmt.Errorf("read %s: %w", f.path, err)
		}
		place := lineAt{at, len(line)}
		at += length
		if err == nil && len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		l := Found{Where: fmt.Sprintf("%s line %d", f.path, n), Place: place, Problem: err}
		if err == nil {
			l.Letter, l.Problem = deliver.ParseDeadLetter(line)
		}
		if l.Problem == nil && done[l.Letter.ID()] {
			continue
		}
		l.Size, l.Letter.Data = len(l.Letter.Data), nil
		if err := found(l); err != nil {
			return err
		}
	}
}

var errLongLine = fmt.Errorf("no dead letter: the line is longer than %d MiB", maxLine>>20)

// readLine reads a line with its end; of one that is too long its length alone.
// io.EOF: what is left has no end.
func readLine(r *bufio.Reader) (line []byte, length int64, err error) {
	for {
		part, err := r.ReadSlice('\n')
		length += int64(len(part))
		if length <= maxLine {
			line = append(line, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case err != nil:
			return nil, length, err
		case length > maxLine:
			return nil, length, errLongLine
		default:
			return line, length, nil
		}
	}
}

// journal reads which letters are redriven. A line that is damaged says nothing:
// its letter is redriven again.
func (f *File) journal() (map[string]bool, error) {
	data, err := os.ReadFile(f.path + journalSuffix)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	done := make(map[string]bool)
	for line := range bytes.Lines(data) {
		var l journalLine
		if json.Unmarshal(line, &l) == nil && l.Redriven != "" {
			done[l.Redriven] = true
		}
	}
	return done, nil
}

// Load implements Queue.
func (f *File) Load(_ context.Context, l *Found) error {
	file, err := os.Open(f.path)
	if err != nil {
		return err
	}
	defer file.Close()
	place := l.Place.(lineAt)
	line := make([]byte, place.length)
	if _, err := file.ReadAt(line, place.offset); err != nil {
		return fmt.Errorf("%s: %w", l.Where, err)
	}
	letter, err := deliver.ParseDeadLetter(line)
	if err != nil || letter.ID() != l.Letter.ID() {
		return fmt.Errorf("%s: the file is another one now: was it rotated?", l.Where)
	}
	l.Letter.Data, l.Loaded = letter.Data, letter.DataIn == ""
	return nil
}

// Done implements Queue: it notes letters in the journal.
func (f *File) Done(_ context.Context, command string, letters []*Found) error {
	var lines []byte
	for _, l := range letters {
		line, err := json.Marshal(journalLine{l.Letter.ID(), command, time.Now().UTC()})
		if err != nil {
			return err
		}
		lines = append(append(lines, line...), '\n')
	}
	journal, err := os.OpenFile(f.path+journalSuffix, os.O_RDWR|os.O_APPEND|os.O_CREATE, journalMode)
	if err != nil {
		return err
	}
	defer journal.Close()
	if info, err := journal.Stat(); err != nil {
		return err
	} else if size := info.Size(); size > 0 {
		var last [1]byte
		if _, err := journal.ReadAt(last[:], size-1); err != nil {
			return err
		}
		if last[0] != '\n' { // a crash's leavings
			lines = append([]byte{'\n'}, lines...)
		}
	}
	if _, err := journal.Write(lines); err != nil {
		return err
	}
	return journal.Sync()
}

// Release implements Queue.
func (f *File) Release(context.Context) error { return nil }
