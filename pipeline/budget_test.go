package pipeline

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardline/shardline/checkpoint"
)

// fullLog is a log that holds a record that nobody settles.
func fullLog() *Log {
	l := newLog(checkpoint.TrimHorizon)
	l.Attach(ShardInfo{}, checkpoint.Entry{}, func() bool { return true })
	l.append(Record{Data: []byte("x")}, false)
	return l
}

// TestBudgetInTurn: logs that are not empty get room in turn, although the
// greedy ones ask again the moment that they have given something back.
func TestBudgetInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const read, greedy, rounds = 10, 4, 50
		b := newBudget(2 * read)
		ctx, cancel := context.WithCancel(t.Context())
		turns := make([]int, greedy+1)
		done := make(chan struct{})
		for i := range turns {
			go func() {
				defer func() { done <- struct{}{} }()
				l := fullLog()
				for b.reserve(ctx, l, read, nil) == nil && ctx.Err() == nil {
					turns[i]++
					time.Sleep(time.Second)
					b.release(read)
					if i == greedy { // the slow one has to be let in every time
						time.Sleep(time.Millisecond)
					}
				}
			}()
		}
		time.Sleep(rounds * time.Second)
		cancel()
		for range turns {
			<-done
		}
		b.release(b.Used()) // of those that ended with a turn
		// Two reads at a time for 50 s make 100 turns: 20 for each of five logs,
		// and some fewer for the one that asks late.
		for i, n := range turns {
			if n < 15 {
				t.Errorf("log %d had %d turns of %v", i, n, turns)
			}
		}
		if used := b.Used(); used != 0 || len(b.line) != 0 {
			t.Errorf("%d bytes reserved and %d in the line at the end", used, len(b.line))
		}
	})
}

// TestBudgetEmptyLog: a log that becomes empty does not wait for its turn, and
// leaves none behind; whoever gives up gives back what it was granted.
func TestBudgetEmptyLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(10)
		full := fullLog()
		if err := b.reserve(t.Context(), newLog(checkpoint.TrimHorizon), 10, nil); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		first := make(chan error, 1)
		go func() { first <- b.reserve(ctx, full, 10, nil) }()
		synctest.Wait()
		emptied := newLog(checkpoint.TrimHorizon)
		c := emptied.Attach(ShardInfo{}, checkpoint.Entry{}, func() bool { return true })
		emptied.append(Record{Data: []byte("x")}, false)
		b.used += emptied.bytes
		second := make(chan error, 1)
		go func() { second <- b.reserve(t.Context(), emptied, 10, nil) }()
		synctest.Wait()
		c.Settle(c.Next())
		if err := <-second; err != nil {
			t.Fatal(err)
		}
		if b.Used() != 20 || len(b.line) != 1 {
			t.Errorf("%d bytes, %d in the line; want 20 and the full log", b.Used(), len(b.line))
		}
		b.release(20) // the first one is granted, and gives up before it looks
		cancel(errors.New("drained"))
		if err := <-first; err != nil {
			if b.Used() != 0 {
				t.Errorf("%d bytes are left of a wait that was given up", b.Used())
			}
		} else if b.Used() != 10 {
			t.Errorf("%d bytes, want 10", b.Used())
		}
	})
}

// BenchmarkBudget reserves and releases, alone and among others, in a budget
// with room and in one that is full.
func BenchmarkBudget(b *testing.B) {
	for _, room := range []int64{1, 1000} {
		b.Run(fmt.Sprintf("room=%d", room), func(b *testing.B) {
			budget := newBudget(room * 10)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				l := fullLog()
				for pb.Next() {
					if err := budget.reserve(context.Background(), l, 10, nil); err != nil {
						b.Error(err)
						return
					}
					budget.release(10)
				}
			})
		})
	}
}
