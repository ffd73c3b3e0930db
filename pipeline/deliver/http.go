package deliver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/shardline/shardline/pipeline"
	"github.com/shardline/shardline/pipeline/deliver/http1"
	"github.com/shardline/shardline/pipeline/opentravel"
)

// Protocol is how HTTP goes to a destination.
type Protocol uint8

const (
	// ProtocolAuto: HTTP/1.1 over connections of our own; through a proxy of
	// the environment, whatever net/http agrees upon.
	ProtocolAuto Protocol = iota
	// ProtocolHTTP1: HTTP/1.1, also through a proxy.
	ProtocolHTTP1
	// ProtocolHTTP2: HTTP/2, over http:// without asking first.
	ProtocolHTTP2
)

// HTTP is the transport over HTTP. HTTP/1.1 without a proxy goes over package
// http1, everything else over net/http; what a request says and what an answer
// means is the same.
type HTTP struct {
	address  address
	method   string
	headers  headers
	response Response
	classes  opentravel.Classes
	statuses map[int]Class // of the destination's own

	// One of the two. The connections are the destination's own.
	fast     *http1.Client
	start    string        // fast: the request line up to the target
	fixed    string        // fast: what follows the target in every request
	template *http.Request // net/http: what is the same for all requests
	slow     *http.Transport
}

const (
	maxConnect     = 30 * time.Second
	idleConnection = 90 * time.Second
)

// NewHTTP makes the HTTP transport of a configuration.
func NewHTTP(c Config) (*HTTP, error) {
	c = c.withDefaults()
	refuse := func(err error) (*HTTP, error) { return nil, fmt.Errorf("destination %s: %w", c.Name, err) }
	h := &HTTP{method: c.Method, response: c.Response, classes: c.Classes, statuses: c.Statuses}
	var err error
	if h.address, err = parseAddress(c.URL); err != nil {
		return refuse(err)
	}
	if !validToken(c.Method) {
		return refuse(fmt.Errorf("method %q: not an HTTP method", c.Method))
	}
	if h.headers, err = newHeaders(c); err != nil {
		return refuse(err)
	}
	base := h.address.base
	secure, err := c.TLS.config(base)
	if err != nil {
		return refuse(err)
	}
	h.template = &http.Request{Method: c.Method, URL: base, Host: h.headers.host,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
	proxy, err := http.ProxyFromEnvironment(h.template)
	if err != nil {
		return refuse(errors.New("proxy of the environment: not a URL"))
	}
	if c.Protocol != ProtocolHTTP2 && proxy == nil && plainHost(base.Host) {
		h.goFast(c, secure)
	} else {
		h.goSlow(c, secure, proxy)
	}
	return h, nil
}

// plainHost says whether a host needs no rewriting, as names that are not ASCII
// and addresses with a zone do.
func plainHost(host string) bool {
	for i := range len(host) {
		if c := host[i]; c <= ' ' || c >= 0x7f || c == '%' {
			return false
		}
	}
	return true
}

// Close closes the idle connections.
func (h *HTTP) Close() error {
	if h.fast != nil {
		h.fast.Close()
	} else {
		h.slow.CloseIdleConnections()
	}
	return nil
}

// Send implements Transport.
func (h *HTTP) Send(ctx context.Context, m *Message) Answer {
	if h.fast != nil {
		return h.sendFast(ctx, m)
	}
	return h.sendSlow(ctx, m)
}

// KeepsDeadline implements Punctual.
func (h *HTTP) KeepsDeadline() bool { return h.fast != nil }

func unsendable(err error) Answer {
	return Answer{Reason: ReasonUnsendable, Detail: "url: " + err.Error()}
}

func noSecret(err error) Answer {
	return Answer{Reason: ReasonSecretUnavailable, Detail: err.Error()}
}

// failedAnswer is what a request without an answer means.
func failedAnswer(ctx context.Context, err error) Answer {
	a := Answer{Reason: ReasonConnection, Detail: printable(err.Error())}
	var timeout net.Error
	var name *net.DNSError
	switch ended := ctx.Err(); {
	case ended != nil && !errors.Is(ended, context.DeadlineExceeded):
		a.Reason = ReasonCancelled
	case ended != nil, errors.Is(err, os.ErrDeadlineExceeded):
		a.Reason = ReasonTimeout
	case errors.As(err, &timeout) && timeout.Timeout():
		a.Reason = ReasonTimeout
	case errors.As(err, &name) && name.IsNotFound:
		a.Reason = ReasonUnknownHost
	case tlsRefused(err):
		a.Reason = ReasonTLS
	}
	return a
}

// appendIdempotencyKey appends what is the same for a record at every attempt,
// from every worker: the SHA-256 of the stream, its creation, the shard and the
// position, in hex. When a command delivers the record again, it is the SHA-256
// of that text and the command's id: another key, and the same one however
// often the command has to be resumed.
func appendIdempotencyKey(to []byte, shard *pipeline.ShardInfo, r *pipeline.Record) []byte {
	sum := r.Identity
	if sum == [sha256.Size]byte{} {
		sum = shard.Identity(r.Position)
	}
	if command := shard.CommandOf(r); command != "" {
		b := append(hex.AppendEncode(nil, sum[:]), '\n')
		sum = sha256.Sum256(append(b, command...))
	}
	return hex.AppendEncode(to, sum[:])
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
