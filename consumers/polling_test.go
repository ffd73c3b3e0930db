package consumers_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/consumers"
	"github.com/shardline/shardline/pipeline"
)

func TestReadsFromTheHorizonInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStream(25)
		s.limit = 10
		got := read(t, newSource(t, s, nil).Reader(checkpoint.Shard{ID: shard0}, horizon), 4)
		if want := sequences(0, 25); !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

func TestReadKeepsPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStream(50)
		s.limit = 10
		s.faults["GetRecords"] = []fault{{}, {err: &types.ExpiredIteratorException{}}, {}, {err: serviceError("InternalFailure", "")}}
		r := newSource(t, s, nil).Reader(checkpoint.Shard{ID: shard0}, horizon)
		for range 20 {
			_, _ = step(t, r)
		}
		var last time.Time
		for _, c := range s.calls {
			if c.operation != "GetRecords" {
				continue
			}
			if gap := c.at.Sub(last); gap < 200*time.Millisecond {
				t.Fatalf("two reads within %v: more than 5 a second", gap)
			}
			last = c.at
		}
	})
}

func TestPauseDependsOnTheTip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStream(3)
		s.emptyOf = 2 // nothing found, and not at the tip
		r := newSource(t, s, nil).Reader(checkpoint.Shard{ID: shard0}, horizon)
		_ = read(t, r, 5)
		var at []time.Duration
		start := s.calls[0].at
		for _, c := range s.calls {
			if c.operation == "GetRecords" {
				at = append(at, c.at.Sub(start))
			}
		}
		// Two empty reads behind the tip are 200 ms apart, the third finds the
		// records and the tip, then the poll interval of 1 s counts.
		want := []time.Duration{0, 200 * time.Millisecond, 400 * time.Millisecond, 1400 * time.Millisecond, 2400 * time.Millisecond}
		if !slices.Equal(at, want) {
			t.Fatalf("reads at %v, want %v", at, want)
		}
	})
}

func TestPositionIsTakenAtAndDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStream(6)
		r := newSource(t, s, nil).Reader(checkpoint.Shard{ID: shard0}, checkpoint.Number("107", 0))
		got := read(t, r, 1)
		if want := sequences(2, 4); !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
		if c := s.calls[0]; c.kind != types.ShardIteratorTypeAtSequenceNumber || c.sequence != "107" {
			t.Fatalf("iterator %s of %q, want AT_SEQUENCE_NUMBER of 107", c.kind, c.sequence)
		}
	})
}

