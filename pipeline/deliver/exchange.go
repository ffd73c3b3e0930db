package deliver

import (
	"bytes"
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// Exchange is a request and its answer as they went over the wire, for a person
// to read. Values that are secrets, or set cookies, are not shown.
type Exchange struct {
	Request []string // request line and headers; empty: nothing was sent, or not over HTTP
	Answer  []string // status line and headers; empty: there was none
	Body    []byte   // the beginning of the answer's body, without its compression
	More    bool     // the body goes on, or broke off
}

const hidden = "[secret]"

// Try makes one attempt for a person to look at, beside all lanes: it counts
// for nothing and settles nothing. Of the message, shard, record and attempt are
// given. The exchange is of the transport; those that are not HTTP leave it
// empty.
func (d *Destination) Try(ctx context.Context, m Message) (Answer, *Exchange) {
	m.Exchange = new(Exchange)
	d.mu.Lock()
	s := d.sending
	s.users++
	d.mu.Unlock()
	answer, _ := s.send(ctx, &m)
	d.mu.Lock()
	unused := s.done()
	d.mu.Unlock()
	if unused {
		s.close()
	}
	return answer, m.Exchange
}

// ToDo says what somebody has to do about a reason that is no success.
func (r Reason) ToDo() string {
	if r >= reasonCount {
		return ""
	}
	return reasons[r].todo
}

// sent notes a request that goes out: its head as it is written.
func (e *Exchange) sent(h *headers, head string) {
	for line := range strings.SplitSeq(strings.TrimRight(head, lineEnd), lineEnd) {
		name, _, isHeader := strings.Cut(line, ": ")
		if isHeader && len(e.Request) > 0 && slices.ContainsFunc(h.secret, func(s secretHeader) bool { return strings.EqualFold(s.name, name) }) {
			line = name + ": " + hidden
		}
		e.Request = append(e.Request, line)
	}
}

// received notes an answer: its head, and the beginning of its body.
func (e *Exchange) received(head string, body []byte, more bool, encoding string) {
	for line := range strings.SplitSeq(strings.TrimRight(head, lineEnd), "\n") {
		line = strings.TrimRight(line, "\r")
		if name, _, _ := strings.Cut(line, ":"); strings.EqualFold(name, "Set-Cookie") {
			line = name + ": " + hidden
		}
		e.Answer = append(e.Answer, line)
	}
	e.Body, e.More = bytes.Clone(body), more
	if strings.EqualFold(encoding, "gzip") {
		e.Body, e.More = unpack(e.Body, more)
	}
}

// requestHead is the head of a request that net/http writes.
func requestHead(r *http.Request) string {
	host := r.Host
	if host == "" {
		host = r.URL.Host
	}
	b := []byte(r.Method + " " + r.URL.RequestURI() + " HTTP" + lineEnd)
	return string(appendHeaders(appendHeader(b, "Host", host), r.Header))
}

// answerHead is the head of an answer that net/http has read.
func answerHead(r *http.Response) string {
	return string(appendHeaders([]byte(r.Proto+" "+r.Status+lineEnd), r.Header))
}

func appendHeaders(b []byte, header http.Header) []byte {
	for _, name := range slices.Sorted(maps.Keys(header)) {
		for _, value := range header[name] {
			b = appendHeader(b, name, value)
		}
	}
	return b
}
