package main

import (
	"context"
	"fmt"
	"math/big"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
)

// add puts one record, the next of a key.
func (s *peerScene) add(ctx context.Context) error {
	s.mu.Lock()
	n := len(s.put)
	s.mu.Unlock()
	r := peerRecord{key: fmt.Sprintf("hotel-%02d", n%peerKeys), index: n / peerKeys}
	r.data = fmt.Sprintf("%s %d", r.key, r.index)
	out, err := s.kinesis.PutRecord(ctx, &kinesis.PutRecordInput{StreamName: &s.application, PartitionKey: &r.key,
		ExplicitHashKey: aws.String(spread(n % peerKeys)), Data: []byte(r.data)})
	if err != nil {
		return fmt.Errorf("put record %d: %w", n, err)
	}
	r.shard, r.sequence = *out.ShardId, *out.SequenceNumber
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put = append(s.put, r)
	return nil
}

// spread is the hash key of key k: no shard is without keys.
func spread(k int) string {
	n := new(big.Int).Lsh(big.NewInt(int64(2*k+1)), 128)
	return n.Div(n, big.NewInt(2*peerKeys)).String()
}

// addSome puts n records, with nobody else feeding.
func (s *peerScene) addSome(n int) {
	s.t.Helper()
	for range n {
		if err := s.add(s.t.Context()); err != nil {
			s.t.Fatal(err)
		}
	}
}

// keepFeeding puts records until stop is called, which waits for the last.
func (s *peerScene) keepFeeding() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(peerFeed)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			// A put under way is not cut off: its outcome would be unknown.
			if err := s.add(context.WithoutCancel(ctx)); err != nil {
				s.t.Error(err)
				return
			}
		}
	}()
	stop = func() { cancel(); <-done }
	s.t.Cleanup(stop)
	return stop
}

// records is a copy of what was put.
func (s *peerScene) records() []peerRecord {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]peerRecord(nil), s.put...)
}
