// Package pipeline is the way of a record: a reader's batches go into a shard
// log, every subscriber's cursor walks the log and settles its records, and
// what is settled becomes the positions that are saved with the lease.
package pipeline
