package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
)

var (
	// errBack is what a save of a checkpoint that moves back gets.
	errBack = errors.New("checkpoint would move back")
	// errReleased says that a release of unknown outcome landed.
	errReleased = errors.New("released")
)

// write renews the lease, with the positions when they differ from what the
// table has. saves are who waits for it; without waiting saves it is a renewal
// and happens anyhow. It retries until it is in the table or the tenure ends.
func (t *Tenure) write(ctx context.Context, saves []request) error {
	save, refused := t.changes()
	if save == nil && saves != nil {
		return t.reported(refused) // nothing to save
	}
	t.measure()
	err := t.settle(ctx, opRenew, func(call context.Context) error {
		l, err := t.h.store.Renew(call, t.current(), save)
		if refusesSave(err) {
			refused, save = err, nil // positions never cost a lease
		}
		if err == nil {
			t.held = l
		}
		return err
	})
	if err != nil {
		return err
	}
	if refused == nil {
		t.saved.Store(t.until.Load() - int64(t.h.cfg.Failover-t.h.margin)) // when it was sent
	}
	return t.reported(refused)
}

// changes is what to save: nil when the table has it already.
func (t *Tenure) changes() (*Saved, error) {
	t.mu.Lock()
	positions := t.positions
	t.mu.Unlock()
	if positions == nil {
		return nil, nil
	}
	s := positions().Clone()
	if s.Equal(t.held.Saved) {
		return nil, nil
	}
	now := t.held.Checkpoint
	if (now.IsNumber() || now == ShardEnd) && s.Checkpoint.Compare(now) < 0 {
		return nil, fmt.Errorf("save lease %s: %s after %s: %w", t.taken.Key, s.Checkpoint, now, errBack)
	}
	return &s, nil
}

// reported logs a save that was refused, on change, and returns the error.
func (t *Tenure) reported(err error) error {
	if cause := causeOf(err); cause != t.trouble {
		if t.trouble = cause; err != nil {
			t.h.log.Error("positions were not saved; the lease is renewed without them",
				zap.String("lease", t.taken.Key), zap.Error(err))
		} else {
			t.h.log.Info("positions are saved again", zap.String("lease", t.taken.Key))
		}
	}
	return err
}

// refusesSave: the positions stay out of the table, the lease may be renewed.
func refusesSave(err error) bool { return errors.Is(err, ErrTooLarge) || errors.Is(err, ErrNotSaved) }

// settle calls write until it is known to be in the table, or the tenure is
// lost. After an unknown outcome, and after a condition that did not hold (an
// earlier unknown write may have landed), a consistent read decides: our tenure
// and the next counter mean that it landed; our tenure and the same counter
// mean that it did not; anything else means that the lease is lost, or, after
// a release of unknown outcome, that it is released.
func (t *Tenure) settle(ctx context.Context, op string, write func(context.Context) error) error {
	first := time.Duration(-1) // when the first write that may have landed was sent
	unknown := false
	for attempt := 0; ; attempt++ {
		if attempt > 0 && !sleep(ctx, t.pause(attempt)) {
			return ErrLeaseLost
		}
		if !t.Valid() {
			return ErrLeaseLost
		}
		sent := t.h.cfg.Clock()
		call, cancel := t.h.call(ctx)
		err := write(call)
		cancel()
		switch {
		case err == nil:
			t.extend(sent)
			t.recovered(op)
			return nil
		case refusesSave(err):
			continue
		case errors.Is(err, ErrThrottled):
			t.failing(op, err)
			continue
		case first < 0:
			first = sent
		}
		if !errors.Is(err, ErrConflict) {
			unknown = true
			t.failing(op, err)
		}
		now, known, err := t.read(ctx, op == opRelease && unknown)
		switch {
		case errors.Is(err, errReleased):
			return nil
		case err != nil:
			return err
		case !known:
			continue
		case now.Counter == t.held.Counter+1:
			t.adopt(now)
			t.extend(first) // others may count from then on
			t.recovered(op)
			return nil
		default:
			t.adopt(now)
		}
	}
}

