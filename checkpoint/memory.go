package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
)

// Outcome is what a fault makes of a call.
type Outcome int

const (
	// None: the call does what it says.
	None Outcome = iota
	// Fail: nothing is persisted and an error without meaning is returned.
	Fail
	// Landed: the write is persisted, and yet an error is returned.
	Landed
	// Late: an error is returned, and the write takes effect, if its
	// condition then holds, just before the key's next write.
	Late
	// Throttle: ErrThrottled.
	Throttle
	// TooLarge: ErrTooLarge for a write with positions, else none.
	TooLarge
	// Hang: the call blocks until its context ends. Nothing is persisted.
	Hang
)

// The names of the calls, as faults and metrics know them.
const (
	opPrepare     = "prepare"
	opList        = "list"
	opGet         = "get"
	opFirst       = "first"
	opListNow     = "list_now"
	opDesired     = "desired"
	opSetDesired  = "set_desired"
	opCreate      = "create"
	opTake        = "take"
	opRenew       = "renew"
	opRelease     = "release"
	opAsk         = "ask"
	opSetChildren = "set_children"
	opDelete      = "delete"
)

var errFault = errors.New("injected fault: outcome unknown")

// Memory is a Store in memory: for one process that keeps nothing, and, with
// faults, for tests and simulation. Its zero value is an empty table. It may be
// used by many goroutines at once; its hooks must be set before.
type Memory struct {
	// Fault, when set, is asked before every call: op is prepare, list, list_now, first,
	// desired, set_desired, get, create, take, renew, release, ask, set_children or delete; key is empty
	// for prepare, the lists and the desired state. It may sleep.
	Fault func(op, key string) Outcome
	// Stale, when set, says for which keys List tells what stood there
	// before the last write.
	Stale func(key string) bool

	once  sync.Once
	table *table
}

type table struct {
	mu      sync.Mutex
	leases  map[string]Lease
	askers  map[string]string // who asked for the leases that are being handed over
	before  map[string]Lease  // as it was before the last write; absent: there was none
	late    map[string][]func()
	first   map[string]map[string]Position // by stream
	desired Desired
}

// Client is another client of the same table, without hooks: workers of one
// simulation that fail one at a time.
func (m *Memory) Client() *Memory {
	c := &Memory{table: m.open()}
	c.once.Do(func() {})
	return c
}

func (m *Memory) open() *table {
	m.once.Do(func() {
		m.table = &table{leases: map[string]Lease{}, before: map[string]Lease{}, askers: map[string]string{}, late: map[string][]func(){}, first: map[string]map[string]Position{}}
	})
	return m.table
}

// Prepare has nothing to do.
func (m *Memory) Prepare(ctx context.Context) error {
	_, err := m.fault(ctx, opPrepare, "")
	return err
}

// List reads all leases in the order of their keys.
func (m *Memory) List(ctx context.Context) ([]Lease, error) {
	if _, err := m.fault(ctx, opList, ""); err != nil {
		return nil, err
	}
	t := m.open()
	t.mu.Lock()
	seen, before := maps.Clone(t.leases), maps.Clone(t.before)
	t.mu.Unlock()
	if m.Stale != nil {
		for _, key := range slices.Sorted(maps.Keys(union(seen, before))) {
			if !m.Stale(key) {
				continue
			}
			delete(seen, key)
			if l, ok := before[key]; ok {
				seen[key] = l
			}
		}
	}
	leases := make([]Lease, 0, len(seen))
	for _, key := range slices.Sorted(maps.Keys(seen)) {
		leases = append(leases, seen[key].Clone())
	}
	return leases, nil
}

func union(a, b map[string]Lease) map[string]Lease {
	u := maps.Clone(a)
	maps.Copy(u, b)
	return u
}

// ListNow reads all leases as they are, whatever Stale says.
func (m *Memory) ListNow(ctx context.Context) ([]Lease, error) {
	if _, err := m.fault(ctx, opListNow, ""); err != nil {
		return nil, err
	}
	t := m.open()
	t.mu.Lock()
	defer t.mu.Unlock()
	leases := make([]Lease, 0, len(t.leases))
	for _, key := range slices.Sorted(maps.Keys(t.leases)) {
		leases = append(leases, t.leases[key].Clone())
	}
	return leases, nil
}

