package decode_test

import (
	"strings"
	"testing"
	"time"

	"github.com/shardline/shardline/pipeline/oee"
	"github.com/shardline/shardline/pipeline/oee/decode"
)

var plcFields = decode.Fields{
	Machine: "/machine", Time: "/epochtime", State: "/state", Total: "/units", Good: "/good", Rejected: "/scrap",
	Product: "/sku", Reason: "/reason", ID: "/id",
}

func TestEvents(t *testing.T) {
	d := decoder(t, decode.Config{Format: decode.JSON, Fields: plcFields, Machines: map[string]string{"17": "press-017"}})
	check(t, d, []example{
		{"everything", `{"machine":"m1","epochtime":1772344800,"state":"RUN","units":12,"good":11,"scrap":1,"sku":"A/1","reason":"jam","id":"e-1","other":{"state":"IDLE","list":[1,{"units":9}]}}`,
			"m1 2026-03-01T06:00:00Z state=RUN total=12 good=11 rejected=1 product=A/1 reason=jam id=e-1"},
		{"a newline behind it", "{\"machine\":\"m1\",\"epochtime\":1772344800,\"state\":\"RUN\"}\n", "m1 2026-03-01T06:00:00Z state=RUN"},
		{"printed for people", "{\n  \"state\" : \"RUN\",\n  \"machine\" : \"m1\",\n  \"epochtime\" : 1772344800\n}\r\n", "m1 2026-03-01T06:00:00Z state=RUN"},
		{"numbers as texts", `{"machine":"m1","epochtime":"1772344800.5","units":" 12.50 ","good":"1e1"}`, "m1 2026-03-01T06:00:00.5Z total=12.5 good=10"},
		{"numbers as names", `{"machine":17,"epochtime":1772344800,"state":1,"sku":4711,"reason":true}`, "press-017 2026-03-01T06:00:00Z state=1 product=4711 reason=true"},
		{"nothing but a sign of life", `{"machine":"m1","epochtime":1772344800}`, "m1 2026-03-01T06:00:00Z"},
		{"null and empty are not there", `{"machine":"m1","epochtime":1772344800,"state":null,"units":null,"good":"","sku":"","reason":" "}`, "m1 2026-03-01T06:00:00Z"},
		{"decimals are exact", `{"machine":"m1","epochtime":1772344800,"units":0.1,"good":0.30000000000000004,"scrap":123456789012.123456}`,
			"m1 2026-03-01T06:00:00Z total=0.1 good=0.3 rejected=123456789012.123456"},
		{"escapes", `{"m\u0061chine":"Stra\u00dfe \"7\"","epochtime":1772344800,"state":"a\/b"}`, `Straße "7" 2026-03-01T06:00:00Z state=a/b`},
		{"the last of two", `{"machine":"m1","machine":"m2","epochtime":1,"epochtime":1772344800,"state":"RUN","state":null}`, "m2 2026-03-01T06:00:00Z"},
		{"an array", ` [{"machine":"m1","epochtime":1772344800,"units":1},
			{"machine":"m2","epochtime":1772344801,"units":2}]`, "m1 2026-03-01T06:00:00Z total=1\nm2 2026-03-01T06:00:01Z total=2"},
		{"one after the other", `{"machine":"m1","epochtime":1772344800}{"machine":"m2","epochtime":1772344801}` + "\n" + `{"machine":"m3","epochtime":1772344802}`,
			"m1 2026-03-01T06:00:00Z\nm2 2026-03-01T06:00:01Z\nm3 2026-03-01T06:00:02Z"},
		{"an empty array", `[]`, ""},

		{"no machine", `{"epochtime":1772344800,"state":"RUN"}`, "error: /machine: it is missing"},
		{"null as machine", `{"machine":null,"epochtime":1772344800}`, "error: /machine: it is null"},
		{"nothing as machine", `{"machine":" ","epochtime":1772344800}`, "error: /machine: it is empty"},
		{"an object as machine", `{"machine":{"id":"m1"},"epochtime":1772344800}`, `error: /machine: "{\"id\":\"m1\"}" is no text, number or truth value`},
		{"a machine without end", `{"machine":"` + strings.Repeat("m", 257) + `","epochtime":1}`,
			`error: /machine: "` + strings.Repeat("m", 40) + `…" is longer than 256 bytes`},
		{"no time", `{"machine":"m1","state":"RUN"}`, "error: /epochtime: it is missing"},
		{"a list as state", `{"machine":"m1","epochtime":1772344800,"state":["RUN"]}`, `error: /state: "[\"RUN\"]" is no text, number or truth value`},
		{"a negative count", `{"machine":"m1","epochtime":1772344800,"units":-5}`, `error: /units: "-5": it is negative`},
		{"an absurd count", `{"machine":"m1","epochtime":1772344800,"units":1e30}`, `error: /units: "1e30": it is too large`},
		{"NaN as text", `{"machine":"m1","epochtime":1772344800,"good":"NaN"}`, `error: /good: "NaN": no digits`},
		{"infinity as text", `{"machine":"m1","epochtime":1772344800,"good":"Infinity"}`, `error: /good: "Infinity": no digits`},
		{"NaN, as some encoders write it", `{"machine":"m1","epochtime":1772344800,"good":NaN}`, `error: /good: it is no JSON: invalid character 'N' at start of value at byte 47`},
		{"a truth value as count", `{"machine":"m1","epochtime":1772344800,"units":true}`, `error: /units: "true" is no number`},
		{"an object as count", `{"machine":"m1","epochtime":1772344800,"units":{"n":1}}`, `error: /units: "{\"n\":1}" is no number`},
		{"a comma in a count", `{"machine":"m1","epochtime":1772344800,"units":"1,5"}`, `error: /units: "1,5": not a decimal number`},
		{"one of several", `[{"machine":"m1","epochtime":1772344800},{"machine":"m2"}]`, "error: object 2 of the record: /epochtime: it is missing"},
		{"no object", `"RUN"`, "error: it is no JSON object"},
		{"a list in a list", `[[{"machine":"m1","epochtime":1772344800}]]`, "error: it is no JSON object"},
		{"something behind", `{"machine":"m1","epochtime":1772344800} x`, "error: object 2 of the record: it is no JSON: invalid character 'x' at start of value at byte 41"},
		{"empty", "", "error: it is empty"},
		{"space", " \n", "error: it is empty"},
		{"cut off", `{"machine":"m1","epochtime":17723`, "error: it is no JSON: unexpected EOF at byte 34"},
		{"XML", `<state/>`, "error: it is no JSON: invalid character '<' at start of value at byte 1"},
		{"other letters", "{\"machine\":\"m\xfc\",\"epochtime\":1772344800}", `error: /machine: it is no JSON: invalid UTF-8 at byte 14`},
	})
}

