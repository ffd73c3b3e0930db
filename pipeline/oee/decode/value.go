package decode

import (
	"bytes"
	"errors"
	"strings"
	"time"

	"github.com/shardline/shardline/pipeline/oee"
)

// maxName is the longest name of a machine, state, product or reason: they are
// keys and labels.
const maxName = 256

// name reads a text that is a name; ok is false when it is not there, or empty.
func (o *output) name(v raw, field string) (text []byte, ok bool, err error) {
	if !v.present() {
		return nil, false, nil
	}
	text, plain := v.text()
	switch {
	case !plain:
		return nil, false, wrong(field, "%s is no text, number or truth value", shown(v))
	case len(text) > maxName:
		return nil, false, wrong(field, "%s is longer than %d bytes", shown(text), maxName)
	}
	text = bytes.TrimSpace(text)
	return text, len(text) > 0, nil
}

// label is a name that may be missing.
func (o *output) label(v raw, field string) (string, error) {
	text, ok, err := o.name(v, field)
	if err != nil || !ok {
		return "", err
	}
	return o.names.of(text), nil
}

// machine is the machine's name, which must be there.
func (o *output) machine(v raw, field string) (string, error) {
	text, ok, err := o.name(v, field)
	switch {
	case err != nil:
		return "", err
	case !ok:
		return "", missing(v, field)
	}
	return o.names.machine(text), nil
}

// maybeMachine is a machine's name that may be missing.
func (o *output) maybeMachine(v raw, field string) (string, error) {
	text, ok, err := o.name(v, field)
	if err != nil || !ok {
		return "", err
	}
	return o.names.machine(text), nil
}

// at is a time that must be there.
func (o *output) at(v raw, field string) (time.Time, error) {
	if !v.present() {
		return time.Time{}, missing(v, field)
	}
	t, err := instant(v, o.zone)
	if err != nil {
		return time.Time{}, wrong(field, "%s: %v", shown(v), err)
	}
	return t, nil
}

// maybeAt is a time that may be missing.
func (o *output) maybeAt(v raw, field string) (time.Time, error) {
	if !v.present() || string(v) == `""` {
		return time.Time{}, nil
	}
	return o.at(v, field)
}

func missing(v raw, field string) error {
	switch {
	case v == nil:
		return wrong(field, "it is missing")
	case !v.present():
		return wrong(field, "it is null")
	}
	return wrong(field, "it is empty")
}

// reading is a number of units that may be missing.
func reading(v raw, field string) (oee.Reading, error) {
	if !v.present() || string(v) == `""` {
		return oee.Reading{}, nil
	}
	text, ok := v.text()
	if !ok || v[0] == 't' || v[0] == 'f' {
		return oee.Reading{}, wrong(field, "%s is no number", shown(v))
	}
	if v[0] == '"' {
		text = bytes.TrimSpace(text)
	}
	units, err := oee.ParseUnits(text)
	if err != nil {
		return oee.Reading{}, wrong(field, "%s", strings.TrimPrefix(err.Error(), oee.ErrUnits.Error()+": "))
	}
	return oee.Read(units), nil
}

// length is a number of units of time that may be missing; ok says whether it
// is there.
func length(v raw, field string, unit time.Duration) (d time.Duration, ok bool, err error) {
	const most = 366 * 24 * time.Hour // of a stop, or to make one unit
	if !v.present() || string(v) == `""` {
		return 0, false, nil
	}
	text, plain := v.text()
	if !plain {
		return 0, false, wrong(field, "%s is no number", shown(v))
	}
	n, err := parseNumber(text)
	if err == nil && n.negative && n.digits != 0 {
		err = errors.New("it is negative")
	}
	if err == nil && n.size()*float64(unit) > float64(most) {
		err = errTooLarge
	}
	if err != nil {
		return 0, false, wrong(field, "%s: %v", shown(v), err)
	}
	nanoseconds, err := n.times(uint64(unit / time.Second)).scaled(9)
	if err != nil {
		return 0, false, wrong(field, "%s: %v", shown(v), err)
	}
	return time.Duration(nanoseconds), true, nil
}
