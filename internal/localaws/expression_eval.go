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
