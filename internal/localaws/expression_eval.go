package localaws

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// binding resolves the placeholders of one request.
type binding struct {
	kind       string // of the expression that is evaluated, for errors
	names      map[string]string
	values     map[string]*value
	usedNames  map[string]bool
	usedValues map[string]bool
}

func newBinding(names map[string]string, values map[string]*value) *binding {
	return &binding{names: names, values: values, usedNames: map[string]bool{}, usedValues: map[string]bool{}}
}

// use resolves all placeholders of a condition once, before it is evaluated:
// an error must not depend on which branch is taken.
func (b *binding) use(n *node) *apiError {
	switch n.op {
	case "path":
		return b.usePath(n.path)
	case "value":
		if b.values[n.text] == nil {
			return validation("Invalid %s: An expression attribute value used in expression is not defined; attribute value: %s", b.kind, n.text)
		}
		b.usedValues[n.text] = true
		return nil
	}
	for _, child := range n.nodes {
		if e := b.use(child); e != nil {
			return e
		}
	}
	return b.checkOperands(n)
}

func (b *binding) usePath(path []step) *apiError {
	for _, s := range path {
		if strings.HasPrefix(s.name, "#") {
			if _, ok := b.names[s.name]; !ok {
				return validation("Invalid %s: An expression attribute name used in the document path is not defined; attribute name: %s", b.kind, s.name)
			}
			b.usedNames[s.name] = true
		}
	}
	return nil
}

func (b *binding) useUpdate(u *update) *apiError {
	for _, list := range [][]assignment{u.set, u.add, u.delete} {
		for _, a := range list {
			if e := b.usePath(a.path); e != nil {
				return e
			}
			if e := b.use(a.value); e != nil {
				return e
			}
		}
	}
	for _, path := range u.remove {
		if e := b.usePath(path); e != nil {
			return e
		}
	}
	return nil
}

// unused refuses placeholders that no expression used, as the service does.
func (b *binding) unused() *apiError {
	for name := range b.names {
		if !b.usedNames[name] {
			return validation("Value provided in ExpressionAttributeNames unused in expressions: keys: {%s}", name)
		}
	}
	for name := range b.values {
		if !b.usedValues[name] {
			return validation("Value provided in ExpressionAttributeValues unused in expressions: keys: {%s}", name)
		}
	}
	return nil
}

// checkOperands refuses constants of a type that the operator does not take.
func (b *binding) checkOperands(n *node) *apiError {
	bad := func(kind string) *apiError {
		return validation("Invalid %s: Incorrect operand type for operator or function; operator or function: %s, operand type: %s", b.kind, n.op, kind)
	}
	constant := func(i int) *value {
		if n.nodes[i].op == "value" {
			return b.values[n.nodes[i].text]
		}
		return nil
	}
	switch n.op {
	case "<", "<=", ">", ">=", "between":
		for i := range n.nodes {
			if v := constant(i); v != nil && !v.ordered() {
				return bad(v.kind)
			}
		}
		if low, high := 1, 2; n.op == "between" && constant(low) != nil && constant(high) != nil {
			if l, h := constant(low), constant(high); l.kind != h.kind || l.compare(h) > 0 {
				return validation("Invalid %s: The BETWEEN operator requires upper bound to be greater than or equal to lower bound", b.kind)
			}
		}
	case "begins_with":
		if v := constant(1); v != nil && v.kind != "S" && v.kind != "B" {
			return bad(v.kind)
		}
	case "attribute_type":
		if v := constant(1); v == nil || v.kind != "S" || !slices.Contains(valueKinds, v.text) {
			return validation("Invalid %s: Invalid attribute type name found", b.kind)
		}
	case "+", "-":
		for i := range n.nodes {
			if v := constant(i); v != nil && v.kind != "N" {
				return bad(v.kind)
			}
		}
	case "list_append":
		for i := range n.nodes {
			if v := constant(i); v != nil && v.kind != "L" {
				return bad(v.kind)
			}
		}
	}
	return nil
}

func (v *value) ordered() bool { return v.kind == "S" || v.kind == "N" || v.kind == "B" }

func (b *binding) name(s step) string {
	if strings.HasPrefix(s.name, "#") {
		return b.names[s.name]
	}
	return s.name
}

