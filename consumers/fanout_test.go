package consumers_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/consumers"
	"github.com/shardline/shardline/pipeline"
)

// fanOutTest is a source of a fake stream that runs until the test is over,
// and one reader of it.
type fanOutTest struct {
	*fakeFanOut
	pipeline.Reader
	reg  *prometheus.Registry
	logs *observer.ObservedLogs
	gaps []pipeline.Gap // that until met
}

func newFanOutTest(t *testing.T, f *fakeFanOut, from checkpoint.Position) *fanOutTest {
	t.Helper()
	core, logs := observer.New(zap.InfoLevel)
	reg := prometheus.NewRegistry()
	source := newSource(t, f, func(c *consumers.Config) {
		c.Consumer, c.Metrics, c.Logger = "fanout", consumers.NewMetrics(reg), zap.New(core)
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- source.Run(ctx) }()
	r := source.Reader(checkpoint.Shard{ID: shard0}, from)
	t.Cleanup(func() {
		r.Close()
		if f.open != 0 {
			t.Errorf("%d subscriptions are open after Close", f.open)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run source: %v", err)
		}
	})
	return &fanOutTest{fakeFanOut: f, Reader: r, reg: reg, logs: logs}
}

// until reads until n records came, or the shard's end when n is negative, and
// returns their sequence numbers and the errors on the way.
func (f *fanOutTest) until(t *testing.T, n int) (got []string, problems []error) {
	t.Helper()
	for range 1000 {
		batch, err := step(t, f)
		if err != nil {
			problems = append(problems, err)
		}
		for _, record := range batch.Records {
			got = append(got, record.Position.Sequence)
		}
		if batch.Gap != nil {
			f.gaps = append(f.gaps, *batch.Gap)
		}
		if n >= 0 && len(got) >= n || batch.End {
			return got, problems
		}
	}
	t.Fatalf("%d records and no end to it; errors %v", len(got), problems)
	return nil, nil
}

func expectRecords(t *testing.T, got []string, first, n int) {
	t.Helper()
	if want := sequences(first, n); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// subscriptions are the calls so far.
func (f *fanOutTest) subscriptions() (calls []call) {
	for _, c := range f.calls {
		if c.operation == "SubscribeToShard" {
			calls = append(calls, c)
		}
	}
	return calls
}

// polled says whether anything was read by polling.
func (f *fanOutTest) polled() bool {
	return slices.ContainsFunc(f.calls, func(c call) bool { return c.operation == "GetRecords" })
}

func TestFanOutReadsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFanOutTest(t, newFakeFanOut(t, 25), checkpoint.Number("107", 0))
		f.limit = 10
		got, problems := f.until(t, 23)
		expectRecords(t, got, 2, 23)
		if len(problems) > 0 || f.polled() {
			t.Errorf("errors %v, polled %v", problems, f.polled())
		}
		if subs := f.subscriptions(); len(subs) != 1 || subs[0].kind != types.ShardIteratorTypeAtSequenceNumber || subs[0].sequence != "107" {
			t.Errorf("subscriptions %+v, want one AT 107", subs)
		}
		if on := metric(t, f.reg, "shardline_consumers_fan_out"); on != 1 {
			t.Errorf("fan_out is %v, want 1", on)
		}
		// Three events, and the subscription.
		if n := metric(t, f.reg, "shardline_consumers_reads_total"); n != 4 {
			t.Errorf("reads_total is %v, want 4", n)
		}
	})
}

func TestFanOutBeginsAsPollingDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeFanOut(t, 3)
		time.Sleep(time.Minute) // fake time: the next records arrive later
		at := time.Now()
		f.put(0, 2)
		r := newFanOutTest(t, f, checkpoint.At(at))
		got, _ := r.until(t, 2)
		expectRecords(t, got, 3, 2)
	})
	synctest.Test(t, func(t *testing.T) {
		f := newFakeFanOut(t, 3)
		time.Sleep(time.Minute)
		r := newFanOutTest(t, f, checkpoint.Latest)
		if batch, err := step(t, r); err != nil || len(batch.Records) > 0 {
			t.Fatalf("subscribed: %+v, %v", batch, err)
		}
		f.put(0, 2)
		// The subscription breaks before they come; they are not skipped.
		f.eventFaults = []eventFault{{err: io.EOF}}
		got, _ := r.until(t, 2)
		expectRecords(t, got, 3, 2)
	})
}

