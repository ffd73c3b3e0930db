package deliver

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// LetterMetrics are those of all dead letter queues.
type LetterMetrics struct {
	letters  *prometheus.CounterVec
	failures *prometheus.CounterVec
	wait     *prometheus.Desc

	mu     sync.Mutex
	queues map[string]*watchedLetters
}

// NewLetterMetrics registers the metrics of dead letter queues.
func NewLetterMetrics(reg prometheus.Registerer) *LetterMetrics {
	label := []string{"queue"}
	m := &LetterMetrics{
		letters: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "shardline_deliver_letters_total",
			Help: "Letters that are durable in the dead letter queue, those of sources among them."}, label),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "shardline_deliver_letter_failures_total",
			Help: "Tries to write a letter to the dead letter queue that failed; each is made again, and its key waits."}, label),
		wait: prometheus.NewDesc("shardline_deliver_letter_wait_seconds",
			"Seconds that the letter has waited which waits longest for the dead letter queue to take it; 0 when none does.", label, nil),
		queues: make(map[string]*watchedLetters),
	}
	reg.MustRegister(m.letters, m.failures, m)
	return m
}

// Describe implements prometheus.Collector.
func (m *LetterMetrics) Describe(ch chan<- *prometheus.Desc) { ch <- m.wait }

// Collect implements prometheus.Collector.
func (m *LetterMetrics) Collect(ch chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, q := range m.queues {
		ch <- prometheus.MustNewConstMetric(m.wait, prometheus.GaugeValue, q.oldest(time.Now()).Seconds(), name)
	}
}

const (
	// maxWatched bounds the letters whose waiting is known: beyond it the oldest
	// are among them all the same.
	maxWatched = 10_000
	// forgottenAfter is when a letter counts no more that nobody has tried to
	// write again: its shard went to another worker. It is above the longest
	// pause between tries.
	forgottenAfter = 3 * maxLetterWait
)

// watchedLetters is a queue that is counted.
type watchedLetters struct {
	to       DeadLetters
	letters  prometheus.Counter
	failures prometheus.Counter

	mu      sync.Mutex
	waiting map[string]waitingLetter // by id
}

// waitingLetter is a letter that is not durable yet.
type waitingLetter struct {
	since time.Time
	tried time.Time // last
	now   bool      // it is being written
}

// Watch counts what becomes of the letters of a queue.
func (m *LetterMetrics) Watch(queue string, to DeadLetters) DeadLetters {
	w := &watchedLetters{to: to, letters: m.letters.WithLabelValues(queue), failures: m.failures.WithLabelValues(queue), waiting: make(map[string]waitingLetter)}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.queues[queue] = w
	return w
}

// Put implements DeadLetters.
func (w *watchedLetters) Put(ctx context.Context, letter DeadLetter) error {
	id := letter.ID()
	w.note(id, &letter, true)
	err := w.to.Put(ctx, letter)
	if err != nil {
		w.failures.Inc()
		w.note(id, &letter, false)
		return err
	}
	w.letters.Inc()
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.waiting, id)
	return nil
}

func (w *watchedLetters) note(id string, l *DeadLetter, now bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, known := w.waiting[id]; known || len(w.waiting) < maxWatched {
		w.waiting[id] = waitingLetter{since: l.Time, tried: time.Now(), now: now}
	}
}

// oldest is for how long the letter waits that waits longest.
func (w *watchedLetters) oldest(now time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	var oldest time.Duration
	for id, l := range w.waiting {
		if !l.now && now.Sub(l.tried) > forgottenAfter {
			delete(w.waiting, id)
			continue
		}
		oldest = max(oldest, now.Sub(l.since))
	}
	return oldest
}
