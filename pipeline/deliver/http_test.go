package deliver_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/pipeline"
	"github.com/shardline/shardline/pipeline/deliver"
)

// taken is a request as the server has it.
type taken struct {
	*http.Request
	body []byte
}

// server answers as told and keeps the requests.
type server struct {
	*httptest.Server
	connections atomic.Int64

	mu       sync.Mutex
	requests []taken
}

func newServer(t *testing.T, answer http.HandlerFunc) *server {
	t.Helper()
	s := &server{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("read request: %v", err)
		}
		s.mu.Lock()
		s.requests = append(s.requests, taken{r, body})
		s.mu.Unlock()
		if answer != nil {
			answer(w, r)
		}
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.connections.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func (s *server) all() []taken {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]taken(nil), s.requests...)
}

// rawServer answers every connection's requests with the same bytes, and hangs
// up when stay is false.
func rawServer(t *testing.T, answer func(net.Conn), stay bool) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				in := bufio.NewReader(conn)
				for {
					r, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, r.Body)
					answer(conn)
					if !stay {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() { listener.Close(); all.Wait() })
	return "http://" + listener.Addr().String() + "/"
}

func say(text string) func(net.Conn) {
	return func(c net.Conn) { _, _ = io.WriteString(c, text) }
}

// maker makes a transport over one of the two ways.
type maker = func(*testing.T, deliver.Config) *deliver.HTTP

// overBoth runs a test over package http1 and over net/http: what requests say
// and what answers mean must be the same.
func overBoth(t *testing.T, test func(*testing.T, maker)) {
	t.Run("http1", func(t *testing.T) { test(t, newHTTP) })
	t.Run("net_http", func(t *testing.T) {
		test(t, func(t *testing.T, c deliver.Config) *deliver.HTTP {
			h := newHTTP(t, c)
			h.OverNetHTTP(c)
			return h
		})
	})
}

