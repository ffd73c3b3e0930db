package deliver

import (
	"math"
	"math/rand/v2"
	"time"
)

// RetryPolicy is exponential back-off with full jitter: the pause after the
// n-th failure is random between 0 and Initial × Multiplier^(n-1), at most
// Max. A receiver's Retry-After comes first.
type RetryPolicy struct {
	Initial     time.Duration // 0: 200 ms
	Max         time.Duration // 0: 60 s
	Multiplier  float64       // 0: 2
	MaxAttempts int           // of one record; 0: no limit
	MaxAge      time.Duration // from a record's first attempt, without the time that the destination was held; 0: no limit
}

// OnExhausted says what becomes of a record whose retries are used up.
type OnExhausted uint8

const (
	// ExhaustedDeadLetter: it goes to the dead letters and its key goes on.
	ExhaustedDeadLetter OnExhausted = iota
	// ExhaustedHold: the whole destination waits and probes with it.
	ExhaustedHold
	// ExhaustedHoldKey: it waits with its key until somebody releases it; other
	// keys go on.
	ExhaustedHoldKey
)

// class is what that makes of the record.
func (e OnExhausted) class() Class {
	switch e {
	case ExhaustedHold:
		return Hold
	case ExhaustedHoldKey:
		return HoldKey
	}
	return Refused
}

const (
	// maxUnclear bounds the attempts whose answers decide nothing: such a
	// record would pass no later either, and must not keep its key for ever.
	maxUnclear = 5
	// maxRetryAfter bounds a receiver's wish, so that a slip of its clock does
	// not stop a key for days.
	maxRetryAfter = time.Hour
	// letterWait and maxLetterWait are the back-off of a dead letter that
	// could not be written.
	letterWait    = time.Second
	maxLetterWait = 30 * time.Second
)

func (p RetryPolicy) withDefaults() RetryPolicy {
	if p.Initial <= 0 {
		p.Initial = 200 * time.Millisecond
	}
	if p.Max <= 0 {
		p.Max = 60 * time.Second
	}
	if p.Multiplier < 1 {
		p.Multiplier = 2
	}
	p.Max = max(p.Max, p.Initial)
	return p
}

// pause is the time until the next attempt after n failures, n from 1.
func (p RetryPolicy) pause(n int, retryAfter time.Duration, rng *rand.Rand) time.Duration {
	if retryAfter > 0 {
		// A little jitter, since all keys are told the same.
		return min(retryAfter, maxRetryAfter) + jitter(p.Initial, rng)
	}
	top := float64(p.Initial) * math.Pow(p.Multiplier, float64(n-1))
	if top > float64(p.Max) { // also when it is infinite
		return jitter(p.Max, rng)
	}
	return jitter(time.Duration(top), rng)
}

// exhausted says whether a record has used up its retries, and which.
func (p RetryPolicy) exhausted(failures, unclear int, age time.Duration) (Reason, bool) {
	switch {
	case p.MaxAttempts > 0 && failures >= p.MaxAttempts:
		return ReasonMaxAttempts, true
	case p.MaxAge > 0 && age >= p.MaxAge:
		return ReasonMaxAge, true
	case unclear >= maxUnclear:
		return ReasonOTAUnclear, true
	}
	return 0, false
}

// letterPause is the time until the next try to write a dead letter.
func letterPause(n int, rng *rand.Rand) time.Duration {
	top := min(letterWait<<min(n-1, 10), maxLetterWait)
	return top/2 + jitter(top/2, rng)
}

// jitter is random between 0 and d.
func jitter(d time.Duration, rng *rand.Rand) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(rng.Int64N(int64(d) + 1))
}
