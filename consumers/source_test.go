package consumers_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/consumers"
	"github.com/shardline/shardline/pipeline"
)

func TestStreamIsIdentified(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got, err := newSource(t, newFakeStream(0), nil).Stream(t.Context())
		want := pipeline.Stream{ARN: streamARN, Account: "111111111111", Name: "hotels", Created: time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC),
			Retention: 24 * time.Hour, At: time.Now().Round(0)}
		if err != nil || got != want {
			t.Fatalf("got %+v, %v, want %+v", got, err, want)
		}
	})
}

func TestStreamGone(t *testing.T) {
	s := newFakeStream(0)
	s.gone = true
	source := newSource(t, s, nil)
	if _, err := source.Stream(t.Context()); !errors.Is(err, pipeline.ErrStreamGone) {
		t.Errorf("describe: %v, want ErrStreamGone", err)
	}
	if _, _, err := source.Shards(t.Context()); !errors.Is(err, pipeline.ErrStreamGone) {
		t.Errorf("list: %v, want ErrStreamGone", err)
	}
}

func TestShardsOfAllPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStream(0)
		s.shards[0].closed = true
		for i := 1; i < 7; i++ {
			s.shards = append(s.shards, &fakeShard{id: fmt.Sprintf("shardId-%012d", i)})
		}
		s.shards[1].closed = true
		s.shards[6].parents = []string{shard0, s.shards[1].id}
		s.page = 2
		shards, at, err := newSource(t, s, nil).Shards(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(shards) != 7 {
			t.Fatalf("%d shards, want 7: %+v", len(shards), shards)
		}
		if !shards[0].Closed || !shards[1].Closed || shards[2].Closed {
			t.Errorf("closed: %v %v %v, want the first two only", shards[0].Closed, shards[1].Closed, shards[2].Closed)
		}
		if !slices.Equal(shards[6].Parents, []string{shard0, "shardId-000000000001"}) {
			t.Errorf("parents %v, want both", shards[6].Parents)
		}
		if !at.Equal(time.Now()) {
			t.Errorf("listed at %v, want now", at)
		}
		if len(s.listInput) != 4 {
			t.Errorf("%d pages, want 4", len(s.listInput))
		}
		for _, in := range s.listInput {
			if in.NextToken != nil || in.StreamARN == nil {
				t.Errorf("a page was asked for with token %v and stream %v: want the stream's ARN alone", in.NextToken, in.StreamARN)
			}
		}
	})
}

// TestShardsListedInTheMiddleOfASplit: a listing is made again whose first page
// has a shard as open and whose second has its children; and it is given up when
// the service does not come to terms with itself.
func TestShardsListedInTheMiddleOfASplit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStream(0)
		s.page = 1
		s.shards = append(s.shards, &fakeShard{id: "shardId-000000000001", parents: []string{shard0}}, &fakeShard{id: "shardId-000000000002", parents: []string{shard0}})
		source := newSource(t, s, nil)
		began := time.Now()
		s.listed = func(pages int) {
			if pages == 5 { // in the middle of the second listing
				s.shards[0].closed = true
			}
		}
		shards, at, err := source.Shards(t.Context())
		if err != nil || len(shards) != 3 || !shards[0].Closed {
			t.Fatalf("%+v, %v", shards, err)
		}
		if at.Sub(began) <= 200*time.Millisecond || len(s.listInput) != 9 {
			t.Errorf("the time is %s after %d pages, want that of the third listing", at.Sub(began), len(s.listInput))
		}
		s.shards[0].closed = false
		if _, _, err := source.Shards(t.Context()); err == nil || !strings.Contains(err.Error(), "open although they have children") {
			t.Errorf("a listing that is never whole: %v", err)
		}
	})
}

func TestARNOfSomethingElseIsRefused(t *testing.T) {
	for _, text := range []string{"", "hotels", "arn:aws:kinesis:eu-west-1:111111111111:stream/", "arn:aws:sqs:eu-west-1:111111111111:stream/x", "arn:aws:kinesis::111111111111:stream/x"} {
		if _, err := consumers.NewSource(consumers.Config{Name: "hotels-a", StreamARN: text}); err == nil || !strings.Contains(err.Error(), "hotels-a") {
			t.Errorf("%q: %v, want an error that names the source", text, err)
		}
	}
}

func TestMetricsArePlainAndForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewPedanticRegistry()
		s := newFakeStream(3)
		source := newSource(t, s, func(c *consumers.Config) { c.Metrics = consumers.NewMetrics(reg) })
		_ = read(t, source.Reader(checkpoint.Shard{ID: shard0}, horizon), 1)
		if got := metric(t, reg, "shardline_consumers_records_total"); got != 3 {
			t.Errorf("records_total is %v, want 3", got)
		}
		if got := metric(t, reg, "shardline_consumers_bytes_total"); got != 24 { // 3 × len("record 0")
			t.Errorf("bytes_total is %v, want 24", got)
		}
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		problems, err := promlint.NewWithMetricFamilies(families).Lint()
		if err != nil || len(problems) > 0 {
			t.Errorf("lint: %v %v", problems, err)
		}
		source.Forget(shard0)
		families, err = reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if strings.Contains(f.String(), shard0) {
				t.Errorf("%s still has values of a forgotten shard", f.GetName())
			}
		}
	})
}

// metric is the sum of the values of a counter or gauge; with labels, of those
// that have these label values.
func metric(t *testing.T, reg prometheus.Gatherer, name string, labels ...string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum, found := 0.0, false
	for _, f := range families {
		if f.GetName() == name {
			found = true
			for _, m := range f.GetMetric() {
				if slices.ContainsFunc(labels, func(value string) bool {
					return !slices.ContainsFunc(m.GetLabel(), func(l *dto.LabelPair) bool { return l.GetValue() == value })
				}) {
					continue
				}
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	if !found {
		t.Fatalf("no metric %s", name)
	}
	return sum
}