// Desired reads what is desired.
func (m *Memory) Desired(ctx context.Context) (Desired, error) {
	if _, err := m.fault(ctx, opDesired, ""); err != nil {
		return Desired{}, err
	}
	t := m.open()
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.desired.Clone(), nil
}

// SetDesired writes what is desired. ErrConflict, ErrTooLarge.
func (m *Memory) SetDesired(ctx context.Context, before int64, d Desired) error {
	outcome, err := m.fault(ctx, opSetDesired, "")
	if err != nil {
		return err
	}
	if _, err := encodeDesired(d); err != nil || outcome == TooLarge {
		return errors.Join(err, ErrTooLarge)
	}
	t := m.open()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.desired.Version != before {
		return fmt.Errorf("write the desired state: %w", ErrConflict)
	}
	if outcome != Late { // nothing else is written: it does not take effect at all
		t.desired = d.Clone()
	}
	if outcome == Landed || outcome == Late {
		return fmt.Errorf("write the desired state: %w", errFault)
	}
	return nil
}

// First says where a stream's first leases begin.
func (m *Memory) First(ctx context.Context, stream string, proposal map[string]Position) (map[string]Position, error) {
	outcome, err := m.fault(ctx, opFirst, stream)
	if err != nil {
		return nil, err
	}
	t := m.open()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.first[stream] == nil && len(proposal) > 0 {
		t.first[stream] = maps.Clone(proposal)
	}
	if outcome == Landed {
		return nil, fmt.Errorf("first leases of %s: %w", stream, errFault)
	}
	return maps.Clone(t.first[stream]), nil
}

// Get reads one lease. ErrNotFound.
func (m *Memory) Get(ctx context.Context, key string) (Lease, error) {
	if _, err := m.fault(ctx, opGet, key); err != nil {
		return Lease{}, err
	}
	t := m.open()
	t.mu.Lock()
	defer t.mu.Unlock()
	l, ok := t.leases[key]
	if !ok {
		return Lease{}, fmt.Errorf("get lease %s: %w", key, ErrNotFound)
	}
	return l.Clone(), nil
}

// Create puts a lease without owner. ErrExists.
func (m *Memory) Create(ctx context.Context, l Lease) error {
	_, err := m.write(ctx, opCreate, l.Key, false, func(_ Lease, found bool) (*Lease, error) {
		if found {
			return nil, ErrExists
		}
		c := l.Clone()
		c.Owner, c.Counter, c.Tenure, c.HandingOver, c.Switches = "", 0, "", "", 0
		return &c, nil
	})
	return err
}

// Take makes owner the owner in a new tenure. ErrConflict.
func (m *Memory) Take(ctx context.Context, seen Lease, owner, tenure string) (Lease, error) {
	return m.write(ctx, opTake, seen.Key, false, func(l Lease, found bool) (*Lease, error) {
		if !found || !l.as(seen) {
			return nil, ErrConflict
		}
		if l.Owner != "" && l.Owner != owner {
			l.Switches++
		}
		l.Owner, l.Tenure, l.HandingOver = owner, tenure, ""
		l.Counter++
		return &l, nil
	})
}

// Renew bumps the counter, and saves positions when save is not nil.
// ErrConflict.
func (m *Memory) Renew(ctx context.Context, held Lease, save *Saved) (Lease, error) {
	return m.write(ctx, opRenew, held.Key, save != nil, func(l Lease, found bool) (*Lease, error) {
		if !found || !l.heldAs(held) {
			return nil, ErrConflict
		}
		l.apply(save)
		l.Throughput = held.Throughput
		l.Counter++
		return &l, nil
	})
}

// Release gives the lease up. ErrConflict.
func (m *Memory) Release(ctx context.Context, held Lease, save *Saved) error {
	_, err := m.write(ctx, opRelease, held.Key, save != nil, func(l Lease, found bool) (*Lease, error) {
		if !found || !l.heldAs(held) {
			return nil, ErrConflict
		}
		l.apply(save)
		l.Throughput = held.Throughput
		if l.HandingOver == "" {
			l.Owner = ""
		}
		l.HandingOver, l.Tenure = "", ""
		l.Counter++
		return &l, nil
	})
	return err
}

