package opentravel_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/shardline/shardline/pipeline/opentravel"
)

const ns = `xmlns="http://www.opentravel.org/OTA/2003/05"`

// message is a notification with this name and content.
func message(name, content string) string {
	return fmt.Sprintf(`<OTA_%sRQ %s EchoToken="e1" Version="1.0">%s</OTA_%sRQ>`, name, ns, content, name)
}

func envelope11(header, body string) string {
	return `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/">` + header + `<s:Body>` + body + `</s:Body></s:Envelope>`
}

func envelope12(header, body string) string {
	return `<env:Envelope xmlns:env="http://www.w3.org/2003/05/soap-envelope">` + header + `<env:Body>` + body + `</env:Body></env:Envelope>`
}

func TestHomes(t *testing.T) {
	tests := []struct {
		name, message string
		codes         string // with commas
		foundAt       string
	}{
		{"availability", message("HotelAvailNotif", `<AvailStatusMessages HotelCode="0042"><AvailStatusMessage/></AvailStatusMessages>`),
			"0042", "AvailStatusMessages/@HotelCode"},
		{"rates", message("HotelRateAmountNotif", `<RateAmountMessages ChainCode="X" HotelCode="7"/>`),
			"7", "RateAmountMessages/@HotelCode"},
		{"rate plans", message("HotelRatePlanNotif", `<RatePlans HotelCode="A"><RatePlan/></RatePlans>`),
			"A", "RatePlans/@HotelCode"},
		{"inventory counts", message("HotelInvCountNotif", `<Inventories HotelCode='9'/>`),
			"9", "Inventories/@HotelCode"},
		{"products", message("HotelInvNotif", `<SellableProducts HotelCode="P1"/>`),
			"P1", "SellableProducts/@HotelCode"},
		{"summary: the root", `<OTA_HotelSummaryNotifRQ HotelCode="RD"/>`,
			"RD", "OTA_HotelSummaryNotifRQ/@HotelCode"},
		{"content: each, in order", message("HotelDescriptiveContentNotif",
			`<HotelDescriptiveContents><HotelDescriptiveContent HotelCode="2"/><HotelDescriptiveContent HotelCode="1"/><HotelDescriptiveContent HotelCode="2"/></HotelDescriptiveContents>`),
			"2,1", "HotelDescriptiveContent/@HotelCode"},
		{"content: the container", message("HotelDescriptiveContentNotif",
			`<HotelDescriptiveContents HotelCode="C"><HotelDescriptiveContent><HotelRef HotelCode="n"/></HotelDescriptiveContent></HotelDescriptiveContents>`),
			"C", "HotelDescriptiveContents/@HotelCode"},
		{"content: each wins over the container", message("HotelDescriptiveContentNotif",
			`<HotelDescriptiveContents HotelCode="CHAIN"><HotelDescriptiveContent HotelCode="1"/></HotelDescriptiveContents>`),
			"1", "HotelDescriptiveContent/@HotelCode"},
		{"cache change: each", message("HotelCacheChangeNotif",
			`<CacheChangeInfo HotelCode="1"/><CacheChangeInfo HotelCode="1"/><CacheChangeInfo HotelCode="01"/>`),
			"1,01", "CacheChangeInfo/@HotelCode"},
		{"reservations: in stays and in the global info", message("HotelResNotif",
			`<HotelReservations>
				<HotelReservation><RoomStays><RoomStay><BasicPropertyInfo HotelCode="a"/></RoomStay></RoomStays></HotelReservation>
				<HotelReservation><ResGlobalInfo><BasicPropertyInfo HotelCode="b"/></ResGlobalInfo></HotelReservation>
			</HotelReservations>`),
			"a,b", "BasicPropertyInfo/@HotelCode"},
		{"reservation: a guest's favourite hotel is not the hotel", message("HotelResModifyNotif",
			`<HotelResModifies><HotelResModify><ResGuests><PropertyPref HotelCode="fav"/><Stay><BasicPropertyInfo HotelCode="old"/></Stay></ResGuests>
				<RoomStays><RoomStay><BasicPropertyInfo HotelCode="new"/></RoomStay></RoomStays></HotelResModify></HotelResModifies>`),
			"new", "BasicPropertyInfo/@HotelCode"},
		{"blocks", message("HotelInvBlockNotif", `<InvBlocks><InvBlock><HotelRef HotelCode="b"/><Contacts><HotelRef HotelCode="x"/></Contacts></InvBlock></InvBlocks>`),
			"b", "HotelRef/@HotelCode"},
		{"rules", message("HotelBookingRuleNotif", `<RuleMessages HotelCode="r"><RuleMessage/></RuleMessages>`),
			"r", "RuleMessages/@HotelCode"},
		{"commissions", message("HotelCommNotif", `<CommissionEvents><CommissionEvent><HotelReference HotelCode="q"/></CommissionEvent></CommissionEvents>`),
			"q", "HotelReference/@HotelCode"},
		{"stays", message("HotelStayInfoNotif", `<StayInfos HotelCode="w"><StayInfo/></StayInfos>`),
			"w", "StayInfos/@HotelCode"},
		{"statistics", message("HotelStatsNotif", `<Statistics><Statistic HotelCode="0001"/><Statistic HotelCode="0001"/></Statistics>`),
			"0001", "Statistic/@HotelCode"},
		{"events", message("HotelPostEventNotif", `<EventReports><EventReport><EventSites><EventSite HotelCode="0"/></EventSites></EventReport></EventReports>`),
			"0", "EventSite/@HotelCode"},
		{"ping: none", message("Ping", `<EchoData>HotelCode="1"</EchoData>`), "", ""},

		{"Travelgate's wrapper", `<HotelAvailNotif><request><POS/><AvailStatusMessages HotelCode = "12"/></request></HotelAvailNotif>`,
			"12", "AvailStatusMessages/@HotelCode"},
		{"unknown type: outermost known home", `<VendorUpdate><Rooms><RatePlan HotelCode="in"/></Rooms><Property HotelCode="out"/></VendorUpdate>`,
			"out", "Property/@HotelCode"},
		{"unknown type: the root", `<VendorUpdate HotelCode="root"><Property HotelCode="in"/></VendorUpdate>`,
			"root", "VendorUpdate/@HotelCode"},
		{"unknown element", `<VendorUpdate><Where HotelCode="5"><Near HotelCode="6"/></Where></VendorUpdate>`,
			"5", "Where/@HotelCode"},
		{"known home beats unknown element", `<VendorUpdate><Near HotelCode="6"/><List><HotelRef HotelCode="5"/></List></VendorUpdate>`,
			"5", "HotelRef/@HotelCode"},
		{"element with text", message("HotelAvailNotif", "<AvailStatusMessages><HotelCode>\n 007 </HotelCode></AvailStatusMessages>"),
			"007", "HotelCode element"},
		{"element with text, comment and CDATA", `<Update><HotelCode>1<!-- no -->2<![CDATA[<3]]>&amp;<x>9</x>4</HotelCode></Update>`,
			"12<3&4", "HotelCode element"},
		{"element and attribute", message("HotelAvailNotif", `<AvailStatusMessages HotelCode="1"><HotelCode>2</HotelCode></AvailStatusMessages>`),
			"1,2", "AvailStatusMessages/@HotelCode,HotelCode element"},

		{"distribution system", message("HotelDescriptiveContentNotif",
			`<HotelDescriptiveContents HotelCode="h"><DistribSystems><DistribSystem HotelCode="5"><HotelCode>6</HotelCode><HotelRef HotelCode="7"/></DistribSystem></DistribSystems></HotelDescriptiveContents>`),
			"h", "HotelDescriptiveContents/@HotelCode"},
		{"distribution system alone", message("HotelDescriptiveContentNotif", `<DistribSystem HotelCode="5"><HotelRef HotelCode="7"/></DistribSystem>`), "", ""},
		{"empty code", message("HotelAvailNotif", `<AvailStatusMessages HotelCode=" "><HotelRef HotelCode="x"/></AvailStatusMessages>`),
			"x", "HotelRef/@HotelCode"},
		{"references", message("HotelAvailNotif", `<AvailStatusMessages HotelCode="&#48;&#x30;7&amp;&lt;&gt;&quot;&apos;"/>`),
			`007&<>"'`, "AvailStatusMessages/@HotelCode"},
		{"white space in the value", message("HotelAvailNotif", "<AvailStatusMessages HotelCode=\"\n A\tB \"/>"),
			"A B", "AvailStatusMessages/@HotelCode"},
		{"any prefix", `<o:OTA_HotelAvailNotifRQ xmlns:o="u"><o:AvailStatusMessages o:HotelCode="pre"/></o:OTA_HotelAvailNotifRQ>`,
			"pre", "AvailStatusMessages/@HotelCode"},
		{"plain attribute before a prefixed one", message("HotelAvailNotif", `<AvailStatusMessages xmlns:v="v" v:HotelCode="v" HotelCode="1"/>`),
			"1", "AvailStatusMessages/@HotelCode"},
		{"a prefix named HotelCode", message("HotelAvailNotif", `<AvailStatusMessages xmlns:HotelCode="urn:x"/>`), "", ""},
		{"names that only end alike", message("HotelAvailNotif", `<AvailStatusMessages XHotelCode="1" HotelCodeContext="2" hotelcode="3"/>`), "", ""},
		{"code in a comment, CDATA, instruction", message("HotelAvailNotif",
			`<!-- <AvailStatusMessages HotelCode="1"/> --><![CDATA[<AvailStatusMessages HotelCode="2"/>]]><?x <AvailStatusMessages HotelCode="3"/>?>`), "", ""},
		{"quotes and tags inside values", message("HotelAvailNotif", `<AvailStatusMessages Note='a > b "HotelCode=1"' HotelCode="2"/>`),
			"2", "AvailStatusMessages/@HotelCode"},
		{"non-ASCII", message("HotelAvailNotif", `<AvailStatusMessages HotelName="Hôtel 旅館" HotelCode="Zürich-旅"/>`),
			"Zürich-旅", "AvailStatusMessages/@HotelCode"},

		{"SOAP header's code does not count", envelope11(`<s:Header><x:HotelCode xmlns:x="x">99</x:HotelCode><Hotel HotelCode="98"/></s:Header>`,
			message("HotelInvCountNotif", `<Inventories HotelCode="1"/>`)),
			"1", "HDR:HotelCode element,HDR:Hotel/@HotelCode,Inventories/@HotelCode"},
		{"only the header has one", envelope12(`<env:Header><HotelCode>99</HotelCode></env:Header>`, message("Ping", "")),
			"", "HDR:HotelCode element"},
		{"root of the body", envelope11("", `<OTA_HotelSummaryNotifRQ HotelCode="S"/>`),
			"S", "OTA_HotelSummaryNotifRQ/@HotelCode"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m, err := opentravel.Scan([]byte(test.message))
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(m.HotelCodes, ","); got != test.codes {
				t.Errorf("hotels %q, want %q", got, test.codes)
			}
			if got := strings.Join(m.FoundAt, ","); got != test.foundAt {
				t.Errorf("found at %q, want %q", got, test.foundAt)
			}
			if slow := slowHotels(t, test.message); strings.Join(slow, ",") != test.codes {
				t.Errorf("the slow walk of the fuzz test finds %q", slow)
			}
		})
	}
}

