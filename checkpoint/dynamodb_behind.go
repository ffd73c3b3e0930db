package checkpoint

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"go.uber.org/zap"
)

const (
	// inItem is how much of behind a lease item holds: 4 KiB, so that a
	// renewal costs few write units however many are behind.
	inItem = 4 << 10
	// inPart is how much one overflow item holds, below the service's 400 KB.
	inPart = 300 << 10
	// mostParts bounds the overflow of one lease to about 10 MB. Who is
	// behind with more is not saved (ErrTooLarge); the lease is renewed.
	mostParts = 32
	// mostWritten bounds the overflow of one lease that is to be deleted: an
	// outage does not make it grow. What is forgotten costs storage, until
	// leases check --clean.
	mostWritten = 8

	aStateKey = "key"
	aParts    = "parts"   // N, how many items the overflow has
	aEntries  = "entries" // M, as behind
	aStamp    = "stamp"   // of a roster: new with every write
)

// errGone: an overflow item is not there (any more).
var errGone = errors.New("its overflow is not in the state table")

// savePositions adds to u what changes from held to save. New rosters and
// overflow are in the state table when it returns, before the lease names
// them; what is no longer named is deleted after the lease's write.
func (d *DynamoDB) savePositions(ctx context.Context, u *update, held Lease, save *Saved, create bool) error {
	if save == nil {
		return nil
	}
	if create || save.Checkpoint != held.Checkpoint {
		u.setCheckpoint(save.Checkpoint)
		u.setNumber(aSwitches, 0)
		u.remove(aPending, aPendingSub, aPendingState)
	}
	if create && save.Acknowledged > 0 || !create && save.Acknowledged != held.Acknowledged {
		u.setNumber(aAcknowledged, save.Acknowledged)
	}
	if create && len(save.Roster) > 0 || !create && !slices.Equal(save.Roster, held.Roster) {
		if len(save.Roster) == 0 {
			u.remove(aRoster)
		} else if err := d.saveRoster(ctx, u, save.Roster); err != nil {
			return err
		}
	}
	if create && len(save.Behind) == 0 || !create && (Saved{Behind: save.Behind}).Equal(Saved{Behind: held.Behind}) {
		return nil
	}
	u.positions = true
	inline, ref, err := d.split(ctx, held.Key, save.Behind)
	if err != nil {
		return err
	}
	if u.ref = ref; ref == "" {
		u.remove(aBehindRef)
	} else {
		u.setText(aBehindRef, ref)
	}
	if len(inline) == 0 {
		u.remove(aBehind)
	} else {
		u.set[aBehind] = encodeEntries(inline)
	}
	return nil
}

// split decides what stands in the item. Overflow that this tenure wrote last
// is named again when all its subscribers are still behind: entries that have
// moved since stand in the item, over it. Otherwise, when all is too much for
// the item, all of it becomes the new overflow.
func (d *DynamoDB) split(ctx context.Context, key string, behind map[string]Entry) (inline map[string]Entry, ref string, err error) {
	if sizeOf(encodeEntries(behind)) <= inItem {
		return behind, "", nil
	}
	d.mu.Lock()
	ref = d.current[key]
	last := d.parts[ref]
	d.mu.Unlock()
	if last != nil {
		inline = map[string]Entry{}
		for name, e := range behind {
			if o, ok := last[name]; !ok || !o.equal(e) {
				inline[name] = e
			}
		}
		whole := !slices.ContainsFunc(slices.Collect(maps.Keys(last)), func(name string) bool { _, ok := behind[name]; return !ok })
		if whole && sizeOf(encodeEntries(inline)) <= inItem {
			return inline, ref, nil
		}
	}
	ref, err = d.saveOverflow(ctx, key, behind)
	return nil, ref, err
}

// saveOverflow writes the items of a new overflow: name, name/1, name/2 …
func (d *DynamoDB) saveOverflow(ctx context.Context, key string, behind map[string]Entry) (string, error) {
	parts := partition(behind)
	if len(parts) > mostParts {
		return "", fmt.Errorf("%d subscribers are behind with too many parked keys: %w", len(behind), ErrTooLarge)
	}
	ref := "behind/" + key + "/" + rand.Text()
	d.mu.Lock()
	d.written[key] = append(d.written[key], ref)
	if n := len(d.written[key]); n > mostWritten {
		d.written[key] = slices.Clone(d.written[key][n-mostWritten:])
	}
	d.mu.Unlock()
	for i := len(parts) - 1; i >= 0; i-- { // the first, which tells how many, is the last
		it := item{aStateKey: textValue(partName(ref, i)), aParts: numberValue(int64(len(parts))), aEntries: encodeEntries(parts[i])}
		if _, err := d.client.PutItem(ctx, &dynamodb.PutItemInput{TableName: &d.stateTable, Item: it}, twice); err != nil {
			return "", fmt.Errorf("write overflow %s to table %s: %w", ref, d.stateTable, unsaved(err))
		}
	}
	d.mu.Lock()
	d.parts[ref] = Saved{Behind: behind}.Clone().Behind
	d.current[key] = ref
	d.mu.Unlock()
	return ref, nil
}

