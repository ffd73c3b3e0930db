package localaws

import (
	"cmp"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"
)

// table is one table. Items are kept in scan order: by the hash of the
// partition key, then by key.
type table struct {
	arn, account, region, name string
	hash, sort                 keyAttribute // sort.name "": none
	created                    time.Time
	ready                      time.Time // CREATING until then

	mu      sync.RWMutex // guards the fields below
	entries map[string]*entry
	order   []*entry
	bytes   int64
	deleted bool
	backups bool
	ttl     string
}

type keyAttribute struct{ name, kind string }

// entry is one item of a table, with the one before its last write for stale
// reads. Items themselves never change.
type entry struct {
	hash         uint64
	partition    *value
	sort         *value // nil: none
	item, before item
}

const maxTables = 1000 // per server

var tableName = regexp.MustCompile(`^[a-zA-Z0-9_.-]{3,255}$`)

func (t *table) compare(a, b *entry) int {
	if c := cmp.Compare(a.hash, b.hash); c != 0 {
		return c
	}
	if c := a.partition.compare(b.partition); c != 0 || a.sort == nil || b.sort == nil {
		return c
	}
	return a.sort.compare(b.sort)
}

// find returns the index in order of the first entry not before e.
func (t *table) find(e *entry) int {
	return sort.Search(len(t.order), func(i int) bool { return t.compare(t.order[i], e) >= 0 })
}

func (e *entry) id() string {
	id := strconv.Itoa(len(e.partition.text)) + ":" + e.partition.text
	if e.sort != nil {
		id += e.sort.text
	}
	return id
}

// store replaces the item of key; nil removes it.
func (t *table) store(key *entry, it item) {
	id := key.id()
	e := t.entries[id]
	switch {
	case e == nil && it == nil:
		return
	case e == nil:
		e = key
		t.entries[id] = e
		t.order = slices.Insert(t.order, t.find(e), e)
	case it == nil:
		delete(t.entries, id)
		at := t.find(e)
		t.order = slices.Delete(t.order, at, at+1)
	}
	t.bytes += int64(it.size() - e.item.size())
	e.before, e.item = e.item, it
}

// keyOf checks and takes the key out of a key or an item.
func (t *table) keyOf(it item, whole bool) (*entry, *apiError) {
	e := &entry{}
	for _, k := range []keyAttribute{t.hash, t.sort} {
		if k.name == "" {
			continue
		}
		v := it[k.name]
		switch {
		case v == nil && whole:
			return nil, validation("One or more parameter values were invalid: Missing the key %s in the item", k.name)
		case v == nil:
			return nil, validation("The provided key element does not match the schema")
		case v.kind != k.kind && whole:
			return nil, validation("One or more parameter values were invalid: Type mismatch for key %s expected: %s actual: %s", k.name, k.kind, v.kind)
		case v.kind != k.kind:
			return nil, validation("The provided key element does not match the schema")
		case v.text == "":
			kind := map[string]string{"S": "string", "B": "binary"}[v.kind]
			return nil, validation("One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty %s value. Key: %s", kind, k.name)
		}
		if k == t.hash {
			if len(v.text) > 2048 {
				return nil, validation("One or more parameter values were invalid: Size of hashkey has exceeded the maximum size limit of2048 bytes")
			}
			e.partition, e.hash = v, hashOf(v.text).high
		} else {
			if len(v.text) > 1024 {
				return nil, validation("One or more parameter values were invalid: Aggregated size of all range keys has exceeded the size limit of 1024 bytes")
			}
			e.sort = v
		}
	}
	if count := 1 + min(len(t.sort.name), 1); !whole && len(it) != count {
		return nil, validation("The provided key element does not match the schema")
	}
	return e, nil
}

// key is the key of an entry as an item, for LastEvaluatedKey.
func (t *table) key(e *entry) item {
	k := item{t.hash.name: e.partition}
	if e.sort != nil {
		k[t.sort.name] = e.sort
	}
	return k
}

// table finds the table of a request, checks that the caller may use it, and
// lets faults act. A table name may be an ARN.
func (c *call) table(name string) (*table, *apiError) {
	arn, account, region := name, c.caller.account, c.region
	if parts := strings.SplitN(name, ":", 6); len(parts) == 6 && parts[2] == "dynamodb" && strings.HasPrefix(parts[5], "table/") {
		region, account, name = parts[3], parts[4], strings.TrimPrefix(parts[5], "table/")
	} else {
		arn = "arn:aws:dynamodb:" + region + ":" + account + ":table/" + name
	}
	if !tableName.MatchString(name) {
		return nil, validation("Invalid table/index name. Table/index names must be between 3 and 255 characters long, and may contain only the characters a-z, A-Z, 0-9, '_', '-', and '.'")
	}
	if account != c.caller.account {
		return nil, c.denied(arn, "no resource-based policy allows")
	}
	if e := c.enter(resource{account: account, arn: arn, table: name}); e != nil {
		return nil, e
	}
	c.server.mu.RLock()
	t := c.server.tables[arn]
	c.server.mu.RUnlock()
	if t == nil || region != c.region {
		return nil, refuse("ResourceNotFoundException", "Requested resource not found: Table: %s not found", name)
	}
	return t, nil
}

