package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/shardline/shardline/checkpoint"
)

// peerLease is what an item says to whoever reads the table.
type peerLease struct {
	owner      string
	checkpoint checkpoint.Position
}

func (l peerLease) finished() bool { return l.checkpoint == checkpoint.ShardEnd }

// leases are those of the table, by shard.
func (s *peerScene) leases() (map[string]peerLease, error) {
	items, err := s.items()
	if err != nil {
		return nil, err
	}
	leases := make(map[string]peerLease)
	for _, item := range items {
		if kind := text(item["entityType"]); kind == "" || kind == "LEASE" {
			at := text(item["checkpoint"])
			l := peerLease{owner: text(item["leaseOwner"]), checkpoint: checkpoint.Position{Sequence: at}}
			if at == "TRIM_HORIZON" {
				l.checkpoint = checkpoint.TrimHorizon
			}
			leases[text(item["leaseKey"])] = l
		}
	}
	if len(leases) == 0 {
		return nil, errors.New("no lease")
	}
	s.note(leases)
	return leases, nil
}

// text is an attribute that is text; empty: it is not there.
func text(v types.AttributeValue) string {
	if s, ok := v.(*types.AttributeValueMemberS); ok {
		return s.Value
	}
	return ""
}

// items are the table as it is.
func (s *peerScene) items() ([]map[string]types.AttributeValue, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := s.tables.Scan(ctx, &dynamodb.ScanInput{TableName: &s.application, ConsistentRead: aws.Bool(true)})
	if err != nil {
		return nil, fmt.Errorf("scan the lease table: %w", err)
	}
	return out.Items, nil
}

// note remembers the owners of the leases when they have changed.
func (s *peerScene) note(leases map[string]peerLease) {
	var b strings.Builder
	for _, shard := range slices.Sorted(maps.Keys(leases)) {
		l := leases[shard]
		fmt.Fprintf(&b, " %s %s", strings.TrimPrefix(shard, "shardId-0000000000")+":", cmp.Or(l.owner, "nobody"))
		if l.finished() {
			b.WriteString(" (finished)")
		}
	}
	if now := b.String(); len(s.owners) == 0 || !strings.HasSuffix(s.owners[len(s.owners)-1], now) {
		s.owners = append(s.owners, time.Now().UTC().Format("15:04:05.000")+now)
	}
}

// awaitShared waits until every one of the workers owns a lease that is not
// finished, and nobody else does, and until each handles records.
func (s *peerScene) awaitShared(what string, workers ...string) {
	s.t.Helper()
	s.await(what, func() error {
		leases, err := s.leases()
		if err != nil {
			return err
		}
		owned := make(map[string][]string)
		for shard, l := range leases {
			if !l.finished() {
				owned[l.owner] = append(owned[l.owner], shard)
			}
		}
		for _, w := range workers {
			if owned[w] == nil {
				return fmt.Errorf("owned %v", owned)
			}
		}
		if len(owned) > len(workers) {
			return fmt.Errorf("owned %v", owned)
		}
		return nil
	})
	s.awaitHandling(workers...)
}

// awaitHandling waits until each of the workers has handled a record that it
// had not when this was called.
func (s *peerScene) awaitHandling(workers ...string) {
	s.t.Helper()
	mark := time.Now()
	s.await("each handles records", func() error {
		idle := make(map[string]bool)
		for _, w := range workers {
			idle[w] = true
		}
		for _, h := range s.handlings() {
			if h.time.After(mark) {
				delete(idle, h.worker)
			}
		}
		if len(idle) > 0 {
			return fmt.Errorf("%v do not", slices.Sorted(maps.Keys(idle)))
		}
		return nil
	})
}
