package main

import (
	"strings"
	"testing"
	"time"

	"github.com/shardline/shardline/cmd/shardline/config"
	"github.com/shardline/shardline/pipeline"
)

// TestAge compares settings with a retention of 24 hours.
func TestAge(t *testing.T) {
	const day = 24 * time.Hour
	limits := func(attempts int, age time.Duration) config.Retry {
		return config.Retry{Initial: time.Second, Max: time.Minute, Multiplier: 2, MaxAttempts: attempts, MaxAge: age}
	}
	for _, tt := range []struct {
		name         string
		retry        config.Retry
		beforeTrim   time.Duration
		letters      string
		exhausted    string
		result, text string
		do           string
	}{
		{"as it is unless set", limits(0, 0), time.Hour, "failed", "", resultOK, "", ""},
		{"limits within it", limits(10, 22*time.Hour), time.Hour, "failed", "", resultOK, "", ""},
		{"saved before max_age", limits(0, 23*time.Hour), time.Hour, "failed", "", resultWarning,
			"retry.max_age (23h) is never reached: before_trim (1h) has a record dead-lettered 23h after it arrived", "set retry.max_age below 23h, or raise the stream's retention"},
		{"trimmed before max_age", limits(0, 48*time.Hour), 0, "failed", "", resultFailed,
			"retry.max_age (48h) is never reached: the stream trims a record after 24h, and nothing has saved it", "set retry.max_age below 24h, and set before_trim with dead_letters; or raise"},
		// 11 attempts of 10 s, pauses of 1, 2, 4, 8, 16 and 32 s, and four of a minute.
		{"few attempts", limits(11, 0), time.Hour, "failed", "", resultOK, "", ""},
		// 1300 attempts of 10 s are 13000 s, with pauses of 63 s and 1293 of a minute: 90643 s.
		{"attempts that take too long", limits(1300, 0), time.Hour, "failed", "", resultWarning,
			"retry.max_attempts (1300) may take 25h10m43s, and are not all made: before_trim (1h)", "set retry.max_age below 23h, or fewer"},
		{"the same, and max_age ends them", limits(1300, time.Hour), time.Hour, "failed", "", resultOK, "", ""},
		{"the same, unsaved", limits(1300, 0), 0, "failed", "", resultFailed, "after 24h, and nothing has saved it", ""},
		{"unsaved while down", limits(5, 0), 0, "failed", "", resultWarning,
			"before_trim is 0: while it is down, or held for longer than 24h, records are trimmed, and the gap is all that is reported", "set before_trim and dead_letters"},
		{"unsaved, and it tries for ever", limits(0, 0), 0, "failed", "", resultWarning, "or one of its records cannot be delivered for longer than 24h", ""},
		{"held keys without dead letters", limits(5, 0), time.Hour, "", config.OnExhaustedHoldKey, resultWarning, "it has no dead_letters: while it is down or held, or one of its records", ""},
		{"more than there is time", limits(1<<40, 0), time.Hour, "failed", "", resultWarning, "are not all made", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := &config.Destination{Name: "d", DeadLetters: tt.letters}
			d.Timeout, d.Retry, d.BeforeTrim, d.OnExhausted = 10*time.Second, tt.retry, tt.beforeTrim, tt.exhausted
			if d.OnExhausted == "" {
				d.OnExhausted = config.OnExhaustedDeadLetter
			}
			result, text, do := age(d, day)
			if result != tt.result || !strings.Contains(text, tt.text) || !strings.Contains(do, tt.do) {
				t.Errorf("%s: %q, do %q\nwant %s: %q, do %q", result, text, do, tt.result, tt.text, tt.do)
			}
		})
	}
}

// TestAges: a line of the source, and one of each destination that has to know.
func TestAges(t *testing.T) {
	at := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	cfg := &config.Config{Destinations: []config.Destination{{Name: "a", DeadLetters: "failed"}, {Name: "b", DeadLetters: "failed"}, {Name: "other"}}}
	cfg.Destinations[0].BeforeTrim = time.Hour
	for i := range cfg.Destinations {
		cfg.Destinations[i].OnExhausted = config.OnExhaustedDeadLetter
	}
	s := &config.Source{Name: "hotels", Subscribers: config.Subscribers{Names: []string{"a", "b"}}}
	show := func(lines []triedLine) string {
		var all []string
		for _, l := range lines {
			all = append(all, l.Thing+" "+l.Result+" "+l.Text[:min(len(l.Text), 45)])
		}
		return strings.Join(all, "\n")
	}
	if got, want := show(ages(cfg, s, pipeline.Stream{Retention: 24 * time.Hour, At: at})), `source hotels ok 24h; long enough for 1 destination
destination b warning before_trim is 0: while it is down or held, o`; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	s.InitialPosition = config.InitialPosition{Kind: config.PositionAtTimestamp, At: at.Add(-25 * time.Hour)}
	if got, want := show(ages(cfg, s, pipeline.Stream{Retention: 24 * time.Hour, At: at})[:1]), `source hotels warning initial_position 2026-02-28T23:00:00Z is furt`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := show(ages(cfg, s, pipeline.Stream{})), `source hotels not_tried the stream does not say how long it keeps rec`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
