package opentravel

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

var utf8BOM = []byte("\xEF\xBB\xBF")

const (
	charsetUTF8    = "utf-8"
	charsetUTF16   = "utf-16" // with a byte-order mark
	charsetUTF16LE = "utf-16le"
	charsetUTF16BE = "utf-16be"
)

// singleByte has the declared encodings that are transcoded byte by byte.
var singleByte = map[string]struct {
	charset string
	table   *charmap.Charmap
}{
	"iso-8859-1":   {"iso-8859-1", charmap.ISO8859_1},
	"iso8859-1":    {"iso-8859-1", charmap.ISO8859_1},
	"iso_8859-1":   {"iso-8859-1", charmap.ISO8859_1},
	"latin1":       {"iso-8859-1", charmap.ISO8859_1},
	"iso-8859-15":  {"iso-8859-15", charmap.ISO8859_15},
	"windows-1252": {"windows-1252", charmap.Windows1252},
	"cp1252":       {"windows-1252", charmap.Windows1252},
}

// decoded is a message as UTF-8 text, ready for the scanner.
type decoded struct {
	text    []byte // the input itself unless it had to be transcoded
	start   int    // of the first token behind mark, white space and declaration
	charset string // what the bytes were in
}

// decode finds the encoding, transcodes to UTF-8 where needed, reads the XML
// declaration and checks that every character is one that XML allows. The bytes
// decide over the declaration: a text in single bytes that declares UTF-16 (as
// string writers of some platforms do) is read as UTF-8, which is also what its
// charset says.
func decode(data []byte) (decoded, *SyntaxError) {
	text, charset, failure := decodeMarked(data)
	if failure != nil {
		return decoded{}, failure
	}
	start := 0
	if bytes.HasPrefix(text, utf8BOM) {
		start = len(utf8BOM)
	}
	start = skipSpace(text, start)
	if start == len(text) {
		return decoded{}, syntaxError(text, 0, "empty body")
	}
	if text[start] != '<' {
		return decoded{}, syntaxError(text, start, "not XML: begins with "+excerpt(text[start:]))
	}
	label, start, failure := declaration(text, start)
	if failure != nil {
		return decoded{}, failure
	}
	ascii := false
	if charset == charsetUTF8 && !bytes.HasPrefix(text, utf8BOM) && !bytes.EqualFold(label, []byte(charsetUTF8)) {
		switch label := strings.ToLower(string(label)); label {
		case "", "utf8", charsetUTF16, charsetUTF16LE, charsetUTF16BE, "ucs-2", "iso-10646-ucs-2":
		case "us-ascii", "ascii":
			ascii = true
		default:
			single, ok := singleByte[label]
			if !ok {
				return decoded{}, syntaxError(text, 0, fmt.Sprintf(
					"encoding %.40q is not supported: use utf-8, utf-16, iso-8859-1, iso-8859-15 or windows-1252", label))
			}
			charset = single.charset
			if text, failure = decodeSingle(text, charset, single.table); failure != nil {
				return decoded{}, failure
			}
		}
	}
	if failure := checkCharacters(text, ascii); failure != nil {
		return decoded{}, failure
	}
	return decoded{text, start, charset}, nil
}

// decodeMarked transcodes UTF-16, known by its byte-order mark or by the zero
// beside its first character. Anything else is taken for UTF-8 so far.
func decodeMarked(data []byte) ([]byte, string, *SyntaxError) {
	switch {
	case len(data) == 0:
		return nil, "", syntaxError(nil, 0, "empty body")
	case bytes.HasPrefix(data, []byte("\xFF\xFE\x00\x00")), bytes.HasPrefix(data, []byte("\x00\x00\xFE\xFF")):
		return nil, "", syntaxError(nil, 0, "encoding UTF-32 is not supported")
	case bytes.HasPrefix(data, []byte("\xFF\xFE")):
		return decodeUTF16(data[2:], binary.LittleEndian, charsetUTF16)
	case bytes.HasPrefix(data, []byte("\xFE\xFF")):
		return decodeUTF16(data[2:], binary.BigEndian, charsetUTF16)
	case len(data) > 1 && data[1] == 0 && (data[0] == '<' || isSpace(data[0])):
		return decodeUTF16(data, binary.LittleEndian, charsetUTF16LE)
	case len(data) > 1 && data[0] == 0 && (data[1] == '<' || isSpace(data[1])):
		return decodeUTF16(data, binary.BigEndian, charsetUTF16BE)
	}
	return data, charsetUTF8, nil
}

func decodeUTF16(data []byte, order binary.ByteOrder, charset string) ([]byte, string, *SyntaxError) {
	text := make([]byte, 0, len(data)/2+len(data)/8)
	for i := 0; i < len(data); i += 2 {
		if i+1 == len(data) {
			return nil, "", syntaxError(text, len(text), "truncated: half a UTF-16 character at the end")
		}
		char := rune(order.Uint16(data[i:]))
		if utf16.IsSurrogate(char) {
			low := rune(0)
			if i+3 < len(data) {
				low = rune(order.Uint16(data[i+2:]))
			}
			if char = utf16.DecodeRune(char, low); char == utf8.RuneError {
				return nil, "", syntaxError(text, len(text), "half a surrogate pair: not valid UTF-16")
			}
			i += 2
		}
		text = utf8.AppendRune(text, char)
	}
	if len(text) == 0 {
		return nil, "", syntaxError(nil, 0, "empty body")
	}
	return text, charset, nil
}

