package localaws

import (
	"math/big"
	"time"
)

func splitShard(c *call) ([]byte, *apiError) {
	var in struct {
		streamRef
		ShardToSplit, NewStartingHashKey string
	}
	if e := c.decode(&in); e != nil {
		return nil, e
	}
	st, e := c.stream(in.streamRef, in.ShardToSplit)
	if e != nil {
		return nil, e
	}
	at, ok := parseHashKey(in.NewStartingHashKey)
	if !ok {
		return nil, refuse("ValidationException", "1 validation error detected: Value '%s' at 'newStartingHashKey' failed to satisfy constraint: Member must satisfy regular expression pattern: 0|([1-9]\\d{0,38})", in.NewStartingHashKey)
	}
	st.mu.Lock()
	e = st.checkProvisioned()
	st.mu.Unlock()
	if e != nil {
		return nil, e
	}
	return nil, c.server.split(st, in.ShardToSplit, &at)
}

// split closes a shard and opens two; at nil is its middle.
func (s *Server) split(st *stream, id string, at *hashKey) *apiError {
	now := s.now()
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.deleted {
		return streamNotFound(st.name, st.account)
	}
	if e := st.checkActive(now); e != nil {
		return e
	}
	sh := st.find(id)
	if sh == nil {
		return shardNotFound(id, st)
	}
	if !sh.closed.IsZero() {
		return refuse("InvalidArgumentException", "Shard %s in stream %s under account %s has already been merged or split, and thus is not eligible for merging or splitting.", id, st.name, st.account)
	}
	if at == nil {
		middle := new(big.Int).Add(sh.first.big(), sh.last.big())
		half := hashKeyOf(middle.Add(middle, big.NewInt(1)).Rsh(middle, 1))
		at = &half
	}
	// The service wants the new key strictly inside: each child has two keys
	// of the space at least.
	if at.compare(sh.first.plusOne()) <= 0 || at.compare(sh.last) >= 0 {
		return refuse("InvalidArgumentException", "NewStartingHashKey %s used in SplitShard() on shard %s in stream %s under account %s is not both greater than one plus the shard's StartingHashKey %s and less than the shard's EndingHashKey %s.",
			at, id, st.name, st.account, sh.first, sh.last)
	}
	if len(st.open) >= maxShards {
		return refuse("LimitExceededException", "This request would exceed the shard limit for the account %s in %s.", st.account, st.region)
	}
	s.splitLocked(st, sh, *at, now)
	return nil
}

func (s *Server) splitLocked(st *stream, sh *shard, at hashKey, now time.Time) {
	st.shut(sh, now)
	st.addShard(now, sh.first, at.minusOne(), sh, nil)
	st.addShard(now, at, sh.last, sh, nil)
	st.status, st.until = "UPDATING", now.Add(s.config.StatusDelay)
}

func mergeShards(c *call) ([]byte, *apiError) {
	var in struct {
		streamRef
		ShardToMerge, AdjacentShardToMerge string
	}
	if e := c.decode(&in); e != nil {
		return nil, e
	}
	st, e := c.stream(in.streamRef, in.ShardToMerge)
	if e != nil {
		return nil, e
	}
	st.mu.Lock()
	e = st.checkProvisioned()
	st.mu.Unlock()
	if e != nil {
		return nil, e
	}
	return nil, c.server.merge(st, in.ShardToMerge, in.AdjacentShardToMerge)
}

// merge closes two adjacent shards and opens one.
func (s *Server) merge(st *stream, id, adjacentID string) *apiError {
	now := s.now()
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.deleted {
		return streamNotFound(st.name, st.account)
	}
	if e := st.checkActive(now); e != nil {
		return e
	}
	sh, adjacent := st.find(id), st.find(adjacentID)
	if sh == nil {
		return shardNotFound(id, st)
	}
	if adjacent == nil {
		return shardNotFound(adjacentID, st)
	}
	for _, p := range []*shard{sh, adjacent} {
		if !p.closed.IsZero() {
			return refuse("InvalidArgumentException", "Shard %s in stream %s under account %s has already been merged or split, and thus is not eligible for merging or splitting.", p.id, st.name, st.account)
		}
	}
	if !sh.precedes(adjacent) && !adjacent.precedes(sh) {
		return refuse("InvalidArgumentException", "Shards %s and %s in stream %s under account %s are not an adjacent pair of shards eligible for merging", id, adjacentID, st.name, st.account)
	}
	s.mergeLocked(st, sh, adjacent, now)
	return nil
}

// precedes reports whether o begins where sh ends; nothing begins after the
// last key.
func (sh *shard) precedes(o *shard) bool {
	return sh.last != lastHashKey && sh.last.plusOne() == o.first
}

func (s *Server) mergeLocked(st *stream, sh, adjacent *shard, now time.Time) {
	first, last := sh.first, adjacent.last
	if adjacent.first.compare(first) < 0 {
		first, last = adjacent.first, sh.last
	}
	st.shut(sh, now)
	st.shut(adjacent, now)
	st.addShard(now, first, last, sh, adjacent)
	st.status, st.until = "UPDATING", now.Add(s.config.StatusDelay)
}

func updateShardCount(c *call) ([]byte, *apiError) {
	var in struct {
		streamRef
		TargetShardCount int
		ScalingType      string
	}
	if e := c.decode(&in); e != nil {
		return nil, e
	}
	if in.TargetShardCount < 1 || in.ScalingType != "UNIFORM_SCALING" {
		return nil, refuse("ValidationException", "1 validation error detected: Value '%d' at 'targetShardCount' and '%s' at 'scalingType' failed to satisfy constraint", in.TargetShardCount, in.ScalingType)
	}
	st, e := c.stream(in.streamRef, "")
	if e != nil {
		return nil, e
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if e := st.checkProvisioned(); e != nil {
		return nil, e
	}
	current := len(st.open)
	if e := c.server.scale(st, in.TargetShardCount); e != nil {
		return nil, e
	}
	return encode(map[string]any{"StreamName": st.name, "StreamARN": st.arn, "CurrentShardCount": current, "TargetShardCount": in.TargetShardCount})
}

// checkProvisioned refuses a caller's reshard of an on-demand stream. The
// stream's lock is held.
func (st *stream) checkProvisioned() *apiError {
	if st.mode == onDemand {
		return refuse("ValidationException", "This operation is not supported for stream %s under account %s: its capacity mode is ON_DEMAND.", st.name, st.account)
	}
	return nil
}

// scale makes target equal shards of what there is. The stream's lock is held.
func (s *Server) scale(st *stream, target int) *apiError {
	now := s.now()
	if st.deleted {
		return streamNotFound(st.name, st.account)
	}
	if e := st.checkActive(now); e != nil {
		return e
	}
	current := len(st.open)
	if target < 1 || target > 2*current || 2*target < current || target > maxShards {
		return refuse("LimitExceededException", "UpdateShardCount cannot scale from %d to %d shards: at most to double, at least to half, of the current count, and to %d.", current, target, maxShards)
	}
	// Split where a target range begins inside a shard, then merge what lies
	// within one range.
	starts := shares(target)
	for _, at := range starts {
		if sh := st.route(at); sh.first != at {
			s.splitLocked(st, sh, at, now)
		}
	}
	for i, first := range starts {
		last := lastHashKey
		if i+1 < target {
			last = starts[i+1].minusOne()
		}
		for sh := st.route(first); sh.last != last; sh = st.route(first) {
			s.mergeLocked(st, sh, st.route(sh.last.plusOne()), now)
		}
	}
	return nil
}
