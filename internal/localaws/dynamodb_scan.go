package localaws

import (
	"math/bits"
	"strconv"
)

// page is one page of a scan or query.
type page struct {
	items   []item
	scanned int
	size    int
	last    item // LastEvaluatedKey; nil: the end
}

func scan(c *call) ([]byte, *apiError) {
	in, t, x, e := c.begin()
	if e != nil {
		return nil, e
	}
	if in.segments < 0 || in.segments > 1000000 || in.segment < 0 || (in.segments > 0 && in.segment >= in.segments) || (in.segments == 0 && in.segment > 0) {
		return nil, validation("The Segment parameter is zero-based and must be less than parameter TotalSegments: Segment: %d, TotalSegments: %d", in.segment, in.segments)
	}
	p, e := t.page(c, in, x, func(e *entry) bool {
		if in.segments == 0 {
			return true
		}
		segment, _ := bits.Mul64(e.hash, uint64(in.segments))
		return segment == uint64(in.segment)
	}, nil)
	if e != nil {
		return nil, e
	}
	return in.answerPage(t, p), nil
}

func query(c *call) ([]byte, *apiError) {
	in, t, x, e := c.begin()
	if e != nil {
		return nil, e
	}
	if x.key == nil {
		return nil, validation("Either the KeyConditions or KeyConditionExpression parameter must be specified in the request.")
	}
	partition, e := t.checkKeyCondition(in, x.key)
	if e != nil {
		return nil, e
	}
	from := &entry{hash: hashOf(partition.text).high, partition: partition}
	p, e := t.page(c, in, x, func(e *entry) bool { return in.bind.holds(t.key(e), x.key) }, from)
	if e != nil {
		return nil, e
	}
	return in.answerPage(t, p), nil
}

// checkKeyCondition wants the partition key = a value, and at most one
// condition on the sort key; it returns the partition key's value.
func (t *table) checkKeyCondition(in *itemRequest, n *node) (*value, *apiError) {
	parts := []*node{n}
	for n.op == "and" {
		parts = append(parts[:len(parts)-1], n.nodes[1], n.nodes[0])
		n = n.nodes[0]
	}
	var partition *value
	sorts := 0
	for _, part := range parts {
		if len(part.nodes) < 2 || part.nodes[0].op != "path" || len(part.nodes[0].path) != 1 {
			return nil, validation("Invalid KeyConditionExpression: a condition is on a key attribute")
		}
		for _, operand := range part.nodes[1:] {
			if operand.op != "value" {
				return nil, validation("Invalid KeyConditionExpression: a key is compared with a value")
			}
		}
		v := in.values[part.nodes[1].text]
		name := in.bind.name(part.nodes[0].path[0])
		switch {
		case name == t.hash.name && part.op == "=" && partition == nil:
			partition = v
			if v.kind != t.hash.kind {
				return nil, validation("One or more parameter values were invalid: Condition parameter type does not match schema type")
			}
		case name == t.sort.name && name != "" && sorts == 0:
			switch part.op {
			case "=", "<", "<=", ">", ">=", "between", "begins_with":
				sorts++
			default:
				return nil, validation("Invalid operator used in KeyConditionExpression: %s", part.op)
			}
			if v.kind != t.sort.kind {
				return nil, validation("One or more parameter values were invalid: Condition parameter type does not match schema type")
			}
		default:
			return nil, validation("Query key condition not supported")
		}
	}
	if partition == nil {
		return nil, validation("Query condition missed key schema element: %s", t.hash.name)
	}
	return partition, nil
}

// page collects one page in order. wanted selects entries before they count;
// within, for a query, is the partition.
func (t *table) page(c *call, in *itemRequest, x parsed, wanted func(*entry) bool, within *entry) (page, *apiError) {
	var start *entry
	if in.start != nil {
		var e *apiError
		if start, e = t.keyOf(in.start, false); e != nil {
			return page{}, validation("The provided starting key is invalid")
		}
	}
	stale := c.stale(in)
	t.mu.RLock()
	defer t.mu.RUnlock()
	var p page
	var last *entry
	at, step := 0, 1
	if within != nil {
		at = t.find(within) // before all of its partition: no sort key compares equal
		for at > 0 && t.compare(t.order[at-1], within) == 0 {
			at--
		}
	}
	if in.backward {
		step = -1
		for at < len(t.order) && t.compare(t.order[at], within) == 0 {
			at++
		}
		at--
	}
	if start != nil {
		at = t.find(start)
		switch {
		case in.backward:
			at--
		case at < len(t.order) && t.compare(t.order[at], start) == 0:
			at++
		}
	}
	for ; at >= 0 && at < len(t.order); at += step {
		e := t.order[at]
		if within != nil && t.compare(e, within) != 0 {
			break
		}
		if !wanted(e) {
			continue
		}
		it := e.item
		if stale {
			if it = e.before; it == nil {
				continue
			}
		}
		if p.size > 0 && p.size+it.size() > maxPageSize {
			p.last = t.key(last)
			break
		}
		p.size += it.size()
		p.scanned++
		last = e
		if x.filter == nil || in.bind.holds(it, x.filter) {
			if x.projection != nil {
				it = in.bind.project(it, x.projection)
			}
			p.items = append(p.items, it)
		}
		if in.limit > 0 && p.scanned == in.limit {
			p.last = t.key(last) // even where nothing follows, as in the service
			break
		}
	}
	return p, nil
}

func (in *itemRequest) answerPage(t *table, p page) []byte {
	out := make([]byte, 0, 256+p.size*3/2)
	out = in.appendCapacity(append(out, '{'), t, readUnits(p.size, in.consistent))
	out = strconv.AppendInt(append(out, `"Count":`...), int64(len(p.items)), 10)
	out = strconv.AppendInt(append(out, `,"ScannedCount":`...), int64(p.scanned), 10)
	if p.last != nil {
		out = p.last.append(append(out, `,"LastEvaluatedKey":`...))
	}
	if in.selected != "COUNT" {
		out = append(out, `,"Items":[`...)
		for i, it := range p.items {
			if i > 0 {
				out = append(out, ',')
			}
			out = it.append(out)
		}
		out = append(out, ']')
	}
	return append(out, '}')
}
