// Package filter says which records a destination gets.
//
// A filter is one line of text, such as
//
//	hotel in ["10023", "10024"] && type != "OTA_HotelResNotifRQ"
//
// Promise: what a filter says of a record follows from the record alone, so that
// it says the same after a restart. It allocates nothing, and its time grows with
// the text and the record's fields alone. Data flow: Parse reads the text once, or
// says what is wrong with it and where; Passes is asked for every record.
package filter

import (
	"maps"
	"regexp"
	"slices"
)

// Message is what a filter may ask of a record.
type Message struct {
	Key          string   // that orders it
	PartitionKey string   // that it was put with
	Type         string   // of the message; empty: unknown
	Hotels       []string // that the message names
	Source       string   // by its name in the configuration
}

// Filter is a condition of records.
type Filter struct {
	text string
	root *node
}

// Passes says whether a record is one that the destination gets.
func (f *Filter) Passes(m *Message) bool { return f.root.holds(m) }

// String is the text that it was parsed from.
func (f *Filter) String() string { return f.text }

// Sources are the values that a filter compares the name of the source with, but
// for patterns.
func (f *Filter) Sources() []string {
	names := make(map[string]struct{})
	f.root.sources(names)
	return slices.Sorted(maps.Keys(names))
}

func (n *node) sources(names map[string]struct{}) {
	if n == nil {
		return
	}
	n.left.sources(names)
	n.right.sources(names)
	if n.operation == is && n.field == source {
		maps.Copy(names, n.set)
	}
}

// operation is what a node of a filter does.
type operation uint8

const (
	or    operation = iota // left or right
	and                    // left and right
	not                    // not left
	is                     // the field has a value of the set
	match                  // the field has a value that the whole pattern matches
)

// field is what of a record is looked at.
type field uint8

const (
	key field = iota
	partitionKey
	messageType
	hotel
	source
)

var fields = map[string]field{"key": key, "partition_key": partitionKey, "type": messageType, "hotel": hotel, "source": source}

// node is a condition. Nodes are of one type, so that a Message that is asked
// about stays on its stack.
type node struct {
	operation   operation
	left, right *node
	field       field
	set         map[string]struct{}
	pattern     *regexp.Regexp
}

func (n *node) holds(m *Message) bool {
	switch n.operation {
	case or:
		return n.left.holds(m) || n.right.holds(m)
	case and:
		return n.left.holds(m) && n.right.holds(m)
	case not:
		return !n.left.holds(m)
	}
	switch n.field {
	case key:
		return n.has(m.Key)
	case partitionKey:
		return n.has(m.PartitionKey)
	case messageType:
		return n.has(m.Type)
	case source:
		return n.has(m.Source)
	}
	if len(m.Hotels) == 0 {
		return n.has("")
	}
	for _, code := range m.Hotels {
		if n.has(code) {
			return true
		}
	}
	return false
}

func (n *node) has(value string) bool {
	if n.operation == match {
		return n.pattern.MatchString(value)
	}
	_, ok := n.set[value]
	return ok
}
