package decode

import (
	"errors"

	"github.com/shardline/shardline/pipeline/oee"
)

// The fields of events, by their index.
const (
	fieldMachine = iota
	fieldTime
	fieldState
	fieldTotal
	fieldGood
	fieldRejected
	fieldProduct
	fieldReason
	fieldID
	fieldCount
)

func (f Fields) list() [fieldCount]string {
	return [...]string{f.Machine, f.Time, f.State, f.Total, f.Good, f.Rejected, f.Product, f.Reason, f.ID}
}

// events are JSON objects with an event each.
type events struct {
	pointers [fieldCount]string
	places   *branch
	found    [fieldCount]raw
}

func newEvents(f Fields) (*events, error) {
	if f.Machine == "" || f.Time == "" {
		return nil, errors.New("machine and time are required")
	}
	e := &events{pointers: f.list()}
	var err error
	e.places, err = places(e.pointers[:])
	return e, err
}

func (e *events) read(object raw, to *output) error {
	clear(e.found[:])
	e.places.read(object, e.found[:])
	machine, err := to.machine(e.found[fieldMachine], e.pointers[fieldMachine])
	if err != nil {
		return err
	}
	at, err := to.at(e.found[fieldTime], e.pointers[fieldTime])
	if err != nil {
		return err
	}
	event := to.event(machine, at)
	for i := fieldState; i < fieldCount; i++ {
		if e.found[i] == nil {
			continue
		}
		if err := to.set(event, i, e.found[i], e.pointers[i]); err != nil {
			return err
		}
	}
	return nil
}

// set puts a value into an event.
func (o *output) set(e *oee.Event, field int, v raw, name string) (err error) {
	switch field {
	case fieldState:
		e.State, err = o.label(v, name)
	case fieldTotal:
		e.Total, err = reading(v, name)
	case fieldGood:
		e.Good, err = reading(v, name)
	case fieldRejected:
		e.Rejected, err = reading(v, name)
	case fieldProduct:
		e.Product, err = o.label(v, name)
	case fieldReason:
		e.Reason, err = o.label(v, name)
	case fieldID:
		var text []byte
		text, _, err = o.name(v, name)
		e.ID = string(text) // no two are alike
	}
	return err
}
