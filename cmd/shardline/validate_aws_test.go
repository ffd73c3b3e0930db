package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/internal/localaws"
)

// The permissions of deploy/iam, as far as a worker needs them.
var (
	readerActions = []string{"kinesis:DescribeStreamSummary", "kinesis:ListShards", "kinesis:GetShardIterator", "kinesis:GetRecords", "kinesis:DescribeStreamConsumer"}
	workerActions = []string{"sts:AssumeRole", "dynamodb:DescribeTable", "dynamodb:Scan", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"}
)

// awsTrial is a local AWS with two streams, the roles to read them, a worker's
// role and the tables, and what a test changes in that and in the
// configuration.
type awsTrial struct {
	without   string // neither role has it
	noTables  bool
	create    string // leases.create_tables
	trust     localaws.Trust
	edit      func(config string) string
	tables    func(t *testing.T, client *dynamodb.Client)
	secrets   func(t *testing.T)
	consumer  bool // source a's stream consumer exists
	bare      bool // no keys in the environment
	text      bool // not --json
	server    *localaws.Server
	client    *dynamodb.Client
	streams   [2]string
	readers   [2]string
	worker    string
	directory string
}

// run validates with --aws.
func (a *awsTrial) run(t *testing.T) (code int, stdout string, lines []triedLine) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	a.server = localaws.New(localaws.Config{})
	must(a.server.Listen("127.0.0.1:0"))
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- a.server.Serve(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Errorf("local AWS: %v", err)
		}
	})
	own, err := a.server.AddAccount(tablesAccount)
	must(err)
	less := func(actions []string) []localaws.Permission {
		return []localaws.Permission{{Actions: slices.DeleteFunc(slices.Clone(actions), func(action string) bool { return action == a.without })}}
	}
	a.worker, err = a.server.AddRole(localaws.Role{Account: tablesAccount, Name: "worker", Trust: localaws.Trust{Principals: []string{tablesAccount}},
		Permissions: append(less(workerActions), localaws.Permission{Actions: []string{"secretsmanager:GetSecretValue"}, Resources: []string{"*:secret:good*", "away"}})})
	must(err)
	for i, account := range []string{hotelsAccount, resortsAccount} {
		keys, err := a.server.AddAccount(account)
		must(err)
		a.streams[i], err = a.server.CreateStream(account, testRegion, "hotels", 2)
		must(err)
		if a.consumer && i == 0 {
			_, err := kinesis.New(kinesis.Options{Region: testRegion, BaseEndpoint: aws.String(a.server.Endpoint()),
				Credentials: credentials.NewStaticCredentialsProvider(keys.AccessKeyID, keys.SecretAccessKey, "")}).RegisterStreamConsumer(t.Context(),
				&kinesis.RegisterStreamConsumerInput{StreamARN: &a.streams[i], ConsumerName: aws.String(application)})
			must(err)
		}
		trust := a.trust
		if trust.Principals == nil {
			trust.Principals = []string{a.worker}
		}
		actions := less(readerActions)
		if i == 1 { // one whose role has everything
			trust = localaws.Trust{Principals: []string{a.worker}}
			actions = []localaws.Permission{{Actions: readerActions}}
		}
		a.readers[i], err = a.server.AddRole(localaws.Role{Account: account, Name: "reader", Trust: trust, Permissions: actions})
		must(err)
	}
	a.client = dynamodb.New(dynamodb.Options{Region: testRegion, BaseEndpoint: aws.String(a.server.Endpoint()),
		Credentials: credentials.NewStaticCredentialsProvider(own.AccessKeyID, own.SecretAccessKey, "")})
	if !a.noTables {
		must(checkpoint.NewDynamoDB(checkpoint.DynamoDBConfig{Client: a.client, Table: application, StateTable: application + "-state",
			Format: checkpoint.MultiStream, Create: true}).Prepare(t.Context()))
	}
	if a.tables != nil {
		a.tables(t, a.client)
	}
	if a.secrets != nil {
		a.secrets(t)
	}
	a.directory = t.TempDir()
	if a.create == "" {
		a.create = "true"
	}
	config := fmt.Sprintf(`application: %s
region: %s
aws: {role: {arn: %q}}
leases: {create_tables: %s}
sources:
  - {name: a, stream: %q, role: {arn: %q}, read: enhanced_fan_out, initial_position: latest, subscribers: [partner]}
  - {name: b, stream: %q, role: {arn: %q}, initial_position: latest, subscribers: [partner]}
destinations:
  - {name: partner, type: http, url: "https://partner.example.com/ota", dead_letters: failed}
dead_letter_queues:
  - {name: failed, type: file, path: %q}
`, application, testRegion, a.worker, a.create, a.streams[0], a.readers[0], a.streams[1], a.readers[1], filepath.Join(a.directory, "failed.jsonl"))
	if a.edit != nil {
		config = a.edit(config)
	}
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"} {
		t.Setenv(name, "")
	}
	none := filepath.Join(a.directory, "none")
	t.Setenv("AWS_CONFIG_FILE", none)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", none)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	for _, variable := range a.server.Environment(own) {
		name, value, _ := strings.Cut(variable, "=")
		if !a.bare || name == "AWS_ENDPOINT_URL" {
			t.Setenv(name, value)
		}
	}
	args := []string{"validate", "--config", "-", "--aws"}
	if !a.text {
		args = append(args, "--json")
	}
	var out, problems bytes.Buffer
	code = run(t.Context(), args, environment{stdin: strings.NewReader(config), stdout: &out, stderr: &problems, getenv: func(string) string { return "" }})
	if problems.Len() > 0 {
		t.Errorf("stderr: %s", problems.String())
	}
	if !a.text {
		for decoder := json.NewDecoder(bytes.NewReader(out.Bytes())); decoder.More(); {
			var l triedLine
			must(decoder.Decode(&l))
			lines = append(lines, l)
		}
	}
	return code, out.String(), lines
}

