package decode_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/shardline/shardline/pipeline/oee/decode"
)

// press is an event of 200 bytes, with fields that nobody asks for.
var press = []byte(`{"machine":"press-017","epochtime":1764057600.125,"state":"RUN","units":1284417,"good":1283990,"scrap":427,"sku":"A-4711/B","reason":"","line":"line-3","temp":61.25,"op":"shift-a","seq":99123841,"v":2}`)

// eventsSide decodes to an event of a view.
func eventsSide(tb testing.TB) func() error {
	d := decoder(tb, decode.Config{Format: decode.JSON, Fields: plcFields})
	var batch decode.Batch
	return func() error {
		batch.Events = batch.Events[:0]
		return d.Decode(decode.Record{Data: press, Arrival: arrived}, &batch)
	}
}

// structSide is the library alone, into a struct of the same fields.
func structSide() func() error {
	var event struct {
		Machine string         `json:"machine"`
		Time    jsontext.Value `json:"epochtime"`
		State   string         `json:"state"`
		Total   jsontext.Value `json:"units"`
		Good    jsontext.Value `json:"good"`
		Scrap   jsontext.Value `json:"scrap"`
		Product string         `json:"sku"`
		Reason  string         `json:"reason"`
	}
	return func() error { return json.Unmarshal(press, &event) }
}

// tokensSide is the library's tokens alone, the least that reading can cost.
func tokensSide() func() error {
	var buffer bytes.Buffer
	options := jsontext.AllowDuplicateNames(true)
	d := jsontext.NewDecoder(&buffer, options)
	return func() error {
		buffer = *bytes.NewBuffer(press)
		d.Reset(&buffer, options)
		for {
			switch _, err := d.ReadToken(); err {
			case nil:
			case io.EOF:
				return nil
			default:
				return err
			}
		}
	}
}

// BenchmarkJSON decodes one event a turn, each side by itself.
func BenchmarkJSON(b *testing.B) {
	for _, side := range []struct {
		name string
		do   func() error
	}{{"events", eventsSide(b)}, {"struct", structSide()}, {"tokens", tokensSide()}} {
		b.Run(side.name, func(b *testing.B) {
			b.SetBytes(int64(len(press)))
			b.ReportAllocs()
			for b.Loop() {
				if err := side.do(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// TestAllocations: an event like those before it costs no allocation.
func TestAllocations(t *testing.T) {
	do := eventsSide(t)
	if n := testing.AllocsPerRun(100, func() {
		if err := do(); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