// read reads the lease consistently; known is false when that failed, the error
// is ErrLeaseLost when the lease is no longer ours.
func (t *Tenure) read(ctx context.Context, releasing bool) (now Lease, known bool, err error) {
	call, cancel := t.h.call(ctx)
	defer cancel()
	now, err = t.h.store.Get(call, t.taken.Key)
	me := t.h.cfg.Worker
	switch {
	case errors.Is(err, ErrNotFound):
		t.lose(reasonDeleted)
		return Lease{}, false, ErrLeaseLost
	case err != nil:
		t.failing("read", err)
		return Lease{}, false, nil
	case now.Tenure == t.taken.Tenure && (now.HandingOver == me || now.HandingOver == "" && now.Owner == me) &&
		(now.Counter == t.held.Counter || now.Counter == t.held.Counter+1):
		return now, true, nil
	case releasing && now.Tenure != t.taken.Tenure && now.Counter > t.held.Counter:
		return now, true, errReleased
	case now.Owner == me && now.Tenure != t.taken.Tenure && now.Tenure != "":
		t.h.log.Error("another process holds leases under this worker's id; give every process its own worker_id",
			zap.String("lease", t.taken.Key), zap.String("worker", me))
		t.lose(reasonForeign)
	default:
		t.lose(reasonTaken)
	}
	return now, false, ErrLeaseLost
}

// adopt takes over what the table says of our lease.
func (t *Tenure) adopt(now Lease) {
	t.held = now
	if now.HandingOver != "" {
		t.given.Store(true)
		t.drain("asked for by " + now.Owner)
	}
}

// release gives the lease up with the last positions, as long as it is ours.
func (t *Tenure) release(ctx context.Context) {
	save, refused := t.changes()
	t.measure()
	err := t.settle(ctx, opRelease, func(call context.Context) error {
		err := t.h.store.Release(call, t.current(), save)
		if refusesSave(err) {
			if refused != nil || errors.Is(err, ErrTooLarge) { // once more otherwise: these are the last positions
				save = nil
			}
			refused = err
		}
		return err
	})
	if err != nil {
		t.h.log.Warn("lease not released; others take it after the fail-over time", zap.String("lease", t.taken.Key), zap.Error(err))
		return
	}
	if save != nil {
		t.held.Saved, refused = *save, nil
	}
	_ = t.reported(refused)
	t.h.log.Info("lease released", zap.String("lease", t.taken.Key), zap.Stringer("checkpoint", t.held.Checkpoint))
}

// setChildren is not tied to the counter, so it is simply repeated: for as long
// as the renewal, which waits meanwhile, has time. After that it is the caller's
// to ask again.
func (t *Tenure) setChildren(ctx context.Context, ids []string) error {
	for attempt := 1; ; attempt++ {
		if !t.Valid() {
			return ErrLeaseLost
		}
		call, cancel := t.h.call(ctx)
		err := t.h.store.SetChildren(call, t.held, ids)
		cancel()
		switch {
		case err == nil:
			t.held.Children = ids
			return nil
		case errors.Is(err, ErrConflict):
			if now, known, err := t.read(ctx, false); err != nil {
				return err
			} else if known {
				t.adopt(now)
			}
		}
		if left := time.Duration(t.until.Load()) - t.h.cfg.Clock(); left < t.h.cfg.Failover/2 {
			return fmt.Errorf("set the children of lease %s: %w", t.taken.Key, err)
		}
		if !sleep(ctx, t.pause(attempt)) {
			return ErrLeaseLost
		}
	}
}

// pause is the wait before attempt, with jitter: at most a tenth of the
// fail-over time, so that several fit into it.
func (t *Tenure) pause(attempt int) time.Duration {
	d := min(t.h.cfg.Failover/200<<min(attempt, 10), t.h.cfg.Failover/10)
	return t.h.spread(d/2, d)
}

// failing and recovered log on change.
func (t *Tenure) failing(op string, err error) {
	if t.failures++; t.failures == 1 {
		t.h.log.Warn("write to the lease is being retried", zap.String("lease", t.taken.Key), zap.String("operation", op), zap.Error(err))
	}
}

func (t *Tenure) recovered(op string) {
	if t.failures > 0 {
		t.h.log.Info("write to the lease succeeded", zap.String("lease", t.taken.Key), zap.String("operation", op), zap.Int("failures", t.failures))
		t.failures = 0
	}
}
