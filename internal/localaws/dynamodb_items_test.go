package localaws_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/shardline/shardline/internal/localaws"
)

// everything is an item with a value of each type.
func everything() attributes {
	return attributes{
		"leaseKey": str("a"),
		"s":        str("päckage \"q\"\n\u0001"),
		"n":        num("12.50"),
		"b":        &types.AttributeValueMemberB{Value: []byte{0, 255, 1}},
		"ss":       &types.AttributeValueMemberSS{Value: []string{"y", "x"}},
		"ns":       &types.AttributeValueMemberNS{Value: []string{"10", "9"}},
		"bs":       &types.AttributeValueMemberBS{Value: [][]byte{{2}, {1}}},
		"bool":     &types.AttributeValueMemberBOOL{Value: true},
		"null":     &types.AttributeValueMemberNULL{Value: true},
		"l":        &types.AttributeValueMemberL{Value: []types.AttributeValue{str("0"), str("1"), str("2")}},
		"m":        &types.AttributeValueMemberM{Value: attributes{"in": &types.AttributeValueMemberM{Value: attributes{"deep": num("1")}}}},
	}
}

// show writes a value in one form.
func show(v types.AttributeValue) string {
	switch v := v.(type) {
	case nil:
		return "-"
	case *types.AttributeValueMemberS:
		return v.Value
	case *types.AttributeValueMemberN:
		return "N" + v.Value
	case *types.AttributeValueMemberB:
		return fmt.Sprintf("B%x", v.Value)
	case *types.AttributeValueMemberSS:
		return "SS" + fmt.Sprint(v.Value)
	case *types.AttributeValueMemberNS:
		return "NS" + fmt.Sprint(v.Value)
	case *types.AttributeValueMemberBS:
		return "BS" + fmt.Sprint(v.Value)
	case *types.AttributeValueMemberBOOL:
		return fmt.Sprint(v.Value)
	case *types.AttributeValueMemberNULL:
		return "null"
	case *types.AttributeValueMemberL:
		var parts []string
		for _, e := range v.Value {
			parts = append(parts, show(e))
		}
		return "[" + strings.Join(parts, " ") + "]"
	case *types.AttributeValueMemberM:
		return showItem(v.Value)
	}
	return fmt.Sprintf("%T", v)
}

func showItem(item attributes) string {
	var parts []string
	for name, v := range item {
		parts = append(parts, name+":"+show(v))
	}
	slices.Sort(parts)
	return "{" + strings.Join(parts, " ") + "}"
}

func (w *world) item(d *dynamodb.Client, table *string) attributes {
	w.t.Helper()
	out, err := d.GetItem(background, &dynamodb.GetItemInput{TableName: table, Key: attributes{"leaseKey": str("a")}, ConsistentRead: aws.Bool(true)})
	w.must(err)
	return out.Item
}

func TestItemsOfEveryType(t *testing.T) {
	w := newWorld(t, localaws.Config{})
	d := w.dynamo(w.b)
	table := w.leases(d)
	if w.item(d, table) != nil {
		t.Error("an item before there is one")
	}
	_, err := d.PutItem(background, &dynamodb.PutItemInput{TableName: table, Item: everything()})
	w.must(err)
	const want = "{b:B00ff01 bool:true bs:BS[[1] [2]] l:[0 1 2] leaseKey:a m:{in:{deep:N1}} n:N12.5 ns:NS[9 10] null:null s:päckage \"q\"\n\u0001 ss:SS[x y]}"
	if got := showItem(w.item(d, table)); got != want {
		t.Errorf("item %s, want %s", got, want)
	}
	out, err := d.GetItem(background, &dynamodb.GetItemInput{TableName: table, Key: attributes{"leaseKey": str("a")},
		ProjectionExpression: aws.String("l[1], m.#in.deep, n, nothing"), ExpressionAttributeNames: map[string]string{"#in": "in"}, ReturnConsumedCapacity: types.ReturnConsumedCapacityTotal})
	w.must(err)
	if got := showItem(out.Item); got != "{l:[1] m:{in:{deep:N1}} n:N12.5}" || *out.ConsumedCapacity.CapacityUnits != 0.5 {
		t.Errorf("projected %s for %v units", got, *out.ConsumedCapacity.CapacityUnits)
	}
	deleted, err := d.DeleteItem(background, &dynamodb.DeleteItemInput{TableName: table, Key: attributes{"leaseKey": str("a")}, ReturnValues: types.ReturnValueAllOld})
	w.must(err)
	if got := showItem(deleted.Attributes); got != want || w.item(d, table) != nil {
		t.Errorf("deleted %s", got)
	}
}