// get returns what a path leads to; nil: nothing.
func (b *binding) get(it item, path []step) *value {
	v := it[b.name(path[0])]
	for _, s := range path[1:] {
		if v == nil {
			return nil
		}
		if s.name != "" {
			v = v.fields[b.name(s)] // a nil map for other kinds
		} else if s.index < len(v.list) {
			v = v.list[s.index]
		} else {
			v = nil
		}
	}
	return v
}

// operand evaluates a path, value or size() in a condition.
func (b *binding) operand(it item, n *node) *value {
	switch n.op {
	case "path":
		return b.get(it, n.path)
	case "value":
		return b.values[n.text]
	case "size":
		v := b.operand(it, n.nodes[0])
		if v == nil {
			return nil
		}
		count := 0
		switch v.kind {
		case "S", "B":
			count = len(v.text)
		case "SS", "NS", "BS":
			count = len(v.set)
		case "M":
			count = len(v.fields)
		case "L":
			count = len(v.list)
		default:
			return nil
		}
		return numberValue(count)
	}
	return nil
}

func numberValue(n int) *value {
	text := strconv.Itoa(n)
	parsed, _ := parseNumber(text) // a small whole number
	return &value{kind: "N", text: text, number: parsed}
}

// holds evaluates a condition. Whatever is missing or of another type makes a
// comparison false, and <> true.
func (b *binding) holds(it item, n *node) bool {
	switch n.op {
	case "and":
		return b.holds(it, n.nodes[0]) && b.holds(it, n.nodes[1])
	case "or":
		return b.holds(it, n.nodes[0]) || b.holds(it, n.nodes[1])
	case "not":
		return !b.holds(it, n.nodes[0])
	}
	operands := make([]*value, len(n.nodes))
	for i, child := range n.nodes {
		operands[i] = b.operand(it, child)
	}
	left := operands[0]
	switch n.op {
	case "attribute_exists":
		return left != nil
	case "attribute_not_exists":
		return left == nil
	case "<>":
		return left == nil || operands[1] == nil || !left.equal(operands[1])
	}
	if left == nil {
		return false
	}
	if n.op == "in" {
		return slices.ContainsFunc(operands[1:], func(v *value) bool { return v != nil && left.equal(v) })
	}
	right := operands[1]
	if right == nil {
		return false
	}
	comparable := left.kind == right.kind && left.ordered()
	switch n.op {
	case "=":
		return left.equal(right)
	case "<":
		return comparable && left.compare(right) < 0
	case "<=":
		return comparable && left.compare(right) <= 0
	case ">":
		return comparable && left.compare(right) > 0
	case ">=":
		return comparable && left.compare(right) >= 0
	case "between":
		high := operands[2]
		return comparable && left.compare(right) >= 0 && high != nil && high.kind == left.kind && left.compare(high) <= 0
	case "attribute_type":
		return left.kind == right.text
	case "begins_with":
		return left.kind == right.kind && (left.kind == "S" || left.kind == "B") && strings.HasPrefix(left.text, right.text)
	case "contains":
		return left.contains(right)
	}
	return false
}

func (v *value) contains(o *value) bool {
	switch v.kind {
	case "S", "B":
		return v.kind == o.kind && strings.Contains(v.text, o.text)
	case "SS", "NS", "BS":
		return slices.ContainsFunc(v.set, o.equal)
	case "L":
		return slices.ContainsFunc(v.list, o.equal)
	}
	return false
}

// project returns the parts of an item that the paths lead to, nested as they
// were.
func (b *binding) project(it item, paths [][]step) item {
	out := item{}
	for _, path := range paths {
		v := b.get(it, path)
		if v == nil {
			continue
		}
		for i := len(path) - 1; i > 0; i-- {
			if path[i].name != "" {
				v = &value{kind: "M", fields: map[string]*value{b.name(path[i]): v}}
			} else {
				v = &value{kind: "L", list: []*value{v}}
			}
		}
		name := b.name(path[0])
		out[name] = unite(out[name], v)
	}
	return out
}

// unite merges two projections of one attribute.
func unite(x, y *value) *value {
	switch {
	case x == nil:
		return y
	case x.kind == "M" && y.kind == "M":
		out := &value{kind: "M", fields: maps.Clone(x.fields)}
		for name, v := range y.fields {
			out.fields[name] = unite(out.fields[name], v)
		}
		return out
	case x.kind == "L" && y.kind == "L":
		return &value{kind: "L", list: slices.Concat(x.list, y.list)}
	}
	return y
}
