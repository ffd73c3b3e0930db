package oee

import (
	"errors"
	"fmt"
	"math"
	"strconv"
)

// Units is a number of units in millionths: 12.5 pieces are 12_500_000. Sums
// of it are exact.
type Units int64

// Unit is one unit.
const Unit Units = 1_000_000

// MaxUnits bounds what is read: a larger number is no count of anything.
const MaxUnits = 1_000_000_000_000 * Unit

// ErrUnits is behind every error of ParseUnits.
var ErrUnits = errors.New("not a number of units")

// ParseUnits reads a decimal number, as JSON writes it ("12", "12.5", "1.2e3").
// What is finer than a millionth is rounded to the nearest one, halves up. A
// negative number, one above MaxUnits, NaN and infinity are refused.
func ParseUnits[T ~string | ~[]byte](text T) (Units, error) {
	refuse := func(why string) (Units, error) {
		shown := string(text)
		if len(shown) > 40 {
			shown = shown[:40] + "…"
		}
		return 0, fmt.Errorf("%w: %q: %s", ErrUnits, shown, why)
	}
	i := 0
	if len(text) > 0 && (text[0] == '-' || text[0] == '+') {
		i = 1
	}
	// digits holds the first nineteen significant digits; scale is the power of
	// ten that they are multiplied with.
	var digits uint64
	var scale, kept, seen int
	fraction := false
	for ; i < len(text); i++ {
		c := text[i]
		if c == '.' && !fraction {
			fraction = true
			continue
		}
		if c < '0' || c > '9' {
			break
		}
		seen++
		if kept < 19 && (kept > 0 || c != '0') {
			digits = digits*10 + uint64(c-'0')
			kept++
			if fraction {
				scale--
			}
		} else if kept > 0 && !fraction {
			scale++ // a digit before the point that is not kept
		} else if kept == 0 && fraction {
			scale-- // a zero behind the point, before anything counts
		}
	}
	if seen == 0 {
		return refuse("no digits")
	}
	if i < len(text) {
		if text[i] != 'e' && text[i] != 'E' {
			return refuse("not a decimal number")
		}
		exponent, err := strconv.Atoi(string(text[i+1:]))
		if err != nil || exponent > 400 || exponent < -400 {
			return refuse("its exponent is not to be read")
		}
		scale += exponent
	}
	if digits == 0 {
		return 0, nil // minus zero too
	}
	if text[0] == '-' {
		return refuse("it is negative")
	}
	scale += 6 // millionths
	for ; scale > 0; scale-- {
		if digits > math.MaxUint64/10 {
			return refuse("it is too large")
		}
		digits *= 10
	}
	for ; scale < -1 && digits > 0; scale++ {
		digits /= 10
	}
	if scale == -1 {
		digits = digits/10 + (digits%10)/5
	}
	if digits > uint64(MaxUnits) {
		return refuse("it is too large")
	}
	return Units(digits), nil
}

// String is the number in decimal, without trailing zeros.
func (u Units) String() string { return string(u.AppendText(nil)) }

// AppendText appends what String returns.
func (u Units) AppendText(b []byte) []byte { return appendDecimal(b, int64(u), int64(Unit)) }

// MarshalJSON writes a JSON number, exactly.
func (u Units) MarshalJSON() ([]byte, error) { return u.AppendText(nil), nil }

// appendDecimal appends n/one, one being a power of ten, without trailing
// zeros.
func appendDecimal(b []byte, n, one int64) []byte {
	magnitude := uint64(n)
	if n < 0 {
		b = append(b, '-')
		magnitude = -magnitude
	}
	b = strconv.AppendUint(b, magnitude/uint64(one), 10)
	rest := magnitude % uint64(one)
	if rest == 0 {
		return b
	}
	b = append(b, '.')
	for rest > 0 {
		rest *= 10
		b = append(b, byte('0'+rest/uint64(one)))
		rest %= uint64(one)
	}
	return b
}

// add is a+b, held at the ends of the range: a sum that would leave it is
// wrong anyhow, but must not change its sign.
func add[T ~int64](a, b T) T {
	sum := a + b
	if (sum > a) != (b > 0) && b != 0 {
		if b > 0 {
			return math.MaxInt64
		}
		return math.MinInt64
	}
	return sum
}
