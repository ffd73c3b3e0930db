package config

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// decoder turns the tree of one file into Go values, over the defaults that
// they hold already. Struct tags say what a field takes:
//
//	yaml:"name"      its name; ",inline": its fields are the struct's own
//	required:"true"  it must be there
//	enum:"a,b"       the values it takes
//	                 json:/… is every value that begins so
//	later:"c,d"      values of a later version, refused by name
//	later:"true"     without enum: the whole field is of a later version
//	selects:"true"   an enum that decides which other fields there are
type decoder struct {
	*loading
	file   string
	prefix string // of the paths of this file; problems leave it out
}

// loading is what the files of one configuration share; owned by Load.
type loading struct {
	env      func(string) string
	folder   string // what relative paths are relative to
	problems Problems
	places   map[string]site // by path, for checks after decoding
	reported map[string]bool // paths with a problem, which is enough of one
	skipped  map[string]bool // paths below which nothing is checked
	unnamed  bool            // a destination has no name that could be read
	common   Delivery        // what a destination starts from
}

// site is where a path stands.
type site struct {
	d *decoder
	n *node
}

// decodable is a type that reads its node itself.
type decodable interface {
	decode(d *decoder, n *node, path string)
}

func (d *decoder) addAt(line, column int, path, message string) {
	if d.reported[path] {
		return
	}
	d.reported[path] = true
	d.problems = append(d.problems, Problem{d.file, line, column, d.shown(path), message})
}

func (d *decoder) addf(n *node, path, format string, args ...any) {
	d.addAt(n.line, n.column, path, fmt.Sprintf(format, args...))
}

// shown is a path as the reader of this file knows it.
func (d *decoder) shown(path string) string {
	return strings.TrimPrefix(strings.TrimPrefix(path, d.prefix), ".")
}

func (d *decoder) suggest(n *node, known []string) string {
	if n.kind != scalarNode || n.expanded() {
		return ""
	}
	return didYouMean(n.text, known)
}

// value decodes n into what target points to.
func (d *decoder) value(n *node, path string, target any) {
	d.reflected(n, path, reflect.ValueOf(target).Elem(), "")
}

func (d *decoder) reflected(n *node, path string, v reflect.Value, tag reflect.StructTag) {
	d.places[path] = site{d, n}
	if d.reported[path] { // its expansion went wrong
		return
	}
	if n.kind == nullNode {
		switch v.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Struct:
			if v.Type() != reflect.TypeFor[StreamARN]() && v.Type() != reflect.TypeFor[InitialPosition]() {
				return // as if it were not there
			}
		}
		d.addf(n, path, "nothing stands here: give a value, or leave the field out")
		return
	}
	if own, ok := v.Addr().Interface().(decodable); ok {
		own.decode(d, n, path)
		return
	}
	switch v.Interface().(type) {
	case time.Duration:
		if text, ok := d.scalar(n, path, "a duration such as 500ms, 10s, 1h30m"); ok {
			value, err := time.ParseDuration(text)
			if err != nil {
				d.addf(n, path, "%s is not a duration; allowed: those such as 500ms, 10s, 1h30m", n.found())
			}
			v.SetInt(int64(value))
		}
		return
	case Size:
		if text, ok := d.scalar(n, path, "a size such as 512KiB, 64MiB, 1GiB"); ok {
			value, err := ParseSize(text)
			if err != nil {
				d.addf(n, path, "%s is not a size; allowed: those such as 512KiB, 64MiB, 1GiB", n.found())
			}
			v.SetInt(int64(value))
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.structure(n, path, v)
	case reflect.Pointer:
		fresh := d.fresh(v.Type().Elem())
		d.reflected(n, path, fresh, "")
		v.Set(fresh.Addr())
	case reflect.Slice:
		d.list(n, path, v)
	case reflect.Map:
		d.mapping(n, path, v)
	default:
		d.plain(n, path, v, tag)
	}
}

func (d *decoder) scalar(n *node, path, allowed string) (string, bool) {
	if n.kind != scalarNode {
		d.addf(n, path, "%s is not allowed; allowed: %s", n.kind, allowed)
		return "", false
	}
	return n.text, true
}

// plain decodes a string, bool, int or float64.
func (d *decoder) plain(n *node, path string, v reflect.Value, tag reflect.StructTag) {
	kinds := map[reflect.Kind]string{
		reflect.String: "a text", reflect.Bool: "true or false",
		reflect.Int: "a whole number", reflect.Float64: "a number",
	}
	allowed := kinds[v.Kind()]
	if enum := tag.Get("enum"); enum != "" {
		allowed = strings.Join(strings.Split(enum, ","), ", ")
	}
	text, ok := d.scalar(n, path, allowed)
	if !ok {
		return
	}
	switch v.Kind() {
	case reflect.String:
		if tag.Get("enum") != "" && !d.enumerated(n, path, tag) {
			return
		}
		v.SetString(text)
	case reflect.Bool:
		if text != "true" && text != "false" {
			d.addf(n, path, "%s is not allowed; allowed: %s", n.found(), allowed)
			return
		}
		v.SetBool(text == "true")
	case reflect.Int:
		value, err := strconv.Atoi(text)
		if err != nil {
			d.addf(n, path, "%s is not %s", n.found(), allowed)
			return
		}
		v.SetInt(int64(value))
	case reflect.Float64:
		value, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(value) || math.IsInf(value, 0) {
			d.addf(n, path, "%s is not %s", n.found(), allowed)
			return
		}
		v.SetFloat(value)
	}
}

