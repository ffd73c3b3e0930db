package secrets

import "github.com/prometheus/client_golang/prometheus"

// Metrics are those of all secrets.
type Metrics struct {
	reads *prometheus.CounterVec
}

// NewMetrics registers the metrics; with nil they are counted for nobody.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{reads: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "shardline_secrets_reads_total",
		Help: "Readings of a secret from AWS Secrets Manager, by what came of them; after failed the last value stays in use."},
		[]string{"secret", "outcome"})}
	if reg != nil {
		reg.MustRegister(m.reads)
	}
	return m
}

const (
	outcomeOK     = "ok"
	outcomeFailed = "failed"
)

func (m *Metrics) add(id string) {
	m.reads.WithLabelValues(id, outcomeOK)
	m.reads.WithLabelValues(id, outcomeFailed)
}

func (m *Metrics) remove(id string) {
	m.reads.DeleteLabelValues(id, outcomeOK)
	m.reads.DeleteLabelValues(id, outcomeFailed)
}

func (m *Metrics) read(id string, err error) {
	outcome := outcomeOK
	if err != nil {
		outcome = outcomeFailed
	}
	m.reads.WithLabelValues(id, outcome).Inc()
}
