// Package deliver sends records to destinations, in order per key.
//
// Promise: for one destination and one key of a shard, the next record is not
// attempted before the one in front of it is settled: delivered, or durable
// among the dead letters. Keys go in parallel, up to the destination's
// concurrency. What one destination does changes nothing for the others: they
// share no lock, no goroutine and no connection.
//
// Data flow: Wake takes what the cursor has and makes a lane for every key
// that has none. A lane is data: it stands in the ready queue, or is in
// flight, or waits in a heap for its retry. Goroutines exist only for attempts
// and end when nothing is ready. An attempt's answer becomes a Reason, and the
// reason's Class says what happens: settle, try again, dead-letter, or hold
// the destination.
//
// On failure: attempts are repeated with exponential back-off and full jitter,
// and as the receiver's Retry-After asks. Answers that say that the
// destination is set up wrongly hold it: one lane probes now and then, the
// others wait. A dead letter that cannot be written keeps its lane waiting and
// nothing else. When the tenure ends, attempts in flight are cancelled and
// nothing that they leave open is settled.
package deliver