// The service ends a subscription after five minutes: it is made anew before.
func TestFanOutRenewsBeforeTheServiceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFanOutTest(t, newFakeFanOut(t, 1), horizon)
		var got []string
		for start, n := time.Now(), 1; time.Since(start) < time.Hour; n++ {
			records, problems := f.until(t, 1)
			if got = append(got, records...); len(problems) > 0 {
				t.Fatalf("errors %v", problems)
			}
			f.put(0, 1)
			time.Sleep(7 * time.Second)
		}
		expectRecords(t, got, 0, len(got))
		subs := f.subscriptions()
		if len(subs) < 13 || len(subs) > 15 { // an hour has 12 times 5 minutes, and 14.1 times 4:15
			t.Errorf("%d subscriptions in an hour", len(subs))
		}
		for i, s := range subs[1:] {
			if age := s.at.Sub(subs[i].at); age < 4*time.Minute+15*time.Second || age > 4*time.Minute+53*time.Second {
				t.Errorf("subscription %d is made anew after %v", i, age)
			}
			if s.kind != types.ShardIteratorTypeAfterSequenceNumber {
				t.Errorf("subscription %d begins %s", i+1, s.kind)
			}
		}
	})
}

// One who has not read for long finds the subscription ended, which is no
// error, and what it had not taken comes again.
func TestFanOutGoesOnAfterAWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFanOutTest(t, newFakeFanOut(t, 10), horizon)
		f.limit = 4
		got, _ := f.until(t, 4)
		if err := f.Wait(t.Context()); err != nil { // the next event is there, and nobody reads it
			t.Fatal(err)
		}
		f.current.index = 10 // and the one behind it is on its way
		time.Sleep(10 * time.Minute)
		rest, problems := f.until(t, 6)
		expectRecords(t, append(got, rest...), 0, 10)
		if len(problems) > 0 {
			t.Errorf("errors %v", problems)
		}
	})
}

func TestFanOutGoesOnAfterABreak(t *testing.T) {
	for name, problem := range map[string]error{
		"ended":          io.EOF,
		"internal error": &types.InternalFailureException{Message: aws.String("")},
		"taken over":     &types.ResourceInUseException{Message: aws.String("")},
		"expired token":  serviceError("ExpiredTokenException", "expired"),
		"kms throttled":  &types.KMSThrottlingException{Message: aws.String("")},
		"undecodable":    errors.New("decode event: checksum"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFanOutTest(t, newFakeFanOut(t, 10), horizon)
				f.limit = 4
				f.eventFaults = []eventFault{{}, {err: problem}, {}, {}, {err: problem}}
				got, problems := f.until(t, 10)
				more, again := step(t, f)
				expectRecords(t, got, 0, 10)
				if len(problems) != 1 || again == nil || len(more.Records) > 0 {
					t.Errorf("errors %v, then %v", problems, again)
				}
				f.put(0, 1)
				got, _ = f.until(t, 1)
				expectRecords(t, got, 10, 1)
				if subs := f.subscriptions(); len(subs) != 3 || f.polled() {
					t.Errorf("%d subscriptions, want 3; polled %v", len(subs), f.polled())
				}
			})
		})
	}
}

// Before its first record the position itself is no place to continue AFTER:
// the rest of an aggregated record would be skipped.
func TestFanOutNeverSkipsTheRestOfAnAggregate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeFanOut(t, 3)
		f.emptyFirst = true // it says to continue from 107
		f.eventFaults = []eventFault{{}, {err: io.EOF}}
		r := newFanOutTest(t, f, checkpoint.Number("107", -1))
		got, _ := r.until(t, 2)
		expectRecords(t, got, 1, 2)
	})
}

// An event that was not handed out is not behind the reader.
func TestFanOutContinuesBehindWhatWasHandedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFanOutTest(t, newFakeFanOut(t, 10), horizon)
		f.limit = 4
		got, _ := f.until(t, 4)
		if err := f.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.Close() // the second event is in the reader's hand
		time.Sleep(time.Minute)
		rest, _ := f.until(t, 6)
		expectRecords(t, append(got, rest...), 0, 10)
	})
}

