package opentravel_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/shardline/shardline/pipeline/opentravel"
)

// answer is an availability answer with this content.
func answer(content string) string {
	return `<?xml version="1.0"?><OTA_HotelAvailNotifRS ` + ns + ` EchoToken="e">` + content + `</OTA_HotelAvailNotifRS>`
}

// oneError is an answer with one error; an empty value has no attribute.
func oneError(errorType, code string) string {
	attributes := ""
	if errorType != "" {
		attributes += ` Type="` + errorType + `"`
	}
	if code != "" {
		attributes += ` Code="` + code + `"`
	}
	return answer(`<Errors><Error` + attributes + ` ShortText="s"/></Errors>`)
}

func TestErrorClasses(t *testing.T) {
	tests := []struct {
		errorType, code string
		want            opentravel.Class
	}{
		{"12", "187", opentravel.Retryable},
		{"", "191", opentravel.Retryable},
		{"1", "366", opentravel.Retryable},
		{"", "447", opentravel.Retryable},
		{"12", "", opentravel.Retryable},
		{"12", "450", opentravel.Unclear}, // type 12 counts only without a code
		{"12", "9999", opentravel.Unclear},
		{"", "15", opentravel.Permanent},
		{"3", "175", opentravel.Permanent},
		{"10", "321", opentravel.Permanent},
		{"6", "392", opentravel.Permanent},
		{"4", "392", opentravel.Permanent}, // the code decides
		{"", "402", opentravel.Permanent},
		{"6", "", opentravel.Permanent},
		{"7", "A01.RIT", opentravel.Permanent},
		{"10", "-1", opentravel.Permanent},
		{"6", "450", opentravel.Unclear}, // the code decides
		{"", "497", opentravel.Hold},
		{"13", "497", opentravel.Hold},
		{"4", "", opentravel.Hold},
		{"4", "10", opentravel.Hold},
		{"4", "448", opentravel.Hold}, // a wrong password, says one vendor
		{"", "448", opentravel.Unclear},
		{"13", "450", opentravel.Unclear},
		{"", "784", opentravel.Unclear},
		{"1", "", opentravel.Unclear},
		{"13", "404", opentravel.Unclear},
		{"3", "", opentravel.Unclear},
		{"", "", opentravel.Unclear},
	}
	for _, test := range tests {
		a := opentravel.ReadAnswer([]byte(oneError(test.errorType, test.code)), false)
		if a.Kind != opentravel.ErrorsAnswer || a.Class != test.want || a.Code != test.code || a.ErrorType != test.errorType || a.Text != "s" {
			t.Errorf("type %q code %q: %+v, want %v", test.errorType, test.code, a, test.want)
		}
	}
}

func TestOwnClasses(t *testing.T) {
	own := opentravel.Classes{
		Codes: map[string]opentravel.Class{"450": opentravel.Permanent, "448": opentravel.Hold, "90": opentravel.Delivered},
		Types: map[string]opentravel.Class{"3": opentravel.Retryable},
	}
	for body, want := range map[string]opentravel.Class{
		oneError("1", "450"): opentravel.Permanent,
		oneError("3", "450"): opentravel.Permanent,
		oneError("3", "448"): opentravel.Hold,
		oneError("3", "392"): opentravel.Retryable, // an own type goes over the default codes
		oneError("", "90"):   opentravel.Delivered,
		oneError("", "187"):  opentravel.Retryable,
	} {
		if a := own.ReadAnswer([]byte(body), false); a.Class != want {
			t.Errorf("%s: %v, want %v", body, a.Class, want)
		}
	}
}

