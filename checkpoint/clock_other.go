//go:build !linux

package checkpoint

import "time"

var processStart = time.Now()

// bootTime is monotonic. Whether it runs through a suspend is up to the
// operating system.
func bootTime() time.Duration { return time.Since(processStart) }
