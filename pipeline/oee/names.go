package oee

import "strings"

// names gives numbers to the raw states, reasons and products of a view: each
// is kept once, however many events say it. Number 0 is the empty name.
type names struct {
	ids  map[string]uint32
	list []string
}

const (
	// maxNames bounds the names of one view; further ones are one: other. A
	// field that has more is no state, reason or product.
	maxNames = 100_000
	// maxName bounds a name in bytes; what is longer is cut.
	maxName = 256

	other = "(other)"
)

func newNames() *names {
	n := &names{ids: map[string]uint32{}}
	n.add("")
	n.add(other)
	return n
}

func (n *names) add(name string) uint32 {
	name = strings.Clone(name) // not the record that it was cut from
	id := uint32(len(n.list))
	n.ids[name] = id
	n.list = append(n.list, name)
	return id
}

// id returns the number of a name.
func (n *names) id(name string) uint32 {
	if id, ok := n.ids[name]; ok {
		return id
	}
	if len(name) > maxName {
		return n.id(strings.ToValidUTF8(name[:maxName], ""))
	}
	if len(n.list) >= maxNames {
		return n.ids[other]
	}
	return n.add(name)
}

// name returns what id was given.
func (n *names) name(id uint32) string { return n.list[id] }