// missing are the permissions that the lines name, and the lines that are not
// good for another reason.
func missing(lines []triedLine) (permissions, failed []string) {
	found := map[string]bool{}
	for _, l := range lines {
		if l.Missing != "" {
			found[l.Missing] = true
		} else if !l.good() {
			failed = append(failed, l.Thing+" "+l.Check)
		}
	}
	return slices.Sorted(maps.Keys(found)), failed
}

// TestValidateAWSReadsSecrets names what is wrong with each secret.
func TestValidateAWSReadsSecrets(t *testing.T) {
	a := awsTrial{edit: func(config string) string {
		return strings.Replace(config, "dead_letters: failed}", `dead_letters: failed, headers: {
  A: {secretsmanager: "good#field"}, B: {secretsmanager: "good#other"}, C: {secretsmanager: denied}, D: {secretsmanager: away}, E: {secretsmanager: good}}}`, 1)
	}}
	a.secrets = func(t *testing.T) {
		for name, text := range map[string]string{"good": `{"field": "hunter2"}`, "denied": "hunter2"} {
			if _, err := a.server.SetSecret(tablesAccount, testRegion, name, text); err != nil {
				t.Fatal(err)
			}
		}
	}
	code, out, lines := a.run(t)
	if code != 1 || strings.Contains(out, "hunter2") {
		t.Errorf("exit code %d: %s", code, out)
	}
	var got []string
	for _, l := range lines {
		if strings.HasPrefix(l.Thing, "secret ") {
			got = append(got, l.Of+" "+l.Result+" "+l.Missing)
		}
	}
	want := []string{"away failed ", "denied missing secretsmanager:GetSecretValue", "good ok ", "good ok ", "good failed "}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q: %+v", got, want, lines)
	}
}

func lineFor(t *testing.T, lines []triedLine, thing, check string) triedLine {
	t.Helper()
	for _, l := range lines {
		if l.Thing == thing && l.Check == check {
			return l
		}
	}
	t.Fatalf("no line for %s %s in %+v", thing, check, lines)
	return triedLine{}
}

