package localaws

import (
	"encoding/base64"
	"maps"
	"slices"
	"strings"
)

// value is an attribute value. It is never changed once it is in an item:
// updates make new ones.
type value struct {
	kind   string // S N B SS NS BS M L BOOL NULL
	text   string // S; B, raw; N, canonical
	number number // N
	set    []*value
	fields map[string]*value
	list   []*value
	truth  bool
}

// item is a whole item or a key.
type item map[string]*value

// maxValueDepth is the service's bound on nesting.
const maxValueDepth = 32

func validation(format string, args ...any) *apiError {
	return refuse("ValidationException", format, args...)
}

// valueReader reads attribute values from JSON; the first bad one is kept.
type valueReader struct {
	*jsonReader
	refusal *apiError // what the service would say; not a JSON error
}

func (r *valueReader) refuse(e *apiError) {
	if r.refusal == nil {
		r.refusal = e
	}
}

func (r *valueReader) item() (item, error) {
	if r.null() {
		return nil, nil
	}
	out := item{}
	err := r.object(func(name string) error {
		v, err := r.value(0)
		out[name] = v
		return err
	})
	return out, err
}

// value reads {"S": "…"} and so on.
func (r *valueReader) value(depth int) (*value, error) {
	if depth > maxValueDepth {
		r.refuse(validation("Nesting Levels have exceeded supported limits"))
		return nil, errJSON
	}
	v := &value{}
	kinds := 0
	err := r.object(func(kind string) (err error) {
		kinds++
		v.kind = kind
		switch kind {
		case "S":
			v.text, err = r.text()
		case "N":
			v.text, err = r.text()
			r.canonical(v)
		case "B":
			v.text, err = r.binary()
		case "SS", "NS", "BS":
			v.set, err = r.set(kind[:1])
		case "BOOL":
			v.truth, err = r.boolean()
		case "NULL":
			v.truth, err = r.boolean()
			if !v.truth {
				r.refuse(validation("One or more parameter values were invalid: Null attribute value types must have the value of true"))
			}
		case "M":
			v.fields = map[string]*value{}
			err = r.object(func(name string) error {
				field, err := r.value(depth + 1)
				v.fields[name] = field
				return err
			})
		case "L":
			v.list = []*value{}
			err = r.array(func() error {
				element, err := r.value(depth + 1)
				v.list = append(v.list, element)
				return err
			})
		default:
			err = r.skip(0)
		}
		return err
	})
	if err == nil && (kinds != 1 || !slices.Contains(valueKinds, v.kind)) {
		r.refuse(validation("Supplied AttributeValue is empty or has more than one datatype, must contain exactly one of the supported datatypes"))
	}
	return v, err
}

var valueKinds = []string{"S", "N", "B", "SS", "NS", "BS", "M", "L", "BOOL", "NULL"}

func (r *valueReader) canonical(v *value) {
	n, e := parseNumber(v.text)
	if e != nil {
		r.refuse(e)
		return
	}
	v.number, v.text = n, n.String()
}

func (r *valueReader) binary() (string, error) {
	b, err := r.raw()
	if err != nil {
		return "", err
	}
	out, err := base64.StdEncoding.DecodeString(string(b))
	if err != nil {
		return "", r.fail("B is not base64")
	}
	return string(out), nil
}

func (r *valueReader) set(kind string) ([]*value, error) {
	var set []*value
	err := r.array(func() (err error) {
		v := &value{kind: kind}
		if kind == "B" {
			v.text, err = r.binary()
		} else if v.text, err = r.text(); kind == "N" {
			r.canonical(v)
		}
		set = append(set, v)
		return err
	})
	if len(set) == 0 {
		name := map[string]string{"S": "string", "N": "number", "B": "binary"}[kind]
		r.refuse(validation("One or more parameter values were invalid: An %s set  may not be empty", name))
	}
	slices.SortFunc(set, (*value).compare)
	for i := 1; i < len(set); i++ {
		if set[i].equal(set[i-1]) {
			r.refuse(validation("One or more parameter values were invalid: Input collection contains duplicates."))
			break
		}
	}
	return set, err
}

// compare orders two values of the same scalar kind, S, N or B.
func (v *value) compare(o *value) int {
	if v.kind == "N" {
		return v.number.compare(o.number)
	}
	return strings.Compare(v.text, o.text)
}

func (v *value) equal(o *value) bool {
	if v.kind != o.kind {
		return false
	}
	switch v.kind {
	case "SS", "NS", "BS":
		return slices.EqualFunc(v.set, o.set, (*value).equal) // sets are sorted
	case "M":
		return maps.EqualFunc(v.fields, o.fields, (*value).equal)
	case "L":
		return slices.EqualFunc(v.list, o.list, (*value).equal)
	case "BOOL", "NULL":
		return v.truth == o.truth
	}
	return v.text == o.text // numbers are canonical
}

// size is what an item's limit counts.
func (v *value) size() int {
	n := 0
	switch v.kind {
	case "N":
		n = (len(v.number.digits)+1)/2 + 1
	case "BOOL", "NULL":
		n = 1
	case "SS", "NS", "BS":
		for _, e := range v.set {
			n += e.size()
		}
	case "M":
		n = 3
		for name, e := range v.fields {
			n += len(name) + 1 + e.size()
		}
	case "L":
		n = 3
		for _, e := range v.list {
			n += 1 + e.size()
		}
	default:
		n = len(v.text)
	}
	return n
}

func (i item) size() int {
	n := 0
	for name, v := range i {
		n += len(name) + v.size()
	}
	return n
}

func (i item) append(out []byte) []byte { return appendFields(out, i) }

func appendFields(out []byte, fields map[string]*value) []byte {
	out = append(out, '{')
	first := true
	for name, v := range fields {
		if !first {
			out = append(out, ',')
		}
		first = false
		out = append(appendQuoted(out, name), ':')
		out = v.append(out)
	}
	return append(out, '}')
}

// append writes the value as JSON.
func (v *value) append(out []byte) []byte {
	out = append(append(append(out, `{"`...), v.kind...), `":`...)
	switch v.kind {
	case "BOOL", "NULL":
		if v.truth {
			out = append(out, "true"...)
		} else {
			out = append(out, "false"...)
		}
	case "SS", "NS", "BS":
		out = append(out, '[')
		for i, e := range v.set {
			if i > 0 {
				out = append(out, ',')
			}
			out = e.appendText(out)
		}
		out = append(out, ']')
	case "M":
		out = appendFields(out, v.fields)
	case "L":
		out = append(out, '[')
		for i, e := range v.list {
			if i > 0 {
				out = append(out, ',')
			}
			out = e.append(out)
		}
		out = append(out, ']')
	default:
		out = v.appendText(out)
	}
	return append(out, '}')
}

func (v *value) appendText(out []byte) []byte {
	if v.kind == "B" {
		out = append(out, '"')
		out = base64.StdEncoding.AppendEncode(out, []byte(v.text))
		return append(out, '"')
	}
	return appendQuoted(out, v.text)
}
