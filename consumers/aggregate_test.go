package consumers_test

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/shardline/shardline/checkpoint"
	"github.com/shardline/shardline/consumers"
)

// sealed makes a record's data of a protobuf message in hex.
func sealed(message string) []byte {
	body, err := hex.DecodeString(strings.ReplaceAll(message, " ", ""))
	if err != nil {
		panic(err)
	}
	digest := md5.Sum(body)
	return slices.Concat([]byte{0xf3, 0x89, 0x9a, 0xc2}, body, digest[:])
}

// last is 2^128-1 in hex.
var last = hex.EncodeToString([]byte("340282366920938463463374607431768211455"))

func TestAggregateFormat(t *testing.T) {
	tests := []struct {
		name, message string
		want          []consumers.UserRecord // nil: it is none
	}{
		{"one record", // 0a 01 'a' key table; 1a 06: record 08 00 key 0, 1a 02 data "hi"
			"0a0161 1a06 0800 1a026869",
			[]consumers.UserRecord{{PartitionKey: "a", Data: []byte("hi")}}},
		// As the producer library writes several keys: the tables first, each
		// key once; a record 18 bytes long with key 1, hash key 1, data "two"
		// and a tag {"t", "v"}.
		{"keys, hash keys and tags",
			"0a03 682d31 0a03 682d32" + // "h-1", "h-2"
				"1201 37 1227" + last + // "7", 2^128-1
				"1a09 0800 1000 1a03 6f6e65" + // key 0, hash key 0, "one"
				"1a11 0801 1001 1a03 74776f 2206 0a0174 120176" + // key 1, hash key 1, "two", tag
				"1a04 0801 1a00", // key 1, no hash key, empty
			[]consumers.UserRecord{
				{PartitionKey: "h-1", ExplicitHashKey: "7", Data: []byte("one")},
				{PartitionKey: "h-2", ExplicitHashKey: "340282366920938463463374607431768211455", Data: []byte("two")},
				{PartitionKey: "h-2", Data: []byte{}},
			}},
		{"records before their tables", "1a05 0800 1a01 78 0a0161", []consumers.UserRecord{{PartitionKey: "a", Data: []byte("x")}}},
		// Field 9 of each wire type, also inside the record, and the known
		// fields with another type, which makes them unknown.
		{"unknown fields", "4801 49 0102030405060708 4a03 616263 4d 01020304 4b 4801 4c 0801 0a0161 1a0c 4801 1801 0a0141 0800 1a01 78",
			[]consumers.UserRecord{{PartitionKey: "a", Data: []byte("x")}}},
		{"the last of a field twice", "0a0161 0a0162 1a0a 0801 0800 1a0178 1a0179", []consumers.UserRecord{{PartitionKey: "a", Data: []byte("y")}}},
		{"no records", "0a0161", []consumers.UserRecord{}},

		{"no such key", "0a0161 1a06 0801 1a026869", nil},
		{"no key table", "1a06 0800 1a026869", nil},
		{"no such hash key", "0a0161 1a08 0800 1000 1a026869", nil},
		{"the largest index", "0a0161 1a0f 08ffffffffffffffffff01 1a026869", nil},
		{"the largest hash key's index", "0a0161 1a11 0800 10ffffffffffffffffff01 1a026869", nil},
		{"an index of 65 bits", "0a0161 1a0f 08ffffffffffffffffff7f 1a026869", nil},
		{"without a key", "0a0161 1a04 1a026869", nil},
		{"without data", "0a0161 1a02 0800", nil},
		{"a record longer than the message", "0a0161 1a07 0800 1a026869", nil},
		{"data longer than its record", "0a0161 1a06 0800 1a036869 4800", nil},
		{"a length of 2^63", "0a0161 1a80808080808080808001 0800", nil},
		{"half a tag", "0a0161 1a06 0800 1a026869 80", nil},
		{"a group that does not end", "0a0161 1a06 0800 1a026869 4b", nil},
		{"a group that did not begin", "0a0161 1a06 0800 1a026869 4c", nil},
		{"field 0", "0a0161 1a06 0800 1a026869 0000", nil},
		{"an empty key", "0a00 1a06 0800 1a026869", nil},
		{"a key that is no UTF-8", "0a01ff 1a06 0800 1a026869", nil},
		{"a key of 257 characters", "0a8102" + strings.Repeat("61", 257) + "1a06 0800 1a026869", nil},
		{"a hash key of 2^128", "0a0161 1227" + last[:len(last)-2] + "36 1a06 0800 1a026869", nil},
		{"a hash key that is no number", "0a0161 1202 2d31 1a06 0800 1a026869", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, _, err := consumers.Deaggregate(sealed(test.message), checkpoint.Shard{})
			if (err != nil) != (test.want == nil) {
				t.Fatalf("error %v, want one: %v", err, test.want == nil)
			}
			same := func(a, b consumers.UserRecord) bool {
				return a.PartitionKey == b.PartitionKey && a.ExplicitHashKey == b.ExplicitHashKey && bytes.Equal(a.Data, b.Data)
			}
			if !slices.EqualFunc(got, test.want, same) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
	good := sealed("0a0161 1a06 0800 1a026869")
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x10
		if got, _, err := consumers.Deaggregate(bad, checkpoint.Shard{}); err == nil {
			t.Errorf("byte %d is another one: got %q", i, got)
		}
		if got, _, err := consumers.Deaggregate(good[:i], checkpoint.Shard{}); err == nil {
			t.Errorf("%d bytes of it: got %q", i, got)
		}
	}
	if _, _, err := consumers.Deaggregate(sealed(""), checkpoint.Shard{}); err == nil {
		t.Error("nothing between magic and digest is taken for an aggregate")
	}
}

// TestAggregateAsTheLibraryWrites holds the encoder to the bytes that the
// producer library makes of the same records: a table entry stands before the
// records, each key once.
func TestAggregateAsTheLibraryWrites(t *testing.T) {
	got := consumers.Aggregate([]consumers.UserRecord{
		{PartitionKey: "h-1", ExplicitHashKey: "7", Data: []byte("one")},
		{PartitionKey: "h-2", Data: []byte("two")},
		{PartitionKey: "h-1", ExplicitHashKey: "7", Data: nil},
	})
	want := sealed("0a03682d31 120137 0a03682d32" +
		"1a09 0800 1000 1a036f6e65" + "1a07 0801 1a0374776f" + "1a06 0800 1000 1a00")
	if !bytes.Equal(got, want) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
}

func TestWithin(t *testing.T) {
	// MD5("a") = 0cc175b9c0f1b6a831c399e269772661 is in the first sixteenth of
	// the hash keys, MD5("b") = 92eb5ffee6ae2fec3ad71c777531578f in the upper half.
	number := func(h string) string {
		n, _ := new(big.Int).SetString(h, 16)
		return n.String()
	}
	a, b := number("0cc175b9c0f1b6a831c399e269772661"), number("92eb5ffee6ae2fec3ad71c777531578f")
	before := number("0cc175b9c0f1b6a831c399e269772660")
	half, behind := number("80000000000000000000000000000000"), number("7fffffffffffffffffffffffffffffff")
	end := number("ffffffffffffffffffffffffffffffff")
	if consumers.HashOf("a") != a || consumers.HashOf("b") != b {
		t.Fatalf("hashes %s, %s", consumers.HashOf("a"), consumers.HashOf("b"))
	}
	tests := []struct {
		name     string
		from, to string
		records  []consumers.UserRecord
		want     bool
	}{
		{"below", "0", behind, []consumers.UserRecord{{PartitionKey: "a"}}, true},
		{"above", half, end, []consumers.UserRecord{{PartitionKey: "a"}}, false},
		{"both ends are inside", a, a, []consumers.UserRecord{{PartitionKey: "a"}}, true},
		{"one below the range", a, end, []consumers.UserRecord{{PartitionKey: "x", ExplicitHashKey: before}}, false},
		{"one above the range", "0", before, []consumers.UserRecord{{PartitionKey: "a"}}, false},
		{"one of many, the last", "0", behind, []consumers.UserRecord{{PartitionKey: "a"}, {PartitionKey: "a"}, {PartitionKey: "b"}}, false},
		{"the same key again", "0", behind, []consumers.UserRecord{{PartitionKey: "a"}, {PartitionKey: "a"}}, true},
		{"the explicit hash key counts, inside", "0", behind, []consumers.UserRecord{{PartitionKey: "b", ExplicitHashKey: "0"}}, true},
		{"the explicit hash key counts, outside", "0", behind, []consumers.UserRecord{{PartitionKey: "a", ExplicitHashKey: end}}, false},
		{"with and without", "0", behind, []consumers.UserRecord{{PartitionKey: "b", ExplicitHashKey: "0"}, {PartitionKey: "b"}}, false},
		{"no range is known", "", "", []consumers.UserRecord{{PartitionKey: "a"}, {PartitionKey: "b"}}, true},
		{"half a range is known", "0", "", []consumers.UserRecord{{PartitionKey: "b"}}, true},
		{"a range upside down", half, "1", []consumers.UserRecord{{PartitionKey: "a"}}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, got, err := consumers.Deaggregate(consumers.Aggregate(test.records), checkpoint.Shard{HashFrom: test.from, HashTo: test.to})
			if err != nil || got != test.want {
				t.Errorf("within %v, %v; want %v", got, err, test.want)
			}
		})
	}
}

