package deliver

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/url"
)

const (
	// maxAnswerHeaders bounds the headers of an answer.
	maxAnswerHeaders = 64 << 10
	// writeBuffer takes the request line, the headers and nearly every body,
	// so that a request is one write.
	writeBuffer = 8 << 10
)

// goSlow lets requests go over net/http.
func (h *HTTP) goSlow(c Config, secure *tls.Config, proxy *url.URL) {
	connect := min(c.Timeout, maxConnect)
	h.slow = &http.Transport{
		DialContext:            (&net.Dialer{Timeout: connect}).DialContext,
		TLSHandshakeTimeout:    connect,
		TLSClientConfig:        secure,
		Protocols:              new(http.Protocols),
		MaxIdleConnsPerHost:    c.Concurrency,
		IdleConnTimeout:        idleConnection,
		DisableCompression:     true, // nothing is asked for that would have to be unpacked
		MaxResponseHeaderBytes: maxAnswerHeaders,
		WriteBufferSize:        writeBuffer,
	}
	if proxy != nil {
		h.slow.Proxy = http.ProxyURL(proxy)
	}
	h.slow.Protocols.SetHTTP1(c.Protocol != ProtocolHTTP2)
	h.slow.Protocols.SetHTTP2(c.Protocol != ProtocolHTTP1)
	h.slow.Protocols.SetUnencryptedHTTP2(c.Protocol == ProtocolHTTP2)
}

// sendSlow sends a message over net/http.
func (h *HTTP) sendSlow(ctx context.Context, m *Message) Answer {
	req, failed := h.request(ctx, m)
	if req == nil {
		return failed
	}
	if m.Exchange != nil {
		m.Exchange.sent(&h.headers, requestHead(req))
	}
	// The round trip alone: no redirects, no cookies.
	resp, err := h.slow.RoundTrip(req)
	if err != nil {
		return failedAnswer(ctx, err)
	}
	defer resp.Body.Close()
	return h.read(ctx, m, resp)
}

// request makes a message's request, or says why it cannot.
func (h *HTTP) request(ctx context.Context, m *Message) (*http.Request, Answer) {
	u, err := h.address.resolve(m.Shard, m.Record)
	if err != nil {
		return nil, unsendable(err)
	}
	header, err := h.headers.of(m)
	if err != nil {
		return nil, noSecret(err)
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

// newBody is a request's body: the message's bytes, which nobody changes. It is
// of a type that net/http knows to be in memory: headers and body then leave in
// one write. It is not used again for other requests, since net/http may still
// read it after an early answer.
func newBody(data []byte) io.ReadCloser { return io.NopCloser(bytes.NewReader(data)) }

// read is what an answer means.
func (h *HTTP) read(ctx context.Context, m *Message, resp *http.Response) Answer {
	if resp.Body == http.NoBody && h.plainly(resp.StatusCode) && m.Exchange == nil {
		return Answer{Status: resp.StatusCode, Reason: ReasonDelivered}
	}
	buffer := buffers.Get().(*[firstRead]byte)
	defer buffers.Put(buffer)
	limit := firstRead
	if needsBody(h.response, resp.StatusCode) {
		limit = maxAnswer
	}
	data, truncated, err := readBody(resp.Body, buffer[:0], limit)
	if truncated && limit == firstRead {
		// The rest, so that the connection can be used again.
		_, _ = io.CopyN(io.Discard, resp.Body, maxAnswer-firstRead)
	}
	if m.Exchange != nil {
		m.Exchange.received(answerHead(resp), data, truncated || err != nil, resp.Header.Get("Content-Encoding"))
	}
	return h.meaning(ctx, said{
		status: resp.StatusCode, retryAfter: resp.Header.Get("Retry-After"), date: resp.Header.Get("Date"),
		encoding: resp.Header.Get("Content-Encoding"), data: data, truncated: truncated, err: err,
	})
}