func TestPositionInsideAnAggregateIsReadAgain(t *testing.T) {
	// Sub-sequence number -1 stands for "nothing of record 107 is settled".
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStream(3)
		got := read(t, newSource(t, s, nil).Reader(checkpoint.Shard{ID: shard0}, checkpoint.Number("107", -1)), 1)
		if want := sequences(1, 2); !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

func TestTimePosition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStream(3)
		time.Sleep(time.Minute) // fake time: the next records arrive later
		from := time.Now()
		s.put(0, 2)
		got := read(t, newSource(t, s, nil).Reader(checkpoint.Shard{ID: shard0}, checkpoint.At(from)), 1)
		if want := sequences(3, 2); !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

func TestLatestIsPinnedByTheFirstIterator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStream(3)
		time.Sleep(time.Minute)
		r := newSource(t, s, nil).Reader(checkpoint.Shard{ID: shard0}, checkpoint.Latest)
		if got := read(t, r, 1); len(got) != 0 {
			t.Fatalf("got %v before anything arrived", got)
		}
		s.put(0, 2)
		time.Sleep(10 * time.Minute) // the iterator expires before it finds them
		got := read(t, r, 1)
		if want := sequences(3, 2); !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

func TestExpiredIteratorContinuesAtTheSamePlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStream(10)
		s.limit = 4
		r := newSource(t, s, nil).Reader(checkpoint.Shard{ID: shard0}, horizon)
		got := read(t, r, 1)
		time.Sleep(10 * time.Minute) // the reader had to wait
		got = append(got, read(t, r, 1)...)
		// The service may drop iterators early, too.
		s.dropped = time.Now()
		got = append(got, read(t, r, 2)...)
		reads := 0
		for _, c := range s.calls {
			if c.operation == "GetRecords" {
				reads++
			}
		}
		// Four answers and one refusal: an old iterator is not even tried.
		if reads != 5 {
			t.Errorf("%d reads, want 5", reads)
		}
		if want := sequences(0, 10); !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

func TestThrottlesBackOff(t *testing.T) {
	for _, code := range []string{"ProvisionedThroughputExceededException", "LimitExceededException", "KMSThrottlingException", "ThrottlingException"} {
		synctest.Test(t, func(t *testing.T) {
			s := newFakeStream(2)
			for range 12 {
				s.faults["GetRecords"] = append(s.faults["GetRecords"], fault{err: serviceError(code, "Rate exceeded")})
			}
			reg := prometheus.NewRegistry()
			r := newSource(t, s, func(c *consumers.Config) { c.Metrics = consumers.NewMetrics(reg) }).Reader(checkpoint.Shard{ID: shard0}, horizon)
			for range 12 {
				if _, err := step(t, r); !errors.Is(err, pipeline.ErrThrottled) {
					t.Fatalf("error %v, want ErrThrottled", err)
				}
			}
			if got := read(t, r, 1); len(got) != 2 {
				t.Fatalf("got %v after the throttles, want two records", got)
			}
			var at []time.Time
			for _, c := range s.calls {
				if c.operation == "GetRecords" {
					at = append(at, c.at)
				}
			}
			// From the sixth failure on the pause is 5 to 10 s.
			for i := 7; i < len(at); i++ {
				if pause := at[i].Sub(at[i-1]); pause < 5*time.Second || pause > 10*time.Second {
					t.Errorf("pause %d is %v, want 5 to 10 s", i, pause)
				}
			}
			if got := metric(t, reg, "shardline_consumers_read_throttles_total"); got != 12 {
				t.Errorf("read_throttles_total is %v, want 12", got)
			}
		})
	}
}

func TestTimeoutEndsAfterThirtySecondsAndIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStream(2)
		s.faults["GetRecords"] = []fault{{hang: true}}
		r := newSource(t, s, nil).Reader(checkpoint.Shard{ID: shard0}, horizon)
		start := time.Now()
		_, err := step(t, r)
		if err == nil || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("error %v, want a time-out", err)
		}
		if d := time.Since(start); d != 30*time.Second {
			t.Errorf("ended after %v, want 30 s", d)
		}
		if got := read(t, r, 1); len(got) != 2 {
			t.Fatalf("got %v after the time-out, want two records", got)
		}
	})
}

func TestCancelEndsReadAndWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStream(2)
		s.faults["GetRecords"] = []fault{{hang: true}}
		r := newSource(t, s, nil).Reader(checkpoint.Shard{ID: shard0}, horizon)
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(checkpoint.ErrLeaseLost) })
		if _, err := r.Read(ctx); !errors.Is(err, checkpoint.ErrLeaseLost) {
			t.Errorf("read: %v, want the cause of the context's end", err)
		}
		if err := r.Wait(ctx); err == nil {
			t.Error("wait: no error with a context that ended")
		}
	})
}

func TestShardEndNamesItsChildren(t *testing.T) {
	for name, noChild := range map[string]bool{"in the answer": false, "by the listing": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newFakeStream(3)
				s.noChild = noChild
				s.shards[0].closed = true
				s.shards = append(s.shards, &fakeShard{id: "shardId-000000000001", closed: true},
					&fakeShard{id: "shardId-000000000002", parents: []string{shard0, "shardId-000000000001"}})
				r := newSource(t, s, nil).Reader(checkpoint.Shard{ID: shard0}, horizon)
				var got []string
				var batch pipeline.Batch
				for !batch.End {
					var err error
					if batch, err = step(t, r); err != nil {
						t.Fatal(err)
					}
					for _, record := range batch.Records {
						got = append(got, record.Position.Sequence)
					}
				}
				if want := sequences(0, 3); !slices.Equal(got, want) {
					t.Errorf("got %v, want %v", got, want)
				}
				if len(batch.Children) != 1 || batch.Children[0].ID != "shardId-000000000002" || len(batch.Children[0].Parents) != 2 || batch.Children[0].HashTo != "9" {
					t.Errorf("children %+v, want shard 2 with both parents and its range", batch.Children)
				}
				calls := len(s.calls)
				if again, err := step(t, r); err != nil || !again.End || len(again.Records) != 0 || len(again.Children) != 1 {
					t.Errorf("after the end: %+v, %v, want the end again without records", again, err)
				}
				if len(s.calls) != calls {
					t.Error("a read after the end called the service")
				}
			})
		})
	}
}

