package opentravel_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/shardline/shardline/pipeline/opentravel"
)

func TestRefused(t *testing.T) {
	tests := []struct {
		name, message string
		want          string // line:column: and the reason's beginning
	}{
		{"nothing", "", "1:1: empty body"},
		{"white space", " \r\n\t", "1:1: empty body"},
		{"mark alone", "\xEF\xBB\xBF", "1:1: empty body"},
		{"JSON", `{"HotelCode": "1"}`, `1:1: not XML: begins with "{\"Hotel`},
		{"form", "\n  a=b", `2:3: not XML`},
		{"gzip", "\x1f\x8b\x08\x00", "1:1: not XML: begins with a gzip header"},
		{"declaration alone", `<?xml version="1.0"?>`, "1:22: no root element"},
		{"comment alone", "<!-- x -->\n", "2:1: no root element"},

		{"DTD", "<?xml version=\"1.0\"?>\n<!DOCTYPE a SYSTEM \"file:///etc/passwd\">\n<a/>", "2:1: document type declaration"},
		{"entity bomb", `<!DOCTYPE b [<!ENTITY a "ha"><!ENTITY c "&a;&a;">]><b>&c;</b>`, "1:1: document type declaration"},
		{"DTD in small letters", `<!doctype a><a/>`, "1:1: document type declaration"},
		{"entity declaration", `<a><!ENTITY x "y"></a>`, "1:4: entity declaration"},
		{"custom entity", `<a>&euro;</a>`, `1:4: entity "euro" is not predefined`},
		{"custom entity in a value", `<a b="x&nbsp;"/>`, `1:8: entity "nbsp" is not predefined`},
		{"bare ampersand", `<a b="R&B"/>`, "1:8: unescaped &"},
		{"bare ampersand in text", "<a>\nR & B;</a>", `2:3: entity " B" is not`},
		{"character 0", `<a>&#0;</a>`, `1:4: &"#0"; names no character`},
		{"surrogate", `<a>&#xD800;</a>`, `1:4: &"#xD800"; names no character`},
		{"beyond Unicode", `<a>&#x110000;</a>`, `1:4: &"#x110000"; names no`},
		{"empty reference", `<a>&;</a>`, `1:4: entity "" is not`},
		{"number without digits", `<a>&#x;</a>`, `1:4: &"#x"; names no`},

		{"truncated in a tag", `<a><b c="d"`, "1:4: truncated: the tag <b is not closed"},
		{"truncated in a name", `<a><b`, "1:4: truncated: the tag <b is not closed"},
		{"truncated behind <", `<a><`, "1:4: truncated"},
		{"truncated in a value", "<a>\n<b c=\"d", "2:6: truncated: the value of attribute c is not closed"},
		{"truncated in text", "<a>\n <b>text", "2:9: truncated: <b> of line 2 column 2 is not closed"},
		{"truncated in an end tag", `<a></a`, "1:4: truncated: the end tag"},
		{"truncated in a comment", `<a><!-- x`, "1:4: truncated: the comment"},
		{"truncated in CDATA", `<a><![CDATA[ x`, "1:4: truncated: the CDATA"},
		{"truncated in an instruction", `<a><?x y`, "1:4: truncated: the processing"},
		{"truncated declaration", `<?xml version="1.0"`, "1:1: truncated: the XML declaration"},
		{"truncated reference", `<a>&am`, "1:4: unescaped &"},

		{"unquoted value", `<a HotelCode=12/>`, "1:14: value of attribute HotelCode is not quoted"},
		{"no value", `<a b>`, "1:5: attribute b has no value"},
		{"missing quote", "<a b=\"c>\n<d e=\"f\"/></a>", "2:1: < inside the value of attribute b"},
		{"no space between", `<a b="1"c="2"/>`, "1:9: no white space"},
		{"same attribute twice", `<a HotelCode="1" HotelCode="2"/>`, "1:18: attribute HotelCode stands twice"},
		{"slash inside", `<a / b="1"/>`, "1:4: / inside a tag"},
		{"name begins with a digit", `<1a/>`, "1:1: < begins no tag"},
		{"less-than in text", `<a>1 < 2</a>`, "1:6: < begins no tag"},
		{"two colons", `<a:b:c/>`, "1:1: < begins no tag (write &lt;): a name has two colons"},
		{"empty prefix", `<:c/>`, "1:1: < begins no tag"},
		{"no local name", `<c:/>`, "1:1: < begins no tag"},
		{"name with a multiplication sign", `<a×b/>`, "1:1: < begins no tag (write &lt;): a name holds a character"},

		{"mismatched", "<a>\n  <b></c></a>", "2:6: </c> does not match <b> of line 2 column 3"},
		{"end tag is only the beginning of the name", `<a><bc></b></a>`, "1:8: </b> does not match <bc>"},
		{"end tag is longer than the name", `<a><b></bc></a>`, "1:7: </bc> does not match <b>"},
		{"another prefix", `<x:a></y:a>`, "1:6: </y:a> does not match <x:a>"},
		{"end without start", `</a>`, "1:1: end tag without a start tag"},
		{"end tag with attribute", `<a></a b="c">`, "1:8: end tag holds more"},
		{"second root", `<a/><b/>`, "1:5: second root element <b>"},
		{"text behind", "<a/>\nx", "2:1: text behind the root element"},
		{"zeros behind", "<a/>\x00\x00", "1:5: byte 0x00 is a control character"},
		{"text before", "<!-- c -->x<a/>", "1:11: text before the root element"},
		{"CDATA before", "<![CDATA[x]]><a/>", "1:1: CDATA outside"},
		{"declaration inside", `<a><?xml version="1.0"?></a>`, "1:4: an XML declaration may stand only"},
		{"-- in a comment", `<a><!-- x -- y --></a>`, "1:11: -- inside a comment"},
		{"]]> in text", `<a>x]]></a>`, "1:5: ]]> outside"},
		{"unknown <!", `<a><!x></a>`, "1:4: <! begins neither"},
		{"instruction without name", `<a><? x?></a>`, "1:4: processing instruction without a name"},

		{"version", `<?xml version="1.1"?><a/>`, `1:1: XML version "1.1" is not supported`},
		{"no version", `<?xml encoding="utf-8"?><a/>`, "1:1: malformed XML declaration"},
		{"nothing declared", `<?xml?><a/>`, "1:1: XML declaration without a version"},
		{"standalone", `<?xml version="1.0" standalone="maybe"?><a/>`, "1:1: malformed XML declaration: standalone"},
		{"unquoted declaration", `<?xml version=1.0?><a/>`, "1:1: malformed XML declaration: the value of version is not quoted"},
		{"unknown encoding", `<?xml version="1.0" encoding="ebcdic"?><a/>`, `1:1: encoding "ebcdic" is not supported`},

		{"invalid UTF-8", "<a>\n\xC3\xA9 \x96</a>", "2:3: byte 0x96 is not valid UTF-8"},
		{"overlong UTF-8", "<a>\xC0\xAF</a>", "1:4: byte 0xc0 is not valid UTF-8"},
		{"surrogate in UTF-8", "<a>\xED\xA0\x80</a>", "1:4: byte 0xed is not valid UTF-8"},
		{"control character", "<a>x\x0Bxxxxxxxxxxxx</a>", "1:5: byte 0x0b is a control character"},
		{"control character in a value", "<a b='\x1F'/>", "1:7: byte 0x1f is a control"},
		{"U+FFFF", "<a>\xEF\xBF\xBF</a>", "1:4: character U+FFFF"},
		{"ASCII that is not", "<?xml version='1.0' encoding='us-ascii'?><a>é</a>", "1:45: byte 0xc3 is not valid us-ascii"},
		{"lines end with CR or CR LF", "<a>\r\r\n\n é<b>", "4:6: truncated: <b> of line 4 column 3 is not closed"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m, err := opentravel.Scan([]byte(test.message))
			var refused *opentravel.SyntaxError
			if !errors.As(err, &refused) {
				t.Fatalf("accepted as %+v, error %v", m, err)
			}
			if !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("got  %s\nwant %s…", err, test.want)
			}
			if m.Type != "" || m.HotelCodes != nil {
				t.Errorf("a refused message came with %+v", m)
			}
		})
	}
}

