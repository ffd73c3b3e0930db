package deliver_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/pipeline"
	"github.com/shardline/shardline/pipeline/deliver"
)

// TestLanesAreMadeWhenNeeded: a destination has lanes for what may be in flight
// and for what is to come next, not for every key in the window.
func TestLanesAreMadeWhenNeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(_ context.Context, a attempt) deliver.Answer {
			time.Sleep(time.Second)
			return deliver.Answer{Reason: deliver.ReasonDelivered}
		}}
		s := begin(t, deliver.Config{Transport: r, Concurrency: 4})
		for range 10 {
			for i := range 100 {
				s.n++
				s.log.Append(pipeline.Record{Position: checkpoint.Number(strconv.Itoa(s.n), 0), Arrival: time.Now(),
					Description: pipeline.Description{Key: fmt.Sprint("H", i)}}, false)
			}
			s.Wake(s.cursor)
		}
		for range 200 {
			synctest.Wait()
			// Besides, each wake takes one entry.
			if n := s.Lanes(); n < 4 || n > 4+4+10 {
				t.Fatalf("%d lanes with 4 in flight of 1000 records of 100 keys", n)
			}
			time.Sleep(time.Second)
		}
		time.Sleep(time.Hour)
		if n := len(r.all()); n != 1000 || s.cursor.Through() != 1000 || s.Lanes() != 0 {
			t.Errorf("%d attempts, settled through %d, %d lanes", n, s.cursor.Through(), s.Lanes())
		}
		if r.peak() != 4 {
			t.Errorf("%d in flight, want 4", r.peak())
		}
	})
}

// TestShardsTakeTurns: a shard with much in its window keeps no other waiting.
func TestShardsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(context.Context, attempt) deliver.Answer {
			time.Sleep(time.Second)
			return deliver.Answer{Reason: deliver.ReasonDelivered}
		}}
		s := begin(t, deliver.Config{Transport: r, Concurrency: 2})
		var keys []string
		for i := range 500 {
			keys = append(keys, fmt.Sprint("big", i))
		}
		s.put(keys...)
		first, cancelFirst := s.cursor, s.cancel
		s.attach()
		s.put("small1", "small2", "small3")
		time.Sleep(10 * time.Second)
		if got := s.cursor.Through(); got != 3 {
			t.Errorf("settled %d of the small shard after 20 attempts, want 3", got)
		}
		time.Sleep(time.Hour)
		if first.Through() != 500 {
			t.Errorf("settled %d of the big shard, want 500", first.Through())
		}
		cancelFirst()
		s.Detach(first)
	})
}

// TestExpireWhatWasNotTaken: records that the stream is about to trim are given
// up although others' lanes are all that is ready.
func TestExpireWhatWasNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		box := &letterBox{}
		s := begin(t, deliver.Config{Transport: &receiver{}, DeadLetters: box, Concurrency: 3})
		s.Hold(true, nil)
		put := func(arrival time.Time) {
			for i := range 50 {
				s.n++
				s.log.Append(pipeline.Record{Position: checkpoint.Number(strconv.Itoa(s.n), 0), Arrival: arrival,
					Description: pipeline.Description{Key: fmt.Sprint("H", i)}}, false)
			}
			s.Wake(s.cursor)
		}
		put(time.Now().Add(2 * time.Hour))
		first, cancelFirst := s.cursor, s.cancel
		s.attach()
		put(time.Now())
		s.Expire(s.cursor, time.Now().Add(time.Hour))
		time.Sleep(time.Minute)
		if n := len(box.all()); n != 50 || s.cursor.Through() != 50 || first.Through() != 0 {
			t.Errorf("%d dead letters, settled through %d and %d, want 50, 50 and 0", n, s.cursor.Through(), first.Through())
		}
		cancelFirst()
		s.Detach(first)
	})
}
