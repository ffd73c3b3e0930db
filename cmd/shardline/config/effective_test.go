package config_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/shardline/shardline/cmd/shardline/config"
)

// minimal is the least that loads.
const minimal = `application: trial
sources:
  - name: hotels
    stream: arn:aws:kinesis:eu-west-1:111111111111:stream/hotels
    initial_position: latest
    subscribers: [partner]
destinations:
  - name: partner
    type: http
    url: https://partner.example.com/ota
    on_exhausted: hold_destination
`

func none(string) string { return "" }

func load(t *testing.T, text string) *config.Config {
	t.Helper()
	c, err := config.Load("-", none, strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestDefaults is the contract of the defaults, field by field, written out.
func TestDefaults(t *testing.T) {
	delivery := config.Delivery{
		Timeout: 10 * time.Second, Concurrency: 64, OnExhausted: "dead_letter", Compression: "none", Response: "status",
		Retry:   config.Retry{Initial: 200 * time.Millisecond, Max: time.Minute, Multiplier: 2},
		Breaker: config.Breaker{Failures: 10, OpenFor: 15 * time.Second}, BeforeTrim: time.Hour,
	}
	held := delivery
	held.OnExhausted = "hold_destination"
	want := &config.Config{
		Application: "trial",
		Leases:      config.Leases{Store: "dynamodb", Table: "trial", KeyFormat: "multi_stream", Failover: 10 * time.Second, CreateTables: true},
		Sources: []config.Source{{
			Name:            "hotels",
			Stream:          config.StreamARN{Partition: "aws", Region: "eu-west-1", Account: "111111111111", Name: "hotels"},
			InitialPosition: config.InitialPosition{Kind: "latest"},
			Read:            "polling", PollInterval: 500 * time.Millisecond, OutOfRange: "drop", Key: "partition_key",
			Subscribers: config.Subscribers{Names: []string{"partner"}},
		}},
		Pipeline: config.Pipeline{Window: 64 << 20, DrainTimeout: 20 * time.Second},
		Delivery: delivery,
		Destinations: []config.Destination{{
			Name: "partner", Type: "http", URL: "https://partner.example.com/ota", Method: "POST",
			Auth: config.Auth{Type: "none"}, Protocol: "auto", Key: "partition_key", InitialPosition: config.InitialPosition{Kind: "latest"},
			Delivery: held,
		}},
		Listen: config.Listen{Metrics: "127.0.0.1:9464", API: "127.0.0.1:9465"},
		Log:    config.Log{Level: "info", Format: "json"},
	}
	if got := load(t, minimal); !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
}

// TestFull loads every field that this version has.
func TestFull(t *testing.T) {
	c, err := config.Load("testdata/good/full.yaml", environment, nil)
	if err != nil {
		t.Fatal(err)
	}
	folder := "testdata/good"
	equal := func(what string, got, want any) {
		t.Helper()
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", what, got, want)
		}
	}
	equal("top", []string{c.Application, c.WorkerID, c.Region, c.AWS.Profile}, []string{"ota-fanout", "worker-1", "eu-west-1", "shardline"})
	equal("aws.role", *c.AWS.Role, config.Role{ARN: "arn:aws:iam::222222222222:role/base/shardline", SessionName: "ota-fanout", Duration: time.Hour})
	equal("leases", c.Leases, config.Leases{Store: "memory", Table: "leases", KeyFormat: "multi_stream", Failover: 3 * time.Second, MaxLeases: 10})
	equal("tables", []string{c.LeaseTable(), c.StateTable()}, []string{"leases", "ota-fanout-state"})
	equal("pipeline", c.Pipeline, config.Pipeline{Window: config.GiB, DrainTimeout: time.Minute})
	equal("listen", []string{c.Listen.Metrics, c.Listen.API}, []string{"[::1]:0", "[::1]:0"})
	equal("log", c.Log, config.Log{Level: "debug", Format: "console"})

	a, b := c.Sources[0], c.Sources[1]
	equal("stream", a.Stream.String(), "arn:aws-cn:kinesis:cn-north-1:111111111111:stream/hotels")
	equal("role", *a.Role, config.Role{ARN: "arn:aws-cn:iam::111111111111:role/reader", ExternalID: "x:1/2", SessionName: "me@here", Duration: 15 * time.Minute})
	equal("initial position", a.InitialPosition.String(), "2026-03-01T06:00:00+01:00")
	equal("key", []string{a.Key, b.Key}, []string{"hotel_code", "partition_key"})
	equal("subscribers", a.SubscriberNames(c), []string{"plain", "basic", "bearer", "header"})
	equal("subscribers", b.SubscriberNames(c), []string{"basic"})
	equal("poll interval", a.PollInterval, 250*time.Millisecond)
	equal("consumers", []string{a.Consumer(c), b.Consumer(c)}, []string{"hotels_a-consumer.1", ""})
	equal("out of range", []string{a.OutOfRange, b.OutOfRange}, []string{"deliver", "drop"})

	// What a destination names itself goes over delivery, field by field.
	common := config.Delivery{Timeout: 5 * time.Second, Concurrency: 8, OnExhausted: "dead_letter", Compression: "none", Response: "opentravel",
		Retry:   config.Retry{Initial: time.Second, Max: 30 * time.Second, Multiplier: 1.5, MaxAttempts: 20, MaxAge: time.Hour},
		Breaker: config.Breaker{Failures: 20, OpenFor: 30 * time.Second}, RateLimit: 200, KeyRateLimit: 0.5,
		Codes: config.Codes{Retryable: []string{"450", "type:1"}, Permanent: []string{"http:404"}, Hold: []string{"A01"}}}
	equal("plain", c.Destination("plain").Delivery, common)
	own := common
	own.Timeout, own.Concurrency, own.OnExhausted, own.Response = time.Minute, 1, "hold_destination", "status"
	own.Compression = "gzip"
	own.Retry.Max, own.Retry.MaxAttempts = 2*time.Minute, 0
	own.Breaker.Failures, own.RateLimit = 0, 0
	own.Codes = config.Codes{Retryable: []string{"http:409"}, Permanent: []string{}, Hold: []string{}}
	equal("basic", c.Destination("basic").Delivery, own)
	equal("basic", c.Destination("basic").Method, "PUT")
	equal("initial position", c.Destination("basic").InitialPosition.Kind, "trim_horizon")
	equal("url", c.Destination("plain").URL, "http://127.0.0.1:8443/{source}/{type}?k={key}&n={sequence_number}")
	equal("nobody", c.Destination("nobody"), (*config.Destination)(nil))

	secret := func(s config.Secret) string {
		t.Helper()
		value, err := s.Value()
		if err != nil {
			t.Error(err)
		}
		return value
	}
	equal("password", secret(c.Destination("basic").Auth.Password), "hunter4")
	equal("token", secret(c.Destination("bearer").Auth.Token), "from a file")
	equal("value", secret(c.Destination("header").Auth.Value), "literal $ ${PORT}")
	equal("header", secret(c.Destination("header").Headers["X-Partner"]), "acme-8443")
	equal("header", secret(c.Destination("header").Headers["X-Number"]), "0123")

	managed := c.Destination("bearer").Headers["X-Key"]
	id, field, ok := managed.SecretsManager()
	equal("managed", []any{id, field, ok}, []any{"partners/acme", "key", true})
	if _, err := managed.Value(); err == nil || managed.Refused() != nil {
		t.Errorf("a secret that nobody has asked for: %v", err)
	}
	managed.Bind(func() (string, error) { return "from afar", nil }, func() bool { return true })
	equal("managed", secret(c.Destination("bearer").Headers["X-Key"]), "from afar")
	equal("refused", managed.Refused()(), true)
	equal("secrets", len(c.Secrets()), 7)

	equal("queue", c.DeadLetterQueue("failed").Path, filepath.Join(folder, "failed.jsonl"))
	equal("queue", c.DeadLetterQueue("elsewhere").Path, "/var/lib/shardline/failed.jsonl")
	equal("queue's region", c.DeadLetterQueue("queue").QueueRegion(c), "eu-central-1")
	equal("queue's session", c.DeadLetterQueue("queue").Role.SessionName, c.Application)
	equal("overflow's region", c.DeadLetterQueue("queue").OverflowRegion(c), "eu-west-3")
	equal("overflow's region", c.DeadLetterQueue("stream").OverflowRegion(c), "eu-west-1")
}

// TestSources is the three places of a configuration's text, and the name
// that problems give them.
func TestSources(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "c.yaml")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	bad := strings.Replace(minimal, "latest", "lates", 1)
	for _, c := range []struct {
		path, name string
		give       func(text string) (env func(string) string, stdin string)
	}{
		{file, file, func(text string) (func(string) string, string) { write(text); return none, "" }},
		{"-", "<stdin>", func(text string) (func(string) string, string) { return none, text }},
		{"", "SHARDLINE_CONFIG", func(text string) (func(string) string, string) {
			return func(name string) string {
				if name == config.Variable {
					return text
				}
				return ""
			}, ""
		}},
	} {
		env, stdin := c.give(minimal)
		if _, err := config.Load(c.path, env, strings.NewReader(stdin)); err != nil {
			t.Errorf("%q: %v", c.path, err)
		}
		env, stdin = c.give(bad)
		_, err := config.Load(c.path, env, strings.NewReader(stdin))
		var problems config.Problems
		if !errors.As(err, &problems) || len(problems) != 1 {
			t.Fatalf("%q: %v", c.path, err)
		}
		p := problems[0]
		if p.File != c.name || p.Line != 5 || p.Column != 23 || p.Path != "sources[0].initial_position" {
			t.Errorf("%q: %+v", c.path, p)
		}
	}
	huge := strings.NewReader(strings.Repeat("# x\n", 1<<19))
	if _, err := config.Load("-", none, huge); err == nil || err.Error() != "<stdin>: the file is longer than 1048576 bytes" {
		t.Errorf("a text without end: %v", err)
	}
	if huge.Len() == 0 {
		t.Error("a text without end is read to its end")
	}
	for _, path := range []string{"", folder, filepath.Join(folder, "none.yaml")} {
		var problems config.Problems
		if _, err := config.Load(path, none, nil); !errors.As(err, &problems) || len(problems) != 1 {
			t.Errorf("%q: %v", path, err)
		}
	}
}

