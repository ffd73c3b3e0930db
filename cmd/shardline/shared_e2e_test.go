package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/shardline/shardline/internal/localaws"
)

// kclOwner renews leases as a worker of the Kinesis Client Library does, until
// somebody has taken them or the test ends.
func (s *scene) kclOwner(name string, failover time.Duration, leases ...string) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for _, lease := range leases {
		item := kclItem(lease)
		item["leaseOwner"] = word(name)
		if _, err := s.tables.PutItem(ctx, &dynamodb.PutItemInput{TableName: aws.String(application), Item: item}); err != nil {
			s.t.Fatal(err)
		}
		all.Go(func() {
			for counter := 0; ; counter++ {
				select {
				case <-time.After(failover / 3):
				case <-ctx.Done():
					return
				}
				number := func(n int) types.AttributeValue { return &types.AttributeValueMemberN{Value: strconv.Itoa(n)} }
				_, err := s.tables.UpdateItem(ctx, &dynamodb.UpdateItemInput{TableName: aws.String(application),
					Key:              map[string]types.AttributeValue{"leaseKey": word(lease)},
					UpdateExpression: aws.String("SET leaseCounter = :next"), ConditionExpression: aws.String("leaseCounter = :now"),
					ExpressionAttributeValues: map[string]types.AttributeValue{":now": number(counter), ":next": number(counter + 1)}})
				if err != nil {
					return
				}
			}
		})
	}
	s.t.Cleanup(func() { cancel(); all.Wait() })
}

// TestOwnerOfKCL is an alarm, and keeps its leases; on a table that is shared
// one of its two is taken, and delivered after a fail-over time.
func TestOwnerOfKCL(t *testing.T) {
	t.Parallel()
	const failover = 3 * time.Second
	s := newScene(t, localaws.Config{}, 2)
	r := s.receiver("channel")
	s.createTable(application, "leaseKey")
	s.kclOwner("their-worker", failover, shardID(0), shardID(1))
	s.some(40, 8)

	metric := func(p *process, expected string, want int) {
		t.Helper()
		line := fmt.Sprintf("shardline_checkpoint_foreign_leases{expected=%q} %d\n", expected, want)
		await(t, "the metric says "+line, func() error {
			if _, body := p.get("/metrics"); !strings.Contains(string(body), line) {
				return fmt.Errorf("it is not there")
			}
			return nil
		})
	}
	alone := s.start(s.config(settings{failover: failover, leases: "key_format: single_stream"}))
	if said := alone.awaitLog("a worker that is not Shardline renews leases"); !strings.Contains(said, "their-worker") || !strings.Contains(said, shardID(1)) {
		t.Errorf("it names neither owner nor leases: %s", said)
	}
	metric(alone, "false", 2)
	alone.stop()
	if n := r.count(); n != 0 {
		t.Errorf("%d deliveries beside the owner", n)
	}

	shared := s.start(s.config(settings{failover: failover, leases: "key_format: single_stream, shared_with_kcl: true"}))
	shared.awaitLog("lease is taken from a KCL worker")
	taken := shared.loggedAt("lease is taken from a KCL worker", time.Time{})
	await(t, "its records are delivered", func() error {
		if r.count() == 0 {
			return fmt.Errorf("nothing is")
		}
		return nil
	})
	if wait := time.Since(taken); wait < failover-500*time.Millisecond {
		t.Errorf("delivered %s after the take, want %s", wait, failover)
	}
	metric(shared, "true", 1)
	shared.stop()
	owned := 0
	for _, item := range s.scan(application).Items {
		if v, ok := item["leaseOwner"].(*types.AttributeValueMemberS); ok && v.Value == "their-worker" {
			owned++
		}
	}
	if owned != 1 {
		t.Errorf("their worker has %d leases, want 1", owned)
	}
}
