package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// fault is what a proxy does to a connection.
type fault string

const (
	turnedAway fault = "turned_away" // it is reset at once
	storm      fault = "storm"       // every request is answered with 503, and goes nowhere
	midRequest fault = "mid_request" // it is reset in the middle of a request, of which a part has arrived
	halfAnswer fault = "half_answer" // it ends in the middle of an answer
	lostAnswer fault = "lost_answer" // a request arrives, and its answer goes nowhere
	blackHole  fault = "black_hole"  // from somewhere on nothing arrives any more, and nothing is closed
	laggy      fault = "laggy"       // everything takes a while, in pieces
)

var faults = []fault{turnedAway, storm, midRequest, halfAnswer, lostAnswer, blackHole, laggy}

// faultProxy hands on TCP connections to a target, with the faults that its seed
// draws for each of them and the byte at which they begin.
type faultProxy struct {
	target   string
	listener net.Listener
	serving  sync.WaitGroup // the accepting, and every connection

	mu       sync.Mutex
	rng      *rand.Rand
	calm     bool    // no faults any more
	cut      bool    // nothing arrives in either direction, of any connection
	deck     []fault // what the next connections get; empty: none
	injected map[fault]int
	open     map[net.Conn]bool
	closed   bool
}

// newFaultProxy makes a proxy to an address. It ends with the test.
func newFaultProxy(t testing.TB, target string, seed, number uint64) *faultProxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &faultProxy{target: target, listener: listener, rng: rand.New(rand.NewPCG(seed, number)), injected: make(map[fault]int), open: make(map[net.Conn]bool)}
	p.serving.Go(p.accept)
	t.Cleanup(func() {
		p.listener.Close()
		p.mu.Lock()
		p.closed = true
		for c := range p.open {
			c.Close()
		}
		p.mu.Unlock()
		p.serving.Wait()
		t.Logf("faults of the proxy to %s: %v", target, p.counts())
	})
	return p
}

// address is where it listens.
func (p *faultProxy) address() string { return p.listener.Addr().String() }

// counts are the faults that began so far.
func (p *faultProxy) counts() map[fault]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.injected)
}

// had says nil when each fault began n times since before.
func (p *faultProxy) had(n int, before map[fault]int) error {
	now := p.counts()
	for _, f := range faults {
		if now[f] < before[f]+n {
			return fmt.Errorf("%s: %d of %s", p.target, now[f]-before[f], f)
		}
	}
	return nil
}

// hadAny says nil when n faults began, whichever.
func (p *faultProxy) hadAny(n int) error {
	sum := 0
	for _, count := range p.counts() {
		sum += count
	}
	if sum < n {
		return fmt.Errorf("%s: %d faults", p.target, sum)
	}
	return nil
}

// rest ends the faults: connections that have one are closed.
func (p *faultProxy) rest() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calm = true
	for c := range p.open {
		c.Close()
	}
}

// sever cuts the target off, or ends that: what was on its way is lost.
func (p *faultProxy) sever(cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = cut
	if !cut {
		for c := range p.open {
			c.Close()
		}
	}
}

func (p *faultProxy) severed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cut
}

// draw is what becomes of the next connection: each fault once in ten of them, in
// any order. The other three have none for a while, and then one after all, so that
// nobody keeps them for ever.
func (p *faultProxy) draw() (f fault, after int, rng *rand.Rand) {
	p.mu.Lock()
	defer p.mu.Unlock()
	rng = rand.New(rand.NewPCG(p.rng.Uint64(), 1))
	if p.calm {
		return "", 0, rng
	}
	if len(p.deck) == 0 {
		p.deck = append(slices.Clone(faults), "", "", "")
		rng.Shuffle(len(p.deck), func(i, j int) { p.deck[i], p.deck[j] = p.deck[j], p.deck[i] })
	}
	f, p.deck = p.deck[0], p.deck[1:]
	if f == "" {
		f, after = []fault{midRequest, halfAnswer}[rng.IntN(2)], 4<<10
	}
	switch f {
	case midRequest, blackHole:
		after += rng.IntN(4 << 10)
	case halfAnswer, lostAnswer:
		after += rng.IntN(1 << 10)
	}
	return f, after, rng
}

func (p *faultProxy) began(f fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.injected[f]++
}

// keep notes an open connection; false: the proxy has ended.
func (p *faultProxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open[c] = true
	return !p.closed
}

func (p *faultProxy) drop(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, c)
	c.Close()
}

func (p *faultProxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.serving.Go(func() {
			defer p.drop(c)
			if p.keep(c) {
				p.serve(c.(*net.TCPConn))
			}
		})
	}
}

// reset closes a connection so that the other side sees a reset.
func reset(c net.Conn) {
	c.(*net.TCPConn).SetLinger(0) //nolint:errcheck // then it is closed in another way
	c.Close()
}

func (p *faultProxy) serve(client *net.TCPConn) {
	f, after, rng := p.draw()
	switch f {
	case turnedAway:
		p.began(f)
		reset(client)
		return
	case storm:
		p.answer503(client)
		return
	case laggy:
		p.began(f)
	}
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer p.drop(server)
	if !p.keep(server) {
		return
	}
	up := stretch{p: p, from: client, to: server, rng: rng}
	down := stretch{p: p, from: server, to: client, rng: rand.New(rand.NewPCG(rng.Uint64(), 2))}
	switch f {
	case laggy:
		up.laggy, down.laggy = true, true
		up.ends = &end{fault: midRequest, after: 8 << 10}
	case midRequest:
		up.ends = &end{fault: f, after: after}
	case blackHole:
		up.ends = &end{fault: f, after: after, swallow: true}
	case halfAnswer:
		down.ends = &end{fault: f, after: after}
	case lostAnswer:
		down.ends = &end{fault: f, after: after, swallow: true}
	}
	var both sync.WaitGroup
	both.Go(up.run)
	both.Go(down.run)
	both.Wait()
}

