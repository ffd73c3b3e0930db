//go:build !linux

package checkpoint

import "time"

var processStart = time.Now()

// BootTime is monotonic. Whether it runs through a suspend is up to the
// operating system.
func BootTime() time.Duration { return time.Since(processStart) }
