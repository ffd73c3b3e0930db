package opentravel_test

import (
	"strings"
	"testing"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"

	"github.com/shardline/shardline/pipeline/opentravel"
)

func TestCharsets(t *testing.T) {
	body := `<OTA_HotelAvailNotifRQ><AvailStatusMessages HotelCode="Zürich-7"/></OTA_HotelAvailNotifRQ>`
	declare := func(label string) string { return `<?xml version="1.0" encoding="` + label + `"?>` + "\n" + body }
	little, big := unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM), unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM)
	tests := []struct {
		name, text string
		encoding   encoding.Encoding // nil: UTF-8
		mark       string
		charset    string
	}{
		{"UTF-8", declare("UTF-8"), nil, "", "utf-8"},
		{"UTF-8 with mark", declare("UTF-8"), nil, "\xEF\xBB\xBF", "utf-8"},
		{"UTF-8 with mark and white space", "\r\n " + declare("utf-8"), nil, "\xEF\xBB\xBF", "utf-8"},
		{"white space before the declaration", "\n\t" + declare("utf-8"), nil, "", "utf-8"},
		{"no declaration", body, nil, "", "utf-8"},
		{"declaration in single quotes, all fields", "<?xml version='1.0' encoding='utf-8' standalone='yes' ?>" + body, nil, "", "utf-8"},
		{"declaration without encoding", "<?xml version='1.0' standalone='no'?>" + body, nil, "", "utf-8"},
		{"style sheet instead of a declaration", "<?xml-stylesheet href='x'?>" + body, nil, "", "utf-8"},
		{"UTF-8 that says UTF-16", declare("utf-16"), nil, "", "utf-8"},
		{"mark over declaration", declare("iso-8859-1"), nil, "\xEF\xBB\xBF", "utf-8"},
		{"UTF-16 LE with mark", declare("UTF-16"), little, "\xFF\xFE", "utf-16"},
		{"UTF-16 BE with mark", declare("UTF-16"), big, "\xFE\xFF", "utf-16"},
		{"UTF-16 LE with mark and no declaration", body, little, "\xFF\xFE", "utf-16"},
		{"UTF-16 LE without mark", declare("UTF-16"), little, "", "utf-16le"},
		{"UTF-16 BE without mark", "\n" + declare("UTF-16BE"), big, "", "utf-16be"},
		{"ISO-8859-1", declare("ISO-8859-1"), charmap.ISO8859_1, "", "iso-8859-1"},
		{"ISO-8859-15", declare("iso-8859-15"), charmap.ISO8859_15, "", "iso-8859-15"},
		{"windows-1252", declare("Windows-1252"), charmap.Windows1252, "", "windows-1252"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			data := test.text
			if test.encoding != nil {
				encoded, err := test.encoding.NewEncoder().String(data)
				if err != nil {
					t.Fatal(err)
				}
				data = encoded
			}
			m, err := opentravel.Scan([]byte(test.mark + data))
			if err != nil {
				t.Fatal(err)
			}
			if m.Hotel() != "Zürich-7" || m.ContentType != "application/xml; charset="+test.charset {
				t.Errorf("got %+v", m)
			}
		})
	}
}

func TestBrokenCharsets(t *testing.T) {
	tests := []struct{ name, data, want string }{
		{"half a character", "\xFF\xFE<\x00a\x00/", "1:3: truncated: half a UTF-16 character"},
		{"half a pair", "\xFE\xFF\x00<\x00a\x00>\xD8\x00\x00<", "1:4: half a surrogate pair"},
		{"half a pair at the end", "\xFE\xFF\x00<\x00a\x00>\xD8\x00", "1:4: half a surrogate pair"},
		{"low half first", "\xFF\xFE<\x00a\x00>\x00\x00\xDC", "1:4: half a surrogate pair"},
		{"mark alone", "\xFF\xFE", "1:1: empty body"},
		{"UTF-32", "\xFF\xFE\x00\x00<\x00\x00\x00", "1:1: encoding UTF-32 is not supported"},
		{"byte without a character", "<?xml version='1.0' encoding='windows-1252'?>\n<a>\x81</a>", "2:4: byte 0x81 is not valid windows-1252"},
		{"control character", "\xFF\xFE<\x00a\x00>\x00\x01\x00", "1:4: byte 0x01 is a control character"},
		{"columns are characters", "<?xml version='1.0' encoding='iso-8859-1'?>\n<a b='\xE9\xE9'><", "2:11: truncated: < at the end"},
	}
	for _, test := range tests {
		_, err := opentravel.Scan([]byte(test.data))
		if err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %s…", test.name, err, test.want)
		}
	}
}
