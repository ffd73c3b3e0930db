package checkpoint_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/checkpoint/storetest"
	"github.com/shardline/shardline/internal/localaws"
)

type item = map[string]types.AttributeValue

// localTables is a client of a local AWS that ends with the test.
func localTables(t *testing.T) (*dynamodb.Client, *localaws.Server) {
	t.Helper()
	server := localaws.New(localaws.Config{})
	account, err := server.AddAccount("333333333333")
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(server.Handler())
	t.Cleanup(h.Close)
	return dynamodb.NewFromConfig(aws.Config{
		Region: "eu-west-1", BaseEndpoint: aws.String(h.URL),
		Credentials: credentials.NewStaticCredentialsProvider(account.AccessKeyID, account.SecretAccessKey, ""),
	}), server
}

func openTables(t testing.TB, client *dynamodb.Client, change ...func(*checkpoint.DynamoDBConfig)) *checkpoint.DynamoDB {
	t.Helper()
	name := "app-" + strings.ToLower(rand.Text()[:10])
	c := checkpoint.DynamoDBConfig{Client: client, Table: name, StateTable: name + "-state", Format: checkpoint.MultiStream, Create: true}
	for _, f := range change {
		f(&c)
	}
	s := checkpoint.NewDynamoDB(c)
	if err := s.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestDynamoDB(t *testing.T) {
	client, _ := localTables(t)
	storetest.Run(t, func(t *testing.T) checkpoint.Store { return openTables(t, client) })
}

func TestItems(t *testing.T) {
	client, _ := localTables(t)
	testItems(t, client)
}

func s(v string) types.AttributeValue          { return &types.AttributeValueMemberS{Value: v} }
func n(v string) types.AttributeValue          { return &types.AttributeValueMemberN{Value: v} }
func set(v ...string) types.AttributeValue     { return &types.AttributeValueMemberSS{Value: v} }
func keyOf(shard string) string                { return storetest.Stream + ":" + shard }
func shardLease(shard string) checkpoint.Lease { return leaseOf(checkpoint.Shard{ID: shard}) }
func leaseOf(shard checkpoint.Shard) checkpoint.Lease {
	return checkpoint.NewLease(checkpoint.MultiStream, storetest.Stream, shard, checkpoint.TrimHorizon)
}

func getItem(t *testing.T, client *dynamodb.Client, table, attribute, key string) item {
	t.Helper()
	out, err := client.GetItem(t.Context(), &dynamodb.GetItemInput{TableName: &table, Key: item{attribute: s(key)}, ConsistentRead: aws.Bool(true)})
	if err != nil {
		t.Fatal(err)
	}
	return out.Item
}

func putItem(t *testing.T, client *dynamodb.Client, table string, it item) {
	t.Helper()
	if _, err := client.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &table, Item: it}); err != nil {
		t.Fatal(err)
	}
}