func TestRefusedItems(t *testing.T) {
	w := newWorld(t, localaws.Config{})
	d := w.dynamo(w.b)
	table := w.leases(d)
	deep := types.AttributeValue(str("x"))
	for range 33 {
		deep = &types.AttributeValueMemberL{Value: []types.AttributeValue{deep}}
	}
	for name, item := range map[string]attributes{
		"no key":              {"x": str("a")},
		"key of another type": {"leaseKey": num("1")},
		"empty key":           {"leaseKey": str("")},
		"long key":            {"leaseKey": str(strings.Repeat("x", 2049))},
		"empty set":           {"leaseKey": str("a"), "x": &types.AttributeValueMemberSS{}},
		"duplicates":          {"leaseKey": str("a"), "x": &types.AttributeValueMemberNS{Value: []string{"1", "1.0"}}},
		"no number":           {"leaseKey": str("a"), "x": num("1x")},
		"39 digits":           {"leaseKey": str("a"), "x": num(strings.Repeat("1", 39))},
		"overflow":            {"leaseKey": str("a"), "x": num("1e126")},
		"underflow":           {"leaseKey": str("a"), "x": num("1e-131")},
		"false null":          {"leaseKey": str("a"), "x": &types.AttributeValueMemberNULL{Value: false}},
		"over 400 KB":         {"leaseKey": str("a"), "x": str(strings.Repeat("x", 400<<10))},
		"nested too deeply":   {"leaseKey": str("a"), "x": deep},
	} {
		_, err := d.PutItem(background, &dynamodb.PutItemInput{TableName: table, Item: item})
		if err == nil {
			t.Errorf("%s passes", name)
		}
		wantCode(t, err, "ValidationException")
	}
	_, err := d.PutItem(background, &dynamodb.PutItemInput{TableName: table, Item: attributes{"leaseKey": str("a"), "x": str(strings.Repeat("x", 400<<10-len("leaseKeyax")))}})
	w.must(err)
	_, err = d.UpdateItem(background, &dynamodb.UpdateItemInput{TableName: table, Key: attributes{"leaseKey": str("a")}, UpdateExpression: aws.String("SET y = :y"), ExpressionAttributeValues: attributes{":y": str("")}})
	wantCode(t, err, "ValidationException") // one byte too many
	for name, key := range map[string]attributes{"two attributes": {"leaseKey": str("a"), "b": str("b")}, "another attribute": {"b": str("b")}, "another type": {"leaseKey": num("1")}} {
		_, err := d.GetItem(background, &dynamodb.GetItemInput{TableName: table, Key: key})
		if err == nil {
			t.Errorf("a key of %s passes", name)
		}
		wantCode(t, err, "ValidationException")
	}
}