func TestAnswers(t *testing.T) {
	const (
		success = opentravel.SuccessAnswer
		errors  = opentravel.ErrorsAnswer
		fault   = opentravel.FaultAnswer
		other   = opentravel.OtherAnswer
	)
	tests := []struct {
		name, body string
		kind       opentravel.Kind
		class      opentravel.Class
		code, text string
	}{
		{"success", answer(`<Success/>`), success, opentravel.Delivered, "", ""},
		{"success in two tags", answer(`<Success></Success>`), success, opentravel.Delivered, "", ""},
		{"success with prefix", `<o:OTA_PingRS xmlns:o="u"><o:Success/></o:OTA_PingRS>`, success, opentravel.Delivered, "", ""},
		{"success behind the rest", answer(`<HotelReservations/><Success/>`), success, opentravel.Delivered, "", ""},
		{"warnings", answer(`<Success/><Warnings><Warning Type="3" Code="497">no</Warning><Warning/></Warnings>`), success, opentravel.Delivered, "", ""},
		{"success in SOAP", envelope11("", answer(`<Success/>`)[len(`<?xml version="1.0"?>`):]), success, opentravel.Delivered, "", ""},
		{"success in wrappers", envelope12("", `<R><Result><OTA><Success/></OTA></Result></R>`), success, opentravel.Delivered, "", ""},
		{"success that says false", answer(`<Success> False </Success>`), other, opentravel.Unclear, "", ""},
		{"success of single records", answer(`<A><B><C><Success/></C></B></A>`), other, opentravel.Unclear, "", ""},
		{"success in a comment", answer(`<!-- <Success/> -->`), other, opentravel.Unclear, "", ""},
		{"success in the SOAP header", envelope11(`<s:Header><Success/></s:Header>`, `<X/>`), other, opentravel.Unclear, "", ""},

		{"errors win over success before", answer(`<Success/><Errors><Error Code="392">x</Error></Errors>`), errors, opentravel.Permanent, "392", "x"},
		{"errors win over success behind", answer(`<Errors><Error Code="392">x</Error></Errors><Success/>`), errors, opentravel.Permanent, "392", "x"},
		{"errors in a wrapper", envelope11("", `<R><Result><Errors><Error Code="2" ShortText="no"/></Errors></Result></R>`), errors, opentravel.Unclear, "2", "no"},
		{"empty errors are no success", answer(`<Success/><Errors/>`), errors, opentravel.Unclear, "", ""},
		{"short text and text", answer(`<Errors><Error Code="15" ShortText="bad date">2025-02-30</Error></Errors>`), errors, opentravel.Permanent, "15", "bad date: 2025-02-30"},
		{"references, CDATA and white space", answer("<Errors><Error Code='15'>\n a &lt;b&gt;\t<![CDATA[<c>]]>\u202e\u0085</Error></Errors>"), errors, opentravel.Permanent, "15", "a <b> <c>"},
		{"xsi:type is not the type", answer(`<Errors><Error xmlns:x="x" x:Type="4" Code="15"/></Errors>`), errors, opentravel.Permanent, "15", ""},
		{"error without Errors", answer(`<Error Code="497">key</Error>`), errors, opentravel.Hold, "497", "key"},
		{"OTA_ErrorRS", `<OTA_ErrorRS Type="4" ErrorCode="9" ErrorMessage="who?"/>`, errors, opentravel.Hold, "9", "who?"},

		{"all permanent: the first", answer(`<Errors><Error Code="15">a</Error><Error Code="392">b</Error></Errors>`), errors, opentravel.Permanent, "15", "a"},
		{"unclear over permanent", answer(`<Errors><Error Code="15">a</Error><Error Code="450">b</Error></Errors>`), errors, opentravel.Unclear, "450", "b"},
		{"retryable over unclear", answer(`<Errors><Error Code="450">a</Error><Error Code="187">b</Error><Error Code="447">c</Error></Errors>`), errors, opentravel.Retryable, "187", "b"},
		{"hold over all", answer(`<Errors><Error Code="187">a</Error><Error Code="497">b</Error><Error Code="15">c</Error></Errors>`), errors, opentravel.Hold, "497", "b"},

		{"1.1 client", envelope11("", `<s:Fault><faultcode>s:Client</faultcode><faultstring>bad  XML</faultstring></s:Fault>`), fault, opentravel.Permanent, "s:Client", "bad XML"},
		{"1.1 server", envelope11("", `<s:Fault><faultcode>s:Server.userException</faultcode><faultstring>db</faultstring></s:Fault>`), fault, opentravel.Retryable, "s:Server.userException", "db"},
		{"1.1 authentication", envelope11("", `<s:Fault><faultcode>wsse:FailedAuthentication</faultcode><faultstring>no</faultstring></s:Fault>`), fault, opentravel.Hold, "wsse:FailedAuthentication", "no"},
		{"1.1 client, authentication", envelope11("", `<s:Fault><faultcode>Client.Authentication</faultcode></s:Fault>`), fault, opentravel.Hold, "Client.Authentication", ""},
		{"1.1 must understand", envelope11("", `<s:Fault><faultcode>s:MustUnderstand</faultcode></s:Fault>`), fault, opentravel.Permanent, "s:MustUnderstand", ""},
		{"1.1 private code", envelope11("", `<s:Fault><faultcode>x:Odd</faultcode></s:Fault>`), fault, opentravel.Unclear, "x:Odd", ""},
		{"1.1 no code", envelope11("", `<s:Fault/>`), fault, opentravel.Unclear, "", ""},
		{"1.1 errors in the detail", envelope11("", `<s:Fault><faultcode>s:Server</faultcode><faultstring>e</faultstring><detail><Errors><Error Code="392" ShortText="no hotel"/></Errors></detail></s:Fault>`), fault, opentravel.Permanent, "392", "no hotel"},
		{"1.1 authentication over the detail's errors", envelope11("", `<s:Fault><faultcode>wsse:InvalidSecurity</faultcode><detail><Errors><Error Code="392"/></Errors></detail></s:Fault>`), fault, opentravel.Hold, "wsse:InvalidSecurity", ""},
		{"fault and success", envelope11("", `<s:Fault><faultcode>s:Client</faultcode></s:Fault><X><Success/></X>`), fault, opentravel.Permanent, "s:Client", ""},
		{"1.2 sender", envelope12("", `<env:Fault><env:Code><env:Value>env:Sender</env:Value></env:Code><env:Reason><env:Text xml:lang="en">bad</env:Text><env:Text xml:lang="de">schlecht</env:Text></env:Reason></env:Fault>`), fault, opentravel.Permanent, "env:Sender", "bad"},
		{"1.2 receiver", envelope12("", `<env:Fault><env:Code><env:Value>env:Receiver</env:Value></env:Code></env:Fault>`), fault, opentravel.Retryable, "env:Receiver", ""},
		{"1.2 sender, authentication", envelope12("", `<env:Fault><env:Code><env:Value>env:Sender</env:Value><env:Subcode><env:Value>wsse:FailedAuthentication</env:Value></env:Subcode></env:Code></env:Fault>`), fault, opentravel.Hold, "wsse:FailedAuthentication", ""},

		{"empty", "", opentravel.EmptyAnswer, opentravel.Unclear, "", ""},
		{"white space", "\xEF\xBB\xBF\r\n ", opentravel.EmptyAnswer, opentravel.Unclear, "", ""},
		{"neither", answer(""), other, opentravel.Unclear, "", ""},
		{"JSON", `{"Success": true}`, other, opentravel.Unclear, "", ""},
		{"HTML", `<!DOCTYPE html><html><body>Success</body></html>`, other, opentravel.Unclear, "", ""},
		{"OK", "OK", other, opentravel.Unclear, "", ""},
		{"an entity before the verdict", answer(`&x;<Success/>`), other, opentravel.Unclear, "", ""},

		{"broken behind success", `<R><Success/><broken`, success, opentravel.Delivered, "", ""},
		{"broken behind an error", `<R><Errors><Error Code="497">wrong password</R>`, errors, opentravel.Hold, "497", "wrong password"},
		{"broken inside an error's tag", `<R><Success/><Errors><Error Code="497`, errors, opentravel.Unclear, "", ""},
		{"broken inside success", `<R><Success>`, other, opentravel.Unclear, "", ""},
		{"invalid bytes behind success", "<R><Success/>\x96</R>", success, opentravel.Delivered, "", ""},
		{"invalid bytes in a text", "<R><Errors><Error Code='15'>a \x96 b\x00</Error></Errors></R>", errors, opentravel.Permanent, "15", "a b"},
		{"declared ISO-8859-1", "<?xml version='1.0' encoding='ISO-8859-1'?><R><Errors><Error Code='15'>\xE9</Error></Errors></R>", errors, opentravel.Permanent, "15", "é"},
		{"UTF-16", "\xFF\xFE<\x00R\x00>\x00<\x00S\x00u\x00c\x00c\x00e\x00s\x00s\x00/\x00>\x00<\x00/\x00R\x00>\x00", success, opentravel.Delivered, "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := opentravel.ReadAnswer([]byte(test.body), false)
			if a.Kind != test.kind || a.Class != test.class || a.Code != test.code || a.Text != test.text {
				t.Errorf("got %+v\nwant %v, %v, code %q, text %q", a, test.kind, test.class, test.code, test.text)
			}
			if a.Reason == "" {
				t.Error("no reason")
			}
		})
	}
	warned := opentravel.ReadAnswer([]byte(answer(`<Success/><Warnings><Warning/><Warning/></Warnings>`)), false)
	if warned.Warnings != 2 {
		t.Errorf("%d warnings, want 2", warned.Warnings)
	}
}