func TestValidateAWSNamesEachMissingPermission(t *testing.T) {
	for _, action := range append([]string{""}, slices.Concat(readerActions, workerActions)...) {
		t.Run(action, func(t *testing.T) {
			a := awsTrial{without: action}
			code, _, lines := a.run(t)
			got, failed := missing(lines)
			want := []string{}
			if action != "" {
				want = []string{action}
			}
			if !slices.Equal(got, want) || len(failed) > 0 || (code == 1) != (action != "") {
				t.Errorf("exit code %d, missing %v, failed %v; want %v missing: %+v", code, got, failed, want, lines)
			}
			for _, l := range lines {
				if l.Result == resultMissing && !strings.Contains(l.Do, l.Of) {
					t.Errorf("%s %s: %q does not say on what to allow it: %s", l.Thing, l.Check, l.Do, l.Of)
				}
				if l.Thing == "source b" && !l.good() && action != "sts:AssumeRole" {
					t.Errorf("the source that is well: %+v", l)
				}
			}
			// It left nothing behind.
			for _, table := range []string{application, application + "-state"} {
				out, err := a.client.Scan(t.Context(), &dynamodb.ScanInput{TableName: &table})
				if err != nil || len(out.Items) > 0 {
					t.Errorf("table %s has %d items, %v", table, len(out.Items), err)
				}
			}
			for _, call := range []string{"kinesis.RegisterStreamConsumer", "kinesis.SubscribeToShard"} {
				if n := a.server.Stats().Calls[call]; n > 0 {
					t.Errorf("%d calls of %s", n, call)
				}
			}
			if _, err := os.Stat(filepath.Join(a.directory, "failed.jsonl")); err == nil {
				t.Error("the dead letter file was made")
			}
		})
	}
}

