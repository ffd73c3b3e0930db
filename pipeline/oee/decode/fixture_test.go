package decode_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/shardline/shardline/pipeline/oee"
	"github.com/shardline/shardline/pipeline/oee/decode"
)

// arrived is when every record of the tests came into its stream.
var arrived = time.Date(2026, 3, 1, 6, 0, 5, 0, time.UTC)

func decoder(t testing.TB, c decode.Config) *decode.Decoder {
	t.Helper()
	d, err := decode.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// one decodes one record with a decoder.
func one(d *decode.Decoder, data string) (decode.Batch, error) {
	var batch decode.Batch
	err := d.Decode(decode.Record{
		Data: []byte(data), Arrival: arrived, Index: 7,
		Position: oee.Position{Shard: "plc/0", Sequence: "49", Sub: 3},
	}, &batch)
	return batch, err
}

// shown is what a batch has, a line for each event and row.
func shown(b decode.Batch) string {
	var lines []string
	optional := func(line, name, value string) string {
		if value != "" {
			line += " " + name + "=" + value
		}
		return line
	}
	units := func(r oee.Reading) string {
		if !r.Valid {
			return ""
		}
		return r.Units.String()
	}
	at := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format(time.RFC3339Nano)
	}
	for _, e := range b.Events {
		line := e.Machine + " " + at(e.Time)
		line = optional(line, "state", e.State)
		line = optional(line, "total", units(e.Total))
		line = optional(line, "good", units(e.Good))
		line = optional(line, "rejected", units(e.Rejected))
		line = optional(line, "product", e.Product)
		line = optional(line, "reason", e.Reason)
		lines = append(lines, optional(line, "id", e.ID))
	}
	for _, r := range b.Rows {
		line := fmt.Sprintf("%s %s key=%s", r.Kind, r.Table, r.Key)
		if r.Delete {
			line += " deleted"
		}
		line = optional(line, "machine", r.Machine)
		line = optional(line, "product", r.Product)
		line = optional(line, "reason", r.Reason)
		line = optional(line, "time", at(r.Time))
		line = optional(line, "start", at(r.Start))
		line = optional(line, "end", at(r.End))
		line = optional(line, "total", units(r.Total))
		line = optional(line, "good", units(r.Good))
		line = optional(line, "rejected", units(r.Rejected))
		if r.Rate.Per != 0 {
			line += fmt.Sprintf(" rate=%s/%s", r.Rate.Units, r.Rate.Per)
		}
		lines = append(lines, line)
	}
	if b.Left > 0 {
		lines = append(lines, fmt.Sprintf("left=%d", b.Left))
	}
	return strings.Join(lines, "\n")
}

// example is a record and what it says; want begins with "error: " when it is
// refused.
type example struct{ name, data, want string }

// check decodes each example with one decoder, in their order.
func check(t *testing.T, d *decode.Decoder, examples []example) {
	t.Helper()
	for _, e := range examples {
		batch, err := one(d, e.data)
		got := shown(batch)
		if err != nil {
			if got != "" {
				t.Errorf("%s: refused, and yet there is %s", e.name, got)
			}
			got = "error: " + err.Error()
		}
		if got != e.want {
			t.Errorf("%s:\n%s\ngot\n%s\nwant\n%s", e.name, e.data, got, e.want)
		}
	}
}