func TestEndIsNotBelievedWhileTheShardIsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStream(3)
		s.noChild = true
		s.shards[0].closed = true
		r := newSource(t, s, nil).Reader(checkpoint.Shard{ID: shard0}, horizon)
		got := read(t, r, 1)
		s.shards[0].closed = false // the null iterator was a mistake
		if batch, err := step(t, r); err == nil || batch.End {
			t.Fatalf("%+v, %v, want an error", batch, err)
		}
		s.put(0, 2)
		got = append(got, read(t, r, 1)...)
		if want := sequences(0, 5); !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

func TestShardAndStreamGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStream(3)
		source := newSource(t, s, nil)
		if _, err := step(t, source.Reader(checkpoint.Shard{ID: "shardId-000000000009"}, horizon)); !errors.Is(err, pipeline.ErrShardGone) {
			t.Errorf("unknown shard: %v, want ErrShardGone", err)
		}
		r := source.Reader(checkpoint.Shard{ID: shard0}, horizon)
		_ = read(t, r, 1)
		s.gone = true
		if _, err := step(t, r); !errors.Is(err, pipeline.ErrStreamGone) || errors.Is(err, pipeline.ErrShardGone) {
			t.Errorf("deleted stream: %v, want ErrStreamGone", err)
		}
		s.gone = false
		s.noChild, s.shards[0].closed = true, true
		r = source.Reader(checkpoint.Shard{ID: shard0}, horizon)
		_ = read(t, r, 1)
		s.shards = nil // trimmed between the last read and the listing
		if _, err := step(t, r); !errors.Is(err, pipeline.ErrShardGone) {
			t.Errorf("shard trimmed at its end: %v, want ErrShardGone", err)
		}
	})
}

// readGap reads one batch of records and says whether a gap lies before it.
func readGap(t *testing.T, r pipeline.Reader) ([]string, *pipeline.Gap) {
	t.Helper()
	for range 20 {
		batch, err := step(t, r)
		if err != nil {
			t.Fatal(err)
		}
		if len(batch.Records) > 0 || batch.End {
			var got []string
			for _, r := range batch.Records {
				got = append(got, r.Position.Sequence)
			}
			return got, batch.Gap
		}
	}
	t.Fatal("nothing came")
	return nil, nil
}

func TestTrimmedPositionIsReported(t *testing.T) {
	tests := map[string]struct {
		trimmed int
		refused bool // the service refuses the position instead of starting behind it
		from    string
		first   int
		gap     string
	}{
		"record still there":                 {trimmed: 1, from: "107", first: 2, gap: ""},
		"trimmed":                            {trimmed: 4, from: "107", first: 4, gap: "107:0 to 128:0"},
		"trimmed and refused":                {trimmed: 4, refused: true, from: "107", first: 4, gap: "107:0 to 128:0"},
		"refused although it is still there": {trimmed: 0, refused: true, from: "107", first: 2, gap: ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newFakeStream(8)
				s.shards[0].trimmed = test.trimmed
				s.refusePositions = test.refused
				r := newSource(t, s, nil).Reader(checkpoint.Shard{ID: shard0}, checkpoint.Number(test.from, 0))
				if test.refused {
					if _, err := step(t, r); err == nil {
						t.Fatal("no error from the refused position")
					}
				}
				got, gap := readGap(t, r)
				if want := sequences(test.first, 8-test.first); !slices.Equal(got, want) {
					t.Errorf("got %v, want %v", got, want)
				}
				text := ""
				if gap != nil {
					text = fmt.Sprintf("%s to %s", gap.From, gap.To)
					if want := s.shards[0].records[test.first].ApproximateArrivalTimestamp; !gap.Until.Equal(*want) || !gap.Since.IsZero() {
						t.Errorf("gap from %s to %s, want until %s", gap.Since, gap.Until, want)
					}
				}
				if text != test.gap {
					t.Errorf("gap %q, want %q", text, test.gap)
				}
			})
		})
	}
}

