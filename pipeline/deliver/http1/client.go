package http1

import (
	"context"
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Config is what a client is made of. What says "0: …" has a default.
type Config struct {
	Address     string        // host:port
	TLS         *tls.Config   // nil: plain TCP
	Idle        int           // connections that are kept while they have nothing to do
	Connect     time.Duration // for connecting and the TLS handshake; 0: 30 s
	IdleTimeout time.Duration // 0: 90 s
	// MaxAge is how long a connection is used, less up to a tenth at random: a
	// name that leads elsewhere is followed within this time. 0: 5 min
	MaxAge time.Duration
	Dial   func(ctx context.Context, network, address string) (net.Conn, error) // nil: net.Dialer
}

// lookAfter is for how long a connection may have been idle without a look
// whether its peer has closed it. The look is a system call.
const lookAfter = 10 * time.Millisecond

const (
	// maxHungUps in a row are no accident.
	maxHungUps = 3
	// keepNothing is for how long no connection is kept then.
	keepNothing = time.Minute
)

var (
	errClosed = errors.New("the client is closed")
	past      = time.Unix(1, 0)
)

// Client sends requests to one origin. Its methods may be called by many
// goroutines; there are as many connections as there are calls at once.
type Client struct {
	config Config

	// mu guards what is below, and what the connections say of it. Every
	// connection is idle, in flight, or being opened or closed.
	mu      sync.Mutex
	idle    []*conn // the one that was used last is at the end, and is used next
	flying  *conn
	watched map[<-chan struct{}]bool // contexts, until they end
	recent  [8]<-chan struct{}       // some of them, so that most calls look nothing up
	turn    uint8                    // the place in recent that is taken next
	timer   *time.Timer
	timerAt time.Time // when it fires; zero: it does not
	closed  bool
	// keepFrom is when connections are kept again; most often past.
	keepFrom time.Time

	hungUps atomic.Int32 // connections in a row that ended when they were used again
}

// New makes a client. It starts nothing.
func New(c Config) *Client {
	if c.Connect <= 0 {
		c.Connect = 30 * time.Second
	}
	if c.IdleTimeout <= 0 {
		c.IdleTimeout = 90 * time.Second
	}
	if c.MaxAge <= 0 {
		c.MaxAge = 5 * time.Minute
	}
	if c.Dial == nil {
		c.Dial = new(net.Dialer).DialContext
	}
	return &Client{config: c, watched: make(map[<-chan struct{}]bool)}
}

// Do sends a call's request and reads its answer. An error means that there is
// no answer: os.ErrDeadlineExceeded when the call's time was up, ctx's error
// when it ended. It returns soon after either.
func (c *Client) Do(ctx context.Context, call *Call) error {
	for {
		x, err := c.take(ctx, call)
		if err != nil {
			return err
		}
		reused := x.used
		keep, err := x.exchange(call)
		if reused {
			c.judge(err)
		}
		broken := c.put(x, keep && err == nil)
		if err == nil {
			return nil
		}
		if broken != nil {
			return broken
		}
		if !reused || x.sent > 0 {
			return err
		}
		// It was closed while it was idle, and nothing of the request left.
		// There are no more such connections than there were idle ones.
	}
}

// judge counts the connections in a row that ended when they were used again.
// A receiver that hangs up behind every answer without saying so gets a new one
// for each request, for a while: otherwise every other attempt would fail.
func (c *Client) judge(err error) {
	if err == nil && c.hungUps.Load() == 0 {
		return
	}
	switch {
	case err == nil:
		c.hungUps.Store(0)
	case !errors.Is(err, errHungUp) && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE):
	case c.hungUps.Add(1) >= maxHungUps:
		c.mu.Lock()
		c.keepFrom = time.Now().Add(keepNothing)
		c.mu.Unlock()
		c.hungUps.Store(0)
	}
}

// take gets the connection that was used last, or opens one.
func (c *Client) take(ctx context.Context, call *Call) (*conn, error) {
	now, deadline := call.Start, call.Deadline
	if now.IsZero() {
		now = time.Now()
	}
	for {
		c.mu.Lock()
		if c.closed {
			c.mu.Unlock()
			return nil, errClosed
		}
		n := len(c.idle) - 1
		if n < 0 {
			c.mu.Unlock()
			break
		}
		x := c.idle[n]
		c.idle[n] = nil
		c.idle = c.idle[:n]
		idle := now.Sub(x.lastUsed)
		x.lastUsed = now
		fresh := now.Before(x.expires)
		if fresh {
			c.begin(ctx, x, deadline)
		}
		c.mu.Unlock()
		if !fresh {
			x.hangUp()
			continue
		}
		if idle >= lookAfter && x.hungUp() {
			if broken := c.put(x, false); broken != nil {
				return nil, broken
			}
			continue
		}
		return x, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	x, err := c.open(ctx, deadline)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		x.raw.Close()
		return nil, errClosed
	}
	x.lastUsed = x.born
	c.begin(ctx, x, deadline)
	return x, nil
}

