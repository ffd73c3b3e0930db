package localaws

import (
	"slices"
	"strconv"
	"strings"
)

var dynamoOperations = map[string]operation{
	"CreateTable":               createTable,
	"DescribeTable":             describeTable,
	"DeleteTable":               deleteTable,
	"ListTables":                listTables,
	"DescribeContinuousBackups": continuousBackups,
	"UpdateContinuousBackups":   continuousBackups,
	"UpdateTimeToLive":          updateTimeToLive,
	"DescribeTimeToLive":        describeTimeToLive,
	"GetItem":                   getItem,
	"PutItem":                   putItem,
	"UpdateItem":                updateItem,
	"DeleteItem":                deleteItem,
	"Scan":                      scan,
	"Query":                     query,
	"BatchGetItem":              batchGetItem,
	"BatchWriteItem":            batchWriteItem,
}

// The service's limits on requests.
const (
	maxItemSize   = 400 << 10
	maxPageSize   = 1 << 20
	maxBatchGet   = 100
	maxBatchWrite = 25
	maxBatchBytes = 16 << 20
)

// itemRequest is the request of every operation on items; each uses some of
// the fields.
type itemRequest struct {
	table string
	key   item
	item  item
	keys  []item // BatchGetItem

	condition, update, filter, projection, keyCondition string

	names  map[string]string
	values map[string]*value

	returnValues, returnOnFailure, capacity, selected string

	consistent        bool
	backward          bool
	limit             int // 0: none
	start             item
	segment, segments int

	batch []batchEntry
	bind  *binding
}

// batchEntry is the part of a batch request for one table.
type batchEntry struct {
	table string
	get   itemRequest
	write []itemRequest // item set: put; key set: delete
}

var errUnsupported = map[string]bool{
	"AttributeUpdates": true, "Expected": true, "ConditionalOperator": true, "KeyConditions": true, "QueryFilter": true,
	"ScanFilter": true, "AttributesToGet": true, "IndexName": true,
}

// parseItemRequest reads a request; refusals are the service's own.
func (c *call) parseItemRequest() (*itemRequest, *apiError) {
	r := &valueReader{jsonReader: &jsonReader{data: c.body}}
	in := &itemRequest{}
	err := in.read(r)
	if err == nil {
		err = r.end()
	}
	if r.refusal != nil {
		return nil, r.refusal
	}
	if err != nil {
		return nil, refuse("SerializationException", "%v", err)
	}
	if in.limit < 0 {
		return nil, validation("1 validation error detected: Value '%d' at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1", in.limit)
	}
	in.bind = newBinding(in.names, in.values)
	return in, nil
}

func (in *itemRequest) read(r *valueReader) error {
	return r.object(func(name string) (err error) {
		if to := in.textField(name); to != nil {
			*to, err = r.text()
			if *to == "" && strings.HasSuffix(name, "Expression") {
				r.refuse(validation("Invalid %s: The expression can not be empty;", name))
			}
			return err
		}
		switch name {
		case "Key":
			in.key, err = r.item()
		case "Item":
			in.item, err = r.item()
		case "ExclusiveStartKey":
			in.start, err = r.item()
		case "ConsistentRead":
			in.consistent, err = r.boolean()
		case "ScanIndexForward":
			var forward bool
			forward, err = r.boolean()
			in.backward = !forward
		case "Limit":
			if in.limit, err = r.integer(); in.limit == 0 {
				in.limit = -1 // refused: the service wants one at least
			}
		case "Segment":
			in.segment, err = r.integer()
		case "TotalSegments":
			in.segments, err = r.integer()
		case "ExpressionAttributeNames":
			in.names = map[string]string{}
			err = r.object(func(name string) (err error) {
				in.names[name], err = r.text()
				return err
			})
			if len(in.names) == 0 {
				r.refuse(validation("ExpressionAttributeNames must not be empty"))
			}
		case "ExpressionAttributeValues":
			var values item
			values, err = r.item()
			in.values = values
			if len(values) == 0 {
				r.refuse(validation("ExpressionAttributeValues must not be empty"))
			}
		case "Keys":
			err = r.array(func() error {
				key, err := r.item()
				in.keys = append(in.keys, key)
				return err
			})
		case "RequestItems":
			err = r.object(func(table string) error { return in.readBatch(r, table) })
		default:
			if errUnsupported[name] {
				r.refuse(validation("The local AWS does not know the parameter %s: use expressions.", name))
			}
			err = r.skip(0)
		}
		return err
	})
}

