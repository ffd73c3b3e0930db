package deliver_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/shardline/shardline/pipeline"
	"github.com/shardline/shardline/pipeline/deliver"
)

// TestAnswersOnTheWire: what an answer means does not depend on how it is
// written.
func TestAnswersOnTheWire(t *testing.T) {
	overBoth(t, func(t *testing.T, newHTTP maker) {
		const success = "<OTA_PingRS><Success/></OTA_PingRS>"
		sized := fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(success), success)
		for _, test := range []struct {
			name, answer string
			want         deliver.Reason // with response: opentravel
		}{
			{"length", "HTTP/1.1 200 OK\r\n" + sized, deliver.ReasonDelivered},
			{"no reason", "HTTP/1.1 200 \r\n" + sized, deliver.ReasonDelivered},
			{"any case, any space", "HTTP/1.1 200 OK\r\ncONTENT-lENGTH:\t 35 \r\n\r\n" + success, deliver.ReasonDelivered},
			{"line feeds", "HTTP/1.1 200 OK\nContent-Length: 35\n\n" + success, deliver.ReasonDelivered},
			{"the same length twice", "HTTP/1.1 200 OK\r\nContent-Length: 35\r\n" + sized, deliver.ReasonDelivered},
			{"until the end", "HTTP/1.1 200 OK\r\n\r\n" + success, deliver.ReasonDelivered},
			{"HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\n" + success, deliver.ReasonDelivered},
			{"chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n14\r\n" + success[:20] + "\r\nF;a=\"b\"\r\n" + success[20:] + "\r\n0\r\n\r\n", deliver.ReasonDelivered},
			{"trailers", "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\nTrailer: X-A\r\n\r\n23\r\n" + success + "\r\n000\r\nX-A: b\r\nX-C: d\r\n\r\n", deliver.ReasonDelivered},
			{"chunks and a length", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n23\r\n" + success + "\r\n0\r\n\r\n", deliver.ReasonDelivered},
			{"continue", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n" + sized, deliver.ReasonDelivered},
			{"early hints", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\nContent-Length: 7\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\n" + sized, deliver.ReasonDelivered},
			{"folded header", "HTTP/1.1 200 OK\r\nX-Long: a\r\n b\r\n" + sized, deliver.ReasonDelivered},
			{"switching protocols", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", deliver.ReasonServerError},
			{"body where none may be", "HTTP/1.1 204 No Content\r\nContent-Length: 35\r\n\r\n" + success, deliver.ReasonOTAUnclear},

			{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n" + sized, deliver.ReasonConnection},
			{"a list of lengths", "HTTP/1.1 200 OK\r\nContent-Length: 35, 36\r\n\r\n" + success, deliver.ReasonConnection},
			{"negative length", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", deliver.ReasonConnection},
			{"signed length", "HTTP/1.1 200 OK\r\nContent-Length: +35\r\n\r\n" + success, deliver.ReasonConnection},
			{"huge length", "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n" + success, deliver.ReasonConnection},
			{"unknown coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n23\r\n" + success + "\r\n0\r\n\r\n", deliver.ReasonConnection},
			{"coding twice", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n23\r\n" + success + "\r\n0\r\n\r\n", deliver.ReasonConnection},
			{"no header", "HTTP/1.1 200 OK\r\nwhat\r\n" + sized, deliver.ReasonConnection},
			{"no name", "HTTP/1.1 200 OK\r\n: x\r\n" + sized, deliver.ReasonConnection},
			{"no status", "HTTP/1.1 OK\r\n" + sized, deliver.ReasonConnection},
			{"short status", "HTTP/1.1 20 OK\r\n" + sized, deliver.ReasonConnection},
			{"long status", "HTTP/1.1 2000 OK\r\n" + sized, deliver.ReasonConnection},
			{"bad chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n" + success, deliver.ReasonBrokenAnswer},
			{"bad end of a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n<OTA_PingRS>\r\n0\r\n\r\n", deliver.ReasonBrokenAnswer},
			{"chunks break off", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n23\r\n<OTA_", deliver.ReasonBrokenAnswer},
			{"body breaks off", "HTTP/1.1 200 OK\r\nContent-Length: 35\r\n\r\n<OTA_", deliver.ReasonBrokenAnswer},
			{"invalid gzip", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\xff", deliver.ReasonOTAUnclear},
			{"gzip that is none", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n" + sized, deliver.ReasonDelivered},
		} {
			t.Run(test.name, func(t *testing.T) {
				h := newHTTP(t, deliver.Config{URL: rawServer(t, say(test.answer), false), Response: deliver.ResponseOpenTravel})
				if a := h.Send(t.Context(), message(pipeline.Record{Data: []byte("x")})); a.Reason != test.want {
					t.Errorf("%+v, want %s", a, test.want)
				}
			})
		}
	})
}

// TestAnswerInPieces: an answer may come byte by byte.
func TestAnswerInPieces(t *testing.T) {
	overBoth(t, func(t *testing.T, newHTTP maker) {
		answer := "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 500 No\r\nRetry-After: 3\r\nTransfer-Encoding: chunked\r\n\r\n4;x\r\nWiki\r\n5\r\npedia\r\n0\r\nA: b\r\n\r\n"
		url := rawServer(t, func(c net.Conn) {
			for i := range answer {
				_, _ = c.Write([]byte{answer[i]})
			}
		}, true)
		h := newHTTP(t, deliver.Config{URL: url})
		for range 2 {
			a := h.Send(t.Context(), message(pipeline.Record{Data: []byte("x")}))
			if a.Status != 500 || string(a.Body) != "Wikipedia" || a.RetryAfter.Seconds() != 3 {
				t.Errorf("%+v with body %q", a, a.Body)
			}
		}
	})
}

// TestUnaskedAnswers: what comes behind an answer is nobody's.
func TestUnaskedAnswers(t *testing.T) {
	overBoth(t, func(t *testing.T, newHTTP maker) {
		for _, more := range []string{"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", "x", "\r\n"} {
			url := rawServer(t, say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"+more), true)
			h := newHTTP(t, deliver.Config{URL: url})
			for range 3 {
				if a := h.Send(t.Context(), message(pipeline.Record{Data: []byte("x")})); a.Reason != deliver.ReasonDelivered {
					t.Errorf("behind %q: %+v", more, a)
				}
			}
		}
	})
}

// TestConnectionsThatDoNotStay: a receiver says so, and is believed.
func TestConnectionsThatDoNotStay(t *testing.T) {
	overBoth(t, func(t *testing.T, newHTTP maker) {
		for answer, want := range map[string]int64{
			"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n":                                                                1,
			"HTTP/1.1 204 No Content\r\n\r\n":                                                                             1,
			"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n":                                           3,
			"HTTP/1.1 200 OK\r\nConnection: x, Close\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n":                      3,
			"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n":                                                                3,
			"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n":                                      1,
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: x\r\n\r\n":                          1,
			"HTTP/1.1 500 No\r\nContent-Length: 20000\r\n\r\n" + strings.Repeat("x", 20000):                               1,
			"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n2000\r\n" + strings.Repeat("x", 8192) + "\r\n0\r\n\r\n": 1,
		} {
			var connections atomic.Int64
			var last atomic.Value
			url := rawServer(t, func(c net.Conn) {
				if last.Swap(c.RemoteAddr().String()) != c.RemoteAddr().String() {
					connections.Add(1)
				}
				say(answer)(c)
			}, true)
			h := newHTTP(t, deliver.Config{URL: url})
			for range 3 {
				if a := h.Send(t.Context(), message(pipeline.Record{Data: []byte("x")})); a.Status == 0 {
					t.Errorf("%.60q: %+v", answer, a)
				}
			}
			if n := connections.Load(); n != want {
				t.Errorf("%.60q: %d connections for 3 attempts, want %d", answer, n, want)
			}
		}
	})
}

// TestEarlyAnswer: a receiver that refuses a message by its head need not read
// it to the end.
func TestEarlyAnswer(t *testing.T) {
	overBoth(t, func(t *testing.T, newHTTP maker) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		hungUp := make(chan struct{})
		go func() {
			defer close(hungUp)
			c, err := listener.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			in := bufio.NewReader(c)
			if _, err := http.ReadRequest(in); err != nil {
				t.Error(err)
			}
			say("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")(c)
			// Nothing more is read before the sender has given up.
			for {
				if _, err := c.Write([]byte("x")); err != nil {
					return
				}
			}
		}()
		h := newHTTP(t, deliver.Config{URL: "http://" + listener.Addr().String()})
		a := h.Send(t.Context(), message(pipeline.Record{Data: make([]byte, 64<<20)}))
		if a.Reason != deliver.ReasonRejected || a.Status != 413 {
			t.Errorf("%+v, want the refusal", a)
		}
		<-hungUp
	})
}

// TestHalfClosed: an answer counts although the receiver says nothing more.
func TestHalfClosed(t *testing.T) {
	overBoth(t, func(t *testing.T, newHTTP maker) {
		url := rawServer(t, func(c net.Conn) {
			say("HTTP/1.1 429 Slow\r\nContent-Length: 0\r\n\r\n")(c)
			_ = c.(*net.TCPConn).CloseWrite() // half-closed: what it says has an end, what it hears has none
		}, true)
		h := newHTTP(t, deliver.Config{URL: url})
		if a := h.Send(t.Context(), message(pipeline.Record{Data: []byte("x")})); a.Reason != deliver.ReasonThrottled {
			t.Errorf("%+v, want throttled", a)
		}
	})
}

// TestGigabyteIsCut: nothing of that size is read or kept.
func TestGigabyteIsCut(t *testing.T) {
	overBoth(t, func(t *testing.T, newHTTP maker) {
		sent := make(chan int64, 1)
		url := rawServer(t, func(c net.Conn) {
			say("HTTP/1.1 500 No\r\nContent-Length: 1073741824\r\n\r\n")(c)
			n, _ := io.Copy(c, io.LimitReader(zeros{}, 1<<30))
			sent <- n
		}, false)
		h := newHTTP(t, deliver.Config{URL: url})
		a := h.Send(t.Context(), message(pipeline.Record{Data: []byte("x")}))
		if a.Reason != deliver.ReasonServerError || len(a.Body) > 2<<10 {
			t.Errorf("%s with %d bytes", a.Reason, len(a.Body))
		}
		if n := <-sent; n > 32<<20 {
			t.Errorf("%d bytes were sent", n)
		}
	})
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// TestFailures: an operator sees from the outcome what is to do.
func TestFailures(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, test := range []struct {
		ctx  context.Context
		err  error
		want deliver.Reason
	}{
		{t.Context(), &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "gone.example", IsNotFound: true}}, deliver.ReasonUnknownHost},
		{t.Context(), &net.OpError{Op: "dial", Err: &net.DNSError{Err: "server misbehaving", Name: "x.example"}}, deliver.ReasonConnection},
		{t.Context(), &net.OpError{Op: "dial", Err: &net.DNSError{Err: "i/o timeout", Name: "x.example", IsTimeout: true}}, deliver.ReasonTimeout},
		{t.Context(), fmt.Errorf("read: %w", os.ErrDeadlineExceeded), deliver.ReasonTimeout},
		{t.Context(), &net.OpError{Op: "remote error", Err: fmt.Errorf("tls: expired certificate")}, deliver.ReasonTLS},
		{t.Context(), io.ErrUnexpectedEOF, deliver.ReasonConnection},
		{ctx, os.ErrDeadlineExceeded, deliver.ReasonCancelled},
	} {
		if a := deliver.FailedAnswer(test.ctx, test.err); a.Reason != test.want || a.Reason.Class() != deliver.Retry {
			t.Errorf("%v: %+v, want %s", test.err, a, test.want)
		}
	}
}
