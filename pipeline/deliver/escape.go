package deliver

// What needs no escaping: in a header's value so that any key can be read back,
// in a segment of a path, in a query's value, and in a template's own text.
var (
	headerSafe = bytesOf(func(c byte) bool { return c > ' ' && c < 0x7f && c != '%' })
	pathSafe   = bytesOf(func(c byte) bool { return unreserved(c) || isAny(c, "$&+=:@") })
	querySafe  = bytesOf(unreserved)
	visible    = bytesOf(func(c byte) bool { return c > ' ' && c < 0x7f })
)

func bytesOf(safe func(byte) bool) (t [256]bool) {
	for c := range t {
		t[c] = safe(byte(c))
	}
	return t
}

// unreserved says whether a URL means the same with and without c escaped.
func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || isAny(c, "-_.~")
}

func isAny(c byte, of string) bool {
	for i := range len(of) {
		if of[i] == c {
			return true
		}
	}
	return false
}

// appendEscaped appends s and percent-encodes what is not safe.
func appendEscaped(b []byte, s string, safe *[256]bool) []byte {
	const digits = "0123456789ABCDEF"
	for i := range len(s) {
		if c := s[i]; safe[c] {
			b = append(b, c)
		} else {
			b = append(b, '%', digits[c>>4], digits[c&15])
		}
	}
	return b
}
