package deliver_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/pipeline"
	"github.com/shardline/shardline/pipeline/deliver"
)

// BenchmarkFanout delivers 4 kB records to 100 destinations over HTTP, from one
// log. An operation is a delivery: what is allocated per record is shared.
func BenchmarkFanout(b *testing.B) {
	url := sink(b)
	const destinations, batch, window = 100, 64, 1024
	var all []*stream
	log := pipeline.NewLog()
	for i := range destinations {
		s := begin(b, deliver.Config{Name: fmt.Sprint("channel", i), URL: url, Concurrency: 2})
		s.attachTo(log)
		all = append(all, s)
	}
	through := func() uint64 {
		low := all[0].through()
		for _, s := range all {
			low = min(low, s.through())
		}
		return low
	}
	n := 0
	deliverAll := func(records int) {
		for end := n + records; n < end; {
			for range min(batch, end-n) {
				n++
				log.Append(pipeline.Record{Position: checkpoint.Number("49590338271490256608559692538361571095921575989136588898", int64(n)),
					Data: payload, Description: pipeline.Description{Key: keys[n%len(keys)], ContentType: "text/xml"}}, false)
			}
			for _, s := range all {
				s.Wake(s.cursor)
			}
			for uint64(n) > window && through() < uint64(n-window) {
				time.Sleep(time.Millisecond)
			}
			log.Free()
		}
		for through() < uint64(n) {
			time.Sleep(100 * time.Microsecond)
		}
	}
	deliverAll(100) // connections and lanes
	b.ReportAllocs()
	b.ResetTimer()
	deliverAll((b.N + destinations - 1) / destinations)
}

var keys = func() (names [100]string) {
	for i := range names {
		names[i] = "hotel" + strconv.Itoa(i)
	}
	return names
}()

// sink answers requests with bodies of the payload's size, and allocates
// nothing for them.
func sink(b *testing.B) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			served.Go(func() {
				defer c.Close()
				buffer, answer := make([]byte, 16<<10), []byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				for n := 0; ; {
					m, err := c.Read(buffer[n:])
					if err != nil {
						return
					}
					n += m
					if end := bytes.Index(buffer[:n], []byte("\r\n\r\n")); end < 0 || n < end+4+len(payload) {
						continue
					}
					if _, err := c.Write(answer); err != nil {
						return
					}
					n = 0
				}
			})
		}
	})
	b.Cleanup(func() { listener.Close(); served.Wait() })
	return "http://" + listener.Addr().String() + "/ota"
}

type instant struct{ n atomic.Int64 }

func (i *instant) KeepsDeadline() bool { return true }

func (i *instant) Send(context.Context, *deliver.Message) deliver.Answer {
	i.n.Add(1)
	return deliver.Answer{Reason: deliver.ReasonDelivered}
}

// BenchmarkDestination is what Shardline adds to a delivery: lanes, the
// attempt's context, settling and metrics, over a receiver that takes no time.
func BenchmarkDestination(b *testing.B) {
	for _, keys := range []int{1, 100, 10000} {
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) {
			run(b, deliver.Config{Transport: &instant{}}, keys)
		})
	}
}

// BenchmarkHTTP delivers 4 kB records to a server that takes them at once.
// Bare is a loop around net/http's client with as many connections.
func BenchmarkHTTP(b *testing.B) {
	url := serve(b)
	b.Run("shardline", func(b *testing.B) {
		run(b, deliver.Config{URL: url, Concurrency: 16}, 100)
	})
	b.Run("bare", func(b *testing.B) {
		client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}, Timeout: 10 * time.Second}
		b.ReportAllocs()
		b.SetParallelism(8) // times two cores
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				post(b, client, url)
			}
		})
	})
}

func run(b *testing.B, c deliver.Config, keys int) {
	s := begin(b, c)
	names := make([]string, keys)
	for i := range names {
		names[i] = "hotel" + strconv.Itoa(i)
	}
	b.ReportAllocs()
	b.ResetTimer()
	const batch = 64
	for i := 0; i < b.N; i += batch {
		for j := i; j < min(i+batch, b.N); j++ {
			s.log.Append(pipeline.Record{Position: checkpoint.Number("49590338271490256608559692538361571095921575989136588898", int64(j)),
				Data: payload, Description: pipeline.Description{Key: names[j%keys], ContentType: "text/xml"}}, false)
		}
		s.Wake(s.cursor)
		if i%(batch*16) == 0 {
			s.log.Free()
		}
		// A window that is full makes the reader wait.
		for i > 64*batch && s.through() < uint64(i-64*batch) {
			time.Sleep(10 * time.Microsecond)
		}
	}
	for s.through() < uint64(b.N) {
		time.Sleep(10 * time.Microsecond)
	}
}

// through may be called beside the destination: the settled entry is atomic.
func (s *stream) through() uint64 { return s.cursor.Through() }

var payload = make([]byte, 4096)

func serve(b *testing.B) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	b.Cleanup(func() { _ = server.Close(); <-done })
	return "http://" + listener.Addr().String() + "/ota"
}

func post(b *testing.B, client *http.Client, url string) {
	req, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(payload))
	if err != nil {
		b.Error(err)
		return
	}
	req.Header.Set("Content-Type", "text/xml")
	resp, err := client.Do(req)
	if err != nil {
		b.Error(err)
		return
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
}
