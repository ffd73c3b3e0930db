package decode_test

import (
	"testing"

	"github.com/shardline/shardline/pipeline/oee/decode"
)

var metrics = decode.Fields{State: "State", Total: "Counts/Total", Rejected: "Counts/Rejected"}

// message is a message with its payload in it.
func message(topic, payload string) string {
	return `{"topic":"spBv1.0/` + topic + `","payload":` + payload + `}`
}

// TestMessages goes through the life of an edge node with two devices.
func TestMessages(t *testing.T) {
	d := decoder(t, decode.Config{Format: decode.Sparkplug, Fields: metrics, Machines: map[string]string{"Plant/Edge1/Press2": "press-2"}})
	check(t, d, []example{
		{"an alias before a birth", message("Plant/DDATA/Edge1/Press1", `{"timestamp":1772344800000,"metrics":[{"alias":1,"value":"RUN"}]}`),
			`error: /metrics: alias "1": no birth message was read that names it`},
		{"names need no birth", message("Plant/DDATA/Edge1/Press1", `{"timestamp":1772344800000,"metrics":[{"name":"State","value":"RUN"}]}`), "Press1 2026-03-01T06:00:00Z state=RUN"},
		{"the birth of a node", message("Plant/NBIRTH/Edge1", `{"timestamp":1772344800000,"seq":0,"metrics":[{"name":"bdSeq","dataType":"UInt64","value":4},{"name":"Node Control/Rebirth","alias":9,"value":false}]}`), "left=2"},
		{"the birth of a device, with its values", message("Plant/DBIRTH/Edge1/Press1", `{"timestamp":1772344800000,"seq":1,"metrics":[{"name":"State","alias":1,"value":"IDLE"},{"name":"Counts/Total","alias":2,"intValue":5},{"name":"Other","alias":3,"value":1}]}`),
			"Press1 2026-03-01T06:00:00Z state=IDLE total=5\nleft=1"},
		{"the birth of another device", message("Plant/DBIRTH/Edge1/Press2", `{"timestamp":1772344800000,"metrics":[{"name":"Counts/Rejected","alias":12,"isNull":true}]}`), "left=1"},
		{"aliases", message("Plant/DDATA/Edge1/Press1", `{"timestamp":1772344805000,"metrics":[{"alias":1,"timestamp":1772344804000,"value":"RUN"},{"alias":2,"timestamp":1772344804000,"longValue":"7"},{"alias":3,"value":8},{"alias":2,"value":9}]}`),
			"Press1 2026-03-01T06:00:04Z state=RUN total=7\nPress1 2026-03-01T06:00:05Z total=9\nleft=1"},
		{"an alias of the node's other device", message("Plant/DDATA/Edge1/Press2", `{"timestamp":1772344805000,"metrics":[{"alias":12,"double_value":1.5}]}`), "press-2 2026-03-01T06:00:05Z rejected=1.5"},
		{"historical: late data", message("Plant/DDATA/Edge1/Press1", `{"timestamp":1772344806000,"metrics":[{"alias":1,"timestamp":1772344790000,"isHistorical":true,"value":"IDLE"}]}`), "Press1 2026-03-01T05:59:50Z state=IDLE"},
		{"a state that is null", message("Plant/DDATA/Edge1/Press1", `{"timestamp":1772344806000,"metrics":[{"alias":1,"isNull":true,"value":"RUN"}]}`), "Press1 2026-03-01T06:00:06Z state=no data"},
		{"an unknown alias", message("Plant/DDATA/Edge1/Press1", `{"timestamp":1772344806000,"metrics":[{"alias":1,"value":"RUN"},{"alias":44,"value":1}]}`), `error: /metrics: alias "44": no birth message was read that names it`},
		{"the alias of another node", message("Plant/DDATA/Edge2/Press1", `{"timestamp":1772344806000,"metrics":[{"alias":1,"value":"RUN"}]}`), `error: /metrics: alias "1": no birth message was read that names it`},
		{"a device dies", message("Plant/DDEATH/Edge1/Press1", `{"timestamp":1772344807000,"seq":9}`), "Press1 2026-03-01T06:00:07Z state=no data"},
		// What a node's death says of time is when it connected; it came into the
		// stream at 06:00:05.
		{"a node of before dies", message("Plant/NDEATH/Edge1", `{"timestamp":1772340000000,"metrics":[{"name":"bdSeq","value":3}]}`), "left=1"},
		{"the node dies, and its devices with it", message("Plant/NDEATH/Edge1", `{"timestamp":1772340000000,"metrics":[{"name":"bdSeq","value":4}]}`),
			"Edge1 2026-03-01T06:00:05Z state=no data\nPress1 2026-03-01T06:00:05Z state=no data\npress-2 2026-03-01T06:00:05Z state=no data"},
		{"a node that nobody knew", message("Plant/NDEATH/Edge7", `{"metrics":[]}`), "Edge7 2026-03-01T06:00:05Z state=no data"},
		{"a node without devices is a machine", message("Plant/NDATA/Edge7", `{"timestamp":1772344805000,"metrics":[{"name":"State","value":1}]}`), "Edge7 2026-03-01T06:00:05Z state=1"},
		{"born again, aliases are others", message("Plant/NBIRTH/Edge1", `{"timestamp":1772344809000,"metrics":[{"name":"bdSeq","value":5}]}`), "left=1"},
		{"the old ones are gone", message("Plant/DDATA/Edge1/Press1", `{"timestamp":1772344810000,"metrics":[{"alias":1,"value":"RUN"}]}`), `error: /metrics: alias "1": no birth message was read that names it`},
		{"the payload at the top", `{"topic":"spBv1.0/Plant/DDATA/Edge1/Press1","timestamp":1772344810000,"metrics":[{"name":"State","string_value":"RUN"}]}`, "Press1 2026-03-01T06:00:10Z state=RUN"},
		{"a command", message("Plant/DCMD/Edge1/Press1", `{"metrics":[]}`), "left=1"},
		{"a host", `{"topic":"spBv1.0/STATE/scada","payload":{"online":true}}`, "left=1"},

		{"no topic", `{"timestamp":1,"metrics":[]}`, "error: /topic: it is missing: a rule on the way must add it, as topic() of AWS IoT does"},
		{"another topic", `{"topic":"plant/1/state"}`, `error: /topic: "plant/1/state" is not spBv1.0/GROUP/TYPE/NODE or spBv1.0/GROUP/TYPE/NODE/DEVICE`},
		{"a device without device", message("Plant/DDATA/Edge1", `{}`), `error: /topic: "spBv1.0/Plant/DDATA/Edge1": a message of a device names it, and no other`},
		{"another type", message("Plant/NOTE/Edge1", `{}`), `error: /topic: "NOTE" is no type of message of Sparkplug B`},
		{"no name", message("Plant/NDATA/Edge1", `{"timestamp":1,"metrics":[{"value":1}]}`), "error: /metrics: a metric has neither name nor alias"},
		{"no time", message("Plant/NDATA/Edge1", `{"metrics":[{"name":"State","value":1}]}`), "error: /timestamp: it is missing"},
		{"metrics that are none", message("Plant/NDATA/Edge1", `{"timestamp":1,"metrics":[1]}`), "error: /metrics: it is no list of objects"},
		{"negative units", message("Plant/NDATA/Edge1", `{"timestamp":1,"metrics":[{"name":"Counts/Total","value":-1}]}`), `error: Counts/Total: "-1": it is negative`},
	})
}

// TestDeathWithoutArrival: a file of records may not say when they came.
func TestDeathWithoutArrival(t *testing.T) {
	d := decoder(t, decode.Config{Format: decode.Sparkplug, Fields: metrics})
	var batch decode.Batch
	err := d.Decode(decode.Record{Data: []byte(message("Plant/NDEATH/Edge1", `{"timestamp":1772340000000}`))}, &batch)
	if err == nil || len(batch.Events) > 0 {
		t.Errorf("%v, %+v", err, batch)
	}
}
