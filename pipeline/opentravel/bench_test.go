package opentravel_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"testing"

	"github.com/shardline/shardline/internal/otasample"
	"github.com/shardline/shardline/pipeline/opentravel"
)

// BenchmarkScan compares Scan with the standard library on the same 500
// messages of 4 kB on average. Token checks that tags match, as Scan does;
// RawToken does not. Both sides look for HotelCode.
func BenchmarkScan(b *testing.B) {
	g := otasample.New(1)
	messages := make([][]byte, 500)
	size := 0
	for i := range messages {
		messages[i] = g.Next("12345")
		size += len(messages[i])
	}
	standard := func(next func(*xml.Decoder) (xml.Token, error)) func([]byte) string {
		return func(data []byte) string {
			code := ""
			d := xml.NewDecoder(bytes.NewReader(data))
			for {
				token, err := next(d)
				if errors.Is(err, io.EOF) {
					return code
				}
				if err != nil {
					b.Fatal(err)
				}
				start, ok := token.(xml.StartElement)
				if !ok {
					continue
				}
				for _, a := range start.Attr {
					if a.Name.Local == "HotelCode" {
						code = a.Value
					}
				}
			}
		}
	}
	for _, side := range []struct {
		name string
		read func([]byte) string
	}{
		{"reader=shardline", func(data []byte) string {
			m, err := opentravel.Scan(data)
			if err != nil {
				b.Fatal(err)
			}
			return m.Hotel()
		}},
		{"reader=encoding-xml-Token", standard((*xml.Decoder).Token)},
		{"reader=encoding-xml-RawToken", standard((*xml.Decoder).RawToken)},
	} {
		b.Run(side.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(size / len(messages)))
			for i := 0; b.Loop(); i++ {
				if side.read(messages[i%len(messages)]) != "12345" {
					b.Fatal("wrong hotel")
				}
			}
		})
	}
}

func BenchmarkReadAnswer(b *testing.B) {
	success := []byte(answer(`<Success/>`))
	failed := []byte(answer(`<Errors><Error Type="6" Code="392" ShortText="no such hotel">12345</Error></Errors>`))
	for _, side := range []struct {
		name string
		data []byte
	}{{"answer=success", success}, {"answer=errors", failed}} {
		b.Run(side.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if opentravel.ReadAnswer(side.data, false).Class == opentravel.Unclear {
					b.Fatal("unclear")
				}
			}
		})
	}
}
