// Package demo runs the whole job on one machine and checks it: a local AWS
// with three accounts, ten receivers of which some misbehave, a producer,
// worker processes of which one is killed, and a shard that is split.
//
// The checker compares what Kinesis acknowledged to the producer with what
// the receivers logged, byte for byte, and knows nothing of how Shardline
// works.
package demo