// answer503 answers the requests of a connection, which the target never sees.
func (p *faultProxy) answer503(client net.Conn) {
	var got []byte
	buffer := make([]byte, 4<<10)
	for {
		n, err := client.Read(buffer)
		if got = append(got, buffer[:n]...); err != nil {
			return
		}
		if !bytes.Contains(got, []byte("\r\n\r\n")) {
			continue
		}
		p.began(storm)
		// Before all of the body has come, perhaps.
		if _, err := io.WriteString(client, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"); err != nil {
			return
		}
		client.(*net.TCPConn).CloseWrite() //nolint:errcheck // it may have been closed
		io.Copy(io.Discard, client)        //nolint:errcheck // until the client is gone
		return
	}
}

// end is where and how one direction of a connection ends.
type end struct {
	fault   fault
	after   int
	swallow bool // what follows is taken and goes nowhere
}

// stretch is one direction of a connection.
type stretch struct {
	p        *faultProxy
	from, to net.Conn
	rng      *rand.Rand
	laggy    bool
	ends     *end
	passed   int
	gone     bool // everything is swallowed from now on
}

// run hands on until one side ends, and ends the other one.
func (s *stretch) run() {
	defer s.to.Close()
	defer s.from.Close()
	buffer := make([]byte, 4<<10)
	for {
		n, err := s.from.Read(buffer)
		if n > 0 && !s.pass(buffer[:n]) {
			return
		}
		if err != nil {
			return
		}
	}
}

// pass hands on what came, as far as it may; false: the connection is to end.
func (s *stretch) pass(b []byte) bool {
	if s.gone = s.gone || s.p.severed(); s.gone {
		return true
	}
	whole := len(b)
	if s.ends != nil && s.passed+whole > s.ends.after {
		b = b[:max(0, s.ends.after-s.passed)]
	}
	for piece := range s.pieces(b) {
		if _, err := s.to.Write(piece); err != nil {
			return false
		}
	}
	if s.passed += len(b); len(b) == whole {
		return true
	}
	s.p.began(s.ends.fault)
	if s.ends.swallow {
		s.gone = true
		return true
	}
	reset(s.to)
	reset(s.from)
	return false
}

// pieces cuts what is to be handed on, and waits before each piece of a laggy
// connection: far shorter in all than an attempt's time-out, so that nothing
// arrives that was given up.
func (s *stretch) pieces(b []byte) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(b) > 0 {
			n := len(b)
			if s.laggy {
				n = min(n, 1+s.rng.IntN(2<<10))
				pause := time.NewTimer(time.Duration(s.rng.IntN(20)) * time.Millisecond)
				<-pause.C
			}
			if !yield(b[:n]) {
				return
			}
			b = b[n:]
		}
	}
}

// TestFaultProxy holds the proxy to what its faults say.
func TestFaultProxy(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, "r")
	target := strings.TrimSuffix(strings.TrimPrefix(r.url, "http://"), "/ota")
	p := newFaultProxy(t, target, 1, 1)
	await(t, "every fault", func() error {
		c, err := net.Dial("tcp", p.address())
		if err != nil {
			return err
		}
		defer c.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		context.AfterFunc(ctx, func() { c.Close() })
		for range 40 { // requests, until it ends
			if _, err := io.WriteString(c, "POST /ota HTTP/1.1\r\nHost: r\r\nContent-Length: 300\r\n\r\n"+strings.Repeat("x", 300)); err != nil {
				break
			}
			if _, err := io.ReadAtLeast(c, make([]byte, 4<<10), 60); err != nil {
				break
			}
		}
		return p.had(1, nil)
	})
	for _, q := range r.all() {
		if len(q.header) == 0 || q.digest != r.all()[0].digest {
			t.Error("a request arrived in part")
		}
	}
	p.rest()
	c, err := net.Dial("tcp", p.address())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(c); err != nil || !bytes.Contains(answer, []byte("200 OK")) {
		t.Errorf("at rest: %q, %v", answer, err)
	}
}

// throughFaults puts a proxy before each receiver.
func (s *scene) throughFaults(receivers ...*receiver) (proxies []*faultProxy) {
	for i, r := range receivers {
		host := strings.TrimSuffix(strings.TrimPrefix(r.url, "http://"), "/ota")
		p := newFaultProxy(s.t, host, s.seed, uint64(100+i))
		r.url = "http://" + p.address() + "/ota"
		proxies = append(proxies, p)
	}
	return proxies
}

// feedUntil feeds while receivers keep up, until done says nil.
func (s *scene) feedUntil(what string, keys int, done func() error, receivers ...*receiver) {
	s.t.Helper()
	await(s.t, what, func() error {
		if !slices.ContainsFunc(receivers, func(r *receiver) bool { return !s.keepsUp(r) }) {
			s.some(3, keys)
		}
		return done()
	})
}

// all says nil when every condition does.
func all(conditions ...func() error) func() error {
	return func() error {
		var failed []error
		for _, c := range conditions {
			failed = append(failed, c())
		}
		return errors.Join(failed...)
	}
}
