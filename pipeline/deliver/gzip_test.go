package deliver_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/shardline/shardline/pipeline"
	"github.com/shardline/shardline/pipeline/deliver"
)

// bodies is a transport that takes everything and keeps what went out.
type bodies struct {
	mu  sync.Mutex
	all []deliver.Message
}

func (b *bodies) Send(_ context.Context, m *deliver.Message) deliver.Answer {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all = append(b.all, *m)
	return deliver.Answer{Reason: deliver.ReasonDelivered}
}

func unzip(t testing.TB, data []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestGzipOnce: destinations that compress share one body, the others get the
// record's own, and an empty one stays empty.
func TestGzipOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := deliver.NewGzip()
		one, two, plain := &bodies{}, &bodies{}, &bodies{}
		log := pipeline.NewLog()
		text := strings.Repeat("<OTA_HotelAvailNotifRQ/>", 200)
		for _, data := range [][]byte{[]byte(text), {}} {
			log.Append(pipeline.Record{Data: data, Description: pipeline.Description{Key: "H1"}}, false)
		}
		for transport, g := range map[*bodies]*deliver.Gzip{one: shared, two: shared, plain: nil} {
			s := begin(t, deliver.Config{Transport: transport, Gzip: g})
			s.attachTo(log)
			s.Wake(s.cursor)
		}
		synctest.Wait()
		for _, b := range []*bodies{one, two, plain} {
			if len(b.all) != 2 {
				t.Fatalf("%d attempts, want 2", len(b.all))
			}
			if m := b.all[1]; len(m.Body) != 0 || m.Encoding != "" {
				t.Errorf("no bytes went out as %q, %q", m.Body, m.Encoding)
			}
		}
		if m := plain.all[0]; string(m.Body) != text || m.Encoding != "" {
			t.Errorf("without compression: %d bytes, %q", len(m.Body), m.Encoding)
		}
		a, b := one.all[0], two.all[0]
		if a.Encoding != "gzip" || b.Encoding != "gzip" || string(unzip(t, a.Body)) != text {
			t.Errorf("compressed: %d bytes, %q and %q", len(a.Body), a.Encoding, b.Encoding)
		}
		if &a.Body[0] != &b.Body[0] {
			t.Error("the body was compressed for each destination")
		}
		if string(a.Record.Data) != text {
			t.Error("the record's own data changed")
		}
	})
}

// TestGzipIsBounded: what is kept stays within its bounds, whatever comes, and
// every answer is right, also one that was dropped before it was ready.
func TestGzipIsBounded(t *testing.T) {
	const maxBodies, maxBytes = 160, 1 << 20
	g := deliver.NewGzipOf(maxBodies, maxBytes)
	rng := rand.NewChaCha8([32]byte{1})
	noise := func(n int) []byte {
		data := make([]byte, n)
		rng.Read(data) //nolint:errcheck // never fails
		return data
	}
	for _, size := range []struct{ bytes, count int }{{2 << 20, 1}, {1, 2 * maxBodies}, {8 << 10, 200}} {
		for range size.count {
			data := noise(size.bytes)
			if got := unzip(t, g.Body(data)); !bytes.Equal(got, data) {
				t.Fatalf("%d bytes came back as %d", len(data), len(got))
			}
		}
		if bodies, kept := g.Kept(); bodies > maxBodies || kept > maxBytes || bodies == 0 && size.bytes < maxBytes {
			t.Errorf("%d bodies of %d bytes are kept after %d of %d", bodies, kept, size.count, size.bytes)
		}
	}
	// Many at once for the same data and for other.
	data := noise(4 << 10)
	var all sync.WaitGroup
	for range 8 {
		other := noise(10 << 10)
		all.Go(func() {
			for range 3 {
				if !bytes.Equal(unzip(t, g.Body(data)), data) || !bytes.Equal(unzip(t, g.Body(other)), other) {
					t.Error("another body")
				}
			}
		})
	}
	all.Wait()
}

func BenchmarkGzip(b *testing.B) {
	data := bytes.Repeat([]byte("<StatusApplicationControl Start='2026-03-01' End='2026-03-05'/>"), 64)
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			deliver.Compress(data)
		}
	})
	b.Run("next", func(b *testing.B) {
		g := deliver.NewGzip()
		for b.Loop() {
			g.Body(data)
		}
	})
}
