package localaws

import (
	"cmp"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"time"
)

var kinesisOperations = map[string]operation{
	"CreateStream":                  createStream,
	"DeleteStream":                  deleteStream,
	"DescribeStream":                describeStream,
	"DescribeStreamSummary":         describeStreamSummary,
	"DescribeLimits":                describeLimits,
	"ListStreams":                   listStreams,
	"ListShards":                    listShards,
	"GetShardIterator":              getShardIterator,
	"GetRecords":                    getRecords,
	"PutRecord":                     putRecord,
	"PutRecords":                    putRecords,
	"SplitShard":                    splitShard,
	"MergeShards":                   mergeShards,
	"UpdateShardCount":              updateShardCount,
	"IncreaseStreamRetentionPeriod": setRetention,
	"DecreaseStreamRetentionPeriod": setRetention,
}

// sharedOperations are those that a stream's resource policy can allow to
// another account; no other works across accounts.
var sharedOperations = map[string]bool{
	"DescribeStreamSummary": true, "ListShards": true, "GetShardIterator": true, "GetRecords": true,
	"PutRecord": true, "PutRecords": true,
}

const (
	maxShards  = 1000  // per stream: the service's default quota is of this order
	maxStreams = 1000  // per server
	maxPage    = 10000 // ListShards, ListStreams, DescribeStream
)

var streamName = regexp.MustCompile(`^[a-zA-Z0-9_.-]{1,128}$`)

// streamRef is how requests name a stream.
type streamRef struct {
	StreamName string
	StreamARN  string
}

// stream finds the stream of a request, checks that the caller may use it, and
// lets faults act. shard may be empty.
func (c *call) stream(ref streamRef, shard string) (*stream, *apiError) {
	s := c.server
	arn := ref.StreamARN
	if arn == "" {
		if ref.StreamName == "" {
			return nil, refuse("InvalidArgumentException", "Either StreamName or StreamARN should be provided.")
		}
		if !streamName.MatchString(ref.StreamName) {
			return nil, refuse("ValidationException", "1 validation error detected: Value '%s' at 'streamName' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+", ref.StreamName)
		}
		arn = "arn:aws:kinesis:" + c.region + ":" + c.caller.account + ":stream/" + ref.StreamName
	}
	parts := strings.SplitN(arn, ":", 6)
	name, ok := "", len(parts) == 6
	if ok {
		name, ok = strings.CutPrefix(parts[5], "stream/")
	}
	if !ok || parts[2] != "kinesis" || !streamName.MatchString(name) {
		return nil, refuse("ValidationException", "1 validation error detected: Value '%s' at 'streamARN' failed to satisfy constraint: Member must satisfy regular expression pattern: arn:aws.*:kinesis:.*:\\d{12}:stream/\\S+", arn)
	}
	if ref.StreamName != "" && ref.StreamName != name {
		return nil, refuse("InvalidArgumentException", "StreamName and StreamARN do not name the same stream.")
	}
	account := parts[4]
	s.mu.RLock()
	st := s.streams[arn]
	s.mu.RUnlock()
	if account != c.caller.account && (st == nil || !sharedOperations[c.operation] || !st.allowsAccount(c.caller.account)) {
		return nil, c.denied(arn, "no resource-based policy allows")
	}
	if e := c.enter(resource{account: account, arn: arn, stream: name, shard: shard}); e != nil {
		return nil, e
	}
	if st == nil || parts[3] != c.region {
		return nil, streamNotFound(name, account)
	}
	return st, nil
}

func streamNotFound(name, account string) *apiError {
	return refuse("ResourceNotFoundException", "Stream %s under account %s not found.", name, account)
}

func shardNotFound(id string, st *stream) *apiError {
	return refuse("ResourceNotFoundException", "Could not find shard %s in stream %s under account %s.", id, st.name, st.account)
}

func (st *stream) allowsAccount(id string) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.readers[id]
}

