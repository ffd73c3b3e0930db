package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/consumers"
	"github.com/shardline/shardline/internal/localaws"
)

func produceMessage(hotel string, n int) string {
	return fmt.Sprintf(`<OTA_HotelAvailNotifRQ xmlns="http://www.opentravel.org/OTA/2003/05" EchoToken="%d"><AvailStatusMessages HotelCode="%s"/></OTA_HotelAvailNotifRQ>`, n, hotel)
}

// produceLocal is a local AWS whose stream's account differs from the
// environment's; producing needs the role.
func produceLocal(t *testing.T) (server *localaws.Server, stream, role string, admin *kinesis.Client) {
	t.Helper()
	server = localaws.New(localaws.Config{Region: "eu-west-1"})
	if err := server.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("local AWS: %v", err)
		}
	})
	own, err := server.AddAccount("333333333333")
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := server.AddAccount("111111111111")
	if err != nil {
		t.Fatal(err)
	}
	if stream, err = server.CreateStream("111111111111", "eu-west-1", "hotels", 2); err != nil {
		t.Fatal(err)
	}
	if role, err = server.AddRole(localaws.Role{Account: "111111111111", Name: "producer", Trust: localaws.Trust{Principals: []string{"333333333333"}, ExternalID: "partner-7"}}); err != nil {
		t.Fatal(err)
	}
	for _, setting := range server.Environment(own) {
		name, value, _ := strings.Cut(setting, "=")
		t.Setenv(name, value)
	}
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	admin = kinesis.NewFromConfig(aws.Config{Region: "eu-west-1", BaseEndpoint: aws.String(server.Endpoint()),
		Credentials: credentials.NewStaticCredentialsProvider(theirs.AccessKeyID, theirs.SecretAccessKey, theirs.SessionToken)})
	return server, stream, role, admin
}

// produced is what stands in the stream, by key, in order.
func produced(t *testing.T, admin *kinesis.Client, stream string) map[string][]string {
	t.Helper()
	got := map[string][]string{}
	for i := range 2 {
		start, err := admin.GetShardIterator(t.Context(), &kinesis.GetShardIteratorInput{StreamARN: aws.String(stream),
			ShardId: aws.String(fmt.Sprintf("shardId-%012d", i)), ShardIteratorType: types.ShardIteratorTypeTrimHorizon})
		if err != nil {
			t.Fatal(err)
		}
		out, err := admin.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: start.ShardIterator})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range out.Records {
			got[*r.PartitionKey] = append(got[*r.PartitionKey], string(r.Data))
		}
	}
	return got
}

// producing runs the command line and returns its exit code and outputs.
func producing(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), append([]string{"produce"}, args...), environment{stdin: strings.NewReader(stdin), stdout: &out, stderr: &errs, getenv: os.Getenv})
	return code, out.String(), errs.String()
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestProducePutsInOrderPerHotel(t *testing.T) {
	_, stream, role, admin := produceLocal(t)
	dir := t.TempDir()
	var want []string
	for i := range 10 {
		writeFile(t, filepath.Join(dir, "many", fmt.Sprintf("%02d.xml", i)), produceMessage("0042", i))
		want = append(want, produceMessage("0042", i))
	}
	single := filepath.Join(dir, "single.xml")
	writeFile(t, single, produceMessage("0042", 99))
	want = append(want, produceMessage("0042", 99))
	code, out, errs := producing(t, produceMessage("0007", 1), "--stream", stream, "--role", role, "--external-id", "partner-7", "--repeat=2", filepath.Join(dir, "many"), single, "-")
	if code != 0 || !strings.HasPrefix(out, "acknowledged 24 of 24 messages") {
		t.Fatalf("exit %d: %s%s", code, out, errs)
	}
	got := produced(t, admin, stream)
	if strings.Join(got["0042"], "\n") != strings.Join(append(want, want...), "\n") {
		t.Errorf("hotel 0042 has\n%s", strings.Join(got["0042"], "\n"))
	}
	if len(got["0007"]) != 2 || len(got) != 2 {
		t.Errorf("keys %v, want 0042 and 0007", got)
	}
}

