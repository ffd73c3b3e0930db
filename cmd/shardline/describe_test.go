package main

import (
	"testing"

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
	} {
		got, err := describe(c.key)("p", []byte(c.data))
		if (err != nil) != c.fails || !c.fails && got != c.want {
			t.Errorf("%s of %s: %+v, %v, want %+v", c.key, c.data, got, err, c.want)
		}
	}
}
