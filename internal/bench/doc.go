// Package bench measures what Shardline does. The delivery path runs beside
// clients that do nothing else, alternating in one run against the same sink
// process. Workers run as real processes on a local AWS of this process, before
// receivers that check every message: whether they notice faults of others.
package bench
