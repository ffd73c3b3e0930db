package consumers

import (
	"bytes"
	"crypto/md5"
	"errors"
	"fmt"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// An aggregated record, as the Kinesis Producer Library writes it, holds many
// user records in the data of one record: four magic bytes, a protobuf message,
// and the MD5 of that message.
//
//	message AggregatedRecord {
//	  repeated string partition_key_table     = 1;
//	  repeated string explicit_hash_key_table = 2;
//	  repeated Record records                 = 3;
//	}
//	message Record {
//	  required uint64 partition_key_index     = 1;
//	  optional uint64 explicit_hash_key_index = 2;
//	  required bytes  data                    = 3;
//	  repeated Tag    tags                    = 4; // not used
//	}
//
// A user record is known by the record's sequence number and its own index
// among the records, from 0: the sub-sequence number.

var aggregateMagic = []byte{0xf3, 0x89, 0x9a, 0xc2}

const (
	fieldKeys, fieldHashKeys, fieldRecords protowire.Number = 1, 2, 3
	fieldKey, fieldHashKey, fieldData      protowire.Number = 1, 2, 3
)

// UserRecord is one of the records in an aggregated record.
type UserRecord struct {
	PartitionKey    string
	ExplicitHashKey string // decimal; empty: the MD5 of the partition key says which shard it belongs to
	Data            []byte
}

// Aggregate is the data of a record that holds user records, in their order.
func Aggregate(records []UserRecord) []byte {
	keys, hashKeys := make(map[string]uint64), make(map[string]uint64)
	b := append([]byte(nil), aggregateMagic...)
	intern := func(table map[string]uint64, field protowire.Number, s string) {
		if _, known := table[s]; !known {
			table[s] = uint64(len(table))
			b = protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), s)
		}
	}
	for _, r := range records {
		intern(keys, fieldKeys, r.PartitionKey)
		if r.ExplicitHashKey != "" {
			intern(hashKeys, fieldHashKeys, r.ExplicitHashKey)
		}
	}
	var one []byte
	for _, r := range records {
		one = protowire.AppendVarint(protowire.AppendTag(one[:0], fieldKey, protowire.VarintType), keys[r.PartitionKey])
		if r.ExplicitHashKey != "" {
			one = protowire.AppendVarint(protowire.AppendTag(one, fieldHashKey, protowire.VarintType), hashKeys[r.ExplicitHashKey])
		}
		one = protowire.AppendBytes(protowire.AppendTag(one, fieldData, protowire.BytesType), r.Data)
		b = protowire.AppendBytes(protowire.AppendTag(b, fieldRecords, protowire.BytesType), one)
	}
	digest := md5.Sum(b[len(aggregateMagic):])
	return append(b, digest[:]...)
}

// looksAggregated says whether data begins as an aggregated record does and is
// long enough for one. It is all that other records pay.
func looksAggregated(data []byte) bool {
	return len(data) > len(aggregateMagic)+md5.Size && bytes.HasPrefix(data, aggregateMagic)
}

// aggregate walks the user records of one aggregated record. It copies the
// keys alone: the data stays where it is.
type aggregate struct {
	keys     []string
	hashKeys []hashKey
	rest     []byte // the records yet to be walked, which are known to be sound
	next     int64  // index of the next user record
	count    int64
}