func TestTables(t *testing.T) {
	clock := newClock()
	w := newWorld(t, localaws.Config{Now: clock.now, StatusDelay: 3 * time.Second})
	d := w.dynamo(w.b)
	table := w.leases(d)
	describe := func(d *dynamodb.Client, name string) (*dynamodb.DescribeTableOutput, error) {
		return d.DescribeTable(background, &dynamodb.DescribeTableInput{TableName: &name})
	}
	out, err := describe(d, *table)
	w.must(err)
	if out.Table.TableStatus != types.TableStatusCreating {
		t.Errorf("status %s", out.Table.TableStatus)
	}
	_, err = d.Scan(background, &dynamodb.ScanInput{TableName: table})
	wantType[*types.ResourceNotFoundException](t, err)
	clock.advance(3 * time.Second)
	out, err = describe(d, *table)
	w.must(err)
	if out.Table.TableStatus != types.TableStatusActive || *out.Table.TableArn != "arn:aws:dynamodb:eu-west-1:222222222222:table/leases" || *out.Table.KeySchema[0].AttributeName != "leaseKey" {
		t.Errorf("described %+v", out.Table)
	}
	_, err = d.CreateTable(background, &dynamodb.CreateTableInput{TableName: table, BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("k"), AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("k"), KeyType: types.KeyTypeHash}}})
	wantType[*types.ResourceInUseException](t, err)

	// By its ARN it is the same table; to another account it does not exist,
	// and by ARN it is denied.
	_, err = describe(d, *out.Table.TableArn)
	w.must(err)
	_, err = describe(w.dynamo(w.a), "leases")
	wantType[*types.ResourceNotFoundException](t, err)
	_, err = describe(w.dynamo(w.a), *out.Table.TableArn)
	wantCode(t, err, "AccessDeniedException")

	list, err := d.ListTables(background, nil)
	w.must(err)
	if !slices.Equal(list.TableNames, []string{"leases"}) {
		t.Errorf("tables %v", list.TableNames)
	}
	backups := func() types.PointInTimeRecoveryStatus {
		out, err := d.DescribeContinuousBackups(background, &dynamodb.DescribeContinuousBackupsInput{TableName: table})
		w.must(err)
		return out.ContinuousBackupsDescription.PointInTimeRecoveryDescription.PointInTimeRecoveryStatus
	}
	if s := backups(); s != types.PointInTimeRecoveryStatusDisabled {
		t.Errorf("backups %s", s)
	}
	_, err = d.UpdateContinuousBackups(background, &dynamodb.UpdateContinuousBackupsInput{TableName: table, PointInTimeRecoverySpecification: &types.PointInTimeRecoverySpecification{PointInTimeRecoveryEnabled: aws.Bool(true)}})
	w.must(err)
	if s := backups(); s != types.PointInTimeRecoveryStatusEnabled {
		t.Errorf("backups %s", s)
	}
	ttl := &dynamodb.UpdateTimeToLiveInput{TableName: table, TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: aws.String("expires"), Enabled: aws.Bool(true)}}
	_, err = d.UpdateTimeToLive(background, ttl)
	w.must(err)
	_, err = d.UpdateTimeToLive(background, ttl)
	wantCode(t, err, "ValidationException")
	live, err := d.DescribeTimeToLive(background, &dynamodb.DescribeTimeToLiveInput{TableName: table})
	w.must(err)
	if *live.TimeToLiveDescription.AttributeName != "expires" {
		t.Errorf("time to live %+v", live.TimeToLiveDescription)
	}
	_, err = d.DeleteTable(background, &dynamodb.DeleteTableInput{TableName: table})
	w.must(err)
	_, err = describe(d, *table)
	wantType[*types.ResourceNotFoundException](t, err)
	_, err = d.DeleteTable(background, &dynamodb.DeleteTableInput{TableName: table})
	wantType[*types.ResourceNotFoundException](t, err)
}

