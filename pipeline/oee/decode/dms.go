package decode

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/shardline/shardline/pipeline/oee"
)

// Table is a table of a database, whose changes DMS reports.
type Table struct {
	Kind oee.RowKind
	// Columns are the names of the columns, by what they hold; a name that begins
	// with a slash is a JSON pointer into the row.
	Columns Columns
	// Key are the columns that tell rows apart. Empty: the machine, the time or
	// start, and the product do.
	Key []string
}

// Columns are where what a row has stands. Empty: nowhere.
type Columns struct {
	Machine, Product, Reason, Time, Start, End, Total, Good, Rejected, PerMinute, CycleSeconds, Minutes string
}

// The columns, by their index.
const (
	columnMachine = iota
	columnProduct
	columnReason
	columnTime
	columnStart
	columnEnd
	columnTotal
	columnGood
	columnRejected
	columnPerMinute
	columnCycle
	columnMinutes
	columnCount
)

func (c Columns) list() [columnCount]string {
	return [...]string{c.Machine, c.Product, c.Reason, c.Time, c.Start, c.End, c.Total, c.Good, c.Rejected, c.PerMinute, c.CycleSeconds, c.Minutes}
}

// The values of a change record, by their index.
const (
	changeData = iota
	changeBefore
	changeType
	changeOperation
	changeSchema
	changeTable
	changeKeyType
	changeKey
	changeCount
)

const defaultBeforeImage = "before-image"

// changes are change records of AWS DMS, with a row each.
type changes struct {
	places *branch
	before string
	found  [changeCount]raw
	tables map[string]*table
	row    *reader // of what lies in the record as text
}

func newChanges(tables map[string]Table, before string) (*changes, error) {
	if before == "" {
		before = defaultBeforeImage
	}
	pointers := make([]string, changeCount)
	for i, name := range map[int]string{changeType: "record-type", changeOperation: "operation", changeSchema: "schema-name",
		changeTable: "table-name", changeKeyType: "partition-key-type", changeKey: "partition-key-value"} {
		pointers[i] = "/metadata/" + name
	}
	pointers[changeData], pointers[changeBefore] = "/data", pointer(before)
	c := &changes{before: before, tables: make(map[string]*table), row: newReader()}
	var err error
	if c.places, err = places(pointers); err != nil {
		return nil, fmt.Errorf("before_image: %w", err)
	}
	for name, t := range tables {
		if c.tables[name], err = newTable(name, t); err != nil {
			return nil, fmt.Errorf("table %s: %w", name, err)
		}
	}
	return c, nil
}