// enumerated says whether n has one of the tag's values.
func (d *decoder) enumerated(n *node, path string, tag reflect.StructTag) bool {
	enum, later := strings.Split(tag.Get("enum"), ","), strings.Split(tag.Get("later"), ",")
	allowed := strings.Join(enum, ", ")
	for _, value := range enum {
		if begin, open := strings.CutSuffix(value, "…"); value == n.text || open && strings.HasPrefix(n.text, begin) {
			return true
		}
	}
	if n.text != "" && slices.Contains(later, n.text) {
		d.addf(n, path, "%s is not available in this version; allowed: %s", n.found(), allowed)
		return false
	}
	d.addf(n, path, "%s is not allowed; allowed: %s%s", n.found(), allowed, d.suggest(n, enum))
	return false
}

// fresh is a new element of a list, or pointer target, with its defaults.
func (d *decoder) fresh(t reflect.Type) reflect.Value {
	v := reflect.New(t).Elem()
	switch p := v.Addr().Interface().(type) {
	case *Source:
		*p = defaultSource()
	case *Destination:
		*p = defaultDestination(d.common)
	case *Role:
		*p = defaultRole()
	case *Deduplicate:
		*p = defaultDeduplicate()
	case *View:
		*p = defaultView()
	case *ViewInput:
		*p = defaultViewInput()
	case *Line:
		*p = defaultLine()
	}
	return v
}

func (d *decoder) list(n *node, path string, v reflect.Value) {
	if n.kind != sequenceNode {
		d.addf(n, path, "%s is not allowed; allowed: a list", n.found())
		return
	}
	list := reflect.MakeSlice(v.Type(), 0, len(n.items))
	for i, item := range n.items {
		element := d.fresh(v.Type().Elem())
		at := fmt.Sprintf("%s[%d]", path, i)
		if item.kind == nullNode {
			d.places[at] = site{d, item}
			d.addf(item, at, "nothing stands here")
		} else {
			d.reflected(item, at, element, "")
		}
		list = reflect.Append(list, element)
	}
	v.Set(list)
}

func (d *decoder) mapping(n *node, path string, v reflect.Value) {
	if n.kind != mappingNode { // the text is not shown: it may be a secret
		d.addf(n, path, "%s is not allowed; allowed: a mapping", n.kind)
		return
	}
	m := reflect.MakeMapWithSize(v.Type(), len(n.entries))
	for _, e := range n.entries {
		element := reflect.New(v.Type().Elem()).Elem()
		at := join(path, e.key)
		if e.value.kind == nullNode {
			d.addf(e.value, at, "nothing stands here: give a value, or leave the field out")
			continue
		}
		d.reflected(e.value, at, element, "")
		m.SetMapIndex(reflect.ValueOf(e.key), element)
	}
	v.Set(m)
}

// field is one field of a struct, those of inlined structs included.
type field struct {
	name  string
	index []int
	tag   reflect.StructTag
}

func fieldsOf(t reflect.Type) []field {
	var fields []field
	for i := range t.NumField() {
		f := t.Field(i)
		name, option, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case option == "inline":
			for _, inner := range fieldsOf(f.Type) {
				inner.index = append([]int{i}, inner.index...)
				fields = append(fields, inner)
			}
		case name != "":
			fields = append(fields, field{name, []int{i}, f.Tag})
		}
	}
	return fields
}

func (d *decoder) structure(n *node, path string, v reflect.Value) {
	if n.kind != mappingNode { // the text is not shown: it may be a secret
		d.addf(n, path, "%s is not allowed; allowed: a mapping", n.kind)
		d.skipped[path] = true
		return
	}
	fields := fieldsOf(v.Type())
	var known, allowed []string
	otherKind := false
	for _, f := range fields {
		known = append(known, f.name)
		if f.tag.Get("later") == "" || f.tag.Get("enum") != "" {
			allowed = append(allowed, f.name)
		}
		at := join(path, f.name)
		e := n.entry(f.name)
		switch {
		case e != nil:
			d.field(e, at, v.FieldByIndex(f.index), f.tag)
		case f.tag.Get("required") != "":
			d.addf(n, at, "it is required, and missing")
		}
		if f.tag.Get("selects") != "" && d.reported[at] {
			otherKind = true
			d.skipped[path] = true
		}
		// What destinations start from must be known before they are decoded.
		if common, ok := v.FieldByIndex(f.index).Addr().Interface().(*Delivery); ok {
			d.common = *common
		}
	}
	if otherKind { // with other fields
		return
	}
	for _, e := range n.entries {
		if slices.Contains(known, e.key) {
			continue
		}
		message := "unknown field" + didYouMean(e.key, known) + "; allowed: " + strings.Join(allowed, ", ")
		if e.key == "delivery" && v.Type() == reflect.TypeFor[Destination]() {
			message = "unknown field: a destination's own timeout, retry and so on stand in the destination itself"
		}
		d.addAt(e.line, e.column, join(path, e.key), message)
	}
}

// field decodes one entry; one of a later version must be empty.
func (d *decoder) field(e *entry, path string, v reflect.Value, tag reflect.StructTag) {
	if tag.Get("later") == "" || tag.Get("enum") != "" {
		d.reflected(e.value, path, v, tag)
		return
	}
	n := e.value
	set := false
	switch n.kind {
	case scalarNode:
		if n.text == "" && (v.Kind() == reflect.String || v.Type() == reflect.TypeFor[Secret]()) {
			return
		}
		d.reflected(n, path, v, tag)
		set = !v.IsZero()
	case sequenceNode:
		set = len(n.items) > 0
	case mappingNode:
		set = len(n.entries) > 0
	}
	if set {
		d.addAt(e.line, e.column, path, "not available in this version: leave it out")
	}
}
