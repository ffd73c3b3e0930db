package deliver

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// maxAnswer is how much of an answer's body takes part in what it means,
	// and how much is read at all so that the connection can be used again.
	// What is longer is cut, and its connection closed.
	maxAnswer = 64 << 10
	// maxExcerpt is how much of it is kept for a dead letter.
	maxExcerpt = 2 << 10
	// firstRead is enough for nearly every answer.
	firstRead = 4 << 10
)

var buffers = sync.Pool{New: func() any { return new([firstRead]byte) }}

// read is what an answer means.
func (h *HTTP) read(ctx context.Context, resp *http.Response) Answer {
	a := Answer{Status: resp.StatusCode, Reason: statusReason(resp.StatusCode)}
	decides := needsBody(h.response, resp.StatusCode)
	if resp.Body == http.NoBody && !decides && a.Reason == ReasonDelivered {
		return a
	}
	buffer := buffers.Get().(*[firstRead]byte)
	defer buffers.Put(buffer)
	limit := firstRead
	if decides {
		limit = maxAnswer
	}
	data, truncated, err := readBody(resp.Body, buffer[:0], limit)
	if truncated && !decides {
		// The rest, so that the connection can be used again.
		_, _ = io.CopyN(io.Discard, resp.Body, maxAnswer-firstRead)
	}
	if !decides {
		if a.Reason == ReasonDelivered {
			return a // it was, whatever became of the rest of the answer
		}
		a.Detail = strings.TrimSpace("HTTP " + strconv.Itoa(a.Status) + " " + http.StatusText(a.Status))
	} else {
		h.judge(ctx, resp, &a, data, truncated, err)
		if a.Reason == ReasonDelivered {
			return a
		}
	}
	a.RetryAfter = retryAfter(resp.Header, time.Now())
	a.Body = bytes.Clone(data[:min(len(data), maxExcerpt)])
	return a
}

// judge lets the body decide. err is why it broke off.
func (h *HTTP) judge(ctx context.Context, resp *http.Response, a *Answer, data []byte, truncated bool, err error) {
	if strings.EqualFold(resp.Header.Get("Content-Encoding"), "gzip") {
		data, truncated = unpack(data, truncated || err != nil)
	}
	said := h.classes.ReadAnswer(data, truncated || err != nil)
	a.Reason = bodyReason(a.Status, said.Class)
	a.Code = said.Code
	a.Detail = "HTTP " + strconv.Itoa(a.Status) + ": " + said.Reason
	if err == nil || a.Reason != ReasonOTAUnclear {
		return
	}
	// What came first decides nothing, and the rest did not come.
	failed := failedAnswer(ctx, err)
	if a.Reason = failed.Reason; a.Reason == ReasonConnection {
		a.Reason = ReasonBrokenAnswer
	}
	a.Detail += ": " + failed.Detail
}

// readBody appends at most limit bytes of r to b. truncated: r may have more.
func readBody(r io.Reader, b []byte, limit int) (data []byte, truncated bool, err error) {
	for {
		if len(b) == limit {
			return b, true, nil
		}
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := r.Read(b[len(b):min(cap(b), limit)])
		b = b[:len(b)+n]
		if errors.Is(err, io.EOF) {
			return b, false, nil
		}
		if err != nil {
			return b, false, err
		}
	}
}

// unpack undoes a compression that nobody asked for, as far as the data goes.
func unpack(data []byte, truncated bool) ([]byte, bool) {
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return data, truncated
	}
	text, more, err := readBody(z, nil, maxAnswer)
	return text, truncated || more || err != nil
}

// retryAfter is the receiver's wish: seconds, or a date, which is measured by
// the receiver's own clock when it gives its time. 0: none that makes sense.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if text == "" {
		return 0
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err == nil || errors.Is(err, strconv.ErrRange) { // then it is the nearest number
		return time.Duration(min(max(seconds, 0), int64(maxRetryAfter/time.Second))) * time.Second
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	return min(max(at.Sub(now), 0), maxRetryAfter)
}
