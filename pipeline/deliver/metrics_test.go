package deliver_test

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/shardline/shardline/pipeline/deliver"
)

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewPedanticRegistry()
		m := deliver.NewMetrics(reg)
		r := &receiver{answer: func(ctx context.Context, a attempt) deliver.Answer {
			switch {
			case a.key == "retried":
				return deliver.Answer{Reason: deliver.ReasonServerError, RetryAfter: time.Hour}
			case a.key == "refused":
				return deliver.Answer{Reason: deliver.ReasonRejected, Status: 400}
			case a.key == "slow":
				sleep(ctx, time.Hour)
			case a.key == "holds":
				return deliver.Answer{Reason: deliver.ReasonUnauthorized, Status: 401}
			}
			return deliver.Answer{Reason: deliver.ReasonDelivered}
		}}
		idle := begin(t, deliver.Config{Name: "idle", Metrics: m, Transport: &receiver{}})
		s := begin(t, deliver.Config{Name: "busy", Metrics: m, Transport: r, Timeout: 2 * time.Hour})
		s.put("fine", "retried", "refused", "slow", "fine")
		time.Sleep(90 * time.Second)
		s.put("holds")
		synctest.Wait()

		expect := func(text string) {
			t.Helper()
			if err := testutil.GatherAndCompare(reg, strings.NewReader(text+"\n"), names(text)...); err != nil {
				t.Error(err)
			}
		}
		expect(`# HELP shardline_deliver_deliveries_total Records that the destination has taken.
# TYPE shardline_deliver_deliveries_total counter
shardline_deliver_deliveries_total{destination="busy"} 2
shardline_deliver_deliveries_total{destination="idle"} 0`)
		expect(`# HELP shardline_deliver_in_flight Attempts in flight.
# TYPE shardline_deliver_in_flight gauge
shardline_deliver_in_flight{destination="busy"} 1
shardline_deliver_in_flight{destination="idle"} 0`)
		expect(`# HELP shardline_deliver_waiting_keys Keys that wait for a retry, or for their key_rate_limit.
# TYPE shardline_deliver_waiting_keys gauge
shardline_deliver_waiting_keys{destination="busy"} 1
shardline_deliver_waiting_keys{destination="idle"} 0`)
		expect(`# HELP shardline_deliver_held 1 while the destination is held and only probed, else 0.
# TYPE shardline_deliver_held gauge
shardline_deliver_held{destination="busy"} 1
shardline_deliver_held{destination="idle"} 0`)
		expect(`# HELP shardline_deliver_oldest_unsettled_seconds Seconds since the oldest record that was read and is not settled arrived in its stream; 0 when there is none.
# TYPE shardline_deliver_oldest_unsettled_seconds gauge
shardline_deliver_oldest_unsettled_seconds{destination="busy"} 90
shardline_deliver_oldest_unsettled_seconds{destination="idle"} 0`)
		for outcome, want := range map[string]float64{"delivered": 2, "server_error": 1, "rejected": 1, "unauthorized": 1, "timeout": 0, "cancelled": 0} {
			if got := value(t, reg, "shardline_deliver_attempts_total", map[string]string{"destination": "busy", "outcome": outcome}); got != want {
				t.Errorf("attempts with outcome %s: %v, want %v", outcome, got, want)
			}
		}
		for reason, want := range map[string]float64{"rejected": 1, "max_attempts": 0, "max_age": 0, "ota_permanent": 0, "ota_unclear": 0} {
			if got := value(t, reg, "shardline_deliver_dead_letters_total", map[string]string{"destination": "busy", "reason": reason}); got != want {
				t.Errorf("dead letters for %s: %v, want %v", reason, got, want)
			}
		}
		if got := value(t, reg, "shardline_deliver_attempt_seconds", map[string]string{"destination": "busy"}); got != 5 {
			t.Errorf("%v attempts timed, want 5", got)
		}
		if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
			t.Errorf("lint: %v %v", problems, err)
		}
		// A destination that is closed has no gauges any more.
		idle.Detach(idle.cursor)
		if err := idle.Close(); err != nil {
			t.Error(err)
		}
		if n, err := testutil.GatherAndCount(reg, "shardline_deliver_held"); n != 1 || err != nil {
			t.Errorf("%d gauges (%v), want one", n, err)
		}
	})
}

// names is the metrics of an exposition.
func names(text string) []string {
	var found []string
	for line := range strings.SplitSeq(text, "\n") {
		if name, ok := strings.CutPrefix(line, "# TYPE "); ok {
			found = append(found, strings.Fields(name)[0])
		}
	}
	return found
}

// value is a counter's value, or a histogram's count; -1: it does not exist.
func value(t *testing.T, reg prometheus.Gatherer, name string, labels map[string]string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
	series:
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if labels[l.GetName()] != l.GetValue() {
					continue series
				}
			}
			if h := m.GetHistogram(); h != nil {
				return float64(h.GetSampleCount())
			}
			return m.GetCounter().GetValue()
		}
	}
	return -1
}

// A queue's letters, failures and the longest wait are counted from the letter's
// own time, over tries; a letter that nobody tries any more is forgotten.
func TestLetterMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		down := errors.New("the queue is down")
		fails := down
		box := &letterBox{fail: func(deliver.DeadLetter) error { return fails }}
		letters := deliver.NewLetterMetrics(registry).Watch("failed", box)
		expect := func(what string, written, failures, wait float64) {
			t.Helper()
			got := map[string]float64{}
			families, err := registry.Gather()
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range families {
				m := f.GetMetric()[0]
				got[f.GetName()] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
			want := map[string]float64{"shardline_deliver_letters_total": written, "shardline_deliver_letter_failures_total": failures, "shardline_deliver_letter_wait_seconds": wait}
			if !maps.Equal(got, want) {
				t.Errorf("%s: %v, want %v", what, got, want)
			}
		}
		expect("at first", 0, 0, 0)
		put := func(sequence string, at time.Time) {
			_ = letters.Put(t.Context(), deliver.DeadLetter{Time: at, Sequence: sequence})
		}
		first, second := time.Now(), time.Now().Add(10*time.Second)
		put("1", first)
		time.Sleep(10 * time.Second)
		put("1", first)
		put("2", second)
		expect("two wait", 0, 3, 10)
		fails = nil
		put("1", first)
		time.Sleep(5 * time.Second)
		expect("one waits", 1, 3, 5)
		time.Sleep(time.Hour) // its shard is another worker's by now
		expect("nobody waits", 1, 3, 0)
	})
}