// openAggregate checks all of an aggregated record before a part of it is
// used. An error means that it is none, whatever it looks like.
func openAggregate(data []byte) (aggregate, error) {
	body, digest := data[len(aggregateMagic):len(data)-md5.Size], data[len(data)-md5.Size:]
	if sum := md5.Sum(body); !bytes.Equal(sum[:], digest) {
		return aggregate{}, errors.New("its digest is another one")
	}
	a := aggregate{rest: body}
	var keys, hashKeys uint64 // how many the records need
	for b := body; len(b) > 0; {
		number, value, n := field(b)
		if n < 0 {
			return aggregate{}, protowire.ParseError(n)
		}
		b = b[n:]
		switch number {
		case fieldKeys:
			if !validKey(value) {
				return aggregate{}, fmt.Errorf("partition key %d of its table is none that the service takes", len(a.keys))
			}
			a.keys = append(a.keys, string(value))
		case fieldHashKeys:
			h, ok := parseHashKey(value)
			if !ok {
				return aggregate{}, fmt.Errorf("hash key %d of its table is none", len(a.hashKeys))
			}
			a.hashKeys = append(a.hashKeys, h)
		case fieldRecords:
			r, err := parseInner(value)
			if err != nil {
				return aggregate{}, fmt.Errorf("user record %d: %w", a.count, err)
			}
			// Overflow makes them 0, which parseInner has ruled out.
			keys, hashKeys = max(keys, r.key+1), max(hashKeys, r.hashKey)
			a.count++
		}
	}
	if keys > uint64(len(a.keys)) || hashKeys > uint64(len(a.hashKeys)) {
		return aggregate{}, errors.New("a user record's key is not in its tables")
	}
	return a, nil
}

// validKey says whether a partition key is one that the service takes. Lanes,
// headers and logs rely on it.
func validKey(key []byte) bool {
	return len(key) > 0 && len(key) <= 4*maxKey && utf8.Valid(key) && utf8.RuneCount(key) <= maxKey
}

// open says whether user records are left.
func (a *aggregate) open() bool { return a.next < a.count }

// take returns the next user record; there is one. A hash key that it does not
// name is the partition key's.
func (a *aggregate) take() inner {
	for {
		number, value, n := field(a.rest)
		a.rest = a.rest[n:]
		if number == fieldRecords {
			a.next++
			r, _ := parseInner(value) // openAggregate saw no error
			return r
		}
	}
}

// within says whether all its user records belong to the range.
func (a aggregate) within(r hashRange) bool { // a copy walks
	if r == allHashKeys {
		return true
	}
	inside := make([]bool, len(a.keys)) // whose MD5 is known to be
	for a.open() {
		switch u := a.take(); {
		case u.hashKey > 0:
			if !r.has(a.hashKeys[u.hashKey-1]) {
				return false
			}
		case !inside[u.key]:
			if inside[u.key] = r.has(hashOf(a.keys[u.key])); !inside[u.key] {
				return false
			}
		}
	}
	return true
}

// field takes a field from the front of b and returns its size, negative on
// an error. Of a field that is not of length and bytes the number is 0: it is
// none that is known.
func field(b []byte) (protowire.Number, []byte, int) {
	number, kind, n := protowire.ConsumeTag(b)
	if n < 0 {
		return 0, nil, n
	}
	if kind != protowire.BytesType {
		m := protowire.ConsumeFieldValue(number, kind, b[n:])
		if m < 0 {
			return 0, nil, m
		}
		return 0, nil, n + m
	}
	value, m := protowire.ConsumeBytes(b[n:])
	if m < 0 {
		return 0, nil, m
	}
	return number, value[:len(value):len(value)], n + m
}

// inner is a user record as it stands in its aggregate.
type inner struct {
	key     uint64 // index among the partition keys
	hashKey uint64 // index among the explicit hash keys, plus 1; 0: none
	data    []byte
}

func parseInner(b []byte) (inner, error) {
	var r inner
	keyed := false
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return inner{}, protowire.ParseError(n)
		}
		b = b[n:]
		switch {
		case kind == protowire.VarintType && (number == fieldKey || number == fieldHashKey):
			var index uint64
			if index, n = protowire.ConsumeVarint(b); index+1 == 0 {
				return inner{}, errors.New("its key's index is out of range")
			}
			if number == fieldKey {
				r.key, keyed = index, true
			} else {
				r.hashKey = index + 1
			}
		case kind == protowire.BytesType && number == fieldData:
			if r.data, n = protowire.ConsumeBytes(b); n >= 0 {
				r.data = r.data[:len(r.data):len(r.data)]
			}
		default:
			n = protowire.ConsumeFieldValue(number, kind, b)
		}
		if n < 0 {
			return inner{}, protowire.ParseError(n)
		}
		b = b[n:]
	}
	if !keyed || r.data == nil {
		return inner{}, errors.New("it has no key, or no data")
	}
	return r, nil
}
