package localaws_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dynamotypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/shardline/shardline/internal/localaws"
)

func (w *world) fault(f localaws.Fault) int {
	w.t.Helper()
	id, err := w.AddFault(f)
	w.must(err)
	return id
}

func TestFaultsHaveTheServicesCodes(t *testing.T) {
	w := newWorld(t, localaws.Config{})
	arn := w.stream("hotels", 1)
	role := w.role(localaws.Role{Name: "reader", Trust: localaws.Trust{Principals: []string{"*"}}})
	k, d := w.kinesis(w.a), w.dynamo(w.a)
	table := w.leases(d)
	it := w.iterate(k, arn, "shardId-000000000000", types.ShardIteratorTypeLatest, "")
	calls := map[string]func() error{
		"kinesis.GetRecords": func() error {
			_, err := k.GetRecords(background, &kinesis.GetRecordsInput{ShardIterator: it})
			return err
		},
		"kinesis.ListShards": func() error {
			_, err := k.ListShards(background, &kinesis.ListShardsInput{StreamARN: &arn})
			return err
		},
		"dynamodb.Scan": func() error {
			_, err := d.Scan(background, &dynamodb.ScanInput{TableName: table})
			return err
		},
		"dynamodb.DescribeTable": func() error {
			_, err := d.DescribeTable(background, &dynamodb.DescribeTableInput{TableName: table})
			return err
		},
		"sts.AssumeRole": func() error {
			_, err := w.sts(w.b).AssumeRole(background, &sts.AssumeRoleInput{RoleArn: &role, RoleSessionName: aws.String("test")})
			return err
		},
	}
	for _, test := range []struct {
		operation string
		kind      localaws.FaultKind
		want      string
	}{
		{"kinesis.GetRecords", localaws.Throttle, "ProvisionedThroughputExceededException"},
		{"kinesis.GetRecords", localaws.Error500, "InternalFailureException"},
		{"kinesis.GetRecords", localaws.ExpiredIterator, "ExpiredIteratorException"},
		{"kinesis.ListShards", localaws.Throttle, "LimitExceededException"},
		{"dynamodb.Scan", localaws.Throttle, "ProvisionedThroughputExceededException"},
		{"dynamodb.Scan", localaws.Error500, "InternalServerError"},
		{"dynamodb.DescribeTable", localaws.Throttle, "ThrottlingException"},
		{"sts.AssumeRole", localaws.Throttle, "Throttling"},
		{"sts.AssumeRole", localaws.Error500, "InternalFailure"},
	} {
		w.fault(localaws.Fault{Operation: test.operation, Kind: test.kind, Count: 1})
		err := calls[test.operation]()
		wantCode(t, err, test.want)
		var response interface{ HTTPStatusCode() int }
		if status := 500; test.kind == localaws.Error500 && (!asTarget(err, &response) || response.HTTPStatusCode() != status) {
			t.Errorf("%s %s: %v is no status %d", test.operation, test.kind, err, status)
		}
		w.must(calls[test.operation]()) // it ended after its count
	}
}

func TestFaultSelection(t *testing.T) {
	w := newWorld(t, localaws.Config{})
	hotels, flights := w.stream("hotels", 2), w.stream("flights", 1)
	k := w.kinesis(w.a)
	list := func(arn string) error {
		_, err := k.ListShards(background, &kinesis.ListShardsInput{StreamARN: &arn})
		return err
	}
	id := w.fault(localaws.Fault{Operation: "kinesis.*", Account: accountA, Stream: "hotels", Kind: localaws.Throttle, Skip: 1})
	w.must(list(hotels))
	for range 3 {
		wantCode(t, list(hotels), "LimitExceededException")
	}
	w.must(list(flights))
	w.RemoveFault(id)
	w.must(list(hotels))

	w.fault(localaws.Fault{Operation: "kinesis.ListShards", Account: accountB, Kind: localaws.Throttle})
	w.must(list(hotels))
	w.fault(localaws.Fault{Operation: "kinesis.ListShards", Kind: localaws.Throttle, Probability: 0.5, Seed: 7})
	failed := 0
	for range 100 {
		if list(hotels) != nil {
			failed++
		}
	}
	if failed < 30 || failed > 70 {
		t.Errorf("%d of 100 failed at probability 0.5, seed 7", failed)
	}
	w.ClearFaults()

	// A throttled shard fails only its own records of a put.
	w.fault(localaws.Fault{Operation: "kinesis.PutRecords", Shard: "shardId-000000000001", Kind: localaws.Throttle})
	low, high := put("k", "x"), put("k", "x")
	low.ExplicitHashKey, high.ExplicitHashKey = aws.String("0"), aws.String("340282366920938463463374607431768211455")
	out, err := k.PutRecords(background, &kinesis.PutRecordsInput{StreamARN: &hotels, Records: []types.PutRecordsRequestEntry{low, high, low}})
	w.must(err)
	if *out.FailedRecordCount != 1 || out.Records[1].ErrorCode == nil {
		t.Errorf("put: %+v", out)
	}
	w.ClearFaults()
	w.fault(localaws.Fault{Operation: "kinesis.PutRecords", Kind: localaws.PartialPut, Count: 2})
	out, err = k.PutRecords(background, &kinesis.PutRecordsInput{StreamARN: &hotels, Records: []types.PutRecordsRequestEntry{low, high, low}})
	w.must(err)
	if *out.FailedRecordCount != 2 || *out.Records[0].ErrorCode != "InternalFailure" || out.Records[2].SequenceNumber == nil {
		t.Errorf("put: %+v", out)
	}

	for _, bad := range []localaws.Fault{{Operation: "*", Kind: "x"}, {Kind: localaws.Throttle}, {Operation: "*", Kind: localaws.Delay}, {Operation: "*", Kind: localaws.Throttle, Probability: 2}} {
		if _, err := w.AddFault(bad); err == nil {
			t.Errorf("fault %+v passes", bad)
		}
	}
}