// TestTruncatedAnswers cuts answers at every byte: what is not there yet decides
// nothing, and what is there is not taken for more than it says.
func TestTruncatedAnswers(t *testing.T) {
	good := answer(`<Success/><Warnings><Warning>w</Warning></Warnings>`)
	bad := answer(`<Errors><Error Type="6" Code="392" ShortText="s">t</Error></Errors>`)
	for n := range len(good) {
		want := opentravel.Unclear
		if n >= strings.Index(good, "<Success/>")+len("<Success/>") {
			want = opentravel.Delivered
		}
		if a := opentravel.ReadAnswer([]byte(good[:n]), true); a.Class != want || a.Kind == opentravel.EmptyAnswer {
			t.Fatalf("%q: %+v, want %v", good[:n], a, want)
		}
	}
	for n := range len(bad) {
		want := opentravel.Unclear
		if n >= strings.Index(bad, `"s">`)+len(`"s">`) {
			want = opentravel.Permanent
		}
		if a := opentravel.ReadAnswer([]byte(bad[:n]), true); a.Class != want {
			t.Fatalf("%q: %+v, want %v", bad[:n], a, want)
		}
	}
}

func TestAnswerTextIsBounded(t *testing.T) {
	long := strings.Repeat("é\n", 5000)
	a := opentravel.ReadAnswer([]byte(answer(`<Errors><Error Type="`+long+`" Code="`+long+`" ShortText="`+long+`">`+long+`</Error></Errors>`)), false)
	for name, text := range map[string]string{"code": a.Code, "type": a.ErrorType, "text": a.Text, "reason": a.Reason} {
		if len(text) > 500 || !utf8.ValidString(text) || strings.ContainsAny(text, "\r\n") || !strings.Contains(text, "é") {
			t.Errorf("%s of %d bytes: %q", name, len(text), text)
		}
	}
}

