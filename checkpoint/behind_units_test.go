package checkpoint_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go/middleware"

	"github.com/shardline/shardline/checkpoint"
)

// capacity is what the service says that writes have cost, in units.
type capacity struct{ writes float64 }

// initialize asks for the cost of every write, and adds it up.
func (c *capacity) initialize(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
	switch in := in.Parameters.(type) {
	case *dynamodb.UpdateItemInput:
		in.ReturnConsumedCapacity = types.ReturnConsumedCapacityTotal
	case *dynamodb.PutItemInput:
		in.ReturnConsumedCapacity = types.ReturnConsumedCapacityTotal
	case *dynamodb.DeleteItemInput:
		in.ReturnConsumedCapacity = types.ReturnConsumedCapacityTotal
	}
	out, metadata, err := next.HandleInitialize(ctx, in)
	var cost *types.ConsumedCapacity
	switch out := out.Result.(type) {
	case *dynamodb.UpdateItemOutput:
		cost = out.ConsumedCapacity
	case *dynamodb.PutItemOutput:
		cost = out.ConsumedCapacity
	case *dynamodb.DeleteItemOutput:
		cost = out.ConsumedCapacity
	}
	if cost != nil {
		c.writes += aws.ToFloat64(cost.CapacityUnits)
	}
	return out, metadata, err
}

// behindCost is what saves of one lease cost, in write units.
type behindCost struct {
	First   float64 // the save in which they fall behind
	Steady  float64 // one in which only the checkpoint moves
	Few     float64 // one in which ten of them move, or ten keys of the only one
	More    float64 // one in which another one falls behind, with ten keys at most
	All     float64 // one in which all of them move
	Through float64 // the one in which they are through
}

// behindScale is a lease of so many destinations, of which so many are behind,
// with parked keys each.
type behindScale struct{ destinations, behind, keys int }

func (s behindScale) String() string {
	return fmt.Sprintf("destinations=%d/behind=%d/keys=%d", s.destinations, s.behind, s.behind*s.keys)
}

// countBehind saves one lease's positions on the local AWS, which counts as the
// service does.
func countBehind(t testing.TB, scale behindScale) (cost behindCost) {
	t.Helper()
	client, _, _ := meteredTables(t)
	c, options := &capacity{}, client.Options()
	options.APIOptions = append(options.APIOptions, func(stack *middleware.Stack) error {
		return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("capacity", c.initialize), middleware.After)
	})
	store := openTables(t, dynamodb.New(options))
	if err := store.Create(t.Context(), shardLease("shardId-000000000007")); err != nil {
		t.Fatal(err)
	}
	lease, err := store.Take(t.Context(), shardLease("shardId-000000000007"), "ip-10-0-1-7.eu-west-1.compute.internal:4711", "tenure")
	if err != nil {
		t.Fatal(err)
	}
	saved := checkpoint.Saved{}
	for i := range scale.destinations {
		saved.Roster = append(saved.Roster, fmt.Sprintf("destination-%04d", i))
	}
	n := 0
	position := func() checkpoint.Position { // another one at each call, as long as the service's
		n++
		return checkpoint.Number(fmt.Sprintf("49612345678901234567890123%030d", n), 0)
	}
	save := func(change func(saved *checkpoint.Saved)) float64 {
		t.Helper()
		saved = saved.Clone()
		saved.Checkpoint = position()
		change(&saved)
		c.writes = 0
		if lease, err = store.Renew(t.Context(), lease, &saved); err != nil {
			t.Fatal(err)
		}
		return c.writes
	}
	entry := func(name string, moved int) func(*checkpoint.Saved) {
		return func(saved *checkpoint.Saved) {
			e := saved.Behind[name]
			e.At = position()
			if e.Keys == nil && scale.keys > 0 {
				e.Keys = make(map[string]checkpoint.Position)
			}
			for k := range moved {
				e.Keys[fmt.Sprintf("hotel-%06d", k)] = position()
			}
			saved.Behind[name] = e
		}
	}
	names := saved.Roster[:scale.behind]
	each := func(names []string, moved int) func(*checkpoint.Saved) {
		return func(saved *checkpoint.Saved) {
			if saved.Behind == nil {
				saved.Behind = make(map[string]checkpoint.Entry)
			}
			for _, name := range names {
				entry(name, moved)(saved)
			}
		}
	}
	nothing := func(*checkpoint.Saved) {}

	save(nothing) // the roster, once
	cost.First = save(each(names, scale.keys))
	if scale.behind == 0 {
		cost.Steady = save(nothing)
		return cost
	}
	cost.Steady = save(nothing)
	few, moved := names[:min(10, len(names))], min(1, scale.keys)
	if len(names) == 1 {
		moved = min(10, scale.keys)
	}
	cost.Few = save(each(few, moved))
	if scale.behind < scale.destinations {
		cost.More = save(each(saved.Roster[scale.behind:scale.behind+1], min(10, scale.keys)))
	}
	cost.All = save(each(names, scale.keys))
	cost.Through = save(func(saved *checkpoint.Saved) { saved.Behind = nil })
	return cost
}

// TestBehindUnits: whoever is behind and does not move costs no more than the
// item's 4 KiB, however many they are.
func TestBehindUnits(t *testing.T) {
	for _, tc := range []struct {
		scale         behindScale
		first, steady float64
	}{
		{behindScale{1000, 0, 0}, 1, 1},       // the roster is a fingerprint
		{behindScale{1000, 20, 0}, 3, 3},      // 20 entries of some 80 bytes stand in the item
		{behindScale{1000, 1000, 0}, 90, 1},   // 1,000 of them in the state table, once
		{behindScale{1000, 999, 10}, 900, 1},  // 9,990 keys
		{behindScale{1000, 1, 10000}, 900, 1}, // 10,000 of one destination
	} {
		cost := countBehind(t, tc.scale)
		t.Logf("%s: %+v", tc.scale, cost)
		if cost.First > tc.first || cost.Steady > tc.steady {
			t.Errorf("%s: %.0f units, then %.0f; want %.0f and %.0f at most", tc.scale, cost.First, cost.Steady, tc.first, tc.steady)
		}
	}
}

// BenchmarkBehindUnits counts what saves cost while many are behind: the figures
// of docs/operations.md.
func BenchmarkBehindUnits(b *testing.B) {
	for _, scale := range []behindScale{{1000, 0, 0}, {1000, 20, 0}, {1000, 1000, 0}, {1000, 999, 10}, {1000, 1, 10000}} {
		b.Run(scale.String(), func(b *testing.B) {
			var cost behindCost
			for b.Loop() {
				cost = countBehind(b, scale)
			}
			b.ReportMetric(0, "ns/op") // says nothing
			b.ReportMetric(cost.First, "units/first")
			b.ReportMetric(cost.Steady, "units/steady")
			b.ReportMetric(cost.Few, "units/few")
			b.ReportMetric(cost.More, "units/more")
			b.ReportMetric(cost.All, "units/all")
			b.ReportMetric(cost.Through, "units/through")
		})
	}
}
