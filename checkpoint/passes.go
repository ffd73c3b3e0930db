package checkpoint

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
)

// passes is the part of a Holder that scans and takes. Owned by Run.
type passes struct {
	*Holder
	serve   Serve
	wg      sync.WaitGroup // of the tenures
	seen    sightings
	foreign foreigners
	// pending are takes of unknown outcome by lease key; bounded by the table.
	pending map[string]pendingTake
	// asked are the leases that this worker waits for; at most atOnce.
	asked map[string]bool
	// trouble is the last scan's error, for logging on change.
	trouble  string
	failed   int
	overflow int // free leases beyond MaxLeases at the last pass
}

// pendingTake is a take that may have landed. Nobody serves it yet, so the same
// tenure is tried again; if it turns out to be in the table, it has been there
// since sent at the earliest.
type pendingTake struct {
	tenure string
	sent   time.Duration
}

// run scans until ctx or base ends. Writes use base: a take must not be left
// unknown because the worker stops.
func (p *passes) run(ctx, base context.Context) {
	failover := p.cfg.Failover
	next := time.NewTimer(p.spread(0, failover/30))
	defer next.Stop()
	nudged := false
	for {
		now := time.Now()
		p.beat.Store(&now)
		var poll <-chan time.Time
		if len(p.asked) > 0 {
			poll = time.After(min(time.Second, failover/10))
		}
		select {
		case <-ctx.Done():
			return
		case <-base.Done():
			return
		case <-next.C:
			p.pass(ctx, base)
			next.Reset(p.spread(failover/4, failover/3))
			nudged = false
		case <-p.nudge:
			if !nudged {
				nudged = true
				next.Reset(failover / 20)
			}
		case <-poll:
			p.claim(ctx, base)
		}
	}
}

// pass is one scan and what follows from it.
func (p *passes) pass(ctx, base context.Context) {
	call, cancel := context.WithTimeout(ctx, p.cfg.Failover)
	leases, err := p.store.List(call)
	cancel()
	if ctx.Err() != nil {
		return
	}
	p.note(err)
	if err != nil {
		p.failed++
		if p.trouble != err.Error() {
			p.trouble = err.Error()
			p.log.Error("scan of the lease table failed; leases held are kept, none is taken", zap.Error(err))
		}
		return
	}
	if p.failed > 0 {
		p.log.Info("scan of the lease table works again", zap.Int("failures", p.failed))
		p.failed, p.trouble = 0, ""
	}
	now := p.cfg.Clock()
	p.seen.scan(leases, now, p.cfg.Worker)
	p.foreign.see(leases, now)
	candidates := p.candidates(now)
	asks := atOnce - len(p.asked)
	p.randMu.Lock()
	take, ask := plan(p.cfg.Worker, candidates, p.cfg.MaxLeases, asks, p.rand)
	p.randMu.Unlock()
	p.complain(candidates, len(take))
	p.take(ctx, base, take)
	p.ask(ctx, base, ask)
}

// candidates publishes the scan and picks the leases that this worker wants.
func (p *passes) candidates(now time.Duration) []candidate {
	p.mu.Lock()
	p.snapshot = p.seen.leases
	close(p.scanned)
	p.scanned = make(chan struct{})
	for key := range p.failures {
		if _, ok := p.seen.leases[key]; !ok {
			delete(p.failures, key)
		}
	}
	tenures := make(map[string]*Tenure, len(p.tenures))
	for key, t := range p.tenures {
		tenures[key] = t
		if l := p.seen.leases[key].lease; l.HandingOver == p.cfg.Worker && l.Tenure == t.taken.Tenure {
			t.poke() // somebody asks for it
		}
	}
	barred := map[string]bool{}
	for key, f := range p.failures {
		barred[key] = now < f.until
	}
	p.mu.Unlock()

	for key := range p.pending {
		if _, ok := p.seen.leases[key]; !ok {
			delete(p.pending, key)
		}
	}
	leases := all(p.seen.leases)
	var candidates []candidate
	for key, s := range p.seen.leases {
		if !p.cfg.Wanted(s.lease, leases) {
			continue
		}
		t := tenures[key]
		c := candidate{sighting: s, barred: barred[key] || t != nil, mine: p.asked[key] || t != nil && t.mine()}
		if w, ok := p.pending[key]; ok && s.lease.Owner == p.cfg.Worker && s.lease.Tenure == w.tenure {
			c.free = true
		}
		candidates = append(candidates, c)
	}
	return candidates
}

// complain says when leases stay free because of MaxLeases.
func (p *passes) complain(candidates []candidate, taken int) {
	free := 0
	for _, c := range candidates {
		if c.again && !c.mine && !c.barred {
			free++
		}
	}
	if p.cfg.MaxLeases == 0 {
		return
	}
	if left := max(free-taken, 0); left != p.overflow {
		if p.overflow = left; left > 0 {
			p.log.Warn("leases stay without an owner: every worker holds leases.max_leases", zap.Int("leases", left))
		}
	}
}

// take takes leases in parallel and starts their tenures.
func (p *passes) take(ctx, base context.Context, leases []Lease) {
	type outcome struct {
		lease   Lease
		sent    time.Duration
		taken   bool
		pending pendingTake
	}
	outcomes := make([]outcome, len(leases))
	var g errgroup.Group
	g.SetLimit(atOnce)
	for i, l := range leases {
		was := p.pending[l.Key]
		g.Go(func() error {
			if ctx.Err() != nil {
				outcomes[i].pending = was
				return nil
			}
			o := &outcomes[i]
			o.lease, o.sent, o.taken, o.pending = p.takeOne(base, l, was)
			return nil
		})
	}
	_ = g.Wait() // none returns an error
	for i, o := range outcomes {
		key := leases[i].Key
		if delete(p.pending, key); o.pending.tenure != "" {
			p.pending[key] = o.pending
		}
		if o.taken {
			delete(p.asked, key)
			p.start(base, o.lease, o.sent)
		}
	}
}

