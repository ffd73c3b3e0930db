package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/consumers"
	"github.com/shardline/shardline/internal/localaws"
)

type item = map[string]types.AttributeValue

// leaseTrial is a local AWS with a stream of another account, and the tables
// of the application "fanout" for the commands to look at.
type leaseTrial struct {
	t      *testing.T
	aws    *localaws.Server
	tables *dynamodb.Client
	base   aws.Config
	stream string // ARN
	role   string // that may read it
	id     string // account:stream:epoch
	store  *checkpoint.DynamoDB
	config string // file
}

func newLeaseTrial(t *testing.T, shards int) *leaseTrial {
	t.Helper()
	l := &leaseTrial{t: t, aws: localaws.New(localaws.Config{Region: testRegion})}
	if err := l.aws.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- l.aws.Serve(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Errorf("local AWS: %v", err)
		}
	})
	own, err := l.aws.AddAccount(tablesAccount)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.aws.AddAccount(hotelsAccount); err != nil {
		t.Fatal(err)
	}
	if l.stream, err = l.aws.CreateStream(hotelsAccount, testRegion, "hotels", shards); err != nil {
		t.Fatal(err)
	}
	l.role, err = l.aws.AddRole(localaws.Role{Account: hotelsAccount, Name: "reader", Trust: localaws.Trust{Principals: []string{tablesAccount}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, setting := range l.aws.Environment(own) {
		name, value, _ := strings.Cut(setting, "=")
		t.Setenv(name, value)
	}
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	l.base = aws.Config{Region: testRegion, BaseEndpoint: aws.String(l.aws.Endpoint()),
		Credentials: credentials.NewStaticCredentialsProvider(own.AccessKeyID, own.SecretAccessKey, own.SessionToken)}
	l.tables = dynamodb.NewFromConfig(l.base)
	l.store = checkpoint.NewDynamoDB(checkpoint.DynamoDBConfig{Client: l.tables, Table: application, StateTable: application + "-state", Format: checkpoint.MultiStream, Create: true})
	l.config = filepath.Join(t.TempDir(), "config.yaml")
	l.configure("failover: 1s", fmt.Sprintf(`{name: hotels-a, stream: %q, role: {arn: %q}, initial_position: latest, subscribers: all_destinations}`, l.stream, l.role))
	return l
}

// configure writes the configuration anew.
func (l *leaseTrial) configure(leases, source string) {
	l.t.Helper()
	text := fmt.Sprintf(`application: %s
region: %s
leases: {%s}
sources:
  - %s
destinations:
  - {name: partner, type: http, url: "https://partner.example.com/ota", on_exhausted: hold_destination}
  - {name: other, type: http, url: "https://other.example.com/ota", on_exhausted: hold_destination}
`, application, testRegion, leases, source)
	if err := os.WriteFile(l.config, []byte(text), 0o600); err != nil {
		l.t.Fatal(err)
	}
}

// prepare makes the tables, and learns the stream's creation.
func (l *leaseTrial) prepare() {
	l.t.Helper()
	if err := l.store.Prepare(l.t.Context()); err != nil {
		l.t.Fatal(err)
	}
	l.id = l.streamID()
}

// run runs "shardline leases" with args, and the configuration.
func (l *leaseTrial) run(args ...string) (code int, stdout, stderr string) {
	l.t.Helper()
	var out, errors bytes.Buffer
	code = run(l.t.Context(), append(append([]string{"leases"}, args...), "--config", l.config), environment{
		stdin: strings.NewReader(""), stdout: &out, stderr: &errors, getenv: func(string) string { return "" },
	})
	return code, out.String(), errors.String()
}

// create makes the lease of a shard, whose hash range is the nth part of so many.
func (l *leaseTrial) create(shard string, nth, parts int64, at checkpoint.Position, parents ...string) checkpoint.Lease {
	l.t.Helper()
	from, to := hashPart(nth, parts)
	lease := checkpoint.NewLease(checkpoint.MultiStream, l.id, checkpoint.Shard{ID: shard, Parents: parents, HashFrom: from, HashTo: to}, at)
	if err := l.store.Create(l.t.Context(), lease); err != nil {
		l.t.Fatal(err)
	}
	return l.get(lease.Key)
}

func (l *leaseTrial) get(key string) checkpoint.Lease {
	l.t.Helper()
	lease, err := l.store.Get(l.t.Context(), key)
	if err != nil {
		l.t.Fatal(err)
	}
	return lease
}

// take makes a worker the owner, with a tenure as its process writes it.
func (l *leaseTrial) take(lease checkpoint.Lease, worker string) checkpoint.Lease {
	l.t.Helper()
	taken, err := l.store.Take(l.t.Context(), lease, worker, tenureFor(worker))
	if err != nil {
		l.t.Fatal(err)
	}
	return taken
}

// save renews a lease with positions.
func (l *leaseTrial) save(lease checkpoint.Lease, s checkpoint.Saved) checkpoint.Lease {
	l.t.Helper()
	saved, err := l.store.Renew(l.t.Context(), lease, &s)
	if err != nil {
		l.t.Fatal(err)
	}
	return saved
}

// live renews a lease until the test ends, or it is lost.
func (l *leaseTrial) live(lease checkpoint.Lease) {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			next, err := l.store.Renew(ctx, lease, nil)
			if err != nil {
				return
			}
			lease = next
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	l.t.Cleanup(func() { stop(); <-done })
}

// put puts an item as it is.
func (l *leaseTrial) put(table string, it item) {
	l.t.Helper()
	if _, err := l.tables.PutItem(l.t.Context(), &dynamodb.PutItemInput{TableName: &table, Item: it}); err != nil {
		l.t.Fatal(err)
	}
}

// item is a lease's item as it is; nil: there is none.
func (l *leaseTrial) item(key string) item {
	l.t.Helper()
	out, err := l.tables.GetItem(l.t.Context(), &dynamodb.GetItemInput{TableName: aws.String(application), Key: item{"leaseKey": word(key)}, ConsistentRead: aws.Bool(true)})
	if err != nil {
		l.t.Fatal(err)
	}
	return out.Item
}

// wantAll says which of the words a text lacks.
func wantAll(t *testing.T, what, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%s does not say %q:\n%s", what, w, text)
		}
	}
}

