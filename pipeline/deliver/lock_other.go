//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package deliver

// Without file locks a file belongs to one process.
func lockFile(uintptr) error { return nil }

func unlockFile(uintptr) error { return nil }