func TestExpansion(t *testing.T) {
	env := func(name string) string {
		return map[string]string{"A": "a", "NESTED": "${A}", "_b2": "b"}[name]
	}
	for _, c := range []struct{ value, want string }{
		{"plain", "plain"},
		{"${A}", "a"},
		{"x${A}y${_b2}z", "xaybz"},
		{"${A:-b}", "a"},
		{"${UNSET:-b}", "b"},
		{"'${UNSET:-}'", ""},
		{"${UNSET:-a:-b}", "a:-b"},
		{"${UNSET:-$A}", "$A"},
		{"${NESTED}", "${A}"}, // once
		{"$A", "$A"},
		{"$${A}", "${A}"},
		{"$$${A}", "$${A}"},
		{"'a$'", "a$"},
		{`"${A}\t"`, "a\t"},
	} {
		text := minimal + "    headers:\n      X: " + c.value + "\n"
		loaded, err := config.Load("-", env, strings.NewReader(text))
		if err != nil {
			t.Errorf("%s: %v", c.value, err)
			continue
		}
		if got, err := loaded.Destinations[0].Headers["X"].Value(); err != nil || got != c.want {
			t.Errorf("%s: got %q, %v; want %q", c.value, got, err, c.want)
		}
	}
	// Not in keys.
	_, err := config.Load("-", env, strings.NewReader("${A}: b\n"+minimal))
	if err == nil || !strings.Contains(err.Error(), `<stdin>:1:1: "${A}": unknown field`) {
		t.Errorf("a key: %v", err)
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]config.Size{
		"0": 0, "1": 1, "100B": 100, "512KiB": 512 << 10, "64MiB": 64 << 20, "3GiB": 3 << 30, "9223372036854775807": 1<<63 - 1,
	} {
		got, err := config.ParseSize(text)
		if err != nil || got != want {
			t.Errorf("%s: %d, %v", text, got, err)
		}
		if again, err := config.ParseSize(got.String()); err != nil || again != got {
			t.Errorf("%s prints as %s: %d, %v", text, got, again, err)
		}
	}
	for _, text := range []string{"", "MiB", "-1", "+1", "1.5MiB", "1MB", "1mib", "1 MiB", "9223372036854775808", "8589934592GiB"} {
		if got, err := config.ParseSize(text); err == nil {
			t.Errorf("%q is %d", text, got)
		}
	}
	if got := fmt.Sprint(64*config.MiB, config.Size(1500), config.Size(0)); got != "64MiB 1500B 0" {
		t.Error(got)
	}
}
