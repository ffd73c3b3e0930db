package checkpoint

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"
)

// Obedience is what one shard has made of a command.
type Obedience string

const (
	// InForce: the shard has acknowledged it.
	InForce Obedience = "in_force"
	// Unowned: nobody owns the lease, so that nothing of the shard is in flight;
	// whoever takes it obeys before anything else.
	Unowned Obedience = "unowned"
	// Waiting: its owner has not acknowledged it yet.
	Waiting Obedience = "waiting"
)

// Acknowledgement is what a shard has made of what is desired.
type Acknowledgement struct {
	Lease, Stream, Shard, Owner string
	Obedience                   Obedience
}

// Acknowledgements are what the shards have made of a version, by lease.
func Acknowledgements(leases []Lease, version int64) []Acknowledgement {
	all := make([]Acknowledgement, 0, len(leases))
	for _, l := range leases {
		a := Acknowledgement{Lease: l.Key, Stream: l.Stream, Shard: l.Shard, Owner: cmp.Or(l.HandingOver, l.Owner), Obedience: Waiting}
		switch {
		case l.Acknowledged >= version:
			a.Obedience = InForce
		case l.Owner == "" && l.HandingOver == "":
			a.Obedience = Unowned
		}
		all = append(all, a)
	}
	slices.SortFunc(all, func(a, b Acknowledgement) int { return cmp.Compare(a.Lease, b.Lease) })
	return all
}

// allQuiet says that nobody who does not know a version yet delivers anything.
func allQuiet(leases []Lease, version int64) bool {
	return !slices.ContainsFunc(Acknowledgements(leases, version), func(a Acknowledgement) bool { return a.Obedience == Waiting })
}

// Await reads the leases every now and then until no shard is waiting for a
// version, or ctx ends: then it says how far they are. An error means that not
// even that is known.
func Await(ctx context.Context, s Store, version int64, every time.Duration) ([]Acknowledgement, error) {
	var last []Lease
	for {
		leases, err := s.ListNow(ctx)
		switch {
		case err == nil:
			last = leases
		case ctx.Err() == nil || last == nil:
			return nil, fmt.Errorf("look for the shards' acknowledgements: %w", err)
		}
		if allQuiet(last, version) || !sleep(ctx, every) {
			return Acknowledgements(last, version), nil
		}
	}
}