func TestValidateAWS(t *testing.T) {
	replace := func(from, to string) func(string) string {
		return func(config string) string { return strings.ReplaceAll(config, from, to) }
	}
	for _, c := range []struct {
		name         string
		trial        awsTrial
		code         int
		thing, check string
		result, text string
		do           string
		others       int // how many further lines are not good
	}{
		{name: "retention", thing: "source a", check: "kinesis:DescribeStreamSummary", result: resultOK, text: "ACTIVE, retention 24h, open shards: 2"},
		{name: "ages", thing: "source a", check: "retention", result: resultOK, text: "24h; long enough for 1 destination"},
		{name: "an age beyond the retention", trial: awsTrial{edit: replace("dead_letters: failed}", "dead_letters: failed, retry: {max_age: 30h}}")},
			thing: "destination partner", check: "retention", result: resultWarning, text: "retry.max_age (30h) is never reached", do: "set retry.max_age below 23h"},
		{name: "an age beyond the retention, and nothing saves", trial: awsTrial{edit: replace("dead_letters: failed}", "dead_letters: failed, before_trim: 0, retry: {max_age: 30h}}")}, code: 1,
			thing: "destination partner", check: "retention", result: resultFailed, text: "nothing has saved it", others: 1},
		{name: "who", thing: "own credentials", check: "sts:GetCallerIdentity", result: resultOK, text: "arn:aws:iam::" + tablesAccount + ":user/local"},
		{name: "a consumer is not registered", thing: "source a", check: "kinesis:RegisterStreamConsumer", result: resultNotTried, text: "when it starts"},
		{name: "a consumer that exists", trial: awsTrial{consumer: true}, thing: "source a", check: "kinesis:DescribeStreamConsumer", result: resultOK, text: "consumer fanout is ACTIVE"},
		{name: "a consumer is not subscribed to", thing: "source a", check: "kinesis:SubscribeToShard", result: resultNotTried},
		{name: "untrusted", trial: awsTrial{trust: localaws.Trust{Principals: []string{hotelsAccount}}}, code: 1,
			thing: "source a", check: "sts:AssumeRole", result: resultMissing, text: "AccessDenied", do: "trust policy of arn:aws:iam::" + hotelsAccount + ":role/reader allow it to arn:aws:iam::" + tablesAccount + ":role/worker and require no sts:ExternalId"},
		{name: "external id", trial: awsTrial{trust: localaws.Trust{ExternalID: "partner-7"}, edit: replace("reader\"}, read", "reader\", external_id: partner-8}, read")}, code: 1,
			thing: "source a", check: "sts:AssumeRole", result: resultMissing, text: "AccessDenied", do: "the sts:ExternalId that role.external_id has"},
		{name: "the base role is refused", trial: awsTrial{edit: replace("role/worker", "role/workers")}, code: 1,
			thing: "base role", check: "sts:AssumeRole", result: resultMissing, do: "trust policy of arn:aws:iam::" + tablesAccount + ":role/workers"},
		{name: "duration", trial: awsTrial{edit: func(config string) string {
			// Without aws.role nobody can tell that the environment's keys are no
			// role's; the role itself allows one hour.
			config = strings.Replace(config, "reader\"}, read", "reader\", duration: 2h}, read", 1)
			return config[:strings.Index(config, "aws:")] + config[strings.Index(config, "leases:"):]
		}, trust: localaws.Trust{Principals: []string{tablesAccount}}}, code: 1,
			thing: "source a", check: "sts:AssumeRole", result: resultFailed, text: "role.duration is 2h0m0s", others: 1},
		{name: "no such stream", trial: awsTrial{edit: replace(hotelsAccount+":stream/hotels", hotelsAccount+":stream/motels")}, code: 1,
			thing: "source a", check: "kinesis:DescribeStreamSummary", result: resultFailed, text: "no such stream"},
		{name: "tables to be created", trial: awsTrial{noTables: true}, thing: "table " + application + "-state", check: "dynamodb:CreateTable", result: resultNotTried, text: "creates the table"},
		{name: "tables that nobody creates", trial: awsTrial{noTables: true, create: "false"}, code: 1,
			thing: "table " + application, check: "dynamodb:DescribeTable", result: resultFailed, text: "create it with the hash key leaseKey", others: 1},
		{name: "a table of another shape", trial: awsTrial{noTables: true, tables: func(t *testing.T, client *dynamodb.Client) { makeTable(t, client, application, "ShardID") }}, code: 1,
			thing: "table " + application, check: "dynamodb:DescribeTable", result: resultFailed, text: "vmware-go-kcl"},
		{name: "keys of another format", trial: awsTrial{tables: func(t *testing.T, client *dynamodb.Client) {
			table := application
			if _, err := client.PutItem(context.Background(), &dynamodb.PutItemInput{TableName: &table, Item: map[string]types.AttributeValue{
				"leaseKey": &types.AttributeValueMemberS{Value: "shardId-000000000000"}}}); err != nil {
				t.Fatal(err)
			}
		}}, code: 1, thing: "table " + application, check: "dynamodb:Scan", result: resultFailed, text: "leases.key_format"},
		{name: "a lease that workers refuse", trial: awsTrial{tables: putLease("checkpoint", "nowhere")}, code: 1,
			thing: "table " + application, check: "dynamodb:Scan", result: resultFailed, text: "\"nowhere\" is neither a sequence number nor"},
		{name: "a roster that is gone", trial: awsTrial{tables: putLease("roster", "00ff")}, code: 1,
			thing: "table " + application, check: "dynamodb:Scan", result: resultFailed, text: "roster 00ff is not in table"},
		{name: "the state table is gone", trial: awsTrial{noTables: true, tables: func(t *testing.T, client *dynamodb.Client) {
			makeTable(t, client, application, "leaseKey")
			putLease("roster", "00ff")(t, client)
		}}, code: 1, thing: "table " + application, check: "dynamodb:Scan", result: resultFailed, text: "-state does not exist, and lease"},
		{name: "no credentials", trial: awsTrial{bare: true}, code: 1,
			thing: "own credentials", check: "sts:GetCallerIdentity", result: resultFailed, text: "default chain"},
		{name: "no credentials: nothing else is tried", trial: awsTrial{bare: true}, code: 1, thing: "source b", check: "stream", result: resultNotTried, text: "own credentials", others: 1},
		{name: "dead letters", trial: awsTrial{edit: replace("/failed.jsonl", "/no/such/failed.jsonl")}, code: 1,
			thing: "dead letters failed", check: "write", result: resultFailed, text: "no such file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out, lines := c.trial.run(t)
			if code != c.code {
				t.Errorf("exit code %d, want %d: %s", code, c.code, out)
			}
			l := lineFor(t, lines, c.thing, c.check)
			if l.Result != c.result || !strings.Contains(l.Text, c.text) || !strings.Contains(l.Do, c.do) {
				t.Errorf("%+v; want %s, %q, %q", l, c.result, c.text, c.do)
			}
			others := 0
			for _, other := range lines {
				if !other.good() && other != l {
					others++
				}
			}
			if others != c.others {
				t.Errorf("%d other lines are not good, want %d: %s", others, c.others, out)
			}
		})
	}
}