func newHTTP(t *testing.T, c deliver.Config) *deliver.HTTP {
	t.Helper()
	c.Name = "channel"
	h, err := deliver.NewHTTP(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func message(r pipeline.Record) *deliver.Message {
	info := shardInfo
	if r.Position == (checkpoint.Position{}) {
		r.Position = checkpoint.Number("4959", 0)
	}
	if r.Key == "" {
		r.Key = "H1"
	}
	return &deliver.Message{Shard: &info, Record: &r, Attempt: 1, Body: r.Data}
}

func TestStatuses(t *testing.T) {
	overBoth(t, func(t *testing.T, newHTTP maker) {
		h := func(status int) deliver.Answer {
			// Statuses that net/http's server would not write are written raw.
			url := rawServer(t, say(fmt.Sprintf("HTTP/1.1 %03d x\r\nContent-Length: 0\r\nRetry-After: 7\r\nLocation: /y\r\n\r\n", status)), false)
			return newHTTP(t, deliver.Config{URL: url}).Send(t.Context(), message(pipeline.Record{Data: []byte("x")}))
		}
		for status, want := range map[int]deliver.Reason{
			200: deliver.ReasonDelivered, 201: deliver.ReasonDelivered, 202: deliver.ReasonDelivered, 204: deliver.ReasonDelivered, 299: deliver.ReasonDelivered,
			300: deliver.ReasonRedirect, 301: deliver.ReasonRedirect, 302: deliver.ReasonRedirect, 304: deliver.ReasonRedirect, 307: deliver.ReasonRedirect, 308: deliver.ReasonRedirect,
			400: deliver.ReasonRejected, 402: deliver.ReasonRejected, 405: deliver.ReasonRejected, 409: deliver.ReasonRejected, 410: deliver.ReasonRejected,
			413: deliver.ReasonRejected, 415: deliver.ReasonRejected, 422: deliver.ReasonRejected, 431: deliver.ReasonRejected, 451: deliver.ReasonRejected,
			401: deliver.ReasonUnauthorized, 403: deliver.ReasonUnauthorized, 407: deliver.ReasonUnauthorized, 404: deliver.ReasonNotFound,
			408: deliver.ReasonTryLater, 425: deliver.ReasonTryLater, 429: deliver.ReasonThrottled,
			500: deliver.ReasonServerError, 502: deliver.ReasonServerError, 503: deliver.ReasonServerError, 504: deliver.ReasonServerError, 599: deliver.ReasonServerError,
			501: deliver.ReasonRejected, 505: deliver.ReasonRejected, 666: deliver.ReasonServerError,
		} {
			a := h(status)
			if a.Reason != want || a.Status != status {
				t.Errorf("status %d is %s (%+v), want %s", status, a.Reason, a, want)
			}
			if want != deliver.ReasonDelivered && a.RetryAfter != 7*time.Second {
				t.Errorf("status %d: Retry-After %s, want 7s", status, a.RetryAfter)
			}
		}
	})
}

func TestRetryAfter(t *testing.T) {
	overBoth(t, func(t *testing.T, newHTTP maker) {
		const date = "Tue, 15 Nov 1994 08:12:31 GMT"
		for _, test := range []struct {
			header string
			want   time.Duration
		}{
			{"Retry-After: 120", 2 * time.Minute},
			{"Retry-After: 0", 0},
			{"Retry-After: -5", 0},
			{"Retry-After: soon", 0},
			{"Retry-After: 1000000000", time.Hour},
			{"Retry-After: 99999999999999999999", time.Hour},
			// By the receiver's own clock, 32 years slow.
			{"Date: " + date + "\r\nRetry-After: Tue, 15 Nov 1994 08:13:01 GMT", 30 * time.Second},
			{"Date: " + date + "\r\nRetry-After: Tue, 15 Nov 1994 08:12:01 GMT", 0},
			{"Date: " + date + "\r\nRetry-After: Tue, 15 Nov 2033 08:12:01 GMT", time.Hour},
			{"Retry-After: Tue, 15 Nov 1994 08:12:01 GMT", 0},
		} {
			url := rawServer(t, say("HTTP/1.1 503 x\r\nContent-Length: 0\r\n"+test.header+"\r\n\r\n"), false)
			if a := newHTTP(t, deliver.Config{URL: url}).Send(t.Context(), message(pipeline.Record{})); a.RetryAfter != test.want {
				t.Errorf("%q: %s, want %s", test.header, a.RetryAfter, test.want)
			}
		}
	})
}

func TestAnswersThatAreNone(t *testing.T) {
	overBoth(t, func(t *testing.T, newHTTP maker) {
		huge := strings.Repeat("X-Filler: "+strings.Repeat("y", 1000)+"\r\n", 200)
		for _, test := range []struct {
			name   string
			answer func(net.Conn)
			want   deliver.Reason
		}{
			{"garbage", say("\x16\x03\x01 what?\r\n\r\n"), deliver.ReasonConnection},
			{"nothing", say(""), deliver.ReasonConnection},
			{"half a header", say("HTTP/1.1 200 OK\r\nContent-Le"), deliver.ReasonConnection},
			{"huge headers", say("HTTP/1.1 200 OK\r\n" + huge + "\r\n"), deliver.ReasonConnection},
			{"endless informational answers", say(strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 10000)), deliver.ReasonConnection},
			{"reset", func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) }, deliver.ReasonConnection},
			{"hang", func(c net.Conn) { _, _ = c.Read(make([]byte, 1)) }, deliver.ReasonTimeout},
			{"hang in the headers", func(c net.Conn) { say("HTTP/1.1 200 OK\r\nX: ")(c); _, _ = c.Read(make([]byte, 1)) }, deliver.ReasonTimeout},
		} {
			t.Run(test.name, func(t *testing.T) {
				h := newHTTP(t, deliver.Config{URL: rawServer(t, test.answer, false)})
				ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
				defer cancel()
				a := h.Send(ctx, message(pipeline.Record{Data: []byte("x")}))
				if a.Reason != test.want || a.Detail == "" || strings.ContainsAny(a.Detail, "\r\n\x16") || len(a.Detail) > 310 {
					t.Errorf("answer %+v, want %s with printable detail", a, test.want)
				}
			})
		}
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		url := "http://" + listener.Addr().String()
		listener.Close() // nobody listens there now
		if a := newHTTP(t, deliver.Config{URL: url}).Send(t.Context(), message(pipeline.Record{})); a.Reason != deliver.ReasonConnection {
			t.Errorf("refused connection: %+v", a)
		}
	})
}

