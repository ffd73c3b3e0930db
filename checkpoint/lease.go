package checkpoint

import (
	"context"
	"errors"
)

// Shard is a shard as its stream lists it.
type Shard struct {
	ID       string
	Parents  []string // none, one (split) or two (merge) shard ids; they may have been trimmed
	HashFrom string   // first hash key, decimal, inclusive
	HashTo   string   // last hash key, decimal, inclusive
	Start    string   // starting sequence number
	Closed   bool     // it has an ending sequence number
}

// Entry is where a subscriber that is behind the checkpoint stands.
type Entry struct {
	// At is the last position before the subscriber's first unsettled one.
	At Position
	// Keys are its parked keys, each with its own position, which governs
	// the key instead of At.
	Keys map[string]Position
}

// Saved is what a lease item says of progress. For every subscriber of the
// roster: an entry in Behind says where it stands; without one it has settled
// everything up to Checkpoint.
type Saved struct {
	Checkpoint Position
	// Roster has the sorted names of the subscribers that Checkpoint covers, or
	// Nobody alone. Empty: Shardline never saved one, and it covers everybody.
	Roster []string
	Behind map[string]Entry
	// Acknowledged is the highest version of the desired state that is in force
	// on the shard, with every one before it.
	Acknowledged int64
}

// Nobody stands on a roster that its last name has left, and is no subscriber's
// name: whoever comes then is new.
const Nobody = "-"

// Lease is an item of the lease table.
type Lease struct {
	Key     string // the lease key: Shard, or Stream:Shard in a multi-stream table
	Stream  string // account:stream:epoch; empty in a single-stream table: not known
	Shard   string
	Owner   string // worker id; empty: nobody
	Counter int64  // grows with every write of the owner
	Tenure  string // random, made at every take
	// HandingOver is the owner that is still draining; Owner is then the
	// worker that it hands the lease to (checkpointOwner of KCL 3.x).
	HandingOver string
	Switches    int64 // ownerSwitchesSinceCheckpoint
	// Throughput is the work that the lease makes, in kB/s of 1,024 bytes as its
	// owner last saw it; 0: unknown, or none (throughputKBps of KCL 3.x).
	Throughput float64
	Saved
	Parents  []string
	Children []string
	HashFrom string
	HashTo   string
}

// Finished says whether the shard has been read to its end.
func (l Lease) Finished() bool { return l.Checkpoint == ShardEnd }

var (
	// ErrConflict: the item is not as the condition of the write says:
	// another worker wrote it. Nothing was changed.
	ErrConflict = errors.New("lease changed by another worker")
	// ErrNotFound: no such lease.
	ErrNotFound = errors.New("no such lease")
	// ErrExists: there is such a lease already.
	ErrExists = errors.New("lease exists")
	// ErrThrottled: the store refused the call for its rate. Nothing was
	// changed; try again a little later.
	ErrThrottled = errors.New("lease store throttles")
	// ErrTooLarge: the positions do not fit. Nothing was changed; a renewal
	// without positions still succeeds.
	ErrTooLarge = errors.New("positions are too large to save")
	// ErrNotSaved: what the positions need beside the lease item could not be
	// written. The lease was not changed; as for ErrTooLarge.
	ErrNotSaved = errors.New("positions not saved")
	// ErrForeign: the table is not one that this worker may use; the text
	// says why. Trying again does not help.
	ErrForeign = errors.New("lease table refused")
	// ErrLeaseLost is the cause with which a tenure's context ends when its
	// lease belongs to somebody else, or could not be renewed in time.
	ErrLeaseLost = errors.New("lease lost")
	// ErrSameWorker is what Run returns when another process works under this
	// worker's id, and this one gave way.
	ErrSameWorker = errors.New("another process works under this worker's id: give every process its own worker_id")
)

// Store keeps leases, and what belongs to them: the names of rosters, the
// part of Behind that is too large for the item, and the desired state. Every write is conditional.
// An error other than the sentinels means that the outcome is unknown: the
// caller settles it by Get, comparing tenure and counter.
type Store interface {
	// Prepare creates what is missing and checks the shape of what is there.
	Prepare(ctx context.Context) error
	// List reads all leases, possibly a little old.
	List(ctx context.Context) ([]Lease, error)
	// First says where a stream's first leases begin, by shard; stream is a
	// StreamID. The first proposal that is not empty decides, for good: whoever
	// asks later is told that one. Without any it is empty.
	First(ctx context.Context, stream string, proposal map[string]Position) (map[string]Position, error)
	// ListNow reads all leases as they are: none that was there when the call
	// began is missing, or older than then.
	ListNow(ctx context.Context) ([]Lease, error)
	// Desired reads what operators want, consistently. Its version is 0 before
	// the first SetDesired.
	Desired(ctx context.Context) (Desired, error)
	// SetDesired replaces what operators want, if its version is still before.
	// ErrConflict, ErrTooLarge.
	SetDesired(ctx context.Context, before int64, d Desired) error
	// Get reads one lease consistently. ErrNotFound.
	Get(ctx context.Context, key string) (Lease, error)
	// Create puts a lease without owner. ErrExists.
	Create(ctx context.Context, l Lease) error
	// Take makes owner the owner in a new tenure, if counter and owner are
	// still as seen. It removes HandingOver. ErrConflict.
	Take(ctx context.Context, seen Lease, owner, tenure string) (Lease, error)
	// Renew bumps the counter, writes held's throughput, and saves positions when
	// save is not nil, if
	// counter and tenure are still held's, and nobody asked for the lease
	// unless held says so itself. ErrConflict.
	Renew(ctx context.Context, held Lease, save *Saved) (Lease, error)
	// Release gives the lease up, to the worker that asked for it if one
	// did, with the last positions and held's throughput. ErrConflict.
	Release(ctx context.Context, held Lease, save *Saved) error
	// Ask asks the owner of a lease to hand it over to owner (KCL 3.x's
	// handoff): Owner becomes owner, HandingOver the old one, the counter
	// stays. ErrConflict.
	Ask(ctx context.Context, seen Lease, owner string) error
	// SetChildren writes the children's shard ids beside the counter.
	SetChildren(ctx context.Context, held Lease, children []string) error
	// Delete removes a lease if its counter and owner are still as seen.
	// ErrConflict.
	Delete(ctx context.Context, seen Lease) error
}
