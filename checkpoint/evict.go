package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// ErrUnsettled: it is not known whether a write took effect, and somebody has
// written the lease since.
var ErrUnsettled = errors.New("outcome unknown")

// Evict takes a lease away from whoever owns it and saves positions when save
// is not nil, if it is still as seen: counter, owner, tenure and handover. The
// owner, if it lives, finds at its next write that its tenure has ended;
// what it delivers until then comes again from the next owner. ErrConflict,
// ErrTooLarge, ErrNotSaved, ErrUnsettled.
//
// A write of unknown outcome is settled by a consistent read, like a worker's.
func (d *DynamoDB) Evict(ctx context.Context, seen Lease, save *Saved) error {
	return d.evict(ctx, seen, save)
}

// HandBack is Evict for a lease that goes back to KCL workers: nothing of
// Shardline's stays in the item.
func (d *DynamoDB) HandBack(ctx context.Context, seen Lease, save Saved) error {
	return d.evict(ctx, seen, &save, aStream, aAcknowledged)
}

func (d *DynamoDB) evict(ctx context.Context, seen Lease, save *Saved, remove ...string) error {
	unknown := false
	for attempt := 0; ; attempt++ {
		if attempt > 0 && !sleep(ctx, min(100*time.Millisecond<<attempt, 5*time.Second)) {
			return fmt.Errorf("evict lease %s of table %s: %w", seen.Key, d.table, context.Cause(ctx))
		}
		err := d.evictOnce(ctx, seen, save, remove)
		switch {
		case err == nil, refusesSave(err), denied(err), ctx.Err() != nil, attempt == 6:
			return err
		case errors.Is(err, ErrThrottled):
			continue
		case errors.Is(err, ErrConflict) && !unknown:
			return err
		}
		unknown = true
		now, readErr := d.Get(ctx, seen.Key)
		switch {
		case readErr != nil:
		case now.as(seen) && now.HandingOver == seen.HandingOver:
		case now.Owner == "" && now.Tenure == "" && now.Counter == seen.Counter+1:
			return nil
		case now.Tenure == seen.Tenure && now.Tenure != "":
			return fmt.Errorf("evict lease %s of table %s: %w", seen.Key, d.table, ErrConflict)
		default:
			return fmt.Errorf("evict lease %s of table %s: %w: %s has it now at %s: %w", seen.Key, d.table, ErrUnsettled, now.Owner, now.Checkpoint, err)
		}
	}
}

func (d *DynamoDB) evictOnce(ctx context.Context, seen Lease, save *Saved, remove []string) error {
	u := d.update(seen.Key)
	u.asSeen(seen)
	if seen.HandingOver != "" { // without: a stale one may stand there, and a new one changes the owner
		u.isText(aHandingOver, seen.HandingOver)
	}
	u.setNumber(aCounter, seen.Counter+1)
	u.remove(append(remove, aOwner, aTenure, aHandingOver, aAskedBy)...)
	if err := d.savePositions(ctx, u, seen, save, false); err != nil {
		return fmt.Errorf("evict lease %s: %w", seen.Key, err)
	}
	if save != nil {
		// What could not be read of the item goes, too.
		u.setCheckpoint(save.Checkpoint)
		if len(save.Roster) == 0 {
			u.remove(aRoster)
		}
		if len(save.Behind) == 0 {
			u.remove(aBehind, aBehindRef)
		}
		slices.Sort(u.removed)
		u.removed = slices.Compact(u.removed)
	}
	return d.send(ctx, "evict", u)
}
