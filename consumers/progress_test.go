package consumers_test

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/consumers"
	"github.com/shardline/shardline/pipeline"
)

// putAggregate appends an aggregated record.
func (s *fakeStream) putAggregate(records ...consumers.UserRecord) {
	s.put(0, 1)
	last := &s.shards[0].records[len(s.shards[0].records)-1]
	last.Data, last.PartitionKey = consumers.Aggregate(records), aws.String("a")
}

// users are n user records of one key with the data KEY/0, KEY/1 …
func users(key string, n int) []consumers.UserRecord {
	var u []consumers.UserRecord
	for i := range n {
		u = append(u, consumers.UserRecord{PartitionKey: key, Data: fmt.Appendf(nil, "%s/%d", key, i)})
	}
	return u
}

// seen is POSITION KEY DATA of each record; blank ones have no data.
func seen(records []pipeline.Record) []string {
	var s []string
	for _, r := range records {
		text := fmt.Sprintf("%s %s %s", r.Position, r.PartitionKey, r.Data)
		if r.Blank {
			text = fmt.Sprintf("%s blank", r.Position)
		}
		s = append(s, text)
	}
	return s
}

// readAll reads n times and returns the records that came.
func readAll(t *testing.T, r pipeline.Reader, n int) []pipeline.Record {
	t.Helper()
	var got []pipeline.Record
	for range n {
		batch, err := step(t, r)
		if err != nil {
			t.Fatalf("read: %v", err)
		}
		got = append(got, batch.Records...)
	}
	return got
}

// mixed is a stream of plain and aggregated records, and what is to be seen of
// it.
func mixed() (*fakeStream, []string) {
	s := newFakeStream(1)
	s.putAggregate(users("b", 3)...)
	s.putAggregate(append(users("c", 1), users("d", 2)...)...)
	s.put(0, 1)
	return s, []string{
		"100:0 hotel-0 record 0",
		"107:0 b b/0", "107:1 b b/1", "107:2 b b/2",
		"114:0 c c/0", "114:1 d d/0", "114:2 d d/1",
		"121:0 hotel-0 record 3",
	}
}

func TestUserRecordsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		s, want := mixed()
		reg := prometheus.NewRegistry()
		source := newSource(t, s, func(c *consumers.Config) { c.Metrics = consumers.NewMetrics(reg) })
		got := readAll(t, source.Reader(checkpoint.Shard{ID: shard0}, horizon), 2)
		if !slices.Equal(seen(got), want) {
			t.Errorf("got  %q\nwant %q", seen(got), want)
		}
		for _, r := range got {
			if !r.Arrival.Equal(start) {
				t.Errorf("record %s arrived %v, want the outer record's %v", r.Position, r.Arrival, start)
			}
		}
		if records, users := metric(t, reg, "shardline_consumers_records_total"), metric(t, reg, "shardline_consumers_user_records_total"); records != 4 || users != 8 {
			t.Errorf("%v records with %v user records counted, want 4 with 8", records, users)
		}
	})
}

// TestRestartInsideAnAggregate begins at every position: what comes is what
// lies behind it, once.
func TestRestartInsideAnAggregate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, want := mixed()
		all := readAll(t, newSource(t, s, nil).Reader(checkpoint.Shard{ID: shard0}, horizon), 1)
		from := map[checkpoint.Position]int{ // what is behind it begins at
			checkpoint.Number("107", math.MaxInt64): 4, // all of it, as others write it
			checkpoint.Number("114", -1):            4, // none of it
			checkpoint.Number("114", 99):            7, // more than it has
		}
		for i, r := range all {
			from[r.Position] = i + 1
		}
		for position, first := range from {
			for _, refused := range []bool{false, true} { // then it is read from the oldest record
				s.refusePositions = refused
				r := newSource(t, s, nil).Reader(checkpoint.Shard{ID: shard0}, position)
				if refused {
					if _, err := step(t, r); err == nil {
						t.Fatal("no error from the refused position")
					}
				}
				if got := seen(readAll(t, r, 2)); !slices.Equal(got, want[first:]) {
					t.Errorf("from %s: got %q, want %q", position, got, want[first:])
				}
			}
		}
	})
}