// TestPosition: events carry their record's place, and theirs in it.
func TestPosition(t *testing.T) {
	d := decoder(t, decode.Config{Format: decode.JSON, Fields: plcFields})
	batch, err := one(d, `[{"machine":"m1","epochtime":1},{"machine":"m1","epochtime":2}]`)
	if err != nil || len(batch.Events) != 2 {
		t.Fatal(batch, err)
	}
	for i, e := range batch.Events {
		want := oee.Position{Shard: "plc/0", Sequence: "49", Sub: 3, Item: int32(i)}
		if e.Position != want || e.Index != 7 || !e.Arrival.Equal(arrived) {
			t.Errorf("event %d: %+v", i, e)
		}
	}
	// A batch grows, and a record that is refused leaves it as it was.
	if err := d.Decode(decode.Record{Data: []byte(`[{"machine":"m2","epochtime":3},{}]`)}, &batch); err == nil {
		t.Error("no error")
	}
	if err := d.Decode(decode.Record{Data: []byte(`{"machine":"m3","epochtime":3}`)}, &batch); err != nil {
		t.Error(err)
	}
	if len(batch.Events) != 3 || batch.Events[2].Machine != "m3" || batch.Events[2].Position.Item != 0 {
		t.Errorf("%+v", batch.Events)
	}
}

// TestPointers: fields may lie deep, in lists, and have any name.
func TestPointers(t *testing.T) {
	d := decoder(t, decode.Config{Format: decode.JSON, Fields: decode.Fields{
		Machine: "/asset/ids/1", Time: "/asset/t", State: "/a~1b/~0", Total: "/counts/0/n", Good: "/é",
	}})
	check(t, d, []example{
		{"deep", `{"counts":[{"n":5},{"n":6}],"asset":{"t":1772344800,"ids":["x","m1","y"]},"a/b":{"~":"RUN"},"\u00e9":4}`,
			"m1 2026-03-01T06:00:00Z state=RUN total=5 good=4"},
		{"the last of two objects", `{"asset":{"t":1,"ids":["x","m1"]},"asset":{"t":1772344800,"ids":{"1":"m2"}},"counts":{"0":{"n":7}},"counts":7}`,
			"m2 2026-03-01T06:00:00Z"},
		{"too short a list", `{"asset":{"t":1772344800,"ids":["x"]}}`, "error: /asset/ids/1: it is missing"},
	})
	for _, bad := range []decode.Fields{
		{Machine: "/m"}, {Time: "/t"}, {Machine: "m", Time: "/t"}, {Machine: "/m", Time: "/m"}, {Machine: "/m", Time: "/m/t"}, {Machine: "/m/n", Time: "/m"},
	} {
		if _, err := decode.New(decode.Config{Format: decode.JSON, Fields: bad}); err == nil {
			t.Errorf("%+v: no error", bad)
		}
	}
	if _, err := decode.New(decode.Config{Format: "csv"}); err == nil {
		t.Error("csv: no error")
	}
}

