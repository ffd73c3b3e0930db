package decode_test

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkShare takes the sides in turns and reads the clock of their thread,
// so that others on the machine slow all of them or none, and says how many
// events a core decodes, and how fast that is in terms of the library alone.
func BenchmarkShare(b *testing.B) {
	const turn = 1000
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cpu := func() float64 {
		var t unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
			b.Fatal(err)
		}
		return float64(t.Nano()) / 1e9
	}
	sides := []func() error{eventsSide(b), structSide(), tokensSide()}
	spent := make([]float64, len(sides))
	for b.Loop() {
		for i, do := range sides {
			began := cpu()
			for range turn {
				if err := do(); err != nil {
					b.Fatal(err)
				}
			}
			spent[i] += cpu() - began
		}
	}
	b.ReportMetric(float64(turn*b.N)/spent[0], "events/s")
	b.ReportMetric(spent[1]/spent[0], "of-struct")
	b.ReportMetric(spent[2]/spent[0], "of-tokens")
}