func decodeSingle(data []byte, charset string, table *charmap.Charmap) ([]byte, *SyntaxError) {
	text := make([]byte, 0, len(data)+len(data)/16)
	for _, c := range data {
		if c < utf8.RuneSelf {
			text = append(text, c)
			continue
		}
		char := table.DecodeByte(c)
		if char == utf8.RuneError {
			return nil, syntaxError(text, len(text), fmt.Sprintf("byte 0x%02x is not valid %s", c, charset))
		}
		text = utf8.AppendRune(text, char)
	}
	return text, nil
}

// checkCharacters refuses what no XML text may hold. Eight bytes at a time: the
// scanner behind it need not look at single characters again.
func checkCharacters(text []byte, ascii bool) *SyntaxError {
	const (
		low7 = 0x7f7f7f7f7f7f7f7f
		high = 0x8080808080808080
		each = 0x0101010101010101
	)
	// zero has the high bit of each byte of x that is zero.
	zero := func(x uint64) uint64 { return ^((x & low7) + low7 | x) & high }
	wide := uint64(0) // all bytes together: is any beyond ASCII?
	i := 0
	for ; i+8 <= len(text); i += 8 {
		x := binary.LittleEndian.Uint64(text[i:])
		wide |= x
		// Bytes below 0x20: adding 0x60 to seven bits does not reach the eighth.
		control := ^((x & low7) + 0x60*each | x) & high
		if control != 0 && control&^(zero(x^'\n'*each)|zero(x^'\r'*each)|zero(x^'\t'*each)) != 0 {
			break // the loop below finds which
		}
	}
	for ; i < len(text); i++ {
		c := text[i]
		wide |= uint64(c)
		if c < 0x20 && !isSpace(c) {
			return syntaxError(text, i, fmt.Sprintf("byte 0x%02x is a control character that XML does not allow", c))
		}
	}
	if wide&high == 0 {
		return nil
	}
	if ascii || !utf8.Valid(text) || bytes.Contains(text, []byte("\xEF\xBF\xBE")) || bytes.Contains(text, []byte("\xEF\xBF\xBF")) {
		return wideError(text, ascii)
	}
	return nil
}

// wideError finds the first bytes beyond ASCII that are refused.
func wideError(text []byte, ascii bool) *SyntaxError {
	for i := 0; i < len(text); {
		char, size := utf8.DecodeRune(text[i:])
		switch {
		case char < utf8.RuneSelf:
		case ascii && i >= len(utf8BOM):
			return syntaxError(text, i, fmt.Sprintf("byte 0x%02x is not valid us-ascii, which the declaration names", text[i]))
		case char == utf8.RuneError && size == 1:
			return syntaxError(text, i, fmt.Sprintf("byte 0x%02x is not valid UTF-8", text[i]))
		case !isChar(char):
			return syntaxError(text, i, fmt.Sprintf("character U+%04X is one that XML does not allow", char))
		}
		i += size
	}
	return nil
}

// declaration reads <?xml …?> at text[start], if there is one: the encoding it
// names and the byte behind it.
func declaration(text []byte, start int) (encoding []byte, next int, failure *SyntaxError) {
	rest, ok := bytes.CutPrefix(text[start:], []byte("<?xml"))
	if !ok || len(rest) > 0 && class[rest[0]]&name != 0 {
		return nil, start, nil // none, or <?xml-stylesheet …?>
	}
	refuse := func(reason string) ([]byte, int, *SyntaxError) {
		return nil, 0, syntaxError(text, start, reason)
	}
	end := bytes.Index(rest, []byte("?>"))
	if end < 0 {
		return refuse("truncated: the XML declaration is not closed")
	}
	next = start + len("<?xml") + end + len("?>")
	rest = rest[:end]
	fields := [...]string{"version", "encoding", "standalone"} // in this order; the first must be there
	for field := 0; ; field++ {
		i := skipSpace(rest, 0)
		if i == len(rest) {
			if field == 0 {
				return refuse("XML declaration without a version")
			}
			return encoding, next, nil
		}
		n := i
		for n < len(rest) && class[rest[n]]&name != 0 {
			n++
		}
		for field > 0 && field < len(fields) && fields[field] != string(rest[i:n]) {
			field++
		}
		equal := skipSpace(rest, n)
		if i == 0 || field == len(fields) || fields[field] != string(rest[i:n]) || equal == len(rest) || rest[equal] != '=' {
			return refuse("malformed XML declaration: expected version, encoding, standalone in this order")
		}
		quote := skipSpace(rest, equal+1)
		if quote == len(rest) || rest[quote] != '"' && rest[quote] != '\'' {
			return refuse("malformed XML declaration: the value of " + fields[field] + " is not quoted")
		}
		length := bytes.IndexByte(rest[quote+1:], rest[quote])
		if length < 0 {
			return refuse("malformed XML declaration: the value of " + fields[field] + " is not closed")
		}
		value := rest[quote+1 : quote+1+length]
		rest = rest[quote+1+length+1:]
		switch {
		case field == 0 && string(value) != "1.0":
			return refuse(fmt.Sprintf("XML version %.10q is not supported: use 1.0", value))
		case field == 1:
			encoding = value
		case field == 2 && string(value) != "yes" && string(value) != "no":
			return refuse("malformed XML declaration: standalone is neither yes nor no")
		}
	}
}

// excerpt quotes the beginning of a body that is not XML.
func excerpt(text []byte) string {
	const longest = 20
	if bytes.HasPrefix(text, []byte("\x1f\x8b")) {
		return "a gzip header: the body is compressed"
	}
	if len(text) > longest {
		text = text[:longest]
	}
	return fmt.Sprintf("%q", text)
}