func TestFanOutSilenceEndsASubscription(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFanOutTest(t, newFakeFanOut(t, 5), horizon)
		f.limit = 3
		f.eventFaults = []eventFault{{}, {silent: true}}
		start := time.Now()
		got, problems := f.until(t, 5)
		expectRecords(t, got, 0, 5)
		if len(problems) != 1 || !strings.Contains(problems[0].Error(), "no event for 1m0s") || !strings.Contains(problems[0].Error(), shard0) {
			t.Errorf("errors %v", problems)
		}
		if took := time.Since(start); took < time.Minute || took > 65*time.Second {
			t.Errorf("it took %v, want a minute and the least pause", took)
		}
	})
}

func TestFanOutWaitsWhileSomebodyElseSubscribes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeFanOut(t, 2)
		f.granted = time.Now() // the worker that had the lease
		r := newFanOutTest(t, f, horizon)
		got, problems := r.until(t, 2)
		expectRecords(t, got, 0, 2)
		if len(problems) != 1 {
			t.Errorf("errors %v", problems)
		}
		subs := r.subscriptions()
		if len(subs) != 2 {
			t.Fatalf("%d subscriptions, want 2", len(subs))
		}
		if wait := subs[1].at.Sub(subs[0].at); wait < 5*time.Second || wait > 6*time.Second {
			t.Errorf("tried again after %v, want 5 to 6 s", wait)
		}
		if n := r.logs.FilterLevelExact(zap.ErrorLevel).Len(); n > 0 {
			t.Errorf("%d errors logged for a lease on the move", n)
		}
	})
}

func TestFanOutThrottlesBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeFanOut(t, 2)
		for range 8 {
			f.faults["SubscribeToShard"] = append(f.faults["SubscribeToShard"], fault{err: &types.LimitExceededException{Message: aws.String("Rate exceeded")}})
		}
		r := newFanOutTest(t, f, horizon)
		got, problems := r.until(t, 2)
		expectRecords(t, got, 0, 2)
		if len(problems) != 8 || !errors.Is(problems[7], pipeline.ErrThrottled) {
			t.Errorf("errors %v", problems)
		}
		subs := r.subscriptions()
		if pause := subs[8].at.Sub(subs[7].at); pause < 5*time.Second || pause > 10*time.Second {
			t.Errorf("the last pause was %v, want 5 to 10 s", pause)
		}
	})
}

func TestFanOutHangingCallEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeFanOut(t, 2)
		f.faults["SubscribeToShard"] = []fault{{hang: true}}
		r := newFanOutTest(t, f, horizon)
		start := time.Now()
		got, problems := r.until(t, 2)
		expectRecords(t, got, 0, 2)
		if took := time.Since(start); len(problems) != 1 || took < 30*time.Second || took > 33*time.Second {
			t.Errorf("errors %v after %v", problems, took)
		}
	})
}

// Two applications under one name take each other's subscriptions for ever:
// that is said once, with the remedy.
func TestFanOutNamesAConsumerThatOthersUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFanOutTest(t, newFakeFanOut(t, 1), horizon)
		got, _ := f.until(t, 1)
		expectRecords(t, got, 0, 1)
		var last error
		for range 6 {
			f.eventFaults = []eventFault{{}, {err: &types.ResourceInUseException{Message: aws.String("Another active subscription exists")}}}
			for len(f.eventFaults) > 0 {
				if _, err := step(t, f); err != nil {
					last = err
				}
			}
			if _, err := step(t, f); err != nil {
				last = err
			}
		}
		if last == nil || !strings.Contains(last.Error(), `"fanout"`) || !strings.Contains(last.Error(), "consumer_name") {
			t.Errorf("error %v, want the consumer and what to do", last)
		}
		said := f.logs.FilterLevelExact(zap.ErrorLevel).All()
		if len(said) != 1 || said[0].ContextMap()["consumer"] != "fanout" {
			t.Errorf("logged %v, want it once", said)
		}
		// After a while without trouble it is forgotten.
		f.eventFaults = nil
		for start := time.Now(); time.Since(start) < 10*time.Minute; {
			_, _ = step(t, f)
		}
		f.eventFaults = []eventFault{{err: &types.ResourceInUseException{Message: aws.String("Another active subscription exists")}}}
		if _, err := step(t, f); err == nil || strings.Contains(err.Error(), "consumer_name") {
			t.Errorf("error %v, want no advice", err)
		}
	})
}