// TestEveryPrefixIsRefused cuts a message at every byte.
func TestEveryPrefixIsRefused(t *testing.T) {
	whole := "\xEF\xBB\xBF <?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!-- é --><?pi x?>" +
		envelope12("<env:Header><HotelCode>1</HotelCode></env:Header>",
			message("HotelAvailNotif", "<AvailStatusMessages HotelCode='&#48;é'>a<![CDATA[b]]>&amp;</AvailStatusMessages>"))
	if _, err := opentravel.Scan([]byte(whole)); err != nil {
		t.Fatal(err)
	}
	for n := range len(whole) {
		if m, err := opentravel.Scan([]byte(whole[:n])); err == nil {
			t.Fatalf("the first %d bytes were accepted as %+v:\n%s", n, m, whole[:n])
		}
	}
}

func TestLimits(t *testing.T) {
	nested := func(n int) string { return strings.Repeat("<a>", n) + strings.Repeat("</a>", n) }
	attributes := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, ` a%d=""`, i)
		}
		return "<a" + b.String() + "/>"
	}
	tests := []struct {
		name, message, want string
	}{
		{"128 levels", nested(128), ""},
		{"129 levels", nested(129), "1:385: nested deeper than 128 elements"},
		{"128 attributes", attributes(128), ""},
		// <a, 10 × 6, 90 × 7 and 28 × 8 bytes, a space: the next is column 918.
		{"129 attributes", attributes(129), "1:918: more than 128 attributes"},
	}
	for _, test := range tests {
		got := ""
		if _, err := opentravel.Scan([]byte(test.message)); err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

// TestHostileSizes reads megabytes made to be slow. A quadratic reader would
// need minutes for them.
func TestHostileSizes(t *testing.T) {
	const size = 1 << 20
	for _, unit := range []string{"<", "<a>", "&", "&#48;", "]", "]]", "<!--", "<![CDATA[", "<a b='", " ", "\x00<", "a='' ", "é"} {
		for _, before := range []string{"", "<a>", "<a ", `<a b="`, "<HotelCode>"} {
			data := []byte(before + strings.Repeat(unit, size/len(unit)))
			start := time.Now()
			if _, err := opentravel.Scan(data); err == nil {
				t.Errorf("%q and then %q …: accepted", before, unit)
			}
			opentravel.ReadAnswer(data, false)
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("%q and then %q …: %v", before, unit, took)
			}
		}
	}
}
