package checkpoint

import "context"

// KCLWrite is a write of a worker of the Kinesis Client Library: conditional on
// the counter alone, and it knows nothing of a tenure. It says whether the
// condition held.
func (m *Memory) KCLWrite(key string, counter int64, change func(l *Lease)) bool {
	_, err := m.write(context.Background(), "kcl", key, false, func(l Lease, found bool) (*Lease, error) {
		if !found || l.Counter != counter {
			return nil, ErrConflict
		}
		change(&l)
		l.Counter++
		return &l, nil
	})
	return err == nil
}