// checkActive refuses to change a stream that is still changing.
func (st *stream) checkActive(now time.Time) *apiError {
	if state := st.state(now); state != "ACTIVE" {
		return refuse("ResourceInUseException", "Stream %s under account %s not ACTIVE, instead in state %s", st.name, st.account, state)
	}
	return nil
}

// checkReady refuses data operations while the stream is being made or unmade.
func (st *stream) checkReady(now time.Time) *apiError {
	if state := st.state(now); st.deleted || state == "CREATING" || state == "DELETING" {
		return streamNotFound(st.name, st.account)
	}
	return nil
}

func createStream(c *call) ([]byte, *apiError) {
	var in struct {
		StreamName        string
		ShardCount        *int
		StreamModeDetails *struct{ StreamMode string }
	}
	if e := c.decode(&in); e != nil {
		return nil, e
	}
	if !streamName.MatchString(in.StreamName) {
		return nil, refuse("ValidationException", "1 validation error detected: Value '%s' at 'streamName' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+", in.StreamName)
	}
	count := 4 // an on-demand stream's
	switch {
	case in.ShardCount != nil:
		count = *in.ShardCount
	case in.StreamModeDetails == nil || in.StreamModeDetails.StreamMode != "ON_DEMAND":
		return nil, refuse("InvalidArgumentException", "ShardCount is required for streams of mode PROVISIONED.")
	}
	if count < 1 {
		return nil, refuse("ValidationException", "1 validation error detected: Value '%d' at 'shardCount' failed to satisfy constraint: Member must have value greater than or equal to 1", count)
	}
	arn := "arn:aws:kinesis:" + c.region + ":" + c.caller.account + ":stream/" + in.StreamName
	if e := c.enter(resource{account: c.caller.account, arn: arn, stream: in.StreamName}); e != nil {
		return nil, e
	}
	_, e := c.server.createStream(c.caller.account, c.region, in.StreamName, count)
	return nil, e
}

func (s *Server) createStream(account, region, name string, count int) (*stream, *apiError) {
	if count > maxShards {
		return nil, refuse("LimitExceededException", "This request would exceed the shard limit for the account %s in %s.", account, region)
	}
	now := s.now()
	arn := "arn:aws:kinesis:" + region + ":" + account + ":stream/" + name
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams[arn] != nil {
		return nil, refuse("ResourceInUseException", "Stream %s under account %s already exists.", name, account)
	}
	if len(s.streams) >= maxStreams {
		return nil, refuse("LimitExceededException", "The local AWS holds %d streams at most.", maxStreams)
	}
	second := max(now.Unix(), s.created[arn]+1)
	s.created[arn] = second
	st := newStream(account, region, name, count, time.Unix(second, 0), now)
	st.status, st.until = "CREATING", now.Add(s.config.StatusDelay)
	s.streams[arn] = st
	return st, nil
}

func deleteStream(c *call) ([]byte, *apiError) {
	var in streamRef
	if e := c.decode(&in); e != nil {
		return nil, e
	}
	st, e := c.stream(in, "")
	if e != nil {
		return nil, e
	}
	c.server.deleteStream(st)
	return nil, nil
}

func (s *Server) deleteStream(st *stream) {
	s.mu.Lock()
	if s.streams[st.arn] == st {
		delete(s.streams, st.arn)
	}
	s.mu.Unlock()
	st.mu.Lock()
	defer st.mu.Unlock()
	st.deleted = true
	st.shards, st.open, st.bytes = nil, nil, 0
}

// The JSON forms of a shard.
type rangeJSON struct{ StartingHashKey, EndingHashKey string }

type sequenceRangeJSON struct {
	StartingSequenceNumber string
	EndingSequenceNumber   string `json:",omitempty"`
}

type shardJSON struct {
	ShardId               string
	ParentShardId         string `json:",omitempty"`
	AdjacentParentShardId string `json:",omitempty"`
	HashKeyRange          rangeJSON
	SequenceNumberRange   sequenceRangeJSON
}