// TestAggregateIsReadOnWhenItsIteratorExpires: nothing comes twice, and nothing
// is counted twice.
func TestAggregateIsReadOnWhenItsIteratorExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStream(0)
		s.putAggregate(users("b", 3)...)
		reg := prometheus.NewRegistry()
		r := newSource(t, s, func(c *consumers.Config) { c.Metrics = consumers.NewMetrics(reg) }).Reader(checkpoint.Shard{ID: shard0}, horizon)
		got := readAll(t, r, 1)
		time.Sleep(time.Hour)
		s.putAggregate(users("c", 1)...)
		got = append(got, readAll(t, r, 1)...)
		want := []string{"100:0 b b/0", "100:1 b b/1", "100:2 b b/2", "107:0 c c/0"}
		if !slices.Equal(seen(got), want) {
			t.Errorf("got %q, want %q", seen(got), want)
		}
		if got := metric(t, reg, "shardline_consumers_aggregated_records_total", "expanded"); got != 2 {
			t.Errorf("%v aggregates counted, want 2", got)
		}
	})
}

// TestWhatLooksAggregated: outcomes of records that begin with the magic. What
// cannot be opened is handed on as it is; what is not to be delivered, or holds
// nothing, leaves its last position alone.
func TestWhatLooksAggregated(t *testing.T) {
	const half = "170141183460469231731687303715884105727" // 2^127-1: "a" is below it, "b" above
	low := checkpoint.Shard{ID: shard0, HashFrom: "0", HashTo: half}
	inside := consumers.Aggregate([]consumers.UserRecord{{PartitionKey: "a", Data: []byte("1")}})
	outside := consumers.Aggregate([]consumers.UserRecord{{PartitionKey: "a", Data: []byte("1")}, {PartitionKey: "b", Data: []byte("2")}})
	damaged := slices.Concat(inside[:len(inside)-1], []byte{inside[len(inside)-1] + 1})
	index := sealed("0a0161 1a06 0801 1a026869")
	tests := []struct {
		name    string
		shard   checkpoint.Shard
		data    []byte
		rule    consumers.OutOfRange
		outcome string // empty: not even counted
		want    []string
	}{
		{"expanded", low, inside, consumers.DropOutOfRange, "expanded", []string{"100:0 a 1"}},
		{"out of range", low, outside, consumers.DropOutOfRange, "out_of_range", []string{"100:1 blank"}},
		{"out of range, delivered", low, outside, consumers.DeliverOutOfRange, "expanded", []string{"100:0 a 1", "100:1 b 2"}},
		{"no range is known", checkpoint.Shard{ID: shard0}, outside, consumers.DropOutOfRange, "expanded", []string{"100:0 a 1", "100:1 b 2"}},
		{"damaged", low, damaged, consumers.DropOutOfRange, "damaged", []string{"100:0 outer " + string(damaged)}},
		{"an index too large", low, index, consumers.DropOutOfRange, "damaged", []string{"100:0 outer " + string(index)}},
		{"empty", low, consumers.Aggregate(nil), consumers.DropOutOfRange, "", []string{"100:0 outer " + string(consumers.Aggregate(nil))}},
		{"keys alone", low, sealed("0a0161"), consumers.DropOutOfRange, "empty", []string{"100:0 blank"}},
		{"the magic alone", low, inside[:4], consumers.DropOutOfRange, "", []string{"100:0 outer " + string(inside[:4])}},
		{"no data", low, nil, consumers.DropOutOfRange, "", []string{"100:0 outer "}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newFakeStream(1)
				s.shards[0].records[0].Data, s.shards[0].records[0].PartitionKey = test.data, aws.String("outer")
				s.put(0, 1)
				reg := prometheus.NewRegistry()
				source := newSource(t, s, func(c *consumers.Config) {
					c.Metrics, c.OutOfRange = consumers.NewMetrics(reg), test.rule
				})
				r := source.Reader(test.shard, horizon)
				want := append(test.want, "107:0 hotel-1 record 1")
				if got := seen(readAll(t, r, 1)); !slices.Equal(got, want) {
					t.Errorf("got %q, want %q", got, want)
				}
				for _, o := range []string{"expanded", "empty", "out_of_range", "damaged"} {
					count := 0.0
					if o == test.outcome {
						count = 1
					}
					if got := metric(t, reg, "shardline_consumers_aggregated_records_total", o); got != count {
						t.Errorf("%v counted as %s, want %v", got, o, count)
					}
				}
			})
		})
	}
}

