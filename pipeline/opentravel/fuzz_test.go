package opentravel_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/shardline/shardline/internal/otasample"
	"github.com/shardline/shardline/pipeline/opentravel"
)

// FuzzScan holds Scan against the standard library: what Scan accepts, its
// strict parser accepts too, and a walk over its tokens finds the same hotels.
// Scan is the stricter one: it also refuses what the other lets pass, such as
// doubled attributes, or text around the root.
func FuzzScan(f *testing.F) {
	for _, seed := range []string{
		message("HotelAvailNotif", `<AvailStatusMessages HotelCode="0042"><HotelCode>&#55;</HotelCode></AvailStatusMessages>`),
		message("HotelResNotif", `<RoomStay><BasicPropertyInfo HotelCode='a'/></RoomStay><ResGlobalInfo><BasicPropertyInfo HotelCode='b'/></ResGlobalInfo>`),
		message("HotelDescriptiveContentNotif", `<HotelDescriptiveContents HotelCode="h"><DistribSystem HotelCode="5"/></HotelDescriptiveContents>`),
		envelope11(`<s:Header><a:Action>urn:x</a:Action><HotelCode>9</HotelCode></s:Header>`, `<V><W HotelCode="1"/><X v:HotelCode="2"/></V>`),
		envelope12("", `<Update><HotelCode>1<!-- no -->2<![CDATA[<3]]>&amp;<x>9</x>4</HotelCode></Update>`),
		`<?xml version="1.0" encoding="ISO-8859-1"?><a HotelCode="` + "\xE9" + `"/>`,
		"\xFF\xFE<\x00a\x00/\x00>\x00",
		"\xEF\xBB\xBF\n<?xml version='1.0'?><?p i?><a b = 'c>'\n>x</a ><!-- -->",
		`<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>`,
	} {
		f.Add([]byte(seed))
	}
	g := otasample.New(1)
	for range 4 {
		f.Add(g.Next("123"))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := opentravel.Scan(data)
		if err != nil {
			var refused *opentravel.SyntaxError
			if !errors.As(err, &refused) || refused.Line < 1 || refused.Column < 1 || refused.Reason == "" {
				t.Fatalf("refused with %#v", err)
			}
			return
		}
		if m.Type == "" || strings.ContainsAny(m.ContentType, "\r\n") || !utf8.ValidString(strings.Join(m.HotelCodes, "")) {
			t.Fatalf("accepted as %+v", m)
		}
		if slices.Contains(m.HotelCodes, "") || len(m.HotelCodes) > 0 && len(m.FoundAt) == 0 {
			t.Fatalf("hotels %q found at %q", m.HotelCodes, m.FoundAt)
		}
		if bytes.Contains(data[:min(len(data), 4)], []byte{0}) || bytes.HasPrefix(data, []byte("\xFF\xFE")) || bytes.HasPrefix(data, []byte("\xFE\xFF")) {
			return // the standard library needs UTF-8
		}
		if bytes.HasPrefix(data, []byte("\xEF\xBB\xBF")) && !utf8.ValidString(string(data)) {
			t.Fatal("a byte-order mark of UTF-8 before other bytes was accepted")
		}
		// Names are of the fifth edition here, of the second there; and a mark
		// goes over a declaration here.
		if hasWideName(data) || bytes.HasPrefix(data, []byte("\xEF\xBB\xBF")) && bytes.Contains(data, []byte("encoding")) {
			return
		}
		d := newDecoder(data)
		for {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("accepted as %+v, but the standard library says: %v", m, err)
			}
		}
		var codes []string
		for _, code := range m.HotelCodes {
			if code = oneLine(code); code != "" && !slices.Contains(codes, code) {
				codes = append(codes, code)
			}
		}
		if slow := slowHotels(t, string(data)); !slices.Equal(codes, slow) {
			t.Fatalf("hotels %q, the slow walk finds %q", codes, slow)
		}
	})
}

// hasWideName says whether the standard library refuses data for a name beyond
// ASCII.
func hasWideName(data []byte) bool {
	var syntax *xml.SyntaxError
	d := newDecoder(data)
	for {
		_, err := d.RawToken()
		if errors.Is(err, io.EOF) {
			return false
		}
		if err != nil {
			return errors.As(err, &syntax) && slices.ContainsFunc(data, func(c byte) bool { return c >= utf8.RuneSelf }) &&
				(strings.Contains(syntax.Msg, "name") || strings.Contains(syntax.Msg, "expected"))
		}
	}
}

// FuzzReadAnswer: any bytes have a class and a reason, one line of printable
// text each, and more of the same body never turns errors into a delivery.
func FuzzReadAnswer(f *testing.F) {
	for _, seed := range []string{
		answer(`<Success/><Warnings><Warning Type="3"/></Warnings>`),
		answer(`<Errors><Error Type="6" Code="392" ShortText="s">t &amp; u</Error><Error Code="497"/></Errors>`),
		envelope11("", `<s:Fault><faultcode>s:Server</faultcode><faultstring>x</faultstring><detail><Errors><Error/></Errors></detail></s:Fault>`),
		envelope12("", `<env:Fault><env:Code><env:Value>env:Sender</env:Value><env:Subcode><env:Value>a:FailedAuthentication</env:Value></env:Subcode></env:Code></env:Fault>`),
		`<OTA_ErrorRS Type="4" ErrorMessage="m"/>`,
		"\xFF\xFE<\x00a\x00/\x00>\x00", "OK", "", `<!DOCTYPE html><html>`,
	} {
		f.Add([]byte(seed), uint16(len(seed)/2))
	}
	f.Fuzz(func(t *testing.T, data []byte, cut uint16) {
		whole := opentravel.ReadAnswer(data, false)
		part := opentravel.ReadAnswer(data[:min(len(data), int(cut))], true)
		for _, a := range []opentravel.Answer{whole, part} {
			if a.Reason == "" || (a.Class == opentravel.Delivered) != (a.Kind == opentravel.SuccessAnswer) {
				t.Fatalf("%+v", a)
			}
			for _, text := range []string{a.Code, a.ErrorType, a.Text, a.Reason} {
				if len(text) > 1000 || !utf8.ValidString(text) || strings.ContainsAny(text, "\x00\n\r\x1b") {
					t.Fatalf("text of %d bytes: %q", len(text), text)
				}
			}
		}
		utf16 := bytes.IndexByte(data[:min(len(data), 4)], 0) >= 0 || len(data) > 0 && data[0] >= 0xFE
		if part.Kind == opentravel.ErrorsAnswer && whole.Class == opentravel.Delivered && !utf16 {
			t.Fatalf("the first %d bytes are %+v, all are %+v", cut, part, whole)
		}
	})
}
