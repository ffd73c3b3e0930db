package checkpoint

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
)

// passes is the part of a Holder that scans and takes. Owned by Run.
type passes struct {
	*Holder
	serve   Serve
	wg      sync.WaitGroup // of the tenures
	seen    sightings
	foreign foreigners
	twins   twins
	twin    string // the process under this worker's id that was last complained of
	// pending are takes of unknown outcome by lease key; bounded by the table.
	pending map[string]pendingTake
	// asked are the leases that this worker waits for; at most atOnce.
	asked    map[string]bool
	listed   time.Duration // clock reading after the last scan that worked
	watched  bool          // a lease that this worker wants is not its own
	wake     time.Duration // clock reading at which something may be taken without a scan; 0: nothing
	uneven   time.Duration // since when this worker should ask for a lease to even the work; 0: it should not
	stole    time.Duration // clock reading at which this worker last took a lease from a KCL worker; 0: never
	scans    trouble
	takes    trouble
	overflow int // free leases beyond MaxLeases at the last pass
}

// How often the table is scanned, in parts of the fail-over time. A lease that
// was renewed just before its owner died is seen at the next scan, and counts
// from then on: it is taken a fail-over time and a scan's interval after.
const (
	scanMost  = 11 // while others hold leases that this worker wants: between an eleventh
	scanLeast = 9  // and a ninth
	// scanShare bounds the time spent scanning to an eighth.
	scanShare = 8
)

// evenAfter is how long the work must have been uneven before a lease moves.
const evenAfter = 30 * time.Second

// run scans until ctx or base ends, or another process is found to work under
// this worker's id: then it says so. Writes use base: a take must not be left
// unknown because the worker stops.
func (p *passes) run(ctx, base context.Context) error {
	failover := p.cfg.Failover
	due := time.Now().Add(p.spread(0, failover/30))
	look := due // when to look after the leases asked for
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := time.Now()
		p.beat.Store(&now)
		wait := time.Until(due)
		if p.wake > 0 {
			wait = min(wait, p.wake-p.cfg.Clock())
		}
		if len(p.asked) > 0 {
			wait = min(wait, time.Until(look))
		}
		timer.Reset(max(wait, 0))
		select {
		case <-ctx.Done():
			return nil
		case <-base.Done():
			return nil
		case <-timer.C:
			switch now := time.Now(); {
			case len(p.asked) > 0 && !now.Before(look):
				p.claim(ctx, base)
				look = time.Now().Add(min(time.Second/2, failover/20))
				continue
			case now.Before(due) && p.fresh():
				p.act(ctx, base)
				continue
			case now.Before(due):
				p.wake = 0 // the next scan tells
				continue
			}
			took, err := p.pass(ctx, base)
			if err != nil {
				return err
			}
			due = time.Now().Add(p.interval(took))
		case <-p.nudge:
			if soon := time.Now().Add(failover / 20); soon.Before(due) {
				due = soon
			}
		}
	}
}

// interval is the time until the next scan, after one that took so long.
func (p *passes) interval(took time.Duration) time.Duration {
	failover := p.cfg.Failover
	seldom := p.spread(failover/4, failover/3)
	switch {
	case p.scans.times > 0: // what did not answer tells nothing of how long a scan takes
		return seldom
	case p.watched:
		return max(p.spread(failover/scanMost, failover/scanLeast), (scanShare-1)*took)
	}
	return max(seldom, (scanShare-1)*took)
}

// fresh says whether the last scan tells enough of who lives to act upon it: a
// lease that nobody looked at has not expired.
func (p *passes) fresh() bool { return p.cfg.Clock()-p.listed < p.cfg.Failover/4 }

// pass is one scan and what follows from it. The error says that another
// process works under this worker's id.
func (p *passes) pass(ctx, base context.Context) (took time.Duration, err error) {
	start := time.Now()
	call, cancel := context.WithTimeout(ctx, p.cfg.Failover/2)
	leases, err := p.store.List(call)
	cancel()
	if took = time.Since(start); took > p.cfg.Failover/2 {
		took = 0 // the process stood still: that tells nothing of how long a scan takes
	}
	if ctx.Err() != nil {
		return took, nil
	}
	p.note(err)
	p.scans.note(p.log, err, "scan of the lease table failed; leases held are kept, none is taken", "scan of the lease table works again")
	if err != nil {
		p.wake = 0
		return took, nil
	}
	p.listed = p.cfg.Clock()
	p.seen.scan(leases, p.listed)
	p.foreign.see(leases, p.listed)
	p.publish()
	if err := p.refused(leases); err != nil {
		return took, err
	}
	p.act(ctx, base)
	return took, nil
}

