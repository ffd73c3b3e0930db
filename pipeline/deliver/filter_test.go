package deliver_test

import (
	"context"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/pipeline"
	"github.com/shardline/shardline/pipeline/deliver"
	"github.com/shardline/shardline/pipeline/filter"
)

func filtering(t *testing.T, text string) *filter.Filter {
	t.Helper()
	f, err := filter.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// putTypes appends records of a key, one for each type.
func (s *stream) putTypes(key string, types ...string) {
	for _, kind := range types {
		s.n++
		s.log.Append(pipeline.Record{Position: checkpoint.Number(strconv.Itoa(s.n), 0), PartitionKey: key, Arrival: time.Now(),
			Description: pipeline.Description{Key: key, Type: kind, Hotels: []string{"hotel-" + key}}}, false)
	}
	s.Wake(s.cursor)
}

// TestFilter: what a filter leaves out settles without an attempt, before, behind
// and between what passes, in order of the key, and is counted.
func TestFilter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(context.Context, attempt) deliver.Answer {
			time.Sleep(time.Second)
			return deliver.Answer{Reason: deliver.ReasonDelivered}
		}}
		reg := prometheus.NewRegistry()
		s := begin(t, deliver.Config{Transport: r, Metrics: deliver.NewMetrics(reg),
			Filter: filtering(t, `type == rates && hotel != hotel-c && source == hotels`)})
		s.putTypes("a", "other", "rates", "other", "other", "rates", "rates", "other") // 1 to 7
		s.putTypes("b", "other", "other")                                              // 8, 9
		s.putTypes("c", "rates")                                                       // 10
		synctest.Wait()
		if n := s.Lanes(); n != 1 {
			t.Errorf("%d lanes, want that of a alone", n)
		}
		if got := s.cursor.Through(); got != 1 {
			t.Errorf("settled through %d while record 2 is in flight, want 1", got)
		}
		time.Sleep(time.Minute)
		if got := r.of("a", deliver.ReasonDelivered); !slices.Equal(got, []int{2, 5, 6}) || len(r.all()) != 3 {
			t.Errorf("attempted %v, and %d in all, want 2, 5 and 6", got, len(r.all()))
		}
		if got := s.cursor.Through(); got != 10 || s.Lanes() != 0 {
			t.Errorf("settled through %d, %d lanes, want 10 and none", got, s.Lanes())
		}
		if got := value(t, reg, "shardline_deliver_filtered_total", map[string]string{"destination": "channel"}); got != 7 {
			t.Errorf("counted %v, want 7", got)
		}
		s.putTypes("a", "rates") // its lane begins anew
		time.Sleep(time.Minute)
		if got := r.of("a", deliver.ReasonDelivered); !slices.Equal(got, []int{2, 5, 6, 11}) {
			t.Errorf("attempted %v", got)
		}
	})
}

// TestFilterChanges: a filter that changes counts for what has not had its turn
// yet; what waits for a retry passed the one before.
func TestFilterChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		down.Store(true)
		r := &receiver{answer: func(context.Context, attempt) deliver.Answer {
			if down.Load() {
				return answerWith(deliver.ReasonServerError)
			}
			return deliver.Answer{Reason: deliver.ReasonDelivered}
		}}
		s := begin(t, deliver.Config{Transport: r, Filter: filtering(t, `type == rates`)})
		s.putTypes("a", "rates", "other", "rates", "stock")
		time.Sleep(time.Second)
		next, err := s.Prepare(deliver.Config{Name: "channel", Transport: r, DeadLetters: &letterBox{}, Filter: filtering(t, `type in [other, stock]`)})
		if err != nil {
			t.Fatal(err)
		}
		next.Apply()
		down.Store(false)
		time.Sleep(time.Hour)
		if got := r.of("a", deliver.ReasonDelivered); !slices.Equal(got, []int{1, 2, 4}) || s.cursor.Through() != 4 {
			t.Errorf("delivered %v, settled through %d, want 1, 2 and 4, and 4", got, s.cursor.Through())
		}
	})
}