func decodeLines[T any](t *testing.T, text string) []T {
	t.Helper()
	var lines []T
	for line := range strings.Lines(text) {
		var v T
		decoder := json.NewDecoder(strings.NewReader(line))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&v); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		lines = append(lines, v)
	}
	return lines
}

func TestLeasesList(t *testing.T) {
	l := newLeaseTrial(t, 2)
	l.prepare()
	first := l.putInto(shardID(1))
	low := l.save(l.take(l.create(shardID(0), 0, 2, checkpoint.TrimHorizon), "w1"), checkpoint.Saved{Checkpoint: checkpoint.Number("49", 3), Roster: []string{"other", "partner"},
		Behind: map[string]checkpoint.Entry{"partner": {At: checkpoint.Number("48", 0), Keys: map[string]checkpoint.Position{"H1": checkpoint.Number("40", 0), "H2": checkpoint.Number("41", 0)}}}})
	l.live(low)
	high := l.create(shardID(1), 1, 2, checkpoint.TrimHorizon)
	java := l.item(high.Key)
	java["leaseOwner"], java["throughputKBps"], java["checkpoint"] = word("java-7"), &types.AttributeValueMemberN{Value: "12.345678"}, word(first)
	java["tenure"] = word(tenureFor("w1"))
	l.put(application, java)

	code, stdout, stderr := l.run("list")
	if code != 0 || stderr != "" {
		t.Fatalf("exit %d, stderr %q", code, stderr)
	}
	lines := strings.Split(stdout, "\n")
	if len(lines) != 5 {
		t.Fatalf("%d lines:\n%s", len(lines), stdout)
	}
	if want := fmt.Sprintf("stream %s, source hotels-a: 2 leases", l.id); lines[0] != want {
		t.Errorf("title %q, want %q", lines[0], want)
	}
	wantAll(t, "the first lease", lines[2], shardID(0), "w1", "49:3", "partner (2 keys)")
	if !regexp.MustCompile(`w1 +< [0-9.]+m?s ago`).MatchString(lines[2]) {
		t.Errorf("it does not say when it was renewed: %s", lines[2])
	}
	wantAll(t, "the second lease", lines[3], shardID(1), "java-7 (KCL)", "not for ", "12.3")
	for i, column := range []string{"OWNER", "RENEWED", "CHECKPOINT", "BEHIND"} {
		if at := strings.Index(lines[1], column); lines[2][at-1] != ' ' || lines[2][at] == ' ' {
			t.Errorf("column %d is not aligned:\n%s", i, stdout)
		}
	}

	code, stdout, _ = l.run("list", "--json", "--watch", "0", "--lag")
	got := decodeLines[listedLease](t, stdout)
	if code != 0 || len(got) != 2 {
		t.Fatalf("exit %d: %s", code, stdout)
	}
	if g := got[0]; g.Lease != low.Key || g.Source != "hotels-a" || !g.Shardline || g.Owner != "w1" || g.RenewedWithin != nil || g.UnrenewedFor != nil ||
		g.Checkpoint != "49:3" || fmt.Sprint(g.Roster) != "[other partner]" || fmt.Sprint(g.Behind) != "[{partner 48:0 2}]" || g.HashFrom != "0" {
		t.Errorf("first line %+v", g)
	}
	if g := got[1]; g.Shardline || g.Throughput == nil || *g.Throughput != 12.345678 || g.Behind == nil || len(g.Behind) != 0 {
		t.Errorf("second line %+v", g)
	}
	// 49 is no sequence number of the stream: the line says so; the other's lag is read.
	if got[0].Lag != nil || got[0].LagError == "" || got[1].Lag == nil || *got[1].Lag < 0 {
		t.Errorf("lags %+v and %+v", got[0], got[1])
	}
	if code, stdout, _ := l.run("list", "--source", "hotels-a", "--watch", "0"); code != 0 || strings.Count(stdout, "\n") != 4 {
		t.Errorf("exit %d: %s", code, stdout)
	}
	if code, _, stderr := l.run("list", "--source", "hotel", "--watch", "0"); code != 1 || !strings.Contains(stderr, `no source "hotel"`) {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

// TestLeasesListDamaged: an item that cannot be read hides no other.
func TestLeasesListDamaged(t *testing.T) {
	l := newLeaseTrial(t, 1)
	l.prepare()
	lease := l.create(shardID(0), 0, 1, checkpoint.TrimHorizon)
	l.put(application, item{"leaseKey": word(l.id + ":" + shardID(1)), "checkpoint": word("nowhere")})
	l.put(application, item{"leaseKey": word("note"), "text": word("somebody's")})
	code, stdout, stderr := l.run("list", "--watch", "0")
	if code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	wantAll(t, "the list", stdout, lease.Shard, "cannot be read: leaseCounter: is missing", "cannot be read: checkpoint: ", "nowhere")
	wantAll(t, "standard error", stderr, "1 item is", "leases check")
}

func TestLeasesCheck(t *testing.T) {
	l := newLeaseTrial(t, 2)
	l.prepare()
	low := l.create(shardID(0), 0, 2, checkpoint.TrimHorizon)
	if code, stdout, stderr := l.run("check", "--watch", "0"); code != 1 || stderr != "" || !strings.Contains(stdout, "hole") || !strings.Contains(stdout, "1 lease, 1 error, 0 warnings") {
		t.Fatalf("a hole: exit %d: %s%s", code, stdout, stderr)
	}
	high := l.create(shardID(1), 1, 2, checkpoint.TrimHorizon)
	if code, stdout, stderr := l.run("check"); code != 0 || stderr != "" || stdout != "table fanout: 2 leases, 0 errors, 0 warnings\n" {
		t.Fatalf("whole: exit %d: %s%s", code, stdout, stderr)
	}
	if code, stdout, _ := l.run("check", "--watch", "0", "--json"); code != 0 || stdout != "" {
		t.Fatalf("whole: exit %d: %s", code, stdout)
	}

	// Everything at once: every item is reported.
	broken := l.item(low.Key)
	delete(broken, "leaseCounter")
	l.put(application, broken)
	stranded := l.item(high.Key)
	stranded["checkpoint"], stranded["leaseOwner"], stranded["tenure"] = word("SHARD_END"), word("java"), word(tenureFor("w1"))
	l.put(application, stranded)
	l.put(application, item{"leaseKey": word("note"), "text": word("somebody's")})
	l.put(application, kclItem("111111111111:resorts:1700000000:"+shardID(0)))
	code, stdout, _ := l.run("check", "--watch", "0", "--json")
	kinds := map[string]int{}
	for _, f := range decodeLines[foundLine](t, stdout) {
		kinds[f.Severity+" "+f.Kind]++
		if f.Table != application || f.Text == "" || f.Do == "" || f.Lease+f.Stream == "" {
			t.Errorf("%+v", f)
		}
	}
	want := "map[error children_missing:1 error foreign_item:1 error hole:1 error kcl_worker:1 error missing_attribute:1 warning no_hash_range:1 warning no_source:1]"
	if code != 1 || fmt.Sprint(kinds) != want {
		t.Errorf("exit %d, kinds\n%v, want\n%s\n%s", code, kinds, want, stdout)
	}
}

// TestLeasesCheckClean removes what nothing names, and nothing else.
func TestLeasesCheckClean(t *testing.T) {
	l := newLeaseTrial(t, 1)
	l.prepare()
	const state = application + "-state"
	part := func(name string) item {
		return item{"key": word(name), "parts": &types.AttributeValueMemberN{Value: "1"}, "entries": &types.AttributeValueMemberM{Value: item{}}}
	}
	lease := l.save(l.take(l.create(shardID(0), 0, 1, checkpoint.TrimHorizon), "w1"), checkpoint.Saved{Checkpoint: checkpoint.Number("49", 0), Roster: []string{"partner"}})
	mine, orphan := "behind/"+lease.Key+"/NEW", "behind/"+l.id+":gone/OLD"
	for _, it := range []item{part(mine), part(orphan), {"key": word("roster/0123"), "names": word("x")}, {"key": word("pause/partner"), "a": word("b")}} {
		l.put(state, it)
	}
	if code, _, stderr := l.run("check", "--clean", "--watch", "500ms"); code != 1 || !strings.Contains(stderr, "leases.failover") {
		t.Errorf("a short watch: exit %d: %s", code, stderr)
	}
	code, stdout, stderr := l.run("check")
	if code != 0 || strings.Count(stdout, "warning: ") != 3 {
		t.Fatalf("exit %d: %s%s", code, stdout, stderr)
	}
	code, stdout, stderr = l.run("check", "--clean")
	if code != 0 {
		t.Fatalf("exit %d: %s%s", code, stdout, stderr)
	}
	wantAll(t, "the output", stdout, "removed: "+orphan+" of", "removed: roster/0123 of", "owner may yet", "1 warning\n")
	left := map[string]bool{}
	out, err := l.tables.Scan(t.Context(), &dynamodb.ScanInput{TableName: aws.String(state), ConsistentRead: aws.Bool(true)})
	if err != nil {
		t.Fatal(err)
	}
	for _, it := range out.Items {
		left[it["key"].(*types.AttributeValueMemberS).Value] = true
	}
	if len(left) != 3 || !left[mine] || !left["pause/partner"] || left[orphan] {
		t.Errorf("left: %v", left)
	}
	if got := l.get(lease.Key); fmt.Sprint(got.Roster) != "[partner]" {
		t.Errorf("the lease's roster is %v", got.Roster)
	}
}

func TestLeasesRefused(t *testing.T) {
	l := newLeaseTrial(t, 1)
	for _, command := range []string{"list", "check"} {
		if code, stdout, stderr := l.run(command); code != 1 || stdout != "" || !strings.Contains(stderr, "table fanout does not exist") {
			t.Errorf("%s, no table: exit %d: %s%s", command, code, stdout, stderr)
		}
	}
	l.table("theirs", "ShardID")
	l.configure("table: theirs", fmt.Sprintf("{name: hotels-a, stream: %q, initial_position: latest, subscribers: all_destinations}", l.stream))
	if code, _, stderr := l.run("list"); code != 1 || !strings.Contains(stderr, "vmware-go-kcl") {
		t.Errorf("vmware's table: exit %d: %s", code, stderr)
	}
	l.configure("store: memory", fmt.Sprintf("{name: hotels-a, stream: %q, initial_position: latest, subscribers: all_destinations}", l.stream))
	if code, _, stderr := l.run("check"); code != 1 || !strings.Contains(stderr, "leases.store is memory") {
		t.Errorf("memory: exit %d: %s", code, stderr)
	}
}

// table makes a table with one hash key.
func (l *leaseTrial) table(name, key string) {
	l.t.Helper()
	_, err := l.tables.CreateTable(l.t.Context(), &dynamodb.CreateTableInput{
		TableName: &name, BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: &key, AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: &key, KeyType: types.KeyTypeHash}},
	})
	if err != nil {
		l.t.Fatal(err)
	}
}

