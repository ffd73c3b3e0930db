package deliver

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
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
	read func() (string, error)
	kept bool // by whoever is read: last is not used
	last atomic.Pointer[readSecret]
}

type readSecret struct {
	text  string
	until time.Time
}

func (s *secret) value() (string, error) {
	now := time.Now()
	if last := s.last.Load(); last != nil && !s.kept && now.Before(last.until) {
		return last.text, nil
	}
	text, err := s.read()
	if err != nil {
		return "", err
	}
	if !validValue(text) {
		return "", errors.New("it has bytes that no header may have, such as a line's end")
	}
	if !s.kept {
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
	auth, err := c.Auth.header()
	if err != nil {
		return h, err
	}
	if auth.Name != "" {
		for _, set := range configured {
			if strings.EqualFold(set.Name, auth.Name) {
				return h, fmt.Errorf("header %s: auth sets it too", set.Name)
			}
		}
		configured = append(configured[:len(configured):len(configured)], auth)
	}
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

// header is the header that authenticates; without a name there is none.
func (a Auth) header() (Header, error) {
	const name = "Authorization"
	switch a.Type {
	case AuthNone:
		return Header{}, nil
	case AuthBasic:
		if strings.Contains(a.Username, ":") {
			return Header{}, errors.New("auth: a basic user's name must not have a colon")
		}
		return Header{name, a.Secret.with(func(password string) string {
			return "Basic " + base64.StdEncoding.EncodeToString([]byte(a.Username+":"+password))
		})}, nil
	case AuthBearer:
		return Header{name, a.Secret.with(func(token string) string { return "Bearer " + token })}, nil
	case AuthHeader:
		if a.Name == "" {
			return Header{}, errors.New("auth: the header has no name")
		}
		return Header{a.Name, a.Secret}, nil
	}
	return Header{}, fmt.Errorf("auth: unknown type %d", a.Type)
}

func (h *headers) add(name string, v Value) {
	if v.Secret != nil {
		h.secret = append(h.secret, secretHeader{name, &secret{read: v.Secret, kept: v.Refused != nil}})
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
	return Value{Refused: v.Refused, Secret: func() (string, error) {
		text, err := v.Secret()
		if err != nil {
			return "", err
		}
		return render(text), nil
	}}
}

// of is a message's headers. An error is a secret that cannot be read.
func (h *headers) of(m *Message) (http.Header, error) {
	const own = 7 // that follow from the message
	header := make(http.Header, len(h.fixed)+len(h.secret)+own)
	for i := range h.fixed {
		header[h.fixed[i].name] = h.fixed[i].values
	}
	for i := range h.secret {
		value, err := h.secret[i].value.value()
		if err != nil {
			return nil, fmt.Errorf("secret of header %s: %w", h.secret[i].name, err)
		}
		name := h.secret[i].name
		header[name] = append(header[name][:len(header[name]):len(header[name])], value)
	}
	values := make([]string, 0, own) // one array for all of them
	set := func(name, value string) {
		values = append(values, value)
		header[name] = values[len(values)-1 : len(values) : len(values)]
	}
	r := m.Record
	if !h.contentType {
		set(nameContentType, contentType(r.ContentType, r.SOAP, r.Action))
	}
	if r.SOAP == "1.1" && !h.soapAction {
		set(nameSOAPAction, soapAction(r.Action))
	}
	set(nameIdempotency, idempotencyKey(m.Shard, r))
	set(nameSequence, sequenceNumber(r))
	set(nameKey, escapeValue(r.Key))
	set(nameAttempt, strconv.Itoa(m.Attempt))
	if m.Encoding != "" {
		set(nameEncoding, m.Encoding)
	}
	return header, nil
}

// contentType is the message's own, with SOAP 1.2's action.
func contentType(media, soap, action string) string {
	if media == "" || !validValue(media) {
		media = "application/octet-stream"
	}
	if soap != "1.2" || action == "" || !quotable(action) || strings.Contains(strings.ToLower(media), "action=") {
		return media
	}
	return media + `; action="` + action + `"`
}

// soapAction is quoted; SOAP 1.1 wants the header also without an action.
func soapAction(action string) string {
	if action == "" || !quotable(action) {
		return `""`
	}
	return `"` + action + `"`
}

func quotable(s string) bool { return validValue(s) && !strings.ContainsAny(s, `"\`) }

// escapeValue percent-encodes what is not visible ASCII, and the percent sign,
// so that any key is a header value and can be read back.
func escapeValue(s string) string {
	plain := true
	for i := range len(s) {
		plain = plain && s[i] > ' ' && s[i] < 0x7f && s[i] != '%'
	}
	if plain {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c > ' ' && c < 0x7f && c != '%' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

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