func (sh *shard) describe() shardJSON {
	out := shardJSON{
		ShardId:             sh.id,
		HashKeyRange:        rangeJSON{sh.first.String(), sh.last.String()},
		SequenceNumberRange: sequenceRangeJSON{StartingSequenceNumber: sh.sequence(0)},
	}
	if sh.parent != nil {
		out.ParentShardId = sh.parent.id
	}
	if sh.adjacent != nil {
		out.AdjacentParentShardId = sh.adjacent.id
	}
	if !sh.closed.IsZero() {
		out.SequenceNumberRange.EndingSequenceNumber = sh.sequence(sh.lastN)
	}
	return out
}

func describeStream(c *call) ([]byte, *apiError) {
	var in struct {
		streamRef
		Limit                 int
		ExclusiveStartShardId string
	}
	if e := c.decode(&in); e != nil {
		return nil, e
	}
	if in.Limit < 0 || in.Limit > maxPage {
		return nil, refuse("ValidationException", "1 validation error detected: Value '%d' at 'limit' failed to satisfy constraint: Member must have value between 1 and 10000", in.Limit)
	}
	if in.Limit == 0 {
		in.Limit = 100
	}
	st, e := c.stream(in.streamRef, "")
	if e != nil {
		return nil, e
	}
	now := c.server.now()
	st.mu.Lock()
	defer st.mu.Unlock()
	c.server.trim(st, now)
	shards, more := []shardJSON{}, false
	for _, sh := range st.shards {
		if sh == nil || sh.id <= in.ExclusiveStartShardId {
			continue
		}
		if len(shards) == min(in.Limit, c.server.config.ListShardsPage) {
			more = true
			break
		}
		shards = append(shards, sh.describe())
	}
	description := st.summary(now)
	delete(description, "OpenShardCount")
	delete(description, "ConsumerCount")
	description["Shards"], description["HasMoreShards"] = shards, more
	return encode(map[string]any{"StreamDescription": description})
}

