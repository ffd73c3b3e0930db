package deliver

import (
	"context"
	"crypto/tls"
	"net"
	"strconv"
	"strings"

	"github.com/shardline/shardline/pipeline/deliver/http1"
)

// goFast lets requests go over package http1. What is the same in all of them
// is written once, here.
func (h *HTTP) goFast(c Config, secure *tls.Config) {
	base := h.address.base
	host, port := h.headers.host, base.Port()
	if host == "" {
		host = base.Host
	}
	if port == "" {
		port = strings.ToLower(base.Scheme)
		port = map[string]string{"http": "80", "https": "443"}[port]
	}
	if secure != nil {
		secure.NextProtos = []string{"http/1.1"}
		if c.TLS.Certificate == "" { // a session goes on with the certificate that it began with
			secure.ClientSessionCache = tls.NewLRUClientSessionCache(0)
		}
	}
	h.fast = http1.New(http1.Config{
		Address: net.JoinHostPort(base.Hostname(), port), TLS: secure,
		Idle: c.Concurrency, Connect: min(c.Timeout, maxConnect), IdleTimeout: idleConnection,
	})
	h.start = c.Method + " "
	h.fixed = string(h.headers.appendFixed(appendHeader([]byte(" HTTP/1.1"+lineEnd), "Host", host)))
}

// sendFast sends a message over package http1.
func (h *HTTP) sendFast(ctx context.Context, m *Message) Answer {
	call := http1.NewCall()
	defer call.Release()
	if failed, ok := h.head(call, m); !ok {
		return failed
	}
	if m.Exchange != nil {
		m.Exchange.sent(&h.headers, string(call.Head))
	}
	call.Start = m.Start
	if call.Deadline = m.Deadline; call.Deadline.IsZero() {
		call.Deadline, _ = ctx.Deadline()
	}
	call.Body, call.NoBody = m.Body, h.method == "HEAD"
	call.Limit = firstRead
	if h.response == ResponseOpenTravel {
		call.Limit = maxAnswer
	}
	if err := h.fast.Do(ctx, call); err != nil {
		return failedAnswer(ctx, err)
	}
	got := &call.Answer
	if m.Exchange != nil {
		m.Exchange.received(string(got.Head), got.Body, got.Truncated, string(got.ContentEncoding))
	}
	if h.plainly(got.Status) {
		return Answer{Status: got.Status, Reason: ReasonDelivered}
	}
	return h.meaning(ctx, said{
		status: got.Status, retryAfter: string(got.RetryAfter), date: string(got.Date), encoding: string(got.ContentEncoding),
		data: got.Body, truncated: got.Truncated, err: got.Err,
	})
}

// head writes a message's request line and headers; not ok: it cannot.
func (h *HTTP) head(call *http1.Call, m *Message) (failed Answer, ok bool) {
	b, err := h.address.appendTarget(append(call.Head, h.start...), m.Shard, m.Record)
	if err != nil {
		return unsendable(err), false
	}
	if b, err = h.headers.appendSecret(append(b, h.fixed...)); err != nil {
		return noSecret(err), false
	}
	b = h.headers.appendOwn(b, m)
	if n := len(m.Body); n > 0 || h.method != "GET" && h.method != "HEAD" {
		b = append(b, "Content-Length: "...)
		b = append(strconv.AppendInt(b, int64(n), 10), lineEnd...)
	}
	call.Head = append(b, lineEnd...)
	return Answer{}, true
}
