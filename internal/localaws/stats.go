package localaws

import (
	"maps"
	"sync"
)

// Stats counts what the server has answered since it started or since
// ResetStats.
type Stats struct {
	// Calls by operation ("kinesis.GetRecords"), refused ones included.
	Calls map[string]int64 `json:"calls"`
	// Errors by operation and code ("kinesis.GetRecords ExpiredIteratorException").
	Errors map[string]int64 `json:"errors"`
	// Reads are the GetRecords calls by stream ARN and shard
	// ("arn:… shardId-000000000000"), throttled ones included.
	Reads map[string]int64 `json:"reads"`
	// Subscriptions are the SubscribeToShard calls by stream ARN and shard,
	// refused ones included.
	Subscriptions map[string]int64 `json:"subscriptions"`
	// RecordsIn and RecordsOut count records put and returned.
	RecordsIn  int64 `json:"records_in"`
	RecordsOut int64 `json:"records_out"`
	// Trimmed counts records dropped by retention, TrimShard or the bound on a
	// stream's bytes; the last alone stands in TrimmedForSpace.
	Trimmed         int64 `json:"trimmed"`
	TrimmedForSpace int64 `json:"trimmed_for_space"`
}

type statistics struct {
	mu sync.Mutex // guards stats
	Stats
}

func (s *statistics) init() {
	s.Stats = Stats{Calls: map[string]int64{}, Errors: map[string]int64{}, Reads: map[string]int64{}, Subscriptions: map[string]int64{}}
}

func (s *statistics) count(operation, code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Calls[operation]++
	if code != "" {
		s.Errors[operation+" "+code]++
	}
}

func (s *statistics) read(arn, shard string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Reads[arn+" "+shard]++
}

func (s *statistics) subscribe(arn, shard string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Subscriptions[arn+" "+shard]++
}

func (s *statistics) add(in, out, trimmed, forSpace int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.RecordsIn += in
	s.RecordsOut += out
	s.Trimmed += trimmed
	s.TrimmedForSpace += forSpace
}

// Stats returns a copy of the counters.
func (s *Server) Stats() Stats {
	s.stats.mu.Lock()
	defer s.stats.mu.Unlock()
	out := s.stats.Stats
	out.Calls, out.Errors, out.Reads = maps.Clone(out.Calls), maps.Clone(out.Errors), maps.Clone(out.Reads)
	out.Subscriptions = maps.Clone(out.Subscriptions)
	return out
}

// ResetStats sets all counters to zero.
func (s *Server) ResetStats() {
	s.stats.mu.Lock()
	defer s.stats.mu.Unlock()
	s.stats.init()
}
