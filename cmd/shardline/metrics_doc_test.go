package main

import (
	"flag"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/shardline/shardline/metrics"
	"github.com/shardline/shardline/pipeline/deliver"
)

var update = flag.Bool("update", false, "write docs/metrics.md anew")

// TestMetricsDocument holds docs/metrics.md against what a worker registers:
// go test ./cmd/shardline -run MetricsDocument -update
func TestMetricsDocument(t *testing.T) {
	r := metrics.NewRecorder()
	m := newAppMetrics(r)
	d, err := deliver.New(deliver.Config{Name: "example", URL: "http://127.0.0.1:1/", OnExhausted: deliver.ExhaustedHold, Metrics: m.deliver})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	m.letters.Watch("example", nil)
	families, err := r.Families()
	if err != nil {
		t.Fatal(err)
	}
	if err := metrics.Document("../../docs/metrics.md", families, *update); err != nil {
		t.Error(err)
	}
	problems, err := testutil.GatherAndLint(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Error(promlint.Problem(p))
	}
}
