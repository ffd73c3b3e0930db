package localaws

// write is one conditional write of one item.
type write struct {
	in  *itemRequest
	x   parsed
	key *entry
	// next makes the new item from the old one; nil: delete.
	next func(old item) (item, *apiError)
}

// run checks the condition and stores, under the table's lock.
func (w *write) run(t *table) (old, now item, e *apiError) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.deleted {
		return nil, nil, refuse("ResourceNotFoundException", "Requested resource not found")
	}
	if e := t.entries[w.key.id()]; e != nil {
		old = e.item
	}
	if w.x.condition != nil && !w.in.bind.holds(old, w.x.condition) {
		e := refuse("ConditionalCheckFailedException", "The conditional request failed")
		if w.in.returnOnFailure == "ALL_OLD" && old != nil {
			e.item = old.append(nil)
		}
		return nil, nil, e
	}
	if w.next != nil {
		if now, e = w.next(old); e != nil {
			return nil, nil, e
		}
	}
	t.store(w.key, now)
	return old, now, nil
}

// begin is what the single-item operations share.
func (c *call) begin() (*itemRequest, *table, parsed, *apiError) {
	in, e := c.parseItemRequest()
	if e != nil {
		return nil, nil, parsed{}, e
	}
	x, e := c.parseExpressions(in)
	if e != nil {
		return nil, nil, parsed{}, e
	}
	if e := c.oneOf("returnConsumedCapacity", in.capacity, "INDEXES", "TOTAL", "NONE"); e != nil {
		return nil, nil, parsed{}, e
	}
	if e := c.oneOf("returnValuesOnConditionCheckFailure", in.returnOnFailure, "ALL_OLD", "NONE"); e != nil {
		return nil, nil, parsed{}, e
	}
	t, e := c.readyTable(in.table)
	return in, t, x, e
}

func getItem(c *call) ([]byte, *apiError) {
	in, t, x, e := c.begin()
	if e != nil {
		return nil, e
	}
	key, e := t.keyOf(in.key, false)
	if e != nil {
		return nil, e
	}
	it, found := t.get(key, c.stale(in))
	out := in.appendCapacity([]byte{'{'}, t, readUnits(it.size(), in.consistent))
	if found {
		if x.projection != nil {
			it = in.bind.project(it, x.projection)
		}
		out = append(it.append(append(out, `"Item":`...)), ',')
	}
	return closeObject(out), nil
}

// stale says whether a fault wants this read to miss the last write.
func (c *call) stale(in *itemRequest) bool { return c.effects.staleRead && !in.consistent }

func (t *table) get(key *entry, stale bool) (item, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	e := t.entries[key.id()]
	if e == nil {
		return nil, false
	}
	it := e.item
	if stale {
		it = e.before
	}
	return it, it != nil
}

func putItem(c *call) ([]byte, *apiError) {
	in, t, x, e := c.begin()
	if e != nil {
		return nil, e
	}
	if e := c.oneOf("returnValues", in.returnValues, "NONE", "ALL_OLD"); e != nil {
		return nil, e
	}
	w, e := t.put(in, x)
	if e != nil {
		return nil, e
	}
	old, _, e := w.run(t)
	if e != nil {
		return nil, e
	}
	return in.answerWrite(t, old, in.item), nil
}

// put prepares the write of a whole item.
func (t *table) put(in *itemRequest, x parsed) (*write, *apiError) {
	key, e := t.keyOf(in.item, true)
	if e != nil {
		return nil, e
	}
	if in.item.size() > maxItemSize {
		return nil, validation("Item size has exceeded the maximum allowed size")
	}
	return &write{in: in, x: x, key: key, next: func(item) (item, *apiError) { return in.item, nil }}, nil
}

func deleteItem(c *call) ([]byte, *apiError) {
	in, t, x, e := c.begin()
	if e != nil {
		return nil, e
	}
	if e := c.oneOf("returnValues", in.returnValues, "NONE", "ALL_OLD"); e != nil {
		return nil, e
	}
	key, e := t.keyOf(in.key, false)
	if e != nil {
		return nil, e
	}
	w := &write{in: in, x: x, key: key}
	old, _, e := w.run(t)
	if e != nil {
		return nil, e
	}
	return in.answerWrite(t, old, old), nil
}

// answerWrite is the answer of a put or delete.
func (in *itemRequest) answerWrite(t *table, old, now item) []byte {
	out := in.appendCapacity([]byte{'{'}, t, writeUnits(max(old.size(), now.size())))
	if in.returnValues == "ALL_OLD" && old != nil {
		out = append(old.append(append(out, `"Attributes":`...)), ',')
	}
	return closeObject(out)
}

