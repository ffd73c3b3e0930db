package consumers

import (
	"context"
	"fmt"
	"sync"
)

// ShardMap knows into which shard of a stream a partition key falls, for those
// who put aggregated records. It lists the shards when it is asked first, and
// again after Forget.
type ShardMap struct {
	source *Source

	mu   sync.Mutex // held over a listing: one at a time
	open []openShard
}

// openShard is a shard that takes records.
type openShard struct {
	id       string
	first    string // the first hash key, in decimal
	hashKeys hashRange
}

// NewShardMap makes a map of a stream; it uses the configuration's client. An
// error means that the ARN is none of a stream.
func NewShardMap(c Config) (*ShardMap, error) {
	source, err := NewSource(Config{Name: c.Name, StreamARN: c.StreamARN, Client: c.Client, Logger: c.Logger})
	if err != nil {
		return nil, err
	}
	return &ShardMap{source: source}, nil
}

// Shard is the open shard of a partition key, and its first hash key.
func (m *ShardMap) Shard(ctx context.Context, partitionKey string) (id, hashKey string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.open == nil {
		if err := m.list(ctx); err != nil {
			return "", "", err
		}
	}
	h := hashOf(partitionKey)
	for _, s := range m.open {
		if s.hashKeys.has(h) {
			return s.id, s.first, nil
		}
	}
	m.open = nil // while a shard is split or merged, a listing may have a hole
	return "", "", fmt.Errorf("no open shard of %s takes the key", m.source.arn)
}

// Forget makes the next Shard list them again: what it said was wrong.
func (m *ShardMap) Forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open = nil
}

// list fills the map. m.mu is held.
func (m *ShardMap) list(ctx context.Context) error {
	shards, _, err := m.source.Shards(ctx)
	if err != nil {
		return err
	}
	for _, s := range shards {
		if !s.Closed {
			m.open = append(m.open, openShard{s.ID, s.HashFrom, rangeOf(s)})
		}
	}
	return nil
}

// Aggregate is the data of a record that holds user records of these keys.
func (m *ShardMap) Aggregate(keys []string, data [][]byte) []byte {
	users := make([]UserRecord, len(keys))
	for i, key := range keys {
		users[i] = UserRecord{PartitionKey: key, Data: data[i]}
	}
	return Aggregate(users)
}

// Looks says whether readers would take data for an aggregated record.
func (m *ShardMap) Looks(data []byte) bool { return looksAggregated(data) }
