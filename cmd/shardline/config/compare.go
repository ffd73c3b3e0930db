package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// Change is a difference between two configurations.
type Change struct {
	Section string // destinations, sources or dead_letter_queues; empty: elsewhere
	Name    string // of the item of the section
	Field   string // its path, within the item or the file; empty: the item as a whole
	Kind    ChangeKind
}

// ChangeKind is what became of a field or an item.
type ChangeKind string

// The kinds of changes.
const (
	Added   ChangeKind = "added"
	Removed ChangeKind = "removed"
	Changed ChangeKind = "changed"
)

// Place is the field's path, with the item's name.
func (c Change) Place() string {
	if c.Section == "" {
		return c.Field
	}
	place := fmt.Sprintf("%s[%s]", c.Section, c.Name)
	if c.Field != "" {
		place += "." + c.Field
	}
	return place
}

// String is the place and what became of it. It shows no values: they may be
// secrets.
func (c Change) String() string { return c.Place() + " " + string(c.Kind) }

// Compare says what after does otherwise than before, in the order of the
// fields, and of the names within a section. What a destination takes from
// delivery, and a source from all_destinations, is compared where it takes
// effect; the order of items has none.
func Compare(before, after *Config) []Change {
	c := comparison{before: before, after: after}
	c.structure(reflect.ValueOf(before).Elem(), reflect.ValueOf(after).Elem(), "")
	return c.changes
}

type comparison struct {
	before, after *Config
	section, name string
	changes       []Change
}

func (c *comparison) add(path string, kind ChangeKind) {
	c.changes = append(c.changes, Change{c.section, c.name, path, kind})
}

// structure compares two structs of one type, field by field.
func (c *comparison) structure(before, after reflect.Value, path string) {
	for _, f := range fieldsOf(before.Type()) {
		at := join(path, f.name)
		if c.section == "" && (at == "delivery" || at == "destinations_files") {
			continue // it takes effect in the destinations
		}
		c.value(before.FieldByIndex(f.index), after.FieldByIndex(f.index), at)
	}
}

func (c *comparison) value(before, after reflect.Value, path string) {
	switch a := before.Interface().(type) {
	case Secret:
		if !a.equal(after.Interface().(Secret)) {
			c.add(path, Changed)
		}
		return
	case Subscribers:
		c.subscribers(path)
		return
	case []Destination:
		items(c, path, a, after.Interface().([]Destination), func(d *Destination) string { return d.Name })
		return
	case []Source:
		items(c, path, a, after.Interface().([]Source), func(s *Source) string { return s.Name })
		return
	case []DeadLetterQueue:
		items(c, path, a, after.Interface().([]DeadLetterQueue), func(q *DeadLetterQueue) string { return q.Name })
		return
	}
	switch before.Kind() {
	case reflect.Struct:
		if len(fieldsOf(before.Type())) > 0 {
			c.structure(before, after, path)
			return
		}
	case reflect.Pointer:
		if !before.IsNil() && !after.IsNil() {
			c.value(before.Elem(), after.Elem(), path)
			return
		}
	case reflect.Map:
		c.mapping(before, after, path)
		return
	}
	if !reflect.DeepEqual(before.Interface(), after.Interface()) {
		c.add(path, Changed)
	}
}

// mapping compares two maps with text keys.
func (c *comparison) mapping(before, after reflect.Value, path string) {
	keys := map[string]bool{}
	for _, m := range []reflect.Value{before, after} {
		for _, key := range m.MapKeys() {
			keys[key.String()] = true
		}
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		a, b := before.MapIndex(reflect.ValueOf(key)), after.MapIndex(reflect.ValueOf(key))
		switch {
		case !a.IsValid():
			c.add(join(path, key), Added)
		case !b.IsValid():
			c.add(join(path, key), Removed)
		default:
			c.value(a, b, join(path, key))
		}
	}
}

// items compares the items of a section by their names.
func items[T any](c *comparison, section string, before, after []T, name func(*T) string) {
	old, fresh := map[string]*T{}, map[string]*T{}
	names := map[string]bool{}
	for i := range before {
		old[name(&before[i])] = &before[i]
		names[name(&before[i])] = true
	}
	for i := range after {
		fresh[name(&after[i])] = &after[i]
		names[name(&after[i])] = true
	}
	for _, n := range slices.Sorted(maps.Keys(names)) {
		c.section, c.name = section, n
		switch a, b := old[n], fresh[n]; {
		case a == nil:
			c.add("", Added)
		case b == nil:
			c.add("", Removed)
		default:
			c.structure(reflect.ValueOf(a).Elem(), reflect.ValueOf(b).Elem(), "")
		}
	}
	c.section, c.name = "", ""
}

// subscribers compares who gets the records of the source c.name.
func (c *comparison) subscribers(path string) {
	of := func(config *Config) map[string]bool {
		names := map[string]bool{}
		for i := range config.Sources {
			if s := &config.Sources[i]; s.Name == c.name {
				for _, n := range s.SubscriberNames(config) {
					names[n] = true
				}
			}
		}
		return names
	}
	before, after := of(c.before), of(c.after)
	for _, n := range slices.Sorted(maps.Keys(before)) {
		if !after[n] {
			c.add(path+"["+n+"]", Removed)
		}
	}
	for _, n := range slices.Sorted(maps.Keys(after)) {
		if !before[n] {
			c.add(path+"["+n+"]", Added)
		}
	}
}
