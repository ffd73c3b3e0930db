package localaws

import (
	"encoding/base64"
	"fmt"
	"math"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"time"
)

// The service's limits on one read.
const (
	maxGetRecords = 10000
	maxGetBytes   = 10 << 20
)

var sequencePattern = regexp.MustCompile(`^(0|[1-9]\d{0,128})$`)

// search returns the index, in live, of the first record from n on.
func (sh *shard) search(n uint64) int {
	live := sh.live()
	return sort.Search(len(live), func(i int) bool { return live[i].n >= n })
}

// iterator is what a shard iterator holds: the next record to read is the
// first one from n on.
type iterator struct {
	arn     string
	created int64 // the stream's: one made again is another
	shard   int
	n       uint64
	issued  int64 // Unix milliseconds
}

func (s *Server) sealIterator(it iterator) string {
	return s.seal(fmt.Appendf(nil, "%s|%d|%d|%d|%d", it.arn, it.created, it.shard, it.n, it.issued))
}

func (s *Server) unsealIterator(token string) (it iterator, ok bool) {
	text, ok := s.unseal(token)
	if !ok {
		return it, false
	}
	parts := strings.Split(string(text), "|")
	if len(parts) != 5 {
		return it, false // a token of ListShards
	}
	it.arn = parts[0]
	var errs [4]error
	it.created, errs[0] = strconv.ParseInt(parts[1], 10, 64)
	it.shard, errs[1] = strconv.Atoi(parts[2])
	it.n, errs[2] = strconv.ParseUint(parts[3], 10, 64)
	it.issued, errs[3] = strconv.ParseInt(parts[4], 10, 64)
	return it, errs == [4]error{}
}

func getShardIterator(c *call) ([]byte, *apiError) {
	var in struct {
		streamRef
		ShardId, ShardIteratorType, StartingSequenceNumber string
		Timestamp                                          *float64
	}
	if e := c.decode(&in); e != nil {
		return nil, e
	}
	st, e := c.stream(in.streamRef, in.ShardId)
	if e != nil {
		return nil, e
	}
	s := c.server
	now := s.now()
	st.mu.Lock()
	defer st.mu.Unlock()
	if e := st.checkReady(now); e != nil {
		return nil, e
	}
	s.trim(st, now)
	sh := st.find(in.ShardId)
	if sh == nil {
		return nil, refuse("ResourceNotFoundException", "Shard %s in stream %s under account %s does not exist", in.ShardId, st.name, st.account)
	}
	n, e := st.locate(sh, startingPosition{in.ShardIteratorType, in.StartingSequenceNumber, in.Timestamp}, "shardIterator", now)
	if e != nil {
		return nil, e
	}
	it := iterator{arn: st.arn, created: st.created.Unix(), shard: sh.index, n: n, issued: now.UnixMilli()}
	return encode(map[string]string{"ShardIterator": s.sealIterator(it)})
}

// startingPosition is where a reading begins.
type startingPosition struct {
	Type, SequenceNumber string
	Timestamp            *float64
}

// locate returns the number that a reading begins at: it finds the first
// record from there on. what is the request's word for the position. The
// stream's lock is held.
func (st *stream) locate(sh *shard, at startingPosition, what string, now time.Time) (uint64, *apiError) {
	switch at.Type {
	case "TRIM_HORIZON":
		return 0, nil
	case "LATEST":
		return sh.lastN + 1, nil
	case "AT_TIMESTAMP":
		if at.Timestamp == nil {
			return 0, refuse("InvalidArgumentException", "Must either specify timestampInMillis parameter for iterator of type AT_TIMESTAMP.")
		}
		from := int64(math.Round(*at.Timestamp * 1000))
		if from > now.UnixMilli() {
			return 0, refuse("InvalidArgumentException", "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. timestampInMillis: %d, currentTimestampInMillis: %d", from, now.UnixMilli())
		}
		live := sh.live()
		if i := sort.Search(len(live), func(i int) bool { return live[i].arrival >= from }); i < len(live) {
			return live[i].n, nil
		}
		return sh.lastN + 1, nil
	case "AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER":
		if !sequencePattern.MatchString(at.SequenceNumber) {
			return 0, refuse("ValidationException", "1 validation error detected: Value '%s' at 'startingSequenceNumber' failed to satisfy constraint: Member must satisfy regular expression pattern: 0|([1-9]\\d{0,128})", at.SequenceNumber)
		}
		n, ok := sh.parseSequence(at.SequenceNumber)
		if !ok {
			return 0, refuse("InvalidArgumentException", "StartingSequenceNumber %s used as %s on shard %s in stream %s under account %s is invalid because it did not come from this stream.",
				at.SequenceNumber, what, sh.id, st.name, st.account)
		}
		if at.Type == "AFTER_SEQUENCE_NUMBER" {
			n++
		}
		return n, nil
	}
	return 0, refuse("ValidationException", "1 validation error detected: Value '%s' at '%sType' failed to satisfy constraint: Member must satisfy enum value set: [AFTER_SEQUENCE_NUMBER, LATEST, AT_TIMESTAMP, AT_SEQUENCE_NUMBER, TRIM_HORIZON]", at.Type, what)
}

