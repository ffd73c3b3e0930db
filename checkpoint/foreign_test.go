package checkpoint

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// TestForeigners follows who counts as a worker that is not Shardline, and what
// is said of it.
func TestForeigners(t *testing.T) {
	ours := tenureOf("w1", "0123abcd", "00112233445566aa")
	lease := func(owner string, counter int64, change ...func(l *Lease)) Lease {
		l := Lease{Key: "a", Owner: owner, Counter: counter}
		for _, f := range change {
			f(&l)
		}
		return l
	}
	tenured := func(l *Lease) { l.Tenure = ours }
	behind := func(l *Lease) { l.Behind = map[string]Entry{"d": {}} }
	type scan struct {
		at     time.Duration
		lease  Lease
		renews bool
		logs   int // new lines
	}
	for _, tt := range []struct {
		name   string
		shared bool
		scans  []scan
	}{
		{"an owner that renews is an alarm, once", false, []scan{
			{0, lease("kcl", 1), false, 0}, {3, lease("kcl", 2), true, 1}, {6, lease("kcl", 3), true, 0}, {9, lease("kcl", 3), true, 0}}},
		{"one that does not is dead", false, []scan{{0, lease("kcl", 1), false, 0}, {30, lease("kcl", 1), false, 0}}},
		{"one that no longer does", false, []scan{
			{0, lease("kcl", 1), false, 0}, {3, lease("kcl", 2), true, 1}, {13, lease("kcl", 2), true, 0}, {14, lease("kcl", 2), false, 1}}},
		{"a Shardline worker is none", false, []scan{{0, lease("w1", 1, tenured), false, 0}, {3, lease("w1", 2, tenured), false, 0}}},
		{"nor is one that was given the lease", false, []scan{
			{0, lease("w1", 1), false, 0}, {3, lease("w1", 2, tenured), false, 0}}},
		{"a KCL worker that took from Shardline leaves the tenure", false, []scan{
			{0, lease("w1", 1, tenured), false, 0}, {3, lease("kcl", 2, tenured), false, 0}, {6, lease("kcl", 3, tenured), true, 1}}},
		{"another one is said too", false, []scan{
			{0, lease("kcl", 1), false, 0}, {3, lease("kcl", 2), true, 1}, {6, lease("kcl-2", 3), false, 1}, {9, lease("kcl-2", 4), true, 1}}},
		{"an old scan changes nothing", false, []scan{
			{0, lease("kcl", 1), false, 0}, {3, lease("kcl", 2), true, 1}, {6, lease("kcl", 1), true, 0}}},
		{"on a shared table they are expected", true, []scan{{0, lease("kcl", 1), false, 0}, {3, lease("kcl", 2), true, 1}, {6, lease("kcl", 3), true, 0}}},
		{"but not on a lease where somebody is behind", true, []scan{
			{0, lease("kcl", 1, behind), false, 0}, {3, lease("kcl", 2, behind), true, 2}, {6, lease("kcl", 3, behind), true, 0}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			core, logs := observer.New(zap.InfoLevel)
			f := foreigners{shared: tt.shared, failover: 10 * time.Second, log: zap.New(core), metrics: NewMetrics(nil)}
			for _, s := range tt.scans {
				f.see([]Lease{s.lease}, s.at*time.Second)
				if got := f.renews(s.lease); got != s.renews {
					t.Errorf("after %d s: renews %v, want %v", s.at, got, s.renews)
				}
				if got := logs.TakeAll(); len(got) != s.logs {
					t.Errorf("after %d s: said %v, want %d lines", s.at, got, s.logs)
				}
				want := map[bool]float64{s.renews: 1}[true]
				if got := testutil.ToFloat64(f.metrics.foreign.WithLabelValues(expected[tt.shared])); got != want {
					t.Errorf("after %d s: the gauge is %g, want %g", s.at, got, want)
				}
			}
		})
	}
}
