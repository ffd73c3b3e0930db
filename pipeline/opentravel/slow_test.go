package opentravel_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"golang.org/x/text/encoding/charmap"
)

// newDecoder is the standard library's parser with the encodings that Scan
// reads, without UTF-16: that needs its bytes.
func newDecoder(data []byte) *xml.Decoder {
	d := xml.NewDecoder(bytes.NewReader(data))
	d.CharsetReader = func(label string, input io.Reader) (io.Reader, error) {
		switch label = strings.ToLower(label); {
		case label == "iso-8859-15":
			return charmap.ISO8859_15.NewDecoder().Reader(input), nil
		case slices.Contains([]string{"iso-8859-1", "iso8859-1", "iso_8859-1"}, label), label == "latin1":
			return charmap.ISO8859_1.NewDecoder().Reader(input), nil
		case label == "windows-1252", label == "cp1252":
			return charmap.Windows1252.NewDecoder().Reader(input), nil
		case strings.HasPrefix(label, "utf-16"), label == "utf8", strings.Contains(label, "ascii"), strings.Contains(label, "ucs"):
			return input, nil
		}
		return nil, errors.New("unknown encoding " + label)
	}
	return d
}

// slowHomes is the table of homes, written once more for the slow walk: parents
// and elements, best first.
var slowHomes = map[string][]string{
	"HotelAvailNotif": {"AvailStatusMessages"}, "HotelRateAmountNotif": {"RateAmountMessages"},
	"HotelRatePlanNotif": {"RatePlans"}, "HotelRatePlanInventoryNotif": {"RatePlans"},
	"HotelInvCountNotif": {"Inventories"}, "HotelInvNotif": {"SellableProducts"}, "HotelSummaryNotif": {"/"},
	"HotelDescriptiveContentNotif": {"HotelDescriptiveContent", "HotelDescriptiveContents"},
	"HotelDescriptiveInfo":         {"HotelDescriptiveContent", "HotelDescriptiveContents"},
	"HotelCacheChangeNotif":        {"CacheChangeInfo"},
	"HotelResNotif":                {"RoomStay/BasicPropertyInfo ResGlobalInfo/BasicPropertyInfo"},
	"HotelResModifyNotif":          {"RoomStay/BasicPropertyInfo ResGlobalInfo/BasicPropertyInfo"},
	"HotelInvBlockNotif":           {"InvBlock/HotelRef"}, "HotelCommNotif": {"HotelReference"},
	"HotelStayInfoNotif": {"StayInfos", "StayInfo"}, "HotelStatsNotif": {"Statistic"},
	"HotelPostEventNotif": {"EventSite"}, "HotelBookingRuleNotif": {"RuleMessages"}, "HotelRFP_Meeting": {"Site"},
}

var slowKnown = strings.Fields(`AvailStatusMessages RateAmountMessages RatePlans Inventories SellableProducts
	HotelDescriptiveContent HotelDescriptiveContents CacheChangeInfo BasicPropertyInfo HotelRef HotelReference StayInfos
	StayInfo Statistic EventSite RuleMessages Site AvailStatusMessage Hotel HotelReadRequest HotelReservation Inventory
	Property RateAmountMessage RatePlan RuleMessage SellableProduct Statistics`)

// slowHotels finds the hotels as Scan should, over a list of all codes with
// their paths, made with the standard library.
func slowHotels(t testing.TB, message string) []string {
	t.Helper()
	type candidate struct {
		path    []string // of the home, from the message's root
		code    string
		element bool
	}
	var candidates []candidate
	var path []string
	var texts []string // direct text by open element
	messageType := ""
	soap := false
	message = strings.TrimPrefix(message, "\xEF\xBB\xBF")
	d := newDecoder([]byte(message))
	inBody := func() bool { return !soap || len(path) > 2 && path[1] == "Body" }
	own := func() []string {
		if soap {
			return path[2:]
		}
		return path
	}
	for {
		token, err := d.RawToken()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("the standard library refuses it: %v", err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			if len(path) == 0 {
				soap = token.Name.Local == "Envelope"
			}
			path = append(path, token.Name.Local)
			texts = append(texts, "")
			if !inBody() {
				continue
			}
			if len(own()) == 1 && messageType == "" {
				messageType = token.Name.Local
			}
			code, plain := "", false
			for _, a := range token.Attr {
				if a.Name.Local == "HotelCode" && a.Name.Space != "xmlns" && !plain && (code == "" || a.Name.Space == "") {
					code, plain = a.Value, a.Name.Space == ""
					if a.Name.Space != "" && code == "" {
						code = " " // an empty one still comes first
					}
				}
			}
			candidates = append(candidates, candidate{slices.Clone(own()), code, false})
		case xml.CharData:
			if len(texts) > 0 {
				texts[len(texts)-1] += string(token)
			}
		case xml.EndElement:
			last := len(path) - 1
			if inBody() && path[last] == "HotelCode" {
				home := own()
				if !slices.Contains(home[:len(home)-1], "HotelCode") {
					if len(home) > 1 {
						home = home[:len(home)-1]
					}
					candidates = append(candidates, candidate{slices.Clone(home), texts[last], true})
				}
			}
			path, texts = path[:last], texts[:last]
		}
	}
	base := strings.TrimPrefix(messageType, "OTA_")
	for _, suffix := range []string{"RQ", "RS", "Request", "Response"} {
		if strings.HasSuffix(base, suffix) {
			base = strings.TrimSuffix(base, suffix)
			break
		}
	}
	best := 1 << 20
	var codes []string
	for _, c := range candidates {
		code := oneLine(c.code)
		if code == "" || slices.Contains(c.path, "DistribSystem") || slices.Contains(c.path, "DistribSystems") {
			continue
		}
		depth := len(c.path) - 1
		rank := 10000 + depth
		if c.element || depth == 0 || slices.Contains(slowKnown, c.path[depth]) {
			rank = 1000 + depth
		}
		for i, homes := range slowHomes[base] {
			for home := range strings.FieldsSeq(homes) {
				whole := "/" + strings.Join(c.path, "/")
				if strings.HasSuffix(whole, "/"+home) || home == "/" && depth == 0 {
					rank = min(rank, i)
				}
			}
		}
		if rank > best {
			continue
		}
		if rank < best {
			best, codes = rank, nil
		}
		if !slices.Contains(codes, code) {
			codes = append(codes, code)
		}
	}
	return codes
}

// oneLine is a code without the white space that the two readers treat apart.
func oneLine(code string) string {
	code = strings.Map(func(r rune) rune {
		switch r {
		case '\t', '\n', '\r':
			return ' '
		}
		return r
	}, code)
	return strings.Trim(code, " ")
}
