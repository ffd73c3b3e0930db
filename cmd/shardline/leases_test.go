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
	"slices"
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
	l.put(application, item{"leaseKey": word(l.id + ":" + shardID(2)), "checkpoint": word("SHARD_END")})
	// What can be read is shown, and nothing is made up for what cannot.
	_, lines, _ := l.run("list", "--watch", "0", "--json")
	var at []string
	for _, line := range decodeLines[listedLease](t, lines) {
		at = append(at, line.Checkpoint)
	}
	if want := []string{"TRIM_HORIZON", "", "SHARD_END"}; !slices.Equal(at, want) {
		t.Errorf("checkpoints %q, want %q", at, want)
	}
	wantAll(t, "the list", stdout, lease.Shard, "cannot be read: leaseCounter: is missing", "cannot be read: checkpoint: ", "nowhere")
	wantAll(t, "standard error", stderr, "table fanout has 1 item beside its leases", "leases check")
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
		if code, stdout, stderr := l.run(command); code != 1 || stdout != "" || !strings.Contains(stderr, "table does not exist: fanout") {
			t.Errorf("%s, no table: exit %d: %s%s", command, code, stdout, stderr)
		}
	}
	// What is wrong with the command line is said before anything is asked.
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"list", "--watch", "-1s"}, "--watch -1s is negative"},
		{[]string{"check", "--watch", "-1s"}, "--watch -1s is negative"},
		{[]string{"release"}, "say which leases"},
		{[]string{"release", "--all", "--source", "hotels-a"}, "say which leases"},
		{[]string{"set", "--to", "latest"}, "say which leases"},
		{[]string{"set", "--all", "--to", "yesterday"}, "--to yesterday: it is none of trim_horizon, latest"},
	} {
		if code, stdout, stderr := l.run(c.args...); code != 1 || stdout != "" || !strings.Contains(stderr, c.want) {
			t.Errorf("%q: exit %d: %s%s", c.args, code, stdout, stderr)
		}
	}
	l.table("theirs", "ShardID")
	l.configure("table: theirs", fmt.Sprintf("{name: hotels-a, stream: %q, initial_position: latest, subscribers: all_destinations}", l.stream))
	if code, _, stderr := l.run("list"); code != 1 || !strings.Contains(stderr, "vmware-go-kcl") || !strings.Contains(stderr, "leases import") {
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

func TestLeasesRelease(t *testing.T) {
	l := newLeaseTrial(t, 3)
	l.prepare()
	saved := checkpoint.Saved{Checkpoint: checkpoint.Number("49", 0), Roster: []string{"partner"}}
	dead := l.save(l.take(l.create(shardID(0), 0, 3, checkpoint.TrimHorizon), "w1"), saved)
	alive := l.take(l.create(shardID(1), 1, 3, checkpoint.TrimHorizon), "w2")
	l.live(alive)
	free := l.create(shardID(2), 2, 3, checkpoint.TrimHorizon)

	for _, args := range [][]string{{"release"}, {"release", "--all", dead.Key}, {"release", "nobody's"}, {"release", "--all", "--lowest"}, {"release", "--to-kcl", dead.Key}} {
		if code, stdout, stderr := l.run(args...); code != 1 || stdout != "" || stderr == "" {
			t.Errorf("%v: exit %d: %s%s", args, code, stdout, stderr)
		}
	}
	code, stdout, stderr := l.run("release", "--all", "--dry-run")
	if code != 1 || !strings.Contains(stderr, "watching") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	wantAll(t, "the dry run", stdout, "would: "+dead.Key+": taken away from w1, at 49:0", "refused: "+alive.Key+": w2 lives: it renewed less than", "as it is: "+free.Key+": nobody owns it", "1 lease would be changed, 1 refused")
	if got := l.get(dead.Key); got.Owner != "w1" {
		t.Fatalf("a dry run released it: %+v", got)
	}
	code, stdout, _ = l.run("release", shardID(0))
	if got := l.get(dead.Key); code != 0 || got.Owner != "" || got.Tenure != "" || got.Counter != dead.Counter+1 || !got.Saved.Equal(saved) {
		t.Errorf("exit %d: %s: %+v", code, stdout, got)
	}
	code, stdout, _ = l.run("release", "--force", alive.Key)
	if got := l.get(alive.Key); code != 0 || got.Owner != "" || !strings.Contains(stdout, "comes twice") {
		t.Errorf("exit %d: %s: %+v", code, stdout, got)
	}
}

// TestLeasesReleaseSettles: a write that landed although its answer was lost is
// done, and one that did not is tried again.
func TestLeasesReleaseSettles(t *testing.T) {
	for _, kind := range []localaws.FaultKind{localaws.DropAfter, localaws.DropBefore, localaws.Throttle} {
		t.Run(string(kind), func(t *testing.T) {
			l := newLeaseTrial(t, 1)
			l.prepare()
			lease := l.take(l.create(shardID(0), 0, 1, checkpoint.TrimHorizon), "w1")
			if _, err := l.aws.AddFault(localaws.Fault{Operation: "dynamodb.UpdateItem", Kind: kind, Count: 1}); err != nil {
				t.Fatal(err)
			}
			code, stdout, stderr := l.run("release", lease.Key)
			if got := l.get(lease.Key); code != 0 || got.Owner != "" || got.Counter != lease.Counter+1 {
				t.Errorf("exit %d: %s%s: %+v", code, stdout, stderr, got)
			}
		})
	}
}

func TestLeasesReleaseToKCL(t *testing.T) {
	l := newLeaseTrial(t, 3)
	l.prepare()
	n := func(s string) checkpoint.Position { return checkpoint.Number(s, 0) }
	steady := l.save(l.take(l.create(shardID(0), 0, 3, checkpoint.TrimHorizon), "w1"), checkpoint.Saved{Checkpoint: n("49"), Roster: []string{"other", "partner"}})
	behind := l.save(l.take(l.create(shardID(1), 1, 3, checkpoint.TrimHorizon), "w1"), checkpoint.Saved{Checkpoint: n("59"), Roster: []string{"other", "partner"},
		Behind: map[string]checkpoint.Entry{"partner": {At: n("55"), Keys: map[string]checkpoint.Position{"H": n("51")}}}})
	unread := l.save(l.take(l.create(shardID(2), 2, 3, checkpoint.At(time.UnixMilli(1700000000000))), "w1"),
		checkpoint.Saved{Checkpoint: checkpoint.At(time.UnixMilli(1700000000000)), Roster: []string{"partner"}})

	code, stdout, stderr := l.run("release", "--to-kcl")
	if code != 1 {
		t.Fatalf("exit %d: %s%s", code, stdout, stderr)
	}
	wantAll(t, "the output", stdout, "done: "+steady.Key+": given back at 49:0\n", "refused: "+behind.Key+": behind are partner at 55:0 and 1 of its keys",
		"refused: "+unread.Key+": nothing of it is read yet, and KCL cannot be told to begin at 2023-11-14T22:13:20.000Z")
	wantAll(t, "standard error", stderr, "do not start KCL workers yet")
	if got := l.get(behind.Key); !got.Equal(behind.Saved) || got.Owner != "w1" {
		t.Errorf("a refused lease was changed: %+v", got)
	}

	code, stdout, stderr = l.run("release", "--to-kcl", "--lowest")
	if code != 0 {
		t.Fatalf("exit %d: %s%s", code, stdout, stderr)
	}
	wantAll(t, "the output", stdout, behind.Key+": given back at 51:0, set back from 59:0 to 51:0", unread.Key+": given back at TRIM_HORIZON", "as it is: "+steady.Key)
	// What KCL needs is there, and nothing else.
	known := map[string]bool{"leaseKey": true, "leaseCounter": true, "ownerSwitchesSinceCheckpoint": true, "checkpoint": true, "checkpointSubSequenceNumber": true,
		"startingHashKey": true, "endingHashKey": true, "streamName": true, "shardId": true}
	out, err := l.tables.Scan(t.Context(), &dynamodb.ScanInput{TableName: aws.String(application), ConsistentRead: aws.Bool(true)})
	if err != nil {
		t.Fatal(err)
	}
	for _, it := range out.Items {
		for name := range it {
			if !known[name] {
				t.Errorf("%v has %s", it["leaseKey"], name)
			}
		}
		if len(it) != len(known) {
			t.Errorf("%v has %d attributes, want %d", it["leaseKey"], len(it), len(known))
		}
	}

	l.put(application, item{"leaseKey": word("note"), "text": word("somebody's")})
	if code, stdout, stderr := l.run("release", "--to-kcl"); code != 1 || stdout != "" || !strings.Contains(stderr, "nothing was changed: table fanout, lease note") {
		t.Errorf("a foreign item: exit %d: %s%s", code, stdout, stderr)
	}
	l.live(l.take(l.get(steady.Key), "w1"))
	if code, stdout, stderr := l.run("release", "--to-kcl"); code != 1 || stdout != "" || !strings.Contains(stderr, "nothing was changed: Shardline workers renew") {
		t.Errorf("a live worker: exit %d: %s%s", code, stdout, stderr)
	}
}

func TestLeasesSet(t *testing.T) {
	l := newLeaseTrial(t, 2)
	l.prepare()
	first := l.putInto(shardID(0))
	second := l.putInto(shardID(0))
	roster := []string{"other", "partner"}
	at := func(s string) checkpoint.Position { return checkpoint.Number(s, 0) }
	low := l.save(l.take(l.create(shardID(0), 0, 2, checkpoint.TrimHorizon), "w1"), checkpoint.Saved{Checkpoint: at(second), Roster: roster,
		Behind: map[string]checkpoint.Entry{"partner": {At: at(first)}}})
	high := l.take(l.create(shardID(1), 1, 2, checkpoint.TrimHorizon), "w2")
	l.live(high)

	for _, c := range []struct {
		name string
		args []string
		code int
		says string           // in either output
		want checkpoint.Saved // of the lower half
	}{
		{name: "no position", args: []string{shardID(0)}, code: 1, says: "to"},
		{name: "nonsense", args: []string{shardID(0), "--to", "yesterday"}, code: 1, says: "it is none of trim_horizon"},
		{name: "the future", args: []string{shardID(0), "--to", time.Now().Add(time.Hour).Format(time.RFC3339)}, code: 1, says: "in the future"},
		{name: "a number of no record of the shard", args: []string{shardID(0), "--to", "123"}, code: 1, says: "the shard does not know it"},
		{name: "a number for several", args: []string{"--all", "--to", first}, code: 1, says: "of one shard"},
		{name: "one who is not on the roster", args: []string{shardID(0), "--to", "trim_horizon", "--subscriber", "nobody"}, code: 1, says: "other, partner"},
		{name: "a live owner", args: []string{shardID(1), "--to", "trim_horizon"}, code: 1, says: "w2 lives"},
		{name: "dry run", args: []string{shardID(0), "--to", "trim_horizon", "--dry-run"}, says: "would: "},
		{name: "one subscriber", args: []string{shardID(0), "--to", "trim_horizon", "--subscriber", "other"}, says: "other set",
			want: checkpoint.Saved{Checkpoint: at(second), Roster: roster, Behind: map[string]checkpoint.Entry{"partner": {At: at(first)}, "other": {}}}},
		{name: "one subscriber to the checkpoint", args: []string{shardID(0), "--to", second, "--subscriber", "partner"}, says: "partner set",
			want: checkpoint.Saved{Checkpoint: at(second), Roster: roster, Behind: map[string]checkpoint.Entry{"other": {}}}},
		{name: "everybody back to a record", args: []string{shardID(0), "--to", first}, says: "everybody set", want: checkpoint.Saved{Checkpoint: at(first), Roster: roster}},
		{name: "one ahead of the checkpoint", args: []string{shardID(0), "--to", second, "--subscriber", "partner"}, code: 1, says: "ahead of the checkpoint"},
		{name: "a position inside an aggregate", args: []string{shardID(0), "--to", first + ":7"}, want: checkpoint.Saved{Checkpoint: checkpoint.Number(first, 7), Roster: roster}},
		{name: "a time", args: []string{shardID(0), "--to", "2024-01-02T03:04:05Z"}, want: checkpoint.Saved{Checkpoint: checkpoint.At(time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)), Roster: roster}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l.t = t
			before := l.get(low.Key)
			code, stdout, stderr := l.run(append([]string{"set"}, c.args...)...)
			if code != c.code || !strings.Contains(stdout+stderr, c.says) {
				t.Errorf("exit %d, want %d and %q: %s%s", code, c.code, c.says, stdout, stderr)
			}
			got := l.get(low.Key)
			if c.want.Roster == nil {
				if fmt.Sprint(got) != fmt.Sprint(before) {
					t.Errorf("it was changed to %+v", got)
				}
				return
			}
			if !got.Equal(c.want) || got.Owner != "" || got.Counter != before.Counter+1 {
				t.Errorf("it is\n%+v, want\n%+v", got, c.want)
			}
		})
	}
	l.t = t
	began := time.Now()
	if code, stdout, stderr := l.run("set", shardID(0), "--to", "latest"); code != 0 {
		t.Fatalf("exit %d: %s%s", code, stdout, stderr)
	}
	if pinned, ok := l.get(low.Key).Checkpoint.Time(); !ok || began.Sub(pinned) < 4*time.Second || began.Sub(pinned) > 8*time.Second {
		t.Errorf("latest is %s, %s before the command", l.get(low.Key).Checkpoint, began.Sub(pinned))
	}
	// A live owner loses its tenure: its next write is refused.
	if code, stdout, stderr := l.run("set", shardID(1), "--to", "trim_horizon", "--force"); code != 0 {
		t.Fatalf("exit %d: %s%s", code, stdout, stderr)
	}
	if got := l.get(high.Key); got.Owner != "" || got.Tenure != "" {
		t.Errorf("it is still %s's", got.Owner)
	}
}

