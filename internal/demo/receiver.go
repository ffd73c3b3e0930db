package demo

import (
	"bytes"
	"crypto/sha256"
	"io"
	"net/http"
	"sync"
	"time"
)

// Attempt is one request that a receiver got.
type Attempt struct {
	Time     time.Time
	Digest   Digest
	Accepted bool
}

// Receiver is a travel site: it answers OpenTravel messages over HTTP and
// logs every attempt in the order in which it decided on it.
type Receiver struct {
	Name      string
	Behaviour string // for the report
	answer    func(r *Receiver, body []byte, n int) answer

	mu       sync.Mutex
	attempts []Attempt
	accepted map[Digest]bool
}

// answer is what a receiver says to a message.
type answer struct {
	status   int
	body     string
	delay    time.Duration
	accepted bool
}

const (
	success   = `<?xml version="1.0" encoding="UTF-8"?><OTA_NotifRS xmlns="http://www.opentravel.org/OTA/2003/05" Version="1.0"><Success/></OTA_NotifRS>`
	permanent = `<?xml version="1.0" encoding="UTF-8"?><OTA_NotifRS xmlns="http://www.opentravel.org/OTA/2003/05" Version="1.0"><Errors><Error Type="10" Code="392" ShortText="Invalid hotel code"/></Errors></OTA_NotifRS>`
	retryable = `<?xml version="1.0" encoding="UTF-8"?><OTA_NotifRS xmlns="http://www.opentravel.org/OTA/2003/05" Version="1.0"><Errors><Error Type="12" Code="187" ShortText="System currently unavailable"/></Errors></OTA_NotifRS>`
)

func accept(time.Duration) answer {
	return answer{status: http.StatusOK, body: success, accepted: true}
}

// NewReceiver accepts everything at once.
func NewReceiver(name string) *Receiver {
	return &Receiver{Name: name, Behaviour: "fast", accepted: make(map[Digest]bool),
		answer: func(*Receiver, []byte, int) answer { return accept(0) }}
}

// Slow takes d for every message.
func (r *Receiver) Slow(d time.Duration) *Receiver {
	r.Behaviour = "slow: " + d.String() + " each"
	r.answer = func(*Receiver, []byte, int) answer {
		a := accept(0)
		a.delay = d
		return a
	}
	return r
}

// FailsBetween answers 503 from the one time after its first request to the
// other.
func (r *Receiver) FailsBetween(from, to time.Duration) *Receiver {
	r.Behaviour = "503 for " + (to - from).String()
	var first time.Time // guarded by r.mu
	r.answer = func(*Receiver, []byte, int) answer {
		now := time.Now()
		if first.IsZero() {
			first = now
		}
		if since := now.Sub(first); since >= from && since < to {
			return answer{status: http.StatusServiceUnavailable, body: "down for maintenance"}
		}
		return accept(0)
	}
	return r
}

// AnswersErrors answers 200 with <Errors>: to every nth message as
// permanently wrong, to the one after it as unavailable the first time.
func (r *Receiver) AnswersErrors(nth int) *Receiver {
	r.Behaviour = "200 with <Errors> to some"
	refused, delayed := make(map[Digest]bool), make(map[Digest]bool) // guarded by r.mu
	r.answer = func(r *Receiver, body []byte, n int) answer {
		d := Digest(sha256.Sum256(body))
		switch {
		case refused[d] || n%nth == 0 && !r.accepted[d] && !delayed[d]:
			refused[d] = true
			return answer{status: http.StatusOK, body: permanent}
		case n%nth == 1 && !r.accepted[d] && !delayed[d]:
			delayed[d] = true
			return answer{status: http.StatusOK, body: retryable}
		}
		return accept(0)
	}
	return r
}

// ServeHTTP implements http.Handler.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	var body bytes.Buffer
	if _, err := io.Copy(&body, req.Body); err != nil {
		return // the sender went away: not an attempt that anybody decided on
	}
	digest := Digest(sha256.Sum256(body.Bytes()))
	r.mu.Lock()
	a := r.answer(r, body.Bytes(), len(r.attempts))
	r.attempts = append(r.attempts, Attempt{Time: time.Now(), Digest: digest, Accepted: a.accepted})
	if a.accepted {
		r.accepted[digest] = true
	}
	r.mu.Unlock()
	if a.delay > 0 {
		t := time.NewTimer(a.delay)
		defer t.Stop()
		select {
		case <-t.C:
		case <-req.Context().Done():
			return
		}
	}
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	w.WriteHeader(a.status)
	io.WriteString(w, a.body) //nolint:errcheck // the sender may have gone away
}

// Attempts is a copy of the log.
func (r *Receiver) Attempts() []Attempt {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Attempt(nil), r.attempts...)
}

// Accepted is how many different messages were accepted.
func (r *Receiver) Accepted() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.accepted)
}

// Logged is a receiver with a log of somebody else's.
func Logged(name string, attempts []Attempt) *Receiver {
	r := NewReceiver(name)
	r.attempts = attempts
	return r
}
