package deliver

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are those of all destinations.
type Metrics struct {
	deliveries  *prometheus.CounterVec
	attempts    *prometheus.CounterVec
	seconds     *prometheus.HistogramVec
	deadLetters *prometheus.CounterVec
	keyless     *prometheus.CounterVec
	calls       *prometheus.HistogramVec
	opened      *prometheus.CounterVec
	warned      *prometheus.CounterVec
	filtered    *prometheus.CounterVec

	inFlight *prometheus.Desc
	waiting  *prometheus.Desc
	oldest   *prometheus.Desc
	held     *prometheus.Desc
	circuit  *prometheus.Desc
	heldKeys *prometheus.Desc

	mu           sync.Mutex
	destinations map[string]*Destination
}

// NewMetrics registers the metrics of destinations.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	label := []string{"destination"}
	m := &Metrics{
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "shardline_deliver_deliveries_total",
			Help: "Records that the destination has taken."}, label),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "shardline_deliver_attempts_total",
			Help: "Attempts by what came of them; delivered is the only success."}, []string{"destination", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "shardline_deliver_attempt_seconds",
			Help:    "Time of one attempt, from its start to the end of the answer, whatever came of it.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 120}}, label),
		deadLetters: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "shardline_deliver_dead_letters_total",
			Help: "Records that went to the dead letters of the destination, by reason."}, []string{"destination", "reason"}),
		calls: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "shardline_deliver_call_records",
			Help:    "Records that shared a call to AWS: of PutRecords, SendMessageBatch, PublishBatch, or an object.",
			Buckets: []float64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000}}, label),
		keyless: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "shardline_deliver_keyless_attempts_total",
			Help: "Attempts of records without one value for the destination's own key, which were put under their partition key, by reason."}, []string{"destination", "reason"}),
		opened: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "shardline_deliver_circuit_openings_total",
			Help: "How often the destination's circuit has opened."}, label),
		warned: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "shardline_deliver_warned_answers_total",
			Help: "Answers whose OpenTravel body has warnings: the receiver took the message, but perhaps not all of it."}, label),
		filtered: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "shardline_deliver_filtered_total",
			Help: "Records that the destination's filter left out."}, label),
		inFlight: prometheus.NewDesc("shardline_deliver_in_flight",
			"Attempts in flight.", label, nil),
		waiting: prometheus.NewDesc("shardline_deliver_waiting_keys",
			"Keys that wait for a retry, or for their key_rate_limit.", label, nil),
		oldest: prometheus.NewDesc("shardline_deliver_oldest_unsettled_seconds",
			"Seconds since the oldest record that was read and is not settled arrived in its stream; 0 when there is none.", label, nil),
		held: prometheus.NewDesc("shardline_deliver_held",
			"1 while the destination is held and only probed, else 0.", label, nil),
		circuit: prometheus.NewDesc("shardline_deliver_circuit_open",
			"1 while the destination's circuit is open or half open: it failed so often in a row that it is only probed; else 0.", label, nil),
		heldKeys: prometheus.NewDesc("shardline_deliver_held_keys",
			"Keys whose record has used up its retries, and which wait until somebody releases them.", label, nil),
		destinations: make(map[string]*Destination),
	}
	reg.MustRegister(m.deliveries, m.attempts, m.seconds, m.deadLetters, m.keyless, m.calls, m.opened, m.warned, m.filtered, m)
	return m
}

// Keyless counts the attempts of a destination whose record has no value for
// its key, by reason; those named are there at zero.
func (m *Metrics) Keyless(destination string, reasons []string) func(reason string) {
	for _, reason := range reasons {
		m.keyless.WithLabelValues(destination, reason)
	}
	return func(reason string) { m.keyless.WithLabelValues(destination, reason).Inc() }
}

// Calls notes how many records the calls of a destination have.
func (m *Metrics) Calls(destination string) func(records int) {
	series := m.calls.WithLabelValues(destination)
	return func(records int) { series.Observe(float64(records)) }
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.inFlight, m.waiting, m.oldest, m.held, m.circuit, m.heldKeys} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, d := range m.destinations {
		s := d.State()
		held, circuit := 0.0, 0.0
		if s.Held {
			held = 1
		}
		if s.Circuit != CircuitClosed {
			circuit = 1
		}
		ch <- prometheus.MustNewConstMetric(m.inFlight, prometheus.GaugeValue, float64(s.InFlight), name)
		ch <- prometheus.MustNewConstMetric(m.waiting, prometheus.GaugeValue, float64(s.Waiting), name)
		ch <- prometheus.MustNewConstMetric(m.oldest, prometheus.GaugeValue, s.Oldest.Seconds(), name)
		ch <- prometheus.MustNewConstMetric(m.held, prometheus.GaugeValue, held, name)
		ch <- prometheus.MustNewConstMetric(m.circuit, prometheus.GaugeValue, circuit, name)
		ch <- prometheus.MustNewConstMetric(m.heldKeys, prometheus.GaugeValue, float64(s.HeldKeys), name)
	}
}

// series are one destination's, found once so that attempts look nothing up.
type series struct {
	all         *Metrics
	deliveries  prometheus.Counter
	attempts    [outcomes]prometheus.Counter
	seconds     prometheus.Observer
	opened      prometheus.Counter
	warned      prometheus.Counter
	filtered    prometheus.Counter
	deadLetters [reasonCount]prometheus.Counter // nil: never a reason for a dead letter
}

// add makes the series of a destination, at zero.
func (m *Metrics) add(d *Destination) *series {
	s := &series{all: m, deliveries: m.deliveries.WithLabelValues(d.name), seconds: m.seconds.WithLabelValues(d.name),
		opened: m.opened.WithLabelValues(d.name), warned: m.warned.WithLabelValues(d.name), filtered: m.filtered.WithLabelValues(d.name)}
	for r := range Reason(outcomes) {
		s.attempts[r] = m.attempts.WithLabelValues(d.name, r.String())
	}
	for r := range reasonCount {
		if r < ReasonUnreadable && (r.Class() == Refused || r == ReasonOTAUnclear) {
			s.deadLetters[r] = m.deadLetters.WithLabelValues(d.name, r.String())
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.destinations[d.name] = d
	return s
}

// remove ends the gauges of a destination that is closed.
func (s *series) remove(d *Destination) {
	s.all.mu.Lock()
	defer s.all.mu.Unlock()
	if s.all.destinations[d.name] == d {
		delete(s.all.destinations, d.name)
	}
}

func (s *series) attempted(r Reason, took time.Duration) {
	s.seconds.Observe(took.Seconds())
	if int(r) < outcomes {
		s.attempts[r].Inc()
	}
	if r == ReasonDelivered {
		s.deliveries.Inc()
	}
}

func (s *series) deadLettered(r Reason) {
	if c := s.deadLetters[r]; c != nil {
		c.Inc()
	}
}
