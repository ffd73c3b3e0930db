package deliver

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"go.uber.org/zap"
)

// FileDeadLetters keeps dead letters as JSON lines in a local file. Several
// processes may share the file, and it may be renamed at any time.
type FileDeadLetters struct{ lines *lineFile }

// NewFileDeadLetters opens the file, or creates it.
func NewFileDeadLetters(path string, logger *zap.Logger) (*FileDeadLetters, error) {
	lines, err := openLines(path, logger)
	if err != nil {
		return nil, fmt.Errorf("dead letters %s: %w", path, err)
	}
	return &FileDeadLetters{lines}, nil
}

// Put implements DeadLetters.
func (f *FileDeadLetters) Put(ctx context.Context, letter DeadLetter) error {
	var line bytes.Buffer
	encoder := json.NewEncoder(&line) // it ends the line
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(letter); err != nil {
		return fmt.Errorf("dead letter of %s %s: %w", letter.Shard, letter.Sequence, err)
	}
	if err := f.lines.add(ctx, line.Bytes()); err != nil {
		return fmt.Errorf("dead letters %s: %w", f.lines.path, err)
	}
	return nil
}

// Close closes the file. Nobody may be in Put.
func (f *FileDeadLetters) Close() error { return f.lines.Close() }
