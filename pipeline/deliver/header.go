package deliver

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// headers makes the headers of requests.
type headers struct {
	host        string // empty: the URL's
	fixed       []fixedHeader
	secret      []secretHeader
	contentType bool // the configuration sets it
	soapAction  bool // the configuration sets it
}

type fixedHeader struct {
	name   string
	values []string // shared by all requests: nobody changes it
}

type secretHeader struct {
	name  string
	value *secret
}

// secretFor is for how long a secret is used before it is read again: it may
// be rotated, and reading a file at every attempt would be waste.
const secretFor = 5 * time.Second

// secret is a header value that is made of a secret.
type secret struct {
	read  func() (string, error)
	fresh bool // read for every request: last is not used
	last  atomic.Pointer[readSecret]
}

type readSecret struct {
	text  string
	until time.Time
}

func (s *secret) value() (string, error) {
	now := time.Now()
	if last := s.last.Load(); last != nil && !s.fresh && now.Before(last.until) {
		return last.text, nil
	}
	text, err := s.read()
	if err != nil {
		return "", err
	}
	if !validValue(text) {
		return "", errors.New("it has bytes that no header may have, such as a line's end")
	}
	if !s.fresh {
		s.last.Store(&readSecret{text, now.Add(secretFor)})
	}
	return text, nil
}

const (
	nameContentType = "Content-Type"
	nameEncoding    = "Content-Encoding"
	nameSOAPAction  = "SOAPAction" // spelt as SOAP 1.1 spells it
	// nameIdempotency is not in net/http's own spelling: under that name
	// net/http would repeat requests by itself that the receiver may have
	// taken already. Repeating is the lane's, where it is counted.
	nameIdempotency = "idempotency-key"
	nameSequence    = "X-Shardline-Sequence-Number"
	nameKey         = "X-Shardline-Key"
	nameAttempt     = "X-Shardline-Attempt"
)

// reserved headers are made by the transport or by net/http.
var reserved = map[string]bool{
	"Idempotency-Key": true, nameSequence: true, nameKey: true, nameAttempt: true,
	"Content-Length": true, "Transfer-Encoding": true, "Connection": true, "Upgrade": true, "Trailer": true, "Te": true,
	"Keep-Alive": true, "Proxy-Connection": true,
}

func newHeaders(c Config) (headers, error) {
	h := headers{}
	configured := c.Headers
	auth, err := c.Auth.headers()
	if err != nil {
		return h, err
	}
	for _, set := range configured {
		if slices.ContainsFunc(auth, func(a Header) bool { return strings.EqualFold(set.Name, a.Name) }) {
			return h, fmt.Errorf("header %s: auth sets it too", set.Name)
		}
	}
	configured = slices.Concat(configured, auth)
	agent := false
	for _, set := range configured {
		name := http.CanonicalHeaderKey(set.Name)
		switch {
		case !validToken(set.Name):
			return h, fmt.Errorf("header %q: not a header's name", set.Name)
		case reserved[name]:
			return h, fmt.Errorf("header %s: it is set by Shardline", set.Name)
		case name == nameEncoding && c.Gzip != nil:
			return h, fmt.Errorf("header %s: compression sets it too", set.Name)
		case set.Value.Secret == nil && !validValue(set.Value.Text):
			return h, fmt.Errorf("header %s: its value has bytes that no header may have, such as a line's end", set.Name)
		}
		switch name {
		case "Host":
			// The name of a host changes with a restart only.
			if h.host = set.Value.Text; set.Value.Secret != nil {
				if h.host, err = set.Value.Secret(); err != nil {
					return h, fmt.Errorf("header %s: %w", set.Name, err)
				}
			}
			if !validToken(strings.Trim(strings.ReplaceAll(h.host, ":", "."), "[]")) {
				return h, fmt.Errorf("header %s: its value is no host", set.Name)
			}
			continue
		case nameContentType:
			h.contentType = true
		case http.CanonicalHeaderKey(nameSOAPAction):
			h.soapAction = true
			name = nameSOAPAction
		case "User-Agent":
			agent = true
		}
		h.add(name, set.Value)
	}
	if !agent {
		if !validValue(c.UserAgent) {
			return h, errors.New("user agent: not a header's value")
		}
		h.add("User-Agent", Value{Text: c.UserAgent})
	}
	return h, nil
}

func (h *headers) add(name string, v Value) {
	if v.Secret != nil {
		h.secret = append(h.secret, secretHeader{name, &secret{read: v.Secret, fresh: v.Fresh}})
		return
	}
	for i := range h.fixed {
		if h.fixed[i].name == name {
			h.fixed[i].values = append(h.fixed[i].values, v.Text)
			return
		}
	}
	h.fixed = append(h.fixed, fixedHeader{name, []string{v.Text}})
}