// textField is where a plain string field goes; nil: it is none.
func (in *itemRequest) textField(name string) *string {
	switch name {
	case "TableName":
		return &in.table
	case "ConditionExpression":
		return &in.condition
	case "UpdateExpression":
		return &in.update
	case "FilterExpression":
		return &in.filter
	case "ProjectionExpression":
		return &in.projection
	case "KeyConditionExpression":
		return &in.keyCondition
	case "ReturnValues":
		return &in.returnValues
	case "ReturnValuesOnConditionCheckFailure":
		return &in.returnOnFailure
	case "ReturnConsumedCapacity":
		return &in.capacity
	case "Select":
		return &in.selected
	}
	return nil
}

func (in *itemRequest) readBatch(r *valueReader, table string) error {
	entry := batchEntry{table: table}
	var err error
	if r.next() == '{' {
		err = entry.get.read(r)
	} else {
		err = r.array(func() error {
			var write itemRequest
			err := r.object(func(kind string) error {
				if kind != "PutRequest" && kind != "DeleteRequest" {
					r.refuse(validation("A write request has a PutRequest or a DeleteRequest."))
				}
				return write.read(r)
			})
			entry.write = append(entry.write, write)
			return err
		})
	}
	in.batch = append(in.batch, entry)
	return err
}

// parseExpressions resolves all placeholders that the request's expressions
// use, and refuses leftovers.
func (c *call) parseExpressions(in *itemRequest) (x parsed, e *apiError) {
	for _, one := range []struct {
		kind, text string
		to         **node
	}{
		{"ConditionExpression", in.condition, &x.condition},
		{"FilterExpression", in.filter, &x.filter},
		{"KeyConditionExpression", in.keyCondition, &x.key},
	} {
		if one.text == "" {
			continue
		}
		if *one.to, e = c.server.expressions.condition(one.kind, one.text); e != nil {
			return x, e
		}
		in.bind.kind = one.kind
		if e = in.bind.use(*one.to); e != nil {
			return x, e
		}
	}
	if in.update != "" {
		if x.update, e = c.server.expressions.update(in.update); e != nil {
			return x, e
		}
		in.bind.kind = "UpdateExpression"
		if e = in.bind.useUpdate(x.update); e != nil {
			return x, e
		}
	}
	if in.projection != "" {
		if x.projection, e = parseProjection(in.projection); e != nil {
			return x, e
		}
		in.bind.kind = "ProjectionExpression"
		for _, path := range x.projection {
			if e = in.bind.usePath(path); e != nil {
				return x, e
			}
		}
	}
	return x, in.bind.unused()
}

// parsed are the expressions of a request; nil where it has none.
type parsed struct {
	condition, filter, key *node
	update                 *update
	projection             [][]step
}

func (c *call) oneOf(name, got string, allowed ...string) *apiError {
	if got == "" || slices.Contains(allowed, got) {
		return nil
	}
	return validation("1 validation error detected: Value '%s' at '%s' failed to satisfy constraint: Member must satisfy enum value set: %v", got, name, allowed)
}

// capacity appends ConsumedCapacity when the request wants it.
func (in *itemRequest) appendCapacity(out []byte, t *table, units float64) []byte {
	if in.capacity != "TOTAL" && in.capacity != "INDEXES" {
		return out
	}
	out = appendQuoted(append(out, `"ConsumedCapacity":{"TableName":`...), t.name)
	out = strconv.AppendFloat(append(out, `,"CapacityUnits":`...), units, 'f', 1, 64)
	return append(out, "},"...)
}

// readUnits of a read of size bytes; half when it may be stale.
func readUnits(size int, consistent bool) float64 {
	units := float64(max(1, (size+4095)/4096))
	if !consistent {
		units /= 2
	}
	return units
}

func writeUnits(size int) float64 { return float64(max(1, (size+1023)/1024)) }

// closeObject ends a hand-written object whose fields end in a comma.
func closeObject(out []byte) []byte {
	if out[len(out)-1] == ',' {
		out = out[:len(out)-1]
	}
	return append(out, '}')
}
