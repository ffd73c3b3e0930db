// Package checkpoint says which shards this worker may read and from where:
// leases and positions in the table format of the Kinesis Client Library.
package checkpoint
