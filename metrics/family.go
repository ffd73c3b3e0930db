package metrics

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// exampleLabel is the value of every label of a metric that a Recorder made.
const exampleLabel = "example"

// maxLabels bounds the search for a vector's number of labels; more than a
// handful would be a defect of its own.
const maxLabels = 12

// Family is one metric as docs/metrics.md describes it.
type Family struct {
	Name   string
	Type   string // counter, gauge, histogram, summary, untyped
	Labels []string
	Help   string
}

// Recorder is a registry for documentation: Families names every metric that
// was registered with it, also the vectors that have no children yet, which a
// plain registry does not show. Hand it to the constructors that a worker
// uses, then ask.
type Recorder struct {
	*prometheus.Registry

	mu         sync.Mutex // guards collectors
	collectors []prometheus.Collector
}

// NewRecorder returns a Recorder that holds what NewRegistry does.
func NewRecorder() *Recorder {
	r := &Recorder{Registry: prometheus.NewRegistry()}
	registerProcess(r.Registry, "") // not recorded: what they collect depends on the system
	return r
}

// Register records c and registers it.
func (r *Recorder) Register(c prometheus.Collector) error {
	if err := r.Registry.Register(c); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.collectors = append(r.collectors, c)
	return nil
}

// MustRegister is Register for every one of cs; it panics on an error.
func (r *Recorder) MustRegister(cs ...prometheus.Collector) {
	for _, c := range cs {
		if err := r.Register(c); err != nil {
			panic(err)
		}
	}
}

// Families returns what was registered, sorted by name. It is an error when a
// collector describes a metric that it does not collect: its type and labels
// could not be said.
func (r *Recorder) Families() ([]Family, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.collectors {
		if err := addExample(c); err != nil {
			return nil, err
		}
		if err := collectsAll(c); err != nil {
			return nil, err
		}
	}
	gathered, err := r.Gather()
	if err != nil {
		return nil, fmt.Errorf("gather metrics: %w", err)
	}
	families := make([]Family, 0, len(gathered))
	for _, f := range gathered {
		families = append(families, Family{
			Name:   f.GetName(),
			Type:   strings.ToLower(f.GetType().String()),
			Labels: labelNames(f),
			Help:   f.GetHelp(),
		})
	}
	return families, nil // Gather sorts by name
}

// addExample gives a vector one child, so that it shows.
func addExample(c prometheus.Collector) error {
	var child func(values ...string) error
	switch vec := c.(type) {
	case *prometheus.CounterVec:
		child = func(v ...string) error { _, err := vec.GetMetricWithLabelValues(v...); return err }
	case *prometheus.GaugeVec:
		child = func(v ...string) error { _, err := vec.GetMetricWithLabelValues(v...); return err }
	case *prometheus.HistogramVec:
		child = func(v ...string) error { _, err := vec.GetMetricWithLabelValues(v...); return err }
	case *prometheus.SummaryVec:
		child = func(v ...string) error { _, err := vec.GetMetricWithLabelValues(v...); return err }
	default:
		return nil
	}
	// A vector does not say how many labels it has, but it refuses a wrong number.
	var err error
	for n := range maxLabels + 1 {
		if err = child(slices.Repeat([]string{exampleLabel}, n)...); err == nil {
			return nil
		}
	}
	return fmt.Errorf("vector with more than %d labels: %w", maxLabels, err)
}

// collectsAll reports a description without a metric: a vector behind
// prometheus.WrapRegistererWith, for example.
func collectsAll(c prometheus.Collector) error {
	collected := map[string]bool{}
	metrics := make(chan prometheus.Metric)
	go func() { defer close(metrics); c.Collect(metrics) }()
	for m := range metrics {
		collected[m.Desc().String()] = true
	}
	descs := make(chan *prometheus.Desc)
	go func() { defer close(descs); c.Describe(descs) }()
	var missing []string
	for d := range descs {
		if !collected[d.String()] {
			missing = append(missing, d.String())
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("described but not collected, so its type is unknown: %s", strings.Join(missing, "; "))
	}
	return nil
}

func labelNames(f *dto.MetricFamily) []string {
	var names []string
	for _, m := range f.GetMetric() {
		for _, l := range m.GetLabel() {
			if !slices.Contains(names, l.GetName()) {
				names = append(names, l.GetName())
			}
		}
	}
	slices.Sort(names)
	return names
}
