package http1

import (
	"context"
	"net"
	"time"
)

// Age makes the idle connections as old as if d had passed.
func (c *Client) Age(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, x := range c.idle {
		x.lastUsed = x.lastUsed.Add(-d)
		x.expires = x.expires.Add(-d)
	}
}

// Counts is how many connections are idle and in flight, and how many contexts
// are watched.
func (c *Client) Counts() (idle, flying, watched int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for x := c.flying; x != nil; x = x.next {
		flying++
	}
	return len(c.idle), flying, len(c.watched)
}

// ReadAnswer reads an answer from a connection.
func ReadAnswer(c net.Conn, call *Call) (keep bool, err error) {
	x := &conn{net: c, raw: c}
	return x.readAnswer(call, call.buffer[:0])
}

// Dial is a way to connect.
type Dial = func(ctx context.Context, network, address string) (net.Conn, error)
