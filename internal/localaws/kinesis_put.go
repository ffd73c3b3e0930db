package localaws

import (
	"encoding/base64"
	"fmt"
	"time"
	"unicode/utf8"
)

// The service's limits on one request. A record's data and partition key count.
const (
	maxPutRecords  = 500
	maxPutBytes    = 10 << 20
	maxRecordBytes = 10 << 20
	maxKeyLength   = 256
)

// putEntry is one record of a put.
type putEntry struct {
	data     []byte // a copy of its own
	hasData  bool
	key      string
	explicit string
	shard    *shard
	n        uint64
	failure  *apiError
}

// putRequest is PutRecords, or PutRecord with its one entry at the top.
type putRequest struct {
	ref     streamRef
	entries []putEntry
	buffer  []byte // backs the entries' data
}

// field reads a field of an entry; false if it is none.
func (p *putRequest) field(j *jsonReader, name string, entry *putEntry) (known bool, err error) {
	switch name {
	case "Data":
		var text []byte
		if text, err = j.raw(); err != nil {
			return true, err
		}
		size := base64.StdEncoding.DecodedLen(len(text))
		if cap(p.buffer)-len(p.buffer) < size {
			// One buffer for the records of a request: they are trimmed
			// together, more or less.
			p.buffer = make([]byte, 0, max(size, min(len(j.data)-j.at, maxPutBytes)*3/4))
		}
		at := len(p.buffer)
		n, err := base64.StdEncoding.Decode(p.buffer[at:at+size], text)
		if err != nil {
			return true, j.fail("Data is not base64")
		}
		p.buffer = p.buffer[:at+n]
		entry.data, entry.hasData = p.buffer[at:at+n:at+n], true
	case "PartitionKey":
		entry.key, err = j.text()
	case "ExplicitHashKey":
		entry.explicit, err = j.text()
	default:
		return false, nil
	}
	return true, err
}

func (p *putRequest) parse(body []byte) error {
	j := &jsonReader{data: body}
	var single putEntry
	err := j.object(func(name string) (err error) {
		switch name {
		case "StreamName":
			p.ref.StreamName, err = j.text()
		case "StreamARN":
			p.ref.StreamARN, err = j.text()
		case "Records":
			return j.array(func() error {
				var entry putEntry
				err := j.object(func(name string) error {
					known, err := p.field(j, name, &entry)
					if !known && err == nil {
						err = j.skip(0)
					}
					return err
				})
				if len(p.entries) <= maxPutRecords { // one too many is enough to refuse
					p.entries = append(p.entries, entry)
				}
				return err
			})
		default:
			var known bool
			if known, err = p.field(j, name, &single); !known && err == nil {
				err = j.skip(0)
			}
		}
		return err
	})
	if single.hasData || single.key != "" {
		p.entries = append(p.entries, single)
	}
	if err == nil {
		err = j.end()
	}
	return err
}

// check validates all entries: one bad entry refuses the whole request.
func (p *putRequest) check() *apiError {
	if len(p.entries) == 0 || len(p.entries) > maxPutRecords {
		return refuse("ValidationException", "1 validation error detected: Value at 'records' failed to satisfy constraint: Member must have length between 1 and %d", maxPutRecords)
	}
	total := 0
	for i := range p.entries {
		entry := &p.entries[i]
		if n := utf8.RuneCountInString(entry.key); n < 1 || n > maxKeyLength {
			return refuse("ValidationException", "1 validation error detected: Value at 'records.%d.member.partitionKey' failed to satisfy constraint: Member must have length between 1 and %d", i+1, maxKeyLength)
		}
		if !entry.hasData {
			return refuse("ValidationException", "1 validation error detected: Value null at 'records.%d.member.data' failed to satisfy constraint: Member must not be null", i+1)
		}
		size := len(entry.data) + len(entry.key)
		if size > maxRecordBytes {
			return refuse("ValidationException", "1 validation error detected: Value at 'records.%d.member.data' failed to satisfy constraint: Member must have length less than or equal to %d", i+1, maxRecordBytes)
		}
		total += size
	}
	if total > maxPutBytes {
		return refuse("InvalidArgumentException", "Records size exceeds %d bytes limit.", maxPutBytes)
	}
	return nil
}