func TestDroppedConnections(t *testing.T) {
	w := newWorld(t, localaws.Config{})
	arn := w.stream("hotels", 1)
	k, d := w.kinesis(w.a), w.dynamo(w.b)
	table := w.leases(d)
	count := func() int { // of records
		data, _ := w.readAll(k, arn, "shardId-000000000000")
		return len(data)
	}
	putOne := func() error {
		_, err := k.PutRecord(background, &kinesis.PutRecordInput{StreamARN: &arn, PartitionKey: aws.String("k"), Data: []byte("x")})
		return err
	}
	w.fault(localaws.Fault{Operation: "kinesis.PutRecord", Kind: localaws.DropBefore, Count: 1})
	wantNoAnswer(t, putOne())
	if n := count(); n != 0 {
		t.Errorf("%d records after a drop before the effect", n)
	}
	w.fault(localaws.Fault{Operation: "kinesis.PutRecord", Kind: localaws.DropAfter, Count: 1})
	wantNoAnswer(t, putOne())
	if n := count(); n != 1 {
		t.Errorf("%d records after a drop after the effect", n)
	}
	w.fault(localaws.Fault{Operation: "dynamodb.UpdateItem", Table: "leases", Kind: localaws.DropAfter, Count: 1})
	_, err := d.UpdateItem(background, &dynamodb.UpdateItemInput{TableName: table, Key: attributes{"leaseKey": str("a")}, UpdateExpression: aws.String("SET x = :x"), ExpressionAttributeValues: attributes{":x": num("1")}})
	wantNoAnswer(t, err)
	out, err := d.GetItem(background, &dynamodb.GetItemInput{TableName: table, Key: attributes{"leaseKey": str("a")}, ConsistentRead: aws.Bool(true)})
	w.must(err)
	if out.Item["x"] == nil {
		t.Error("the update whose answer was lost has no effect")
	}
}

// wantNoAnswer checks that a call failed without an answer of the service.
func wantNoAnswer(t *testing.T, err error) {
	t.Helper()
	var api smithy.APIError
	if err == nil || asTarget(err, &api) {
		t.Errorf("error is %v, want a lost connection", err)
	}
}

func TestReadFaults(t *testing.T) {
	w := newWorld(t, localaws.Config{})
	arn := w.stream("hotels", 1)
	k := w.kinesis(w.a)
	_, _, err := w.Put(arn, "k", []byte("x"))
	w.must(err)
	w.fault(localaws.Fault{Operation: "kinesis.GetRecords", Shard: "shardId-000000000000", Kind: localaws.EmptyRead, Count: 1})
	empty := w.get(k, w.iterate(k, arn, "shardId-000000000000", types.ShardIteratorTypeTrimHorizon, ""))
	if len(empty.Records) != 0 || *empty.MillisBehindLatest == 0 || empty.NextShardIterator == nil {
		t.Errorf("empty read: %+v", empty)
	}
	if next := w.get(k, empty.NextShardIterator); len(next.Records) != 1 {
		t.Errorf("after it: %+v", next)
	}
	w.fault(localaws.Fault{Operation: "kinesis.*", Kind: localaws.Delay, DelayMillis: 30, Count: 1})
	start := time.Now()
	w.shards(k, arn, nil)
	if d := time.Since(start); d < 30*time.Millisecond {
		t.Errorf("a delayed call took %s", d)
	}
}

