//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package deliver

import (
	"errors"
	"syscall"
)

// lockFile locks an open file against other processes; errLocked: one has it.
func lockFile(fd uintptr) error {
	err := syscall.Flock(int(fd), syscall.LOCK_EX|syscall.LOCK_NB)
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return errLocked
	case errors.Is(err, syscall.ENOLCK), errors.Is(err, syscall.ENOTSUP), errors.Is(err, syscall.ENOSYS), errors.Is(err, syscall.EINVAL):
		return nil // a file system or device without locks: one process has to do
	}
	return err
}

func unlockFile(fd uintptr) error { return syscall.Flock(int(fd), syscall.LOCK_UN) }
