package checkpoint

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// KeyFormat is the shape of a table's lease keys.
type KeyFormat string

const (
	// MultiStream keys are account:stream:epoch:shardId.
	MultiStream KeyFormat = "multi_stream"
	// SingleStream keys are shard ids; the table serves one stream.
	SingleStream KeyFormat = "single_stream"
)

// StreamID is what a multi-stream table calls a stream, account:stream:epoch;
// epoch is its creation in Unix seconds, so that a stream that was deleted and
// made again is another one.
func StreamID(account, name string, created time.Time) string {
	return account + ":" + name + ":" + strconv.FormatInt(created.Unix(), 10)
}

// ParseStreamID reads what StreamID writes.
func ParseStreamID(id string) (account, name string, created time.Time, err error) {
	parts := strings.Split(id, ":")
	if len(parts) != 3 || parts[1] == "" || len(parts[0]) != 12 || !digits(parts[0]) {
		return "", "", time.Time{}, fmt.Errorf("stream %q: not account:stream:epoch", id)
	}
	epoch, err := strconv.ParseInt(parts[2], 10, 64)
	if err != nil || !digits(parts[2]) {
		return "", "", time.Time{}, fmt.Errorf("stream %q: epoch %q is not a time in Unix seconds", id, parts[2])
	}
	return parts[0], parts[1], time.Unix(epoch, 0).UTC(), nil
}

// LeaseKey is the key of a shard's lease. stream is a StreamID; a single-stream
// table does not use it.
func LeaseKey(format KeyFormat, stream, shard string) string {
	if format == SingleStream {
		return shard
	}
	return stream + ":" + shard
}

// ParseLeaseKey reads what LeaseKey writes; stream is empty in a single-stream
// table. A key of the other shape is an error.
func ParseLeaseKey(format KeyFormat, key string) (stream, shard string, err error) {
	cut := strings.LastIndexByte(key, ':')
	if format == SingleStream {
		if cut >= 0 {
			return "", "", fmt.Errorf("lease key %q has the shape of a multi_stream table, this one is read as single_stream", key)
		}
		return "", key, nil
	}
	if cut < 0 {
		return "", "", fmt.Errorf("lease key %q has the shape of a single_stream table, this one is read as multi_stream", key)
	}
	stream, shard = key[:cut], key[cut+1:]
	if _, _, _, err := ParseStreamID(stream); err != nil || shard == "" {
		return "", "", fmt.Errorf("lease key %q is not account:stream:epoch:shardId", key)
	}
	return stream, shard, nil
}

// NewLease is the lease of a shard that has none yet: without owner, at at.
func NewLease(format KeyFormat, stream string, shard Shard, at Position) Lease {
	if format == SingleStream {
		stream = ""
	}
	return Lease{
		Key: LeaseKey(format, stream, shard.ID), Stream: stream, Shard: shard.ID,
		Saved: Saved{Checkpoint: at}, Parents: shard.Parents, HashFrom: shard.HashFrom, HashTo: shard.HashTo,
	}.Clone()
}
