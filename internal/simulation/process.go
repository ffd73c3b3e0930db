package simulation

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var errCrashed = errors.New("the process is dead")

// process is one worker process as the world sees it: its calls, its clock,
// and what can happen to both.
type process struct {
	world *world
	id    string
	slot  int
	boot  time.Duration // what its clock showed when the world began

	mu     sync.Mutex
	resume chan struct{} // not nil while frozen; closed in the end
	frozen time.Duration // the time while frozen
	cut    time.Time     // until when it does not reach the lease table
	deaf   time.Time     // until when it does not reach the desired state
	bare   time.Time     // until when its credentials are worth nothing
	dead   chan struct{} // closed by crash
	armed  crashPoint    // where it crashes next
	cancel context.CancelFunc
	done   chan struct{}                       // closed when everything of it has returned
	err    error                               // what its Run returned; set before done
	window int64                               // its budget for shard logs; set before memory
	memory atomic.Pointer[prometheus.Registry] // its metrics; nil: none yet

	reloads chan configuration // what it is to go over to while it works; bounded: who does not get to it is stopped

	renewed map[string]time.Duration // by lease key: when its last take or renewal that landed was sent, in its own view; guarded by world.mu
}

// crashPoint is a call during which a process dies.
type crashPoint struct {
	op    string
	after bool // the call had its effect
}

func newProcess(w *world, slot int, id string) *process {
	return &process{world: w, id: id, slot: slot, boot: w.dice.span("boot "+id, 0, 1000*time.Hour), dead: make(chan struct{}), done: make(chan struct{}), reloads: make(chan configuration, 4),
		renewed: make(map[string]time.Duration)}
}

// pass is the gate before a call and before its answer: it waits while the
// process is frozen. frozen says that it was.
func (p *process) pass() (frozen bool, err error) {
	for {
		p.mu.Lock()
		resume := p.resume
		p.mu.Unlock()
		if p.crashed() {
			return frozen, errCrashed
		}
		if resume == nil {
			return frozen, nil
		}
		frozen = true
		select {
		case <-resume:
		case <-p.dead:
		}
	}
}

// clock is the process's own: it began at any time, and runs through suspend.
func (p *process) clock() time.Duration { return p.boot + p.view() }

// view is the world's time as the process sees it: it jumps when a frozen
// process goes on.
func (p *process) view() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.resume != nil {
		return p.frozen
	}
	return p.world.now()
}

// suspended says whether it is frozen now.
func (p *process) suspended() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.resume != nil
}

func (p *process) crashed() bool {
	select {
	case <-p.dead:
		return true
	default:
		return false
	}
}

// alive says that it is neither dead nor frozen.
func (p *process) alive() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.resume == nil && !p.crashed()
}

// crash ends the process: no call of it has an effect any more.
func (p *process) crash() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.crashed() {
		return
	}
	close(p.dead)
	p.cancel()
}

// freeze stops the process; it says false when it is frozen or dead.
func (p *process) freeze() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.resume != nil || p.crashed() {
		return false
	}
	p.frozen = p.world.now()
	p.resume = make(chan struct{})
	return true
}

// cutOff keeps the process from the lease table for a while.
func (p *process) cutOff(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = time.Now().Add(d)
}

// deafen keeps the process from the desired state for a while.
func (p *process) deafen(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deaf = time.Now().Add(d)
}

// hears says whether the process reaches the desired state.
func (p *process) hears() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !time.Now().Before(p.deaf)
}

// reaches says whether the process reaches the lease table.
func (p *process) reaches() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !time.Now().Before(p.cut)
}

// loseCredentials makes its credentials for the streams worthless for a while.
func (p *process) loseCredentials(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bare = time.Now().Add(d)
}

// signs says whether its credentials for the streams are good.
func (p *process) signs() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !time.Now().Before(p.bare)
}

func (p *process) thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.resume != nil {
		close(p.resume)
		p.resume = nil
	}
}

// arm makes the process crash at a call.
func (p *process) arm(at crashPoint) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed = at
}

// reach crashes the process if it is armed for this point.
func (p *process) reach(op string, after bool) {
	p.mu.Lock()
	hit := p.armed.op == op && p.armed.after == after
	if hit {
		p.armed = crashPoint{}
	}
	p.mu.Unlock()
	if hit && !p.crashed() {
		when := "before "
		if after {
			when = "after "
		}
		p.world.happened("crash " + when + op)
		p.world.logf("%s crashes %s%s", p.id, when, op)
		p.crash()
	}
}

// sleep waits; it ends early with ctx or the process.
func (p *process) sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-p.dead:
		return errCrashed
	}
}

// ended says whether everything of it has returned.
func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}
