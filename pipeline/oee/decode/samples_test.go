package decode_test

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shardline/shardline/pipeline/oee"
	"github.com/shardline/shardline/pipeline/oee/decode"
)

// formats are the decoders of the samples, by the name of their file.
var formats = map[string]decode.Config{
	"plc":       {Format: decode.JSON, Fields: plcFields},
	"dms":       {Format: decode.DMS, Tables: tables},
	"sitewise":  {Format: decode.SiteWise, Fields: decode.Fields{State: "state", Total: "total"}},
	"sparkplug": {Format: decode.Sparkplug, Fields: metrics},
}

// lines are the records of a file of samples.
func lines(t testing.TB, name string) [][]byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name+".jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Split(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))
}

// TestSamples decodes each file of samples; beside it stands what they say.
func TestSamples(t *testing.T) {
	for name, c := range formats {
		d := decoder(t, c)
		var batch decode.Batch
		for i, line := range lines(t, name) {
			if err := d.Decode(decode.Record{Data: line, Arrival: arrived}, &batch); err != nil {
				t.Errorf("%s, line %d: %v", name, i+1, err)
			}
		}
		want, err := os.ReadFile(filepath.Join("testdata", name+".want"))
		if err != nil {
			t.Fatal(err)
		}
		if got := shown(batch) + "\n"; got != string(want) {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
		}
	}
}

// fuzz decodes any record with decoders of one format. It never panics, what it
// refuses leaves nothing, and what it takes is what may be counted with.
func fuzz(f *testing.F, name string) {
	for _, line := range lines(f, name) {
		f.Add(line)
	}
	f.Add([]byte("[{}]"))
	c := formats[name]
	lived := decoder(f, c) // has seen all records before
	f.Fuzz(func(t *testing.T, data []byte) {
		kept := bytes.Clone(data)
		for _, d := range []*decode.Decoder{decoder(t, c), lived} {
			var batch decode.Batch
			err := d.Decode(decode.Record{Data: data, Arrival: arrived}, &batch)
			if err != nil {
				if len(batch.Events)+len(batch.Rows)+batch.Left > 0 {
					t.Errorf("refused, and yet there is %+v", batch)
				}
				if err.Error() == "" || strings.ContainsAny(err.Error(), "\n\x1b") || len(err.Error()) > 1000+len(data) {
					t.Errorf("a message nobody can read: %q", err)
				}
				continue
			}
			if !jsonLines(data) {
				t.Error("taken, and is no JSON")
			}
			sound(t, batch)
		}
		if !bytes.Equal(data, kept) {
			t.Error("the record was changed")
		}
	})
}

func sound(t *testing.T, batch decode.Batch) {
	t.Helper()
	possible := func(at time.Time) bool {
		return !at.Before(time.Unix(0, 0)) && !at.After(time.Unix(0, math.MaxInt64))
	}
	units := func(readings ...oee.Reading) bool {
		for _, r := range readings {
			if r.Units < 0 || r.Units > oee.MaxUnits || !r.Valid && r.Units != 0 {
				return false
			}
		}
		return true
	}
	for _, e := range batch.Events {
		if e.Machine == "" || !possible(e.Time) || !units(e.Total, e.Good, e.Rejected) {
			t.Errorf("%+v", e)
		}
	}
	for _, r := range batch.Rows {
		switch {
		case r.Kind == 0 || r.Table == "":
		case r.Delete:
			continue
		case (r.Machine != "" || r.Kind == oee.IdealRate) && units(r.Total, r.Good, r.Rejected) && (r.Kind != oee.IdealRate || r.Rate.Valid()):
			continue
		}
		t.Errorf("%+v", r)
	}
}

// jsonLines says whether data is JSON values, by another reader.
func jsonLines(data []byte) bool {
	decoder := json.NewDecoder(bytes.NewReader(data))
	for {
		var value json.RawMessage
		switch err := decoder.Decode(&value); {
		case err == nil:
		default:
			return err.Error() == "EOF"
		}
	}
}

func FuzzEvents(f *testing.F)     { fuzz(f, "plc") }
func FuzzChanges(f *testing.F)    { fuzz(f, "dms") }
func FuzzProperties(f *testing.F) { fuzz(f, "sitewise") }
func FuzzMessages(f *testing.F)   { fuzz(f, "sparkplug") }

// TestFieldSamples decodes recordings of real machines, each element of which
// is made a record, and holds what comes out against the figures beside them.
func TestFieldSamples(t *testing.T) {
	folder := os.Getenv("SHARDLINE_TESTDATA")
	if folder == "" {
		folder = filepath.Join("..", "..", "..", "..", "shared", "testdata")
	}
	folder = filepath.Join(folder, "oee")
	if _, err := os.Stat(filepath.Join(folder, "index.tsv")); err != nil {
		t.Skipf("no recordings from the field here (SHARDLINE_TESTDATA names the folder): %v", err)
	}
	d := decoder(t, decode.Config{Format: decode.JSON, Fields: decode.Fields{
		Machine: "/machine", Time: "/of/Timestamp", State: "/of/State", Total: "/of/Count",
	}})
	for _, recording := range []struct {
		file, list string
		events     int
	}{
		{"umh_week39_part.json", "stateArray", 925},
		{"umh_counts_20200929_part.json", "stateArray", 17},
		{"umh_counts_20200929_part.json", "countSlice", 3696},
	} {
		data, err := os.ReadFile(filepath.Join(folder, recording.file))
		if err != nil {
			t.Fatal(err)
		}
		var lists map[string]json.RawMessage
		var elements []json.RawMessage
		if err := json.Unmarshal(data, &lists); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(lists[recording.list], &elements); err != nil {
			t.Fatal(err)
		}
		var batch decode.Batch
		for _, element := range elements {
			if err := d.Decode(decode.Record{Data: []byte(`{"machine":"M","of":` + string(element) + `}`)}, &batch); err != nil {
				t.Errorf("%s: %v", element, err)
			}
		}
		if len(batch.Events) != recording.events {
			t.Errorf("%s, %s: %d events, want %d", recording.file, recording.list, len(batch.Events), recording.events)
		}
		if recording.list != "countSlice" {
			continue
		}
		// The two hours of expected.tsv: 19465 and 17525 units.
		made := map[int]oee.Units{}
		for _, e := range batch.Events {
			made[e.Time.Hour()] += e.Total.Units
		}
		if made[10] != 19465*oee.Unit || made[11] != 17525*oee.Unit {
			t.Errorf("units by hour: %v", made)
		}
	}
}
