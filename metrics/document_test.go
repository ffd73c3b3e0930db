package metrics_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/shardline/shardline/metrics"
)

// record registers one metric of every kind, vectors without children.
func record(t *testing.T) *metrics.Recorder {
	t.Helper()
	reg := metrics.NewRecorder()
	reg.MustRegister(
		prometheus.NewGauge(prometheus.GaugeOpts{Name: "shardline_test_plain", Help: "A gauge."}),
		prometheus.NewCounterVec(prometheus.CounterOpts{Name: "shardline_test_done_total", Help: "Done | not done."}, []string{"shard", "outcome"}),
		prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "shardline_test_held", Help: "Held."}, []string{"destination"}),
		prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "shardline_test_seconds", Help: "Time."}, []string{"destination"}),
		prometheus.NewSummaryVec(prometheus.SummaryOpts{Name: "shardline_test_bytes", Help: "Size."}, nil),
	)
	return reg
}

const wantTable = `| Metric | Type | Labels | Meaning |
|---|---|---|---|
| ` + "`shardline_build_info`" + ` | gauge | ` + "`goversion`, `version`" + ` | Always 1; the labels say which build runs. |
| ` + "`shardline_test_bytes`" + ` | summary |  | Size. |
| ` + "`shardline_test_done_total`" + ` | counter | ` + "`outcome`, `shard`" + ` | Done \| not done. |
| ` + "`shardline_test_held`" + ` | gauge | ` + "`destination`" + ` | Held. |
| ` + "`shardline_test_plain`" + ` | gauge |  | A gauge. |
| ` + "`shardline_test_seconds`" + ` | histogram | ` + "`destination`" + ` | Time. |
`

func TestTableNamesVectorsWithoutChildren(t *testing.T) {
	families, err := record(t).Families()
	if err != nil {
		t.Fatal(err)
	}
	if got := metrics.Table(families); got != wantTable {
		t.Errorf("got\n%s\nwant\n%s", got, wantTable)
	}
	if !slices.ContainsFunc(families, func(f metrics.Family) bool { return f.Name == "go_goroutines" }) {
		t.Error("the runtime's metrics are missing from Families")
	}
}

// silent describes two metrics and collects neither, as a worker does that
// owns no shard yet.
type silent struct{}

func (silent) Describe(descs chan<- *prometheus.Desc) {
	descs <- prometheus.NewDesc("shardline_test_age_seconds", `Age, "as saved".`, []string{"source", "shard"}, nil)
	descs <- prometheus.NewDesc("shardline_test_seen_total", "Seen.", nil, nil)
}

func (silent) Collect(chan<- prometheus.Metric) {}

func TestFamiliesNamesWhatAnIdleCollectorDescribes(t *testing.T) {
	reg := metrics.NewRecorder()
	reg.MustRegister(silent{})
	families, err := reg.Families()
	if err != nil {
		t.Fatal(err)
	}
	want := "| `shardline_test_age_seconds` | gauge | `shard`, `source` | Age, \"as saved\". |\n" +
		"| `shardline_test_seen_total` | counter |  | Seen. |\n"
	if got := metrics.Table(families); !strings.HasSuffix(got, want) {
		t.Errorf("got\n%s\nwant at its end\n%s", got, want)
	}
}

func TestFamiliesRefusesWhatItCannotName(t *testing.T) {
	reg := metrics.NewRecorder()
	hidden := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "shardline_test_hidden_total", Help: "Hidden."}, []string{"shard"})
	prometheus.WrapRegistererWith(prometheus.Labels{"worker": "w"}, reg).MustRegister(hidden)
	if _, err := reg.Families(); err == nil || !strings.Contains(err.Error(), "shardline_test_hidden_total") {
		t.Errorf("Families = %v, want an error that names the wrapped vector", err)
	}
}

func TestDocument(t *testing.T) {
	families, err := record(t).Families()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "metrics.md")
	if err := metrics.Document(file, families, false); err == nil {
		t.Error("a missing file passed")
	}
	if err := metrics.Document(file, families, true); err != nil {
		t.Fatal(err)
	}
	if err := metrics.Document(file, families, false); err != nil {
		t.Errorf("just written: %v", err)
	}
	names, err := metrics.Names(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		"shardline_test_done_total":     true,
		"shardline_test_seconds_bucket": true,
		"shardline_test_seconds":        false,
		"shardline_test_bytes":          true,
		"shardline_test_nothing":        false,
	} {
		if names[name] != want {
			t.Errorf("Names[%s] = %v, want %v", name, names[name], want)
		}
	}

	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, old, new, wantInError string }{
		{"stale row", "| `shardline_test_held`", "| `shardline_test_kept`", "- | `shardline_test_kept`"},
		{"missing row", "| `shardline_test_plain` | gauge |  | A gauge. |\n", "", "+ | `shardline_test_plain`"},
		{"other type", "| counter |", "| gauge |", "- | `shardline_test_done_total` | gauge"},
		{"other label", "`outcome`, `shard`", "`shard`", "+ | `shardline_test_done_total`"},
		{"no marker", "<!-- metrics: end -->", "", "are needed around the table"},
	} {
		changed := strings.Replace(string(text), c.old, c.new, 1)
		if changed == string(text) {
			t.Fatalf("%s: nothing replaced", c.name)
		}
		if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := metrics.Document(file, families, false); err == nil || !strings.Contains(err.Error(), c.wantInError) {
			t.Errorf("%s: error %v, want %q in it", c.name, err, c.wantInError)
		}
	}

	// What people wrote around the table stays.
	if err := os.WriteFile(file, []byte("# Mine\n\nBefore.\n\n<!-- metrics: begin, generated from the code -->\nold\n<!-- metrics: end -->\n\nAfter.\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := metrics.Document(file, families, true); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := "# Mine\n\nBefore.\n\n<!-- metrics: begin, generated from the code -->\n\n" + wantTable + "\n<!-- metrics: end -->\n\nAfter.\n"
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestRegistryPassesPromlint(t *testing.T) {
	problems, err := testutil.GatherAndLint(metrics.NewRegistry("1.2.3"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}