// TestLeasesSetDamaged is the way out when the state table is lost: workers
// refuse the whole table because of one lease.
func TestLeasesSetDamaged(t *testing.T) {
	l := newLeaseTrial(t, 1)
	l.prepare()
	lease := l.save(l.take(l.create(shardID(0), 0, 1, checkpoint.TrimHorizon), "w1"), checkpoint.Saved{Checkpoint: checkpoint.Number("49", 0), Roster: []string{"partner"}})
	it := l.item(lease.Key)
	it["roster"], it["behindRef"] = word("00000000000000000000000000000000"), word("behind/x/y")
	l.put(application, it)
	if code, stdout, _ := l.run("set", "--all", "--to", "trim_horizon"); code != 1 || !strings.Contains(stdout, "refused: "+lease.Key+": attribute roster: ") {
		t.Fatalf("exit %d: %s", code, stdout)
	}
	if code, stdout, stderr := l.run("set", "--all", "--to", "trim_horizon", "--force"); code != 0 || !strings.Contains(stdout, "everybody set from 49:0 to TRIM_HORIZON") {
		t.Fatalf("exit %d: %s%s", code, stdout, stderr)
	}
	if code, stdout, _ := l.run("check", "--watch", "0"); code != 0 {
		t.Errorf("exit %d: %s", code, stdout)
	}
	if got := l.get(lease.Key); got.Checkpoint != checkpoint.TrimHorizon || len(got.Roster) != 0 {
		t.Errorf("it is %+v", got)
	}
	it = l.item(lease.Key)
	it["checkpoint"] = word("nowhere")
	l.put(application, it)
	if code, stdout, _ := l.run("set", "--all", "--to", "trim_horizon", "--force"); code != 0 || !strings.Contains(stdout, "everybody set from what cannot be read to TRIM_HORIZON") {
		t.Errorf("exit %d: %s", code, stdout)
	}
}

