package deliver

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/shardline/shardline/pipeline"
	"github.com/shardline/shardline/pipeline/opentravel"
)

// HTTP is the transport over net/http.
type HTTP struct {
	address   address
	template  *http.Request // what is the same for all requests
	headers   headers
	response  Response
	classes   opentravel.Classes
	transport *http.Transport // the destination's own: connections are not shared
}

const (
	maxConnect     = 30 * time.Second
	idleConnection = 90 * time.Second
	// maxAnswerHeaders bounds the headers of an answer.
	maxAnswerHeaders = 64 << 10
	// writeBuffer takes the request line, the headers and nearly every body,
	// so that a request is one write.
	writeBuffer = 8 << 10
)

// NewHTTP makes the HTTP transport of a configuration.
func NewHTTP(c Config) (*HTTP, error) {
	c = c.withDefaults()
	refuse := func(err error) (*HTTP, error) { return nil, fmt.Errorf("destination %s: %w", c.Name, err) }
	a, err := parseAddress(c.URL)
	if err != nil {
		return refuse(err)
	}
	if !validToken(c.Method) {
		return refuse(fmt.Errorf("method %q: not an HTTP method", c.Method))
	}
	hs, err := newHeaders(c)
	if err != nil {
		return refuse(err)
	}
	template := &http.Request{Method: c.Method, URL: a.base, Host: hs.host,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
	// The environment's proxy for this host is found once.
	var proxy func(*http.Request) (*url.URL, error)
	if p, err := http.ProxyFromEnvironment(template); err != nil {
		return refuse(errors.New("proxy of the environment: not a URL"))
	} else if p != nil {
		proxy = http.ProxyURL(p)
	}
	connect := min(c.Timeout, maxConnect)
	return &HTTP{address: a, template: template, headers: hs, response: c.Response, classes: c.Classes,
		transport: &http.Transport{
			Proxy:                  proxy,
			DialContext:            (&net.Dialer{Timeout: connect}).DialContext,
			TLSHandshakeTimeout:    connect,
			ForceAttemptHTTP2:      true,
			MaxIdleConnsPerHost:    c.Concurrency,
			IdleConnTimeout:        idleConnection,
			DisableCompression:     true, // nothing is asked for that would have to be unpacked
			MaxResponseHeaderBytes: maxAnswerHeaders,
			WriteBufferSize:        writeBuffer,
		}}, nil
}

// Close closes the idle connections.
func (h *HTTP) Close() error {
	h.transport.CloseIdleConnections()
	return nil
}

// Send implements Transport.
func (h *HTTP) Send(ctx context.Context, m *Message) Answer {
	req, failed := h.request(ctx, m)
	if req == nil {
		return failed
	}
	// The round trip alone: no redirects, no cookies.
	resp, err := h.transport.RoundTrip(req)
	if err != nil {
		return failedAnswer(ctx, err)
	}
	defer resp.Body.Close()
	return h.read(ctx, resp)
}

// request makes a message's request, or says why it cannot.
func (h *HTTP) request(ctx context.Context, m *Message) (*http.Request, Answer) {
	u, err := h.address.resolve(m.Shard, m.Record)
	if err != nil {
		return nil, Answer{Reason: ReasonUnsendable, Detail: "url: " + err.Error()}
	}
	header, err := h.headers.of(m)
	if err != nil {
		return nil, Answer{Reason: ReasonSecretUnavailable, Detail: err.Error()}
	}
	req := h.template.WithContext(ctx)
	req.URL, req.Header = u, header
	if data := m.Body; len(data) > 0 {
		req.Body, req.ContentLength = newBody(data), int64(len(data))
		// net/http sends on a new connection what it could not begin to send
		// on an old one.
		req.GetBody = func() (io.ReadCloser, error) { return newBody(data), nil }
	} else {
		req.Body = http.NoBody
	}
	return req, Answer{}
}

// failedAnswer is what a round trip without an answer means.
func failedAnswer(ctx context.Context, err error) Answer {
	a := Answer{Reason: ReasonConnection, Detail: printable(err.Error())}
	var timeout net.Error
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		a.Reason = ReasonTimeout
	case ctx.Err() != nil:
		a.Reason = ReasonCancelled
	case errors.As(err, &timeout) && timeout.Timeout():
		a.Reason = ReasonTimeout
	}
	return a
}

// newBody is a request's body: the message's bytes, which nobody changes. It is
// of a type that net/http knows to be in memory: headers and body then leave in
// one write. It is not used again for other requests, since net/http may still
// read it after an early answer.
func newBody(data []byte) io.ReadCloser { return io.NopCloser(bytes.NewReader(data)) }

// idempotencyKey is the same for a record at every attempt, from every worker:
// the SHA-256 of the stream, its creation, the shard and the position, in hex.
// When a command delivers the record again, it is the SHA-256 of that text and
// the command's id: another key, and the same one however often the command
// has to be resumed.
func idempotencyKey(shard *pipeline.ShardInfo, r *pipeline.Record) string {
	var buffer [256]byte
	b := append(buffer[:0], shard.Stream.ARN...)
	b = append(b, '\n')
	b = strconv.AppendInt(b, shard.Stream.Created.Unix(), 10)
	b = append(b, '\n')
	b = append(b, shard.Shard...)
	b = append(b, '\n')
	b = append(b, r.Position.Sequence...)
	b = append(b, ':')
	b = strconv.AppendInt(b, r.Position.Sub, 10)
	sum := sha256.Sum256(b)
	var text [2 * sha256.Size]byte
	hex.Encode(text[:], sum[:])
	if shard.Command != "" {
		sum = sha256.Sum256([]byte(string(text[:]) + "\n" + shard.Command))
		hex.Encode(text[:], sum[:])
	}
	return string(text[:])
}

// printable is text from outside on one line, and not long.
func printable(s string) string {
	const longest = 300
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	if len(s) > longest {
		s = strings.ToValidUTF8(s[:longest], "") + "…"
	}
	return s
}
