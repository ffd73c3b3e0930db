package oee

import (
	"math"
	"slices"
	"time"
)

// Instants are nanoseconds of Unix time inside the package: cheap to compare
// and to keep. These two are before and after all others.
const (
	never   = math.MinInt64
	forever = math.MaxInt64
)

// span is a stretch of time: from is in it, to is not.
type span struct{ from, to int64 }

func (s span) length() time.Duration { return time.Duration(s.to - s.from) }

func (s span) holds(t int64) bool { return s.from <= t && t < s.to }

func (s span) overlaps(o span) bool { return s.from < o.to && o.from < s.to }

// clip is the part of s in o; its length is 0 or less if there is none.
func (s span) clip(o span) span { return span{max(s.from, o.from), min(s.to, o.to)} }

// union sorts spans and joins those that touch or overlap, in place.
func union(spans []span) []span {
	slices.SortFunc(spans, func(a, b span) int {
		if a.from < b.from || a.from == b.from && a.to < b.to {
			return -1
		}
		return 1
	})
	joined := spans[:0]
	for _, s := range spans {
		switch n := len(joined); {
		case s.from >= s.to:
		case n > 0 && s.from <= joined[n-1].to:
			joined[n-1].to = max(joined[n-1].to, s.to)
		default:
			joined = append(joined, s)
		}
	}
	return joined
}

// subtract appends what of s is in none of the holes, which are a union.
func subtract(to []span, s span, holes []span) []span {
	for _, hole := range holes {
		if hole.to <= s.from {
			continue
		}
		if hole.from >= s.to {
			break
		}
		if s.from < hole.from {
			to = append(to, span{s.from, hole.from})
		}
		s.from = hole.to
	}
	if s.from < s.to {
		to = append(to, s)
	}
	return to
}

// measure is how much of s the spans cover, which are a union.
func measure(spans []span, s span) (sum time.Duration) {
	first, _ := slices.BinarySearchFunc(spans, s.from, func(a span, t int64) int {
		if a.to <= t {
			return -1
		}
		return 1
	})
	for _, part := range spans[first:] {
		if part.from >= s.to {
			break
		}
		sum += part.clip(s).length()
	}
	return sum
}