// begin puts a connection in flight. c.mu is held.
func (c *Client) begin(ctx context.Context, x *conn, deadline time.Time) {
	x.deadline, x.done, x.broken = deadline, ctx.Done(), nil
	if x.next = c.flying; x.next != nil {
		x.next.prev = x
	}
	c.flying = x
	if x.done != nil && !slices.Contains(c.recent[:], x.done) {
		c.recent[c.turn%8] = x.done
		c.turn++
		if !c.watched[x.done] {
			c.watched[x.done] = true
			context.AfterFunc(ctx, func() { c.ended(ctx) })
		}
	}
	c.arm(deadline)
}

// put ends a connection's flight and keeps it, or closes it. It returns why the
// watch broke it off, if it did.
func (c *Client) put(x *conn, keep bool) error {
	c.mu.Lock()
	if x.next != nil {
		x.next.prev = x.prev
	}
	if x.prev != nil {
		x.prev.next = x.next
	} else {
		c.flying = x.next
	}
	x.next, x.prev, x.done = nil, nil, nil
	broken := x.broken
	keep = keep && broken == nil && !c.closed && len(c.idle) < c.config.Idle && !x.lastUsed.Before(c.keepFrom)
	if keep {
		c.idle = append(c.idle, x)
		c.arm(x.lastUsed.Add(c.config.IdleTimeout))
	}
	c.mu.Unlock()
	if !keep {
		x.raw.Close()
	}
	return broken
}

// ended breaks off the calls of a context that has ended.
func (c *Client) ended(ctx context.Context) {
	done := ctx.Done()
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.watched, done)
	if i := slices.Index(c.recent[:], done); i >= 0 {
		c.recent[i] = nil
	}
	for x := c.flying; x != nil; x = x.next {
		if x.done == done {
			x.breakOff(ctx.Err())
		}
	}
}

// breakOff lets whoever waits on a connection go on. The client's mutex is
// held.
func (x *conn) breakOff(why error) {
	if x.broken == nil {
		x.broken = why
		x.raw.SetDeadline(past) //nolint:errcheck // then it is closed already
	}
}

// arm sets the timer for a time, unless it fires before. c.mu is held.
func (c *Client) arm(at time.Time) {
	if at.IsZero() || !c.timerAt.IsZero() && !at.Before(c.timerAt) {
		return
	}
	c.timerAt = at
	if c.timer == nil {
		c.timer = time.AfterFunc(time.Until(at), c.watch)
		return
	}
	c.timer.Reset(time.Until(at))
}

// watch breaks off the calls whose time is up and closes the connections that
// are idle for too long. It is the timer's: in the steady state it fires once
// in the time of one deadline, however many calls there are.
func (c *Client) watch() {
	c.mu.Lock()
	now := time.Now()
	c.timerAt = time.Time{}
	for x := c.flying; x != nil; x = x.next {
		switch {
		case x.deadline.IsZero() || x.broken != nil:
		case x.deadline.After(now):
			c.arm(x.deadline)
		default:
			x.breakOff(os.ErrDeadlineExceeded)
		}
	}
	n := 0
	for n < len(c.idle) && !c.idle[n].lastUsed.Add(c.config.IdleTimeout).After(now) {
		n++
	}
	old := append([]*conn(nil), c.idle[:n]...)
	kept := copy(c.idle, c.idle[n:])
	clear(c.idle[kept:])
	if c.idle = c.idle[:kept]; kept > 0 && !c.closed {
		c.arm(c.idle[0].lastUsed.Add(c.config.IdleTimeout))
	}
	c.mu.Unlock()
	for _, x := range old {
		x.hangUp()
	}
}

// Close closes the idle connections. Those in flight are closed when their
// calls end; none begins.
func (c *Client) Close() {
	c.mu.Lock()
	c.closed = true
	idle := c.idle
	c.idle = nil
	if c.timer != nil && c.flying == nil {
		c.timer.Stop()
	}
	c.mu.Unlock()
	for _, x := range idle {
		x.hangUp()
	}
}

// hangUp closes an idle connection, over TLS with a word of farewell.
func (x *conn) hangUp() { x.net.Close() }

// jitter is random between 0 and d.
func (c *Client) jitter(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return rand.N(d + 1)
}
