package decode

import (
	"errors"
	"time"
)

// The values of a property notification, by their index.
const (
	noticeType = iota
	noticeAsset
	noticeProperty
	noticeValues
	noticeCount
)

// The values of one value of a property, by their index.
const (
	valueSeconds = iota
	valueNanos
	valueQuality
	valueOf
	valueCount = valueOf + 4 // double, integer, string, boolean
)

// properties are notifications of AWS IoT SiteWise, with values of one property
// of one asset. The asset is the machine.
type properties struct {
	places *branch
	values *branch
	found  [noticeCount]raw
	value  [valueCount]raw
	fields map[string]int // by property id
}

func newProperties(f Fields) (*properties, error) {
	p := &properties{fields: make(map[string]int)}
	for i, id := range f.list() {
		switch {
		case id == "":
			continue
		case i == fieldMachine || i == fieldTime || i == fieldID:
			return nil, errors.New("machine, time and id are the notification's own")
		}
		p.fields[id] = i
	}
	var err error
	if p.places, err = places([]string{"/type", "/payload/assetId", "/payload/propertyId", "/payload/values"}); err != nil {
		return nil, err
	}
	p.values, err = places([]string{"/timestamp/timeInSeconds", "/timestamp/offsetInNanos", "/quality",
		"/value/doubleValue", "/value/integerValue", "/value/stringValue", "/value/booleanValue"})
	return p, err
}

func (p *properties) read(object raw, to *output) error {
	clear(p.found[:])
	p.places.read(object, p.found[:])
	if kind, _ := p.found[noticeType].text(); string(kind) != "PropertyValueUpdate" {
		return wrong("/type", "it is not PropertyValueUpdate")
	}
	machine, err := to.machine(p.found[noticeAsset], "/payload/assetId")
	if err != nil {
		return err
	}
	property, ok := p.found[noticeProperty].text()
	if !ok {
		return wrong("/payload/propertyId", "it is missing")
	}
	field, asked := p.fields[string(property)]
	if !asked {
		to.batch.Left++
		return nil
	}
	values := p.found[noticeValues]
	if !values.present() {
		return missing(values, "/payload/values")
	}
	err = p.values.each(values, p.value[:], func() error { return p.one(to, machine, field) })
	if err == errNoList {
		return wrong("/payload/values", "%v", err)
	}
	return err
}

// one reads one value. One of bad quality is none: of a state it says that
// nobody knows it.
func (p *properties) one(to *output, machine string, field int) error {
	at, err := sitewiseTime(p.value[valueSeconds], p.value[valueNanos])
	if err != nil {
		return err
	}
	var v raw
	for _, one := range p.value[valueOf:] {
		if one.present() {
			v = one
		}
	}
	quality, _ := p.value[valueQuality].text()
	switch string(quality) {
	case "GOOD", "UNCERTAIN", "":
	case "BAD":
		v = nil
	default:
		return wrong("/payload/values/quality", "%s is none of GOOD, BAD, UNCERTAIN", shown(quality))
	}
	switch {
	case v != nil:
		return to.set(to.event(machine, at), field, v, "/payload/values/value")
	case field == fieldState:
		to.event(machine, at).State = NoData
	default:
		to.batch.Left++
	}
	return nil
}

// sitewiseTime is a time in whole seconds and the nanoseconds behind them.
func sitewiseTime(seconds, nanos raw) (time.Time, error) {
	const field = "/payload/values/timestamp"
	if !seconds.present() {
		return time.Time{}, missing(seconds, field+"/timeInSeconds")
	}
	whole, err := integer(seconds)
	if err != nil || whole < 0 || whole >= 9_223_372_036 { // what nanoseconds of an int64 reach
		return time.Time{}, wrong(field+"/timeInSeconds", "%s: %v", shown(seconds), errTimeOut)
	}
	var rest int64
	if nanos.present() {
		if rest, err = integer(nanos); err != nil || rest < 0 || rest > 999_999_999 {
			return time.Time{}, wrong(field+"/offsetInNanos", "%s is not 0 to 999999999", shown(nanos))
		}
	}
	return time.Unix(whole, rest).UTC(), nil
}

func integer(v raw) (int64, error) {
	text, ok := v.text()
	if !ok {
		return 0, errNoNumber
	}
	n, err := parseNumber(text)
	if err != nil {
		return 0, err
	}
	return n.scaled(0)
}
