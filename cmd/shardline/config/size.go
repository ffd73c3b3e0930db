package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes.
type Size int64

// The units of a size.
const (
	KiB Size = 1 << (10 * (iota + 1))
	MiB
	GiB
)

var sizeUnits = []struct {
	name string
	size Size
}{{"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB}, {"B", 1}}

// String is the size in the largest unit that divides it: 64MiB.
func (s Size) String() string {
	for _, u := range sizeUnits {
		if s != 0 && s%u.size == 0 {
			return strconv.FormatInt(int64(s/u.size), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// ParseSize reads 64MiB, 512KiB, 1GiB, 100B, or a plain number of bytes.
func ParseSize(text string) (Size, error) {
	number, unit := text, Size(1)
	for _, u := range sizeUnits {
		if rest, ok := strings.CutSuffix(text, u.name); ok {
			number, unit = rest, u.size
			break
		}
	}
	n, err := strconv.ParseUint(number, 10, 63)
	if err != nil || strings.HasPrefix(number, "+") {
		return 0, fmt.Errorf("not a size")
	}
	if n > uint64(math.MaxInt64/unit) {
		return 0, fmt.Errorf("too large")
	}
	return Size(n) * unit, nil
}