func TestHashKeys(t *testing.T) {
	for _, text := range []string{"0", "9", "18446744073709551615", "18446744073709551616", "170141183460469231731687303715884105728", "340282366920938463463374607431768211455"} {
		if got, ok := consumers.ParseHashKey(text); !ok || got != text {
			t.Errorf("%s: got %s, %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "340282366920938463463374607431768211456", "340282366920938463463374607431768211460", "999999999999999999999999999999999999999", "0000000000000000000000000000000000000001", "-1", "1.", " 1", "x"} {
		if got, ok := consumers.ParseHashKey(text); ok {
			t.Errorf("%q is read as %s", text, got)
		}
	}
}

// FuzzDeaggregate: what is taken for an aggregate has a right digest, and its
// user records lie in it one behind another, within their data.
func FuzzDeaggregate(f *testing.F) {
	f.Add([]byte("0a0161"), true)
	for _, message := range []string{"0a01611a0608001a026869", "1a0508001a01780a0161", "4b48014c0a0161", "1227" + last} {
		body, _ := hex.DecodeString(message)
		f.Add(body, true)
		f.Add(sealed(message), false)
	}
	f.Add(consumers.Aggregate([]consumers.UserRecord{{PartitionKey: "a", ExplicitHashKey: "1", Data: []byte("x")}, {PartitionKey: "b"}}), false)
	f.Fuzz(func(t *testing.T, data []byte, seal bool) {
		if seal { // else no digest would ever be right
			data = sealed(hex.EncodeToString(data))
		}
		before := bytes.Clone(data)
		records, _, err := consumers.Deaggregate(data, checkpoint.Shard{HashFrom: "5", HashTo: "170141183460469231731687303715884105728"})
		if !bytes.Equal(before, data) {
			t.Fatal("the data was written to")
		}
		if err != nil {
			if records != nil {
				t.Fatalf("records and %v", err)
			}
			return
		}
		digest := md5.Sum(data[4 : len(data)-16])
		if !bytes.Equal(digest[:], data[len(data)-16:]) || !bytes.HasPrefix(data, []byte{0xf3, 0x89, 0x9a, 0xc2}) {
			t.Fatal("opened although magic or digest are wrong")
		}
		rest := data[:len(data)-16]
		for i, r := range records {
			at := bytes.Index(rest, r.Data)
			if at < 0 || cap(r.Data) != len(r.Data) || r.PartitionKey == "" {
				t.Fatalf("user record %d: key %q, capacity %d of %d, found at %d", i, r.PartitionKey, cap(r.Data), len(r.Data), at)
			}
		}
		// What it says can be written and read again.
		again, _, err := consumers.Deaggregate(consumers.Aggregate(records), checkpoint.Shard{})
		if len(records) > 0 && (err != nil || fmt.Sprint(again) != fmt.Sprint(records)) {
			t.Fatalf("again: %v, %v, want %v", again, err, records)
		}
	})
}

// FuzzAggregate makes records of its input: keys and data of some lengths.
func FuzzAggregate(f *testing.F) {
	f.Add([]byte{3, 1, 'a', 2, 'x', 'y', 0, 1, 'b', 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		next := func() []byte {
			if len(in) == 0 {
				return nil
			}
			n := min(int(in[0])%8, len(in)-1)
			part := in[1 : 1+n]
			in = in[1+n:]
			return part
		}
		var want []consumers.UserRecord
		for len(in) > 0 {
			r := consumers.UserRecord{PartitionKey: fmt.Sprintf("%x", next()) + "k", Data: next()}
			if hash := next(); len(hash) > 0 {
				r.ExplicitHashKey = new(big.Int).SetBytes(hash).String()
			}
			want = append(want, r)
		}
		data := consumers.Aggregate(want)
		if len(want) == 0 {
			return
		}
		got, _, err := consumers.Deaggregate(data, checkpoint.Shard{})
		if err != nil || len(got) != len(want) {
			t.Fatalf("%d records, %v; want %d", len(got), err, len(want))
		}
		for i := range want {
			if got[i].PartitionKey != want[i].PartitionKey || got[i].ExplicitHashKey != want[i].ExplicitHashKey || !bytes.Equal(got[i].Data, want[i].Data) {
				t.Fatalf("record %d: %q, want %q", i, got[i], want[i])
			}
		}
		// As another implementation reads it: the records are field 3, in order.
		var data3 [][]byte
		for b := data[4 : len(data)-16]; len(b) > 0; {
			number, _, n := protowire.ConsumeTag(b)
			value, m := protowire.ConsumeBytes(b[n:])
			if number == 3 {
				data3 = append(data3, value)
			}
			b = b[n+m:]
		}
		if len(data3) != len(want) {
			t.Fatalf("%d fields 3, want %d", len(data3), len(want))
		}
	})
}
