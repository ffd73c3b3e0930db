package main

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/shardline/shardline/internal/localaws"
)

// createTable makes a table with one hash key.
func (s *scene) createTable(name, key string) {
	s.t.Helper()
	_, err := s.tables.CreateTable(context.Background(), &dynamodb.CreateTableInput{
		TableName: &name, BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: &key, AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: &key, KeyType: types.KeyTypeHash}},
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// TestTablesRefused ends with exit code 1 and says why when the lease table is
// none that Shardline may use; what stands in it is not touched.
func TestTablesRefused(t *testing.T) {
	t.Parallel()
	s := newScene(t, localaws.Config{}, 1)
	r := s.receiver("channel")
	s.some(5, 5)
	for _, c := range []struct {
		name    string
		table   func(s *scene)
		item    map[string]types.AttributeValue
		leases  string
		message []string
	}{
		{name: "vmware-go-kcl", table: func(s *scene) { s.createTable("theirs", "ShardID") },
			item:    map[string]types.AttributeValue{"ShardID": word("shardId-000000000000"), "AssignedTo": word("someone"), "Checkpoint": word("49")},
			message: []string{"theirs", "vmware-go-kcl", "ShardID"}},
		{name: "another schema", table: func(s *scene) { s.createTable("other", "id") },
			item: map[string]types.AttributeValue{"id": word("x")}, message: []string{"other", "id"}},
		{name: "single_stream keys", table: func(s *scene) { s.createTable("single", "leaseKey") },
			item:    kclItem(shardID(0)),
			message: []string{"single", shardID(0), "single_stream"}},
		{name: "multi_stream keys", table: func(s *scene) { s.createTable("multi", "leaseKey") }, leases: "key_format: single_stream",
			item:    kclItem("111111111111:hotels-0:1700000000:" + shardID(0)),
			message: []string{"multi", "multi_stream"}},
		{name: "missing, and not to be created", leases: "table: nowhere, create_tables: false",
			message: []string{"nowhere", "does not exist", "create_tables"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := s.in(t)
			table := c.message[0]
			if c.table != nil {
				c.table(s)
				if _, err := s.tables.PutItem(context.Background(), &dynamodb.PutItemInput{TableName: &table, Item: c.item}); err != nil {
					t.Fatal(err)
				}
				c.leases = strings.Join(append([]string{"table: " + table}, strings.Fields(c.leases)...), " ")
				c.leases = strings.Replace(c.leases, table+" key_format", table+", key_format", 1)
			}
			p := s.start(s.config(settings{leases: c.leases}))
			p.awaitExit(1)
			said := p.tail(1)
			for _, w := range c.message {
				if !strings.Contains(said, w) {
					t.Errorf("the last line does not say %q: %s", w, said)
				}
			}
			if c.table != nil {
				if out := s.scan(table); len(out.Items) != 1 || len(out.Items[0]) != len(c.item) {
					t.Errorf("the foreign table was changed: %v", out.Items)
				}
			}
		})
	}
	if n := r.count(); n != 0 {
		t.Errorf("%d deliveries without a lease table", n)
	}
}

func word(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

// kclItem is a lease as a worker of the Kinesis Client Library creates it.
func kclItem(key string) map[string]types.AttributeValue {
	zero := &types.AttributeValueMemberN{Value: "0"}
	return map[string]types.AttributeValue{"leaseKey": word(key), "leaseCounter": zero, "ownerSwitchesSinceCheckpoint": zero,
		"checkpoint": word("TRIM_HORIZON"), "checkpointSubSequenceNumber": zero}
}

// TestSingleStreamTable takes over the table of a KCL application with one
// stream: it goes on behind its checkpoint, for all its destinations.
func TestSingleStreamTable(t *testing.T) {
	t.Parallel()
	s := newScene(t, localaws.Config{}, 1)
	r := s.receiver("channel")
	s.createTable(application, "leaseKey")
	var last string
	for i := range 5 {
		var err error
		if _, last, err = s.aws.Put(s.streams[0].arn, "k", fmt.Appendf(nil, "KCL has settled this, %d", i)); err != nil {
			t.Fatal(err)
		}
	}
	item := kclItem(shardID(0))
	item["checkpoint"] = word(last)
	item["aColumnOfTheirs"] = word("stays")
	if _, err := s.tables.PutItem(context.Background(), &dynamodb.PutItemInput{TableName: aws.String(application), Item: item}); err != nil {
		t.Fatal(err)
	}
	s.some(30, 5)
	p := s.start(s.config(settings{failover: 10 * time.Second, leases: "key_format: single_stream"}))
	s.awaitThrough(r)
	p.stop()
	if result := s.check(r); result.Duplicates != 0 || r.count() != 30 {
		t.Errorf("%d requests, %d duplicates, want 30 and none", r.count(), result.Duplicates)
	}
	items := s.scan(application).Items
	if len(items) != 1 {
		t.Fatalf("%d items, want 1", len(items))
	}
	if v, ok := items[0]["aColumnOfTheirs"].(*types.AttributeValueMemberS); !ok || v.Value != "stays" {
		t.Errorf("an attribute of somebody else's was lost: %v", items[0])
	}
	if _, has := items[0]["streamName"]; has {
		t.Error("a single-stream item has a streamName")
	}
}

// TestTableInTrouble throttles and breaks the lease table, then takes it away
// for longer than the fail-over time: two workers go on afterwards and nothing
// is lost, and while nobody can own a lease nobody delivers.
func TestTableInTrouble(t *testing.T) {
	t.Parallel()
	s := newScene(t, localaws.Config{}, 3)
	quick, slow := s.receiver("quick"), s.receiver("slow").slow(3*time.Millisecond)
	config := s.config(settings{failover: 2 * time.Second})
	stopFeeding := s.keepFeeding(4, 40, 20*time.Millisecond)
	one, two := s.start(config), s.start(config)
	s.awaitLeases("they share", ownedBy(1, one, two))
	for i, f := range []localaws.Fault{
		{Operation: "dynamodb.*", Kind: localaws.Throttle, Probability: .06},
		{Operation: "dynamodb.*", Kind: localaws.Error500, Probability: .06},
		{Operation: "dynamodb.*", Kind: localaws.DropBefore, Probability: .06},
		{Operation: "dynamodb.*", Kind: localaws.DropAfter, Probability: .06},
		{Operation: "dynamodb.Scan", Kind: localaws.StaleRead, Probability: .5},
		{Operation: "dynamodb.UpdateItem", Kind: localaws.Delay, DelayMillis: 100, Probability: .2},
	} {
		f.Seed = s.seed + uint64(i)
		if _, err := s.aws.AddFault(f); err != nil {
			t.Fatal(err)
		}
	}
	trouble := quick.workers()
	await(t, "both deliver in spite of the faults", func() error {
		if w := quick.workers(); w[one.name] < trouble[one.name]+200 || w[two.name] < trouble[two.name]+200 {
			return fmt.Errorf("%v", w)
		}
		return nil
	})

	s.aws.ClearFaults()
	if _, err := s.aws.AddFault(localaws.Fault{Operation: "dynamodb.*", Kind: localaws.DropBefore}); err != nil {
		t.Fatal(err)
	}
	for _, p := range []*process{one, two} {
		p.awaitLog(`"lease lost"`, `"reason":"expired"`)
		await(t, p.name+" is not ready", func() error {
			status, r := p.readiness()
			if status != 503 || r.Ready || !strings.Contains(r.Reason, "lease table") || r.Leases.Held != 0 {
				return fmt.Errorf("status %d, %+v", status, r)
			}
			return nil
		})
	}
	await(t, "attempts in flight end", func() error {
		for _, p := range []*process{one, two} {
			_, r := p.readiness()
			for _, d := range r.Destinations {
				if d.InFlight > 0 {
					return fmt.Errorf("%s has %d in flight", d.Name, d.InFlight)
				}
			}
		}
		return nil
	})
	silent := quick.count() + slow.count()
	tick := time.NewTicker(time.Second) // long enough for an attempt that should not be
	<-tick.C
	tick.Stop()
	if n := quick.count() + slow.count(); n != silent {
		t.Errorf("%d attempts without a lease", n-silent)
	}

	s.aws.ClearFaults()
	s.awaitLeases("they share again", ownedBy(1, one, two))
	stopFeeding()
	s.awaitThrough(quick, slow)
	if status, r := one.readiness(); status != 200 || !r.Ready {
		t.Errorf("/readyz: %d, %+v", status, r)
	}
	one.stop()
	two.stop()
	for _, r := range s.receivers {
		s.check(r)
	}
}
