package main

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/shardline/shardline/internal/demo"
)

// request is one attempt as a receiver saw it.
type request struct {
	time     time.Time
	worker   string // process that made it
	key      string
	sequence string
	id       string // Idempotency-Key
	attempt  int
	header   http.Header
	path     string
	digest   demo.Digest
	body     []byte // kept only where a test asks for it
	accepted bool
}

// reply is what a receiver does with a request.
type reply struct {
	status   int // 0: 200
	header   http.Header
	body     string
	accepted bool
	// instead answers in another way than HTTP's.
	instead func(w http.ResponseWriter, r *http.Request)
}

func accept() reply { return reply{accepted: true} }

// receiver is a destination's other end: it logs every request in the order
// in which it decided on it.
type receiver struct {
	name string
	url  string

	mu         sync.Mutex
	requests   []request
	accepted   map[demo.Digest]int
	behave     func(q *request) reply // called with mu held; nil: accept
	delay      time.Duration          // of every answer
	seen       func(q request)        // called after a request was logged, before its answer
	keepBodies bool
}

func newReceiver(t testing.TB, name string) *receiver {
	r := &receiver{name: name, accepted: make(map[demo.Digest]int)}
	server := httptest.NewServer(r)
	r.url = server.URL + "/ota"
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return r
}

// behaves sets what it does from now on; nil: accept everything.
func (r *receiver) behaves(f func(q *request) reply) *receiver {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.behave = f
	return r
}

func (r *receiver) slow(d time.Duration) *receiver {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.delay = d
	return r
}

func (r *receiver) sees(f func(q request)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = f
}

// unzip replaces what is compressed by what it was; anything else stays, and is
// no message that a test knows.
func unzip(body *bytes.Buffer) {
	z, err := gzip.NewReader(bytes.NewReader(body.Bytes()))
	if err != nil {
		return
	}
	if text, err := io.ReadAll(z); err == nil {
		*body = *bytes.NewBuffer(text)
	}
}

// ServeHTTP implements http.Handler.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	var body bytes.Buffer
	if _, err := io.Copy(&body, req.Body); err != nil {
		return // the sender is gone: nobody has decided on anything
	}
	if req.Header.Get("Content-Encoding") == "gzip" {
		unzip(&body)
	}
	if req.Context().Err() != nil {
		return // it gave up on this attempt: no sender can call back what then arrives late
	}
	key, err := url.PathUnescape(req.Header.Get("X-Shardline-Key"))
	if err != nil {
		key = err.Error()
	}
	q := request{time: time.Now(), worker: req.Header.Get("X-Worker"), key: key,
		sequence: req.Header.Get("X-Shardline-Sequence-Number"), id: req.Header.Get("Idempotency-Key"),
		header: req.Header.Clone(), path: req.URL.RequestURI(), digest: sha256.Sum256(body.Bytes())}
	q.attempt, _ = strconv.Atoi(req.Header.Get("X-Shardline-Attempt"))
	r.mu.Lock()
	if r.keepBodies {
		q.body = body.Bytes()
	}
	answer := accept()
	if r.behave != nil {
		answer = r.behave(&q)
	}
	q.accepted = answer.accepted
	r.requests = append(r.requests, q)
	if q.accepted {
		r.accepted[q.digest]++
	}
	delay, seen := r.delay, r.seen
	r.mu.Unlock()
	if seen != nil {
		seen(q)
	}
	if delay > 0 && !wait(req, delay) {
		return
	}
	if answer.instead != nil {
		answer.instead(w, req)
		return
	}
	for name, values := range answer.header {
		w.Header()[name] = values
	}
	w.WriteHeader(cmp.Or(answer.status, http.StatusOK))
	io.WriteString(w, answer.body) //nolint:errcheck // the sender may be gone
}

// wait is a receiver's own slowness; false: the sender is gone.
func wait(req *http.Request, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-req.Context().Done():
		return false
	}
}

// all is a copy of the log.
func (r *receiver) all() []request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]request(nil), r.requests...)
}

// count is how many requests there were.
func (r *receiver) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.requests)
}

// took is how often a message was accepted.
func (r *receiver) took(d demo.Digest) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.accepted[d]
}

// awaitCount waits until there were n requests at least.
func (r *receiver) awaitCount(t testing.TB, n int) {
	t.Helper()
	await(t, fmt.Sprintf("%s has %d requests", r.name, n), func() error {
		if got := r.count(); got < n {
			return fmt.Errorf("%d", got)
		}
		return nil
	})
}

// workers are the processes that made requests, with how many each.
func (r *receiver) workers() map[string]int {
	n := make(map[string]int)
	for _, q := range r.all() {
		n[q.worker]++
	}
	return n
}