// TestLeasesImport moves the table of a vmware-go-kcl application whose stream
// was split: shard 0 into 2 and 3.
func TestLeasesImport(t *testing.T) {
	const theirs = "theirs"
	l := newLeaseTrial(t, 2)
	last := l.putInto(shardID(1))
	if err := l.aws.SplitShard(l.stream, shardID(0)); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := l.run("import", "--from-vmware", theirs); code != 1 || !strings.Contains(stderr, "table does not exist: theirs") {
		t.Errorf("no table: exit %d: %s", code, stderr)
	}
	l.table(theirs, "ShardID")
	row := func(shard string, pairs ...string) {
		it := item{"ShardID": word(shard)}
		for i := 0; i < len(pairs); i += 2 {
			it[pairs[i]] = word(pairs[i+1])
		}
		l.put(theirs, it)
	}
	row(shardID(0), "Checkpoint", "SHARD_END")
	row(shardID(1), "Checkpoint", last, "AssignedTo", "old-worker", "LeaseTimeout", time.Now().Add(time.Hour).Format(time.RFC3339Nano))
	row(shardID(2), "Checkpoint", "", "ParentShardId", shardID(0))
	row("shardId-000000000099", "Checkpoint", "SHARD_END")
	importing := []string{"import", "--from-vmware", theirs}

	code, stdout, stderr := l.run(importing...)
	if code != 1 || !strings.Contains(stderr, "nothing was written: workers hold 1 row") {
		t.Fatalf("exit %d: %s%s", code, stdout, stderr)
	}
	wantAll(t, "the plan", stdout, "shardId-000000000099: ignored", shardID(0)+": lease at SHARD_END", shardID(1)+": lease at "+last+":0", "old-worker, which seems to live",
		shardID(2)+": lease at TRIM_HORIZON: never read", shardID(3)+": lease at TRIM_HORIZON: no row, and it continues "+shardID(0))
	row(shardID(1), "Checkpoint", last, "AssignedTo", "old-worker", "LeaseTimeout", time.Now().Add(-time.Hour).Format(time.RFC3339Nano))
	if code, stdout, stderr := l.run(importing...); code != 0 || !strings.Contains(stdout, "4 leases to create; nothing was written") {
		t.Fatalf("dry run: exit %d: %s%s", code, stdout, stderr)
	}
	if _, err := l.tables.DescribeTable(t.Context(), &dynamodb.DescribeTableInput{TableName: aws.String(application)}); err == nil {
		t.Fatal("the dry run made the table")
	}
	if code, _, stderr := l.run("import", "--from-vmware", theirs, "--to-table", theirs, "--apply"); code != 1 || !strings.Contains(stderr, "name a new table") {
		t.Errorf("the same table: exit %d: %s", code, stderr)
	}

	// The answer to one write is lost; it is not made twice.
	if _, err := l.aws.AddFault(localaws.Fault{Operation: "dynamodb.PutItem", Kind: localaws.DropAfter, Count: 1}); err != nil {
		t.Fatal(err)
	}
	if code, stdout, stderr := l.run(append(importing, "--apply")...); code != 0 || !strings.Contains(stdout, "4 leases made") {
		t.Fatalf("exit %d: %s%s", code, stdout, stderr)
	}
	if code, stdout, stderr := l.run("check", "--watch", "0"); code != 0 || !strings.Contains(stdout, "4 leases, 0 errors, 0 warnings") {
		t.Errorf("what was made: exit %d: %s%s", code, stdout, stderr)
	}
	l.id = l.streamID()
	parent := l.get(l.id + ":" + shardID(0))
	if got := l.get(l.id + ":" + shardID(3)); got.Checkpoint != checkpoint.TrimHorizon || fmt.Sprint(got.Parents) != "["+shardID(0)+"]" || got.HashTo == "" {
		t.Errorf("the child that had no row: %+v", got)
	}
	if fmt.Sprint(parent.Children) != "["+shardID(2)+" "+shardID(3)+"]" {
		t.Errorf("the parent's children: %v", parent.Children)
	}

	// Again: nothing to do, and what has moved on is left as it is.
	if code, stdout, stderr := l.run(append(importing, "--apply")...); code != 0 {
		t.Errorf("again: exit %d: %s%s", code, stdout, stderr)
	}
	moved := l.save(l.take(l.get(l.id+":"+shardID(1)), "w1"), checkpoint.Saved{Checkpoint: checkpoint.Number(last, 9), Roster: []string{"partner"}})
	if code, stdout, _ := l.run(append(importing, "--apply")...); code != 1 || !strings.Contains(stdout, "refused: "+moved.Key) {
		t.Errorf("moved on: exit %d: %s", code, stdout)
	}
	if got := l.get(moved.Key); got.Counter != moved.Counter || !got.Equal(moved.Saved) {
		t.Errorf("it was changed: %+v", got)
	}

	row(shardID(2), "Checkpoint", "??")
	if code, stdout, stderr := l.run(append(importing, "--apply")...); code != 1 || !strings.Contains(stdout, shardID(2)+": cannot be read") || !strings.Contains(stderr, "1 row of table theirs cannot be read") {
		t.Errorf("damaged: exit %d: %s%s", code, stdout, stderr)
	}
	l.table("mine", "id")
	if code, _, stderr := l.run("import", "--from-vmware", "mine"); code != 1 || !strings.Contains(stderr, "none of vmware-go-kcl: its key is HASH id") {
		t.Errorf("a foreign table: exit %d: %s", code, stderr)
	}
	row(shardID(2), "Checkpoint", "")
	if code, _, stderr := l.run("import", "--from-vmware", theirs, "--to-table", "mine"); code != 1 || !strings.Contains(stderr, "table mine has the key HASH id (S)") {
		t.Errorf("a foreign destination: exit %d: %s", code, stderr)
	}
}

