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

// said is an answer, whoever has read it.
type said struct {
	status                     int
	retryAfter, date, encoding string // headers
	data                       []byte // the body's beginning; not kept
	truncated                  bool   // there may be more of it
	err                        error  // why it broke off
}

// plainly says whether a status means that a message was delivered, whatever
// comes behind it.
func (h *HTTP) plainly(status int) bool {
	return statusReason(status) == ReasonDelivered && !needsBody(h.response, status)
}

// meaning is what an answer means.
func (h *HTTP) meaning(ctx context.Context, s said) Answer {
	a := Answer{Status: s.status, Reason: h.statusReason(s.status)}
	if needsBody(h.response, s.status) {
		h.judge(ctx, &a, s)
	} else if a.Reason != ReasonDelivered {
		a.Detail = strings.TrimSpace("HTTP " + strconv.Itoa(a.Status) + " " + http.StatusText(a.Status))
	}
	if a.Reason == ReasonDelivered {
		return a
	}
	a.RetryAfter = retryAfter(s.retryAfter, s.date, time.Now())
	a.Body = bytes.Clone(s.data[:min(len(s.data), maxExcerpt)])
	return a
}

// judge lets the body decide.
func (h *HTTP) judge(ctx context.Context, a *Answer, s said) {
	data, truncated := s.data, s.truncated || s.err != nil
	if strings.EqualFold(s.encoding, "gzip") {
		data, truncated = unpack(data, truncated)
	}
	verdict := h.classes.ReadAnswer(data, truncated)
	a.Reason = bodyReason(a.Reason, verdict.Class)
	a.Warnings, a.Notes = verdict.Warnings, verdict.Notes
	a.Code = verdict.Code
	a.Detail = "HTTP " + strconv.Itoa(a.Status) + ": " + verdict.Reason
	if s.err == nil || a.Reason != ReasonOTAUnclear {
		return
	}
	// What came first decides nothing, and the rest did not come.
	failed := failedAnswer(ctx, s.err)
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
func retryAfter(wish, date string, now time.Time) time.Duration {
	wish = strings.TrimSpace(wish)
	if wish == "" {
		return 0
	}
	seconds, err := strconv.ParseInt(wish, 10, 64)
	if err == nil || errors.Is(err, strconv.ErrRange) { // then it is the nearest number
		return time.Duration(min(max(seconds, 0), int64(maxRetryAfter/time.Second))) * time.Second
	}
	at, err := http.ParseTime(wish)
	if err != nil {
		return 0
	}
	if theirs, err := http.ParseTime(date); err == nil {
		now = theirs
	}
	return min(max(at.Sub(now), 0), maxRetryAfter)
}
