package pipeline

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/shardline/shardline/checkpoint"
)

// Metrics are the worker's: per source, and per shard that it owns.
type Metrics struct {
	up         *prometheus.GaugeVec
	gaps       *prometheus.CounterVec
	garbage    *prometheus.GaugeVec
	holes      *prometheus.GaugeVec
	unreadable *prometheus.CounterVec
	keyless    *prometheus.CounterVec
	duplicates *prometheus.CounterVec
	forgotten  *prometheus.CounterVec
	ordered    *prometheus.GaugeVec

	catchUpReads   *prometheus.CounterVec
	catchUpRecords *prometheus.CounterVec

	savedAge     *prometheus.Desc
	laggards     *prometheus.Desc
	parked       *prometheus.Desc
	trim         *prometheus.Desc
	window       *prometheus.Desc
	catchUpBytes *prometheus.Desc

	mu               sync.Mutex
	budget, catchUps *budget
	room             *room
	shards           map[shardLabel]*shard
}

type shardLabel struct{ source, shard string }

// NewMetrics registers the worker's metrics.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		up: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "shardline_pipeline_source_up",
			Help: "1 when the source's stream and shards can be read, 0 when the last try was refused."}, []string{"source"}),
		gaps: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "shardline_pipeline_gaps_total",
			Help: "Gaps: places in a shard where the stream trimmed records, or may have, before they were read."}, []string{"source"}),
		holes: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "shardline_pipeline_hash_range_holes",
			Help: "Parts of the stream's hash key space that no lease covered at several audits in a row."}, []string{"source"}),
		garbage: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "shardline_pipeline_garbage_leases",
			Help: "Leases of a stream that was deleted and made again, of its earlier life: they are removed when nobody renews them."}, []string{"source"}),
		unreadable: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "shardline_pipeline_unreadable_records_total",
			Help: "Records that could not be read or keyed and went to the dead letters of their source."}, []string{"source"}),
		keyless: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "shardline_pipeline_keyless_records_total",
			Help: "Records without one value for the configured key, which took their partition key, by reason."}, []string{"source", "reason"}),
		duplicates: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "shardline_pipeline_duplicates_total",
			Help: "Records that repeat an earlier one of their shard and key within the window of `deduplicate`: whoever gets that one does not get them."}, []string{"source"}),
		forgotten: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "shardline_pipeline_duplicates_forgotten_total",
			Help: "Records that were forgotten before the window of `deduplicate` was over, since a source remembers no more: a duplicate of them is delivered."}, []string{"source"}),
		ordered: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "shardline_pipeline_ordered_destinations",
			Help: "Destinations that commands keep from delivering, by command; `hold_keys` are those of which single keys are held."}, []string{"command"}),
		catchUpReads: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "shardline_pipeline_catch_up_reads_total",
			Help: "Reads for those who are behind: laggards and parked keys."}, []string{"source"}),
		catchUpRecords: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "shardline_pipeline_catch_up_records_total",
			Help: "Records that such reads gave."}, []string{"source"}),
		laggards: prometheus.NewDesc("shardline_pipeline_laggard_shards",
			"Shards of this worker on which the destination is a laggard: it is behind the shard log and gets its records from catch-up.", []string{"source", "destination"}, nil),
		parked: prometheus.NewDesc("shardline_pipeline_parked_keys",
			"Keys of the destination that have fallen behind its others, over the shards of this worker.", []string{"source", "destination"}, nil),
		trim: prometheus.NewDesc("shardline_pipeline_until_trim_seconds",
			"Seconds until the stream trims the first record that the destination has not settled, over the shards of this worker of which that is known; the whole retention when nothing is unsettled.", []string{"source", "destination"}, nil),
		savedAge: prometheus.NewDesc("shardline_pipeline_saved_age_seconds",
			"Seconds since the shard's positions were last saved: written to the lease table, or confirmed unchanged by a renewal.", []string{"source", "shard"}, nil),
		window: prometheus.NewDesc("shardline_pipeline_window_bytes",
			"Bytes that the shard logs hold or have reserved for reads.", nil, nil),
		catchUpBytes: prometheus.NewDesc("shardline_pipeline_catch_up_bytes",
			"Bytes held or reserved for those who are behind: the logs of catch-up, and records of lanes that no log has any more.", nil, nil),
		shards: make(map[shardLabel]*shard),
	}
	reg.MustRegister(m.up, m.gaps, m.garbage, m.holes, m.unreadable, m.keyless, m.duplicates, m.forgotten, m.ordered, m.catchUpReads, m.catchUpRecords, m)
	m.desire(checkpoint.Desired{})
	return m
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.savedAge
	ch <- m.window
	ch <- m.catchUpBytes
	ch <- m.laggards
	ch <- m.parked
	ch <- m.trim
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.budget != nil {
		ch <- prometheus.MustNewConstMetric(m.window, prometheus.GaugeValue, float64(m.budget.Used()))
		ch <- prometheus.MustNewConstMetric(m.catchUpBytes, prometheus.GaugeValue, float64(m.catchUps.Used()+m.room.used.Load()))
	}
	type label struct{ source, destination string }
	laggards, parked, trim := make(map[label]int), make(map[label]int), make(map[label]time.Duration)
	for l, s := range m.shards {
		ch <- prometheus.MustNewConstMetric(m.savedAge, prometheus.GaugeValue, s.tenure.SavedAge().Seconds(), l.source, l.shard)
		s.count(func(destination string, laggard bool, keys int) {
			of := label{l.source, destination}
			parked[of] += keys
			laggards[of] += 0
			if laggard {
				laggards[of]++
			}
		})
		s.untilTrim(func(destination string, left time.Duration) {
			of := label{l.source, destination}
			if least, known := trim[of]; !known || left < least {
				trim[of] = left
			}
		})
	}
	for of, n := range laggards {
		ch <- prometheus.MustNewConstMetric(m.laggards, prometheus.GaugeValue, float64(n), of.source, of.destination)
		ch <- prometheus.MustNewConstMetric(m.parked, prometheus.GaugeValue, float64(parked[of]), of.source, of.destination)
	}
	for of, left := range trim {
		ch <- prometheus.MustNewConstMetric(m.trim, prometheus.GaugeValue, left.Seconds(), of.source, of.destination)
	}
}

// desire counts what is desired of the destinations.
func (m *Metrics) desire(d checkpoint.Desired) {
	counts := map[string]int{"pause": 0, "hold": 0, "hold_keys": 0, "replay": 0, "remove": 0}
	for _, w := range d.Destinations {
		for command, is := range map[string]bool{"pause": w.Pause != nil, "hold": w.Hold != nil, "hold_keys": len(w.Keys) > 0,
			"replay": w.Replay != nil, "remove": w.Removal != nil} {
			if is {
				counts[command]++
			}
		}
	}
	for command, n := range counts {
		m.ordered.WithLabelValues(command).Set(float64(n))
	}
}

func (m *Metrics) watch(b, catchUps *budget, r *room) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.budget, m.catchUps, m.room = b, catchUps, r
}

// serve counts a shard as owned until the function that it returns is called.
func (m *Metrics) serve(source, shard string, s *shard) (done func()) {
	label := shardLabel{source, shard}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.shards[label] = s
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.shards[label] == s {
			delete(m.shards, label)
		}
	}
}

func (m *Metrics) shardsOf(source string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for l := range m.shards {
		if l.source == source {
			n++
		}
	}
	return n
}