// TestLeasesReleaseToKCLSingleStream: the attribute that tells the stream goes,
// too.
func TestLeasesReleaseToKCLSingleStream(t *testing.T) {
	l := newLeaseTrial(t, 1)
	l.prepare()
	l.configure("failover: 1s, key_format: single_stream", fmt.Sprintf("{name: hotels-a, stream: %q, role: {arn: %q}, initial_position: latest, subscribers: all_destinations}", l.stream, l.role))
	l.store = checkpoint.NewDynamoDB(checkpoint.DynamoDBConfig{Client: l.tables, Table: application, StateTable: application + "-state", Format: checkpoint.SingleStream})
	from, to := hashPart(0, 1)
	lease := checkpoint.Lease{Key: shardID(0), Shard: shardID(0), Stream: l.id, HashFrom: from, HashTo: to}
	if err := l.store.Create(t.Context(), lease); err != nil {
		t.Fatal(err)
	}
	l.save(l.take(l.get(lease.Key), "w1"), checkpoint.Saved{Checkpoint: checkpoint.Number("49", 0), Roster: []string{"partner"}})
	if _, has := l.item(lease.Key)["stream"]; !has {
		t.Fatal("the item does not tell its stream: this test proves nothing")
	}
	if code, stdout, stderr := l.run("list", "--watch", "0"); code != 0 || !strings.Contains(stdout, "source hotels-a: 1 lease") {
		t.Errorf("list: exit %d: %s%s", code, stdout, stderr)
	}
	if code, stdout, stderr := l.run("release", "--to-kcl"); code != 0 {
		t.Fatalf("exit %d: %s%s", code, stdout, stderr)
	}
	if it := l.item(lease.Key); len(it) != 7 { // leaseKey, leaseCounter, switches, checkpoint and its sub, hash range
		t.Errorf("left: %v", it)
	}
}

