package metrics

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
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

// Families returns what was registered, sorted by name. A collector whose
// metrics cannot be named is an error.
func (r *Recorder) Families() ([]Family, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var families []Family
	for _, c := range r.collectors {
		if err := addExample(c); err != nil {
			return nil, err
		}
		silent, err := idle(c)
		if err != nil {
			return nil, err
		}
		families = append(families, silent...)
	}
	gathered, err := r.Gather()
	if err != nil {
		return nil, fmt.Errorf("gather metrics: %w", err)
	}
	for _, f := range gathered {
		families = append(families, Family{
			Name:   f.GetName(),
			Type:   strings.ToLower(f.GetType().String()),
			Labels: labelNames(f),
			Help:   f.GetHelp(),
		})
	}
	slices.SortFunc(families, func(a, b Family) int { return strings.Compare(a.Name, b.Name) })
	return families, nil
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

// idle returns the metrics that a collector describes and has nothing to say
// about yet. A description does not hold its type, so it follows from the
// name: a collector of our own gives counters, which end in _total, and
// gauges. A vector behind prometheus.WrapRegistererWith could be anything, and
// is refused.
func idle(c prometheus.Collector) ([]Family, error) {
	collected := map[string]bool{}
	for _, d := range descriptions(c.Collect, prometheus.Metric.Desc) {
		collected[d.String()] = true
	}
	var families []Family
	for _, d := range descriptions(c.Describe, func(d *prometheus.Desc) *prometheus.Desc { return d }) {
		if collected[d.String()] {
			continue
		}
		if strings.HasPrefix(fmt.Sprintf("%T", c), "*prometheus.") {
			return nil, fmt.Errorf("described but not collected, so its type is unknown: %s", d)
		}
		f, err := parse(d)
		if err != nil {
			return nil, err
		}
		families = append(families, f)
	}
	return families, nil
}

// descriptions runs what sends to a channel and returns the Desc of everything
// that it sent.
func descriptions[T any](send func(chan<- T), desc func(T) *prometheus.Desc) []*prometheus.Desc {
	sent := make(chan T)
	go func() { defer close(sent); send(sent) }()
	var all []*prometheus.Desc
	for v := range sent {
		all = append(all, desc(v))
	}
	return all
}

// described is how a Desc prints itself: the only way to read one.
var described = regexp.MustCompile(`^Desc\{fqName: ("(?:[^"\\]|\\.)*"), help: ("(?:[^"\\]|\\.)*")(?:, unit: "[^"]*")?, constLabels: \{.*\}, variableLabels: \{(.*)\}\}$`)

func parse(d *prometheus.Desc) (Family, error) {
	parts := described.FindStringSubmatch(d.String())
	if parts == nil {
		return Family{}, fmt.Errorf("unreadable description %s", d)
	}
	name, err := strconv.Unquote(parts[1])
	if err != nil {
		return Family{}, fmt.Errorf("unreadable name in %s: %w", d, err)
	}
	help, err := strconv.Unquote(parts[2])
	if err != nil {
		return Family{}, fmt.Errorf("unreadable help in %s: %w", d, err)
	}
	f := Family{Name: name, Type: "gauge", Help: help}
	if strings.HasSuffix(name, "_total") {
		f.Type = "counter"
	}
	if parts[3] != "" {
		f.Labels = strings.Split(parts[3], ",")
		slices.Sort(f.Labels)
	}
	return f, nil
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
