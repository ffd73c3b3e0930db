package decode

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/shardline/shardline/pipeline/oee"
)

// Format is what a record is.
type Format string

// The formats.
const (
	JSON      Format = "json"
	DMS       Format = "dms"
	SiteWise  Format = "sitewise"
	Sparkplug Format = "sparkplug"
)

// NoData is the raw state of a machine whose source says that it does not know
// it: a property of bad quality, a device that died.
const NoData = "no data"

// Fields say where what an event has stands: JSON pointers, property ids or
// names of metrics. Empty: nowhere.
type Fields struct {
	Machine, Time, State, Total, Good, Rejected, Product, Reason, ID string
}

// Config is an input.
type Config struct {
	Format Format
	Fields Fields           // all but DMS
	Tables map[string]Table // DMS: by schema.table
	// Machines are what machines are called, by what the input calls them; one
	// that is not there keeps its name.
	Machines map[string]string
	// Zone is that of times that name none; nil: UTC.
	Zone *time.Location
	// BeforeImage is what DMS calls the row before the change; empty:
	// before-image.
	BeforeImage string
}

// Record is a record of a stream.
type Record struct {
	Data     []byte // not kept
	Arrival  time.Time
	Position oee.Position // Item is the decoder's
	Index    uint64
}

// Batch is what records say, in their order.
type Batch struct {
	Events []oee.Event
	Rows   []oee.Row
	// Left counts what is not for the view: control records, tables, properties
	// and messages that nobody asks for, values of bad quality.
	Left int
}

// Error is what is wrong with a record.
type Error struct {
	Item   int    // which of the record's objects, from 0
	Field  string // pointer, column or metric; empty: the object as a whole
	Reason string
}

func (e *Error) Error() string {
	text := e.Reason
	if e.Field != "" {
		text = e.Field + ": " + text
	}
	if e.Item > 0 {
		text = fmt.Sprintf("object %d of the record: %s", e.Item+1, text)
	}
	return text
}

// wrong is an Error of the object at hand.
func wrong(field, format string, args ...any) error {
	return &Error{Field: field, Reason: fmt.Sprintf(format, args...)}
}

// object reads the objects of one format.
type object interface {
	read(object raw, to *output) error
}

// Decoder decodes the records of one input. It belongs to one goroutine, and
// wants the records of a stream in order: Sparkplug's births name what later
// records are about.
type Decoder struct {
	reader *reader
	format object
	output output
}

// New makes a decoder.
func New(c Config) (*Decoder, error) {
	zone := c.Zone
	if zone == nil {
		zone = time.UTC
	}
	d := &Decoder{reader: newReader(), output: output{zone: zone, names: newNames(c.Machines)}}
	var err error
	switch c.Format {
	case JSON:
		d.format, err = newEvents(c.Fields)
	case DMS:
		d.format, err = newChanges(c.Tables, c.BeforeImage)
	case SiteWise:
		d.format, err = newProperties(c.Fields)
	case Sparkplug:
		d.format, err = newMessages(c.Fields)
	default:
		err = fmt.Errorf("no format %q", c.Format)
	}
	if err != nil {
		return nil, err
	}
	return d, nil
}

// Decode appends what the record says to batch. On an error, an *Error, it
// appends nothing.
func (d *Decoder) Decode(r Record, batch *Batch) error {
	events, rows, left := len(batch.Events), len(batch.Rows), batch.Left
	d.output.record, d.output.batch, d.output.items = r, batch, 0
	err := d.objects(r.Data)
	if err != nil {
		clear(batch.Events[events:])
		clear(batch.Rows[rows:])
		batch.Events, batch.Rows, batch.Left = batch.Events[:events], batch.Rows[:rows], left
	}
	d.output.record, d.output.batch = Record{}, nil
	return err
}

func (d *Decoder) objects(data []byte) error {
	d.reader.reset(data)
	n := 0
	for {
		v, err := d.reader.next()
		switch {
		case err == io.EOF && len(bytes.TrimSpace(data)) == 0:
			return wrong("", "it is empty")
		case err == io.EOF:
			return nil
		case err != nil:
			return syntax(err, n)
		case v[0] != '[':
			err = d.object(v, &n)
		default: // an empty list says that there is nothing
			for i := blank(v, 1); v[i] != ']' && err == nil; {
				end := valueEnd(v, i)
				err = d.object(v[i:end], &n)
				if i = blank(v, end); v[i] == ',' {
					i = blank(v, i+1)
				}
			}
		}
		if err != nil {
			return err
		}
	}
}

// object decodes one of the record's objects, the nth.
func (d *Decoder) object(v raw, n *int) error {
	var err error
	if v[0] == '{' {
		err = d.format.read(v, &d.output)
	} else {
		err = wrong("", "it is no JSON object")
	}
	if err != nil {
		var own *Error
		if errors.As(err, &own) {
			own.Item = *n
		}
	}
	*n++
	return err
}

// syntax is the Error of what is no JSON, from the record's nth object on.
func syntax(err error, n int) error {
	e := &Error{Item: n, Reason: "it is no JSON: " + err.Error()}
	var syntactic *jsontext.SyntacticError
	if errors.As(err, &syntactic) {
		e.Field = string(syntactic.JSONPointer)
		e.Reason = fmt.Sprintf("it is no JSON: %v at byte %d", syntactic.Err, syntactic.ByteOffset+1)
	}
	return e
}

// output takes what the objects of one record say.
type output struct {
	zone   *time.Location
	names  *names
	record Record
	batch  *Batch
	items  int32
}

// position is that of the next event or row.
func (o *output) position() oee.Position {
	p := o.record.Position
	p.Item = o.items
	o.items++
	return p
}

// event is a new event of the batch.
func (o *output) event(machine string, at time.Time) *oee.Event {
	o.batch.Events = append(o.batch.Events, oee.Event{})
	e := &o.batch.Events[len(o.batch.Events)-1]
	e.Machine, e.Time, e.Arrival, e.Index = machine, at, o.record.Arrival, o.record.Index
	e.Position = o.position()
	return e
}

// row appends a row.
func (o *output) row(r oee.Row) {
	r.Position = o.position()
	o.batch.Rows = append(o.batch.Rows, r)
}

// maxNames bounds the names that are kept to save memory and time: beyond any
// plant's machines, states, products and reasons.
const maxNames = 1 << 16

// names keeps one copy of each name that comes again and again.
type names struct {
	known    map[string]string
	machines map[string]string
}

func newNames(machines map[string]string) *names {
	return &names{known: make(map[string]string), machines: machines}
}

// of is the name as text.
func (n *names) of(text []byte) string {
	if name, ok := n.known[string(text)]; ok {
		return name
	}
	if len(n.known) >= maxNames {
		clear(n.known)
	}
	name := string(text)
	n.known[name] = name
	return name
}

// machine is what the machine is called.
func (n *names) machine(text []byte) string {
	if len(n.machines) > 0 {
		if name, ok := n.machines[string(text)]; ok {
			return name
		}
	}
	return n.of(text)
}
