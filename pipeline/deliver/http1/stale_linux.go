package http1

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

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

// lookAt looks at a byte without taking it. Package unix allocates for the
// sender's address, which nobody asks for.
func (x *conn) lookAt(fd uintptr) bool {
	var b byte
	_, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&b)), 1, unix.MSG_PEEK|unix.MSG_DONTWAIT, 0, 0)
	x.stale = errno != unix.EAGAIN && errno != unix.EINTR
	return true
}
