package localaws

import (
	"cmp"
	"crypto/md5"
	"encoding/binary"
	"math/big"
	"math/bits"
)

// hashKey is a point of the hash key space, 0 to 2^128−1.
type hashKey struct{ high, low uint64 }

var lastHashKey = hashKey{1<<64 - 1, 1<<64 - 1}

func (h hashKey) compare(o hashKey) int {
	if c := cmp.Compare(h.high, o.high); c != 0 {
		return c
	}
	return cmp.Compare(h.low, o.low)
}

func (h hashKey) minusOne() hashKey {
	low, borrow := bits.Sub64(h.low, 1, 0)
	return hashKey{h.high - borrow, low}
}

func (h hashKey) plusOne() hashKey {
	low, carry := bits.Add64(h.low, 1, 0)
	return hashKey{h.high + carry, low}
}

func (h hashKey) big() *big.Int {
	n := new(big.Int).SetUint64(h.high)
	return n.Lsh(n, 64).Or(n, new(big.Int).SetUint64(h.low))
}

// String is the decimal form that the service uses.
func (h hashKey) String() string { return h.big().String() }

func hashKeyOf(n *big.Int) hashKey {
	var b [16]byte
	n.FillBytes(b[:])
	return hashKey{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

// parseHashKey reads the decimal form, without leading zeros.
func parseHashKey(s string) (hashKey, bool) {
	if s == "" || len(s) > 39 || (len(s) > 1 && s[0] == '0') {
		return hashKey{}, false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return hashKey{}, false
		}
	}
	n, _ := new(big.Int).SetString(s, 10)
	if n.BitLen() > 128 {
		return hashKey{}, false
	}
	return hashKeyOf(n), true
}

// hashOf is where a partition key falls: its MD5.
func hashOf(partitionKey string) hashKey {
	sum := md5.Sum([]byte(partitionKey))
	return hashKey{binary.BigEndian.Uint64(sum[:8]), binary.BigEndian.Uint64(sum[8:])}
}

// shares returns the first keys of n equal ranges.
func shares(n int) []hashKey {
	width := new(big.Int).Lsh(big.NewInt(1), 128)
	width.Div(width, big.NewInt(int64(n)))
	starts := make([]hashKey, n)
	for i := range starts {
		starts[i] = hashKeyOf(new(big.Int).Mul(width, big.NewInt(int64(i))))
	}
	return starts
}
