package deliver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"go.uber.org/zap"
)

// File is the transport to a local file: a line of JSON for every record,
// synced before it counts as delivered. Records of several lanes share one
// write and one sync. Several processes may share the file, and it may be
// renamed at any time: a new one is begun.
type File struct{ lines *lineFile }

// NewFile opens the file, or creates it.
func NewFile(path string, logger *zap.Logger) (*File, error) {
	lines, err := openLines(path, logger)
	if err != nil {
		return nil, fmt.Errorf("file %s: %w", path, err)
	}
	return &File{lines}, nil
}

// Send implements Transport. After a failure the file has nothing of the
// record, or its whole line: then the record comes twice.
func (f *File) Send(ctx context.Context, m *Message) Answer {
	err := f.lines.add(ctx, m.Line())
	switch {
	case err == nil:
		return Answer{Reason: ReasonDelivered}
	case ctx.Err() != nil:
		return Answer{} // the attempt knows what ended it
	}
	return Answer{Reason: fileReason(err), Detail: printable(err.Error())}
}

func fileReason(err error) Reason {
	switch {
	case errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS):
		return ReasonUnauthorized
	case errors.Is(err, fs.ErrNotExist):
		return ReasonNotFound
	}
	return ReasonUnwritable
}

// Close closes the file.
func (f *File) Close() error { return f.lines.Close() }