func TestFanOutShardEnd(t *testing.T) {
	for name, noChild := range map[string]bool{"in the event": false, "by the listing": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeFanOut(t, 3)
				f.noChild = noChild
				f.shards = append(f.shards, &fakeShard{id: "shardId-000000000001", parents: []string{shard0}}, &fakeShard{id: "shardId-000000000002", parents: []string{shard0}})
				r := newFanOutTest(t, f, horizon)
				got, _ := r.until(t, 3)
				f.put(0, 2)
				f.shards[0].closed = true
				rest, problems := r.until(t, -1)
				expectRecords(t, append(got, rest...), 0, 5)
				if len(problems) > 0 || f.open != 0 {
					t.Errorf("errors %v, %d subscriptions open at the end", problems, f.open)
				}
				again, err := step(t, r)
				if err != nil || !again.End || len(again.Records) != 0 || len(again.Children) != 2 || again.Children[1].ID != "shardId-000000000002" {
					t.Errorf("after the end: %+v, %v", again, err)
				}
			})
		})
	}
}

func TestFanOutEndIsNotBelievedWhileTheShardIsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeFanOut(t, 3)
		f.noChild, f.shards[0].closed = true, true
		r := newFanOutTest(t, f, horizon)
		got, _ := r.until(t, 3)
		f.shards[0].closed = false
		f.put(0, 2)
		rest, problems := r.until(t, 2)
		expectRecords(t, append(got, rest...), 0, 5)
		if len(problems) != 1 {
			t.Errorf("errors %v, want one", problems)
		}
	})
}

func TestFanOutEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFanOutTest(t, newFakeFanOut(t, 1), horizon)
		_, _ = f.until(t, 1)
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(checkpoint.ErrLeaseLost) })
		start := time.Now()
		if err := f.Wait(ctx); err == nil || time.Since(start) > time.Second {
			t.Errorf("wait: %v after %v", err, time.Since(start))
		}
		f.Close()
		if f.open != 0 {
			t.Errorf("%d subscriptions are open", f.open)
		}
		time.Sleep(time.Minute)
		if _, err := f.Read(ctx); err == nil {
			t.Error("a read after the tenure's end")
		}
		if subs := f.subscriptions(); len(subs) != 1 {
			t.Errorf("%d subscriptions, want 1", len(subs))
		}
	})
}

// One that stood still past its renewal learns first whether it still has the
// shard.
func TestFanOutDoesNotSubscribeRightAfterStandingStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFanOutTest(t, newFakeFanOut(t, 1), horizon)
		_, _ = f.until(t, 1)
		time.Sleep(4*time.Minute + 50*time.Second) // its renewal is due since 5 s at least
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(100*time.Millisecond, func() { cancel(checkpoint.ErrLeaseLost) })
		for ctx.Err() == nil {
			if f.Wait(ctx) != nil {
				break
			}
			_, _ = f.Read(ctx)
		}
		if subs := f.subscriptions(); len(subs) != 1 {
			t.Errorf("%d subscriptions, want 1", len(subs))
		}
	})
}

func TestFanOutTrimmed(t *testing.T) {
	t.Run("while it waited", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFanOutTest(t, newFakeFanOut(t, 8), horizon)
			f.limit = 2
			got, _ := f.until(t, 2)
			time.Sleep(48 * time.Hour)
			f.shards[0].trimmed = 5
			f.Close() // what was on its way is lost, too
			rest, _ := f.until(t, 3)
			if want := append(sequences(0, 2), sequences(5, 3)...); !slices.Equal(append(got, rest...), want) {
				t.Errorf("got %v, then %v", got, rest)
			}
			if len(f.gaps) != 1 || f.gaps[0].From.Sequence != "107" || f.gaps[0].To.Sequence != "135" {
				t.Errorf("gaps %+v, want one from 107 to 135", f.gaps)
			}
		})
	})
	t.Run("while there was nothing", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFakeFanOut(t, 2)
			f.idle = true
			r := newFanOutTest(t, f, horizon)
			got, _ := r.until(t, 2)
			for start := time.Now(); time.Since(start) < 26*time.Hour; {
				if batch, err := step(t, r); err != nil || len(batch.Records) > 0 {
					t.Fatalf("idle: %+v, %v", batch, err)
				}
			}
			f.shards[0].trimmed = 2 // by retention
			time.Sleep(time.Minute)
			f.eventFaults = []eventFault{{err: io.EOF}}
			_, _ = step(t, r)
			f.put(0, 2)
			rest, _ := r.until(t, 2)
			expectRecords(t, append(got, rest...), 0, 4)
			if len(r.gaps) != 0 {
				t.Errorf("gaps %+v, and nothing is lost", r.gaps)
			}
		})
	})
	t.Run("refused", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFakeFanOut(t, 8)
			f.shards[0].trimmed, f.refusePositions = 4, true
			r := newFanOutTest(t, f, checkpoint.Number("107", 0))
			got, problems := r.until(t, 4)
			expectRecords(t, got, 4, 4)
			if len(r.gaps) != 1 || r.gaps[0].To.Sequence != "128" || len(problems) != 1 {
				t.Errorf("gaps %+v, want one to 128; errors %v", r.gaps, problems)
			}
		})
	})
}

func TestFanOutShardAndStreamGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFanOutTest(t, newFakeFanOut(t, 3), horizon)
		_, _ = f.until(t, 3)
		f.eventFaults = []eventFault{{err: &types.ResourceNotFoundException{Message: aws.String("not found")}}}
		f.gone = true
		if _, err := step(t, f); !errors.Is(err, pipeline.ErrStreamGone) {
			t.Errorf("stream deleted: %v, want ErrStreamGone", err)
		}
		f.gone = false
		_, _ = step(t, f) // a subscription
		f.eventFaults = []eventFault{{err: &types.ResourceNotFoundException{Message: aws.String("not found")}}}
		f.shards = nil
		if _, err := step(t, f); !errors.Is(err, pipeline.ErrShardGone) {
			t.Errorf("shard trimmed: %v, want ErrShardGone", err)
		}
	})
}

func TestCancelEndsSubscribe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeFanOut(t, 2)
		f.faults["SubscribeToShard"] = []fault{{hang: true}}
		r := newFanOutTest(t, f, horizon)
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(5*time.Second, func() { cancel(checkpoint.ErrLeaseLost) })
		if err := r.Wait(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Read(ctx); !errors.Is(err, checkpoint.ErrLeaseLost) {
			t.Errorf("read: %v, want the cause of the context's end", err)
		}
	})
}

// What is left of an event that is too large for one batch comes before
// anything else, the shard's end too.
func TestFanOutOpensLargeAggregates(t *testing.T) {
	for _, closed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			f := newFakeFanOut(t, 0)
			n := 2*pipeline.ReadRecords + 5
			f.putAggregate(users("b", n)...)
			f.shards[0].closed = closed
			f.shards = append(f.shards, &fakeShard{id: "shardId-000000000001", parents: []string{shard0}})
			f.eventFaults = []eventFault{{}, {err: io.EOF}}
			r := newFanOutTest(t, f, horizon)
			var batches, next int
			for end, steps := false, 0; next < n || closed && !end; steps++ {
				if steps == 20 {
					t.Fatalf("%d of %d records after %d reads", next, n, steps)
				}
				batch, err := step(t, r)
				if err != nil {
					t.Fatal(err)
				}
				for _, record := range batch.Records {
					if record.Position != checkpoint.Number("100", int64(next)) {
						t.Fatalf("record %d is at %s", next, record.Position)
					}
					next++
				}
				if end = batch.End; end && next < n {
					t.Fatalf("the end came after %d of %d records", next, n)
				}
				if len(batch.Records) > 0 {
					batches++
				}
			}
			if batches != 3 || len(r.subscriptions()) != 1 {
				t.Errorf("%d batches, %d subscriptions", batches, len(r.subscriptions()))
			}
			if closed {
				return
			}
			_, _ = step(t, r) // the break
			f.put(0, 1)
			got, _ := r.until(t, 1)
			expectRecords(t, got, 1, 1)
			if sub := r.subscriptions()[1]; sub.kind != types.ShardIteratorTypeAfterSequenceNumber || sub.sequence != "100" {
				t.Errorf("continued %s %s, want AFTER 100", sub.kind, sub.sequence)
			}
		})
	}
}
