package deliver

import (
	"bytes"
	"context"

	"github.com/shardline/shardline/pipeline/deliver/http1"
)

// Wire is what a message's request is on the wire; nil: it cannot be made.
func (h *HTTP) Wire(m *Message) ([]byte, Answer) {
	if h.fast != nil {
		call := http1.NewCall()
		if failed, ok := h.head(call, m); !ok {
			return nil, failed
		}
		return append(call.Head, m.Body...), Answer{}
	}
	req, failed := h.request(context.Background(), m)
	if req == nil {
		return nil, failed
	}
	var wire bytes.Buffer
	if err := req.Write(&wire); err != nil {
		panic(err)
	}
	return wire.Bytes(), Answer{}
}

// OverNetHTTP lets requests go over net/http from now on.
func (h *HTTP) OverNetHTTP(c Config) {
	secure, err := c.TLS.config(h.address.base)
	if err != nil {
		panic(err)
	}
	c = c.withDefaults()
	h.fast.Close()
	h.fast = nil
	h.goSlow(c, secure, nil)
}

// DiskFile is what tests put faults into.
type DiskFile = file

// SetOpen opens the file through wrap from now on.
func (f *FileDeadLetters) SetOpen(wrap func(DiskFile) DiskFile) { f.lines.setOpen(wrap) }

// SetOpen opens the file through wrap from now on.
func (f *File) SetOpen(wrap func(DiskFile) DiskFile) { f.lines.setOpen(wrap) }

func (f *lineFile) setOpen(wrap func(DiskFile) DiskFile) {
	_ = f.Close()
	f.open = func(path string) (file, error) {
		opened, err := openFile(path)
		if err != nil {
			return nil, err
		}
		return wrap(opened), nil
	}
}

// NewGzipOf has bounds of its own.
func NewGzipOf(bodies, bytes int) *Gzip { return newGzip(bodies, bytes) }

// Body is data, compressed.
func (g *Gzip) Body(data []byte) []byte { return g.body(data) }

// Kept is how many bodies are kept, and their bytes.
func (g *Gzip) Kept() (bodies, bytes int) {
	for i := range g.stripes {
		s := &g.stripes[i]
		s.mu.Lock()
		bodies += len(s.kept)
		bytes += s.bytes
		s.mu.Unlock()
	}
	return bodies, bytes
}

// Compress compresses without keeping anything.
func Compress(data []byte) []byte { return compress(data) }

// FailedAnswer is what a request without an answer means.
func FailedAnswer(ctx context.Context, err error) Answer { return failedAnswer(ctx, err) }

// Lanes is how many lanes there are.
func (d *Destination) Lanes() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for _, a := range d.attached {
		n += len(a.lanes)
	}
	return n
}

// UsernameToken is the value of X-WSSE.
var UsernameToken = usernameToken

// KeyPaces is of how many keys the rate is known.
func (d *Destination) KeyPaces() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.paces.next)
}
