package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/shardline/shardline/internal/demo"
	"github.com/shardline/shardline/internal/localaws"
)

const otaSuccess = `<OTA_HotelAvailNotifRS xmlns="http://www.opentravel.org/OTA/2003/05" Version="1"><Success/></OTA_HotelAvailNotifRS>`

// instead answers in another way than HTTP's, on the bare connection.
func instead(f func(c *net.TCPConn)) reply {
	return reply{instead: func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		f(c.(*net.TCPConn))
	}}
}

// firstTimes behaves in one way for the first n requests, then accepts.
func firstTimes(n int, answer func() reply) func(*request) reply {
	return func(*request) reply {
		if n--; n >= 0 {
			return answer()
		}
		return reply{accepted: true, body: otaSuccess}
	}
}

// endless answers 200 with a body that does not end.
func endless(accepted bool, pause time.Duration) reply {
	return reply{accepted: accepted, instead: func(w http.ResponseWriter, r *http.Request) {
		for chunk := make([]byte, 8<<10); ; {
			if _, err := w.Write(chunk); err != nil {
				return
			}
			if pause > 0 {
				w.(http.Flusher).Flush()
				if !wait(r, pause) {
					return
				}
			}
		}
	}}
}

// TestAnswers has a destination of every kind of trouble in one worker. Each
// has in the end what its answers mean, and those that are well are not held up.
func TestAnswers(t *testing.T) {
	t.Parallel()
	s := newScene(t, localaws.Config{}, 2)
	var destinations []destinationSettings
	add := func(name, fields string, behave func(*request) reply) *receiver {
		r := s.receiver(name).behaves(behave)
		destinations = append(destinations, destinationSettings{receiver: r, more: fields})
		return r
	}
	const ota = "response: opentravel"
	one := func(d demo.Digest) bool { return d[0] < 26 } // a tenth of the messages
	well := add("well", "", nil)
	add("garbage", "", firstTimes(8, func() reply {
		return instead(func(c *net.TCPConn) { io.WriteString(c, "\x00\x01 no HTTP \r\n\r\n") }) //nolint:errcheck // garbage
	}))
	add("closes", "", firstTimes(8, func() reply { return instead(func(*net.TCPConn) {}) }))
	add("resets", "", firstTimes(8, func() reply {
		return instead(func(c *net.TCPConn) { c.SetLinger(0) }) //nolint:errcheck // it resets
	}))
	add("hangs", "timeout: 1500ms", firstTimes(8, func() reply {
		return reply{instead: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }}
	}))
	add("endless", "", firstTimes(8, func() reply { return endless(true, 0) }))
	add("endless-slowly", "timeout: 1500ms", firstTimes(8, func() reply { return endless(true, 50*time.Millisecond) }))
	add("endless-ota", ota, firstTimes(3, func() reply { return endless(false, 0) }))
	add("broken-ota", ota, firstTimes(8, func() reply {
		return instead(func(c *net.TCPConn) { io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n<OTA_Hotel") }) //nolint:errcheck // broken
	}))
	add("unavailable", "", firstTimes(30, func() reply { return reply{status: http.StatusServiceUnavailable} }))
	throttles := add("throttles", "", firstTimes(1, func() reply {
		return reply{status: http.StatusTooManyRequests, header: http.Header{"Retry-After": {"2"}}}
	}))
	trap := newReceiver(t, "trap")
	redirects := add("redirects", "", firstTimes(8, func() reply {
		return reply{status: http.StatusTemporaryRedirect, header: http.Header{"Location": {trap.url}}}
	}))
	unauthorized := add("unauthorized", "", func(*request) reply { return reply{status: http.StatusUnauthorized} })
	refuses := add("refuses", "", func(q *request) reply {
		if one(q.digest) {
			return reply{status: http.StatusUnprocessableEntity, body: "no such room"}
		}
		return accept()
	})
	errorsOTA := add("errors-ota", ota, func(q *request) reply {
		switch {
		case one(q.digest):
			return reply{body: `<R xmlns="http://www.opentravel.org/OTA/2003/05"><Errors><Error Type="10" Code="392" ShortText="Invalid hotel code"/></Errors></R>`}
		case q.digest[0] > 200 && q.attempt == 1:
			return reply{body: `<R xmlns="http://www.opentravel.org/OTA/2003/05"><Errors><Error Type="12" Code="187" ShortText="System currently unavailable"/></Errors></R>`}
		}
		return reply{accepted: true, body: otaSuccess}
	})

	// The disk of one destination's dead letters is full, until it is exchanged.
	full, healed := filepath.Join(s.dir, "full.jsonl"), filepath.Join(s.dir, "dead-healed.jsonl")
	if err := os.Symlink("/dev/full", full); err != nil {
		t.Fatal(err)
	}
	fullDisk := add("full-disk", "dead_letters: full", func(q *request) reply {
		if one(q.digest) {
			return reply{status: http.StatusBadRequest}
		}
		return accept()
	})
	s.some(60, 30)
	p := s.start(s.config(settings{failover: 10 * time.Second, destinations: destinations, queue: fmt.Sprintf("{name: full, type: file, path: %q}", full)}))

	s.awaitThrough(well)
	s.some(60, 30)
	began := time.Now()
	s.awaitThrough(well)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the destination that is well got its records after %s", took)
	}
	p.awaitLog(`"level":"error"`, `"destination":"unauthorized"`, "held")
	p.awaitLog(`"level":"error"`, `"destination":"redirects"`, "held")
	if _, r := p.readiness(); !r.Ready {
		t.Errorf("not ready for its destinations: %+v", r)
	} else {
		for _, d := range r.Destinations {
			if want := d.Name == "unauthorized" || d.Name == "redirects"; d.Held != want || want && d.Reason == "" {
				t.Errorf("/readyz says of %s: held %v (%s)", d.Name, d.Held, d.Reason)
			}
		}
	}
	if n := unauthorized.count(); n > 64 {
		t.Errorf("a held destination got %d requests", n)
	}
	unauthorized.behaves(nil)

	// The keys of refused records wait for the disk, the others do not.
	blocked := make(map[string]bool)
	for _, m := range s.messages() {
		blocked[m.key] = blocked[m.key] || one(m.digest)
	}
	await(t, "full-disk has everything of the other keys", func() error {
		for _, m := range s.messages() {
			if !blocked[m.key] && fullDisk.took(m.digest) == 0 {
				return fmt.Errorf("%s number %d", m.key, m.index)
			}
		}
		return nil
	})
	for _, q := range fullDisk.all() {
		if m := s.of[q.digest]; m.index > 0 && blocked[m.key] {
			for _, earlier := range s.messages() {
				if earlier.key == m.key && earlier.index < m.index && one(earlier.digest) {
					t.Errorf("%s number %d was attempted although the dead letter of number %d is not durable", m.key, m.index, earlier.index)
				}
			}
		}
	}
	p.awaitLog(`"destination":"full-disk"`, "no space left on device")
	if err := os.WriteFile(healed, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(healed, full+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(full+".new", full); err != nil {
		t.Fatal(err)
	}

	s.awaitThrough(s.receivers...)
	p.stop()
	var refused int
	for _, m := range s.messages() {
		if one(m.digest) {
			refused++
		}
	}
	for _, r := range s.receivers {
		result := s.check(r)
		want := 0
		if r == refuses || r == errorsOTA || r == fullDisk {
			want = refused
		}
		if result.DeadLettered != want {
			t.Errorf("%s: %d dead letters, want %d", r.name, result.DeadLettered, want)
		}
	}
	for _, l := range s.letters() {
		if l.Destination == "refuses" && (l.Reason != "rejected" || l.Attempts != 1 || l.LastAnswer == nil || l.LastAnswer.Status != 422 || l.LastAnswer.Body != "no such room" ||
			l.Key != s.of[sha256.Sum256(l.Data)].key || l.Sequence == "") {
			t.Errorf("dead letter %+v", l)
		}
	}
	if n := trap.count(); n != 0 {
		t.Errorf("a redirect was followed %d times", n)
	}
	if n := redirects.count(); n > len(s.messages())+64+8 {
		t.Errorf("redirects got %d requests", n)
	}
	first := throttles.all()[0]
	for _, q := range throttles.all()[1:] {
		if q.id == first.id && q.time.Sub(first.time) < 2*time.Second {
			t.Errorf("tried again after %s, asked for were 2s", q.time.Sub(first.time))
		}
	}
}