// TestPositionMovesPastDropped: an aggregate that nobody gets anything of is
// not read again, and is counted once.
func TestPositionMovesPastDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStream(1)
		s.putAggregate(users("b", 3)...) // MD5("b") is in the upper half
		reg := prometheus.NewRegistry()
		source := newSource(t, s, func(c *consumers.Config) { c.Metrics = consumers.NewMetrics(reg) })
		r := source.Reader(checkpoint.Shard{ID: shard0, HashFrom: "0", HashTo: "9"}, horizon)
		got := readAll(t, r, 1)
		time.Sleep(time.Hour)
		got = append(got, readAll(t, r, 1)...)
		if want := []string{"100:0 hotel-0 record 0", "107:2 blank"}; !slices.Equal(seen(got), want) {
			t.Errorf("got %q, want %q", seen(got), want)
		}
		last := s.calls[len(s.calls)-2]
		if last.kind != types.ShardIteratorTypeAtSequenceNumber || last.sequence != "107" {
			t.Errorf("read again from %s %s, want the dropped record", last.kind, last.sequence)
		}
		if got := metric(t, reg, "shardline_consumers_aggregated_records_total", "out_of_range"); got != 1 {
			t.Errorf("%v counted, want 1", got)
		}
	})
}

// TestBatchesAreBounded: however many user records an answer holds, a batch
// holds as many as an answer of plain records. The rest comes without a call
// and without a pause; the end of the shard comes with the last of them.
func TestBatchesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStream(1)
		s.putAggregate(users("b", 2*pipeline.ReadRecords+5)...)
		s.put(0, 1)
		s.shards[0].closed = true
		s.shards = append(s.shards, &fakeShard{id: "shardId-000000000001", parents: []string{shard0}})
		r := newSource(t, s, nil).Reader(checkpoint.Shard{ID: shard0}, horizon)
		var sizes []int
		var last checkpoint.Position
		start := time.Now()
		for {
			batch, err := step(t, r)
			if err != nil {
				t.Fatal(err)
			}
			sizes = append(sizes, len(batch.Records))
			for _, r := range batch.Records {
				if last.IsNumber() && r.Position.Compare(last) <= 0 {
					t.Fatalf("position %s follows %s", r.Position, last)
				}
				last = r.Position
			}
			if batch.End {
				if len(batch.Children) != 1 {
					t.Errorf("children %v, want one", batch.Children)
				}
				break
			}
			if len(batch.Children) > 0 {
				t.Error("children before the end")
			}
		}
		// 20,005 user records and one plain record on each side.
		if want := []int{10_000, 10_000, 7}; !slices.Equal(sizes, want) {
			t.Errorf("batches of %v, want %v", sizes, want)
		}
		if last != checkpoint.Number("114", 0) {
			t.Errorf("the last is %s, want 114:0", last)
		}
		if n := len(s.calls); n != 2 || time.Since(start) > 0 {
			t.Errorf("%d calls in %v, want an iterator and one read at once", n, time.Since(start))
		}
	})
}