func TestStaleReads(t *testing.T) {
	w := newWorld(t, localaws.Config{})
	d := w.dynamo(w.b)
	table := w.leases(d)
	for i := range 2 {
		_, err := d.PutItem(background, &dynamodb.PutItemInput{TableName: table, Item: attributes{"leaseKey": str("a"), "n": num(fmt.Sprint(i))}})
		w.must(err)
	}
	w.fault(localaws.Fault{Operation: "dynamodb.*", Kind: localaws.StaleRead})
	get := func(consistent bool) string {
		out, err := d.GetItem(background, &dynamodb.GetItemInput{TableName: table, Key: attributes{"leaseKey": str("a")}, ConsistentRead: &consistent})
		w.must(err)
		return out.Item["n"].(*dynamotypes.AttributeValueMemberN).Value
	}
	if stale, fresh := get(false), get(true); stale != "0" || fresh != "1" {
		t.Errorf("stale %s, consistent %s", stale, fresh)
	}
	scanned, err := d.Scan(background, &dynamodb.ScanInput{TableName: table})
	w.must(err)
	if n := scanned.Items[0]["n"].(*dynamotypes.AttributeValueMemberN).Value; n != "0" {
		t.Errorf("stale scan gives %s", n)
	}
}

func TestAdministration(t *testing.T) {
	w := newWorld(t, localaws.Config{})
	arn := w.stream("hotels", 1)
	role := w.role(localaws.Role{Name: "reader", Trust: localaws.Trust{Principals: []string{"*"}}})
	k := w.kinesis(w.a)
	call := func(method, path, body string, want int) map[string]any {
		t.Helper()
		r, err := http.NewRequest(method, w.endpoint+"/_localaws/"+path, strings.NewReader(body))
		w.must(err)
		response, err := w.client.Do(r)
		w.must(err)
		defer response.Body.Close()
		var out map[string]any
		if response.StatusCode != want {
			t.Errorf("%s %s: status %d, want %d", method, path, response.StatusCode, want)
		} else if want == 200 {
			w.must(json.NewDecoder(response.Body).Decode(&out))
		}
		return out
	}
	id := call("POST", "faults", `{"operation":"kinesis.ListShards","kind":"throttle"}`, 200)["id"]
	_, err := k.ListShards(background, &kinesis.ListShardsInput{StreamARN: &arn})
	wantCode(t, err, "LimitExceededException")
	call("DELETE", fmt.Sprintf("faults?id=%v", id), "", 200)
	call("POST", "split", `{"stream":"`+arn+`","shard":"shardId-000000000000"}`, 200)
	call("POST", "split", `{"stream":"`+arn+`","shard":"shardId-000000000000"}`, 409)
	call("POST", "merge", `{"stream":"`+arn+`","shard":"shardId-000000000001","adjacent_shard":"shardId-000000000002"}`, 200)
	if ids := w.shards(k, arn, nil); len(ids) != 4 {
		t.Errorf("shards %v", ids)
	}
	call("POST", "allow_account", `{"stream":"`+arn+`","account":"`+accountB+`"}`, 200)
	w.shards(w.kinesis(w.b), arn, nil)
	call("POST", "revoke_role", `{"role":"`+role+`"}`, 200)
	_, err = w.sts(w.b).AssumeRole(background, &sts.AssumeRoleInput{RoleArn: &role, RoleSessionName: aws.String("test")})
	wantCode(t, err, "AccessDenied")
	call("POST", "grant_role", `{"role":"`+role+`"}`, 200)
	w.assume(w.b, role)
	stats := call("GET", "stats", "", 200)
	if n := stats["calls"].(map[string]any)["kinesis.ListShards"]; n != 3.0 {
		t.Errorf("stats count %v calls of ListShards", n)
	}
	if n := stats["errors"].(map[string]any)["sts.AssumeRole AccessDenied"]; n != 1.0 {
		t.Errorf("stats count %v refusals of AssumeRole", n)
	}
	call("DELETE", "stats", "", 200)
	call("POST", "delete_stream", `{"stream":"`+arn+`"}`, 200)
	if n := w.Stats().Calls["kinesis.ListShards"]; n != 0 {
		t.Errorf("%d calls after the counters were set to zero", n)
	}
	call("POST", "faults", `{"operation":"*","kind":"nonsense"}`, 400)
	call("POST", "faults", `{"operation":"*","typo":1}`, 400)
	call("GET", "nothing", "", 404)
	r, err := http.NewRequest("DELETE", w.endpoint+"/_localaws/stats", nil)
	w.must(err)
	r.Header.Set("Origin", "https://example.com")
	response, err := w.client.Do(r)
	w.must(err)
	response.Body.Close()
	if response.StatusCode != http.StatusForbidden {
		t.Errorf("a browser's request gives %d", response.StatusCode)
	}
}
