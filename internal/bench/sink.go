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
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// SinkStats is what a sink says of itself at GET /stats.
type SinkStats struct {
	Deliveries int64   `json:"deliveries"`
	CPUSeconds float64 `json:"cpu_seconds"`

	// Of those that asked for a delay.
	Slow        int64   `json:"slow"`
	SlowSeconds float64 `json:"slow_seconds"` // from the whole request to its answer, together
	Disordered  int64   `json:"disordered"`   // came before an earlier record of their key
}

// delayQuery asks for a delay, and for an eye on the order.
const delayQuery = "?delay="

// slowness is what a sink does for requests that ask for a delay.
type slowness struct {
	mu         sync.Mutex
	n          int64
	took       time.Duration
	disordered int64
	last       map[string]string // sequence numbers by destination and key; as many as there are keys
}

// see notes a request's order and waits.
func (s *slowness) see(path, key, sequence string, delay time.Duration) {
	began := time.Now()
	s.mu.Lock()
	if s.last == nil {
		s.last = make(map[string]string)
	}
	id := path + " " + key
	if last := s.last[id]; len(sequence) < len(last) || len(sequence) == len(last) && sequence <= last {
		s.disordered++
	}
	s.last[id] = sequence
	s.mu.Unlock()
	time.Sleep(delay)
	s.mu.Lock()
	s.n++
	s.took += time.Since(began)
	s.mu.Unlock()
}

// sinkAnswer is all that a delivery gets.
const sinkAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

// ServeSink answers HTTP/1.1 requests on l with as little work as it takes to
// count them: it reads a request's Content-Length and skips the body. It
// returns when ctx has ended and every connection is closed.
func ServeSink(ctx context.Context, l net.Listener) error {
	var (
		deliveries atomic.Int64
		slow       slowness
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
			answerAll(c, &deliveries, &slow)
		})
	}
}

// answerAll serves one connection until it fails or the peer closes it.
func answerAll(c net.Conn, deliveries *atomic.Int64, slow *slowness) {
	r := bufio.NewReaderSize(c, 16<<10)
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return
		}
		stats := bytes.HasPrefix(line, []byte("GET /stats "))
		length := 0
		var path, key, sequence string
		var delay time.Duration
		if i := bytes.Index(line, []byte(delayQuery)); i >= 0 {
			asked, _, _ := strings.Cut(string(line[i+len(delayQuery):]), "&")
			if delay, err = time.ParseDuration(asked); err != nil {
				return
			}
			path = string(line) // with the run: each begins anew
		}
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
			if delay > 0 {
				switch name, value, _ := strings.Cut(string(line), ": "); name {
				case "X-Shardline-Key":
					key = value
				case "X-Shardline-Sequence-Number":
					sequence = value
				}
			}
		}
		if _, err := r.Discard(length); err != nil {
			return
		}
		answer := []byte(sinkAnswer)
		if stats {
			slow.mu.Lock()
			body, _ := json.Marshal(SinkStats{Deliveries: deliveries.Load(), CPUSeconds: cpuSeconds(),
				Slow: slow.n, SlowSeconds: slow.took.Seconds(), Disordered: slow.disordered})
			slow.mu.Unlock()
			answer = fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		} else {
			if delay > 0 {
				slow.see(path, key, sequence, delay)
			}
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
