package localaws

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// apply returns a new item with the update made. All right sides are
// evaluated against the old item.
func (b *binding) apply(old item, u *update) (item, *apiError) {
	paths := u.paths()
	for i := range paths {
		for j := range i {
			if b.overlap(paths[i], paths[j]) {
				return nil, validation("Invalid UpdateExpression: Two document paths overlap with each other; must remove or rewrite one of these paths; path one: %s, path two: %s", b.show(paths[j]), b.show(paths[i]))
			}
		}
	}
	out := maps.Clone(old)
	if out == nil {
		out = item{}
	}
	for _, a := range u.set {
		v, e := b.right(old, a.value)
		if e != nil {
			return nil, e
		}
		if e := b.put(out, a.path, v); e != nil {
			return nil, e
		}
	}
	for _, a := range u.add {
		v, e := addTo(b.get(old, a.path), b.values[a.value.text])
		if e != nil {
			return nil, e
		}
		if e := b.put(out, a.path, v); e != nil {
			return nil, e
		}
	}
	for _, a := range u.delete {
		had := b.get(old, a.path)
		v, e := deleteFrom(had, b.values[a.value.text])
		if e != nil {
			return nil, e
		}
		if had == nil {
			continue
		}
		if e := b.put(out, a.path, v); e != nil {
			return nil, e
		}
	}
	// Indexes are those of the old item: remove from the back.
	remove := slices.Clone(u.remove)
	slices.SortFunc(remove, func(x, y []step) int { return y[len(y)-1].index - x[len(x)-1].index })
	for _, path := range remove {
		if len(path) > 1 && b.get(old, path[:len(path)-1]) == nil {
			return nil, invalidPath()
		}
		if b.get(out, path) == nil {
			continue
		}
		if e := b.put(out, path, nil); e != nil {
			return nil, e
		}
	}
	return out, nil
}

func invalidPath() *apiError {
	return validation("The document path provided in the update expression is invalid for update")
}

// paths are all that an update touches.
func (u *update) paths() [][]step {
	var out [][]step
	for _, list := range [][]assignment{u.set, u.add, u.delete} {
		for _, a := range list {
			out = append(out, a.path)
		}
	}
	return append(out, u.remove...)
}

func (b *binding) overlap(x, y []step) bool {
	for i := range min(len(x), len(y)) {
		if (x[i].name == "") != (y[i].name == "") || x[i].index != y[i].index || b.name(x[i]) != b.name(y[i]) {
			return false
		}
	}
	return true
}

func (b *binding) show(path []step) string {
	var parts []string
	for _, s := range path {
		if s.name == "" {
			parts = append(parts, "["+strconv.Itoa(s.index)+"]")
		} else {
			parts = append(parts, b.name(s))
		}
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// right evaluates the right side of SET.
func (b *binding) right(old item, n *node) (*value, *apiError) {
	missing := validation("The provided expression refers to an attribute that does not exist in the item")
	switch n.op {
	case "path":
		if v := b.get(old, n.path); v != nil {
			return v, nil
		}
		return nil, missing
	case "value":
		return b.values[n.text], nil
	case "if_not_exists":
		if v := b.get(old, n.nodes[0].path); v != nil {
			return v, nil
		}
		return b.right(old, n.nodes[1])
	}
	left, e := b.right(old, n.nodes[0])
	if e != nil {
		return nil, e
	}
	right, e := b.right(old, n.nodes[1])
	if e != nil {
		return nil, e
	}
	wrong := validation("An operand in the update expression has an incorrect data type")
	if n.op == "list_append" {
		if left.kind != "L" || right.kind != "L" {
			return nil, wrong
		}
		return &value{kind: "L", list: slices.Concat(left.list, right.list)}, nil
	}
	if left.kind != "N" || right.kind != "N" {
		return nil, wrong
	}
	return sum(left, right, n.op == "-")
}

func sum(left, right *value, subtract bool) (*value, *apiError) {
	n, e := left.number.plus(right.number, subtract)
	if e != nil {
		return nil, e
	}
	return &value{kind: "N", text: n.String(), number: n}, nil
}

// addTo is ADD: to a number or a set, or to nothing.
func addTo(old, more *value) (*value, *apiError) {
	if more.kind != "N" && more.set == nil {
		return nil, validation("Invalid UpdateExpression: Incorrect operand type for operator or function; operator: ADD, operand type: %s", more.kind)
	}
	if old == nil {
		return more, nil
	}
	if old.kind != more.kind {
		return nil, validation("An operand in the update expression has an incorrect data type")
	}
	if more.kind == "N" {
		return sum(old, more, false)
	}
	set := slices.Concat(old.set, more.set)
	slices.SortFunc(set, (*value).compare)
	return &value{kind: old.kind, set: slices.CompactFunc(set, (*value).equal)}, nil
}

// deleteFrom is DELETE: elements of a set. nil: nothing is left.
func deleteFrom(old, less *value) (*value, *apiError) {
	if less.set == nil {
		return nil, validation("Invalid UpdateExpression: Incorrect operand type for operator or function; operator: DELETE, operand type: %s", less.kind)
	}
	if old == nil {
		return nil, nil
	}
	if old.kind != less.kind {
		return nil, validation("An operand in the update expression has an incorrect data type")
	}
	var set []*value
	for _, v := range old.set {
		if !slices.ContainsFunc(less.set, v.equal) {
			set = append(set, v)
		}
	}
	if len(set) == 0 {
		return nil, nil
	}
	return &value{kind: old.kind, set: set}, nil
}

// put sets a path of an item to v, or removes it for nil, copying what it
// changes below the first level. The parent must exist.
func (b *binding) put(it item, path []step, v *value) *apiError {
	name := b.name(path[0])
	if len(path) > 1 {
		parent := it[name]
		if parent == nil {
			return invalidPath()
		}
		var e *apiError
		if v, e = b.putInto(parent, path[1:], v); e != nil {
			return e
		}
	}
	if v == nil {
		delete(it, name)
	} else {
		it[name] = v
	}
	return nil
}

func (b *binding) putInto(parent *value, path []step, v *value) (*value, *apiError) {
	s := path[0]
	var child *value
	switch {
	case s.name != "" && parent.kind == "M":
		child = parent.fields[b.name(s)]
	case s.name == "" && parent.kind == "L":
		if s.index < len(parent.list) {
			child = parent.list[s.index]
		}
	default:
		return nil, invalidPath()
	}
	if len(path) > 1 {
		if child == nil {
			return nil, invalidPath()
		}
		var e *apiError
		if v, e = b.putInto(child, path[1:], v); e != nil {
			return nil, e
		}
	}
	out := &value{kind: parent.kind}
	if s.name != "" {
		out.fields = maps.Clone(parent.fields)
		if v == nil {
			delete(out.fields, b.name(s))
		} else {
			out.fields[b.name(s)] = v
		}
		return out, nil
	}
	out.list = slices.Clone(parent.list)
	switch {
	case v == nil && child != nil:
		out.list = slices.Delete(out.list, s.index, s.index+1)
	case v != nil && child != nil:
		out.list[s.index] = v
	case v != nil:
		out.list = append(out.list, v) // beyond the end: appended
	}
	return out, nil
}
