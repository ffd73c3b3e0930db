package bench

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// SinkStats is what a sink says of itself at GET /stats.
type SinkStats struct {
	Deliveries int64   `json:"deliveries"`
	CPUSeconds float64 `json:"cpu_seconds"`
}

// sinkAnswer is all that a delivery gets.
const sinkAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

// ServeSink answers HTTP/1.1 requests on l with as little work as it takes to
// count them: it reads a request's Content-Length and skips the body. It
// returns when ctx has ended and every connection is closed.
func ServeSink(ctx context.Context, l net.Listener) error {
	var (
		deliveries atomic.Int64
		open       sync.Map // net.Conn
		all        sync.WaitGroup
	)
	stop := context.AfterFunc(ctx, func() {
		l.Close()
		open.Range(func(c, _ any) bool { c.(net.Conn).Close(); return true })
	})
	defer stop()
	for {
		c, err := l.Accept()
		if err != nil {
			all.Wait()
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("accept: %w", err)
		}
		open.Store(c, nil)
		if ctx.Err() != nil {
			c.Close()
		}
		all.Go(func() {
			defer open.Delete(c)
			defer c.Close()
			answerAll(c, &deliveries)
		})
	}
}

// answerAll serves one connection until it fails or the peer closes it.
func answerAll(c net.Conn, deliveries *atomic.Int64) {
	r := bufio.NewReaderSize(c, 16<<10)
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return
		}
		stats := bytes.HasPrefix(line, []byte("GET /stats "))
		length := 0
		for {
			line, err := r.ReadSlice('\n')
			if err != nil {
				return
			}
			if line = bytes.TrimSpace(line); len(line) == 0 {
				break
			}
			const name = "content-length:"
			if len(line) > len(name) && bytes.EqualFold(line[:len(name)], []byte(name)) {
				if length, err = strconv.Atoi(string(bytes.TrimSpace(line[len(name):]))); err != nil {
					return
				}
			}
		}
		if _, err := r.Discard(length); err != nil {
			return
		}
		answer := []byte(sinkAnswer)
		if stats {
			body, _ := json.Marshal(SinkStats{Deliveries: deliveries.Load(), CPUSeconds: cpuSeconds()})
			answer = fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		} else {
			deliveries.Add(1)
		}
		if _, err := c.Write(answer); err != nil {
			return
		}
	}
}

// readSink asks a sink of ours for its counts.
func readSink(ctx context.Context, url string, secure *tls.Config) (SinkStats, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/stats", nil)
	if err != nil {
		return SinkStats{}, err
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: secure}}
	defer client.CloseIdleConnections()
	res, err := client.Do(req)
	if err != nil {
		return SinkStats{}, fmt.Errorf("ask the sink: %w", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<10))
	if err != nil {
		return SinkStats{}, fmt.Errorf("ask the sink: %w", err)
	}
	var s SinkStats
	if err := json.Unmarshal(body, &s); err != nil {
		return SinkStats{}, fmt.Errorf("the sink's counts: %w", err)
	}
	return s, nil
}

// cpuSeconds is what this process has used, user and system.
func cpuSeconds() float64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}