// with is a value made of another one.
func (v Value) with(render func(string) string) Value {
	if v.Secret == nil {
		return Value{Text: render(v.Text)}
	}
	return Value{Fresh: v.Fresh, Refused: v.Refused, Secret: func() (string, error) {
		text, err := v.Secret()
		if err != nil {
			return "", err
		}
		return render(text), nil
	}}
}

// of is a message's headers, as net/http takes them. An error is a secret that
// cannot be read.
func (h *headers) of(m *Message) (http.Header, error) {
	header := make(http.Header, len(h.fixed)+len(h.secret)+ownHeaders)
	for i := range h.fixed {
		header[h.fixed[i].name] = h.fixed[i].values
	}
	for i := range h.secret {
		value, err := h.secret[i].text()
		if err != nil {
			return nil, err
		}
		name := h.secret[i].name
		header[name] = append(header[name][:len(header[name]):len(header[name])], value)
	}
	var buffer [1024]byte
	values := make([]string, 0, ownHeaders) // one array for all of them
	for line := range strings.SplitSeq(strings.TrimSuffix(string(h.appendOwn(buffer[:0], m)), lineEnd), lineEnd) {
		name, value, _ := strings.Cut(line, ": ")
		if name == "Idempotency-Key" {
			name = nameIdempotency
		}
		values = append(values, value)
		header[name] = values[len(values)-1 : len(values) : len(values)]
	}
	return header, nil
}

// appendFixed appends the headers that every request has.
func (h *headers) appendFixed(b []byte) []byte {
	for _, f := range h.fixed {
		for _, value := range f.values {
			b = appendHeader(b, f.name, value)
		}
	}
	return b
}

// appendSecret appends the headers that are made of secrets. An error is a
// secret that cannot be read.
func (h *headers) appendSecret(b []byte) ([]byte, error) {
	for i := range h.secret {
		value, err := h.secret[i].text()
		if err != nil {
			return b, err
		}
		b = appendHeader(b, h.secret[i].name, value)
	}
	return b, nil
}

func (s *secretHeader) text() (string, error) {
	text, err := s.value.value()
	if err != nil {
		return "", fmt.Errorf("secret of header %s: %w", s.name, err)
	}
	return text, nil
}

const (
	ownHeaders = 7 // that follow from the message, at most
	lineEnd    = "\r\n"
)

// appendOwn appends the headers that follow from the message.
func (h *headers) appendOwn(b []byte, m *Message) []byte {
	r := m.Record
	if !h.contentType {
		b = append(b, nameContentType+": "...)
		b = append(appendContentType(b, r.ContentType, r.SOAP, r.Action), lineEnd...)
	}
	if r.SOAP == "1.1" && !h.soapAction {
		b = append(b, nameSOAPAction+`: "`...)
		if quotable(r.Action) { // SOAP 1.1 wants the header also without an action
			b = append(b, r.Action...)
		}
		b = append(b, `"`+lineEnd...)
	}
	b = append(b, "Idempotency-Key: "...)
	b = append(appendIdempotencyKey(b, m.Shard, r), lineEnd...)
	b = append(b, nameSequence+": "...)
	b = append(appendSequenceNumber(b, r), lineEnd...)
	b = append(b, nameKey+": "...)
	b = append(appendEscaped(b, r.Key, &headerSafe), lineEnd...)
	b = append(b, nameAttempt+": "...)
	b = append(strconv.AppendInt(b, int64(m.Attempt), 10), lineEnd...)
	if m.Encoding != "" {
		b = appendHeader(b, nameEncoding, m.Encoding)
	}
	return b
}

func appendHeader(b []byte, name, value string) []byte {
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, value...)
	return append(b, lineEnd...)
}

// appendContentType is the message's own, with SOAP 1.2's action.
func appendContentType(b []byte, media, soap, action string) []byte {
	if media == "" || !validValue(media) {
		media = "application/octet-stream"
	}
	b = append(b, media...)
	if soap != "1.2" || action == "" || !quotable(action) || strings.Contains(strings.ToLower(media), "action=") {
		return b
	}
	b = append(b, `; action="`...)
	b = append(b, action...)
	return append(b, '"')
}

func quotable(s string) bool { return validValue(s) && !strings.ContainsAny(s, `"\`) }

// validValue says whether s can be a header's value.
func validValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// validToken says whether s can be a header's name or a method.
func validToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}
