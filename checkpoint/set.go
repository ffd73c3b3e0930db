package checkpoint

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Move is a change of where a lease stands, by hand.
type Move struct {
	Row
	Save     Saved
	Warnings []string // what will happen that is not obvious
	Unsafe   []string // what breaks a promise: it needs to be forced
}

// Set says what it means to move everybody on the roster of a lease to a
// position, or one subscriber alone when one is named. rows are all leases of
// the table, which are not changed. An error means that it cannot be done.
func Set(row Row, rows []Row, to Position, subscriber string) (Move, error) {
	m := Move{Row: row, Save: Saved{Checkpoint: to, Roster: row.Roster, Acknowledged: row.Acknowledged}}
	for _, f := range row.Damage {
		switch f.Attribute {
		case aCheckpoint, aBehind, aRoster, aBehindRef:
			m.Unsafe = append(m.Unsafe, fmt.Sprintf("attribute %s: %s; it is written anew, and where single subscribers stood is forgotten", f.Attribute, f.Text))
			m.Save.Roster = nil // everybody is at the checkpoint
		default:
			return Move{}, fmt.Errorf("lease %s: attribute %s: %s; %s", row.Key, f.Attribute, f.Text, f.Do)
		}
	}
	if subscriber != "" {
		saved, err := setOne(row, to, subscriber)
		if err != nil {
			return Move{}, fmt.Errorf("lease %s: %w", row.Key, err)
		}
		m.Save = saved
	}
	m.lineage(rows, to, subscriber)
	return m, nil
}

// setOne is the saved form with one subscriber moved: it is behind from then
// on, unless it is moved to the checkpoint.
func setOne(row Row, to Position, subscriber string) (Saved, error) {
	c := row.Checkpoint
	switch {
	case len(row.Damage) > 0:
		return Saved{}, errors.New("it cannot be read, so that one subscriber cannot be moved alone; leases check says more")
	case len(row.Roster) == 0:
		return Saved{}, errors.New("no worker has saved a roster yet: everybody begins at the checkpoint; move the lease without --subscriber")
	case !slices.Contains(row.Roster, subscriber):
		return Saved{}, fmt.Errorf("%q is not on its roster: %s", subscriber, strings.Join(row.Roster, ", "))
	case ordered(c) && ordered(to) && to.Compare(c) > 0:
		return Saved{}, fmt.Errorf("one subscriber cannot be moved ahead of the checkpoint, %s; move it there, or everybody", c)
	case !ordered(c) && ordered(to):
		return Saved{}, fmt.Errorf("one subscriber cannot be moved ahead of the checkpoint, %s; move everybody", c)
	}
	saved := row.Saved.Clone()
	if saved.Behind == nil {
		saved.Behind = map[string]Entry{}
	}
	if saved.Behind[subscriber] = (Entry{At: to}); to == c {
		delete(saved.Behind, subscriber)
	}
	return saved, nil
}

// lineage says what a move means to parents and children. A child at its
// beginning gets the leases of its parents anew, unless another child of theirs
// has begun.
func (m *Move) lineage(rows []Row, to Position, subscriber string) {
	who := "everybody"
	if subscriber != "" {
		who = subscriber
	}
	for _, id := range m.Parents {
		hasKey := func(o Row) bool { return o.Key == m.keyOf(id) }
		if m.Save.Checkpoint == TrimHorizon && !slices.ContainsFunc(rows, hasKey) {
			m.Warnings = append(m.Warnings, fmt.Sprintf("its parent %s has no lease any more: what the stream still holds of it may come again, too, before %s", id, m.Shard))
		}
	}
	for _, o := range rows {
		if o.Key != m.keyOf(o.Shard) {
			continue // of another stream
		}
		switch {
		case slices.Contains(m.Parents, o.Shard) && !o.Finished():
			m.Warnings = append(m.Warnings, fmt.Sprintf("its parent %s is not at its end: %s is read on from %s after that", o.Shard, m.Shard, to))
		case slices.Contains(m.Parents, o.Shard) && len(o.Behind) > 0:
			m.Warnings = append(m.Warnings, fmt.Sprintf("on its parent %s somebody is behind (%s), and begins here when through there", o.Shard, strings.Join(slices.Sorted(maps.Keys(o.Behind)), ", ")))
		case slices.Contains(o.Parents, m.Shard) && to != ShardEnd && ordered(o.Checkpoint):
			m.Unsafe = append(m.Unsafe, fmt.Sprintf("its child %s has been read up to %s already: what %s gets again of %s comes after that, out of order; set the children to trim_horizon, too",
				o.Shard, o.Checkpoint, who, m.Shard))
		case slices.Contains(o.Parents, m.Shard) && m.Finished() && to != ShardEnd && subscriber == "":
			m.Warnings = append(m.Warnings, fmt.Sprintf("its child %s waits until %s is at its end again", o.Shard, m.Shard))
		}
	}
}