func describeStreamSummary(c *call) ([]byte, *apiError) {
	var in streamRef
	if e := c.decode(&in); e != nil {
		return nil, e
	}
	st, e := c.stream(in, "")
	if e != nil {
		return nil, e
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.deleted {
		return nil, streamNotFound(st.name, st.account)
	}
	return encode(map[string]any{"StreamDescriptionSummary": st.summary(c.server.now())})
}

func (st *stream) summary(now time.Time) map[string]any {
	return map[string]any{
		"StreamName": st.name, "StreamARN": st.arn, "StreamStatus": st.state(now),
		"StreamModeDetails":       map[string]string{"StreamMode": "PROVISIONED"},
		"RetentionPeriodHours":    int(st.retention / time.Hour),
		"StreamCreationTimestamp": st.created.Unix(),
		"EnhancedMonitoring":      []map[string]any{{"ShardLevelMetrics": []string{}}},
		"EncryptionType":          "NONE",
		"OpenShardCount":          len(st.open), "ConsumerCount": 0,
	}
}

func describeLimits(c *call) ([]byte, *apiError) {
	if e := c.enter(resource{account: c.caller.account, arn: "*"}); e != nil {
		return nil, e
	}
	open := 0
	for _, st := range c.server.streamsOf(c.caller.account, c.region) {
		st.mu.Lock()
		open += len(st.open)
		st.mu.Unlock()
	}
	return encode(map[string]int{"ShardLimit": maxShards, "OpenShardCount": open, "OnDemandStreamCount": 0, "OnDemandStreamCountLimit": 50})
}

// streamsOf returns an account's streams in a region by name.
func (s *Server) streamsOf(account, region string) []*stream {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out []*stream
	for _, st := range s.streams {
		if st.account == account && st.region == region {
			out = append(out, st)
		}
	}
	slices.SortFunc(out, func(a, b *stream) int { return cmp.Compare(a.name, b.name) })
	return out
}

func listStreams(c *call) ([]byte, *apiError) {
	var in struct {
		ExclusiveStartStreamName string
		Limit                    int
		NextToken                string
	}
	if e := c.decode(&in); e != nil {
		return nil, e
	}
	if e := c.enter(resource{account: c.caller.account, arn: "*"}); e != nil {
		return nil, e
	}
	after := in.ExclusiveStartStreamName
	if in.NextToken != "" {
		after = in.NextToken // the service's token is opaque; ours is the last name
	}
	limit := min(cmp.Or(in.Limit, 100), maxPage)
	names, summaries, more := []string{}, []map[string]any{}, false
	now := c.server.now()
	for _, st := range c.server.streamsOf(c.caller.account, c.region) {
		if st.name <= after {
			continue
		}
		if len(names) >= limit {
			more = true
			break
		}
		st.mu.Lock()
		names = append(names, st.name)
		summaries = append(summaries, map[string]any{"StreamName": st.name, "StreamARN": st.arn, "StreamStatus": st.state(now),
			"StreamCreationTimestamp": st.created.Unix(), "StreamModeDetails": map[string]string{"StreamMode": "PROVISIONED"}})
		st.mu.Unlock()
	}
	out := map[string]any{"StreamNames": names, "StreamSummaries": summaries, "HasMoreStreams": more}
	if more {
		out["NextToken"] = names[len(names)-1]
	}
	return encode(out)
}

func setRetention(c *call) ([]byte, *apiError) {
	var in struct {
		streamRef
		RetentionPeriodHours int
	}
	if e := c.decode(&in); e != nil {
		return nil, e
	}
	if in.RetentionPeriodHours < 24 || in.RetentionPeriodHours > 8760 {
		return nil, refuse("InvalidArgumentException", "Retention period must be between 24 and 8760 hours.")
	}
	st, e := c.stream(in.streamRef, "")
	if e != nil {
		return nil, e
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.retention = time.Duration(in.RetentionPeriodHours) * time.Hour
	return nil, nil
}

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
	now := c.server.now()
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.deleted {
		return nil, streamNotFound(st.name, st.account)
	}
	if e := st.checkActive(now); e != nil {
		return nil, e
	}
	current, target := len(st.open), in.TargetShardCount
	if target > 2*current || 2*target < current || target > maxShards {
		return nil, refuse("LimitExceededException", "UpdateShardCount cannot scale from %d to %d shards: at most to double, at least to half, of the current count, and to %d.", current, target, maxShards)
	}
	// Split where a target range begins inside a shard, then merge what lies
	// within one range.
	starts := shares(target)
	for _, at := range starts {
		if sh := st.route(at); sh.first != at {
			c.server.splitLocked(st, sh, at, now)
		}
	}
	for i, first := range starts {
		last := lastHashKey
		if i+1 < target {
			last = starts[i+1].minusOne()
		}
		for sh := st.route(first); sh.last != last; sh = st.route(first) {
			c.server.mergeLocked(st, sh, st.route(sh.last.plusOne()), now)
		}
	}
	return encode(map[string]any{"StreamName": st.name, "StreamARN": st.arn, "CurrentShardCount": current, "TargetShardCount": target})
}

// trim applies retention to a stream whose lock is held.
func (s *Server) trim(st *stream, now time.Time) {
	if n := st.trim(now); n > 0 {
		s.stats.add(0, 0, int64(n), 0)
	}
}

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
	st, e := s.createStream(account, region, name, shards)
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

// AllowAccount lets another account read and write the stream by its ARN, as
// a resource policy does.
func (s *Server) AllowAccount(arn, account string) error {
	st, err := s.streamByARN(arn)
	if err != nil {
		return err
	}
	st.mu.Lock()
	defer st.mu.Unlock()
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