// place stores the entries in the order given. A throttled or faulty entry
// fails alone.
func (c *call) place(st *stream, entries []putEntry) *apiError {
	s := c.server
	faulty := s.faults.some.Load()
	now := s.now()
	st.mu.Lock()
	defer st.mu.Unlock()
	if e := st.checkReady(now); e != nil {
		return e
	}
	hashes := make([]hashKey, len(entries))
	for i := range entries {
		if text := entries[i].explicit; text != "" {
			var ok bool
			if hashes[i], ok = parseHashKey(text); !ok {
				return refuse("InvalidArgumentException", "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was %s", text)
			}
		} else {
			hashes[i] = hashOf(entries[i].key)
		}
	}
	s.trim(st, now)
	stored := int64(0)
	for i := range entries {
		entry := &entries[i]
		entry.shard = st.route(hashes[i])
		if faulty {
			if entry.failure = c.recordFault(resource{account: st.account, arn: st.arn, stream: st.name, shard: entry.shard.id}); entry.failure != nil {
				continue
			}
		}
		if entry.failure = c.admit(st, entry, now); entry.failure != nil {
			continue
		}
		entry.n = st.append(entry.shard, entry.key, entry.data, now)
		stored++
	}
	forSpace := int64(st.makeRoom(s.config.StreamBytes))
	s.stats.add(stored, 0, forSpace, forSpace)
	return nil
}

// admit takes one record from its shard's write limits.
func (c *call) admit(st *stream, entry *putEntry, now time.Time) *apiError {
	if c.server.config.Unlimited {
		return nil
	}
	sh := entry.shard
	size := float64(len(entry.data) + len(entry.key))
	sh.writes.refill(now)
	sh.writeBytes.refill(now)
	if !sh.writes.covers(1) || !sh.writeBytes.covers(size) {
		return rateExceeded(sh, st)
	}
	sh.writes.tokens--
	sh.writeBytes.tokens -= size
	return nil
}

func rateExceeded(sh *shard, st *stream) *apiError {
	return refuse("ProvisionedThroughputExceededException", "Rate exceeded for shard %s in stream %s under account %s.", sh.id, st.name, st.account)
}

func putRecords(c *call) ([]byte, *apiError) {
	st, entries, e := c.put()
	if e != nil {
		return nil, e
	}
	failed := 0
	out := make([]byte, 0, 64+128*len(entries))
	out = append(out, `{"EncryptionType":"NONE","Records":[`...)
	for i := range entries {
		entry := &entries[i]
		if i > 0 {
			out = append(out, ',')
		}
		if entry.failure == nil {
			out = entry.appendResult(append(out, '{'))
			out = append(out, '}')
			continue
		}
		failed++
		code, message := entry.failure.code, rateExceeded(entry.shard, st).message
		if code == "InternalFailureException" {
			code, message = "InternalFailure", "Internal service failure."
		}
		out = append(append(out, `{"ErrorCode":`...), quote(code)...)
		out = append(append(out, `,"ErrorMessage":`...), quote(message)...)
		out = append(out, '}')
	}
	return fmt.Appendf(out, `],"FailedRecordCount":%d}`, failed), nil
}

func putRecord(c *call) ([]byte, *apiError) {
	_, entries, e := c.put()
	if e != nil {
		return nil, e
	}
	if len(entries) != 1 {
		return nil, refuse("ValidationException", "PutRecord has one record.")
	}
	if entries[0].failure != nil {
		return nil, entries[0].failure
	}
	return append(entries[0].appendResult([]byte(`{"EncryptionType":"NONE",`)), '}'), nil
}

func (entry *putEntry) appendResult(out []byte) []byte {
	out = append(append(out, `"SequenceNumber":"`...), entry.shard.sequence(entry.n)...)
	out = append(append(out, `","ShardId":"`...), entry.shard.id...)
	return append(out, '"')
}

// put is what PutRecord and PutRecords share.
func (c *call) put() (*stream, []putEntry, *apiError) {
	var in putRequest
	if err := in.parse(c.body); err != nil {
		return nil, nil, refuse("SerializationException", "%v", err)
	}
	if e := in.check(); e != nil {
		return nil, nil, e
	}
	st, e := c.stream(in.ref, "")
	if e != nil {
		return nil, nil, e
	}
	if e := c.place(st, in.entries); e != nil {
		return nil, nil, e
	}
	return st, in.entries, nil
}

// Put stores one record directly, without limits or faults, and returns its
// shard and sequence number.
func (s *Server) Put(arn, partitionKey string, data []byte) (shard, sequence string, err error) {
	st, err := s.streamByARN(arn)
	if err != nil {
		return "", "", err
	}
	now := s.now()
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.deleted {
		return "", "", fmt.Errorf("put to stream %s: it is deleted", arn)
	}
	sh := st.route(hashOf(partitionKey))
	n := st.append(sh, partitionKey, append([]byte(nil), data...), now)
	forSpace := int64(st.makeRoom(s.config.StreamBytes))
	s.stats.add(1, 0, forSpace, forSpace)
	return sh.id, sh.sequence(n), nil
}
