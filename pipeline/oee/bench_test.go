package oee_test

import (
	"fmt"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/shardline/shardline/pipeline/oee"
)

// benchConfig is a plant of three shifts with all windows.
func benchConfig() oee.Config {
	c := plain()
	c.Zone = berlin
	c.Total = oee.Counter{Cumulative: true}
	c.Windows = []oee.WindowConfig{{Kind: oee.ShiftWindow}, {Kind: oee.HourWindow}, {Kind: oee.DayWindow}}
	c.Shifts = []oee.Shift{
		{Name: "early", Start: 6 * time.Hour, Length: 8 * time.Hour, Breaks: []oee.Break{{Start: 10 * time.Hour, Length: 15 * time.Minute}}},
		{Name: "late", Start: 14 * time.Hour, Length: 8 * time.Hour}, {Name: "night", Start: 22 * time.Hour, Length: 8 * time.Hour},
	}
	c.Target = 0.85
	c.Alerts = []oee.AlertConfig{{Name: "idle", When: oee.WhenIdle, Longer: 5 * time.Minute}, {Name: "target", When: oee.WhenBelowTarget, Window: c.Windows[0]}}
	return c
}

// source makes events of many machines in turn, one a second each: a state
// that changes every few minutes, a counter, one in ten late by up to 30 s.
type source struct {
	machines []string
	event    oee.Event
	n        uint64
}

func newSource(machines int) *source {
	s := &source{}
	for i := range machines {
		s.machines = append(s.machines, fmt.Sprintf("machine-%05d", i))
	}
	s.event.Position = oee.Position{Shard: "plc/shardId-000000000000", Sequence: "49590338271490256608559692538361571095921575989136588898"}
	return s
}

var benchStates = []string{"RUN", "RUN", "RUN", "STOP", "RUN", "IDLE"}

func (s *source) next() *oee.Event {
	machine := s.n % uint64(len(s.machines))
	second := s.n / uint64(len(s.machines))
	s.n++
	e := &s.event
	e.Machine = s.machines[machine]
	e.Time = day.Add(time.Duration(second) * time.Second)
	if s.n%10 == 0 {
		e.Time = e.Time.Add(-time.Duration(s.n%30) * time.Second)
	}
	e.State = benchStates[(second/200+machine)%uint64(len(benchStates))]
	e.Product = "sku-1"
	e.Total = oee.Read(oee.Units(second) * oee.Unit)
	e.Index = s.n
	return e
}

// BenchmarkWindows is what windows cost alone: decoded events of 100 machines
// to settled, with the results of the windows that end.
func BenchmarkWindows(b *testing.B) {
	for _, machines := range []int{1, 100, 1000} {
		b.Run(strconv.Itoa(machines), func(b *testing.B) {
			v := newView(b, benchConfig())
			s := newSource(machines)
			for range machines * 660 { // as many wait as ever will
				v.Apply(*s.next())
			}
			v.Results()
			results := 0
			b.ReportAllocs()
			b.ResetTimer()
			before := processorTime()
			for i := range b.N {
				v.Apply(*s.next())
				if i%10_000 == 0 {
					results += len(v.Results())
				}
			}
			// A core's second, the collector's work included: others may run here too.
			b.ReportMetric(float64(b.N)/(processorTime()-before).Seconds(), "events/core-s")
		})
	}
}

// processorTime is what the process has used of all cores.
func processorTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// BenchmarkMemory is what machines take that were heard of for a day, with an
// event in five seconds each and ten minutes of them waiting. It grows with
// their number alone.
func BenchmarkMemory(b *testing.B) {
	const machines = 2000
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		v := newView(b, benchConfig())
		s := newSource(machines)
		// A day of an event a minute, then an event in five seconds.
		feed := func(from, to time.Duration, every time.Duration) {
			for at := from; at < to; at += every {
				for m := range machines {
					e := s.next()
					e.Machine, e.Time = s.machines[m], day.Add(at)
					e.State = benchStates[(int(at/time.Minute)/5+m)%len(benchStates)]
					e.Total = oee.Read(oee.Units(at/time.Second) * oee.Unit)
					v.Apply(*e)
				}
				if at%time.Hour == 0 {
					v.Results()
					v.Alerts()
					v.Told()
				}
			}
		}
		feed(0, 24*time.Hour, time.Minute)
		feed(24*time.Hour, 24*time.Hour+15*time.Minute, 5*time.Second)
		v.Results()
		v.Early()
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/machines, "bytes/machine")
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/machines/100, "MB/10000-machines")
		runtime.KeepAlive(v)
	}
}

// BenchmarkResult is what one shift's figures cost.
func BenchmarkResult(b *testing.B) {
	v := newView(b, benchConfig())
	s := newSource(1)
	for range 10 * 3600 {
		v.Apply(*s.next())
	}
	b.ReportAllocs()
	for b.Loop() {
		v.Windows(s.machines[0], "shift", day.Add(5*time.Hour), day.Add(5*time.Hour+1))
	}
}

// BenchmarkSave is a machine's items after half a minute, with their size.
func BenchmarkSave(b *testing.B) {
	v := newView(b, benchConfig())
	s := newSource(1)
	for range 10*3600 + 1800 {
		v.Apply(*s.next())
	}
	v.Results()
	size := 0
	for _, item := range v.Save(s.machines[0]) {
		size += len(item.Data)
	}
	for b.Loop() {
		for range 30 {
			v.Apply(*s.next())
		}
		size = 0
		for _, item := range v.Save(s.machines[0]) {
			size += len(item.Data)
		}
	}
	b.ReportMetric(float64(size), "bytes/save")
}

// BenchmarkWriteUnits is what DynamoDB charges for one machine and hour that is
// saved every half minute with an event a second, its open windows told every
// minute: 1 KiB a unit.
func BenchmarkWriteUnits(b *testing.B) {
	v := newView(b, benchConfig())
	s := newSource(1)
	for range 3 * 3600 {
		v.Apply(*s.next())
	}
	v.Results()
	v.Save(s.machines[0])
	units, items, hours := 0, 0, 0
	for b.Loop() {
		hours++
		for round := range 120 {
			for range 30 {
				v.Apply(*s.next())
			}
			v.Results()
			if round%2 == 0 {
				v.Early()
			}
			v.Alerts()
			for _, item := range v.Save(s.machines[0]) {
				units += (len(item.Machine) + len(item.Key) + len(item.Data) + 1023) / 1024
				items++
			}
			v.Told()
		}
	}
	b.ReportMetric(float64(units)/float64(hours), "units/machine-hour")
	b.ReportMetric(float64(items)/float64(hours), "writes/machine-hour")
}