// readyTable is table for operations on items.
func (c *call) readyTable(name string) (*table, *apiError) {
	t, e := c.table(name)
	if e == nil && c.server.now().Before(t.ready) {
		return nil, refuse("ResourceNotFoundException", "Requested resource not found")
	}
	return t, e
}

type attributeDefinition struct{ AttributeName, AttributeType string }

type keySchemaElement struct{ AttributeName, KeyType string }

func createTable(c *call) ([]byte, *apiError) {
	var in struct {
		TableName              string
		AttributeDefinitions   []attributeDefinition
		KeySchema              []keySchemaElement
		BillingMode            string
		ProvisionedThroughput  *struct{ ReadCapacityUnits, WriteCapacityUnits int }
		GlobalSecondaryIndexes []any
		LocalSecondaryIndexes  []any
	}
	if e := c.decode(&in); e != nil {
		return nil, e
	}
	if len(in.GlobalSecondaryIndexes)+len(in.LocalSecondaryIndexes) > 0 {
		return nil, validation("The local AWS has no secondary indexes.")
	}
	if in.BillingMode != "PAY_PER_REQUEST" && in.ProvisionedThroughput == nil {
		return nil, validation("One or more parameter values were invalid: ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED")
	}
	if !tableName.MatchString(in.TableName) {
		return nil, validation("Invalid table/index name. Table/index names must be between 3 and 255 characters long, and may contain only the characters a-z, A-Z, 0-9, '_', '-', and '.'")
	}
	t := &table{account: c.caller.account, region: c.region, name: in.TableName, entries: map[string]*entry{}}
	t.arn = "arn:aws:dynamodb:" + t.region + ":" + t.account + ":table/" + t.name
	for i, k := range in.KeySchema {
		at := slices.IndexFunc(in.AttributeDefinitions, func(a attributeDefinition) bool { return a.AttributeName == k.AttributeName })
		if at < 0 {
			return nil, validation("One or more parameter values were invalid: Some index key attributes are not defined in AttributeDefinitions. Keys: [%s]", k.AttributeName)
		}
		attribute := keyAttribute{k.AttributeName, in.AttributeDefinitions[at].AttributeType}
		switch {
		case !slices.Contains([]string{"S", "N", "B"}, attribute.kind):
			return nil, validation("Member must satisfy enum value set: [B, N, S]")
		case i == 0 && k.KeyType == "HASH":
			t.hash = attribute
		case i == 1 && k.KeyType == "RANGE":
			t.sort = attribute
		default:
			return nil, validation("Invalid KeySchema: The first KeySchemaElement is not a HASH key type, or the second not a RANGE")
		}
	}
	if t.hash.name == "" || t.hash.name == t.sort.name {
		return nil, validation("One or more parameter values were invalid: a table has one HASH key and at most one RANGE key")
	}
	if len(in.AttributeDefinitions) != len(in.KeySchema) {
		return nil, validation("One or more parameter values were invalid: Number of attributes in KeySchema does not exactly match number of attributes defined in AttributeDefinitions")
	}
	if e := c.enter(resource{account: t.account, arn: t.arn, table: t.name}); e != nil {
		return nil, e
	}
	s := c.server
	t.created = s.now()
	t.ready = t.created.Add(s.config.StatusDelay)
	out := t.describe(t.created)
	out["TableStatus"] = "CREATING" // CreateTable never answers with more
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tables[t.arn] != nil {
		return nil, refuse("ResourceInUseException", "Table already exists: %s", t.name)
	}
	if len(s.tables) >= maxTables {
		return nil, refuse("LimitExceededException", "The local AWS holds %d tables at most.", maxTables)
	}
	s.tables[t.arn] = t
	return encode(map[string]any{"TableDescription": out})
}

