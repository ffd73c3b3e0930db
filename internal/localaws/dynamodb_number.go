package localaws

import (
	"math/big"
	"strconv"
	"strings"
)

// number is an exact decimal: ±0.digits × 10^exponent, without leading or
// trailing zeros; no digits: 0.
type number struct {
	negative bool
	digits   string
	exponent int
}

// The service's bounds: 38 significant digits, magnitude up to 9.99…E+125 and
// from 1E-130.
const (
	maxDigits   = 38
	maxExponent = 126
	minExponent = -129
)

// parseNumber reads a DynamoDB number.
func parseNumber(s string) (number, *apiError) {
	bad := refuse("ValidationException", "The parameter cannot be converted to a numeric value: %s", s)
	rest := s
	var n number
	switch {
	case strings.HasPrefix(rest, "-"):
		n.negative, rest = true, rest[1:]
	case strings.HasPrefix(rest, "+"):
		rest = rest[1:]
	}
	if at := strings.IndexAny(rest, "eE"); at >= 0 {
		e, err := strconv.Atoi(rest[at+1:])
		if err != nil || e > 10000 || e < -10000 {
			return number{}, bad
		}
		n.exponent, rest = e, rest[:at]
	}
	whole, fraction, _ := strings.Cut(rest, ".")
	n.digits = whole + fraction
	if n.digits == "" || len(n.digits) > 1000 || strings.Trim(n.digits, "0123456789") != "" {
		return number{}, bad
	}
	n.exponent += len(whole)
	trimmed := strings.TrimLeft(n.digits, "0")
	n.exponent -= len(n.digits) - len(trimmed)
	n.digits = strings.TrimRight(trimmed, "0")
	if n.digits == "" {
		return number{}, nil
	}
	switch {
	case len(n.digits) > maxDigits:
		return number{}, refuse("ValidationException", "Attempting to store more than 38 significant digits in a Number")
	case n.exponent > maxExponent:
		return number{}, refuse("ValidationException", "Number overflow. Attempting to store a number with magnitude larger than supported range")
	case n.exponent < minExponent:
		return number{}, refuse("ValidationException", "Number underflow. Attempting to store a number with magnitude smaller than supported range")
	}
	return n, nil
}

// String is the form that the service returns: plain digits.
func (n number) String() string {
	if n.digits == "" {
		return "0"
	}
	var b strings.Builder
	if n.negative {
		b.WriteByte('-')
	}
	switch {
	case n.exponent <= 0:
		b.WriteString("0." + strings.Repeat("0", -n.exponent) + n.digits)
	case n.exponent >= len(n.digits):
		b.WriteString(n.digits + strings.Repeat("0", n.exponent-len(n.digits)))
	default:
		b.WriteString(n.digits[:n.exponent] + "." + n.digits[n.exponent:])
	}
	return b.String()
}

func (n number) compare(o number) int {
	switch sign := n.sign(); {
	case sign != o.sign():
		return sign - o.sign()
	case sign == 0:
		return 0
	case sign < 0:
		n, o = o, n
		fallthrough
	default:
		if n.exponent != o.exponent {
			return n.exponent - o.exponent
		}
		return strings.Compare(n.digits, o.digits) // both are 0.digits
	}
}

func (n number) sign() int {
	switch {
	case n.digits == "":
		return 0
	case n.negative:
		return -1
	}
	return 1
}

// plus adds exactly, or subtracts.
func (n number) plus(o number, subtract bool) (number, *apiError) {
	low := min(n.exponent-len(n.digits), o.exponent-len(o.digits))
	a, b := n.scaled(low), o.scaled(low)
	if subtract {
		b.Neg(b)
	}
	return parseNumber(a.Add(a, b).String() + "e" + strconv.Itoa(low))
}

// scaled is n / 10^low.
func (n number) scaled(low int) *big.Int {
	if n.digits == "" {
		return new(big.Int)
	}
	i, _ := new(big.Int).SetString(n.digits+strings.Repeat("0", n.exponent-len(n.digits)-low), 10)
	if n.negative {
		i.Neg(i)
	}
	return i
}
