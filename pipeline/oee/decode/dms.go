package decode

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

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

// key is what tells the row apart.
func (t *table) key(to *output, values []raw, row *oee.Row, recordKey string) (string, error) {
	if len(t.keys) == 0 {
		if recordKey != "" {
			return recordKey, nil
		}
		at := row.Time
		if at.IsZero() {
			at = row.Start
		}
		if at.IsZero() {
			at = row.End
		}
		instant := ""
		if !at.IsZero() {
			instant = strconv.FormatInt(at.UnixNano(), 10)
		}
		return joined(row.Machine, instant, row.Product), nil
	}
	parts := make([]string, len(t.keys))
	for i, k := range t.keys {
		v := values[k]
		text, ok := v.text()
		if !ok && v.present() {
			text, ok = v, true // an object, as it stands
		}
		if !ok {
			return "", wrong(t.names[k], "it is missing, and is of the key")
		}
		parts[i] = string(text)
	}
	return joined(parts...), nil
}

// joined is texts as one, from which each can be told.
func joined(parts ...string) string {
	for i, part := range parts {
		if strings.ContainsAny(part, `\|`) {
			parts[i] = strings.NewReplacer(`\`, `\\`, `|`, `\|`).Replace(part)
		}
	}
	return strings.Join(parts, "|")
}

// row reads what a row of the table's kind says.
func (t *table) row(to *output, values []raw) (oee.Row, error) {
	row := oee.Row{Kind: t.kind, Table: t.name}
	if err := t.natural(to, values, &row); err != nil {
		return row, err
	}
	var err error
	switch t.kind {
	case oee.Quality, oee.Production:
		err = t.units(values, &row)
	case oee.IdealRate:
		err = t.rate(values, &row)
	case oee.Downtime:
		row.Reason, err = to.label(values[columnReason], t.names[columnReason])
	}
	if err == nil && !row.End.IsZero() && row.End.Before(row.Start) {
		err = wrong(t.names[columnEnd], "%s is before the start", shown(values[columnEnd]))
	}
	return row, err
}

// natural reads whom and when a row is about.
func (t *table) natural(to *output, values []raw, row *oee.Row) (err error) {
	if t.kind == oee.IdealRate {
		row.Machine, err = to.maybeMachine(values[columnMachine], t.names[columnMachine])
	} else {
		row.Machine, err = to.machine(values[columnMachine], t.names[columnMachine])
	}
	if err != nil {
		return err
	}
	if row.Product, err = to.label(values[columnProduct], t.names[columnProduct]); err != nil {
		return err
	}
	switch t.kind {
	case oee.Quality, oee.Production:
		row.Time, err = to.at(values[columnTime], t.names[columnTime])
		return err
	case oee.Schedule:
		if row.Start, err = to.at(values[columnStart], t.names[columnStart]); err != nil {
			return err
		}
	default:
		if row.Start, err = to.maybeAt(values[columnStart], t.names[columnStart]); err != nil {
			return err
		}
	}
	if row.End, err = to.maybeAt(values[columnEnd], t.names[columnEnd]); err != nil {
		return err
	}
	if t.kind == oee.Downtime {
		return t.stretch(values, row)
	}
	return nil
}

// stretch is from when to when a stop was: two of start, end and minutes.
func (t *table) stretch(values []raw, row *oee.Row) error {
	minutes, ok, err := length(values[columnMinutes], t.names[columnMinutes], time.Minute)
	switch {
	case err != nil:
		return err
	case ok && row.Start.IsZero() && !row.End.IsZero():
		row.Start = row.End.Add(-minutes)
	case ok && row.End.IsZero() && !row.Start.IsZero():
		row.End = row.Start.Add(minutes)
	case row.Start.IsZero():
		column := t.names[columnStart]
		if column == "" {
			column = t.names[columnEnd]
		}
		return wrong(column, "it is missing")
	}
	return nil
}

func (t *table) units(values []raw, row *oee.Row) (err error) {
	for _, u := range []struct {
		column int
		value  *oee.Reading
	}{{columnTotal, &row.Total}, {columnGood, &row.Good}, {columnRejected, &row.Rejected}} {
		if *u.value, err = reading(values[u.column], t.names[u.column]); err != nil {
			return err
		}
	}
	if !row.Total.Valid && !row.Good.Valid && !row.Rejected.Valid {
		return wrong(t.names[columnGood], "no units are said")
	}
	return nil
}

func (t *table) rate(values []raw, row *oee.Row) error {
	column := columnPerMinute
	if t.names[columnPerMinute] == "" {
		column = columnCycle
	}
	v, name := values[column], t.names[column]
	if !v.present() {
		return missing(v, name)
	}
	if column == columnCycle {
		cycle, _, err := length(v, name, time.Second)
		row.Rate = oee.Cycle(cycle)
		if err != nil {
			return err
		}
	} else {
		units, err := reading(v, name)
		if err != nil {
			return err
		}
		row.Rate = oee.PerMinute(units.Units)
	}
	if !row.Rate.Valid() {
		return wrong(name, "%s is no rate: it is 0", shown(v))
	}
	return nil
}