// show is an item as text, for comparing.
func show(it item) string {
	var lines []string
	for name, v := range it {
		switch v := v.(type) {
		case *types.AttributeValueMemberS:
			lines = append(lines, name+" S "+v.Value)
		case *types.AttributeValueMemberN:
			lines = append(lines, name+" N "+v.Value)
		case *types.AttributeValueMemberSS:
			lines = append(lines, name+" SS "+strings.Join(slices.Sorted(slices.Values(v.Value)), ","))
		case *types.AttributeValueMemberM:
			lines = append(lines, name+" M ("+strings.ReplaceAll(show(v.Value), "\n", "; ")+")")
		default:
			lines = append(lines, name+" ?")
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func expectItem(t *testing.T, what string, got, want item) {
	t.Helper()
	if show(got) != show(want) {
		t.Errorf("%s: item\n%s\nwant\n%s", what, show(got), show(want))
	}
}

// testItems holds what stands in the table against the items of Java workers.
func testItems(t *testing.T, client *dynamodb.Client) {
	var table string
	store := openTables(t, client, func(c *checkpoint.DynamoDBConfig) { table = c.Table })
	ctx := t.Context()
	key := keyOf("shardId-000000000002")
	l := leaseOf(checkpoint.Shard{ID: "shardId-000000000002", Parents: []string{"shardId-000000000001", "shardId-000000000000"}, HashFrom: "0", HashTo: "99"})
	if err := store.Create(ctx, l); err != nil {
		t.Fatal(err)
	}
	want := item{"leaseKey": s(key), "checkpoint": s("TRIM_HORIZON"), "checkpointSubSequenceNumber": n("0"), "leaseCounter": n("0"),
		"ownerSwitchesSinceCheckpoint": n("0"), "startingHashKey": s("0"), "endingHashKey": s("99"),
		"parentShardId": set("shardId-000000000000", "shardId-000000000001"),
		"streamName":    s(storetest.Stream), "shardId": s("shardId-000000000002")}
	expectItem(t, "created", getItem(t, client, table, "leaseKey", key), want)

	// A Java worker has owned it: attributes that are not ours, a prepared
	// checkpoint.
	want["throughputKBps"], want["entityType"], want["somethingNew"] = n("0.000055"), s("LEASE"), &types.AttributeValueMemberM{Value: item{"x": n("1")}}
	want["leaseOwner"], want["leaseCounter"] = s("java"), n("17")
	want["pendingCheckpoint"], want["pendingCheckpointSubSequenceNumber"], want["pendingCheckpointState"] = s("5"), n("0"), &types.AttributeValueMemberB{Value: []byte{1}}
	putItem(t, client, table, want)
	l, err := store.Get(ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	if l, err = store.Take(ctx, l, "worker", "tenure"); err != nil {
		t.Fatal(err)
	}
	want["leaseOwner"], want["tenure"], want["leaseCounter"], want["ownerSwitchesSinceCheckpoint"] = s("worker"), s("tenure"), n("18"), n("1")
	expectItem(t, "taken from a Java worker", getItem(t, client, table, "leaseKey", key), want)

	save := checkpoint.Saved{Checkpoint: checkpoint.Number("49", 3), Roster: []string{"b", "a"},
		Behind: map[string]checkpoint.Entry{"a": {At: checkpoint.Number("48", 0)}, "b": {Keys: map[string]checkpoint.Position{"H": checkpoint.Number("47", 1)}}}}
	slices.Sort(save.Roster)
	if l, err = store.Renew(ctx, l, &save); err != nil {
		t.Fatal(err)
	}
	got := getItem(t, client, table, "leaseKey", key)
	roster, _ := got["roster"].(*types.AttributeValueMemberS)
	if roster == nil || len(roster.Value) != 32 {
		t.Fatalf("roster %v", got["roster"])
	}
	names := getItem(t, client, table+"-state", "key", "roster/"+roster.Value)
	delete(names, "stamp") // random
	expectItem(t, "roster", names, item{"key": s("roster/" + roster.Value), "names": set("a", "b")})
	for _, name := range []string{"pendingCheckpoint", "pendingCheckpointSubSequenceNumber", "pendingCheckpointState"} {
		delete(want, name)
	}
	want["roster"], want["checkpoint"], want["checkpointSubSequenceNumber"], want["leaseCounter"], want["ownerSwitchesSinceCheckpoint"] =
		roster, s("49"), n("3"), n("19"), n("0")
	want["behind"] = &types.AttributeValueMemberM{Value: item{"a": s("48:0"),
		"b": &types.AttributeValueMemberM{Value: item{"at": s("TRIM_HORIZON"), "keys": &types.AttributeValueMemberM{Value: item{"H": s("47:1")}}}}}}
	expectItem(t, "saved", got, want)

	if err := store.Ask(ctx, l, "other"); err != nil {
		t.Fatal(err)
	}
	want["leaseOwner"], want["checkpointOwner"], want["askedBy"] = s("other"), s("worker"), s("other")
	expectItem(t, "asked for", getItem(t, client, table, "leaseKey", key), want)
	if l, err = store.Get(ctx, key); err != nil {
		t.Fatal(err)
	}
	save = checkpoint.Saved{Checkpoint: checkpoint.At(time.UnixMilli(1234)), Roster: save.Roster}
	if err := store.Release(ctx, l, &save); err != nil {
		t.Fatal(err)
	}
	delete(want, "checkpointOwner")
	delete(want, "askedBy")
	delete(want, "tenure")
	delete(want, "behind")
	want["checkpoint"], want["checkpointSubSequenceNumber"], want["checkpointTimestamp"], want["leaseCounter"] = s("AT_TIMESTAMP"), n("0"), n("1234"), n("20")
	expectItem(t, "handed over", getItem(t, client, table, "leaseKey", key), want)

	if l, err = store.Get(ctx, key); err != nil {
		t.Fatal(err)
	}
	if l, err = store.Take(ctx, l, "other", "t2"); err != nil {
		t.Fatal(err)
	}
	if err := store.SetChildren(ctx, l, []string{"c2", "c1"}); err != nil {
		t.Fatal(err)
	}
	save.Checkpoint = checkpoint.ShardEnd
	if err := store.Release(ctx, l, &save); err != nil {
		t.Fatal(err)
	}
	delete(want, "leaseOwner")
	delete(want, "checkpointTimestamp")
	want["checkpoint"], want["leaseCounter"], want["childShardIds"] = s("SHARD_END"), n("22"), set("c1", "c2")
	expectItem(t, "finished and released", getItem(t, client, table, "leaseKey", key), want)
}

func TestForeignTables(t *testing.T) {
	client, _ := localTables(t)
	testForeign(t, client)
}

// update changes attributes of an item as others do.
func update(t *testing.T, client *dynamodb.Client, table, key, expression string, values item) {
	t.Helper()
	_, err := client.UpdateItem(t.Context(), &dynamodb.UpdateItemInput{TableName: &table, Key: item{"leaseKey": s(key)},
		UpdateExpression: &expression, ExpressionAttributeValues: values})
	if err != nil {
		t.Fatal(err)
	}
}

func TestItemsOfKCLWorkers(t *testing.T) {
	client, _ := localTables(t)
	testItemsOfKCLWorkers(t, client)
}

// testItemsOfKCLWorkers holds what is read of items that KCL workers have
// written, and that attributes of theirs survive every write of ours.
func testItemsOfKCLWorkers(t *testing.T, client *dynamodb.Client) {
	ctx := t.Context()
	var table string
	store := openTables(t, client, func(c *checkpoint.DynamoDBConfig) { table = c.Table })
	key := keyOf("shardId-0")
	theirs := item{"throughputKBps": n("0.000055"), "entityType": s("LEASE"), "future": s("x"), "parentShardId": set("p1", "p2"),
		"startingHashKey": s("0"), "endingHashKey": s("9")}
	pending := item{"pendingCheckpoint": s("50"), "pendingCheckpointSubSequenceNumber": n("1"), "pendingCheckpointState": &types.AttributeValueMemberB{Value: []byte("x")}}
	it := item{"leaseKey": s(key), "leaseOwner": s("kcl"), "leaseCounter": n("4"), "ownerSwitchesSinceCheckpoint": n("2"),
		"checkpoint": s("49"), "checkpointSubSequenceNumber": n("3")}
	maps.Copy(it, theirs)
	maps.Copy(it, pending)
	putItem(t, client, table, it)

	survive := func(what string, pend bool) {
		t.Helper()
		got := getItem(t, client, table, "leaseKey", key)
		for name, v := range theirs {
			if show(item{name: got[name]}) != show(item{name: v}) {
				t.Errorf("%s: %s, want %s", what, show(item{name: got[name]}), show(item{name: v}))
			}
		}
		for name := range pending {
			if _, there := got[name]; there != pend {
				t.Errorf("%s: %s is there: %v", what, name, there)
			}
		}
	}
	read := func() checkpoint.Lease {
		t.Helper()
		l, err := store.Get(ctx, key)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}

	l := read()
	if worker, shardline := l.Holder(); worker != "kcl" || shardline || l.Checkpoint != checkpoint.Number("49", 3) {
		t.Errorf("read %+v", l)
	}
	tenure := tenureOf("w1")
	l, err := store.Take(ctx, l, "w1", tenure)
	must(err)
	survive("take", true)
	l, err = store.Renew(ctx, l, nil)
	must(err)
	save := checkpoint.Saved{Checkpoint: l.Checkpoint, Roster: []string{"a"}}
	l, err = store.Renew(ctx, l, &save)
	must(err)
	survive("renewals without a checkpoint", true)
	must(store.SetChildren(ctx, l, []string{"c1"}))
	must(store.Ask(ctx, l, "w2"))
	survive("asked for", true)

	// A worker of KCL 2.x takes in the middle: it knows only its own attributes.
	update(t, client, table, key, "SET leaseOwner = :o, leaseCounter = :c", item{":o": s("kcl"), ":c": n("8")})
	stolen := read()
	if worker, shardline := stolen.Holder(); worker != "kcl" || shardline || stolen.HandingOver != "" {
		t.Errorf("taken in the middle of a hand-over: held by %s (Shardline: %v), handing over: %q", worker, shardline, stolen.HandingOver)
	}
	l.HandingOver = "w1"
	if _, err := store.Renew(ctx, l, nil); !errors.Is(err, checkpoint.ErrConflict) {
		t.Errorf("renewal after that: %v", err)
	}
	l, err = store.Take(ctx, stolen, "w1", tenureOf("w1"))
	must(err)
	survive("take back", true)
	got := getItem(t, client, table, "leaseKey", key)
	if got["checkpointOwner"] != nil || got["askedBy"] != nil {
		t.Errorf("after the take: %s", show(got))
	}
	save.Checkpoint = checkpoint.Number("51", 0)
	l, err = store.Renew(ctx, l, &save)
	must(err)
	survive("checkpoint", false)
	must(store.Release(ctx, l, nil))
	survive("release", false)

	// The leader of a native fleet hands a lease from one worker to another.
	update(t, client, table, key, "SET leaseOwner = :o, checkpointOwner = :old", item{":o": s("kcl-2"), ":old": s("kcl-1")})
	if l := read(); l.Owner != "kcl-2" || l.HandingOver != "kcl-1" {
		t.Errorf("read %+v", l)
	}

	// LATEST keeps its name for KCL workers, and its time for Shardline.
	latest := shardLease("shardId-1")
	latest.Checkpoint = checkpoint.LatestAt(time.UnixMilli(1234))
	must(store.Create(ctx, latest))
	got = getItem(t, client, table, "leaseKey", latest.Key)
	if show(item{"c": got["checkpoint"], "t": got["checkpointTimestamp"]}) != show(item{"c": s("LATEST"), "t": n("1234")}) {
		t.Errorf("at latest: %s", show(got))
	}
	if l, err := store.Get(ctx, latest.Key); err != nil || l.Checkpoint != latest.Checkpoint {
		t.Errorf("at latest: %s, %v", l.Checkpoint, err)
	}
	putItem(t, client, table, item{"leaseKey": s(keyOf("shardId-2")), "leaseCounter": n("0"), "ownerSwitchesSinceCheckpoint": n("0"), "checkpoint": s("LATEST")})
	if l, err := store.Get(ctx, keyOf("shardId-2")); err != nil || l.Checkpoint != checkpoint.Latest {
		t.Errorf("LATEST of a KCL worker: %s, %v", l.Checkpoint, err)
	}
}

// tenureOf is a tenure of worker, as the Holder makes them.
func tenureOf(worker string) string {
	sum := sha256.Sum256([]byte(worker))
	return hex.EncodeToString(sum[:4]) + "01234567" + strings.ToLower(rand.Text()[:16])
}

// testForeign holds what is refused, and in which words.
func testForeign(t *testing.T, client *dynamodb.Client) {
	lease := func(key string, change item) item {
		it := item{"leaseKey": s(key), "checkpoint": s("TRIM_HORIZON"), "checkpointSubSequenceNumber": n("0"), "leaseCounter": n("0"), "ownerSwitchesSinceCheckpoint": n("0")}
		maps.Copy(it, change)
		maps.DeleteFunc(it, func(_ string, v types.AttributeValue) bool { return v == nil })
		return it
	}
	good := keyOf("shardId-0")
	for _, tt := range []struct {
		name   string
		format checkpoint.KeyFormat
		item   item
		want   []string // words of the error; none: accepted
	}{
		{name: "a lease", item: lease(good, nil)},
		{name: "decimals", item: lease(good, item{"leaseCounter": n("3.0"), "throughputKBps": n("0.000055")})},
		{name: "a lease of KCL 3.5", item: lease(good, item{"entityType": s("LEASE")})},
		{name: "the leader", item: item{"leaseKey": s("Leader"), "entityType": s("LEADER"), "ownerName": s("x")}},
		{name: "a worker's metrics", item: item{"leaseKey": s("w"), "entityType": s("WORKER_METRIC_STATS"), "lut": n("1")}},
		{name: "KCL 3 as KCL 2", item: item{"leaseKey": s("Migration3.0"), "entityType": s("CLIENT_VERSION_MIGRATION"), "cv": s("CLIENT_VERSION_UPGRADE_FROM_2X")}},
		{name: "native KCL 3 that turns up", item: item{"leaseKey": s("Migration3.0"), "entityType": s("CLIENT_VERSION_MIGRATION"), "cv": s("CLIENT_VERSION_3X_WITH_ROLLBACK")},
			want: []string{"CLIENT_VERSION_3X_WITH_ROLLBACK", "assign the leases"}},
		{name: "single stream key", item: lease("shardId-0", nil), want: []string{`"shardId-0"`, "single_stream", "leases.key_format"}},
		{name: "multi stream key", format: checkpoint.SingleStream, item: lease(good, nil), want: []string{good, "multi_stream", "leases.key_format"}},
		{name: "no counter", item: lease(good, item{"leaseCounter": nil}), want: []string{good, "leaseCounter", "missing"}},
		{name: "no switches", item: lease(good, item{"ownerSwitchesSinceCheckpoint": nil}), want: []string{"ownerSwitchesSinceCheckpoint", "missing"}},
		{name: "no checkpoint", item: lease(good, item{"checkpoint": nil}), want: []string{"checkpoint", "missing"}},
		{name: "a checkpoint of others", item: lease(good, item{"checkpoint": s("SOON")}), want: []string{"checkpoint", `"SOON"`}},
		{name: "counter is text", item: lease(good, item{"leaseCounter": s("1")}), want: []string{"leaseCounter", "no number"}},
		{name: "behind of the future", item: lease(good, item{"behind": &types.AttributeValueMemberM{Value: item{"a": n("1")}}}),
			want: []string{good, "behind", `"a"`, "newer version"}},
		{name: "behind with more", item: lease(good, item{"behind": &types.AttributeValueMemberM{Value: item{"a": &types.AttributeValueMemberM{
			Value: item{"at": s("1:0"), "keys": &types.AttributeValueMemberM{Value: item{}}, "rate": n("1")}}}}}), want: []string{good, "behind", `"a"`}},
		{name: "unknown roster", item: lease(good, item{"roster": s("0123")}), want: []string{good, "roster 0123"}},
		{name: "lost overflow", item: lease(good, item{"behindRef": s("behind/x/y")}), want: []string{good, "behind/x/y"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var c checkpoint.DynamoDBConfig
			store := openTables(t, client, func(x *checkpoint.DynamoDBConfig) {
				if tt.format != "" {
					x.Format = tt.format
				}
				c = *x
			})
			putItem(t, client, c.Table, tt.item)
			err := store.Prepare(t.Context())
			if (err == nil) != (tt.want == nil) {
				t.Fatalf("Prepare: %v", err)
			}
			for _, word := range append(tt.want, c.Table) {
				if err != nil && !strings.Contains(err.Error(), word) {
					t.Errorf("error %q does not name %q", err, word)
				}
			}
			if err != nil && !errors.Is(err, checkpoint.ErrForeign) {
				t.Errorf("error %q is not ErrForeign", err)
			}
		})
	}
	for _, tt := range []struct{ hash, sortKey, want string }{
		{"ShardID", "", "vmware-go-kcl"}, {"id", "", "HASH id (S)"}, {"leaseKey", "when", "RANGE when (S)"},
	} {
		t.Run("key "+tt.hash+tt.sortKey, func(t *testing.T) {
			name := "app-" + strings.ToLower(rand.Text()[:10])
			createTable(t, client, name, tt.hash, tt.sortKey)
			store := checkpoint.NewDynamoDB(checkpoint.DynamoDBConfig{Client: client, Table: name, StateTable: name + "-state", Create: true})
			if err := store.Prepare(t.Context()); !errors.Is(err, checkpoint.ErrForeign) || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), name) {
				t.Errorf("Prepare: %v", err)
			}
		})
	}
	t.Run("missing", func(t *testing.T) {
		store := checkpoint.NewDynamoDB(checkpoint.DynamoDBConfig{Client: client, Table: "app-missing", StateTable: "app-missing-state"})
		if err := store.Prepare(t.Context()); err == nil || !strings.Contains(err.Error(), "app-missing") || !strings.Contains(err.Error(), "create_tables") {
			t.Errorf("Prepare: %v", err)
		}
	})
}

func TestNativeWorkers(t *testing.T) {
	client, _ := localTables(t)
	testNativeWorkers(t, client)
}

// testNativeWorkers: tables that native KCL workers have used are taken over
// when nothing in them changes, and refused while something does; one that comes
// to life later ends the scans.
func testNativeWorkers(t *testing.T, client *dynamodb.Client) {
	const failover = 400 * time.Millisecond
	worker := func(lut string) item {
		return item{"leaseKey": s("w1"), "entityType": s("WORKER_METRIC_STATS"), "lut": n(lut)}
	}
	mode := item{"leaseKey": s("Migration3.0"), "entityType": s("CLIENT_VERSION_MIGRATION"), "cv": s("CLIENT_VERSION_3X"), "mb": s("w1")}
	held := func(counter string) item {
		return item{"leaseKey": s(keyOf("shardId-0")), "leaseOwner": s("w2"), "leaseCounter": n(counter), "ownerSwitchesSinceCheckpoint": n("0"), "checkpoint": s("TRIM_HORIZON")}
	}
	open := func(t *testing.T) (*checkpoint.DynamoDB, string) {
		name := "app-" + strings.ToLower(rand.Text()[:10])
		for _, x := range [][2]string{{name, "leaseKey"}, {name + "-CoordinatorState", "key"}, {name + "-WorkerMetricStats", "wid"}} {
			createTable(t, client, x[0], x[1])
		}
		return checkpoint.NewDynamoDB(checkpoint.DynamoDBConfig{Client: client, Table: name, StateTable: name + "-state",
			Format: checkpoint.MultiStream, Failover: failover, Create: true}), name
	}
	// prepare changes something until the store has made up its mind.
	prepare := func(t *testing.T, store *checkpoint.DynamoDB, change func(i int)) error {
		done := make(chan error, 1)
		go func() { done <- store.Prepare(t.Context()) }()
		for i := 0; ; i++ {
			change(i)
			select {
			case err := <-done:
				return err
			case <-time.After(failover / 50):
			}
		}
	}
	for _, tt := range []struct {
		name   string
		change func(table string, i int) (string, item)
		want   []string
	}{
		{"a lease is renewed", func(table string, i int) (string, item) { return table, held(strconv.Itoa(i)) }, []string{"w2", "CLIENT_VERSION_3X"}},
		{"metrics are written, KCL 3.5", func(table string, i int) (string, item) { return table, worker(strconv.Itoa(i)) }, []string{"w1"}},
		{"metrics are written, KCL 3.0", func(table string, i int) (string, item) {
			return table + "-WorkerMetricStats", item{"wid": s("w3"), "lut": n(strconv.Itoa(i))}
		}, []string{"w3"}},
		{"a leader renews", func(table string, i int) (string, item) {
			return table + "-CoordinatorState", item{"key": s("Leader"), "ownerName": s("w4"), "recordVersionNumber": s(strconv.Itoa(i))}
		}, []string{"w4"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store, table := open(t)
			if strings.Contains(tt.name, "3.5") {
				putItem(t, client, table, mode)
			} else {
				putItem(t, client, table+"-CoordinatorState", item{"key": s("Migration3.0"), "cv": s("CLIENT_VERSION_3X")})
			}
			err := prepare(t, store, func(i int) {
				where, it := tt.change(table, i)
				putItem(t, client, where, it)
			})
			if !errors.Is(err, checkpoint.ErrForeign) {
				t.Fatalf("Prepare: %v", err)
			}
			for _, word := range append(tt.want, table, "stop them") {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("error %q does not name %q", err, word)
				}
			}
		})
	}
	t.Run("stopped, and started again", func(t *testing.T) {
		store, table := open(t)
		putItem(t, client, table, mode)
		putItem(t, client, table, worker("1"))
		putItem(t, client, table, held("5"))
		if err := store.Prepare(t.Context()); err != nil {
			t.Fatalf("Prepare: %v", err)
		}
		if leases, err := store.List(t.Context()); err != nil || len(leases) != 1 {
			t.Fatalf("List: %v %v", leases, err)
		}
		if _, err := store.Get(t.Context(), "w1"); !errors.Is(err, checkpoint.ErrNotFound) {
			t.Errorf("Get of a worker's metrics: %v", err)
		}
		putItem(t, client, table, held("6"))
		if _, err := store.List(t.Context()); !errors.Is(err, checkpoint.ErrForeign) || !strings.Contains(err.Error(), "w2") {
			t.Errorf("List: %v", err)
		}
	})
}

// TestCoordinatorTableThatFails: it is not the leases' table. Scans go on without
// it; at the start it is waited for.
func TestCoordinatorTableThatFails(t *testing.T) {
	client, server := localTables(t)
	var c checkpoint.DynamoDBConfig
	store := openTables(t, client, func(x *checkpoint.DynamoDBConfig) {
		x.Failover = 10 * time.Millisecond
		c = *x
	})
	createTable(t, client, c.Table+"-CoordinatorState", "key")
	if _, err := server.AddFault(localaws.Fault{Operation: "dynamodb.GetItem", Table: c.Table + "-CoordinatorState", Kind: localaws.Error500}); err != nil {
		t.Fatal(err)
	}
	fresh := checkpoint.NewDynamoDB(c)
	if _, err := fresh.List(t.Context()); err != nil {
		t.Errorf("List: %v", err)
	}
	if err := checkpoint.NewDynamoDB(c).Prepare(t.Context()); err == nil || errors.Is(err, checkpoint.ErrForeign) || !strings.Contains(err.Error(), "CoordinatorState") {
		t.Errorf("Prepare: %v", err)
	}
	if err := store.Prepare(t.Context()); err != nil { // it has looked a moment ago
		t.Errorf("Prepare again: %v", err)
	}
}

func createTable(t *testing.T, client *dynamodb.Client, name string, keys ...string) {
	t.Helper()
	in := &dynamodb.CreateTableInput{TableName: &name, BillingMode: types.BillingModePayPerRequest}
	for i, k := range keys {
		if k == "" {
			continue
		}
		in.AttributeDefinitions = append(in.AttributeDefinitions, types.AttributeDefinition{AttributeName: &k, AttributeType: types.ScalarAttributeTypeS})
		in.KeySchema = append(in.KeySchema, types.KeySchemaElement{AttributeName: &k, KeyType: []types.KeyType{types.KeyTypeHash, types.KeyTypeRange}[i]})
	}
	if _, err := client.CreateTable(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	for {
		out, err := client.DescribeTable(t.Context(), &dynamodb.DescribeTableInput{TableName: &name})
		if err == nil && out.Table.TableStatus == types.TableStatusActive {
			return
		}
		if t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
}

func TestOverflow(t *testing.T) {
	client, _ := localTables(t)
	testOverflow(t, client)
}

// testOverflow holds what stands where, and that nothing is left over.
func testOverflow(t *testing.T, client *dynamodb.Client) {
	var table string
	store := openTables(t, client, func(c *checkpoint.DynamoDBConfig) { table = c.Table })
	other := checkpoint.NewDynamoDB(checkpoint.DynamoDBConfig{Client: client, Table: table, StateTable: table + "-state", Format: checkpoint.MultiStream})
	ctx := t.Context()
	l := shardLease("shardId-0")
	if err := store.Create(ctx, l); err != nil {
		t.Fatal(err)
	}
	l, err := store.Take(ctx, l, "a", "t1")
	if err != nil {
		t.Fatal(err)
	}
	// overflow is the names of the state table's items but the rosters.
	overflow := func() []string {
		t.Helper()
		out, err := client.Scan(context.WithoutCancel(ctx), &dynamodb.ScanInput{TableName: aws.String(table + "-state"), ConsistentRead: aws.Bool(true)})
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, it := range out.Items {
			if k := it["key"].(*types.AttributeValueMemberS).Value; strings.HasPrefix(k, "behind/") {
				names = append(names, k)
			}
		}
		slices.Sort(names)
		return names
	}
	save := func(st *checkpoint.DynamoDB, behind map[string]checkpoint.Entry) {
		t.Helper()
		if l, err = st.Renew(ctx, l, &checkpoint.Saved{Checkpoint: checkpoint.Number("100", 0), Behind: behind}); err != nil {
			t.Fatal(err)
		}
		for _, reader := range []*checkpoint.DynamoDB{store, other} {
			got, err := reader.Get(ctx, l.Key)
			if err != nil || !got.Saved.Equal(l.Saved) {
				t.Fatalf("another process reads %d entries, %v", len(got.Behind), err)
			}
		}
	}
	entries := func(n int) map[string]checkpoint.Entry {
		b := map[string]checkpoint.Entry{}
		for i := range n {
			b[strings.Repeat("x", 50)+string(rune('a'+i/26))+string(rune('a'+i%26))] = checkpoint.Entry{At: checkpoint.Number("10", 0)}
		}
		return b
	}
	few, many := entries(10), entries(200)
	save(store, few)
	if got := overflow(); len(got) != 0 {
		t.Errorf("overflow of 10 entries: %v", got)
	}
	save(store, many)
	first := overflow()
	if len(first) != 1 || !strings.HasPrefix(first[0], "behind/"+l.Key+"/") {
		t.Fatalf("overflow of 200 entries: %v", first)
	}
	moved := maps.Clone(many)
	moved[strings.Repeat("x", 50)+"aa"] = checkpoint.Entry{At: checkpoint.Number("11", 0)}
	save(store, moved)
	if got := overflow(); !slices.Equal(got, first) {
		t.Errorf("one that moved made new overflow: %v", got)
	}
	if it := getItem(t, client, table, "leaseKey", l.Key); !strings.Contains(show(it), "behind M (") {
		t.Errorf("the one that moved does not stand in the item: %s", show(it))
	}
	delete(moved, strings.Repeat("x", 50)+"ab")
	save(store, moved)
	if got := overflow(); len(got) != 1 || slices.Equal(got, first) {
		t.Errorf("one that caught up left its entry in the overflow: %v", got)
	}
	// The next owner replaces it; the first one, back again, does not name what
	// is gone.
	if l, err = other.Take(ctx, l, "b", "t2"); err != nil {
		t.Fatal(err)
	}
	save(other, few)
	if got := overflow(); len(got) != 0 {
		t.Errorf("the next owner left %v", got)
	}
	if l, err = store.Take(ctx, l, "a", "t3"); err != nil {
		t.Fatal(err)
	}
	save(store, moved)
	save(store, few)
	if got := overflow(); len(got) != 0 {
		t.Errorf("in the end %v is left", got)
	}
	// One whose item has more than the service's limit of one item.
	keys := map[string]checkpoint.Position{}
	for i := range 9000 {
		keys[strings.Repeat("k", 60)+string(rune(0x4e00+i))] = checkpoint.Number("5", 0)
	}
	few["huge"] = checkpoint.Entry{At: checkpoint.Number("6", 0), Keys: keys}
	save(store, few)
	if got := overflow(); len(got) < 2 {
		t.Errorf("800 KB of keys in %v", got)
	}
	save(store, nil)
	if got := overflow(); len(got) != 0 {
		t.Errorf("in the end %v is left", got)
	}
	save(store, many)
	if err := other.Delete(ctx, l); err != nil {
		t.Fatal(err)
	}
	if got := overflow(); len(got) != 0 {
		t.Errorf("the deleted lease leaves %v", got)
	}
}

// A save that cannot write its overflow leaves the lease to a bare renewal.
func TestStateTableThatFails(t *testing.T) {
	client, server := localTables(t)
	store := openTables(t, client)
	l := shardLease("shardId-0")
	if err := store.Create(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	l, err := store.Take(t.Context(), l, "a", "t")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := server.AddFault(localaws.Fault{Operation: "dynamodb.PutItem", Kind: localaws.Error500}); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Renew(t.Context(), l, &checkpoint.Saved{Roster: []string{"a"}}); !errors.Is(err, checkpoint.ErrNotSaved) {
		t.Errorf("renew with a new roster: %v, want ErrNotSaved", err)
	}
	if _, err := store.Renew(t.Context(), l, nil); err != nil {
		t.Errorf("bare renewal: %v", err)
	}
}

// What the service says becomes the sentinels; what it does not say is none.
func TestDynamoDBErrors(t *testing.T) {
	client, server := localTables(t)
	store := openTables(t, client)
	l := shardLease("shardId-0")
	if err := store.Create(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	sentinels := []error{checkpoint.ErrConflict, checkpoint.ErrThrottled, checkpoint.ErrTooLarge, checkpoint.ErrNotSaved, checkpoint.ErrExists, checkpoint.ErrNotFound}
	for _, tt := range []struct {
		kind  localaws.FaultKind
		err   error
		lands bool
	}{{localaws.Throttle, checkpoint.ErrThrottled, false}, {localaws.Error500, nil, false}, {localaws.DropBefore, nil, false}, {localaws.DropAfter, nil, true}} {
		id, err := server.AddFault(localaws.Fault{Operation: "dynamodb.UpdateItem", Kind: tt.kind, Count: 1})
		if err != nil {
			t.Fatal(err)
		}
		_, err = store.Take(t.Context(), l, "a", "t")
		server.RemoveFault(id)
		if err == nil {
			t.Fatalf("%v: no error", tt.kind)
		}
		for _, s := range sentinels {
			if errors.Is(err, s) != (s == tt.err) {
				t.Errorf("%v: error %v", tt.kind, err)
			}
		}
		got, err := store.Get(t.Context(), l.Key)
		if err != nil {
			t.Fatal(err)
		}
		// Sent once: a second try would have been refused.
		if landed := got.Owner == "a"; landed != tt.lands {
			t.Errorf("%v: landed is %t", tt.kind, landed)
		}
	}
}
