package checkpoint

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// BootTime reads CLOCK_BOOTTIME: monotonic, and it runs while the machine is
// suspended, when other workers take this one's leases. It is read before every
// attempt, and never blocks: the scheduler need not know of the call.
func BootTime() time.Duration {
	var t unix.Timespec
	_, _, errno := unix.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_BOOTTIME, uintptr(unsafe.Pointer(&t)), 0)
	if errno != 0 {
		panic("clock_gettime(CLOCK_BOOTTIME): " + errno.Error()) // Linux has had it since 2.6.39
	}
	return time.Duration(t.Nano())
}
