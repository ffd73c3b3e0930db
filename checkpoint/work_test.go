package checkpoint_test

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/shardline/shardline/checkpoint"
)

// What a lease makes of work stands in it with the next renewal, smoothed, at
// no write of its own; whoever takes it next goes on from there.
func TestThroughputIsWrittenWithRenewals(t *testing.T) {
	bubble(t, 1, func(t *testing.T, f *fleet) {
		a := f.add("a")
		time.Sleep(time.Second)
		tenure := f.visits(shardName(0))[0].tenure
		before := a.called("renew")
		for range 300 {
			tenure.Appended(100 << 10) // 100 kB/s
			time.Sleep(time.Second)
		}
		if got := f.lease(0).Throughput; math.Abs(got-100) > 15 || math.Round(got*10)/10 != got {
			t.Errorf("throughput %v, want about 100 with one decimal", got)
		}
		if n := a.called("renew") - before; n > 300/2+1 { // at least failover/4 apart
			t.Errorf("%d renewals within 300 s", n)
		}
		a.cancel()
		<-a.done
		f.add("b")
		time.Sleep(time.Second)
		got := f.visits(shardName(0))
		if l := got[len(got)-1].tenure.Lease(); math.Abs(l.Throughput-100) > 15 {
			t.Errorf("taken with throughput %v, want about 100", l.Throughput)
		}
		time.Sleep(5 * time.Minute)
		if got := f.lease(0).Throughput; got > 1 {
			t.Errorf("throughput %v after five idle minutes", got)
		}
	})
}

// A steady imbalance moves one lease after another from who has the most to do
// to who has the least, and then rests; counts follow.
func TestUnevenWorkMoves(t *testing.T) {
	for _, tt := range []struct {
		name  string
		work  func(i int, hot bool) int64 // bytes per second of shard i; four that one worker serves are hot
		moves bool
	}{
		{"four hot shards", func(_ int, hot bool) int64 {
			if hot {
				return 500 << 10
			}
			return 5 << 10
		}, true},
		{"quiet, though very uneven", func(_ int, hot bool) int64 {
			if hot {
				return 7 << 10
			}
			return 0
		}, false},
		{"about equal", func(i int, _ bool) int64 { return 200<<10 + int64(i)<<10 }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, 12, func(t *testing.T, f *fleet) {
				f.add("a").set(func(w *worker) { w.drain = 200 * time.Millisecond })
				time.Sleep(time.Second)
				f.add("b")
				time.Sleep(3 * failover)
				f.balanced(12, 2)
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				hot := map[int]bool{}
				for i := range 12 {
					if len(hot) < 4 && f.ownerOf(i) == "a" {
						hot[i] = true
					}
				}
				f.wg.Go(func() { f.work(ctx, 12, func(i int) int64 { return tt.work(i, hot[i]) }) })
				before := f.moves()
				time.Sleep(4 * time.Minute)
				moves := f.moves() - before
				loads := map[string]float64{}
				for i := range 12 {
					loads[f.ownerOf(i)] += f.lease(i).Throughput
				}
				if tt.moves && (moves < 1 || moves > 4) || !tt.moves && moves != 0 {
					t.Errorf("%d moves, loads %v", moves, loads)
				}
				if mean := (loads["a"] + loads["b"]) / 2; tt.moves && math.Abs(loads["a"]-loads["b"]) > mean/4 {
					t.Errorf("still uneven: %v", loads)
				}
				time.Sleep(4 * time.Minute)
				if n := f.moves() - before - moves; n != 0 {
					t.Errorf("%d more moves: it does not rest", n)
				}
			})
		})
	}
}

// work reports what the owners of the shards read, every second.
func (f *fleet) work(ctx context.Context, shards int, bytes func(i int) int64) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
		for i := range shards {
			if v := f.serving(i); v != nil {
				v.Appended(bytes(i))
			}
		}
	}
}

// serving is the valid tenure of a shard, nil: none.
func (f *fleet) serving(i int) *checkpoint.Tenure {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, v := range f.tenures[shardName(i)] {
		if v.ended == 0 && v.tenure.Valid() {
			return v.tenure
		}
	}
	return nil
}

func (f *fleet) ownerOf(i int) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, v := range f.tenures[shardName(i)] {
		if v.ended == 0 && v.tenure.Valid() {
			return v.worker
		}
	}
	return ""
}