func TestManyHotels(t *testing.T) {
	const n = 1000
	var want []string
	var content strings.Builder
	for round := range 2 {
		for i := range n {
			code := fmt.Sprintf("%04d", i)
			if round == 0 {
				want = append(want, code)
			}
			fmt.Fprintf(&content, `<CacheChangeInfo HotelCode="%s"/>`, code)
		}
	}
	m, err := opentravel.Scan([]byte(message("HotelCacheChangeNotif", content.String())))
	if err != nil || !slices.Equal(m.HotelCodes, want) {
		t.Errorf("%d hotels, %v; want each of %d once, in order", len(m.HotelCodes), err, n)
	}
	if m.Hotel() != "" {
		t.Errorf("Hotel() = %q of several", m.Hotel())
	}
}

func TestEnvelope(t *testing.T) {
	action := `<%[1]s:Header><a:Action xmlns:a="http://www.w3.org/2005/08/addressing"> urn:push&#47;x </a:Action><Security><Action>no</Action></Security></%[1]s:Header>`
	plain := message("HotelAvailNotif", "")
	tests := []struct {
		name, message                   string
		kind, soap, action, contentType string
	}{
		{"plain", plain, "OTA_HotelAvailNotifRQ", "", "", "application/xml; charset=utf-8"},
		{"vendor's", `<HotelAvailNotif><request/></HotelAvailNotif>`, "HotelAvailNotif", "", "", "application/xml; charset=utf-8"},
		{"1.1", envelope11("", plain), "OTA_HotelAvailNotifRQ", "1.1", "", "text/xml; charset=utf-8"},
		{"1.1 with action", envelope11(fmt.Sprintf(action, "s"), plain), "OTA_HotelAvailNotifRQ", "1.1", "urn:push/x", "text/xml; charset=utf-8"},
		{"1.2", envelope12("", plain), "OTA_HotelAvailNotifRQ", "1.2", "", "application/soap+xml; charset=utf-8"},
		{"1.2 with action", envelope12(fmt.Sprintf(action, "env"), plain), "OTA_HotelAvailNotifRQ", "1.2", "urn:push/x", `application/soap+xml; charset=utf-8; action="urn:push/x"`},
		{"1.2, default namespace", `<Envelope xmlns="http://www.w3.org/2003/05/soap-envelope"><Body>` + plain + `</Body></Envelope>`,
			"OTA_HotelAvailNotifRQ", "1.2", "", "application/soap+xml; charset=utf-8"},
		{"another prefix's namespace is not the root's", `<Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><Body>` + plain + `</Body></Envelope>`,
			"OTA_HotelAvailNotifRQ", "", "", "application/xml; charset=utf-8"},
		{"empty body", envelope11("", ""), "Envelope", "1.1", "", "text/xml; charset=utf-8"},
		{"action in the body", envelope11("", `<Action>urn:x</Action>`), "Action", "1.1", "", "text/xml; charset=utf-8"},
		{"action that no header can carry", envelope12("<env:Header><Action>a\"\r\nX-Evil: 1</Action></env:Header>", plain),
			"OTA_HotelAvailNotifRQ", "1.2", "", "application/soap+xml; charset=utf-8"},
		{"fault", envelope11("", `<s:Fault/>`), "Fault", "1.1", "", "text/xml; charset=utf-8"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m, err := opentravel.Scan([]byte(test.message))
			if err != nil {
				t.Fatal(err)
			}
			if m.Type != test.kind || m.SOAP != test.soap || m.Action != test.action || m.ContentType != test.contentType {
				t.Errorf("got %+v", m)
			}
		})
	}
}

