package deliver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
)

// Request is the request of a message.
func (h *HTTP) Request(m *Message) (*http.Request, Answer) {
	return h.request(context.Background(), m)
}

// Trust trusts a certificate.
func (h *HTTP) Trust(c *x509.Certificate) {
	pool := x509.NewCertPool()
	pool.AddCert(c)
	h.transport.TLSClientConfig = &tls.Config{RootCAs: pool}
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

// The bounds of Gzip, and what it keeps.
const (
	MaxGzipBytes  = maxGzipBytes
	MaxGzipBodies = maxGzipBodies
)

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
