package consumers

import (
	"cmp"
	"crypto/md5"
	"encoding/binary"
	"math/bits"

	"github.com/shardline/shardline/checkpoint"
)

// hashKey is a point of the hash keys, 0 to 2^128−1, among which the shards of
// a stream are divided.
type hashKey struct{ high, low uint64 }

// hashOf is where a partition key falls: its MD5, unsigned.
func hashOf(partitionKey string) hashKey {
	sum := md5.Sum([]byte(partitionKey))
	return hashKey{binary.BigEndian.Uint64(sum[:8]), binary.BigEndian.Uint64(sum[8:])}
}

// parseHashKey reads a hash key in decimal, as the service writes it.
func parseHashKey[T string | []byte](s T) (hashKey, bool) {
	if len(s) == 0 || len(s) > 39 { // 39 digits are enough for 2^128−1
		return hashKey{}, false
	}
	var h hashKey
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return hashKey{}, false
		}
		// h = 10h + digit; what leaves the 128 bits makes it too large.
		carry, low := bits.Mul64(h.low, 10)
		over, high := bits.Mul64(h.high, 10)
		low, c := bits.Add64(low, uint64(s[i]-'0'), 0)
		high, c = bits.Add64(high, carry, c)
		if over+c > 0 {
			return hashKey{}, false
		}
		h = hashKey{high, low}
	}
	return h, true
}

func (h hashKey) compare(o hashKey) int {
	if c := cmp.Compare(h.high, o.high); c != 0 {
		return c
	}
	return cmp.Compare(h.low, o.low)
}

// hashRange are the hash keys of a shard, both ends included.
type hashRange struct{ from, to hashKey }

var allHashKeys = hashRange{to: hashKey{1<<64 - 1, 1<<64 - 1}}

// rangeOf is a shard's range. One that is not known, or cannot be read, has
// all hash keys: nothing may be taken for another shard's on a guess.
func rangeOf(s checkpoint.Shard) hashRange {
	from, known := parseHashKey(s.HashFrom)
	to, too := parseHashKey(s.HashTo)
	if !known || !too || from.compare(to) > 0 {
		return allHashKeys
	}
	return hashRange{from, to}
}

func (r hashRange) has(h hashKey) bool { return r.from.compare(h) <= 0 && h.compare(r.to) <= 0 }
