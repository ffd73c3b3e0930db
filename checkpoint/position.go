package checkpoint

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Position is a place in a shard: everything up to and including it is
// settled. It is a record's sequence number and sub-sequence number, or one
// of the sentinels of the Kinesis Client Library. The zero value is
// TrimHorizon: nothing is settled.
type Position struct {
	// Sequence is the decimal sequence number, or a sentinel's name; "" is
	// TRIM_HORIZON.
	Sequence string
	// Sub is the index of the user record inside an aggregated one, else 0.
	// For AT_TIMESTAMP it is the instant in Unix milliseconds, for LATEST too
	// when it is pinned to one.
	Sub int64
}

// The sentinels, as they stand in the lease table.
const (
	trimHorizon = "TRIM_HORIZON"
	latest      = "LATEST"
	atTimestamp = "AT_TIMESTAMP"
	shardEnd    = "SHARD_END"
)

var (
	// TrimHorizon is the oldest record that the stream still holds.
	TrimHorizon = Position{}
	// Latest is the tip at the time of reading, as KCL workers write it.
	// Shardline pins it to a time: LatestAt.
	Latest = Position{Sequence: latest}
	// ShardEnd is behind the last record of a closed shard.
	ShardEnd = Position{Sequence: shardEnd}
)

// At is the position before the first record that arrived at t or later, to
// the millisecond.
func At(t time.Time) Position { return Position{Sequence: atTimestamp, Sub: t.UnixMilli()} }

// LatestAt is At(t) for Shardline, and LATEST for KCL workers, which know no
// instant: on a table that is shared with them.
func LatestAt(t time.Time) Position { return Position{Sequence: latest, Sub: t.UnixMilli()} }

// Number is the position of a record.
func Number(sequence string, sub int64) Position { return Position{Sequence: sequence, Sub: sub} }

// ParsePosition reads what String writes.
func ParsePosition(s string) (Position, error) {
	sequence, sub, found := strings.Cut(s, ":")
	p := Position{Sequence: sequence}
	if sequence == trimHorizon {
		p.Sequence = ""
	}
	if found {
		if r := rank(p.Sequence); r == rankTrimHorizon || r == rankShardEnd {
			return Position{}, fmt.Errorf("position %q: %s has no sub-sequence number", s, p)
		}
		n, err := strconv.ParseInt(sub, 10, 64)
		if err != nil {
			return Position{}, fmt.Errorf("position %q: sub-sequence number: %w", s, err)
		}
		p.Sub = n
	}
	if rank(p.Sequence) == rankNumber && !digits(p.Sequence) {
		return Position{}, fmt.Errorf("position %q: neither a sequence number nor TRIM_HORIZON, LATEST, AT_TIMESTAMP or SHARD_END", s)
	}
	return p, nil
}

// String is SEQUENCE:SUB, or the sentinel's name (AT_TIMESTAMP:MILLISECONDS,
// LATEST:MILLISECONDS).
func (p Position) String() string {
	switch r := rank(p.Sequence); {
	case r == rankTrimHorizon:
		return trimHorizon
	case r == rankShardEnd || p == Latest:
		return p.Sequence
	}
	return p.Sequence + ":" + strconv.FormatInt(p.Sub, 10)
}

// Time is the instant of an AT_TIMESTAMP position, or of LATEST that is pinned
// to one.
func (p Position) Time() (time.Time, bool) {
	if p.Sequence != atTimestamp && (p.Sequence != latest || p.Sub == 0) {
		return time.Time{}, false
	}
	return time.UnixMilli(p.Sub), true
}

// IsNumber says whether p is the position of a record.
func (p Position) IsNumber() bool { return rank(p.Sequence) == rankNumber }

// Compare orders positions as the Kinesis Client Library does:
// AT_TIMESTAMP < TRIM_HORIZON < LATEST < numbers < SHARD_END; numbers by
// sequence number, then by sub-sequence number.
func (p Position) Compare(q Position) int {
	rp, rq := rank(p.Sequence), rank(q.Sequence)
	if rp != rq {
		return cmp.Compare(rp, rq)
	}
	if rp == rankNumber {
		if c := compareDigits(p.Sequence, q.Sequence); c != 0 {
			return c
		}
	}
	if p != q && (p == Latest || q == Latest) { // the tip is behind every time
		return cmp.Compare(q.Sub, p.Sub)
	}
	return cmp.Compare(p.Sub, q.Sub)
}

// Covers says whether a record at r that arrived at arrival is settled for
// whoever is at p.
func (p Position) Covers(r Position, arrival time.Time) bool {
	if t, timed := p.Time(); timed {
		return arrival.UnixMilli() < t.UnixMilli()
	}
	switch rank(p.Sequence) {
	case rankTrimHorizon, rankLatest:
		return false
	case rankShardEnd:
		return true
	}
	return r.Compare(p) <= 0
}

// Lowest is the position to read from for several who are at positions: no
// record that one of them has not settled lies before it. A time and a number
// cannot be compared without reading, so together they make TRIM_HORIZON.
// Without positions it is ShardEnd.
func Lowest(positions ...Position) Position {
	low := ShardEnd
	for _, p := range positions {
		rl, rp := rank(low.Sequence), rank(p.Sequence)
		switch {
		case rl == rankShardEnd || rl == rp:
			if p.Compare(low) < 0 {
				low = p
			}
		case rp == rankShardEnd:
		default:
			low = TrimHorizon
		}
	}
	return low
}

const (
	rankAtTimestamp = iota
	rankTrimHorizon
	rankLatest
	rankNumber
	rankShardEnd
)

func rank(sequence string) int {
	switch sequence {
	case "", trimHorizon:
		return rankTrimHorizon
	case latest:
		return rankLatest
	case atTimestamp:
		return rankAtTimestamp
	case shardEnd:
		return rankShardEnd
	}
	return rankNumber
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// compareDigits compares decimal numbers of any length.
func compareDigits(a, b string) int {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	if len(a) != len(b) {
		return cmp.Compare(len(a), len(b))
	}
	return strings.Compare(a, b)
}