// collect returns a copy of the records from n on, as many as the limits allow
// and one at least, their bytes, and how many milliseconds the reading is then
// behind the tip. The stream's lock is held.
func (sh *shard) collect(n uint64, limit int, bytes int64, now time.Time) (records []record, size, behind int64) {
	live := sh.live()
	from := sh.search(n)
	to := from
	for to < len(live) && to-from < limit {
		if size += live[to].size(); size > bytes && to > from {
			size -= live[to].size()
			break
		}
		to++
	}
	switch {
	case to < len(live) && to > from:
		behind = max(1, now.UnixMilli()-live[to-1].arrival)
	case to < len(live):
		behind = max(1, now.UnixMilli()-live[to].arrival)
	}
	return append([]record(nil), live[from:to]...), size, behind
}

// atEnd reports whether nothing follows what was read before n: the shard is
// closed. The stream's lock is held.
func (sh *shard) atEnd(n uint64) bool {
	return !sh.closed.IsZero() && sh.search(n) == len(sh.live())
}

// read is what one GetRecords found.
type read struct {
	shard    *shard
	records  []record
	next     iterator
	ended    bool
	behind   int64 // milliseconds
	children []*shard
}

func getRecords(c *call) ([]byte, *apiError) {
	var token string
	var ref streamRef
	limit := maxGetRecords
	j := &jsonReader{data: c.body}
	err := j.object(func(name string) (err error) {
		switch name {
		case "ShardIterator":
			token, err = j.text()
		case "StreamARN":
			ref.StreamARN, err = j.text()
		case "Limit":
			limit, err = j.integer()
		default:
			err = j.skip(0)
		}
		return err
	})
	if err != nil {
		return nil, refuse("SerializationException", "%v", err)
	}
	if limit < 1 || limit > maxGetRecords {
		return nil, refuse("ValidationException", "1 validation error detected: Value '%d' at 'limit' failed to satisfy constraint: Member must have value between 1 and %d", limit, maxGetRecords)
	}
	it, ok := c.server.unsealIterator(token)
	if !ok {
		return nil, refuse("InvalidArgumentException", "Invalid ShardIterator.")
	}
	if ref.StreamARN != "" && ref.StreamARN != it.arn {
		return nil, refuse("InvalidArgumentException", "ShardIterator and StreamARN do not name the same stream.")
	}
	id := fmt.Sprintf("shardId-%012d", it.shard)
	c.server.stats.read(it.arn, id)
	st, e := c.stream(streamRef{StreamARN: it.arn}, id)
	if e != nil {
		return nil, e
	}
	r, e := c.read(st, it, limit)
	if e != nil {
		return nil, e
	}
	c.server.stats.add(0, int64(len(r.records)), 0, 0)
	return c.server.answerRead(r), nil
}

