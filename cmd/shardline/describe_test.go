package main

import (
	"reflect"
	"testing"
	"time"

	"github.com/shardline/shardline/cmd/shardline/config"
	"github.com/shardline/shardline/pipeline"
)

// TestDescribe is about keys: from the body, or else the partition key and why.
func TestDescribe(t *testing.T) {
	const ping = `<OTA_PingRQ xmlns="http://www.opentravel.org/OTA/2003/05"/>`
	for _, c := range []struct {
		key, data string
		want      pipeline.Description
		fails     bool
	}{
		{"json:/hotel", `{"hotel": "H1"}`, pipeline.Description{Key: "H1", ContentType: "application/json"}, false},
		{"json:/hotel", `{"hotel": 7.0}`, pipeline.Description{Key: "7.0", ContentType: "application/json"}, false},
		{"json:/hotel", `{"hotel": ""}`, pipeline.Description{Key: "p", ContentType: "application/json", Fallback: "no_value"}, false},
		{"json:/hotel", `[]`, pipeline.Description{Key: "p", ContentType: "application/json", Fallback: "no_value"}, false},
		{"json:/hotel", `<a/>`, pipeline.Description{}, true},
		{"hotel_code", ping, pipeline.Description{Key: "p", Type: "OTA_PingRQ", ContentType: "application/xml; charset=utf-8", Fallback: "no_hotel_code"}, false},
		{"hotel_code", `{}`, pipeline.Description{}, true},
		{"partition_key", `{}`, pipeline.Description{Key: "p"}, false},
		{"partition_key", `<OTA_HotelAvailNotifRQ><AvailStatusMessages HotelCode="H1"/></OTA_HotelAvailNotifRQ>`,
			pipeline.Description{Key: "p", Type: "OTA_HotelAvailNotifRQ", Hotels: []string{"H1"}, ContentType: "application/xml; charset=utf-8"}, false},
	} {
		got, err := describe(c.key)("p", []byte(c.data))
		if (err != nil) != c.fails || !c.fails && !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s of %s: %+v, %v, want %+v", c.key, c.data, got, err, c.want)
		}
	}
}

// TestDeduplication is about what tells a record from others.
func TestDeduplication(t *testing.T) {
	const avail = `<OTA_HotelAvailNotifRQ EchoToken="7"/>`
	for _, c := range []struct{ by, data, want string }{
		{"content", "any bytes", "any bytes"},
		{"content", "", ""},
		{"message_id", avail, "OTA_HotelAvailNotifRQ 7"},
		{"message_id", `<OTA_HotelAvailNotifRQ/>`, ""},
		{"message_id", `{"id": 7}`, ""},
		{"json:/id", `{"id": 7}`, "7"},
		{"json:/id", `{"id": ""}`, ""},
		{"json:/id", avail, ""},
	} {
		d := deduplication(&config.Deduplicate{By: c.by, Window: time.Minute})
		if got := string(d.ID([]byte(c.data))); got != c.want || d.Window != time.Minute {
			t.Errorf("%s of %s: %q within %v, want %q within 1m", c.by, c.data, got, d.Window, c.want)
		}
	}
	if deduplication(nil) != nil {
		t.Error("something is de-duplicated that is not configured to be")
	}
}
