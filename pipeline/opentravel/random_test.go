package opentravel_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/shardline/shardline/pipeline/opentravel"
)

// TestRandomDocuments builds documents at random from the words of OpenTravel
// messages and holds Scan against the slow walk; then it breaks each at one
// place and holds what Scan refuses against the standard library, both ways.
func TestRandomDocuments(t *testing.T) {
	const seed, documents = 20, 20000
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, seed))
	withCode, several, refused, stricter := 0, 0, 0, map[string]int{}
	for range documents {
		document := randomDocument(random)
		m, err := opentravel.Scan([]byte(document))
		if err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		if slow := slowHotels(t, document); !slices.Equal(m.HotelCodes, slow) {
			t.Fatalf("hotels %q, the slow walk finds %q in\n%s", m.HotelCodes, slow, document)
		}
		if len(m.HotelCodes) > 0 {
			withCode++
		}
		if len(m.HotelCodes) > 1 {
			several++
		}

		broken := breakOnce(random, document)
		_, err = opentravel.Scan([]byte(broken))
		standard := accepts(broken)
		switch {
		case err == nil && standard != nil:
			t.Fatalf("accepted, but the standard library says %v:\n%s", standard, broken)
		case err != nil:
			refused++
			if standard == nil {
				stricter[stricterReason(t, err, broken)]++
			}
		}
	}
	t.Logf("%d of %d documents name a hotel, %d several; %d of the broken ones are refused; the standard library lets pass: %v",
		withCode, documents, several, refused, stricter)
	if withCode < documents/3 || several < documents/20 || refused < documents/3 {
		t.Error("too few documents of some kind: the test shows little")
	}
}

// stricterReason is why Scan refuses what the standard library accepts: one of
// a closed list, else Scan is stricter than XML.
func stricterReason(t *testing.T, err error, document string) string {
	t.Helper()
	for _, known := range []string{
		"stands twice", "no white space before", "the root element", "second root", "XML declaration", "outside the root",
		"two colons", "begins no name", "a name is truncated", "names no character", "document type", "<! begins neither",
		"processing instruction", "no root element", "empty body", "not XML", "XML version", "is not supported", "is not valid UTF-8",
	} {
		if strings.Contains(err.Error(), known) {
			return known
		}
	}
	t.Fatalf("%v, but the standard library accepts\n%s", err, document)
	return ""
}

func accepts(document string) error {
	d := newDecoder([]byte(document))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func randomDocument(random *rand.Rand) string {
	var b strings.Builder
	if random.IntN(3) == 0 {
		b.WriteString("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!-- é -->")
	}
	pick := func(of ...string) string { return of[random.IntN(len(of))] }
	attributes := func(chance int) {
		if random.IntN(chance) == 0 {
			fmt.Fprintf(&b, "%sv:HotelCode%s'%s'", pick(" ", "\n"), pick("=", " = "), pick("", "V1", "V2"))
		}
		if random.IntN(chance) == 0 {
			fmt.Fprintf(&b, " HotelCode%s\"%s\"", pick("=", "\t=\n"), pick("", " ", "1", "01", "&#49;", "2 ", "é&amp;", "C'>"))
		}
		if random.IntN(3) == 0 {
			fmt.Fprintf(&b, " Note='%s'", pick("", `a "HotelCode=7" b`, ">", "&lt;x>", "旅館"))
		}
	}
	var element func(depth int, name string)
	content := func(depth int) {
		for range random.IntN(4) {
			if depth < 6 {
				element(depth, pick("RoomStay", "ResGlobalInfo", "BasicPropertyInfo", "AvailStatusMessages", "RatePlans",
					"HotelDescriptiveContents", "HotelDescriptiveContent", "HotelRef", "InvBlock", "DistribSystem", "Vendor", "HotelCode", "Site"))
			}
			b.WriteString(pick("", "\n", " text ", "<!-- <a HotelCode='9'/> -->", "<![CDATA[<a HotelCode='8'/>]]>", "<?pi HotelCode='7'?>", "&lt;b>", "&#x41;"))
		}
	}
	element = func(depth int, name string) {
		name = pick("", "", "", "o:") + name
		b.WriteString("<" + name)
		attributes(4)
		if random.IntN(4) == 0 {
			b.WriteString(pick("/>", " />"))
			return
		}
		b.WriteString(pick(">", "\n>"))
		if strings.HasSuffix(name, "HotelCode") {
			b.WriteString(pick("", "3", " 03\n", "3<!-- x -->4", "<![CDATA[5]]>&amp;", "<x>no</x>6"))
		} else {
			content(depth + 1)
		}
		b.WriteString("</" + name + pick(">", " >"))
	}
	types := []string{"OTA_HotelAvailNotifRQ", "OTA_HotelResNotifRQ", "OTA_HotelDescriptiveContentNotifRQ", "OTA_HotelInvBlockNotifRQ",
		"OTA_HotelSummaryNotifRQ", "HotelRatePlanNotif", "OTA_HotelRFP_MeetingRQ", "VendorUpdate"}
	switch random.IntN(4) {
	case 0:
		b.WriteString("<s:Envelope xmlns:s='http://schemas.xmlsoap.org/soap/envelope/'><s:Header>")
		content(3)
		b.WriteString("</s:Header><s:Body>")
		element(1, pick(types...))
		b.WriteString("</s:Body></s:Envelope>")
	default:
		element(1, pick(types...))
	}
	return b.String()
}

// breakOnce changes, removes or doubles one byte, or cuts the end.
func breakOnce(random *rand.Rand, document string) string {
	at := random.IntN(len(document))
	switch random.IntN(4) {
	case 0:
		return document[:at]
	case 1:
		return document[:at] + document[at+1:]
	case 2:
		return document[:at+1] + document[at:]
	default:
		return document[:at] + string(`<>&;"'/=!?- :a]x`[random.IntN(16)]) + document[at+1:]
	}
}
