package localaws

import (
	"cmp"
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
	"RegisterStreamConsumer":        registerStreamConsumer,
	"DescribeStreamConsumer":        describeStreamConsumer,
	"DeregisterStreamConsumer":      deregisterStreamConsumer,
	"ListStreamConsumers":           listStreamConsumers,
	"SubscribeToShard":              subscribeToShard,
}

// sharedOperations are those that a stream's or a consumer's resource policy
// can allow to another account; no other works across accounts.
var sharedOperations = map[string]bool{
	"DescribeStreamSummary": true, "ListShards": true, "GetShardIterator": true, "GetRecords": true,
	"PutRecord": true, "PutRecords": true,
	"DescribeStreamConsumer": true, "SubscribeToShard": true, // by the consumer's policy
}

const (
	maxShards  = 1000  // per stream: the service's default quota is of this order
	maxStreams = 1000  // per server
	maxPage    = 10000 // ListShards, ListStreams, DescribeStream
)

var streamName = regexp.MustCompile(`^[a-zA-Z0-9_.-]{1,128}$`)

// The capacity modes: the shards of an on-demand stream are the service's to
// split and merge.
const (
	provisioned = "PROVISIONED"
	onDemand    = "ON_DEMAND"
)

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
	name, account, region, e := parseStreamARN(arn)
	if e != nil {
		return nil, e
	}
	if ref.StreamName != "" && ref.StreamName != name {
		return nil, refuse("InvalidArgumentException", "StreamName and StreamARN do not name the same stream.")
	}
	s.mu.RLock()
	st := s.streams[arn]
	s.mu.RUnlock()
	if account != c.caller.account && (st == nil || !sharedOperations[c.operation] || !st.allowsAccount(c.caller.account)) {
		return nil, c.denied(arn, "no resource-based policy allows")
	}
	if e := c.enter(resource{account: account, arn: arn, stream: name, shard: shard}); e != nil {
		return nil, e
	}
	if st == nil || region != c.region {
		return nil, streamNotFound(name, account)
	}
	return st, nil
}

func parseStreamARN(arn string) (name, account, region string, e *apiError) {
	parts := strings.SplitN(arn, ":", 6)
	ok := len(parts) == 6
	if ok {
		name, ok = strings.CutPrefix(parts[5], "stream/")
	}
	if !ok || parts[2] != "kinesis" || !streamName.MatchString(name) {
		return "", "", "", refuse("ValidationException", "1 validation error detected: Value '%s' at 'streamARN' failed to satisfy constraint: Member must satisfy regular expression pattern: arn:aws.*:kinesis:.*:\\d{12}:stream/\\S+", arn)
	}
	return name, parts[4], parts[3], nil
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
	case in.StreamModeDetails == nil || in.StreamModeDetails.StreamMode != onDemand:
		return nil, refuse("InvalidArgumentException", "ShardCount is required for streams of mode PROVISIONED.")
	}
	if count < 1 {
		return nil, refuse("ValidationException", "1 validation error detected: Value '%d' at 'shardCount' failed to satisfy constraint: Member must have value greater than or equal to 1", count)
	}
	arn := "arn:aws:kinesis:" + c.region + ":" + c.caller.account + ":stream/" + in.StreamName
	if e := c.enter(resource{account: c.caller.account, arn: arn, stream: in.StreamName}); e != nil {
		return nil, e
	}
	mode := provisioned
	if d := in.StreamModeDetails; d != nil && d.StreamMode == onDemand {
		mode = onDemand
	}
	_, e := c.server.createStream(c.caller.account, c.region, in.StreamName, mode, count)
	return nil, e
}

func (s *Server) createStream(account, region, name, mode string, count int) (*stream, *apiError) {
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
	st.mode = mode
	st.status, st.until = "CREATING", now.Add(s.config.StatusDelay)
	s.streams[arn] = st
	return st, nil
}

func deleteStream(c *call) ([]byte, *apiError) {
	var in struct {
		streamRef
		EnforceConsumerDeletion bool
	}
	if e := c.decode(&in); e != nil {
		return nil, e
	}
	st, e := c.stream(in.streamRef, "")
	if e != nil {
		return nil, e
	}
	st.mu.Lock()
	consumers := len(st.consumers)
	st.mu.Unlock()
	if consumers > 0 && !in.EnforceConsumerDeletion {
		return nil, refuse("ResourceInUseException", "Stream %s under account %s has %d consumers, and EnforceConsumerDeletion is not set.", st.name, st.account, consumers)
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
	st.wake()
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
		"StreamModeDetails":       map[string]string{"StreamMode": st.mode},
		"RetentionPeriodHours":    int(st.retention / time.Hour),
		"StreamCreationTimestamp": st.created.Unix(),
		"EnhancedMonitoring":      []map[string]any{{"ShardLevelMetrics": []string{}}},
		"EncryptionType":          "NONE",
		"OpenShardCount":          len(st.open), "ConsumerCount": len(st.consumers),
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
			"StreamCreationTimestamp": st.created.Unix(), "StreamModeDetails": map[string]string{"StreamMode": st.mode}})
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

// trim applies retention to a stream whose lock is held.
func (s *Server) trim(st *stream, now time.Time) {
	if n := st.trim(now); n > 0 {
		s.stats.add(0, 0, int64(n), 0)
	}
}