func TestCancelledAttempt(t *testing.T) {
	overBoth(t, func(t *testing.T, newHTTP maker) {
		begun := make(chan struct{})
		url := rawServer(t, func(c net.Conn) { close(begun); _, _ = c.Read(make([]byte, 1)) }, false)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-begun; cancel() }()
		if a := newHTTP(t, deliver.Config{URL: url}).Send(ctx, message(pipeline.Record{})); a.Reason != deliver.ReasonCancelled {
			t.Errorf("answer %+v, want cancelled", a)
		}
	})
}

func TestEndlessBodyIsCut(t *testing.T) {
	overBoth(t, func(t *testing.T, newHTTP maker) {
		for _, response := range []deliver.Response{deliver.ResponseStatus, deliver.ResponseOpenTravel} {
			for _, status := range []int{200, 500} {
				var sent atomic.Int64
				ended := make(chan struct{})
				s := newServer(t, func(w http.ResponseWriter, _ *http.Request) {
					defer close(ended)
					w.WriteHeader(status)
					for block := bytes.Repeat([]byte("<a>"), 1000); ; {
						n, err := w.Write(block)
						if sent.Add(int64(n)); err != nil {
							return
						}
					}
				})
				h := newHTTP(t, deliver.Config{URL: s.URL, Response: response})
				a := h.Send(t.Context(), message(pipeline.Record{Data: []byte("x")}))
				<-ended                           // the connection was closed
				if n := sent.Load(); n > 32<<20 { // most of it in the sockets' buffers
					t.Errorf("%d bytes were sent before it was", n)
				}
				want := deliver.ReasonServerError
				if status == 200 {
					want = deliver.ReasonDelivered
					if response == deliver.ResponseOpenTravel {
						want = deliver.ReasonOTAUnclear
					}
				}
				if a.Reason != want || len(a.Body) > 2048 {
					t.Errorf("response %d status %d: %s with %d bytes, want %s", response, status, a.Reason, len(a.Body), want)
				}
			}
		}
	})
}

func TestRedirectIsNotFollowed(t *testing.T) {
	overBoth(t, func(t *testing.T, newHTTP maker) {
		other := newServer(t, nil)
		s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
			http.SetCookie(w, &http.Cookie{Name: "a", Value: "b"})
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		})
		h := newHTTP(t, deliver.Config{URL: s.URL})
		for range 2 {
			if a := h.Send(t.Context(), message(pipeline.Record{Data: []byte("x")})); a.Reason != deliver.ReasonRedirect {
				t.Errorf("answer %+v, want redirect", a)
			}
		}
		if len(other.all()) != 0 || len(s.all()) != 2 || s.all()[1].Header.Get("Cookie") != "" {
			t.Errorf("%d requests went where the redirect points; cookie %q", len(other.all()), s.all()[1].Header.Get("Cookie"))
		}
	})
}

func TestConnectionsAreUsedAgain(t *testing.T) {
	overBoth(t, func(t *testing.T, newHTTP maker) {
		s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
			switch r.Header.Get("X-Shardline-Key") {
			case "refused":
				w.WriteHeader(400)
			case "long":
				_, _ = w.Write(make([]byte, 40<<10))
			}
		})
		h := newHTTP(t, deliver.Config{URL: s.URL, Concurrency: 1})
		for _, key := range []string{"H1", "refused", "long", "H1", "refused", "H1"} {
			h.Send(t.Context(), message(pipeline.Record{Data: []byte("x"), Description: pipeline.Description{Key: key}}))
		}
		if n := s.connections.Load(); n != 1 {
			t.Errorf("%d connections for 6 attempts in a row, want 1", n)
		}
	})
}