// takeOne takes a lease as seen and settles an unknown outcome. sent is when
// the tenure began at the earliest.
func (p *passes) takeOne(base context.Context, seen Lease, w pendingTake) (l Lease, sent time.Duration, taken bool, pending pendingTake) {
	if w.tenure == "" {
		w = pendingTake{tenure: p.newTenure(), sent: p.cfg.Clock()}
	}
	for attempt := range 3 {
		if attempt > 0 && !sleep(base, p.spread(0, p.cfg.Failover/100<<attempt)) {
			break
		}
		sent = p.cfg.Clock()
		call, cancel := p.call(base)
		l, err := p.store.Take(call, seen, p.cfg.Worker, w.tenure)
		cancel()
		if err == nil {
			return l, sent, true, pendingTake{}
		}
		if errors.Is(err, ErrThrottled) {
			continue
		}
		call, cancel = p.call(base)
		now, readErr := p.store.Get(call, seen.Key)
		cancel()
		switch {
		case errors.Is(readErr, ErrNotFound):
			return Lease{}, 0, false, pendingTake{}
		case readErr != nil:
			p.log.Warn("take of unknown outcome", zap.String("lease", seen.Key), zap.NamedError("take", err), zap.Error(readErr))
		case now.Owner == p.cfg.Worker && now.Tenure == w.tenure && now.Counter == seen.Counter+1:
			return now, w.sent, true, pendingTake{}
		case !now.as(seen) || now.HandingOver != seen.HandingOver:
			return Lease{}, 0, false, pendingTake{}
		}
	}
	return Lease{}, 0, false, w
}

// ask asks for leases. A request of unknown outcome counts: claim reads it.
func (p *passes) ask(ctx, base context.Context, leases []Lease) {
	for _, l := range leases {
		if ctx.Err() != nil {
			return
		}
		call, cancel := p.call(base)
		err := p.store.Ask(call, l, p.cfg.Worker)
		cancel()
		switch {
		case errors.Is(err, ErrConflict), errors.Is(err, ErrThrottled):
			continue
		case err != nil:
			p.log.Warn("request for a lease of unknown outcome", zap.String("lease", l.Key), zap.Error(err))
		default:
			p.log.Info("lease asked for", zap.String("lease", l.Key), zap.String("owner", l.Owner))
		}
		p.asked[l.Key] = true
	}
}

// claim looks after the leases asked for and takes those that were given, or
// whose old owner no longer renews.
func (p *passes) claim(ctx, base context.Context) {
	var take []Lease
	for key := range p.asked {
		call, cancel := p.call(ctx)
		l, err := p.store.Get(call, key)
		cancel()
		if errors.Is(err, ErrNotFound) || err == nil && l.Owner != p.cfg.Worker {
			delete(p.asked, key)
		}
		if err != nil || l.Owner != p.cfg.Worker {
			continue
		}
		s := p.seen.see(l, p.cfg.Clock(), p.cfg.Worker)
		p.seen.leases = with(p.seen.leases, key, s)
		if s.free || l.HandingOver == "" && l.Tenure == p.pending[key].tenure {
			take = append(take, l)
		} else if l.HandingOver == "" {
			delete(p.asked, key) // another process has it under this worker's id
		}
	}
	p.take(ctx, base, take)
}

// with is a copy: the published scan does not change.
func with(seen map[string]sighting, key string, s sighting) map[string]sighting {
	next := make(map[string]sighting, len(seen)+1)
	for k, v := range seen {
		next[k] = v
	}
	next[key] = s
	return next
}

// start begins a tenure.
func (p *passes) start(base context.Context, l Lease, sent time.Duration) {
	t := newTenure(p.Holder, l, sent)
	p.mu.Lock()
	p.tenures[l.Key] = t
	p.mu.Unlock()
	p.cfg.Metrics.taken.Inc()
	p.cfg.Metrics.held.Inc()
	p.log.Info("lease taken", zap.String("lease", l.Key), zap.String("shard", l.Shard),
		zap.Stringer("checkpoint", l.Checkpoint), zap.Int64("counter", l.Counter))
	p.wg.Go(func() {
		began := p.cfg.Clock()
		err := t.keep(base, p.serve)
		p.cfg.Metrics.held.Dec()
		p.end(t, began, err)
	})
}

// end forgets a tenure and decides when this worker may take the lease again.
func (h *Holder) end(t *Tenure, began time.Duration, err error) {
	key, now := t.taken.Key, h.cfg.Clock()
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.tenures, key)
	last := h.failures[key]
	delete(h.failures, key)
	longest := 16 * h.cfg.Failover
	switch {
	case errors.Is(err, ErrLeaseLost), errors.Is(err, ErrKilled):
	case err != nil:
		f := failure{wait: min(max(2*last.wait, h.cfg.Failover), longest), text: err.Error()}
		if now-began > longest {
			f.wait = h.cfg.Failover
		}
		f.until = now + f.wait
		h.failures[key] = f
		if f.text != last.text {
			h.log.Error("serving a shard ended with an error; the lease was released", zap.String("lease", key),
				zap.Duration("again_in", f.wait), zap.Error(err))
		}
	case !t.isDraining():
		// It returned because it was done: do not take it again before a scan
		// shows what it saved.
		h.failures[key] = failure{until: now + h.cfg.Failover/2}
	}
}
