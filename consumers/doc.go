// Package consumers reaches Kinesis streams: in whichever account they are,
// through a role of their own, and reads their shards.
//
// Promise: a Reader returns every record of its shard behind its position, in
// order and none twice, across expired iterators, throttles, time-outs and
// expired credentials, subscriptions that end or are taken over, and changes
// between polling and enhanced fan-out. What the stream trimmed before it could be read is
// reported, never passed over in silence. One source's refused role or missing
// stream concerns no other source: each has its own credentials, client and
// back-off.
//
// Data flow: NewBase loads Shardline's own credentials. A Source assumes its
// role with them and lists the stream's shards; a Reader reads one shard and
// hands batches to whoever called Read. Aggregated records of the Kinesis
// Producer Library come as their user records. By polling nothing is read ahead,
// so a reader that nobody calls holds no more than the rest of an answer that is
// too large for one batch. By enhanced fan-out it holds one event besides, the
// SDK two more, and the transport what its flow control allows (4 MiB a
// subscription); Run registers the stream consumer, and while there is none the
// Reader polls. The Producer goes the other way: it puts
// messages into a stream, in order per key.
//
// Failure: every error names the operation, its object and the service's own
// words, and wraps one of the sentinels of package pipeline where a caller
// decides by it. After an error the next Read continues at the same place; Wait
// backs off with jitter. Credentials, assumed or the SDK's own, are refreshed
// ahead of their expiry by Credentials.Run, apart from reading, and a request
// never calls for them; while refreshing fails the old ones serve until the
// service no longer takes them.
package consumers