func TestMessageID(t *testing.T) {
	id := `<s:Header><a:RelatesTo>urn:0</a:RelatesTo><a:MessageID xmlns:a="http://www.w3.org/2005/08/addressing"> urn:uuid:1&#45;2 </a:MessageID></s:Header>`
	token := `<OTA_PingRQ EchoToken=" a&amp;b "><EchoData EchoToken="inner">x</EchoData></OTA_PingRQ>`
	tests := []struct{ name, message, want string }{
		{"none", `<OTA_PingRQ/>`, ""},
		{"echo token", token, "a&b"},
		{"echo token in an envelope", envelope11("", token), "a&b"},
		{"message id before the echo token", envelope11(id, token), "urn:uuid:1-2"},
		{"empty message id", envelope11(`<s:Header><MessageID/></s:Header>`, token), "a&b"},
		{"the first message id", envelope11(`<s:Header><MessageID>1</MessageID><MessageID>2</MessageID></s:Header>`, token), "1"},
		{"with a prefix", `<o:OTA_PingRQ xmlns:EchoToken="urn:x" xmlns:o="urn:o" o:EchoToken="7"/>`, "7"},
		{"inside the message", `<OTA_PingRQ><MessageID>1</MessageID><X EchoToken="2"/></OTA_PingRQ>`, ""},
		{"inside a header", envelope11(`<s:Header><Security><MessageID>1</MessageID></Security></s:Header>`, `<OTA_PingRQ/>`), ""},
		{"of the envelope", `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" EchoToken="1"><s:Body EchoToken="2"><OTA_PingRQ/></s:Body></s:Envelope>`, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m, err := opentravel.Scan([]byte(test.message))
			if err != nil || m.ID != test.want {
				t.Errorf("id %q, %v, want %q", m.ID, err, test.want)
			}
		})
	}
}