// A receiver that hangs up on a used connection may have taken the message:
// whether it is sent again is the lane's decision, where it is counted.
func TestNothingIsRepeatedBehindTheLane(t *testing.T) {
	overBoth(t, func(t *testing.T, newHTTP maker) {
		var requests atomic.Int64
		url := rawServer(t, func(c net.Conn) {
			if requests.Add(1) == 1 {
				say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")(c)
			} else {
				c.Close()
			}
		}, true)
		h := newHTTP(t, deliver.Config{URL: url})
		first, second := h.Send(t.Context(), message(pipeline.Record{Data: []byte("x")})), h.Send(t.Context(), message(pipeline.Record{Data: []byte("x")}))
		if first.Reason != deliver.ReasonDelivered || second.Reason != deliver.ReasonConnection || requests.Load() != 2 {
			t.Errorf("answers %s and %s after %d requests, want delivered, connection and 2", first.Reason, second.Reason, requests.Load())
		}
	})
}

func TestBodiesOfAllSizes(t *testing.T) {
	overBoth(t, func(t *testing.T, newHTTP maker) {
		s := newServer(t, nil)
		h := newHTTP(t, deliver.Config{URL: s.URL})
		for i, size := range []int{0, 1, 4 << 10, 8 << 10, 1 << 20, 10 << 20} {
			data := make([]byte, size)
			for j := range data {
				data[j] = byte(j * 7)
			}
			if a := h.Send(t.Context(), message(pipeline.Record{Data: data})); a.Reason != deliver.ReasonDelivered {
				t.Fatalf("%d bytes: %+v", size, a)
			}
			if got := s.all()[i]; !bytes.Equal(got.body, data) || got.ContentLength != int64(size) {
				t.Errorf("%d bytes arrived as %d, Content-Length %d", size, len(got.body), got.ContentLength)
			}
		}
	})
}

func TestOpenTravelAnswers(t *testing.T) {
	overBoth(t, func(t *testing.T, newHTTP maker) {
		const errors321 = `<OTA_HotelAvailNotifRS><Errors><Error Type="10" Code="321" ShortText="x"/></Errors></OTA_HotelAvailNotifRS>`
		const success = `<OTA_HotelAvailNotifRS><Success/></OTA_HotelAvailNotifRS>`
		withCode := func(code string) string { return strings.Replace(errors321, `"321"`, `"`+code+`"`, 1) }
		fault := `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><s:Fault><faultcode>s:Server</faultcode><faultstring>x</faultstring></s:Fault></s:Body></s:Envelope>`
		for _, test := range []struct {
			status int
			body   string
			want   deliver.Reason
		}{
			{200, success, deliver.ReasonDelivered},
			{200, errors321, deliver.ReasonOTAPermanent},
			{200, withCode("187"), deliver.ReasonOTARetryable},
			{200, withCode("497"), deliver.ReasonOTAHold},
			{200, withCode("448"), deliver.ReasonOTAUnclear},
			{200, fault, deliver.ReasonOTARetryable},
			{200, "", deliver.ReasonOTAUnclear},
			{200, "<html>welcome</html>", deliver.ReasonOTAUnclear},
			// The body decides over a status that tells of success or failure…
			{500, errors321, deliver.ReasonOTAPermanent},
			{400, withCode("187"), deliver.ReasonOTARetryable},
			{404, errors321, deliver.ReasonOTAPermanent},
			{500, withCode("497"), deliver.ReasonOTAHold},
			// …unless it has no verdict…
			{500, withCode("448"), deliver.ReasonServerError},
			{400, "no XML", deliver.ReasonRejected},
			{404, "", deliver.ReasonNotFound},
			{500, success, deliver.ReasonServerError},
			// …or the status is about the way or the sender.
			{401, errors321, deliver.ReasonUnauthorized},
			{403, success, deliver.ReasonUnauthorized},
			{429, errors321, deliver.ReasonThrottled},
			{302, success, deliver.ReasonRedirect},
		} {
			s := newServer(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(test.status)
				_, _ = io.WriteString(w, test.body)
			})
			a := newHTTP(t, deliver.Config{URL: s.URL, Response: deliver.ResponseOpenTravel}).Send(t.Context(), message(pipeline.Record{Data: []byte("x")}))
			if a.Reason != test.want {
				t.Errorf("%d %s: %s (%s), want %s", test.status, test.body, a.Reason, a.Detail, test.want)
			}
			if a.Reason != deliver.ReasonDelivered && string(a.Body) != test.body {
				t.Errorf("%d: excerpt %q, want %q", test.status, a.Body, test.body)
			}
		}
	})
}