func (t *table) describe(now time.Time) map[string]any {
	status := "ACTIVE"
	if now.Before(t.ready) {
		status = "CREATING"
	}
	schema := []keySchemaElement{{t.hash.name, "HASH"}}
	attributes := []attributeDefinition{{t.hash.name, t.hash.kind}}
	if t.sort.name != "" {
		schema = append(schema, keySchemaElement{t.sort.name, "RANGE"})
		attributes = append(attributes, attributeDefinition{t.sort.name, t.sort.kind})
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	return map[string]any{
		"TableName": t.name, "TableArn": t.arn, "TableStatus": status, "CreationDateTime": float64(t.created.UnixMilli()) / 1000,
		"KeySchema": schema, "AttributeDefinitions": attributes,
		"BillingModeSummary":    map[string]any{"BillingMode": "PAY_PER_REQUEST"},
		"ProvisionedThroughput": map[string]any{"ReadCapacityUnits": 0, "WriteCapacityUnits": 0, "NumberOfDecreasesToday": 0},
		"ItemCount":             len(t.entries), "TableSizeBytes": t.bytes,
	}
}

// tableRef is the request of operations on whole tables.
type tableRef struct{ TableName string }

func (c *call) tableOf() (*table, *apiError) {
	var in tableRef
	if e := c.decode(&in); e != nil {
		return nil, e
	}
	return c.table(in.TableName)
}

func describeTable(c *call) ([]byte, *apiError) {
	t, e := c.tableOf()
	if e != nil {
		return nil, e
	}
	return encode(map[string]any{"Table": t.describe(c.server.now())})
}

func deleteTable(c *call) ([]byte, *apiError) {
	t, e := c.tableOf()
	if e != nil {
		return nil, e
	}
	s := c.server
	now := s.now()
	if now.Before(t.ready) {
		return nil, refuse("ResourceInUseException", "Attempt to change a resource which is still in use: Table is being created: %s", t.name)
	}
	s.mu.Lock()
	if s.tables[t.arn] == t {
		delete(s.tables, t.arn)
	}
	s.mu.Unlock()
	t.mu.Lock()
	t.deleted = true
	t.mu.Unlock()
	out := t.describe(now)
	out["TableStatus"] = "DELETING"
	return encode(map[string]any{"TableDescription": out})
}

func listTables(c *call) ([]byte, *apiError) {
	var in struct {
		ExclusiveStartTableName string
		Limit                   int
	}
	if e := c.decode(&in); e != nil {
		return nil, e
	}
	if in.Limit < 0 || in.Limit > 100 {
		return nil, validation("1 validation error detected: Value '%d' at 'limit' failed to satisfy constraint: Member must have value between 1 and 100", in.Limit)
	}
	if e := c.enter(resource{account: c.caller.account, arn: "*"}); e != nil {
		return nil, e
	}
	names := []string{}
	c.server.mu.RLock()
	for _, t := range c.server.tables {
		if t.account == c.caller.account && t.region == c.region && t.name > in.ExclusiveStartTableName {
			names = append(names, t.name)
		}
	}
	c.server.mu.RUnlock()
	slices.Sort(names)
	out := map[string]any{"TableNames": names}
	if limit := cmp.Or(in.Limit, 100); len(names) > limit {
		out["TableNames"], out["LastEvaluatedTableName"] = names[:limit], names[limit-1]
	}
	return encode(out)
}

func continuousBackups(c *call) ([]byte, *apiError) {
	var in struct {
		tableRef
		PointInTimeRecoverySpecification *struct{ PointInTimeRecoveryEnabled bool }
	}
	if e := c.decode(&in); e != nil {
		return nil, e
	}
	t, e := c.table(in.TableName)
	if e != nil {
		return nil, e
	}
	t.mu.Lock()
	if p := in.PointInTimeRecoverySpecification; p != nil {
		t.backups = p.PointInTimeRecoveryEnabled
	}
	status := "DISABLED"
	if t.backups {
		status = "ENABLED"
	}
	t.mu.Unlock()
	return encode(map[string]any{"ContinuousBackupsDescription": map[string]any{
		"ContinuousBackupsStatus":        "ENABLED",
		"PointInTimeRecoveryDescription": map[string]any{"PointInTimeRecoveryStatus": status},
	}})
}

func updateTimeToLive(c *call) ([]byte, *apiError) {
	var in struct {
		tableRef
		TimeToLiveSpecification struct {
			AttributeName string
			Enabled       bool
		}
	}
	if e := c.decode(&in); e != nil {
		return nil, e
	}
	t, e := c.table(in.TableName)
	if e != nil {
		return nil, e
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	spec := in.TimeToLiveSpecification
	if spec.Enabled == (t.ttl != "") {
		return nil, validation("TimeToLive is already %s", map[bool]string{true: "enabled", false: "disabled"}[spec.Enabled])
	}
	t.ttl = ""
	if spec.Enabled {
		t.ttl = spec.AttributeName
	}
	return encode(map[string]any{"TimeToLiveSpecification": spec})
}

func describeTimeToLive(c *call) ([]byte, *apiError) {
	t, e := c.tableOf()
	if e != nil {
		return nil, e
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	out := map[string]any{"TimeToLiveStatus": "DISABLED"}
	if t.ttl != "" {
		out = map[string]any{"TimeToLiveStatus": "ENABLED", "AttributeName": t.ttl}
	}
	return encode(map[string]any{"TimeToLiveDescription": out})
}
