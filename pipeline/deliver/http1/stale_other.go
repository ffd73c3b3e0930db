//go:build !linux

package http1

// hungUp is not known here: a request on such a connection fails, and is
// attempted again.
func (x *conn) hungUp() bool { return false }

func (x *conn) lookAt(uintptr) bool { return true }
