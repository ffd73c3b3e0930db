package deploy_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// text is a JSON string or a list of them, as IAM takes either.
type text []string

func (t *text) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*t = text{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(t))
}

type policy struct {
	Version   string
	Statement []struct {
		Sid       string
		Effect    string
		Principal map[string]text
		Action    text
		Resource  text
		Condition map[string]map[string]text
	}
}

// knownActions are all that the policies may allow, by the kind of resource
// that each takes. Whatever Shardline calls beyond them has to be added here
// and to a policy.
var knownActions = map[string]string{
	"sts:AssumeRole":                 "iam",
	"kinesis:DescribeStreamSummary":  "kinesis",
	"kinesis:ListShards":             "kinesis",
	"kinesis:GetShardIterator":       "kinesis",
	"kinesis:GetRecords":             "kinesis",
	"kinesis:PutRecords":             "kinesis",
	"kinesis:RegisterStreamConsumer": "kinesis",
	"kinesis:DescribeStreamConsumer": "kinesis",
	"kinesis:SubscribeToShard":       "kinesis",
	"kms:Decrypt":                    "kms",
	"dynamodb:CreateTable":           "dynamodb",
	"dynamodb:DescribeTable":         "dynamodb",
	"dynamodb:GetItem":               "dynamodb",
	"dynamodb:PutItem":               "dynamodb",
	"dynamodb:UpdateItem":            "dynamodb",
	"dynamodb:DeleteItem":            "dynamodb",
	"dynamodb:Scan":                  "dynamodb",
	"secretsmanager:GetSecretValue":  "secretsmanager",
	"sqs:SendMessage":                "sqs",
	"sns:Publish":                    "sns",
	"s3:PutObject":                   "s3",
	"sqs:ReceiveMessage":             "sqs",
	"sqs:DeleteMessage":              "sqs",
	"sqs:ChangeMessageVisibility":    "sqs",
	"sqs:GetQueueAttributes":         "sqs",
	"s3:GetObject":                   "s3",
	"s3:DeleteObject":                "s3",
	"s3:ListBucket":                  "s3",
}

var account = regexp.MustCompile(`\b\d{12}\b`)

func TestPolicies(t *testing.T) {
	files, err := filepath.Glob("iam/*.json")
	if err != nil || len(files) < 6 {
		t.Fatalf("policies found: %v (%v)", files, err)
	}
	readme, err := os.ReadFile("iam/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(readme), "`"+name+"`") {
				t.Error("iam/README.md does not say what it is for")
			}
			for _, number := range account.FindAllString(string(data), -1) {
				if number != "111111111111" && number != "999999999999" {
					t.Errorf("account %s is no placeholder", number)
				}
			}
			var p policy
			decoder := json.NewDecoder(bytes.NewReader(data))
			decoder.DisallowUnknownFields()
			if err := decoder.Decode(&p); err != nil {
				t.Fatal(err)
			}
			checkPolicy(t, p, strings.Contains(name, "trust"))
		})
	}
}

func checkPolicy(t *testing.T, p policy, trust bool) {
	t.Helper()
	if p.Version != "2012-10-17" || len(p.Statement) == 0 {
		t.Errorf("Version %q with %d statements", p.Version, len(p.Statement))
	}
	for _, s := range p.Statement {
		if s.Effect != "Allow" || s.Sid == "" || len(s.Action) == 0 {
			t.Errorf("statement %q: Effect %q, actions %v", s.Sid, s.Effect, s.Action)
		}
		if trust != (len(s.Principal) > 0) || trust == (len(s.Resource) > 0) {
			t.Errorf("statement %q: principal %v, resource %v", s.Sid, s.Principal, s.Resource)
		}
		// Another account's principal is a single role, and has to know the external id.
		if who := s.Principal["AWS"]; len(who) > 0 {
			if s.Condition["StringEquals"]["sts:ExternalId"] == nil {
				t.Errorf("statement %q trusts %v without an external id", s.Sid, who)
			}
			for _, w := range who {
				if !strings.Contains(w, ":role/") {
					t.Errorf("statement %q trusts %s, which is not one role", s.Sid, w)
				}
			}
		}
		for _, action := range s.Action {
			kind, known := knownActions[action]
			if !known {
				t.Errorf("statement %q: unknown action %s", s.Sid, action)
			}
			for _, resource := range s.Resource {
				// A consumer's ARN ends with the time of its registration.
				exact := strings.TrimSuffix(resource, "/consumer/ota-fanout:*")
				if kind == "s3" && action != "s3:ListBucket" { // on objects, below a prefix
					exact = strings.TrimSuffix(exact, "/*")
				}
				if !strings.HasPrefix(resource, "arn:aws:"+kind+":") || strings.Contains(exact, "*") {
					t.Errorf("statement %q: %s on %s", s.Sid, action, resource)
				}
			}
		}
	}
}

// call is the input of one operation of a service, as Go code makes it.
var call = regexp.MustCompile(`\b(dynamodb|kinesis|secretsmanager|sts)\.([A-Z][A-Za-z]*)Input\b`)

// called returns the operations that the code of a folder asks for, those of
// its tests apart.
func called(t *testing.T, folder string) (actions []string) {
	t.Helper()
	files, err := filepath.Glob("../" + folder + "/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %d files (%v)", folder, len(files), err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range call.FindAllSubmatch(data, -1) {
			actions = append(actions, string(m[1])+":"+string(m[2]))
		}
	}
	slices.Sort(actions)
	return slices.Compact(actions)
}

func allowed(t *testing.T, files ...string) (actions []string) {
	t.Helper()
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var p policy
		if err := json.Unmarshal(data, &p); err != nil {
			t.Fatal(err)
		}
		for _, s := range p.Statement {
			actions = append(actions, s.Action...)
		}
	}
	slices.Sort(actions)
	return slices.Compact(actions)
}

// The policies allow what the code calls: nothing is missing at the customer's,
// and nothing is granted for nothing.
func TestPoliciesAllowWhatTheCodeCalls(t *testing.T) {
	calls := slices.Concat(called(t, "checkpoint"), called(t, "consumers"), called(t, "internal/secrets"))
	calls = slices.DeleteFunc(calls, func(c string) bool { return c == "sts:GetCallerIdentity" }) // needs no permission
	slices.Sort(calls)
	grants := allowed(t, "iam/worker-policy.json", "iam/reader-policy.json", "iam/reader-policy-fan-out.json", "iam/producer-policy.json", "iam/secrets-policy.json")
	if !slices.Equal(calls, grants) {
		t.Errorf("the code calls\n%v\nand the policies allow\n%v", calls, grants)
	}
}

// The reader's role cannot write, and the producer's cannot read.
func TestReaderAndProducerAreApart(t *testing.T) {
	reader := []string{"kinesis:DescribeStreamSummary", "kinesis:GetRecords", "kinesis:GetShardIterator", "kinesis:ListShards"}
	if got := allowed(t, "iam/reader-policy.json"); !slices.Equal(got, reader) {
		t.Errorf("the reader may %v, want %v", got, reader)
	}
	subscriber := []string{"kinesis:DescribeStreamConsumer", "kinesis:RegisterStreamConsumer", "kinesis:SubscribeToShard"}
	if got := allowed(t, "iam/reader-policy-fan-out.json"); !slices.Equal(got, subscriber) {
		t.Errorf("the reader by enhanced fan-out may also %v, want %v", got, subscriber)
	}
	if got := allowed(t, "iam/producer-policy.json"); !slices.Equal(got, []string{"kinesis:PutRecords"}) {
		t.Errorf("the producer may %v", got)
	}
}