func TestOpenTravelAnswerThatBreaksOff(t *testing.T) {
	overBoth(t, func(t *testing.T, newHTTP maker) {
		for _, test := range []struct {
			body string
			want deliver.Reason
		}{
			{"<OTA_PingRS>", deliver.ReasonBrokenAnswer},
			{`<OTA_PingRS><Errors><Error Code="321"/></Errors>`, deliver.ReasonOTAPermanent}, // enough was said
		} {
			url := rawServer(t, say("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"+test.body), false)
			a := newHTTP(t, deliver.Config{URL: url, Response: deliver.ResponseOpenTravel}).Send(t.Context(), message(pipeline.Record{}))
			if a.Reason != test.want {
				t.Errorf("%s: %+v, want %s", test.body, a, test.want)
			}
		}
		// By status alone it was delivered.
		url := rawServer(t, say("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n<OTA"), false)
		if a := newHTTP(t, deliver.Config{URL: url}).Send(t.Context(), message(pipeline.Record{})); a.Reason != deliver.ReasonDelivered {
			t.Errorf("%+v, want delivered", a)
		}
	})
}

func TestCompressedAnswer(t *testing.T) {
	overBoth(t, func(t *testing.T, newHTTP maker) {
		s := newServer(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			_, _ = io.WriteString(z, "<OTA_PingRS><Success/></OTA_PingRS>")
			_ = z.Close()
		})
		a := newHTTP(t, deliver.Config{URL: s.URL, Response: deliver.ResponseOpenTravel}).Send(t.Context(), message(pipeline.Record{}))
		if a.Reason != deliver.ReasonDelivered {
			t.Errorf("%+v, want delivered", a)
		}
	})
}

// untilDelivered closes done after n deliveries.
type untilDelivered struct {
	*deliver.HTTP
	n    int64
	got  atomic.Int64
	done chan struct{}
}

func (u *untilDelivered) Send(ctx context.Context, m *deliver.Message) deliver.Answer {
	a := u.HTTP.Send(ctx, m)
	if a.Reason == deliver.ReasonDelivered && u.got.Add(1) == u.n {
		close(u.done)
	}
	return a
}

// TestDeliveryOverHTTP takes the whole way once: 401, a slow answer, a redirect
// and a reset come between, and everything arrives once and in order per key.
func TestDeliveryOverHTTP(t *testing.T) {
	overBoth(t, func(t *testing.T, newHTTP maker) {
		var n atomic.Int64
		s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
			switch n.Add(1) {
			case 3:
				w.WriteHeader(http.StatusUnauthorized)
			case 9:
				http.Redirect(w, r, "/elsewhere", http.StatusFound)
			case 20, 21:
				panic(http.ErrAbortHandler)
			case 30:
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		})
		all := &untilDelivered{HTTP: newHTTP(t, deliver.Config{URL: s.URL, Concurrency: 3}), n: 100, done: make(chan struct{})}
		d := begin(t, deliver.Config{Transport: all, Concurrency: 3, Retry: deliver.RetryPolicy{Initial: time.Millisecond},
			Probes: deliver.Probes{Initial: time.Millisecond}})
		for i := range 100 {
			d.put(fmt.Sprint("H", i%7))
		}
		select {
		case <-all.done:
		case <-time.After(20 * time.Second):
			t.Fatalf("settled through %d, state %+v", d.cursor.Through(), d.State())
		}
		d.Detach(d.cursor)
		if d.cursor.Through() != 100 {
			t.Errorf("settled through %d, want 100", d.cursor.Through())
		}
		last := map[string]string{}
		for _, r := range s.all() {
			key, seq := r.Header.Get("X-Shardline-Key"), fmt.Sprintf("%4s", r.Header.Get("X-Shardline-Sequence-Number"))
			if seq < last[key] {
				t.Errorf("key %s: %s after %s", key, seq, last[key])
			}
			last[key] = seq
		}
		if got := len(s.all()); got != 105 {
			t.Errorf("%d requests for 100 records and 5 failures, want 105", got)
		}
	})
}

// runSelf runs one test in a process of its own.
func runSelf(t *testing.T, name string, env ...string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run", "^"+name+"$", "-test.v")
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: "+name) {
		t.Errorf("%v\n%s", err, out)
	}
}