// TestProduceAggregates: fewer records than messages, and a reader finds each.
func TestProduceAggregates(t *testing.T) {
	server, stream, role, _ := produceLocal(t)
	dir := t.TempDir()
	var want []string
	for i := range 200 {
		writeFile(t, filepath.Join(dir, fmt.Sprintf("%03d.xml", i)), produceMessage("0042", i))
		want = append(want, produceMessage("0042", i))
	}
	code, out, errs := producing(t, "", "--stream", stream, "--role", role, "--external-id", "partner-7", "--aggregate", dir)
	if code != 0 || !strings.HasPrefix(out, "acknowledged 200 of 200 messages") {
		t.Fatalf("exit %d: %s%s", code, out, errs)
	}
	if n := server.Stats().RecordsIn; n > 100 {
		t.Errorf("%d records for 200 messages", n)
	}
	base, _, err := consumers.NewBase(t.Context(), consumers.BaseConfig{})
	if err != nil {
		t.Fatal(err)
	}
	source, err := consumers.NewSource(consumers.Config{Name: "hotels", StreamARN: stream, Base: base, Application: "test",
		Role: &consumers.Role{ARN: role, ExternalID: "partner-7"}})
	if err != nil {
		t.Fatal(err)
	}
	start, stop := refreshing(t.Context())
	start(source.Run)
	defer stop()
	shards, _, err := source.Shards(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, shard := range shards {
		batch, err := source.Reader(shard, checkpoint.TrimHorizon).Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range batch.Records {
			if r.PartitionKey != "0042" || r.Blank {
				t.Errorf("record %s has key %s, blank %v", r.Position, r.PartitionKey, r.Blank)
			}
			got = append(got, string(r.Data))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d messages in the stream, or not in order, want %d", len(got), len(want))
	}
}

func TestProduceRefusesBeforePuttingAnything(t *testing.T) {
	_, stream, role, admin := produceLocal(t)
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "1.xml"), produceMessage("0042", 1))
	writeFile(t, filepath.Join(dir, "2.xml"), "<broken")
	writeFile(t, filepath.Join(dir, "3.xml"), "<OTA_PingRQ/>")
	writeFile(t, filepath.Join(dir, "4.xml"), `<OTA_HotelDescriptiveContentNotifRQ><HotelDescriptiveContents><HotelDescriptiveContent HotelCode="1"/><HotelDescriptiveContent HotelCode="2"/></HotelDescriptiveContents></OTA_HotelDescriptiveContentNotifRQ>`)
	args := []string{"--stream", stream, "--role", role, "--external-id", "partner-7", dir, filepath.Join(dir, "missing.xml")}
	code, _, errs := producing(t, "", args...)
	if code != 1 {
		t.Errorf("exit %d, want 1", code)
	}
	for _, want := range []string{"2.xml: not a message", "3.xml: OTA_PingRQ names no hotel", "4.xml: OTA_HotelDescriptiveContentNotifRQ names 2 hotels", "missing.xml", "--key"} {
		if !strings.Contains(errs, want) {
			t.Errorf("%q does not say %q", errs, want)
		}
	}
	if got := produced(t, admin, stream); len(got) != 0 {
		t.Errorf("put %v, want nothing", got)
	}
	code, out, errs := producing(t, "", append(args[:len(args)-1], "--key", "other")...)
	if code != 0 || !strings.HasPrefix(out, "acknowledged 4 of 4") {
		t.Fatalf("with a key: exit %d: %s%s", code, out, errs)
	}
	if got := produced(t, admin, stream); len(got["0042"]) != 1 || len(got["other"]) != 3 {
		t.Errorf("with a key: put %v, want one of 0042 and three of other", got)
	}
}

func TestProduceSaysWhyNothingWasAcknowledged(t *testing.T) {
	server, stream, role, _ := produceLocal(t)
	message := produceMessage("0042", 1)
	tests := []struct {
		name string
		args []string
		want []string
	}{
		{"wrong external id", []string{"--stream", stream, "--role", role, "--external-id", "partner-8"}, []string{"access denied", role}},
		{"no role", []string{"--stream", stream}, []string{"access denied"}},
		{"no such stream", []string{"--stream", stream + "-x", "--role", role, "--external-id", "partner-7"}, []string{"no such stream", stream + "-x"}},
		{"not an ARN", []string{"--stream", "hotels"}, []string{`stream "hotels"`}},
		{"external id alone", []string{"--stream", stream, "--external-id", "x"}, []string{"--role"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			code, _, errs := producing(t, message, append(test.args, "-")...)
			if code != 1 {
				t.Errorf("exit %d, want 1", code)
			}
			for _, want := range test.want {
				if !strings.Contains(errs, want) {
					t.Errorf("%q does not say %q", errs, want)
				}
			}
			if strings.Contains(errs, "partner-8") {
				t.Errorf("%q prints the external id", errs)
			}
		})
	}
	t.Run("throttled for ever", func(t *testing.T) {
		if _, err := server.AddFault(localaws.Fault{Operation: "kinesis.PutRecords", Kind: localaws.Throttle}); err != nil {
			t.Fatal(err)
		}
		code, out, errs := producing(t, message, "--stream", stream, "--role", role, "--external-id", "partner-7", "--give-up", "1s", "-")
		if code != 1 || !strings.HasPrefix(out, "acknowledged 0 of 1 messages") || !strings.Contains(errs, "nothing was acknowledged for 1s") || !strings.Contains(errs, "Rate exceeded") {
			t.Errorf("exit %d: %s%s", code, out, errs)
		}
	})
}

func TestProduceRepeatsUntilInterrupted(t *testing.T) {
	server, stream, role, _ := produceLocal(t)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	done := make(chan int, 1)
	var out, errs bytes.Buffer
	go func() {
		done <- run(ctx, []string{"produce", "--stream", stream, "--role", role, "--external-id", "partner-7", "--repeat", "--rate", "500", "-"},
			environment{stdin: strings.NewReader(produceMessage("0042", 1)), stdout: &out, stderr: &errs, getenv: os.Getenv})
	}()
	for server.Stats().RecordsIn < 5 { // the message goes again and again
		select {
		case code := <-done:
			t.Fatalf("exit %d before the interrupt: %s%s", code, out.String(), errs.String())
		default:
			runtime.Gosched()
		}
	}
	interrupt()
	if code := <-done; code != 0 {
		t.Fatalf("exit %d: %s%s", code, out.String(), errs.String())
	}
	var acknowledged, put int64
	if _, err := fmt.Sscanf(out.String(), "acknowledged %d of %d messages", &acknowledged, &put); err != nil || acknowledged != put || put < 5 || put != server.Stats().RecordsIn {
		t.Errorf("%q, while the stream took %d: want all that was put", out.String(), server.Stats().RecordsIn)
	}
}