func TestScan(t *testing.T) {
	w := newWorld(t, localaws.Config{})
	d := w.dynamo(w.b)
	table := w.leases(d)
	const count = 40
	for i := range count {
		_, err := d.PutItem(background, &dynamodb.PutItemInput{TableName: table, Item: attributes{"leaseKey": str(fmt.Sprint("lease-", i)), "n": num(fmt.Sprint(i)), "pad": str(strings.Repeat("x", 100<<10))}})
		w.must(err)
	}
	// scan returns the items' numbers in order, and the pages.
	scan := func(in *dynamodb.ScanInput) (seen []string, pages int) {
		t.Helper()
		in.TableName = table
		for {
			out, err := d.Scan(background, in)
			w.must(err)
			pages++
			for _, item := range out.Items {
				seen = append(seen, show(item["n"]))
			}
			if int(out.Count) != len(out.Items) || out.ScannedCount < out.Count {
				t.Errorf("count %d, scanned %d, items %d", out.Count, out.ScannedCount, len(out.Items))
			}
			if in.ExclusiveStartKey = out.LastEvaluatedKey; in.ExclusiveStartKey == nil {
				return seen, pages
			}
		}
	}
	unique := func(seen []string) int {
		slices.Sort(seen)
		return len(slices.Compact(seen))
	}
	seen, pages := scan(&dynamodb.ScanInput{}) // 4 MB: 10 items fit 1 MB
	if len(seen) != count || unique(seen) != count || pages != 4 {
		t.Errorf("%d items in %d pages", len(seen), pages)
	}
	seen, pages = scan(&dynamodb.ScanInput{Limit: aws.Int32(8)}) // the last full page has a key too
	if len(seen) != count || unique(seen) != count || pages != 6 {
		t.Errorf("%d items in %d pages of 8", len(seen), pages)
	}
	seen, _ = scan(&dynamodb.ScanInput{FilterExpression: aws.String("n < :n"), ExpressionAttributeValues: attributes{":n": num("7")}, ProjectionExpression: aws.String("n")})
	if len(seen) != 7 {
		t.Errorf("filtered %v", seen)
	}
	var all []string
	for segment := range int32(3) {
		part, _ := scan(&dynamodb.ScanInput{Segment: &segment, TotalSegments: aws.Int32(3)})
		if len(part) == 0 {
			t.Errorf("segment %d is empty", segment)
		}
		all = append(all, part...)
	}
	if len(all) != count || unique(all) != count {
		t.Errorf("segments have %d items", len(all))
	}
	out, err := d.Scan(background, &dynamodb.ScanInput{TableName: table, Select: types.SelectCount, Limit: aws.Int32(3)})
	w.must(err)
	if out.Count != 3 || out.Items != nil {
		t.Errorf("count %d, items %v", out.Count, out.Items)
	}
	_, err = d.Scan(background, &dynamodb.ScanInput{TableName: table, Segment: aws.Int32(3), TotalSegments: aws.Int32(3)})
	wantCode(t, err, "ValidationException")
}