// TestTrimmedToTheEndIsReported: the shard is closed, and nothing of it is left.
func TestTrimmedToTheEndIsReported(t *testing.T) {
	for _, listed := range []bool{false, true} { // the children stand in the listing only
		synctest.Test(t, func(t *testing.T) {
			s := newFakeStream(8)
			s.shards[0].trimmed, s.shards[0].closed, s.noChild = 8, true, listed
			s.shards = append(s.shards, &fakeShard{id: "shardId-000000000001", parents: []string{shard0}})
			r := newSource(t, s, nil).Reader(checkpoint.Shard{ID: shard0}, checkpoint.Number("107", 0))
			got, gap := readGap(t, r)
			if len(got) != 0 || gap == nil || *gap != (pipeline.Gap{From: checkpoint.Number("107", 0)}) {
				t.Errorf("got %v, gap %+v", got, gap)
			}
			if batch, _ := step(t, r); batch.Gap != nil {
				t.Errorf("again a gap: %+v", batch.Gap)
			}
		})
	}
}

func TestTrimmedWhileWaitingIsReported(t *testing.T) {
	// The caller did not read for days; what it had not read went.
	for _, caughtUp := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := newFakeStream(8)
			s.limit = 2
			if caughtUp {
				s.shards[0].records, s.limit = s.shards[0].records[:2], 0
			}
			r := newSource(t, s, nil).Reader(checkpoint.Shard{ID: shard0}, horizon)
			got := read(t, r, 1)
			since := *s.shards[0].records[1].ApproximateArrivalTimestamp
			if caughtUp { // everything that had arrived by then was read
				time.Sleep(time.Hour)
				_ = read(t, r, 2) // the last one again, then none
				since = time.Now().Add(-time.Second)
				s.shards[0].records = newFakeStream(8).shards[0].records
			}
			time.Sleep(48 * time.Hour)
			s.shards[0].trimmed, s.limit = 5, 0
			more, gap := readGap(t, r)
			if want := append(sequences(0, 2), sequences(5, 3)...); !slices.Equal(append(got, more...), want) {
				t.Errorf("got %v, want %v", append(got, more...), want)
			}
			if gap == nil || gap.From.Sequence != sequences(1, 1)[0] || gap.To.Sequence != sequences(5, 1)[0] {
				t.Fatalf("gap %+v", gap)
			}
			if !gap.Since.Equal(since) {
				t.Errorf("since %s, want %s", gap.Since, since)
			}
		})
	}
}

func TestDeniedSaysWhatTheServiceSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStream(1)
		s.faults["GetShardIterator"] = []fault{{err: serviceError("AccessDeniedException", "User: arn:aws:sts::1:assumed-role/x is not authorized to perform: kinesis:GetShardIterator")}}
		_, err := step(t, newSource(t, s, nil).Reader(checkpoint.Shard{ID: shard0}, horizon))
		if !errors.Is(err, pipeline.ErrDenied) || !strings.Contains(err.Error(), "kinesis:GetShardIterator") || !strings.Contains(err.Error(), shard0) {
			t.Fatalf("error %v, want ErrDenied with the shard and the service's words", err)
		}
	})
}

func TestFutureTimeIsWaitedFor(t *testing.T) {
	// The service refuses times after its own now; that is no reason to read
	// from the oldest record.
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStream(2)
		s.faults["GetShardIterator"] = []fault{{err: &types.InvalidArgumentException{}}}
		r := newSource(t, s, nil).Reader(checkpoint.Shard{ID: shard0}, checkpoint.At(time.Now()))
		if _, err := step(t, r); err == nil {
			t.Fatal("no error")
		}
		_ = read(t, r, 1)
		for _, c := range s.calls {
			if c.operation == "GetShardIterator" && c.kind != types.ShardIteratorTypeAtTimestamp {
				t.Fatalf("iterator %s, want AT_TIMESTAMP only", c.kind)
			}
		}
	})
}

// TestIdleShard: a shard where nothing comes costs one read a poll interval,
// and nothing else.
func TestIdleShard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStream(0)
		r := newSource(t, s, nil).Reader(checkpoint.Shard{ID: shard0}, horizon) // polls every second
		began := time.Now()
		for time.Since(began) < 3*time.Minute {
			if _, err := step(t, r); err != nil {
				t.Fatal(err)
			}
		}
		counts := map[string]int{}
		for _, c := range s.calls {
			counts[c.operation]++
		}
		if counts["GetRecords"] != 181 || counts["GetShardIterator"] != 1 || len(counts) != 2 {
			t.Errorf("calls in three minutes: %v, want 181 reads and one iterator", counts)
		}
	})
}
