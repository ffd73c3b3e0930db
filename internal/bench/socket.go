package bench

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
)

// startSocket starts the rival that does the least: a goroutine per connection,
// header and body in one write, of the answer just its status and its end. It
// keeps no order but that of each connection, has no time-outs, and repeats
// nothing.
func startSocket(ctx context.Context, o Options, bodies [][]byte) (func() int64, func() error, error) {
	begin, err := socket(o)
	if err != nil {
		return nil, nil, err
	}
	l := newLoops(ctx, o, begin, inTurn(bodies))
	return l.delivered.Load, l.wait, nil
}

func socket(o Options) (begin, error) {
	secure, err := o.clientTLS()
	if err != nil {
		return nil, err
	}
	return func(d int) (exchange, func(), error) {
		address, path, err := split(destinationURL(o.Sink, d))
		if err != nil {
			return nil, nil, err
		}
		c, err := net.Dial("tcp", address)
		if err != nil {
			return nil, nil, err
		}
		if secure != nil {
			c = tls.Client(c, secure)
		}
		head := fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: %s\r\nContent-Length: ", path, address, contentType)
		request, answer := make([]byte, 0, len(head)+o.Size+32), make([]byte, 4<<10)
		return func(body []byte) error {
			request = append(request[:0], head...)
			request = strconv.AppendInt(request, int64(len(body)), 10)
			request = append(append(request, "\r\n\r\n"...), body...)
			if _, err := c.Write(request); err != nil {
				return err
			}
			return readLittle(c, answer)
		}, func() { c.Close() }, nil
	}, nil
}

// readLittle reads an answer as far as it must: its status, and as many bytes
// as Content-Length says.
func readLittle(c net.Conn, buffer []byte) error {
	const ok, length = "HTTP/1.1 200", "Content-Length: "
	for n := 0; n < len(buffer); {
		m, err := c.Read(buffer[n:])
		if err != nil {
			return err
		}
		n += m
		end := bytes.Index(buffer[:n], []byte("\r\n\r\n"))
		if end < 0 {
			continue
		}
		if !bytes.HasPrefix(buffer, []byte(ok)) {
			return fmt.Errorf("the sink answered %.40q", buffer[:n])
		}
		left := 0
		if i := bytes.Index(buffer[:end], []byte(length)); i >= 0 {
			for _, digit := range buffer[i+len(length) : end] {
				if digit < '0' || digit > '9' {
					break
				}
				left = left*10 + int(digit-'0')
			}
		}
		for left -= n - end - 4; left > 0; left -= m {
			if m, err = c.Read(buffer); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("the sink's answer has no end: %.40q", buffer)
}