func updateItem(c *call) ([]byte, *apiError) {
	in, t, x, e := c.begin()
	if e != nil {
		return nil, e
	}
	if e := c.oneOf("returnValues", in.returnValues, "NONE", "ALL_OLD", "UPDATED_OLD", "ALL_NEW", "UPDATED_NEW"); e != nil {
		return nil, e
	}
	key, e := t.keyOf(in.key, false)
	if e != nil {
		return nil, e
	}
	if x.update == nil {
		x.update = &update{}
	}
	for _, path := range x.update.paths() {
		if name := in.bind.name(path[0]); name == t.hash.name || name == t.sort.name {
			return nil, validation("One or more parameter values were invalid: Cannot update attribute %s. This attribute is part of the key", name)
		}
	}
	w := &write{in: in, x: x, key: key, next: func(old item) (item, *apiError) {
		now, e := in.bind.apply(old, x.update)
		if e != nil {
			return nil, e
		}
		for name, v := range in.key {
			now[name] = v
		}
		if now.size() > maxItemSize {
			return nil, validation("Item size to update has exceeded the maximum allowed size")
		}
		return now, nil
	}}
	old, now, e := w.run(t)
	if e != nil {
		return nil, e
	}
	var attributes item
	switch in.returnValues {
	case "ALL_OLD":
		attributes = old
	case "ALL_NEW":
		attributes = now
	case "UPDATED_OLD":
		attributes = in.bind.project(old, x.update.paths())
	case "UPDATED_NEW":
		attributes = in.bind.project(now, x.update.paths())
	}
	out := in.appendCapacity([]byte{'{'}, t, writeUnits(max(old.size(), now.size())))
	if len(attributes) > 0 {
		out = append(attributes.append(append(out, `"Attributes":`...)), ',')
	}
	return closeObject(out), nil
}

func batchGetItem(c *call) ([]byte, *apiError) {
	in, e := c.parseItemRequest()
	if e != nil {
		return nil, e
	}
	count := 0
	for i := range in.batch {
		count += len(in.batch[i].get.keys)
	}
	if count < 1 || count > maxBatchGet {
		return nil, validation("Too many items requested for the BatchGetItem call, or none: 1 to %d", maxBatchGet)
	}
	out := []byte(`{"Responses":{`)
	size := 0
	var rest []byte // UnprocessedKeys
	for i := range in.batch {
		entry := &in.batch[i]
		get := &entry.get
		get.bind = newBinding(get.names, get.values)
		x, e := c.parseExpressions(get)
		if e != nil {
			return nil, e
		}
		t, e := c.readyTable(entry.table)
		if e != nil {
			return nil, e
		}
		if i > 0 {
			out = append(out, ',')
		}
		out = append(appendQuoted(out, entry.table), ":["...)
		first := true
		var left []item
		seen := map[string]bool{}
		for _, k := range get.keys {
			key, e := t.keyOf(k, false)
			if e != nil {
				return nil, e
			}
			if seen[key.id()] {
				return nil, validation("Provided list of item keys contains duplicates")
			}
			seen[key.id()] = true
			it, found := t.get(key, c.stale(get))
			if !found {
				continue
			}
			if size += it.size(); size > maxBatchBytes {
				left = append(left, k)
				continue
			}
			if x.projection != nil {
				it = get.bind.project(it, x.projection)
			}
			if !first {
				out = append(out, ',')
			}
			first = false
			out = it.append(out)
		}
		out = append(out, ']')
		if len(left) > 0 {
			rest = get.appendUnprocessed(rest, entry.table, left)
		}
	}
	out = append(append(append(out, `},"UnprocessedKeys":{`...), rest...), "}}"...)
	return out, nil
}

// appendUnprocessed writes the part of a BatchGetItem that is to be asked again.
func (in *itemRequest) appendUnprocessed(out []byte, table string, keys []item) []byte {
	if len(out) > 0 {
		out = append(out, ',')
	}
	out = append(appendQuoted(out, table), `:{"Keys":[`...)
	for i, k := range keys {
		if i > 0 {
			out = append(out, ',')
		}
		out = k.append(out)
	}
	out = append(out, ']')
	if in.consistent {
		out = append(out, `,"ConsistentRead":true`...)
	}
	if in.projection != "" {
		out = appendQuoted(append(out, `,"ProjectionExpression":`...), in.projection)
	}
	if len(in.names) > 0 {
		out = append(out, `,"ExpressionAttributeNames":{`...)
		for name, to := range in.names {
			out = append(appendQuoted(append(appendQuoted(out, name), ':'), to), ',')
		}
		out = closeObject(out)
	}
	return append(out, '}')
}

func batchWriteItem(c *call) ([]byte, *apiError) {
	in, e := c.parseItemRequest()
	if e != nil {
		return nil, e
	}
	type prepared struct {
		t *table
		w *write
	}
	var writes []prepared
	seen := map[string]bool{}
	for i := range in.batch {
		t, e := c.readyTable(in.batch[i].table)
		if e != nil {
			return nil, e
		}
		for j := range in.batch[i].write {
			one := &in.batch[i].write[j]
			one.bind = newBinding(nil, nil)
			var w *write
			var e *apiError
			if one.item != nil {
				w, e = t.put(one, parsed{})
			} else {
				w = &write{in: one}
				w.key, e = t.keyOf(one.key, false)
			}
			if e != nil {
				return nil, e
			}
			if id := t.arn + w.key.id(); seen[id] {
				return nil, validation("Provided list of item keys contains duplicates")
			} else {
				seen[id] = true
			}
			writes = append(writes, prepared{t, w})
		}
	}
	if len(writes) < 1 || len(writes) > maxBatchWrite {
		return nil, validation("Too many items requested for the BatchWriteItem call, or none: 1 to %d", maxBatchWrite)
	}
	for _, p := range writes {
		if _, _, e := p.w.run(p.t); e != nil {
			return nil, e
		}
	}
	return []byte(`{"UnprocessedItems":{}}`), nil
}