// Ask asks the owner of a lease to hand it over to owner. ErrConflict.
func (m *Memory) Ask(ctx context.Context, seen Lease, owner string) error {
	_, err := m.write(ctx, opAsk, seen.Key, false, func(l Lease, found bool) (*Lease, error) {
		if !found || seen.Owner == "" || l.Owner != seen.Owner || l.Tenure != seen.Tenure || l.HandingOver != "" {
			return nil, ErrConflict
		}
		l.Owner, l.HandingOver = owner, l.Owner
		m.table.askers[seen.Key] = owner
		return &l, nil
	})
	return err
}

// SetChildren writes the children's shard ids. ErrConflict.
func (m *Memory) SetChildren(ctx context.Context, held Lease, children []string) error {
	_, err := m.write(ctx, opSetChildren, held.Key, false, func(l Lease, found bool) (*Lease, error) {
		if !found || l.Tenure != held.Tenure {
			return nil, ErrConflict
		}
		l.Children = slices.Sorted(slices.Values(children))
		return &l, nil
	})
	return err
}

// Delete removes a lease. ErrConflict.
func (m *Memory) Delete(ctx context.Context, seen Lease) error {
	_, err := m.write(ctx, opDelete, seen.Key, false, func(l Lease, found bool) (*Lease, error) {
		if !found || !l.as(seen) {
			return nil, ErrConflict
		}
		return nil, nil
	})
	return err
}

// as is the condition of Take and Delete.
func (l Lease) as(seen Lease) bool {
	return l.Counter == seen.Counter && l.Owner == seen.Owner && l.Tenure == seen.Tenure
}

// heldAs is the condition of Renew and Release.
func (l Lease) heldAs(held Lease) bool {
	return l.Counter == held.Counter && l.Tenure == held.Tenure && l.HandingOver == held.HandingOver
}

// write runs change on a copy of the item; it returns the item to put, or nil
// to remove it.
func (m *Memory) write(ctx context.Context, op, key string, save bool, change func(l Lease, found bool) (*Lease, error)) (Lease, error) {
	outcome, err := m.fault(ctx, op, key)
	if err != nil {
		return Lease{}, err
	}
	if outcome == TooLarge && save {
		return Lease{}, fmt.Errorf("%s lease %s: %w", op, key, ErrTooLarge)
	}
	t := m.open()
	t.mu.Lock()
	defer t.mu.Unlock()
	if outcome == Late {
		t.late[key] = append(t.late[key], func() { _, _ = t.put(key, change) })
		return Lease{}, fmt.Errorf("%s lease %s: %w", op, key, errFault)
	}
	late := t.late[key]
	delete(t.late, key)
	for _, put := range late {
		put()
	}
	l, err := t.put(key, change)
	if outcome == Landed {
		return Lease{}, fmt.Errorf("%s lease %s: %w", op, key, errFault)
	}
	if err != nil {
		return Lease{}, fmt.Errorf("%s lease %s: %w", op, key, err)
	}
	return l, nil
}

// put needs mu.
func (t *table) put(key string, change func(l Lease, found bool) (*Lease, error)) (Lease, error) {
	old, found := t.leases[key]
	next, err := change(old.Clone(), found)
	if err != nil {
		return Lease{}, err
	}
	delete(t.before, key)
	if found {
		t.before[key] = old
	}
	if next == nil {
		delete(t.leases, key)
		return Lease{}, nil
	}
	if asker, asked := t.askers[key]; asked && asker != next.Owner {
		next.HandingOver = "" // taken meanwhile by a worker that does not know it
	}
	if next.HandingOver == "" {
		delete(t.askers, key)
	}
	t.leases[key] = *next
	return next.Clone(), nil
}

// fault asks the hook, and ends calls that do not reach the table.
func (m *Memory) fault(ctx context.Context, op, key string) (Outcome, error) {
	if err := ctx.Err(); err != nil {
		return None, fmt.Errorf("%s lease %s: %w", op, key, err)
	}
	if m.Fault == nil {
		return None, nil
	}
	outcome := m.Fault(op, key)
	read := op == opGet || op == opList || op == opListNow || op == opDesired || op == opPrepare
	switch {
	case outcome == Throttle:
		return outcome, fmt.Errorf("%s lease %s: %w", op, key, ErrThrottled)
	case outcome == Hang:
		<-ctx.Done()
		return outcome, fmt.Errorf("%s lease %s: %w", op, key, ctx.Err())
	case outcome == Fail, read && (outcome == Landed || outcome == Late):
		return outcome, fmt.Errorf("%s lease %s: %w", op, key, errFault)
	}
	return outcome, nil
}
