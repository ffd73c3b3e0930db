// Package redrive reads dead letters and delivers them again.
//
// Promise: a letter leaves its queue, or is marked there, only after its
// destination has taken its record. Letters of one destination, stream and key
// are delivered in the order of their records, one at a time; keys go in
// parallel. What a queue has that is no letter, that notes a gap, or that is for
// a destination that is not configured stays where it is, and is named.
//
// Data flow: Scan finds letters; those that the filter means become chains, one
// per destination, stream and key, sorted by position. The heads of the chains
// go through the destination's own lanes (deliver.Destination) over its own
// transport, with the attempts, limits and answers that live records have, and
// with an idempotency key of their own: that of the record and the command's id.
// The next letter of a chain follows when the one before is delivered or refused
// again.
//
// On failure: what is refused again stays in the queue, and its chain goes on,
// as with live records. When nothing settles for a while, or the process ends,
// the rest stays. A command that is given again under its id repeats only what
// was delivered and not yet marked, under the same idempotency keys.
//
// Order towards live records: a letter is older than what its key has delivered
// since. A receiver that compares X-Shardline-Sequence-Number can tell. Whoever
// needs the letters first holds the key meanwhile.
package redrive
