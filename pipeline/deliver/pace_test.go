package deliver_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardline/shardline/pipeline/deliver"
)

// most is the most attempts that began within any window.
func most(attempts []attempt, window time.Duration) int {
	slices.SortFunc(attempts, func(a, b attempt) int { return a.at.Compare(b.at) })
	n, from := 0, 0
	for i := range attempts {
		for attempts[i].at.Sub(attempts[from].at) >= window {
			from++
		}
		n = max(n, i-from+1)
	}
	return n
}

func TestRateLimit(t *testing.T) {
	for _, c := range []struct{ limit, share, rate float64 }{
		{10, 1, 10}, {100, 1, 100}, {2000, 1, 2000}, {100, .25, 25}, {0.5, 1, 0.5}, {3, .1, .3},
	} {
		t.Run(fmt.Sprintf("%v of %v", c.share, c.limit), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &receiver{answer: slow(20 * time.Millisecond)}
				s := begin(t, deliver.Config{Transport: r, RateLimit: c.limit, Concurrency: 64})
				s.SetShare(c.share)
				records := min(int(60*c.rate)+1, 3000)
				s.putKeys(records)
				start := time.Now()
				for s.cursor.Through() < uint64(records) {
					time.Sleep(time.Second / 10)
					if time.Since(start) > time.Hour {
						t.Fatalf("settled through %d after an hour", s.cursor.Through())
					}
				}
				attempts := r.all()
				took := attempts[len(attempts)-1].at.Sub(attempts[0].at).Seconds()
				if rate := float64(records-1) / took; rate < .97*c.rate || rate > 1.1*c.rate {
					t.Errorf("%.2f attempts/s, want %v", rate, c.rate)
				}
				// In a second: the rate, and what the bucket holds.
				if n := most(attempts, time.Second); float64(n) > c.rate+max(c.rate/10, 1)+1 {
					t.Errorf("%d attempts began within a second, at %v/s", n, c.rate)
				}
			})
		})
	}
}

// Idle time does not add up to a burst.
func TestRateLimitIsSmooth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{}
		s := begin(t, deliver.Config{Transport: r, RateLimit: 20})
		time.Sleep(time.Hour)
		s.putKeys(100)
		time.Sleep(time.Second)
		if n := len(r.all()); n < 20 || n > 22 {
			t.Errorf("%d attempts in the first second, want 20 and what the bucket holds", n)
		}
		if n := most(r.all(), 100*time.Millisecond); n > 4 {
			t.Errorf("%d attempts within 100ms at 20/s", n)
		}
	})
}

func TestRateLimitChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{}
		c := deliver.Config{Name: "channel", Transport: r, RateLimit: 0.001, DeadLetters: &letterBox{}}
		s := begin(t, c)
		s.putKeys(100)
		time.Sleep(time.Minute)
		if n := len(r.all()); n != 1 {
			t.Fatalf("%d attempts, want 1", n)
		}
		c.RateLimit = 10
		next, err := s.Prepare(c)
		if err != nil {
			t.Fatal(err)
		}
		next.Apply()
		time.Sleep(5 * time.Second)
		if n := len(r.all()); n < 50 || n > 53 {
			t.Errorf("%d attempts five seconds after the change, want 51", n)
		}
		c.RateLimit = 0
		if next, err = s.Prepare(c); err != nil {
			t.Fatal(err)
		}
		next.Apply()
		synctest.Wait()
		if n := len(r.all()); n != 100 {
			t.Errorf("%d attempts without a limit, want 100", n)
		}
	})
}

// A key that waits for its own token occupies no slot.
func TestKeyRateLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{}
		s := begin(t, deliver.Config{Transport: r, KeyRateLimit: 2, Concurrency: 1})
		for i := range 20 {
			s.put("busy", "busy", "busy", fmt.Sprint("other", i))
		}
		synctest.Wait()
		for i := range 20 {
			if n := len(r.of(fmt.Sprint("other", i), deliver.ReasonDelivered)); n != 1 {
				t.Fatalf("other%d got %d records at once, want 1", i, n)
			}
		}
		time.Sleep(10*time.Second + time.Millisecond)
		var busy []attempt
		for _, a := range r.all() {
			if a.key == "busy" {
				busy = append(busy, a)
			}
		}
		if len(busy) != 21 || most(busy, 499*time.Millisecond) != 1 {
			t.Errorf("%d attempts in ten seconds, %d within half a second; want 21 and 1", len(busy), most(busy, 499*time.Millisecond))
		}
		time.Sleep(time.Hour)
		if s.cursor.Through() != 80 {
			t.Errorf("settled through %d, want 80", s.cursor.Through())
		}
	})
}

// Retries and probes take tokens, too.
func TestRetriesTakeTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(context.Context, attempt) deliver.Answer { return answerWith(deliver.ReasonServerError) }}
		s := begin(t, deliver.Config{Transport: r, RateLimit: 5, KeyRateLimit: 1, Retry: deliver.RetryPolicy{Initial: time.Millisecond, Max: time.Millisecond}})
		s.putKeys(20)
		time.Sleep(time.Minute)
		if n := most(r.all(), time.Second); n > 6 || len(r.all()) < 290 {
			t.Errorf("%d attempts, %d within a second; want about 300 and 5", len(r.all()), n)
		}
	})
}

// Buckets of keys that are full again are forgotten.
func TestKeyRatesAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := begin(t, deliver.Config{Transport: &receiver{}, KeyRateLimit: 10})
		for i := range 20_000 {
			s.put(fmt.Sprint("key", i))
			time.Sleep(time.Millisecond)
		}
		if n := s.KeyPaces(); n > 3000 {
			t.Errorf("%d buckets for the keys of the last tenth of a second", n)
		}
	})
}