// TestScanDoesNotKeepItsInput overwrites the message behind the answer's back.
func TestScanDoesNotKeepItsInput(t *testing.T) {
	data := []byte(`<VendorNotif><Where HotelCode="123"/></VendorNotif>`)
	m, err := opentravel.Scan(data)
	if err != nil {
		t.Fatal(err)
	}
	for i := range data {
		data[i] = 'x'
	}
	if m.Type != "VendorNotif" || m.Hotel() != "123" || m.FoundAt[0] != "Where/@HotelCode" {
		t.Errorf("changed with its input: %+v", m)
	}
}

// TestAllocations bounds what a scan allocates, whatever the size: the lists of
// codes and places and the code itself.
func TestAllocations(t *testing.T) {
	small := []byte(message("HotelAvailNotif", `<AvailStatusMessages HotelCode="1"/>`))
	large := []byte(message("HotelAvailNotif", `<AvailStatusMessages HotelCode="1">`+
		strings.Repeat(`<AvailStatusMessage Limit="3" Note="a &amp; b">text &lt;</AvailStatusMessage><!-- c -->`, 500)+`</AvailStatusMessages>`))
	for _, data := range [][]byte{small, large} {
		allocations := testing.AllocsPerRun(20, func() {
			if _, err := opentravel.Scan(data); err != nil {
				t.Fatal(err)
			}
		})
		if allocations > 4 {
			t.Errorf("%v allocations for %d bytes", allocations, len(data))
		}
	}
}