func (c *call) read(st *stream, it iterator, limit int) (r read, e *apiError) {
	s := c.server
	now := s.now()
	if age := now.UnixMilli() - it.issued; age > s.config.IteratorLifetime.Milliseconds() {
		return r, refuse("ExpiredIteratorException", "Iterator expired. The iterator was created at time %s while right now it is %s which is further in the future than the tolerated delay of %d milliseconds.",
			time.UnixMilli(it.issued).UTC().Format(time.UnixDate), now.UTC().Format(time.UnixDate), s.config.IteratorLifetime.Milliseconds())
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if e := st.checkReady(now); e != nil {
		return r, e
	}
	if it.created != st.created.Unix() {
		return r, refuse("InvalidArgumentException", "The ShardIterator is of an earlier stream of the name %s.", st.name)
	}
	s.trim(st, now)
	if it.shard >= len(st.shards) || st.shards[it.shard] == nil {
		return r, refuse("ResourceNotFoundException", "Shard shardId-%012d in stream %s under account %s does not exist", it.shard, st.name, st.account)
	}
	sh := st.shards[it.shard]
	if e := s.admitRead(sh, st, now); e != nil {
		return r, e
	}
	r.shard = sh
	if c.effects.emptyRead {
		limit = 0
	}
	var size int64
	r.records, size, r.behind = sh.collect(it.n, limit, maxGetBytes, now)
	sh.readBytes.tokens -= float64(size)
	r.next = it
	r.next.issued = now.UnixMilli()
	if got := len(r.records); got > 0 {
		r.next.n = r.records[got-1].n + 1
	}
	if sh.atEnd(r.next.n) {
		r.ended = true
		r.children = append([]*shard(nil), sh.children...)
	}
	return r, nil
}

// admitRead takes one call from the shard's read limits. What a read returns
// is taken afterwards, so that a full 10 MB block the shard for 5 seconds.
func (s *Server) admitRead(sh *shard, st *stream, now time.Time) *apiError {
	if s.config.Unlimited {
		return nil
	}
	sh.reads.refill(now)
	sh.readBytes.refill(now)
	if sh.reads.tokens < 1 || sh.readBytes.tokens <= 0 {
		return rateExceeded(sh, st)
	}
	sh.reads.tokens--
	return nil
}

// answerRead writes the answer by hand: this is the hot path.
func (s *Server) answerRead(r read) []byte {
	out := make([]byte, 0, answerSize(r.records))
	out = append(out, `{"MillisBehindLatest":`...)
	out = strconv.AppendInt(out, r.behind, 10)
	if !r.ended {
		out = append(append(out, `,"NextShardIterator":"`...), s.sealIterator(r.next)...)
		out = append(out, '"')
	} else {
		out = append(out, `,"NextShardIterator":null`...)
		out = appendChildren(out, r.children)
	}
	out = r.shard.appendRecords(out, r.records)
	return append(out, '}')
}

// answerSize is about how many bytes an answer with the records has.
func answerSize(records []record) int {
	size := 512
	for i := range records {
		size += base64.StdEncoding.EncodedLen(len(records[i].data)) + len(records[i].key) + 192
	}
	return size
}

// appendRecords appends the field Records.
func (sh *shard) appendRecords(out []byte, records []record) []byte {
	out = append(out, `,"Records":[`...)
	for i := range records {
		record := &records[i]
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, `{"ApproximateArrivalTimestamp":`...)
		out = strconv.AppendInt(out, record.arrival/1000, 10)
		out = append(out, '.')
		out = appendPadded(out, uint64(record.arrival%1000), 3)
		out = append(append(out, `,"SequenceNumber":"`...), sh.sequence(record.n)...)
		out = appendQuoted(append(out, `","PartitionKey":`...), record.key)
		out = append(out, `,"Data":"`...)
		out = base64.StdEncoding.AppendEncode(out, record.data)
		out = append(out, `"}`...)
	}
	return append(out, ']')
}

// appendChildren appends the field ChildShards.
func appendChildren(out []byte, children []*shard) []byte {
	out = append(out, `,"ChildShards":[`...)
	for i, child := range children {
		if i > 0 {
			out = append(out, ',')
		}
		out = child.appendChild(out)
	}
	return append(out, ']')
}

func (sh *shard) appendChild(out []byte) []byte {
	out = append(append(out, `{"ShardId":"`...), sh.id...)
	out = append(append(out, `","ParentShards":["`...), sh.parent.id...)
	if sh.adjacent != nil {
		out = append(append(out, `","`...), sh.adjacent.id...)
	}
	return fmt.Appendf(out, `"],"HashKeyRange":{"StartingHashKey":"%s","EndingHashKey":"%s"}}`, sh.first, sh.last)
}