// pointer is the JSON pointer of a name, or the pointer that it is.
func pointer(name string) string {
	if strings.HasPrefix(name, "/") {
		return name
	}
	return "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}

// operations are what the spellings of all versions mean.
var operations = map[string]string{
	"load": "upsert", "insert": "upsert", "update": "upsert", "delete": "delete",
	"create": "upsert", "read": "upsert",
}

func (c *changes) read(object raw, to *output) error {
	clear(c.found[:])
	c.places.read(object, c.found[:])
	word := func(i int) string {
		text, _ := c.found[i].text()
		return string(text)
	}
	operation := strings.ToLower(word(changeOperation))
	kind := strings.ToLower(word(changeType))
	what, isData := operations[operation]
	switch {
	case kind == "control", kind == "" && operation != "" && !isData:
		to.batch.Left++ // tables come and go: rows are what counts
		return nil
	case kind != "data" && kind != "":
		return wrong("/metadata/record-type", "%s is neither data nor control", shown([]byte(kind)))
	case operation == "":
		return wrong("/metadata/operation", "it is missing: this is no change record of DMS")
	case !isData:
		return wrong("/metadata/operation", "%s is none of load, insert, update, delete, create, read", shown([]byte(operation)))
	case word(changeTable) == "":
		return wrong("/metadata/table-name", "it is missing")
	}
	t := c.tables[word(changeSchema)+"."+word(changeTable)]
	if t == nil {
		to.batch.Left++
		return nil
	}
	if c.found[changeData] == nil || c.found[changeData][0] != '{' {
		return wrong("/data", "it is no object")
	}
	record := ""
	if strings.HasPrefix(word(changeKeyType), "primary-key") {
		record = word(changeKey)
	}
	return t.change(c, to, what == "delete", record)
}

// table is a Table, ready to read.
type table struct {
	name   string
	kind   oee.RowKind
	keys   []int    // of the values, those of the key
	names  []string // of the values: the columns, then further ones of the key
	places *branch  // of the values, then of those of BI_ columns, then of _doc
	plain  *branch  // of the values alone
	now    []raw
	then   []raw
	found  []raw
}

func newTable(name string, t Table) (*table, error) {
	columns := t.Columns.list()
	made := &table{name: name, kind: t.Kind, names: columns[:]}
	for _, column := range t.Key {
		i := slices.Index(made.names, column)
		if i < 0 || column == "" {
			i = len(made.names)
			made.names = append(made.names, column)
		}
		made.keys = append(made.keys, i)
	}
	n := len(made.names)
	pointers := make([]string, 2*n+1)
	for i, column := range made.names {
		if column == "" {
			continue
		}
		pointers[i] = pointer(column)
		if !strings.HasPrefix(column, "/") {
			pointers[n+i] = pointer("BI_" + column)
		}
	}
	var err error
	if made.plain, err = places(pointers[:n]); err != nil {
		return nil, err
	}
	pointers[2*n] = "/_doc"
	if made.places, err = places(pointers); err != nil {
		return nil, err
	}
	made.now, made.then, made.found = make([]raw, n), make([]raw, n), make([]raw, 2*n+1)
	return made, nil
}

// values reads the columns of an object.
func (t *table) values(data raw) (document raw) {
	clear(t.found)
	t.places.read(data, t.found)
	return t.found[len(t.found)-1]
}

// change makes rows of a change. The row before it, where DMS sends it, tells
// which row an update has replaced when its key has changed.
func (t *table) change(c *changes, to *output, gone bool, recordKey string) error {
	n := len(t.names)
	document := t.values(c.found[changeData])
	copy(t.now, t.found[:n])
	copy(t.then, t.found[n:2*n])
	if document.present() {
		if err := t.inside(c, document, t.now); err != nil {
			return err
		}
	}
	if before := c.found[changeBefore]; before.present() && before[0] == '{' {
		document = t.values(before)
		copy(t.then, t.found[:n])
		if document.present() {
			if err := t.inside(c, document, t.then); err != nil {
				return err
			}
		}
	}
	for i := range t.now {
		t.now[i], t.then[i] = unwrapped(t.now[i]), unwrapped(t.then[i])
	}

	if gone {
		return t.gone(to, recordKey)
	}
	row, err := t.row(to, t.now)
	if err != nil {
		return err
	}
	if row.Key, err = t.key(to, t.now, &row, recordKey); err != nil {
		return err
	}
	// What DMS sends of the row before may be all columns, those that changed, or
	// the key alone: what it lacks is as it is now.
	for i := range t.then {
		if t.then[i] == nil {
			t.then[i] = t.now[i]
		}
	}
	if len(t.keys) > 0 || recordKey == "" {
		if old, err := t.row(to, t.then); err == nil {
			if key, err := t.key(to, t.then, &old, ""); err == nil && key != row.Key {
				to.row(oee.Row{Kind: t.kind, Table: t.name, Key: key, Delete: true})
			}
		}
	}
	to.row(row)
	return nil
}

// gone takes back the row of a delete, which may hold the whole row, only the
// key, or nulls and the row before.
func (t *table) gone(to *output, recordKey string) error {
	for i := range t.now {
		if !t.now[i].present() && t.then[i].present() {
			t.now[i] = t.then[i]
		}
	}
	row := oee.Row{Kind: t.kind, Table: t.name, Delete: true}
	var err error
	if len(t.keys) == 0 && recordKey == "" {
		if err := t.natural(to, t.now, &row); err != nil {
			return fmt.Errorf("%w: nothing else tells which row is deleted; name the columns of the key", err)
		}
	}
	if row.Key, err = t.key(to, t.now, &row, recordKey); err != nil {
		return err
	}
	to.row(oee.Row{Kind: t.kind, Table: t.name, Key: row.Key, Delete: true})
	return nil
}

// inside reads the columns of a document, which lies in the row as an object or
// as text, into values; what the row has itself stays.
func (t *table) inside(c *changes, document raw, values []raw) error {
	if document[0] == '"' {
		text, _ := document.text()
		var err error
		if document, err = c.row.only(text); err != nil {
			return wrong("/data/_doc", "it is no JSON object: %v", err)
		}
	}
	if document[0] != '{' {
		return wrong("/data/_doc", "it is no JSON object")
	}
	found := make([]raw, len(values))
	t.plain.read(document, found)
	for i, v := range found {
		if v != nil && values[i] == nil {
			values[i] = v
		}
	}
	return nil
}

// unwrapped is the value of MongoDB's extended JSON, {"$date": …}, or v.
func unwrapped(v raw) raw {
	const depth = 3 // {"$date": {"$numberLong": "…"}}
	for range depth {
		if len(v) == 0 || v[0] != '{' {
			return v
		}
		i := blank(v, 1)
		if !bytes.HasPrefix(v[i:], []byte(`"$`)) {
			return v
		}
		i = blank(v, blank(v, textEnd(v, i))+1)
		end := valueEnd(v, i)
		if v[blank(v, end)] != '}' {
			return v
		}
		v = v[i:end]
	}
	return v
}
