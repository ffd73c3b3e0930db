package decode_test

import (
	"testing"

	"github.com/shardline/shardline/pipeline/oee/decode"
)

func TestProperties(t *testing.T) {
	const state, total = "11111111-1111-4111-8111-000000000001", "11111111-1111-4111-8111-000000000002"
	d := decoder(t, decode.Config{Format: decode.SiteWise, Fields: decode.Fields{State: state, Total: total},
		Machines: map[string]string{"aaaa": "press-1"}})
	notice := func(asset, property, values string) string {
		return `{"type":"PropertyValueUpdate","payload":{"assetId":"` + asset + `","propertyId":"` + property + `","values":` + values + `}}`
	}
	at := func(seconds, nanos, quality, value string) string {
		return `{"timestamp":{"timeInSeconds":` + seconds + `,"offsetInNanos":` + nanos + `},"quality":"` + quality + `","value":{` + value + `}}`
	}
	check(t, d, []example{
		{"a state", notice("aaaa", state, `[`+at("1772344800", "250000000", "GOOD", `"stringValue":"RUN"`)+`]`), "press-1 2026-03-01T06:00:00.25Z state=RUN"},
		{"states as numbers and truth values", notice("bbbb", state, `[`+at("1772344800", "0", "GOOD", `"integerValue":1`)+`,`+at("1772344801", "0", "GOOD", `"booleanValue":false`)+`]`),
			"bbbb 2026-03-01T06:00:00Z state=1\nbbbb 2026-03-01T06:00:01Z state=false"},
		{"units", notice("aaaa", total, `[`+at("1772344800", "1", "UNCERTAIN", `"doubleValue":12.5`)+`]`), "press-1 2026-03-01T06:00:00.000000001Z total=12.5"},
		{"bad is not 0", notice("aaaa", total, `[`+at("1772344800", "0", "BAD", `"doubleValue":0`)+`,`+at("1772344801", "0", "GOOD", `"doubleValue":3`)+`]`),
			"press-1 2026-03-01T06:00:01Z total=3\nleft=1"},
		{"a bad state is none", notice("aaaa", state, `[`+at("1772344800", "0", "BAD", `"stringValue":"RUN"`)+`]`), "press-1 2026-03-01T06:00:00Z state=no data"},
		{"no value", notice("aaaa", state, `[`+at("1772344800", "0", "GOOD", ``)+`]`), "press-1 2026-03-01T06:00:00Z state=no data"},
		{"no nanoseconds", notice("aaaa", total, `[{"timestamp":{"timeInSeconds":1772344800},"quality":"GOOD","value":{"integerValue":"7"}}]`), "press-1 2026-03-01T06:00:00Z total=7"},
		{"another property", notice("aaaa", "x", `[]`), "left=1"},
		{"no values", notice("aaaa", state, `[]`), ""},

		{"another type", `{"type":"Other","payload":{}}`, "error: /type: it is not PropertyValueUpdate"},
		{"no asset", `{"type":"PropertyValueUpdate","payload":{"propertyId":"x","values":[]}}`, "error: /payload/assetId: it is missing"},
		{"no property", `{"type":"PropertyValueUpdate","payload":{"assetId":"x","values":[]}}`, "error: /payload/propertyId: it is missing"},
		{"values that are none", notice("aaaa", state, `{}`), "error: /payload/values: it is no list of objects"},
		{"a value that is none", notice("aaaa", state, `[1]`), "error: /payload/values: it is no list of objects"},
		{"no values at all", `{"type":"PropertyValueUpdate","payload":{"assetId":"x","propertyId":"` + state + `"}}`, "error: /payload/values: it is missing"},
		{"no time", notice("aaaa", state, `[{"quality":"GOOD","value":{"stringValue":"RUN"}}]`), "error: /payload/values/timestamp/timeInSeconds: it is missing"},
		{"a time that is none", notice("aaaa", state, `[`+at("-1", "0", "GOOD", `"stringValue":"RUN"`)+`]`), `error: /payload/values/timestamp/timeInSeconds: "-1": no machine has such a time: 1970 to 2262 are possible`},
		{"nanoseconds of a second too much", notice("aaaa", state, `[`+at("1", "1000000000", "GOOD", `"stringValue":"RUN"`)+`]`), `error: /payload/values/timestamp/offsetInNanos: "1000000000" is not 0 to 999999999`},
		{"another quality", notice("aaaa", state, `[`+at("1", "0", "FINE", `"stringValue":"RUN"`)+`]`), `error: /payload/values/quality: "FINE" is none of GOOD, BAD, UNCERTAIN`},
		{"negative units", notice("aaaa", total, `[`+at("1", "0", "GOOD", `"doubleValue":-2`)+`]`), `error: /payload/values/value: "-2": it is negative`},
	})
	if _, err := decode.New(decode.Config{Format: decode.SiteWise, Fields: decode.Fields{Machine: "x", State: "y"}}); err == nil {
		t.Error("no error")
	}
}
