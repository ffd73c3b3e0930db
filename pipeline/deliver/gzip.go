package deliver

import (
	"bytes"
	"compress/gzip"
	"hash/maphash"
	"sync"
)

const (
	// gzipStripes keeps destinations from meeting at one lock.
	gzipStripes = 16
	// maxGzipBytes and maxGzipBodies bound what is kept for the next
	// destination, as it came and compressed: those who keep up ask within
	// moments of each other, and who is behind compresses again.
	maxGzipBytes  = 16 << 20
	maxGzipBodies = 4096
)

// Gzip compresses a record's body once for all destinations that share it.
type Gzip struct {
	seed    maphash.Seed
	stripes [gzipStripes]gzipStripe
}

// gzipStripe keeps the bodies that were asked for last.
type gzipStripe struct {
	mu    sync.Mutex
	kept  map[gzipKey]*gzipBody
	order []*gzipBody // what is in kept, the oldest in front
	bytes int         // of what is in kept

	maxBodies, maxBytes int
}

// gzipKey is the place of a record's data in memory. It belongs to that data
// for as long as it is kept, since the key itself keeps it.
type gzipKey struct {
	first  *byte
	length int
}

type gzipBody struct {
	key    gzipKey
	once   sync.Once
	packed []byte
	size   int // as counted; guarded by the stripe's mutex
}

// NewGzip keeps nothing yet.
func NewGzip() *Gzip { return newGzip(maxGzipBodies, maxGzipBytes) }

func newGzip(bodies, bytes int) *Gzip {
	g := &Gzip{seed: maphash.MakeSeed()}
	for i := range g.stripes {
		s := &g.stripes[i]
		s.kept, s.maxBodies, s.maxBytes = make(map[gzipKey]*gzipBody), bodies/gzipStripes, bytes/gzipStripes
	}
	return g
}

// body is data, compressed. Nobody changes either; data has a byte at least.
func (g *Gzip) body(data []byte) []byte {
	key := gzipKey{&data[0], len(data)}
	s := &g.stripes[maphash.Comparable(g.seed, key)%gzipStripes]
	s.mu.Lock()
	b := s.kept[key]
	if b == nil {
		b = &gzipBody{key: key}
		s.kept[key] = b
		s.order = append(s.order, b)
		s.count(b, len(data))
	}
	s.mu.Unlock()
	b.once.Do(func() {
		b.packed = compress(data)
		s.mu.Lock()
		s.count(b, len(b.packed))
		s.mu.Unlock()
	})
	return b.packed
}

// count counts more bytes of b, and drops the oldest that are too many. s.mu
// is held.
func (s *gzipStripe) count(b *gzipBody, bytes int) {
	if s.kept[b.key] != b {
		return // dropped already
	}
	b.size += bytes
	s.bytes += bytes
	for s.bytes > s.maxBytes || len(s.order) > s.maxBodies {
		oldest := s.order[0]
		s.order[0], s.order = nil, s.order[1:]
		delete(s.kept, oldest.key)
		s.bytes -= oldest.size
	}
}

var gzipWriters = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}

func compress(data []byte) []byte {
	z := gzipWriters.Get().(*gzip.Writer)
	defer gzipWriters.Put(z)
	var b bytes.Buffer
	b.Grow(len(data)/3 + 64)
	z.Reset(&b)
	_, _ = z.Write(data) // a buffer takes everything
	_ = z.Close()
	return b.Bytes()
}
