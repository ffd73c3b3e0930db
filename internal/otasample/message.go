package otasample

import (
	"math/rand/v2"
	"strconv"
	"time"
)

// message is one message while it is written.
type message struct {
	body   []byte
	random *rand.Rand
	prefix string // of the OpenTravel elements, with its colon
	target int    // bytes: elements are added until the body is near it
	stamp  time.Time
}

const (
	otaNamespace  = "http://www.opentravel.org/OTA/2003/05"
	soap11        = "http://schemas.xmlsoap.org/soap/envelope/"
	soap12        = "http://www.w3.org/2003/05/soap-envelope"
	wsse          = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
	wsa           = "http://www.w3.org/2005/08/addressing"
	closeEnvelope = "</soap:Body>\n</soap:Envelope>\n"
	dateLayout    = "2006-01-02"
)

var (
	rooms   = []string{"SGL", "DBL", "TWN", "KNG", "JST", "STE", "FAM", "APT"}
	plans   = []string{"BAR", "BARBB", "NRF", "CORP10", "PKG3N", "WKLY", "AAA", "GOV"}
	given   = []string{"Ana", "Bjørn", "Chloé", "Dmitri", "Eun-ji", "Fatou", "Günther", "Hana"}
	surname = []string{"Example", "Muster", "Sample", "Ejemplo", "Esempio", "Przykład", "Exempel", "O'Test"}
)

// openEnvelope begins a SOAP envelope in two of ten messages, one per version,
// with the action in its header, and returns what closes it.
func (m *message) openEnvelope(draw int, action string) string {
	namespace := soap11
	switch draw {
	case 0:
	case 1:
		namespace = soap12
	default:
		return ""
	}
	m.add(`<soap:Envelope xmlns:soap="`, namespace, `" xmlns:wsa="`, wsa, "\">\n<soap:Header>\n")
	m.add(` <wsa:Action>urn:sample:`, action, "</wsa:Action>\n")
	m.add(` <wsse:Security soap:mustUnderstand="1" xmlns:wsse="`, wsse, "\">\n")
	m.add("  <wsse:UsernameToken><wsse:Username>sample</wsse:Username><wsse:Password>sample</wsse:Password></wsse:UsernameToken>\n")
	m.add(" </wsse:Security>\n</soap:Header>\n<soap:Body>\n")
	return closeEnvelope
}

// root opens the message's own root with the attributes that tell it apart.
func (m *message) root(g *Generator, name string) {
	m.add("<", m.prefix, name, ` xmlns`)
	if m.prefix != "" {
		m.add(":", m.prefix[:len(m.prefix)-1])
	}
	m.add(`="`, otaNamespace, `" EchoToken="`)
	m.body = append(m.body, g.token...)
	m.body = strconv.AppendUint(m.body, g.count, 10)
	m.add(`" TimeStamp="`)
	m.body = m.stamp.AppendFormat(m.body, time.RFC3339)
	m.add(`" Target="Test" Version="1.005" SequenceNmbr="`)
	m.body = strconv.AppendUint(m.body, g.count, 10)
	m.add("\">\n")
	m.open(" ", "POS")
	m.open("", "Source")
	m.empty("RequestorID", "Type", "22", "ID", "SAMPLE")
	m.end("", "Source", "")
	m.end("", "POS", "\n")
}

func (m *message) availability(g *Generator, hotel string) {
	m.root(g, "OTA_HotelAvailNotifRQ")
	m.container("AvailStatusMessages", hotel)
	for more := true; more; more = m.room(320) {
		m.open("  ", "AvailStatusMessage", "BookingLimit", m.number(0, 40), "BookingLimitMessageType", "SetLimit")
		m.period("StatusApplicationControl", "InvTypeCode", m.pick(rooms), "RatePlanCode", m.pick(plans))
		m.open("", "LengthsOfStay")
		m.empty("LengthOfStay", "MinMaxMessageType", "SetMinLOS", "Time", m.number(1, 5))
		m.end("", "LengthsOfStay", "")
		m.empty("RestrictionStatus", "Status", m.pick([]string{"Open", "Close"}))
		m.end("", "AvailStatusMessage", "\n")
	}
	m.end(" ", "AvailStatusMessages", "\n")
	m.end("", "OTA_HotelAvailNotifRQ", "\n")
}

func (m *message) rates(g *Generator, hotel string) {
	m.root(g, "OTA_HotelRateAmountNotifRQ")
	m.container("RateAmountMessages", hotel)
	for more := true; more; more = m.room(420) {
		m.open("  ", "RateAmountMessage")
		m.period("StatusApplicationControl", "InvTypeCode", m.pick(rooms), "RatePlanCode", m.pick(plans))
		m.open("", "Rates")
		m.open("", "Rate", "CurrencyCode", "EUR", "UnitMultiplier", "1")
		m.open("", "BaseByGuestAmts")
		for guests := range 1 + m.random.IntN(2) {
			m.empty("BaseByGuestAmt", "NumberOfGuests", strconv.Itoa(guests+1), "AmountAfterTax", m.amount())
		}
		m.end("", "BaseByGuestAmts", "")
		m.end("", "Rate", "")
		m.end("", "Rates", "")
		m.end("", "RateAmountMessage", "\n")
	}
	m.end(" ", "RateAmountMessages", "\n")
	m.end("", "OTA_HotelRateAmountNotifRQ", "\n")
}

func (m *message) reservation(g *Generator, hotel string) {
	m.root(g, "OTA_HotelResNotifRQ")
	m.open(" ", "HotelReservations")
	m.add("\n")
	for more := true; more; more = m.room(950) {
		m.open("  ", "HotelReservation", "CreateDateTime", "2025-03-01T05:59:00Z", "ResStatus", m.pick([]string{"Commit", "Modify", "Cancel"}))
		m.empty("UniqueID", "Type", "14", "ID", "R"+m.number(100000, 999999))
		m.open("", "RoomStays")
		m.open("", "RoomStay")
		m.empty("RoomTypes", "Quantity", "1", "Code", m.pick(rooms))
		m.open("", "GuestCounts")
		m.empty("GuestCount", "AgeQualifyingCode", "10", "Count", m.number(1, 3))
		m.end("", "GuestCounts", "")
		m.period("TimeSpan")
		m.empty("Total", "AmountAfterTax", m.amount(), "CurrencyCode", "EUR")
		m.empty("BasicPropertyInfo", "HotelCode", hotel)
		m.end("", "RoomStay", "")
		m.end("", "RoomStays", "\n   ")
		m.open("", "ResGuests")
		m.open("", "ResGuest")
		m.open("", "Profiles")
		m.open("", "Profile")
		m.open("", "Customer")
		m.open("", "PersonName")
		m.text("GivenName", m.pick(given))
		m.text("Surname", m.pick(surname))
		m.end("", "PersonName", "")
		m.end("", "Customer", "")
		m.end("", "Profile", "")
		m.end("", "Profiles", "")
		m.end("", "ResGuest", "")
		m.end("", "ResGuests", "\n")
		m.end("  ", "HotelReservation", "\n")
	}
	m.end(" ", "HotelReservations", "\n")
	m.end("", "OTA_HotelResNotifRQ", "\n")
}
