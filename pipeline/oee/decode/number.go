package decode

import (
	"bytes"
	"errors"
	"math"
)

// number is digits × 10^exponent, as it was written.
type number struct {
	negative bool
	digits   uint64 // below 10^19
	exponent int
}

var (
	errNoNumber = errors.New("it is no number")
	errTooLarge = errors.New("it is too large")
)

// parseNumber reads a decimal number, as JSON has it or as text. What stands
// behind 19 digits that count is left out: no time is that fine.
func parseNumber(text []byte) (number, error) {
	var n number
	text = bytes.TrimSpace(text)
	i := 0
	if i < len(text) && (text[i] == '-' || text[i] == '+') {
		n.negative = text[i] == '-'
		i++
	}
	seen, point := 0, false
	for ; i < len(text); i++ {
		c := text[i]
		if c == '.' && !point {
			point = true
			continue
		}
		if c < '0' || c > '9' {
			break
		}
		seen++
		switch kept := n.digits < 1e18; {
		case kept:
			n.digits = n.digits*10 + uint64(c-'0')
			if point {
				n.exponent--
			}
		case !point:
			n.exponent++
		}
	}
	if seen == 0 {
		return number{}, errNoNumber
	}
	if i == len(text) {
		return n, nil
	}
	if text[i] != 'e' && text[i] != 'E' {
		return number{}, errNoNumber
	}
	exponent, err := parseExponent(text[i+1:])
	n.exponent += exponent
	return n, err
}

func parseExponent(text []byte) (exponent int, err error) {
	negative := false
	if len(text) > 0 && (text[0] == '-' || text[0] == '+') {
		negative = text[0] == '-'
		text = text[1:]
	}
	if len(text) == 0 {
		return 0, errNoNumber
	}
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, errNoNumber
		}
		exponent = min(exponent*10+int(c-'0'), 10_000) // beyond any number that is used
	}
	if negative {
		exponent = -exponent
	}
	return exponent, nil
}

// scaled is n × 10^places, rounded half to even.
func (n number) scaled(places int) (int64, error) {
	value, exponent := n.digits, n.exponent+places
	for ; exponent > 0 && value != 0; exponent-- {
		if value > math.MaxInt64/10 {
			return 0, errTooLarge
		}
		value *= 10
	}
	rest, exact := uint64(0), true // the last digit cut off, and whether those behind it are 0
	for ; exponent < 0 && (value != 0 || rest != 0); exponent++ {
		exact = exact && rest == 0
		rest, value = value%10, value/10
	}
	if rest > 5 || rest == 5 && (!exact || value%2 == 1) {
		value++
	}
	if value > math.MaxInt64 {
		return 0, errTooLarge
	}
	if n.negative {
		return -int64(value), nil
	}
	return int64(value), nil
}

// times is n × factor, a small one, to 16 digits at least.
func (n number) times(factor uint64) number {
	for n.digits > math.MaxUint64/factor {
		n.digits /= 10
		n.exponent++
	}
	n.digits *= factor
	return n
}

// size is about what n is, without its sign.
func (n number) size() float64 { return float64(n.digits) * math.Pow10(n.exponent) }
