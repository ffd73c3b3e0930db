package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shardline/shardline/internal/localaws"
)

// TestValidateAWSTriesReceivers says of each destination whether it is there
// and may be used, and puts nothing into it.
func TestValidateAWSTriesReceivers(t *testing.T) {
	var a awsTrial
	a.edit = func(text string) string {
		t.Helper()
		must := func(arn string, err error) string {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
			return arn
		}
		const account = resortsAccount
		stream := must(a.server.CreateStream(account, testRegion, "out", 2))
		queue := must(a.server.CreateQueue(account, testRegion, "hotels.fifo", nil))
		topic := must(a.server.CreateTopic(account, testRegion, "hotels.fifo", nil))
		must(a.server.CreateBucket(account, testRegion, "hotels-archive"))
		writer := func(name string, actions ...string) string {
			return must(a.server.AddRole(localaws.Role{Account: account, Name: name, Trust: localaws.Trust{Principals: []string{a.worker}},
				Permissions: []localaws.Permission{{Actions: actions}}}))
		}
		least := writer("least", "kinesis:PutRecords", "kinesis:ListShards", "sqs:SendMessage", "sns:Publish", "s3:PutObject")
		looks := writer("looks", "sqs:*", "sns:*", "s3:*", "kinesis:PutRecords")
		nobody := "arn:aws:iam::" + account + ":role/nobody"
		url := func(arn string) string {
			return "https://sqs.eu-west-1.amazonaws.com/" + account + "/" + arn[strings.LastIndex(arn, ":")+1:]
		}
		var more strings.Builder
		add := func(name, fields, role string) {
			fmt.Fprintf(&more, "  - {name: %s, %s, dead_letters: failed%s}\n", name, fields, role)
		}
		as := func(role string) string { return fmt.Sprintf(", role: {arn: %q}", role) }
		add("stream", fmt.Sprintf("type: kinesis, stream: %q, aggregate: true", stream), as(least))
		add("no-stream", fmt.Sprintf("type: kinesis, stream: %q", stream+"-gone"), as(least))
		add("no-list", fmt.Sprintf("type: kinesis, stream: %q, aggregate: true", stream), as(looks))
		add("no-role", fmt.Sprintf("type: kinesis, stream: %q", stream), as(nobody))
		add("queue", fmt.Sprintf("type: sqs, queue: %q", url(queue)), as(looks))
		add("queue-least", fmt.Sprintf("type: sqs, queue: %q", url(queue)), as(least))
		add("no-queue", fmt.Sprintf("type: sqs, queue: %q", url(":gone.fifo")), as(looks))
		add("topic", fmt.Sprintf("type: sns, topic: %q", topic), as(looks))
		add("no-topic", `type: sns, topic: "arn:aws:sns:eu-west-1:222222222222:gone"`, as(looks))
		add("bucket", "type: s3, bucket: hotels-archive", as(looks))
		add("no-bucket", "type: s3, bucket: hotels-gone", as(looks))
		add("file", fmt.Sprintf("type: file, path: %q", filepath.Join(a.directory, "out.jsonl")), "")
		add("no-file", fmt.Sprintf("type: file, path: %q", filepath.Join(a.directory, "gone", "out.jsonl")), "")
		return strings.Replace(text, "dead_letter_queues:", more.String()+"dead_letter_queues:", 1)
	}
	code, _, lines := a.run(t)
	if code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	for _, want := range []struct{ destination, check, result, missing string }{
		{"stream", "sts:AssumeRole", resultOK, ""},
		{"stream", "kinesis:PutRecords", resultOK, ""},
		{"stream", "kinesis:ListShards", resultOK, ""},
		{"no-stream", "kinesis:PutRecords", resultFailed, ""},
		{"no-list", "kinesis:PutRecords", resultOK, ""},
		{"no-list", "kinesis:ListShards", resultMissing, "kinesis:ListShards"},
		{"no-role", "sts:AssumeRole", resultMissing, "sts:AssumeRole"},
		{"no-role", "kinesis", resultNotTried, ""},
		{"queue", "sqs:GetQueueAttributes", resultOK, ""},
		{"queue", "sqs:SendMessage", resultNotTried, ""},
		{"queue-least", "sqs:GetQueueAttributes", resultNotTried, ""},
		{"no-queue", "sqs:GetQueueAttributes", resultFailed, ""},
		{"topic", "sns:GetTopicAttributes", resultOK, ""},
		{"no-topic", "sns:GetTopicAttributes", resultFailed, ""},
		{"bucket", "s3:ListBucket", resultOK, ""},
		{"no-bucket", "s3:ListBucket", resultFailed, ""},
		{"file", "write", resultOK, ""},
		{"no-file", "write", resultFailed, ""},
	} {
		l := lineFor(t, lines, "destination "+want.destination, want.check)
		if l.Result != want.result || l.Missing != want.missing {
			t.Errorf("%s %s: %s %q (%s), want %s %q", want.destination, want.check, l.Result, l.Missing, l.Text, want.result, want.missing)
		}
	}
	if n := a.server.Stats().RecordsIn; n > 0 {
		t.Errorf("%d records were put", n)
	}
}
