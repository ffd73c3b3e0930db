package opentravel

import (
	"strings"
)

// A home is a place where a message of some type says which hotel it is about.
type home struct {
	element string // local name of the element with @HotelCode, or with a child <HotelCode>; rootHome
	parent  string // local name of the element around it; empty: any
	rank    int    // a home of a lower rank makes those of a higher one count no more
}

// rootHome stands for the message's root element.
const rootHome = "/"

// homes has the homes by message type, written without OTA_ and RQ. All homes
// of the best rank that holds a code count: a reservation message names the
// hotel of each of its reservations.
var homes = map[string][]home{
	"HotelAvailNotif":             {{element: "AvailStatusMessages"}},
	"HotelRateAmountNotif":        {{element: "RateAmountMessages"}},
	"HotelRatePlanNotif":          {{element: "RatePlans"}},
	"HotelRatePlanInventoryNotif": {{element: "RatePlans"}},
	"HotelInvCountNotif":          {{element: "Inventories"}},
	"HotelInvNotif":               {{element: "SellableProducts"}},
	"HotelSummaryNotif":           {{element: rootHome}},
	"HotelDescriptiveContentNotif": {
		{element: "HotelDescriptiveContent"},
		{element: "HotelDescriptiveContents", rank: 1},
	},
	"HotelDescriptiveInfo": {
		{element: "HotelDescriptiveContent"},
		{element: "HotelDescriptiveContents", rank: 1},
	},
	"HotelCacheChangeNotif": {{element: "CacheChangeInfo"}},
	"HotelResNotif":         reservationHomes,
	"HotelResModifyNotif":   reservationHomes,
	"HotelInvBlockNotif":    {{element: "HotelRef", parent: "InvBlock"}},
	"HotelCommNotif":        {{element: "HotelReference"}},
	"HotelStayInfoNotif":    {{element: "StayInfos"}, {element: "StayInfo", rank: 1}},
	"HotelStatsNotif":       {{element: "Statistic"}},
	"HotelPostEventNotif":   {{element: "EventSite"}},
	"HotelBookingRuleNotif": {{element: "RuleMessages"}},
	"HotelRFP_Meeting":      {{element: "Site"}},
}

var reservationHomes = []home{
	{element: "BasicPropertyInfo", parent: "RoomStay"},
	{element: "BasicPropertyInfo", parent: "ResGlobalInfo"},
}

// otherHomes are known in messages of any type, beside those of the table.
var otherHomes = []string{
	"AvailStatusMessage", "BasicPropertyInfo", "Hotel", "HotelReadRequest", "HotelRef", "HotelReference",
	"HotelReservation", "Inventory", "Property", "RateAmountMessage", "RatePlan", "RuleMessage",
	"SellableProduct", "Statistics",
}

// foreign are elements whose HotelCode is not the hotel: DistribSystem holds
// the code under which a distribution system knows it.
var foreign = map[string]bool{"DistribSystem": true, "DistribSystems": true}

// places has, for every known home, how it is reported: element/@HotelCode.
var places = func() map[string]string {
	known := map[string]string{}
	add := func(element string) {
		if element != rootHome {
			known[element] = element + "/@HotelCode"
		}
	}
	for _, of := range homes {
		for _, h := range of {
			add(h.element)
		}
	}
	for _, element := range otherHomes {
		add(element)
	}
	return known
}()

// Ranks behind those of the table: outermost first among the homes that are
// known from other types, and then among elements that nobody knows.
const (
	rankKnown   = 16
	rankUnknown = rankKnown + maxDepth
	rankForeign = rankUnknown + maxDepth
)

// rank tells how well an element at level (0: the message's root) of a message
// with these homes says which hotel is meant: the smaller the better,
// rankForeign: not at all.
func rank(of []home, element, parent []byte, level int) int {
	for _, h := range of {
		matches := h.element == string(element) || h.element == rootHome && level == 0
		if matches && (h.parent == "" || h.parent == string(parent)) {
			return h.rank
		}
	}
	if foreign[string(element)] {
		return rankForeign
	}
	if _, known := places[string(element)]; known || level == 0 {
		return rankKnown + level
	}
	return rankUnknown + level
}

// typeTable answers for the usual spellings of the table's types without
// building a string.
type typeTable map[string]struct {
	name  string
	homes []home
}

var messageTypes = func() typeTable {
	table := typeTable{}
	for base := range homes {
		for _, name := range []string{base, "OTA_" + base + "RQ", "OTA_" + base + "RS"} {
			entry := table[name]
			entry.name, entry.homes = name, homesOf(name)
			table[name] = entry
		}
	}
	return table
}()

func (t typeTable) of(local []byte) (string, []home) {
	if entry, ok := t[string(local)]; ok {
		return entry.name, entry.homes
	}
	name := string(local)
	return name, homesOf(name)
}

// homesOf is the table's entry for a message type: OTA_HotelAvailNotifRQ, its
// answer and a vendor's HotelAvailNotif or HotelAvailNotifRequest share one.
func homesOf(messageType string) []home {
	messageType = strings.TrimPrefix(messageType, "OTA_")
	for _, suffix := range []string{"RQ", "RS", "Request", "Response"} {
		if base, ok := strings.CutSuffix(messageType, suffix); ok {
			return homes[base]
		}
	}
	return homes[messageType]
}