func partName(ref string, i int) string {
	if i == 0 {
		return ref
	}
	return ref + "/" + strconv.Itoa(i)
}

// partition cuts entries into maps of at most inPart each; an entry with many
// keys may be cut itself.
func partition(behind map[string]Entry) []map[string]Entry {
	var parts []map[string]Entry
	part, size := map[string]Entry{}, 0
	cut := func(more int) {
		if size+more > inPart && size > 0 {
			parts = append(parts, part)
			part, size = map[string]Entry{}, 0
		}
	}
	for _, name := range slices.Sorted(maps.Keys(behind)) {
		e := behind[name]
		base := len(name) + len(e.At.String()) + 20
		cut(base)
		part[name] = Entry{At: e.At}
		size += base
		for _, key := range slices.Sorted(maps.Keys(e.Keys)) {
			more := len(key) + len(e.Keys[key].String()) + 20
			if cut(more); size == 0 {
				size = base
			}
			p := part[name]
			if p.At = e.At; p.Keys == nil {
				p.Keys = map[string]Position{}
			}
			p.Keys[key] = e.Keys[key]
			part[name] = p
			size += more
		}
	}
	return append(parts, part)
}

// overflow reads what a lease item names. Not to be changed.
func (d *DynamoDB) overflow(ctx context.Context, ref string) (map[string]Entry, error) {
	d.mu.Lock()
	entries, ok := d.parts[ref]
	d.mu.Unlock()
	if ok {
		return entries, nil
	}
	entries = map[string]Entry{}
	for i, n := int64(0), int64(1); i < n; i++ {
		it, err := d.state(ctx, partName(ref, int(i)))
		if err != nil {
			return nil, err
		}
		if it == nil {
			return nil, fmt.Errorf("%w: %s of table %s", errGone, partName(ref, int(i)), d.stateTable)
		}
		r := reading{item: it, table: d.stateTable, key: partName(ref, int(i))}
		n = min(r.number(aParts, true), mostParts)
		for name, e := range r.behind(it[aEntries], aEntries) {
			if old, ok := entries[name]; ok && old.Keys != nil {
				maps.Copy(old.Keys, e.Keys)
				e.Keys = old.Keys
			}
			entries[name] = e
		}
		if r.err != nil {
			return nil, r.err
		}
	}
	d.mu.Lock()
	d.parts[ref] = entries
	d.mu.Unlock()
	return entries, nil
}

// sweep deletes the overflow of a lease that its item, just written, does not
// name. A failure costs an item that nobody reads; it is tried again.
func (d *DynamoDB) sweep(ctx context.Context, key, named, before string) {
	d.mu.Lock()
	refs := slices.Clone(d.written[key])
	if before != "" && !slices.Contains(refs, before) {
		refs = append(refs, before)
	}
	if d.current[key] != named {
		delete(d.current, key) // it may be gone in a moment
	}
	d.mu.Unlock()
	var left []string
	for _, ref := range refs {
		if ref == named {
			continue
		}
		if err := d.deleteOverflow(ctx, ref); err != nil {
			d.log.Debug("overflow not deleted yet", zap.String("item", ref), zap.Error(err))
			if len(left) < mostWritten {
				left = append(left, ref)
			}
		}
	}
	if named != "" && slices.Contains(refs, named) {
		left = append(left, named)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if delete(d.written, key); len(left) > 0 {
		d.written[key] = left
	}
}

func (d *DynamoDB) deleteOverflow(ctx context.Context, ref string) error {
	it, err := d.state(ctx, ref)
	if err != nil || it == nil {
		return err
	}
	r := reading{item: it}
	for i := min(r.number(aParts, false), mostParts) - 1; i >= 0; i-- {
		key := item{aStateKey: textValue(partName(ref, int(i)))}
		if _, err := d.client.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: &d.stateTable, Key: key}, twice); err != nil {
			return err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.parts, ref)
	return nil
}

// state reads an item of the state table, nil when there is none.
func (d *DynamoDB) state(ctx context.Context, key string) (item, error) {
	out, err := d.client.GetItem(ctx, &dynamodb.GetItemInput{
		TableName: &d.stateTable, Key: item{aStateKey: textValue(key)}, ConsistentRead: aws.Bool(true),
	}, twice)
	if err != nil {
		return nil, fmt.Errorf("get %s of table %s: %w", key, d.stateTable, storeError(err))
	}
	return out.Item, nil
}

// unsaved is the error of a write to the state table: whatever became of it,
// the lease was not touched.
func unsaved(err error) error { return fmt.Errorf("%w: %v", ErrNotSaved, err) }
