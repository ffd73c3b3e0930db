package http1_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/shardline/shardline/pipeline/deliver/http1"
)

// scripted is a connection that says what it was told, so many bytes at once.
type scripted struct {
	net.Conn
	rest []byte
	step int
	read int
}

func (s *scripted) Read(b []byte) (int, error) {
	if len(s.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b, s.rest[:min(len(s.rest), s.step)])
	s.rest = s.rest[n:]
	s.read += n
	return n, nil
}

func (s *scripted) SetDeadline(time.Time) error { return nil }

// FuzzAnswer reads answers of any bytes, in pieces of any size. Nothing
// panics, everything is bounded, the pieces change nothing, and where net/http
// reads an answer too it is the same one.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		ok,
		"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.0 200 OK\r\n\r\nuntil the end",
		"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\nLink: y\r\n\r\n" + ok,
		"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n4;a=b\r\nWiki\r\n5\r\npedia\r\n0\r\nA: b\r\n\r\n",
		"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n1F \r\nWiki\r\n0\r\n\r\n",
		"HTTP/1.1 503 x\r\nRetry-After: 7\r\nDate: Tue, 15 Nov 1994 08:12:31 GMT\r\nConnection: a, close\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200\nContent-Length: 2\n\nok",
		"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n c\r\n\r\nok",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok",
		"HTTP/1.1 200 OK\r\n\x00: 2\r\n\r\nok",
		"HTTP/1.1 101 Switching Protocols\r\n\r\n\x00\x01",
		"\x15\x03\x01\x00\x02\x02\x16",
	} {
		f.Add([]byte(seed), uint16(1), false)
		f.Add([]byte(seed), uint16(60000), true)
	}
	const limit = 100
	f.Fuzz(func(t *testing.T, wire []byte, step uint16, head bool) {
		type result struct {
			keep bool
			err  error
			a    http1.Answer
			read int
		}
		read := func(step int) result {
			s := &scripted{rest: wire, step: step}
			call := http1.NewCall()
			defer call.Release()
			call.Limit, call.NoBody = limit, head
			keep, err := http1.ReadAnswer(s, call)
			a := call.Answer
			for _, b := range []*[]byte{&a.Body, &a.RetryAfter, &a.Date, &a.ContentEncoding} {
				*b = bytes.Clone(*b)
			}
			return result{keep, err, a, s.read}
		}
		all, pieces := read(len(wire)+1), read(int(step)+1)
		if len(all.a.Body) > limit || all.read > 300<<10 {
			t.Fatalf("%d bytes of a body, %d read", len(all.a.Body), all.read)
		}
		if (all.err == nil) != (pieces.err == nil) {
			t.Fatalf("in pieces: %v, at once: %v", pieces.err, all.err)
		}
		if all.err != nil {
			return
		}
		if all.a.Status != pieces.a.Status || !bytes.Equal(all.a.Body, pieces.a.Body) || !bytes.Equal(all.a.RetryAfter, pieces.a.RetryAfter) {
			t.Fatalf("in pieces: %+v, at once: %+v", pieces.a, all.a)
		}
		method := http.MethodPost
		if head {
			method = http.MethodHead
		}
		in := bufio.NewReader(bytes.NewReader(wire))
		var theirs *http.Response
		for {
			var err error
			if theirs, err = http.ReadResponse(in, &http.Request{Method: method}); err != nil {
				return // it is more strict here and there
			}
			if theirs.StatusCode >= 200 || theirs.StatusCode == 101 {
				break
			}
		}
		if theirs.StatusCode != all.a.Status {
			t.Fatalf("status %d, want %d", all.a.Status, theirs.StatusCode)
		}
		if got, want := string(all.a.RetryAfter), theirs.Header.Get("Retry-After"); got != want && len(theirs.Header["Retry-After"]) == 1 && !strings.ContainsAny(want, " \t") {
			t.Fatalf("Retry-After %q, want %q", got, want)
		}
		if theirs.StatusCode == 101 {
			return
		}
		body, err := io.ReadAll(theirs.Body)
		if err == nil && all.a.Err == nil && !bytes.Equal(all.a.Body, body[:min(len(body), limit)]) {
			t.Fatalf("body %q, want %q", all.a.Body, body)
		}
		if err == nil && all.a.Err == nil && all.a.Truncated != (len(body) > limit) {
			t.Fatalf("truncated %v with %d bytes", all.a.Truncated, len(body))
		}
		if rest, _ := io.ReadAll(in); all.keep && (err != nil || theirs.Close || len(rest) > 0) {
			t.Fatalf("the connection is kept: error %v, close %v, %d bytes behind it", err, theirs.Close, len(rest))
		}
	})
}
