// Package checkpoint says which shards this worker may read and from where:
// leases and positions in the table format of the Kinesis Client Library.
//
// It promises one owner per lease among Shardline workers, however their
// clocks differ, and that a saved position is only ever replaced by the
// lease's owner.
//
// A Holder scans the lease table through a Store, takes leases, and runs the
// caller's serve function once per Tenure. One goroutine per tenure is the
// only writer of its lease: it renews, saves positions with the renewal, and
// releases. Every write is conditional on the lease's counter and tenure.
//
// On failure: a write of unknown outcome is settled by a consistent read; a
// lease that cannot be renewed in time ends its tenure on this worker before
// another worker may take it; a worker that dies leaves leases that others
// take after the fail-over time and start from the saved positions.
package checkpoint
