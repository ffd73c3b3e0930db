package decode_test

import (
	"testing"

	"github.com/shardline/shardline/pipeline/oee"
	"github.com/shardline/shardline/pipeline/oee/decode"
)

// tables are one of each kind, with a primary key or without.
var tables = map[string]decode.Table{
	"mes.schedule":   {Kind: oee.Schedule, Columns: decode.Columns{Machine: "machine_id", Product: "sku", Start: "starts_at", End: "ends_at"}, Key: []string{"id"}},
	"mes.ideal_rate": {Kind: oee.IdealRate, Columns: decode.Columns{Machine: "machine_id", Product: "sku", PerMinute: "per_minute", Start: "valid_from"}},
	"mes.cycle":      {Kind: oee.IdealRate, Columns: decode.Columns{Product: "sku", CycleSeconds: "cycle"}},
	"qa.inspection":  {Kind: oee.Quality, Columns: decode.Columns{Machine: "machine", Time: "at", Good: "good", Rejected: "bad", Product: "sku"}, Key: []string{"id", "part"}},
	"mes.made":       {Kind: oee.Production, Columns: decode.Columns{Machine: "machine", Time: "at", Total: "made"}},
	"mes.stop":       {Kind: oee.Downtime, Columns: decode.Columns{Machine: "machine", Start: "from", Minutes: "minutes", Reason: "why"}, Key: []string{"machine", "from"}},
	"mes.until":      {Kind: oee.Downtime, Columns: decode.Columns{Machine: "machine", End: "until", Minutes: "minutes"}},
	"mongo.doc":      {Kind: oee.Quality, Columns: decode.Columns{Machine: "/machine/name", Time: "at", Good: "good"}, Key: []string{"_id"}},
}

// change is a change record, with the metadata of a table.
func change(operation, table, data, more string) string {
	return `{"data":` + data + `,"metadata":{"timestamp":"2026-03-01T06:00:04.123456Z","record-type":"data","operation":"` + operation +
		`","partition-key-type":"schema-table","schema-name":"` + table[:len(table)-len(after(table))-1] + `","table-name":"` + after(table) + `","transaction-id":77}` + more + `}`
}

func after(table string) string {
	for i := range table {
		if table[i] == '.' {
			return table[i+1:]
		}
	}
	return table
}

