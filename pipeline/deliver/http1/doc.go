// Package http1 is the client's side of HTTP/1.1 towards one origin: made for
// many small requests over few connections, and for nothing else.
//
// Promise: a request leaves at most once whole or in part. What broke off after
// its first byte left is an error, never repeated here: whoever counts attempts
// decides. Only a request of which not one byte left, because the connection
// was closed while it was idle, goes out on another one.
//
// Data flow: the caller appends the request's head to a Call and names its
// body. Do takes the connection that was used last, or dials; head and body
// leave in one system call; the answer is parsed where it was read, in the
// call's own buffer. In the steady state nothing is allocated.
//
// On failure: a call's deadline and the end of its context break off what waits
// on its connection. One timer watches the deadlines of all calls and the
// connections that are idle for too long, and a context is watched once,
// however many calls have it. An answer that is not HTTP/1.1, whose framing is
// ambiguous, or whose head has no end, is an error. A body that is longer than
// wanted is cut. A connection whose state is not certain is closed.
package http1
