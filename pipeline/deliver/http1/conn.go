package http1

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"
)

// conn is one connection. It belongs to the call that has taken it; what the
// client's watch needs of it is guarded by the client's mutex.
type conn struct {
	net net.Conn // over TLS a *tls.Conn
	raw net.Conn // below TLS, else net

	born    time.Time
	expires time.Time // no request begins after it
	used    bool      // it has carried an answer
	sent    int64     // bytes that left through raw, of this request

	socket syscall.RawConn // of raw; nil: it has none
	look   func(fd uintptr) bool
	stale  bool // look's result

	// Guarded by the client's mutex.
	lastUsed   time.Time
	deadline   time.Time
	done       <-chan struct{} // of the call's context
	broken     error           // why the watch broke it off
	next, prev *conn           // in flight
}

// lingering is how long a request may still be on its way when its answer is
// there; then its connection is closed.
const lingering = 50 * time.Millisecond

// counted counts what leaves below TLS.
type counted struct {
	net.Conn
	conn *conn
}

func (c counted) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.conn.sent += int64(n)
	return n, err
}

// open makes a connection.
func (c *Client) open(ctx context.Context, deadline time.Time) (*conn, error) {
	now := time.Now()
	until := now.Add(c.config.Connect)
	if !deadline.IsZero() && deadline.Before(until) {
		until = deadline
	}
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	raw, err := c.config.Dial(ctx, "tcp", c.config.Address)
	if err != nil {
		return nil, err
	}
	x := &conn{net: raw, raw: raw, born: now, expires: now.Add(c.config.MaxAge - c.config.MaxAge/10 + c.jitter(c.config.MaxAge/10))}
	if s, ok := raw.(syscall.Conn); ok {
		if x.socket, err = s.SyscallConn(); err != nil {
			raw.Close()
			return nil, err
		}
		x.look = x.lookAt
	}
	if c.config.TLS == nil {
		return x, nil
	}
	secure := tls.Client(counted{raw, x}, c.config.TLS)
	if err := secure.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, fmt.Errorf("TLS with %s: %w", c.config.Address, err)
	}
	x.net = secure
	return x, nil
}

// exchange sends a request and reads its answer. keep: the connection can be
// used again. Nothing was sent when there is an error and x.sent is 0.
func (x *conn) exchange(call *Call) (keep bool, err error) {
	x.sent = 0
	if len(call.Head)+len(call.Body) >= besideFrom {
		return x.exchangeBeside(call)
	}
	if err := x.write(call); err != nil {
		if x.sent == 0 {
			return false, err
		}
		// The receiver may have answered before it hung up.
		if _, late := x.readAnswer(call, nil); late != nil {
			return false, err
		}
		return false, nil
	}
	return x.readAnswer(call, call.buffer[:0])
}

// exchangeBeside writes a request that may not fit the socket's buffers while
// it reads the answer: receivers may refuse a message by its head and read no
// more of it.
func (x *conn) exchangeBeside(call *Call) (bool, error) {
	written := make(chan error, 1)
	go func() { written <- x.write(call) }()
	keep, err := x.readAnswer(call, nil)
	// What has not left yet is not worth waiting for, but that it has may not
	// have been said yet.
	until := past
	if err == nil && keep {
		until = time.Now().Add(lingering)
	}
	x.net.SetWriteDeadline(until) //nolint:errcheck // the write says it too
	failed := <-written
	if failed == nil && keep {
		x.net.SetWriteDeadline(time.Time{}) //nolint:errcheck // the next write says it too
	}
	return keep && failed == nil, err
}

// write sends head and body, over plain TCP in one system call.
func (x *conn) write(call *Call) error {
	head, body := call.Head, call.Body
	room := cap(head) - len(head)
	if _, plain := x.net.(*net.TCPConn); plain && len(body) > room {
		call.pieces = [2][]byte{head, body}
		all := net.Buffers(call.pieces[:])
		n, err := all.WriteTo(x.net)
		x.sent += n
		return err
	}
	n := min(len(body), room)
	if err := x.writeAll(append(head, body[:n]...)); err != nil || n == len(body) {
		return err
	}
	return x.writeAll(body[n:])
}

func (x *conn) writeAll(b []byte) error {
	n, err := x.net.Write(b)
	if x.net == x.raw {
		x.sent += int64(n)
	}
	return err
}

// readAnswer reads an answer into b, or into memory of its own. Interim answers
// are skipped.
func (x *conn) readAnswer(call *Call, b []byte) (keep bool, err error) {
	if b == nil {
		b = make([]byte, 0, bufferSize)
	}
	interim, looked := 0, 0
	for {
		end := headEnd(b, looked)
		if end == 0 {
			looked = len(b)
			switch {
			case interim+looked >= maxHead:
				return false, errHeadTooLong
			case looked >= len(protocol) && string(b[:len(protocol)]) != protocol:
				return false, errNotHTTP // it need not go on for long
			}
			if b, err = x.fill(b); err != nil {
				return false, noAnswer(err, interim+looked)
			}
			continue
		}
		if err := call.Answer.parseHead(b[:end]); err != nil {
			return false, err
		}
		if s := call.Answer.Status; s >= 200 || s == 101 {
			x.used = true
			call.Answer.Head = b[:end]
			return x.readBody(call, b, end) && s != 101, nil
		}
		if interim += end; interim >= maxHead {
			return false, errHeadTooLong
		}
		b, looked = b[:copy(b, b[end:])], 0
	}
}

// noAnswer is the error of an answer that ended after n bytes.
func noAnswer(err error, n int) error {
	switch {
	case errors.Is(err, io.EOF) && n == 0:
		return errHungUp
	case errors.Is(err, io.EOF):
		return errBrokeOff
	}
	return err
}

var (
	errHungUp   = errors.New("the connection was closed before an answer")
	errBrokeOff = errors.New("the connection was closed within the answer's headers")
)
