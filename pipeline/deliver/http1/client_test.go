package http1_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardline/shardline/pipeline/deliver/http1"
)

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// pipes dials connections in memory. serve has each of them, counted from 1,
// and closes it when it returns.
type pipes struct {
	serve func(n int64, c net.Conn, in *bufio.Reader)
	n     atomic.Int64
	all   sync.WaitGroup
}

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	n := p.n.Add(1)
	p.all.Go(func() {
		defer theirs.Close()
		p.serve(n, theirs, bufio.NewReader(theirs))
	})
	return ours, nil
}

// take reads a request.
func take(in *bufio.Reader) bool {
	r, err := http.ReadRequest(in)
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, r.Body)
	return err == nil
}

// answerAll answers every request with ok, after a while.
func answerAll(after time.Duration) func(int64, net.Conn, *bufio.Reader) {
	return func(_ int64, c net.Conn, in *bufio.Reader) {
		for take(in) {
			time.Sleep(after)
			if _, err := io.WriteString(c, ok); err != nil {
				return
			}
		}
	}
}

// do sends one request.
func do(ctx context.Context, c *http1.Client, body string, timeout time.Duration) (http1.Answer, error) {
	call := http1.NewCall()
	defer call.Release()
	call.Head = fmt.Appendf(call.Head, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", len(body))
	call.Body, call.Limit = []byte(body), 100
	if timeout > 0 {
		call.Deadline = time.Now().Add(timeout)
	}
	err := c.Do(ctx, call)
	a := call.Answer
	a.Body = append([]byte(nil), a.Body...)
	return a, err
}

func mustDo(t *testing.T, c *http1.Client) {
	t.Helper()
	if a, err := do(t.Context(), c, "x", time.Minute); err != nil || a.Status != 200 || string(a.Body) != "ok" {
		t.Errorf("answer %+v, %v", a, err)
	}
}

// TestFewConnections: the one that was used last is used next, so that those
// beyond need grow idle, and end.
func TestFewConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pipes{serve: answerAll(time.Second)}
		c := http1.New(http1.Config{Idle: 3, Dial: p.dial, IdleTimeout: time.Minute})
		defer p.all.Wait()
		defer c.Close()
		var burst sync.WaitGroup
		for range 5 {
			burst.Go(func() { mustDo(t, c) })
		}
		burst.Wait()
		if idle, flying, _ := c.Counts(); idle != 3 || flying != 0 {
			t.Errorf("%d idle and %d in flight after 5 calls at once, want 3 and 0", idle, flying)
		}
		for range 50 { // more than the idle time
			mustDo(t, c)
			time.Sleep(time.Second)
		}
		if idle, _, _ := c.Counts(); idle != 1 || p.n.Load() != 5 {
			t.Errorf("%d idle of %d, want 1 of 5", idle, p.n.Load())
		}
		time.Sleep(2 * time.Minute)
		if idle, _, _ := c.Counts(); idle != 0 {
			t.Errorf("%d idle after a pause, want 0", idle)
		}
		mustDo(t, c)
	})
}

// TestConnectionsGrowOld: a name that leads elsewhere is followed, also by a
// connection that is never idle.
func TestConnectionsGrowOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pipes{serve: answerAll(time.Second)}
		c := http1.New(http1.Config{Idle: 3, Dial: p.dial, MaxAge: 100 * time.Second})
		defer p.all.Wait()
		defer c.Close()
		for range 1000 {
			mustDo(t, c)
		}
		if n := p.n.Load(); n < 10 || n > 12 {
			t.Errorf("%d connections in 1000 s, want one in 90 to 100 s", n)
		}
	})
}

// TestDeadlines: a call ends at its own deadline, whatever the others have, and
// its connection with it.
func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pipes{serve: func(n int64, c net.Conn, in *bufio.Reader) { _, _ = io.Copy(io.Discard, in) }}
		c := http1.New(http1.Config{Idle: 9, Dial: p.dial})
		defer p.all.Wait()
		defer c.Close()
		var all sync.WaitGroup
		for _, timeout := range []time.Duration{30 * time.Second, 10 * time.Second, 20 * time.Second, 10 * time.Second} {
			all.Go(func() {
				began := time.Now()
				_, err := do(t.Context(), c, "x", timeout)
				if took := time.Since(began); !errors.Is(err, os.ErrDeadlineExceeded) || took != timeout {
					t.Errorf("%v after %s, want the end of %s", err, took, timeout)
				}
			})
		}
		all.Wait()
		if idle, flying, _ := c.Counts(); idle != 0 || flying != 0 {
			t.Errorf("%d idle, %d in flight", idle, flying)
		}
	})
}

// TestContexts: the end of a context breaks off its calls, and no others; a
// context is watched once, and not for ever.
func TestContexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pipes{serve: answerAll(time.Minute)}
		c := http1.New(http1.Config{Idle: 9, Dial: p.dial})
		defer p.all.Wait()
		defer c.Close()
		ends, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for i := range 10 {
			all.Go(func() {
				ctx, want := t.Context(), error(nil)
				if i%2 == 0 {
					ctx, want = ends, context.Canceled
				}
				if _, err := do(ctx, c, "x", time.Hour); !errors.Is(err, want) {
					t.Errorf("call %d: %v, want %v", i, err, want)
				}
			})
		}
		synctest.Wait()
		if _, flying, watched := c.Counts(); flying != 10 || watched != 2 {
			t.Errorf("%d in flight of %d contexts", flying, watched)
		}
		cancel()
		synctest.Wait()
		if _, flying, watched := c.Counts(); flying != 5 || watched != 1 {
			t.Errorf("%d in flight of %d contexts after one has ended, want 5 of 1", flying, watched)
		}
		if _, err := do(ends, c, "x", 0); !errors.Is(err, context.Canceled) {
			t.Errorf("a call of a context that has ended: %v", err)
		}
		all.Wait()
	})
}