// putLease puts a lease into the table, with one attribute as given.
func putLease(attribute, value string) func(*testing.T, *dynamodb.Client) {
	return func(t *testing.T, client *dynamodb.Client) {
		t.Helper()
		table := application
		it := map[string]types.AttributeValue{
			"leaseKey":                     &types.AttributeValueMemberS{Value: hotelsAccount + ":hotels:1700000000:shardId-000000000000"},
			"leaseCounter":                 &types.AttributeValueMemberN{Value: "1"},
			"ownerSwitchesSinceCheckpoint": &types.AttributeValueMemberN{Value: "0"},
			"checkpoint":                   &types.AttributeValueMemberS{Value: "TRIM_HORIZON"},
			"checkpointSubSequenceNumber":  &types.AttributeValueMemberN{Value: "0"},
			attribute:                      &types.AttributeValueMemberS{Value: value},
		}
		if _, err := client.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &table, Item: it}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestValidateAWSPrintsATable(t *testing.T) {
	a := awsTrial{text: true, without: "kinesis:GetRecords"}
	code, out, _ := a.run(t)
	if code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	for _, want := range []string{"<stdin>: ok: 2 sources, 1 destination\n", "THING ", "\nsource a ", "kinesis:GetRecords              missing    kinesis:GetRecords  see below\n",
		"\nsource a: kinesis:GetRecords: ", "\n  missing kinesis:GetRecords: allow it on " + a.streams[0] + " in the policy of " + a.readers[0] + "\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
}

func makeTable(t *testing.T, client *dynamodb.Client, table, key string) {
	t.Helper()
	if _, err := client.CreateTable(context.Background(), &dynamodb.CreateTableInput{TableName: &table, BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: &key, AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: &key, KeyType: types.KeyTypeHash}}}); err != nil {
		t.Fatal(err)
	}
}

// Dead letter queues are looked at with their own roles; a right that only
// looking needs is none that a worker lacks.
func TestValidateAWSLetters(t *testing.T) {
	a := &awsTrial{edit: func(config string) string {
		return config + `  - {name: queue, type: sqs, queue: "https://sqs.eu-west-1.amazonaws.com/` + hotelsAccount + `/failed", s3: {bucket: letters}}
  - {name: gone, type: sqs, queue: "https://sqs.eu-west-1.amazonaws.com/` + tablesAccount + `/none.fifo"}
  - {name: objects, type: s3, bucket: letters, role: {arn: "arn:aws:iam::` + tablesAccount + `:role/nobody"}}
`
	}}
	a.secrets = func(t *testing.T) {
		arn, err := a.server.CreateQueue(hotelsAccount, testRegion, "failed", nil)
		if err == nil {
			err = a.server.AllowAccount(arn, tablesAccount)
		}
		if err == nil {
			_, err = a.server.CreateBucket(tablesAccount, testRegion, "letters")
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	code, _, lines := a.run(t)
	if code != 1 {
		t.Errorf("exit code %d, want 1: a role is missing", code)
	}
	got := map[string]string{}
	for _, l := range lines {
		if strings.HasPrefix(l.Thing, "dead letters ") {
			got[l.Thing+" "+l.Check+" "+l.Of] = l.Result + " " + l.Missing
		}
	}
	want := map[string]string{
		"dead letters failed write " + filepath.Join(a.directory, "failed.jsonl"):                                      "ok ",
		"dead letters queue sqs:GetQueueAttributes https://sqs.eu-west-1.amazonaws.com/" + hotelsAccount + "/failed":   "not_tried ",
		"dead letters queue s3:ListBucket arn:aws:s3:::letters":                                                        "not_tried ",
		"dead letters gone sqs:GetQueueAttributes https://sqs.eu-west-1.amazonaws.com/" + tablesAccount + "/none.fifo": "not_tried ",
		"dead letters objects sts:AssumeRole arn:aws:iam::" + tablesAccount + ":role/nobody":                           "missing sts:AssumeRole",
	}
	if !maps.Equal(got, want) {
		t.Errorf("lines %v, want %v", got, want)
	}
}
