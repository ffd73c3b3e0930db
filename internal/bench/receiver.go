package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// fault is what is wrong with a receiver.
type fault int32

const (
	well   fault = iota
	hangs        // answers nothing, until the sender gives up
	errs         // answers 500
	resets       // resets the connection behind a request
	drips        // reads a byte a second
	poison       // answers 500 to one key
	random       // now and then, one request alone: late, 500, a reset, or no answer
)

// errorAnswer is what a receiver says that errs.
const errorAnswer = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"

// Of a receiver that drips: its connections' receive buffer, which the kernel
// rounds up; and of one that is well again, which is what loopback needs.
const (
	tinyBuffer = 1024
	fairBuffer = 256 << 10
)

// Of a receiver with random faults.
const (
	randomFault = .01                   // of the requests
	randomHang  = .02                   // of those: no answer at all
	randomLate  = 20 * time.Millisecond // at most
)

// receiver is a destination's other end, with a port of its own. Its fault may
// be changed at any time.
type receiver struct {
	name  string
	url   string
	tally *tally

	listener net.Listener
	fault    atomic.Int32
	key      int // that is poisoned
	open     sync.Map
}

// newReceiver listens on a port of the kernel's choice.
func newReceiver(name string, t *tally) (*receiver, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return &receiver{name: name, url: "http://" + l.Addr().String() + "/ota", tally: t, listener: l}, nil
}

// become changes the fault. A receiver that drips does so from a connection's
// first byte on: all connections begin anew.
func (r *receiver) become(f fault) error {
	old := fault(r.fault.Swap(int32(f)))
	if f != drips && old != drips {
		return nil
	}
	size := fairBuffer
	if f == drips {
		size = tinyBuffer
	}
	raw, err := r.listener.(*net.TCPListener).SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, size) }); err != nil {
		return err
	}
	r.open.Range(func(c, _ any) bool { c.(net.Conn).Close(); return true })
	return failed
}

// serve answers until ctx ends, and returns when every connection is closed.
func (r *receiver) serve(ctx context.Context) error {
	var all sync.WaitGroup
	defer all.Wait()
	stop := context.AfterFunc(ctx, func() {
		r.listener.Close()
		r.open.Range(func(c, _ any) bool { c.(net.Conn).Close(); return true })
	})
	defer stop()
	for {
		c, err := r.listener.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				c.Close()
			}
			return nil
		case errors.Is(err, syscall.EMFILE):
			return fmt.Errorf("receiver %s: %w: raise the limit of open files (ulimit -n)", r.name, err)
		case err != nil:
			return fmt.Errorf("receiver %s: %w", r.name, err)
		}
		r.open.Store(c, nil)
		if ctx.Err() != nil {
			c.Close()
		}
		all.Go(func() {
			defer r.open.Delete(c)
			defer c.Close()
			r.answer(ctx, c.(*net.TCPConn))
		})
	}
}

// answer serves one connection until one side closes it.
func (r *receiver) answer(ctx context.Context, c *net.TCPConn) {
	if fault(r.fault.Load()) == drips {
		drip(ctx, c)
		return
	}
	in := bufio.NewReaderSize(c, 8<<10)
	for {
		s, err := readRequest(in)
		if err != nil {
			return
		}
		answer := sinkAnswer
		switch f := r.now(); {
		case f == drips:
			drip(ctx, c)
			return
		case f == hangs:
			r.tally.attempt(s, false)
			io.Copy(io.Discard, c) //nolint:errcheck // it ends when the sender gives up
			return
		case f == resets:
			r.tally.attempt(s, false)
			c.SetLinger(0) //nolint:errcheck // closed all the same
			return
		case f == errs, f == poison && s.key == r.key:
			r.tally.attempt(s, false)
			answer = errorAnswer
		default:
			if f == random {
				time.Sleep(rand.N(randomLate))
			}
			r.tally.attempt(s, true)
		}
		if _, err := io.WriteString(c, answer); err != nil {
			return
		}
	}
}

// now is the fault of the request that came now.
func (r *receiver) now() fault {
	f := fault(r.fault.Load())
	if f != random {
		return f
	}
	switch p := rand.Float64(); {
	case p >= randomFault:
		return well
	case p < randomFault*randomHang:
		return hangs
	default:
		return []fault{random, errs, resets}[rand.IntN(3)]
	}
}

// drip reads a byte a second.
func drip(ctx context.Context, c net.Conn) {
	one := make([]byte, 1)
	for {
		if _, err := c.Read(one); err != nil || !sleep(ctx, time.Second) {
			return
		}
	}
}

// readRequest reads a request, and of its body no more than the stamp.
func readRequest(in *bufio.Reader) (s stamp, err error) {
	length := 0
	for first := true; ; first = false {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return s, err
		}
		if line = bytes.TrimSpace(line); len(line) == 0 && !first {
			break
		}
		const name = "content-length:"
		if len(line) > len(name) && bytes.EqualFold(line[:len(name)], []byte(name)) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(line[len(name):]))); err != nil {
				return s, err
			}
		}
	}
	head, err := in.Peek(min(length, stampSize))
	if err != nil {
		return s, err
	}
	if s, err = parseStamp(head); err != nil {
		return s, err
	}
	_, err = in.Discard(length)
	return s, err
}
