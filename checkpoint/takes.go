package checkpoint

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
)

// pendingTake is a take that may have landed. Nobody serves it yet, so the same
// tenure is tried again; if it turns out to be in the table, it has been there
// since sent at the earliest.
type pendingTake struct {
	tenure string
	sent   time.Duration
	stolen bool // from a KCL worker that was alive
}

// outcome is what became of a take.
type outcome struct {
	lease   Lease // taken: the lease. Otherwise as it was last read, if it was
	sent    time.Duration
	taken   bool
	read    bool
	pending pendingTake
	err     error // why it is neither taken nor somebody else's
}

// take takes leases in parallel and starts their tenures. While the table hangs
// it stops after a fail-over time: the next scan tells what is left.
func (p *passes) take(ctx, base context.Context, leases []Lease) {
	began := p.cfg.Clock()
	outcomes := make([]outcome, len(leases))
	var g errgroup.Group
	g.SetLimit(atOnce)
	stolen := make([]bool, len(leases))
	for i, l := range leases {
		was := p.pending[l.Key]
		stolen[i] = was.stolen
		g.Go(func() error {
			if outcomes[i].pending = was; ctx.Err() == nil && p.cfg.Clock()-began < p.cfg.Failover {
				outcomes[i] = p.takeOne(base, l, was)
			}
			return nil
		})
	}
	_ = g.Wait() // none returns an error
	var failed error
	for i, o := range outcomes {
		key := leases[i].Key
		if delete(p.pending, key); o.pending.tenure != "" {
			p.pending[key] = o.pending
		}
		switch {
		case o.taken:
			delete(p.asked, key)
			p.start(base, o.lease, o.sent, stolen[i])
		case o.read:
			p.seen.note(o.lease, p.cfg.Clock()) // who was faster counts in the next plan
		}
		if o.err != nil {
			failed = o.err
		}
	}
	if len(leases) > 0 && ctx.Err() == nil {
		p.takes.note(p.log, failed, "leases could not be taken; trying again", "leases are taken again")
	}
}

// takeOne takes a lease as seen and settles an unknown outcome. sent is when
// the tenure began at the earliest. It gives up after a while: others wait for
// the same pass.
func (p *passes) takeOne(base context.Context, seen Lease, w pendingTake) (o outcome) {
	began := p.cfg.Clock()
	if w.tenure == "" {
		w = pendingTake{tenure: p.newTenure(), sent: began}
	}
	for attempt := range 3 {
		if attempt > 0 && (p.cfg.Clock()-began > p.cfg.Failover/4 || !sleep(base, p.spread(0, p.cfg.Failover/100<<attempt))) {
			break
		}
		sent := p.cfg.Clock()
		call, cancel := p.call(base)
		l, err := p.store.Take(call, seen, p.cfg.Worker, w.tenure)
		cancel()
		if err == nil {
			return outcome{lease: l, sent: sent, taken: true}
		}
		o.err = err
		if errors.Is(err, ErrThrottled) {
			continue
		}
		call, cancel = p.call(base)
		now, readErr := p.store.Get(call, seen.Key)
		cancel()
		switch {
		case errors.Is(readErr, ErrNotFound):
			return outcome{}
		case readErr != nil:
		case now.Owner == p.cfg.Worker && now.Tenure == w.tenure && now.Counter == seen.Counter+1:
			return outcome{lease: now, sent: w.sent, taken: true}
		case !now.as(seen) || now.HandingOver != seen.HandingOver:
			return outcome{lease: now, read: true}
		}
	}
	o.pending = w
	return o
}

// steal takes a lease from a KCL worker that is alive: one that cannot be asked.
func (p *passes) steal(ctx, base context.Context, seen Lease) {
	call, cancel := p.call(ctx)
	l, err := p.store.Get(call, seen.Key) // it is renewed all the time
	cancel()
	if err != nil || l.Owner != seen.Owner || l.HandingOver != "" {
		return
	}
	p.stole = p.cfg.Clock()
	p.log.Info("lease is taken from a KCL worker to even the shares; it is read when that one has noticed",
		zap.String("lease", l.Key), zap.String("owner", l.Owner), zap.Duration("after", p.cfg.Failover))
	p.pending[l.Key] = pendingTake{tenure: p.newTenure(), sent: p.stole, stolen: true}
	p.take(ctx, base, []Lease{l})
}

// ask asks for leases. A request of unknown outcome counts: claim reads it.
func (p *passes) ask(ctx, base context.Context, leases []Lease) {
	var g errgroup.Group
	g.SetLimit(atOnce)
	var mu sync.Mutex // guards asked while they are sent
	for _, l := range leases {
		g.Go(func() error {
			if ctx.Err() != nil {
				return nil
			}
			call, cancel := p.call(base)
			err := p.store.Ask(call, l, p.cfg.Worker)
			cancel()
			switch {
			case errors.Is(err, ErrConflict), errors.Is(err, ErrThrottled):
				return nil
			case err != nil:
				p.log.Warn("request for a lease of unknown outcome", zap.String("lease", l.Key), zap.Error(err))
			default:
				p.log.Info("lease asked for", zap.String("lease", l.Key), zap.String("owner", l.Owner))
			}
			mu.Lock()
			defer mu.Unlock()
			p.asked[l.Key] = true
			return nil
		})
	}
	_ = g.Wait() // none returns an error
}

// claim looks after the leases asked for and takes those that were given, or
// whose old owner no longer renews.
func (p *passes) claim(ctx, base context.Context) {
	type reading struct {
		key   string
		lease Lease
		err   error
	}
	readings := make(chan reading, len(p.asked))
	var g errgroup.Group
	for key := range p.asked {
		g.Go(func() error {
			call, cancel := p.call(ctx)
			defer cancel()
			l, err := p.store.Get(call, key)
			readings <- reading{key, l, err}
			return nil
		})
	}
	_ = g.Wait() // none returns an error
	close(readings)
	var take []Lease
	for r := range readings {
		if errors.Is(r.err, ErrNotFound) || r.err == nil && r.lease.Owner != p.cfg.Worker {
			delete(p.asked, r.key)
		}
		if r.err != nil || r.lease.Owner != p.cfg.Worker {
			continue
		}
		now := p.cfg.Clock()
		_, free := p.seen.free(p.seen.note(r.lease, now), now)
		if free || r.lease.HandingOver == "" && r.lease.Tenure == p.pending[r.key].tenure {
			take = append(take, r.lease)
		} else if r.lease.HandingOver == "" {
			delete(p.asked, r.key) // another process has it under this worker's id
		}
	}
	p.take(ctx, base, take)
}
