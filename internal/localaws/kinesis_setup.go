package localaws

import (
	"fmt"
	"strings"
	"time"
)

// CreateStream makes a stream of an account and returns its ARN.
func (s *Server) CreateStream(account, region, name string, shards int) (string, error) {
	s.mu.RLock()
	_, ok := s.accounts[account]
	s.mu.RUnlock()
	if !ok {
		return "", fmt.Errorf("create stream %s: there is no account %s", name, account)
	}
	if !streamName.MatchString(name) || shards < 1 || region == "" {
		return "", fmt.Errorf("create stream %q in region %q with %d shards: a name has 1 to 128 letters, digits and _.-, a stream one shard at least", name, region, shards)
	}
	st, e := s.createStream(account, region, name, provisioned, shards)
	if e != nil {
		return "", e.asError("create stream " + name)
	}
	return st.arn, nil
}

func (e *apiError) asError(what string) error {
	return fmt.Errorf("%s: %s: %s", what, e.code, e.message)
}

func (s *Server) streamByARN(arn string) (*stream, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if st := s.streams[arn]; st != nil {
		return st, nil
	}
	return nil, fmt.Errorf("stream %s: there is none", arn)
}

// DeleteStream deletes a stream with its records.
func (s *Server) DeleteStream(arn string) error {
	st, err := s.streamByARN(arn)
	if err != nil {
		return err
	}
	s.deleteStream(st)
	return nil
}

// Scale splits and merges a stream's shards until it has so many, as
// UpdateShardCount does, and as the service does by itself with an on-demand
// stream.
func (s *Server) Scale(arn string, shards int) error {
	st, err := s.streamByARN(arn)
	if err != nil {
		return err
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if e := s.scale(st, shards); e != nil {
		return e.asError(fmt.Sprintf("scale %s to %d shards", st.name, shards))
	}
	return nil
}

// SplitShard splits a shard in its middle.
func (s *Server) SplitShard(arn, shard string) error {
	st, err := s.streamByARN(arn)
	if err != nil {
		return err
	}
	if e := s.split(st, shard, nil); e != nil {
		return e.asError("split shard " + shard)
	}
	return nil
}

// MergeShards merges two adjacent shards.
func (s *Server) MergeShards(arn, shard, adjacent string) error {
	st, err := s.streamByARN(arn)
	if err != nil {
		return err
	}
	if e := s.merge(st, shard, adjacent); e != nil {
		return e.asError("merge shards " + shard + " and " + adjacent)
	}
	return nil
}

// AllowAccount lets another account read and write the stream by its ARN,
// subscribe through the consumer by the consumer's, or use a queue or a
// bucket, as a resource policy does.
func (s *Server) AllowAccount(arn, account string) error {
	if strings.HasPrefix(arn, "arn:aws:sqs:") {
		return s.allowQueue(arn, account)
	}
	if strings.HasPrefix(arn, "arn:aws:s3:") {
		return s.allowBucket(arn, account)
	}
	streamARN, consumer, _ := strings.Cut(arn, "/consumer/")
	st, err := s.streamByARN(streamARN)
	if err != nil {
		return err
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if consumer != "" {
		name, _, _ := strings.Cut(consumer, ":")
		sc := st.consumers[name]
		if sc == nil || sc.arn != arn {
			return fmt.Errorf("consumer %s: there is none", arn)
		}
		sc.readers[account] = true
		return nil
	}
	st.readers[account] = true
	return nil
}

// SetRetention sets how long records are kept, to any duration.
func (s *Server) SetRetention(arn string, d time.Duration) error {
	st, err := s.streamByARN(arn)
	if err != nil {
		return err
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.retention = d
	return nil
}

// TrimShard drops the shard's records before a sequence number, as if
// retention had taken them; "LATEST" drops all.
func (s *Server) TrimShard(arn, shard, sequence string) error {
	st, err := s.streamByARN(arn)
	if err != nil {
		return err
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	sh := st.find(shard)
	if sh == nil {
		return fmt.Errorf("trim shard %s: there is none in %s", shard, arn)
	}
	n := sh.lastN + 1
	if sequence != "LATEST" {
		var ok bool
		if n, ok = sh.parseSequence(sequence); !ok {
			return fmt.Errorf("trim shard %s: %q is no sequence number of it", shard, sequence)
		}
	}
	count := sh.search(n)
	st.dropFirst(sh, count)
	s.stats.add(0, 0, int64(count), 0)
	return nil
}
