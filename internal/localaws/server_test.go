package localaws_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/shardline/shardline/internal/localaws"
)

func TestServe(t *testing.T) {
	w := newWorld(t, localaws.Config{Region: region})
	if err := w.Serve(background); err == nil {
		t.Error("served without Listen")
	}
	for _, address := range []string{"0.0.0.0:0", ":0", "localhost:0", "127.0.0.1", "192.0.2.1:0"} {
		if err := w.Listen(address); err == nil {
			t.Errorf("listens on %s", address)
		}
	}
	w.must(w.Listen("127.0.0.1:0"))
	if err := w.Listen("127.0.0.1:0"); err == nil {
		t.Error("listens twice")
	}
	ctx, cancel := context.WithCancel(background)
	done := make(chan error, 1)
	go func() { done <- w.Serve(ctx) }()
	w.endpoint = w.Endpoint()
	_, err := w.kinesis(w.a).ListStreams(background, &kinesis.ListStreamsInput{})
	w.must(err)
	environment := strings.Join(w.Environment(w.a), "\n")
	for _, want := range []string{"AWS_ENDPOINT_URL=" + w.endpoint, "AWS_ACCESS_KEY_ID=" + w.a.AccessKeyID, "AWS_SECRET_ACCESS_KEY=" + w.a.SecretAccessKey, "AWS_REGION=eu-west-1"} {
		if !strings.Contains(environment, want) {
			t.Errorf("the environment lacks %s", want)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("served: %v", err)
	}
}

func TestOtherRequests(t *testing.T) {
	w := newWorld(t, localaws.Config{})
	for _, test := range []struct {
		header, value string
		status        int
	}{
		{"X-Nothing", "", 404},
		{"X-Amz-Target", "Kinesis_20131202.MakeCoffee", 400},
		{"X-Amz-Target", "Firehose_20150804.PutRecord", 400},
		{"X-Amz-Target", "Kinesis_20131202.ListStreams", 400}, // not signed
	} {
		r, err := http.NewRequest("POST", w.endpoint, strings.NewReader("{}"))
		w.must(err)
		r.Header.Set(test.header, test.value)
		r.Header.Set("Content-Type", "application/x-amz-json-1.1")
		response, err := w.client.Do(r)
		w.must(err)
		response.Body.Close()
		if response.StatusCode != test.status {
			t.Errorf("%s %s: status %d", test.header, test.value, response.StatusCode)
		}
	}
}

func TestSetUpIsChecked(t *testing.T) {
	w := newWorld(t, localaws.Config{})
	arn := w.stream("hotels", 1)
	_, short := w.AddAccount("123")
	_, again := w.AddAccount(accountA)
	if short == nil || again != nil {
		t.Errorf("accounts: %v, %v", short, again)
	}
	_, twice := w.CreateStream(accountA, region, "hotels", 1)
	_, nowhere := w.CreateStream("999999999999", region, "hotels", 1)
	_, empty := w.CreateStream(accountA, region, "none", 0)
	_, noAccount := w.AddRole(localaws.Role{Account: "999999999999", Name: "r"})
	for name, err := range map[string]error{
		"a stream twice": twice, "a stream of no account": nowhere, "no shards": empty, "a role of no account": noAccount,
		"a split of no shard": w.SplitShard(arn, "x"), "a split of no stream": w.SplitShard("x", "x"),
		"a merge of no shard": w.MergeShards(arn, "shardId-000000000000", "x"), "no stream deleted": w.DeleteStream("x"),
		"a trim to nowhere": w.TrimShard(arn, "shardId-000000000000", "5"),
	} {
		if err == nil {
			t.Errorf("%s passes", name)
		}
	}
	if id := arn[strings.LastIndex(arn, "/")+1:]; id != "hotels" {
		t.Errorf("arn %s", arn)
	}
}