// TestStaleConnections: of a request that goes to a connection that was closed
// meanwhile nothing leaves there, and it goes to another one.
func TestStaleConnections(t *testing.T) {
	var connections, requests atomic.Int64
	closed := make(chan struct{}, 1)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		_, _ = io.WriteString(w, "ok")
	}))
	s.Config.ConnState = func(c net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			connections.Add(1)
		case http.StateIdle: // hangs up without a word
			go func() { c.Close(); closed <- struct{}{} }()
		}
	}
	s.Start()
	defer s.Close()
	c := http1.New(http1.Config{Address: s.Listener.Addr().String(), Idle: 1})
	defer c.Close()
	for range 5 {
		mustDo(t, c)
		<-closed
		c.Age(time.Second)
	}
	if connections.Load() != 5 || requests.Load() != 5 {
		t.Errorf("%d connections and %d requests for 5 calls", connections.Load(), requests.Load())
	}
}

// TestNothingIsRepeated: a request that left and got no answer is the caller's
// to repeat, on whatever connection it left.
func TestNothingIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var requests atomic.Int64
		p := &pipes{serve: func(n int64, c net.Conn, in *bufio.Reader) {
			for i := 0; take(in); i++ {
				if requests.Add(1); i == 1 {
					return // the second request of a connection is taken, and not answered
				}
				_, _ = io.WriteString(c, ok)
			}
		}}
		c := http1.New(http1.Config{Idle: 1, Dial: p.dial})
		defer p.all.Wait()
		defer c.Close()
		mustDo(t, c)
		if _, err := do(t.Context(), c, "x", time.Minute); err == nil || !strings.Contains(err.Error(), "closed before an answer") {
			t.Errorf("%v, want that there was no answer", err)
		}
		mustDo(t, c)
		if n := requests.Load(); n != 3 {
			t.Errorf("%d requests for 3 calls", n)
		}
	})
}

// TestReceiverThatNeverStays: one that hangs up behind every answer, and does
// not say so, costs few failures.
func TestReceiverThatNeverStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pipes{serve: func(_ int64, c net.Conn, in *bufio.Reader) {
			if take(in) {
				_, _ = io.WriteString(c, ok)
			}
			take(in) // it was too late to see that nobody listens
		}}
		c := http1.New(http1.Config{Idle: 1, Dial: p.dial})
		defer p.all.Wait()
		defer c.Close()
		send := func(n int) (failed int) {
			for range n {
				if _, err := do(t.Context(), c, "x", time.Minute); err != nil {
					failed++
				}
			}
			return failed
		}
		if n := send(50); n != 3 {
			t.Errorf("%d of 50 calls failed, want 3", n)
		}
		time.Sleep(2 * time.Minute) // it may stay now
		if n := send(50); n != 3 {
			t.Errorf("%d of 50 calls failed later, want 3", n)
		}
	})
}

// TestRequestThatCannotLeave goes to the next connection when not one byte of
// it has left.
func TestRequestThatCannotLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pipes{serve: func(n int64, c net.Conn, in *bufio.Reader) {
			for take(in) {
				_, _ = io.WriteString(c, ok)
				if n == 1 {
					return
				}
			}
		}}
		c := http1.New(http1.Config{Idle: 1, Dial: p.dial})
		defer p.all.Wait()
		defer c.Close()
		mustDo(t, c)
		synctest.Wait()
		mustDo(t, c)
		if n := p.n.Load(); n != 2 {
			t.Errorf("%d connections, want 2", n)
		}
	})
}

func TestDialFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		c := http1.New(http1.Config{Dial: hangs, Connect: 5 * time.Second})
		began := time.Now()
		if _, err := do(t.Context(), c, "x", time.Minute); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 5*time.Second {
			t.Errorf("%v after %s, want the end of 5s", err, time.Since(began))
		}
		began = time.Now()
		if _, err := do(t.Context(), c, "x", time.Second); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("%v after %s, want the end of 1s", err, time.Since(began))
		}
		c.Close()
		if _, err := do(t.Context(), c, "x", time.Second); err == nil {
			t.Error("a closed client sends")
		}
	})
}

// TestHandshakeThatHangs ends with the attempt.
func TestHandshakeThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pipes{serve: func(_ int64, _ net.Conn, in *bufio.Reader) { _, _ = io.Copy(io.Discard, in) }}
		c := http1.New(http1.Config{Dial: p.dial, TLS: &tls.Config{ServerName: "x"}})
		defer p.all.Wait()
		began := time.Now()
		if _, err := do(t.Context(), c, "x", 3*time.Second); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 3*time.Second {
			t.Errorf("%v after %s, want the end of 3s", err, time.Since(began))
		}
	})
}

// BenchmarkCall sends 4 kB and reads an answer without a body.
func BenchmarkCall(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		buffer := make([]byte, 16<<10)
		for {
			for n := 0; n < 4096; {
				m, err := c.Read(buffer)
				if err != nil {
					return
				}
				n += m
			}
			_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
		}
	}()
	c := http1.New(http1.Config{Address: l.Addr().String(), Idle: 1})
	defer c.Close()
	body := make([]byte, 4000)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	b.ReportAllocs()
	for b.Loop() {
		call := http1.NewCall()
		call.Head = append(call.Head, "POST /ota HTTP/1.1\r\nHost: partner.example:8080\r\nContent-Type: text/xml\r\nContent-Length: 4000\r\n\r\n"...)
		call.Body, call.Deadline = body, time.Now().Add(10*time.Second)
		if err := c.Do(ctx, call); err != nil {
			b.Fatal(err)
		}
		call.Release()
	}
}
