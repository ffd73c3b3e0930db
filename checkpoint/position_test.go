package checkpoint_test

import (
	"testing"
	"time"

	"github.com/shardline/shardline/checkpoint"
)

func TestPositionsInOrder(t *testing.T) {
	at := time.UnixMilli(1_700_000_000_000)
	ordered := []checkpoint.Position{
		checkpoint.At(at), checkpoint.At(at.Add(time.Millisecond)), checkpoint.TrimHorizon, checkpoint.Latest,
		checkpoint.Number("0", 0), checkpoint.Number("9", 0), checkpoint.Number("9", 2), checkpoint.Number("10", 0),
		checkpoint.Number("010", 1), checkpoint.Number("49665304017513416498139513873265123456789012345678901234", 0), checkpoint.ShardEnd,
	}
	for i, p := range ordered {
		for j, q := range ordered {
			if got := p.Compare(q); (got < 0) != (i < j) || (got > 0) != (i > j) {
				t.Errorf("%s against %s: %d", p, q, got)
			}
		}
		if back, err := checkpoint.ParsePosition(p.String()); err != nil || back != p {
			t.Errorf("%s read back: %v, %v", p, back, err)
		}
	}
	for _, bad := range []string{"SOON", "1:x", "-1:0", "1 :0", "0x1:0", "LATESTS", ":1", "SHARD_END:1"} {
		if p, err := checkpoint.ParsePosition(bad); err == nil {
			t.Errorf("%q is read as %v", bad, p)
		}
	}
}

// A number and a time cannot be compared, so together they make the horizon.
func TestLowest(t *testing.T) {
	five, six, at := checkpoint.Number("5", 0), checkpoint.Number("6", 0), checkpoint.At(time.UnixMilli(5))
	for _, tt := range []struct {
		of   []checkpoint.Position
		want checkpoint.Position
	}{
		{nil, checkpoint.ShardEnd}, {[]checkpoint.Position{six, five}, five}, {[]checkpoint.Position{checkpoint.ShardEnd, five}, five},
		{[]checkpoint.Position{at, five}, checkpoint.TrimHorizon}, {[]checkpoint.Position{at, checkpoint.At(time.UnixMilli(9))}, at},
		{[]checkpoint.Position{five, checkpoint.TrimHorizon}, checkpoint.TrimHorizon}, {[]checkpoint.Position{at, checkpoint.ShardEnd}, at},
		{[]checkpoint.Position{checkpoint.TrimHorizon, at}, checkpoint.TrimHorizon},
		{[]checkpoint.Position{checkpoint.Latest, checkpoint.LatestAt(time.UnixMilli(7))}, checkpoint.LatestAt(time.UnixMilli(7))},
	} {
		if got := checkpoint.Lowest(tt.of...); got != tt.want {
			t.Errorf("lowest of %v: %s, want %s", tt.of, got, tt.want)
		}
	}
}

func FuzzParsePosition(f *testing.F) {
	for _, s := range []string{"", "TRIM_HORIZON", "AT_TIMESTAMP:17", "SHARD_END", "LATEST", "LATEST:17", "49:3", "x:y"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := checkpoint.ParsePosition(s)
		if err != nil {
			return
		}
		if back, err := checkpoint.ParsePosition(p.String()); err != nil || back.Compare(p) != 0 {
			t.Errorf("%q: %v, then %v (%v)", s, p, back, err)
		}
	})
}

func TestKeys(t *testing.T) {
	id := checkpoint.StreamID("111111111111", "hotels", time.Unix(1_700_000_000, 999))
	if id != "111111111111:hotels:1700000000" {
		t.Fatalf("stream id %s", id)
	}
	account, name, created, err := checkpoint.ParseStreamID(id)
	if err != nil || account != "111111111111" || name != "hotels" || created.Unix() != 1_700_000_000 {
		t.Errorf("parsed %s %s %s %v", account, name, created, err)
	}
	for _, tt := range []struct {
		format             checkpoint.KeyFormat
		key, stream, shard string
		bad                bool
	}{
		{format: checkpoint.MultiStream, key: id + ":shardId-1", stream: id, shard: "shardId-1"},
		{format: checkpoint.SingleStream, key: "shardId-1", shard: "shardId-1"},
		{format: checkpoint.MultiStream, key: "shardId-1", bad: true},
		{format: checkpoint.SingleStream, key: id + ":shardId-1", bad: true},
		{format: checkpoint.MultiStream, key: "1:hotels:1700000000:shardId-1", bad: true},
		{format: checkpoint.MultiStream, key: "111111111111:hotels:later:shardId-1", bad: true},
		{format: checkpoint.MultiStream, key: "111111111111:hotels:-5:shardId-1", bad: true},
		{format: checkpoint.MultiStream, key: id + ":", bad: true},
		{format: checkpoint.MultiStream, key: "111111111111::1700000000:shardId-1", bad: true},
	} {
		stream, shard, err := checkpoint.ParseLeaseKey(tt.format, tt.key)
		if (err != nil) != tt.bad || stream != tt.stream || shard != tt.shard {
			t.Errorf("%s %q: %q %q %v", tt.format, tt.key, stream, shard, err)
		}
		if !tt.bad && checkpoint.LeaseKey(tt.format, id, shard) != tt.key {
			t.Errorf("%s %q is not written as it is read", tt.format, tt.key)
		}
	}
}
