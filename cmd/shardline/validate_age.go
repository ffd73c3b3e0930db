package main

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/shardline/shardline/cmd/shardline/config"
	"github.com/shardline/shardline/pipeline"
)

// ages compares what the destinations of a source may take their time for with how
// long its stream keeps a record: a line for each destination that has to know,
// and one for those that are in order.
func ages(cfg *config.Config, s *config.Source, stream pipeline.Stream) []triedLine {
	kept := stream.Retention
	if kept <= 0 {
		return []triedLine{notTried("source "+s.Name, "retention", s.Stream.String(), "the stream does not say how long it keeps records")}
	}
	var lines []triedLine
	inOrder := 0
	for _, name := range s.SubscriberNames(cfg) {
		d := cfg.Destination(name)
		if d == nil {
			continue
		}
		result, text, do := age(d, kept)
		if result == resultOK {
			inOrder++
			continue
		}
		lines = append(lines, triedLine{Thing: "destination " + name, Check: "retention", Of: s.Name, Result: result, Text: text, Do: do})
	}
	l := triedLine{Thing: "source " + s.Name, Check: "retention", Of: s.Stream.String(), Result: resultOK,
		Text: fmt.Sprintf("%s; long enough for %s", words(kept), count(inOrder, "destination"))}
	if begin := s.InitialPosition; begin.Kind == config.PositionAtTimestamp && !stream.At.IsZero() && begin.At.Before(stream.At.Add(-kept)) {
		l.Result = resultWarning
		l.Text = fmt.Sprintf("initial_position %s is further back than the %s for which the stream keeps records: a first start begins with the oldest that is left", begin, words(kept))
	}
	return append([]triedLine{l}, lines...)
}

// age compares one destination's settings with a retention.
func age(d *config.Destination, kept time.Duration) (result, text, do string) {
	within, saved := kept, d.DeadLetters != "" && d.BeforeTrim > 0
	end := fmt.Sprintf("the stream trims a record after %s", words(kept))
	if saved {
		within -= d.BeforeTrim
		end = fmt.Sprintf("before_trim (%s) has a record dead-lettered %s after it arrived", words(d.BeforeTrim), words(within))
	}
	horizon, endless := retrying(d)
	switch {
	case d.Retry.MaxAge >= within && d.Retry.MaxAge > 0:
		text, do = fmt.Sprintf("retry.max_age (%s) is never reached: %s", words(d.Retry.MaxAge), end), "set retry.max_age below "+words(within)
	case d.Retry.MaxAge == 0 && !endless && horizon >= within:
		text = fmt.Sprintf("retry.max_attempts (%d) may take %s, and are not all made: %s", d.Retry.MaxAttempts, words(horizon), end)
		do = fmt.Sprintf("set retry.max_age below %s, or fewer retry.max_attempts", words(within))
	}
	switch {
	case text != "" && saved:
		return resultWarning, text, do + ", or raise the stream's retention"
	case text != "":
		return resultFailed, text + ", and nothing has saved it", do + ", and set before_trim with dead_letters; or raise the stream's retention"
	case saved:
		return resultOK, "", ""
	}
	missing := "before_trim is 0"
	if d.DeadLetters == "" {
		missing = "it has no dead_letters"
	}
	why := "while it is down, or held"
	if d.Retry.MaxAge == 0 && endless || d.OnExhausted != config.OnExhaustedDeadLetter {
		why = "while it is down or held, or one of its records cannot be delivered"
	}
	return resultWarning, fmt.Sprintf("%s: %s for longer than %s, records are trimmed, and the gap is all that is reported", missing, why, words(kept)),
		"set before_trim and dead_letters, or raise the stream's retention"
}

// retrying is how long the attempts of a record may take in all, without the time
// in which its destination is held or its circuit open, nor what a receiver asks
// for; endless: their number has no limit.
func retrying(d *config.Destination) (longest time.Duration, endless bool) {
	r := d.Retry
	if r.MaxAttempts == 0 {
		return 0, true
	}
	longest = times(d.Timeout, r.MaxAttempts)
	pause := float64(r.Initial)
	for n := 1; n < r.MaxAttempts; n++ {
		if pause >= float64(r.Max) { // and so are those that follow
			return sum(longest, times(r.Max, r.MaxAttempts-n)), false
		}
		longest = sum(longest, time.Duration(pause))
		if pause *= r.Multiplier; r.Multiplier <= 1 {
			return sum(longest, times(r.Initial, r.MaxAttempts-n-1)), false
		}
	}
	return longest, false
}

// times and sum stay at the longest duration that there is.
func times(d time.Duration, n int) time.Duration {
	if product := float64(d) * float64(n); product < math.MaxInt64 {
		return time.Duration(n) * d
	}
	return math.MaxInt64
}

func sum(a, b time.Duration) time.Duration {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// words is a duration without its zeros: 24h, 1h30m.
func words(d time.Duration) string {
	s := d.Round(time.Second).String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}