func TestQuery(t *testing.T) {
	w := newWorld(t, localaws.Config{})
	d := w.dynamo(w.b)
	table := aws.String("events")
	_, err := d.CreateTable(background, &dynamodb.CreateTableInput{TableName: table, BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("app"), AttributeType: types.ScalarAttributeTypeS}, {AttributeName: aws.String("at"), AttributeType: types.ScalarAttributeTypeN}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("app"), KeyType: types.KeyTypeHash}, {AttributeName: aws.String("at"), KeyType: types.KeyTypeRange}}})
	w.must(err)
	for _, app := range []string{"a", "b", "c"} {
		for i := range 12 {
			_, err := d.PutItem(background, &dynamodb.PutItemInput{TableName: table, Item: attributes{"app": str(app), "at": num(fmt.Sprint(i)), "odd": &types.AttributeValueMemberBOOL{Value: i%2 == 1}}})
			w.must(err)
		}
	}
	query := func(condition string, values attributes, change func(*dynamodb.QueryInput)) string {
		t.Helper()
		values[":app"] = str("b")
		in := &dynamodb.QueryInput{TableName: table, KeyConditionExpression: aws.String("#app = :app" + condition), ExpressionAttributeNames: map[string]string{"#app": "app"}, ExpressionAttributeValues: values}
		if strings.Contains(condition, "#at") {
			in.ExpressionAttributeNames["#at"] = "at"
		}
		if change != nil {
			change(in)
		}
		var seen []string
		for {
			out, err := d.Query(background, in)
			w.must(err)
			for _, item := range out.Items {
				seen = append(seen, strings.TrimPrefix(show(item["at"]), "N"))
			}
			if in.ExclusiveStartKey = out.LastEvaluatedKey; in.ExclusiveStartKey == nil {
				return strings.Join(seen, " ")
			}
		}
	}
	const all = "0 1 2 3 4 5 6 7 8 9 10 11"
	for _, test := range []struct {
		condition string
		values    attributes
		change    func(*dynamodb.QueryInput)
		want      string
	}{
		{"", attributes{}, nil, all},
		{"", attributes{}, func(in *dynamodb.QueryInput) { in.Limit = aws.Int32(5) }, all},
		{"", attributes{}, func(in *dynamodb.QueryInput) { in.ScanIndexForward = aws.Bool(false); in.Limit = aws.Int32(5) }, "11 10 9 8 7 6 5 4 3 2 1 0"},
		{" AND #at > :x", attributes{":x": num("9")}, nil, "10 11"},
		{" AND #at BETWEEN :x AND :y", attributes{":x": num("3"), ":y": num("5")}, nil, "3 4 5"},
		{" AND #at = :x", attributes{":x": num("7.0")}, nil, "7"},
		{"", attributes{":t": &types.AttributeValueMemberBOOL{Value: true}}, func(in *dynamodb.QueryInput) { in.FilterExpression = aws.String("odd = :t") }, "1 3 5 7 9 11"},
	} {
		if got := query(test.condition, test.values, test.change); got != test.want {
			t.Errorf("%q: %s, want %s", test.condition, got, test.want)
		}
	}
	for _, bad := range []string{"app > :app", "#at = :app", "app = :app OR app = :app", "app = :app AND odd = :app", "contains(app, :app)"} {
		in := &dynamodb.QueryInput{TableName: table, KeyConditionExpression: &bad, ExpressionAttributeValues: attributes{":app": str("b")}}
		if strings.Contains(bad, "#at") {
			in.ExpressionAttributeNames = map[string]string{"#at": "at"}
		}
		_, err := d.Query(background, in)
		if err == nil {
			t.Errorf("%s passes", bad)
		}
		wantCode(t, err, "ValidationException")
	}
}

func TestBatches(t *testing.T) {
	w := newWorld(t, localaws.Config{})
	d := w.dynamo(w.b)
	table := w.leases(d)
	var writes []types.WriteRequest
	var keys []attributes
	for i := range 25 {
		key := attributes{"leaseKey": str(fmt.Sprint(i))}
		keys = append(keys, key)
		writes = append(writes, types.WriteRequest{PutRequest: &types.PutRequest{Item: key}})
	}
	write := func(writes []types.WriteRequest) error {
		_, err := d.BatchWriteItem(background, &dynamodb.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{*table: writes}})
		return err
	}
	w.must(write(writes))
	w.must(write([]types.WriteRequest{{DeleteRequest: &types.DeleteRequest{Key: keys[3]}}, {PutRequest: &types.PutRequest{Item: attributes{"leaseKey": str("4"), "x": num("1")}}}}))
	out, err := d.BatchGetItem(background, &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{*table: {Keys: keys, ConsistentRead: aws.Bool(true)}}})
	w.must(err)
	if n := len(out.Responses[*table]); n != 24 || len(out.UnprocessedKeys) != 0 {
		t.Errorf("%d items, unprocessed %v", n, out.UnprocessedKeys)
	}
	wantCode(t, write(append(writes, writes[0])), "ValidationException")
	wantCode(t, write([]types.WriteRequest{writes[0], writes[0]}), "ValidationException")
	_, err = d.BatchGetItem(background, &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{*table: {Keys: []attributes{keys[0], keys[0]}}}})
	wantCode(t, err, "ValidationException")
}