// TestLeasesDenied: what the base role may not do is named.
func TestLeasesDenied(t *testing.T) {
	l := newLeaseTrial(t, 1)
	l.prepare()
	lease := l.take(l.create(shardID(0), 0, 1, checkpoint.TrimHorizon), "w1")
	base, err := l.aws.AddRole(localaws.Role{Account: tablesAccount, Name: "shardline-worker", Trust: localaws.Trust{Principals: []string{tablesAccount}}})
	if err != nil {
		t.Fatal(err)
	}
	l.configure("failover: 1s", fmt.Sprintf("{name: hotels-a, stream: %q, initial_position: latest, subscribers: all_destinations}\naws: {role: {arn: %q}}", l.stream, base))
	for _, c := range []struct {
		action string
		args   []string
		says   string
	}{
		{"dynamodb:DescribeTable", []string{"list"}, "describe table fanout: "},
		{"dynamodb:Scan", []string{"check"}, "scan table fanout"},
		{"dynamodb:UpdateItem", []string{"release", lease.Key}, "evict lease " + lease.Key + " of table fanout: "},
	} {
		if err := l.aws.DenyActions(base, c.action); err != nil {
			t.Fatal(err)
		}
		code, stdout, stderr := l.run(c.args...)
		if said := stdout + stderr; code != 1 || !strings.Contains(said, c.says) || !strings.Contains(said, "AccessDenied") || !strings.Contains(said, c.action) {
			t.Errorf("%s denied: exit %d: %s", c.action, code, said)
		}
	}
	if got := l.get(lease.Key); got.Counter != lease.Counter || got.Owner != "w1" {
		t.Errorf("it was changed: %+v", got)
	}
}
