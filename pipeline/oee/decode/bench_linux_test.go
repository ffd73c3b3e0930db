package decode_test

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shardline/shardline/pipeline/oee"
	"github.com/shardline/shardline/pipeline/oee/decode"
)

// settledSide decodes events of 1,000 machines, one a second each, and has a
// view settle them: figures of shifts, hours and days are asked for every hour.
func settledSide(b *testing.B) func() error {
	d := decoder(b, decode.Config{Format: decode.JSON, Fields: plcFields})
	view, err := oee.New(oee.Config{
		Name: "plant", Zone: time.UTC, States: map[string]oee.Class{"RUN": oee.Running, "STOP": oee.Stopped},
		Total: oee.Counter{Cumulative: true}, Good: oee.Counter{Cumulative: true}, Rejected: oee.Counter{Cumulative: true},
		Reporting: oee.Periodic, MaxHold: time.Minute, Lateness: 10 * time.Minute,
		Windows:    []oee.WindowConfig{{Kind: oee.ShiftWindow}, {Kind: oee.HourWindow}, {Kind: oee.DayWindow}},
		Shifts:     []oee.Shift{{Name: "all", Start: 6 * time.Hour, Length: 24 * time.Hour}},
		IdealRates: []oee.RateConfig{{Rate: oee.PerMinute(60 * oee.Unit)}},
	})
	if err != nil {
		b.Fatal(err)
	}
	const machines, began = 1000, 1764057600
	event := bytes.Clone(press)
	machine, at, units := bytes.Index(event, []byte("017")), bytes.Index(event, []byte("1764057600")), bytes.Index(event, []byte("1284417"))
	var batch decode.Batch
	n := 0
	return func() error {
		copy(event[machine:], fmt.Appendf(nil, "%03d", n%machines))
		if n%machines == 0 {
			copy(event[at:], fmt.Appendf(nil, "%d", began+n/machines))
			copy(event[units:], fmt.Appendf(nil, "%d", 1284417+n/machines))
		}
		n++
		batch.Events = batch.Events[:0]
		if err := d.Decode(decode.Record{Data: event}, &batch); err != nil {
			return err
		}
		view.Apply(batch.Events[0])
		if n%(3600*machines) == 0 {
			view.Results()
		}
		return nil
	}
}

// BenchmarkShare takes the sides in turns and reads the clock of their thread,
// so that others on the machine slow all of them or none, and says how many
// events a core decodes, and decodes and settles, and how fast that is in terms
// of the library alone.
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
	sides := []func() error{eventsSide(b), structSide(), tokensSide(), settledSide(b)}
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
	b.ReportMetric(float64(turn*b.N)/spent[3], "settled/s")
	b.ReportMetric(spent[1]/spent[3], "settled-of-struct")
	b.ReportMetric(spent[1]/spent[0], "of-struct")
	b.ReportMetric(spent[2]/spent[0], "of-tokens")
}
