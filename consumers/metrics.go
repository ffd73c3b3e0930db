package consumers

import "github.com/prometheus/client_golang/prometheus"

// Metrics are those of all sources of a worker. Labels are bounded by the
// sources of the configuration and by their shards; a shard's values go when
// its reader is forgotten.
type Metrics struct {
	records, bytes, reads, throttles *prometheus.CounterVec // source, shard
	userRecords                      *prometheus.CounterVec // source, shard
	lag                              *prometheus.GaugeVec   // source, shard
	errors                           *prometheus.CounterVec // source, reason
	aggregates                       *prometheus.CounterVec // source, outcome
	fanOut                           *prometheus.GaugeVec   // source
	expiry                           *prometheus.GaugeVec   // source
	refreshFailures                  *prometheus.CounterVec // source
}

// NewMetrics registers the metrics; a nil registry keeps them to themselves.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "shardline_consumers_" + name, Help: help}, labels)
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "shardline_consumers_" + name, Help: help}, labels)
	}
	m := &Metrics{
		records:     counter("records_total", "Records read from a shard, an aggregated one counted once.", "source", "shard"),
		userRecords: counter("user_records_total", "Records handed on from a shard, the user records of an aggregated one each.", "source", "shard"),
		bytes:       counter("bytes_total", "Bytes of data of the records read from a shard.", "source", "shard"),
		reads:       counter("reads_total", "Reads of a shard, failed ones among them: GetRecords calls, or subscriptions and their events.", "source", "shard"),
		throttles:   counter("read_throttles_total", "Reads of a shard that the service refused because of their rate or size.", "source", "shard"),
		lag:         gauge("lag_seconds", "How far behind the tip of its shard the last read was, by the service's clock.", "source", "shard"),
		errors:      counter("read_errors_total", "Reads that failed, by reason; each is tried again.", "source", "reason"),
		aggregates: counter("aggregated_records_total",
			"Records that look aggregated, by what became of them: expanded, empty, out_of_range (dropped: a user record belongs to another shard) or damaged (handed on as it is).", "source", "outcome"),
		fanOut: gauge("fan_out", "1 while a source that is configured for enhanced fan-out is read by it, 0 while it is read by polling instead.", "source"),
		expiry: gauge("credentials_expiry_timestamp_seconds",
			"When the credentials of a source's role expire, in Unix time by this host's clock; 0: there are none; +Inf: they do not expire. Shardline's own are the source \"base\", those of the base role \"base_role\".", "source"),
		refreshFailures: counter("credentials_refresh_failures_total", "Times the credentials of a source's role, or Shardline's own, could not be refreshed.", "source"),
	}
	if reg != nil {
		reg.MustRegister(m.records, m.userRecords, m.aggregates, m.bytes, m.reads, m.throttles, m.lag, m.errors, m.fanOut, m.expiry, m.refreshFailures)
	}
	return m
}

// addSource makes the values of a source that exist before anything happens.
func (m *Metrics) addSource(source string) {
	for _, r := range reasons {
		m.errors.WithLabelValues(source, string(r))
	}
	for _, o := range outcomes {
		m.aggregates.WithLabelValues(source, string(o))
	}
}

func (m *Metrics) forgetShard(source, shard string) {
	for _, v := range []*prometheus.CounterVec{m.records, m.userRecords, m.bytes, m.reads, m.throttles} {
		v.DeleteLabelValues(source, shard)
	}
	m.lag.DeleteLabelValues(source, shard)
}

// shardMetrics are the values of one shard.
type shardMetrics struct {
	records, userRecords, bytes, reads, throttles prometheus.Counter
	lag                                           prometheus.Gauge
}

// uncounted are values that nobody sees.
func (m *Metrics) uncounted() shardMetrics {
	counter := func() prometheus.Counter { return prometheus.NewCounter(prometheus.CounterOpts{}) }
	return shardMetrics{records: counter(), userRecords: counter(), bytes: counter(), reads: counter(), throttles: counter(),
		lag: prometheus.NewGauge(prometheus.GaugeOpts{})}
}

func (m *Metrics) shard(source, shard string) shardMetrics {
	return shardMetrics{
		records:     m.records.WithLabelValues(source, shard),
		userRecords: m.userRecords.WithLabelValues(source, shard),
		bytes:       m.bytes.WithLabelValues(source, shard),
		reads:       m.reads.WithLabelValues(source, shard),
		throttles:   m.throttles.WithLabelValues(source, shard),
		lag:         m.lag.WithLabelValues(source, shard),
	}
}
