package decode_test

import (
	"testing"
	"time"

	"github.com/shardline/shardline/pipeline/oee/decode"
)

func TestLines(t *testing.T) {
	l := decode.NewLines()
	for _, c := range []struct{ name, line, source, arrival, data, wrong string }{
		{"payload", `{"machine":"m1","state":"RUN"}`, "", "", `{"machine":"m1","state":"RUN"}`, ""},
		{"a change record", `{"data":{"id":1},"metadata":{"operation":"load"}}`, "", "", `{"data":{"id":1},"metadata":{"operation":"load"}}`, ""},
		{"payload with data", `{"data":7,"machine":"m1"}`, "", "", `{"data":7,"machine":"m1"}`, ""},
		{"an envelope", `{"source":"plc","partition_key":"m1","approximate_arrival":1772344800.5,"data":{"machine":"m1"}}`, "plc", "2026-03-01T06:00:00.5Z", `{"machine":"m1"}`, ""},
		{"in another order", `{"data":[{"a":1},{"a":2}],"approximate_arrival":"2026-03-01T07:00:00+01:00","source":"plc"}`, "plc", "2026-03-01T06:00:00Z", `[{"a":1},{"a":2}]`, ""},
		{"data as text", `{"partition_key":"m1","data":"{\"machine\":\"m1\"}\n"}`, "", "", "{\"machine\":\"m1\"}\n", ""},
		{"data in base64", `{"source":"plc","data":"eyJtYWNoaW5lIjoibTEifQ=="}`, "plc", "", `{"machine":"m1"}`, ""},
		{"a change record in an envelope", `{"source":"mes","data":{"data":{"id":1},"metadata":{"operation":"load"}}}`, "mes", "", `{"data":{"id":1},"metadata":{"operation":"load"}}`, ""},
		{"no JSON", `{"data" x`, "", "", `{"data" x`, ""},
		{"a number as data", `{"source":"plc","data":7}`, "", "", "", `/data: "7" is neither an object nor text`},
		{"an arrival that is none", `{"source":"plc","approximate_arrival":"soon","data":{}}`, "", "", "",
			`/approximate_arrival: "soon": it is no time: epoch seconds or milliseconds, or ISO 8601 such as 2026-03-01T06:00:00.5+01:00`},
	} {
		got, err := l.Read([]byte(c.line))
		if c.wrong != "" {
			if err == nil || err.Error() != c.wrong {
				t.Errorf("%s: got %v, want %s", c.name, err, c.wrong)
			}
			continue
		}
		arrival := ""
		if !got.Arrival.IsZero() {
			arrival = got.Arrival.Format(time.RFC3339Nano)
		}
		if err != nil || got.Source != c.source || arrival != c.arrival || string(got.Data) != c.data {
			t.Errorf("%s: %q %q %q, %v", c.name, got.Source, arrival, got.Data, err)
		}
	}
}

func FuzzLines(f *testing.F) {
	f.Add([]byte(`{"source":"plc","partition_key":"m1","approximate_arrival":1772344800.5,"data":{"machine":"m1"}}`))
	f.Add([]byte(`{"source":"plc","data":"eyJtYWNoaW5lIjoibTEifQ=="}`))
	l := decode.NewLines()
	f.Fuzz(func(t *testing.T, line []byte) {
		got, err := l.Read(line)
		if err == nil && len(got.Data) > len(line) {
			t.Errorf("more data than the line has: %q", got.Data)
		}
	})
}