// putInto puts a record into a shard, and returns its sequence number.
func (l *leaseTrial) putInto(shard string) string {
	l.t.Helper()
	for i := range 1000 {
		at, sequence, err := l.aws.Put(l.stream, fmt.Sprint("key ", i), []byte("a record"))
		if err != nil {
			l.t.Fatal(err)
		}
		if at == shard {
			return sequence
		}
	}
	l.t.Fatalf("no key of 1000 is of shard %s", shard)
	return ""
}

// streamID is the stream's in the lease keys.
func (l *leaseTrial) streamID() string {
	l.t.Helper()
	s, err := consumers.NewSource(consumers.Config{Name: "hotels-a", StreamARN: l.stream, Role: &consumers.Role{ARN: l.role}, Base: l.base})
	if err != nil {
		l.t.Fatal(err)
	}
	start, stop := refreshing(l.t.Context())
	start(s.Run)
	defer stop()
	is, err := s.Stream(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	return checkpoint.StreamID(is.Account, is.Name, is.Created)
}

// tenureFor is a tenure that fits a worker: the first eight digits are of its
// id's SHA-256.
func tenureFor(worker string) string {
	sum := sha256.Sum256([]byte(worker))
	return hex.EncodeToString(sum[:4]) + strings.Repeat("ab", 12)
}

// hashPart is the nth of so many equal parts of the hash range.
func hashPart(nth, parts int64) (from, to string) {
	end := new(big.Int).Lsh(big.NewInt(1), 128)
	at := func(i int64) *big.Int {
		n := new(big.Int).Mul(end, big.NewInt(i))
		return n.Quo(n, big.NewInt(parts))
	}
	return at(nth).String(), new(big.Int).Sub(at(nth+1), big.NewInt(1)).String()
}