// TestFieldAnswers reads the answers among the messages from the field.
func TestFieldAnswers(t *testing.T) {
	folder := fieldSamples(t)
	for file, want := range map[string]struct {
		kind       opentravel.Kind
		class      opentravel.Class
		code, text string
	}{
		"rs_ab_avail_advisory.xml":     {opentravel.SuccessAnswer, opentravel.Delivered, "", ""},
		"rs_ab_avail_error.xml":        {opentravel.ErrorsAnswer, opentravel.Unclear, "404", "Invalid start/end date combination"},
		"rs_ab_rateplan_error.xml":     {opentravel.ErrorsAnswer, opentravel.Unclear, "404", "Invalid start/end date combination"},
		"rs_ab_resnotif.xml":           {opentravel.SuccessAnswer, opentravel.Delivered, "", ""},
		"rs_otspec_cache.xml":          {opentravel.SuccessAnswer, opentravel.Delivered, "", ""},
		"rs_otspec_desc_emptyroot.xml": {opentravel.OtherAnswer, opentravel.Unclear, "", ""},
		"rs_otspec_descinfo_trap.xml":  {opentravel.SuccessAnswer, opentravel.Delivered, "", ""},
		"rs_otspec_invcount.xml":       {opentravel.SuccessAnswer, opentravel.Delivered, "", ""},
		"rs_pds_avail_prod.xml":        {opentravel.SuccessAnswer, opentravel.Delivered, "", ""},
		"rs_sm_avail_fail392.xml":      {opentravel.ErrorsAnswer, opentravel.Permanent, "392", "Cannot find hotelier with code ABC"},
		"rs_tclick_res_error.xml":      {opentravel.ErrorsAnswer, opentravel.Unclear, "320", "Room type was not found"},
		"rs_tgx_avail_error_soap.xml":  {opentravel.ErrorsAnswer, opentravel.Unclear, "2", "AvailStatusMessages not found"},
		"rs_tgx_resnotif.xml":          {opentravel.SuccessAnswer, opentravel.Delivered, "", ""},
		"rs_wed_1.xml":                 {opentravel.SuccessAnswer, opentravel.Delivered, "", ""},
		"sub_cancelrs_hotel.xml":       {opentravel.SuccessAnswer, opentravel.Delivered, "", ""},
		"wed_avail2.xml":               {opentravel.OtherAnswer, opentravel.Unclear, "", ""},
	} {
		data, err := os.ReadFile(filepath.Join(folder, file))
		if err != nil {
			t.Error(err)
			continue
		}
		a := opentravel.ReadAnswer(data, false)
		if a.Kind != want.kind || a.Class != want.class || a.Code != want.code || a.Text != want.text {
			t.Errorf("%s: %+v, want %+v", file, a, want)
		}
	}
}