func TestChanges(t *testing.T) {
	const quality = `{"id":5,"part":"a","machine":"m1","at":"2026-03-01T05:59:00Z","good":"98","bad":2,"sku":"A"}`
	const row = "quality qa.inspection key=5|a machine=m1 product=A time=2026-03-01T05:59:00Z good=98 rejected=2"
	d := decoder(t, decode.Config{Format: decode.DMS, Tables: tables})
	check(t, d, []example{
		{"an insert", change("insert", "qa.inspection", quality, ""), row},
		{"a load", `{"data":` + quality + `,"metadata":{"timestamp":"2026-03-01T06:00:04Z","record-type":"data","operation":"load","partition-key-type":"primary-key","partition-key-value":"qa.inspection.5","schema-name":"qa","table-name":"inspection"}}`, row},
		{"an update", change("update", "qa.inspection", quality, ""), row},
		{"older spellings: create", change("create", "qa.inspection", quality, ""), row},
		{"older spellings: read", change("read", "qa.inspection", quality, ""), row},
		{"in capitals", change("INSERT", "qa.inspection", quality, ""), row},
		{"printed for people", "{\n\t\"data\":\t" + quality + ",\n\t\"metadata\":\t{\n\t\t\"record-type\":\t\"data\",\n\t\t\"operation\":\t\"insert\",\n\t\t\"schema-name\":\t\"qa\",\n\t\t\"table-name\":\t\"inspection\"\n\t}\n}", row},
		{"the row before is empty", change("update", "qa.inspection", quality, `,"before-image":{}`), row},
		{"the row before has other units", change("update", "qa.inspection", quality, `,"before-image":{"id":5,"part":"a","good":97}`), row},
		{"the key changes", change("update", "qa.inspection", quality, `,"before-image":{"id":4}`),
			"quality qa.inspection key=4|a deleted\n" + row},
		{"the key changes, in BI_ columns", change("update", "qa.inspection", `{"BI_id":4,"BI_good":1,`+quality[1:], ""),
			"quality qa.inspection key=4|a deleted\n" + row},
		{"a delete with the whole row", change("delete", "qa.inspection", quality, ""), "quality qa.inspection key=5|a deleted"},
		{"a delete with the key alone", change("delete", "qa.inspection", `{"id":5,"part":"a"}`, ""), "quality qa.inspection key=5|a deleted"},
		{"a delete with nulls", change("delete", "qa.inspection", `{"id":5,"part":"a","machine":null,"at":null,"good":null}`, ""), "quality qa.inspection key=5|a deleted"},
		{"a delete with the row before", change("delete", "qa.inspection", `{"id":null,"part":null}`, `,"before-image":{"id":5,"part":"a"}`), "quality qa.inspection key=5|a deleted"},
		{"a delete with BI_ columns", change("delete", "qa.inspection", `{"id":null,"BI_id":5,"BI_part":"a"}`, ""), "quality qa.inspection key=5|a deleted"},
		{"units that are null", change("insert", "qa.inspection", `{"id":5,"part":"a","machine":"m1","at":"2026-03-01T05:59:00Z","good":98,"bad":null}`, ""),
			"quality qa.inspection key=5|a machine=m1 time=2026-03-01T05:59:00Z good=98"},
		{"a key with what parts keys", change("delete", "qa.inspection", `{"id":"5|a","part":"\\"}`, ""), `quality qa.inspection key=5\|a|\\ deleted`},

		{"a schedule", change("insert", "mes.schedule", `{"id":1,"machine_id":"m1","sku":"A","starts_at":"2026-03-01T06:00:00Z","ends_at":"2026-03-01T14:00:00Z"}`, ""),
			"schedule mes.schedule key=1 machine=m1 product=A start=2026-03-01T06:00:00Z end=2026-03-01T14:00:00Z"},
		{"a schedule without end", change("insert", "mes.schedule", `{"id":1,"machine_id":"m1","starts_at":1772344800000}`, ""),
			"schedule mes.schedule key=1 machine=m1 start=2026-03-01T06:00:00Z"},
		{"a schedule that ends before", change("insert", "mes.schedule", `{"id":1,"machine_id":"m1","starts_at":1772344800,"ends_at":1772344799}`, ""),
			`error: ends_at: "1772344799" is before the start`},

		// Without a key, machine, time and product tell rows apart.
		{"an ideal rate", change("insert", "mes.ideal_rate", `{"machine_id":"m1","sku":"A","per_minute":"208.33","valid_from":"2026-03-01T00:00:00Z"}`, ""),
			"ideal_rate mes.ideal_rate key=m1|1772323200000000000|A machine=m1 product=A start=2026-03-01T00:00:00Z rate=208.33/1m0s"},
		{"an ideal rate of all machines", change("insert", "mes.ideal_rate", `{"sku":"A","per_minute":60}`, ""),
			"ideal_rate mes.ideal_rate key=||A product=A rate=60/1m0s"},
		{"an ideal rate of another product", change("update", "mes.ideal_rate", `{"machine_id":"m1","sku":"B","per_minute":60}`, `,"before-image":{"sku":"A","per_minute":60}`),
			"ideal_rate mes.ideal_rate key=m1||A deleted\nideal_rate mes.ideal_rate key=m1||B machine=m1 product=B rate=60/1m0s"},
		{"a cycle", change("insert", "mes.cycle", `{"sku":"A","cycle":"0.288"}`, ""), "ideal_rate mes.cycle key=||A product=A rate=1/288ms"},
		{"a rate of 0", change("insert", "mes.ideal_rate", `{"sku":"A","per_minute":0}`, ""), `error: per_minute: "0" is no rate: it is 0`},
		{"no rate", change("insert", "mes.ideal_rate", `{"sku":"A"}`, ""), `error: per_minute: it is missing`},
		{"a negative cycle", change("insert", "mes.cycle", `{"sku":"A","cycle":-1}`, ""), `error: cycle: "-1": it is negative`},

		{"units made", change("insert", "mes.made", `{"machine":"m1","at":1772344800.5,"made":120}`, ""),
			"production mes.made key=m1|1772344800500000000| machine=m1 time=2026-03-01T06:00:00.5Z total=120"},
		{"nothing made", change("insert", "mes.made", `{"machine":"m1","at":1772344800.5}`, ""), "error: no units are said"},
		{"a delete that says what", change("delete", "mes.made", `{"machine":"m1","at":1772344800.5,"made":120}`, ""), "production mes.made key=m1|1772344800500000000| deleted"},
		{"a delete that does not", change("delete", "mes.made", `{"machine":null}`, ""), "error: machine: it is null: nothing else tells which row is deleted; name the columns of the key"},
		{"a record's own key", `{"data":{"machine":"m1","at":1772344800,"made":1},"metadata":{"record-type":"data","operation":"insert","partition-key-type":"primary-key","partition-key-value":"mes.made.9","schema-name":"mes","table-name":"made"}}`,
			"production mes.made key=mes.made.9 machine=m1 time=2026-03-01T06:00:00Z total=1"},

		// 7.5 minutes are 450 s.
		{"a stop", change("insert", "mes.stop", `{"machine":"m1","from":"2026-03-01T06:00:00Z","minutes":7.5,"why":"jam"}`, ""),
			"downtime mes.stop key=m1|2026-03-01T06:00:00Z machine=m1 reason=jam start=2026-03-01T06:00:00Z end=2026-03-01T06:07:30Z"},
		{"a stop that goes on", change("insert", "mes.stop", `{"machine":"m1","from":"2026-03-01T06:00:00Z"}`, ""),
			"downtime mes.stop key=m1|2026-03-01T06:00:00Z machine=m1 start=2026-03-01T06:00:00Z"},
		{"a stop by its end", change("insert", "mes.until", `{"machine":"m1","until":"2026-03-01T06:00:00Z","minutes":"10"}`, ""),
			"downtime mes.until key=m1|1772344200000000000| machine=m1 start=2026-03-01T05:50:00Z end=2026-03-01T06:00:00Z"},
		{"a stop of nothing", change("insert", "mes.until", `{"machine":"m1","until":null,"minutes":"10"}`, ""), "error: until: it is missing"},
		{"a stop of years", change("insert", "mes.stop", `{"machine":"m1","from":1772344800,"minutes":1e9}`, ""), `error: minutes: "1e9": it is too large`},

		// A document database sends the document as text, or as an object.
		{"a document as text", change("insert", "mongo.doc", `{"_id":"7","_doc":"{\"_id\":{\"$oid\":\"7\"},\"machine\":{\"name\":\"m1\"},\"at\":{\"$date\":{\"$numberLong\":\"1772344800000\"}},\"good\":{\"$numberInt\":\"3\"}}"}`, ""),
			"quality mongo.doc key=7 machine=m1 time=2026-03-01T06:00:00Z good=3"},
		{"a document", change("update", "mongo.doc", `{"_doc":{"_id":{"$oid":"7"},"machine":{"name":"m1"},"at":{"$date":"2026-03-01T06:00:00Z"},"good":3}}`, ""),
			"quality mongo.doc key=7 machine=m1 time=2026-03-01T06:00:00Z good=3"},
		{"a document goes", change("delete", "mongo.doc", `{"_id":{"$oid":"7"}}`, ""), "quality mongo.doc key=7 deleted"},
		{"a document that is none", change("insert", "mongo.doc", `{"_id":"7","_doc":"{"}`, ""), "error: /data/_doc: it is no JSON object: jsontext: unexpected EOF after offset 1"},

		{"another table", change("insert", "mes.other", `{"id":1}`, ""), "left=1"},
		{"control", `{"control":{"table-def":{}},"metadata":{"timestamp":"2026-03-01T06:00:04Z","record-type":"control","operation":"create-table","partition-key-type":"task-id","schema-name":"qa","table-name":"inspection"}}`, "left=1"},
		{"control without control", `{"metadata":{"record-type":"control","operation":"drop-table","schema-name":"qa","table-name":"inspection"}}`, "left=1"},
		{"control of an older version", `{"metadata":{"operation":"add-column","schema-name":"qa","table-name":"inspection"}}`, "left=1"},

		{"no metadata", `{"data":{"id":1}}`, "error: /metadata/operation: it is missing: this is no change record of DMS"},
		{"an unknown operation", change("merge", "qa.inspection", quality, ""), `error: /metadata/operation: "merge" is none of load, insert, update, delete, create, read`},
		{"an unknown type", `{"metadata":{"record-type":"event","operation":"insert"}}`, `error: /metadata/record-type: "event" is neither data nor control`},
		{"no table", `{"data":{},"metadata":{"record-type":"data","operation":"insert"}}`, "error: /metadata/table-name: it is missing"},
		{"no data", `{"metadata":{"record-type":"data","operation":"insert","schema-name":"qa","table-name":"inspection"}}`, "error: /data: it is no object"},
		{"no key", change("insert", "qa.inspection", `{"id":5,"machine":"m1","at":1772344800,"good":1}`, ""), "error: part: it is missing, and is of the key"},
		{"no machine", change("insert", "qa.inspection", `{"id":5,"part":"a","at":1772344800,"good":1}`, ""), "error: machine: it is missing"},
		{"a time that is none", change("insert", "qa.inspection", `{"id":5,"part":"a","machine":"m1","at":"noon","good":1}`, ""),
			`error: at: "noon": it is no time: epoch seconds or milliseconds, or ISO 8601 such as 2026-03-01T06:00:00.5+01:00`},
		{"negative units", change("insert", "qa.inspection", `{"id":5,"part":"a","machine":"m1","at":1772344800,"good":"-1"}`, ""), `error: good: "-1": it is negative`},
	})

	named := decoder(t, decode.Config{Format: decode.DMS, Tables: tables, BeforeImage: "old"})
	check(t, named, []example{
		{"the row before by another name", change("update", "qa.inspection", quality, `,"old":{"id":4}`), "quality qa.inspection key=4|a deleted\n" + row},
		{"and not by this one", change("update", "qa.inspection", quality, `,"before-image":{"id":4}`), row},
	})
}
