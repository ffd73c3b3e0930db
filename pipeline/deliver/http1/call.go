package http1

import (
	"sync"
	"time"
)

const (
	// bufferSize holds nearly every request and nearly every answer.
	bufferSize = 8 << 10
	// maxHead bounds the head of an answer, with the interim answers before it.
	maxHead = 64 << 10
	// maxDrain bounds what is read of a body beyond what was asked for, so that
	// the connection can be used again.
	maxDrain = 64 << 10
	// besideFrom is the size of a request that is written beside the reading of
	// its answer: it may not fit the socket's buffers, and the receiver may
	// answer before it has read it.
	besideFrom = 32 << 10
)

// Call is one request and its answer.
type Call struct {
	Head     []byte    // request line, headers with Content-Length, the empty line: append to it
	Body     []byte    // comes behind it; nobody changes it before Do returns
	Start    time.Time // zero: when Do is called
	Deadline time.Time // zero: none but the context's
	NoBody   bool      // the answer has none whatever it says: the method is HEAD
	Limit    int       // of the answer's body this much is wanted

	Answer Answer

	buffer [bufferSize]byte
	pieces [2][]byte // of Write in one system call
}

var calls = sync.Pool{New: func() any { return new(Call) }}

// NewCall gets a call with an empty head. Release gives it back.
func NewCall() *Call {
	c := calls.Get().(*Call)
	c.Head = c.buffer[:0]
	return c
}

// Release lets the call, and with it its answer's bytes, be used again.
func (c *Call) Release() {
	c.Head, c.Body, c.Answer, c.pieces = nil, nil, Answer{}, [2][]byte{}
	c.Start, c.Deadline, c.NoBody, c.Limit = time.Time{}, time.Time{}, false, 0
	calls.Put(c)
}

// Answer is a final answer. Its bytes are valid until the call is released.
type Answer struct {
	Status          int
	Head            []byte // all of it
	RetryAfter      []byte
	Date            []byte
	ContentEncoding []byte
	Body            []byte // at most Limit bytes
	Truncated       bool   // there was more, or it broke off
	Err             error  // why the body broke off; nil: it did not

	keep    bool // the connection may be used again, as far as the answer says
	framing framing
	length  int64 // with byLength
	old     bool  // HTTP/1.0
	close   bool  // the connection is not to be used again
}

// framing is how a body ends.
type framing uint8

const (
	noBody framing = iota
	byLength
	chunked
	byClose
)
