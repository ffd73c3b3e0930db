package deliver_test

import (
	"context"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardline/shardline/pipeline/deliver"
)

// TestRotatedCredentials: a 401 after a rotation is no hold, and uses up no
// retry, as long as another value may be there soon; then it is one, and every
// probe asks again.
func TestRotatedCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked, status atomic.Int32
		var soon atomic.Bool
		soon.Store(true)
		status.Store(http.StatusUnauthorized)
		r := &receiver{answer: func(context.Context, attempt) deliver.Answer {
			if now := int(status.Load()); now != 200 {
				return deliver.Answer{Reason: deliver.ReasonUnauthorized, Status: now}
			}
			return deliver.Answer{Reason: deliver.ReasonDelivered, Status: 200}
		}}
		letters := &letterBox{}
		s := begin(t, deliver.Config{Transport: r, DeadLetters: letters, Retry: deliver.RetryPolicy{Initial: time.Second, Max: time.Second, MaxAttempts: 1},
			Auth: deliver.Auth{Type: deliver.AuthBearer, Secret: deliver.Value{
				Secret:  func() (string, error) { return "token", nil },
				Refused: func() bool { asked.Add(1); return soon.Load() }}}})
		s.put("a")
		time.Sleep(10 * time.Second)
		n := int32(len(r.all()))
		if state := s.State(); n < 5 || state.Held || asked.Load() != n {
			t.Errorf("%d attempts while the value is read, held %v, asked %d times", n, state.Held, asked.Load())
		}
		status.Store(200)
		time.Sleep(time.Second)
		if got := r.of("a", deliver.ReasonDelivered); !slices.Equal(got, []int{1}) || len(letters.all()) != 0 {
			t.Errorf("delivered %v, dead letters %v", got, letters.all())
		}

		status.Store(http.StatusUnauthorized)
		soon.Store(false)
		s.put("a")
		synctest.Wait()
		if !s.State().Held {
			t.Error("a password that is wrong for good holds nothing")
		}
		before, made := asked.Load(), int32(len(r.all()))
		soon.Store(true) // a probe that is refused stays a probe
		time.Sleep(time.Minute)
		if probes := int32(len(r.all())) - made; probes < 1 || probes > 4 || asked.Load()-before != probes || !s.State().Held {
			t.Errorf("%d probes asked %d times for another value; held %v", probes, asked.Load()-before, s.State().Held)
		}
		status.Store(200)
		time.Sleep(5 * time.Minute)
		if got := r.of("a", deliver.ReasonDelivered); !slices.Equal(got, []int{1, 2}) {
			t.Errorf("delivered %v", got)
		}

		// 403 is no matter of a rotation.
		status.Store(http.StatusForbidden)
		before = asked.Load()
		s.put("a")
		synctest.Wait()
		if asked.Load() != before || !s.State().Held {
			t.Errorf("403 asked %d times; held %v", asked.Load()-before, s.State().Held)
		}
	})
}
