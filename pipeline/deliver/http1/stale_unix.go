//go:build unix

package http1

import "golang.org/x/sys/unix"

// hungUp says whether an idle connection was closed by its peer, or has said
// something that nobody asked for.
func (x *conn) hungUp() bool {
	if x.socket == nil {
		return false
	}
	x.stale = true
	if err := x.socket.Read(x.look); err != nil {
		return true
	}
	return x.stale
}

func (x *conn) lookAt(fd uintptr) bool {
	var b [1]byte
	_, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	x.stale = err != unix.EAGAIN && err != unix.EINTR
	return true
}