func TestTimes(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	d := decoder(t, decode.Config{Format: decode.JSON, Fields: decode.Fields{Machine: "/m", Time: "/t"}, Zone: berlin})
	for value, want := range map[string]string{
		// Numbers: 1772344800 is 2026-03-01T06:00:00Z.
		`1772344800`:                          "2026-03-01T06:00:00Z",
		`1772344800.125`:                      "2026-03-01T06:00:00.125Z",
		`1772344800.123456789`:                "2026-03-01T06:00:00.123456789Z",
		`1772344800.1234567894`:               "2026-03-01T06:00:00.123456789Z", // rounded
		`1.7723448e9`:                         "2026-03-01T06:00:00Z",
		`1772344800125`:                       "2026-03-01T06:00:00.125Z", // milliseconds
		`1772344800125.5`:                     "2026-03-01T06:00:00.1255Z",
		`"1772344800125"`:                     "2026-03-01T06:00:00.125Z",
		`1772344800125250`:                    "2026-03-01T06:00:00.12525Z",    // microseconds
		`1772344800125250750`:                 "2026-03-01T06:00:00.12525075Z", // nanoseconds
		`99999999999`:                         "error",                         // the year 5138
		`100000000000`:                        "1973-03-03T09:46:40Z",          // from here on milliseconds
		`0`:                                   "1970-01-01T00:00:00Z",          // the view says that this clock is wrong
		`-1`:                                  "error",
		`1e300`:                               "error",
		`9223372036854775807`:                 "2262-04-11T23:47:16.854775807Z",
		`9223372036854775808`:                 "error",
		`"2026-03-01T06:00:00Z"`:              "2026-03-01T06:00:00Z",
		`"2026-03-01t06:00:00.5z"`:            "2026-03-01T06:00:00.5Z",
		`"2026-03-01T06:00:00.123456789123Z"`: "2026-03-01T06:00:00.123456789Z",
		`"2026-03-01T06:00:00,25+01:00"`:      "2026-03-01T05:00:00.25Z",
		`"2026-03-01 06:00:00 +0530"`:         "2026-03-01T00:30:00Z",
		`"2026-03-01T06:00:00-03"`:            "2026-03-01T09:00:00Z",
		`"2026-03-01T06:00Z"`:                 "2026-03-01T06:00:00Z",
		`"20260301T060000Z"`:                  "2026-03-01T06:00:00Z",
		`"20260301T060000.5+0100"`:            "2026-03-01T05:00:00.5Z",
		`"2026-06-30T23:59:60Z"`:              "2026-07-01T00:00:00Z", // a leap second
		// Without a zone: Berlin, +1 in winter, +2 in summer.
		`"2026-03-01 06:00:00"`:        "2026-03-01T05:00:00Z",
		`"2026-07-01T06:00:00.000001"`: "2026-07-01T04:00:00.000001Z",
		`"2026-03-29T01:59:59"`:        "2026-03-29T00:59:59Z",
		`"2026-03-29T02:30:00"`:        "error", // never shown
		`"2026-03-29T03:00:00"`:        "2026-03-29T01:00:00Z",
		`"2026-10-25T01:59:59"`:        "2026-10-24T23:59:59Z",
		`"2026-10-25T02:30:00"`:        "error", // shown twice
		`"2026-10-25T02:30:00+02:00"`:  "2026-10-25T00:30:00Z",
		`"2026-10-25T03:00:00"`:        "2026-10-25T02:00:00Z",
		// No times.
		`"2026-02-30T06:00:00Z"`: "error", `"2026-13-01T06:00:00Z"`: "error", `"2026-03-01T24:00:00Z"`: "error",
		`"2026-03-01T06:60:00Z"`: "error", `"2026-03-01T06:00:61Z"`: "error", `"2026-03-01T06:00:00+16:00"`: "error",
		`"2026-03-01"`: "error", `"06:00"`: "error", `"yesterday"`: "error", `""`: "error", `true`: "error", `{}`: "error", `[1]`: "error",
		`"1969-12-31T23:59:59Z"`: "error", `"2300-01-01T00:00:00Z"`: "error", `"2026-03-01T06:00:00Zx"`: "error", `"2026-03-01T06:00:00."`: "error",
	} {
		batch, err := one(d, `{"m":"m1","t":`+value+`}`)
		switch {
		case err != nil && (want != "error" || !strings.HasPrefix(err.Error(), "/t: ")):
			t.Errorf("%s: %v", value, err)
		case err == nil && batch.Events[0].Time.Format(time.RFC3339Nano) != want:
			t.Errorf("%s: %s, want %s", value, batch.Events[0].Time.Format(time.RFC3339Nano), want)
		}
	}
	_, err = one(d, `{"m":"m1","t":"2026-10-25 02:30:00"}`)
	if want := `/t: "2026-10-25 02:30:00": the clock of Europe/Berlin shows this time twice: send times with Z or an offset`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	_, err = one(d, `{"m":"m1","t":"soon"}`)
	if want := `/t: "soon": it is no time: epoch seconds or milliseconds, or ISO 8601 such as 2026-03-01T06:00:00.5+01:00`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
