package localaws

import (
	"context"
	"encoding/json"
	"testing"
)

// FuzzRequests gives any body to any JSON operation: it answers with JSON or
// refuses, and leaves the server whole.
func FuzzRequests(f *testing.F) {
	for _, body := range []string{
		`{"StreamName":"hotels","ShardCount":2}`,
		`{"StreamName":"hotels","Records":[{"Data":"eA==","PartitionKey":"k\u00e9\ud83d\ude00","ExplicitHashKey":"5"}]}`,
		`{"StreamName":"hotels","ShardId":"shardId-000000000000","ShardIteratorType":"AT_TIMESTAMP","Timestamp":1e9}`,
		`{"StreamName":"hotels","ShardToSplit":"shardId-000000000000","NewStartingHashKey":"1000"}`,
		`{"StreamName":"hotels","TargetShardCount":3,"ScalingType":"UNIFORM_SCALING"}`,
		`{"StreamName":"hotels","ShardFilter":{"Type":"AT_TIMESTAMP","Timestamp":1e300}}`,
		`{"TableName":"leases","Key":{"leaseKey":{"S":"a"}},"UpdateExpression":"SET #a.b[1] = if_not_exists(c, :v) + :v REMOVE d","ConditionExpression":"size(a) < :v OR NOT (a IN (:v))","ExpressionAttributeNames":{"#a":"a"},"ExpressionAttributeValues":{":v":{"N":"1e5"}},"ReturnValues":"ALL_NEW"}`,
		`{"TableName":"leases","Item":{"leaseKey":{"S":"a"},"x":{"M":{"l":{"L":[{"NS":["1","2"]},{"B":"AA=="},{"NULL":true}]}}}}}`,
		`{"TableName":"leases","Limit":1,"Segment":0,"TotalSegments":2,"ExclusiveStartKey":{"leaseKey":{"S":"a"}},"FilterExpression":"contains(x, :v)","ExpressionAttributeValues":{":v":{"S":""}}}`,
		`{"RequestItems":{"leases":[{"PutRequest":{"Item":{"leaseKey":{"S":"b"}}}},{"DeleteRequest":{"Key":{"leaseKey":{"S":"a"}}}}]}}`,
		`{"RequestItems":{"leases":{"Keys":[{"leaseKey":{"S":"b"}}],"ProjectionExpression":"a, b.c"}}}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		s := New(Config{StreamBytes: 1 << 20})
		if _, err := s.CreateStream("111111111111", "eu-west-1", "hotels", 2); err == nil {
			t.Fatal("a stream of no account")
		}
		if _, err := s.AddAccount("111111111111"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.CreateStream("111111111111", "eu-west-1", "hotels", 2); err != nil {
			t.Fatal(err)
		}
		run := func(service, name string, handler operation, body []byte) {
			c := &call{context: context.Background(), server: s, service: service, operation: name, region: "eu-west-1", caller: &identity{account: "111111111111"}, body: body}
			answer, e := handler(c)
			if e != nil {
				answer = c.jsonError(e)
			}
			if len(answer) > 0 && !json.Valid(answer) {
				t.Errorf("%s.%s answers %q", service, name, answer)
			}
		}
		run("dynamodb", "CreateTable", createTable, []byte(`{"TableName":"leases","BillingMode":"PAY_PER_REQUEST","AttributeDefinitions":[{"AttributeName":"leaseKey","AttributeType":"S"}],"KeySchema":[{"AttributeName":"leaseKey","KeyType":"HASH"}]}`))
		for name, handler := range dynamoOperations {
			run("dynamodb", name, handler, body)
		}
		for name, handler := range kinesisOperations {
			run("kinesis", name, handler, body)
		}
	})
}
