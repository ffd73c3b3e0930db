package deliver

import (
	"math"
	"time"
)

// pace is a token bucket that keeps a rate evenly: it fills for a tenth of a
// second at most, and holds one token at least.
type pace struct {
	every time.Duration // from token to token; 0: no limit
	next  time.Time     // when the next token is due, with all before it taken
}

// paceSlack is for how long tokens may be taken later than they are due.
const paceSlack = 100 * time.Millisecond

// interval is the time from token to token at a rate in tokens per second.
func interval(rate float64) time.Duration {
	if rate <= 0 {
		return 0
	}
	return time.Duration(min(math.Ceil(float64(time.Second)/rate), float64(time.Hour)))
}

// at is the time from which on there is a token.
func (p *pace) at() time.Time { return p.next.Add(-p.slack()) }

func (p *pace) slack() time.Duration { return max(paceSlack-p.every, 0) }

// tokens is how many there are now.
func (p *pace) tokens(now time.Time) int {
	if p.every == 0 {
		return math.MaxInt
	}
	late := now.Sub(p.at())
	if late < 0 {
		return 0
	}
	return 1 + int(min(late, p.slack())/p.every)
}

// take takes a token.
func (p *pace) take(now time.Time) {
	if now.After(p.next) {
		p.next = now
	}
	p.next = p.next.Add(p.every)
}

// set changes the interval.
func (p *pace) set(every time.Duration, now time.Time) {
	if latest := now.Add(every); p.next.After(latest) {
		p.next = latest
	}
	p.every = every
}

// paces are those of keys. A key is forgotten when its bucket is full.
type paces struct {
	every time.Duration // 0: no limit
	next  map[string]time.Time
	sweep int // the size at which the full ones are looked for
}

// at is the time from which on there is a token for a key.
func (p *paces) at(key string) time.Time {
	k := pace{p.every, p.next[key]}
	return k.at()
}

// take takes a token of a key.
func (p *paces) take(key string, now time.Time) {
	if p.next == nil {
		p.next = make(map[string]time.Time)
	}
	k := pace{p.every, p.next[key]}
	k.take(now)
	p.next[key] = k.next
	if len(p.next) < p.sweep {
		return
	}
	for key, next := range p.next {
		if !next.After(now) {
			delete(p.next, key)
		}
	}
	p.sweep = 2*len(p.next) + 1024
}

// SetShare implements pipeline.Sharer.
func (d *Destination) SetShare(share float64) {
	if !(share > 0 && share <= 1) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if share != d.share {
		d.share = share
		d.setPace()
	}
}

// setPace makes the limits what the policy and the share say. d.mu is held.
func (d *Destination) setPace() {
	d.pace.set(interval(d.rateLimit*d.share), time.Now())
	d.paces.every = interval(d.keyRateLimit)
	d.kick()
}
