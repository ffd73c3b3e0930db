// Package amazon delivers records to Kinesis streams, SQS queues, SNS topics
// and S3 objects.
//
// Promise: a record counts as delivered when the service has acknowledged it by
// itself, whatever became of those that shared its call. Per key one record is
// on its way, so that a record that is put again after a partial failure has
// nobody behind it to overtake: order per key needs nothing else.
//
// Data flow: the attempts of many lanes are gathered into calls (batches).
// Throughput therefore grows with the destination's concurrency: it is the most
// records that can be on their way. The service's answer for each record, or
// for the whole call, becomes a deliver.Reason by one table (failure.go).
//
// On failure: the SDK repeats nothing by itself, since the lane's own policy
// does, which is counted and ends with the tenure. A call that is refused as a
// whole is made again with its halves, until it is known which record is meant:
// one bad record sends no other to the dead letters.
package amazon