// publish shows the scan to others.
func (p *passes) publish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.snapshot = p.seen
	close(p.scanned)
	p.scanned = make(chan struct{})
	for key := range p.failures {
		if _, ok := p.seen.leases[key]; !ok {
			delete(p.failures, key)
		}
	}
	for key := range p.pending {
		if _, ok := p.seen.leases[key]; !ok {
			delete(p.pending, key)
		}
	}
	for key, t := range p.tenures {
		l := p.seen.leases[key].lease
		asked := l.HandingOver == p.cfg.Worker && l.Tenure == t.taken.Tenure
		stolen := l.Owner != p.cfg.Worker && l.HandingOver == "" && l.Counter > t.taken.Counter
		if asked || stolen {
			t.poke() // its next write tells
		}
	}
}

// act takes and asks for what is this worker's to take, by what was last seen.
func (p *passes) act(ctx, base context.Context) {
	now := p.cfg.Clock()
	candidates := p.candidates(now)
	v := look(p.cfg.Worker, candidates, p.cfg.MaxLeases)
	lease, uneven := v.evens()
	steal, above := v.steals()
	take := v.takes()
	ask := v.asks(atOnce - len(p.asked))
	switch {
	case !uneven || len(ask) > 0:
		p.uneven = 0
	case p.uneven == 0:
		p.uneven = now
	case now-p.uneven >= max(evenAfter, p.cfg.Failover) && len(p.asked) == 0:
		p.uneven = 0
		p.log.Info("the work is uneven: a lease moves", zap.String("lease", lease.Key), zap.Float64("kilobytes_per_second", lease.Throughput))
		ask = []Lease{lease}
	}
	p.complain(candidates, take)
	if above && len(take) == 0 && len(ask) == 0 && len(p.asked) == 0 && (p.stole == 0 || now-p.stole > p.cfg.Failover) {
		p.steal(ctx, base, steal) // one at a time
		return
	}
	p.take(ctx, base, take)
	p.ask(ctx, base, ask)
	if len(take)+len(ask) > 0 {
		p.candidates(p.cfg.Clock()) // what is still watched
	}
}

// candidates are the leases that this worker wants. It also notes when the
// next of them may be taken.
func (p *passes) candidates(now time.Duration) []candidate {
	p.mu.Lock()
	tenures := make(map[string]*Tenure, len(p.tenures))
	for key, t := range p.tenures {
		tenures[key] = t
	}
	barred := map[string]bool{}
	for key, f := range p.failures {
		barred[key] = now < f.until
	}
	p.mu.Unlock()

	p.wake, p.watched = 0, false
	leases := all(p.seen.leases)
	var candidates []candidate
	for key, s := range p.seen.leases {
		if !p.cfg.Wanted(s.lease, leases) {
			continue
		}
		t := tenures[key]
		c := candidate{lease: s.lease, barred: barred[key] || t != nil, mine: p.asked[key] || t != nil && t.mine(), from: s.from,
			foreign: p.cfg.SharedWithKCL && p.foreign.renews(s.lease)}
		since, free := p.seen.free(s, now)
		w, pending := p.pending[key]
		pending = pending && s.lease.Owner == p.cfg.Worker && s.lease.Tenure == w.tenure
		c.sure = !c.barred && (pending || p.seen.given(s.lease))
		c.free = free || pending
		patience := p.cfg.Failover / scanLeast // all others have scanned by then
		if s.lease.Owner != "" {
			patience = 2 * patience / 3 // most have: the time is up
			c.from, _ = s.lease.Holder()
		}
		c.spare = free && now-since >= patience
		candidates = append(candidates, c)
		if c.mine || c.barred {
			continue
		}
		p.watched = p.watched || !c.free || !c.spare
		next := since + 1
		if free {
			next = since + patience
		}
		if next > now && (p.wake == 0 || next < p.wake) {
			p.wake = next
		}
	}
	return candidates
}

// complain says when leases stay free because of MaxLeases.
func (p *passes) complain(candidates []candidate, take []Lease) {
	if p.cfg.MaxLeases == 0 {
		return
	}
	left := 0
	for _, c := range candidates {
		if c.spare && !c.mine && !c.barred && !slices.ContainsFunc(take, func(l Lease) bool { return l.Key == c.lease.Key }) {
			left++
		}
	}
	if left != p.overflow {
		if p.overflow = left; left > 0 {
			p.log.Warn("leases stay without an owner: every worker holds leases.max_leases", zap.Int("leases", left))
		}
	}
}

// start begins a tenure.
func (p *passes) start(base context.Context, l Lease, sent time.Duration, stolen bool) {
	t := newTenure(p.Holder, l, sent)
	if stolen {
		t.quiet = p.cfg.Failover
	}
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
