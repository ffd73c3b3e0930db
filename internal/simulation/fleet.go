package simulation

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// CrashPoints are all the calls that a process makes: it may die before each and
// after each had its effect. Between two calls nothing changes outside the
// process, so that these are all the places that matter.
var CrashPoints = []string{"attempt", "letter",
	"prepare", "list", "first", "desired", "list_now", "set_desired", "get", "create", "take", "renew", "release", "ask", "set_children", "delete",
	"DescribeStreamSummary", "ListShards", "GetShardIterator", "GetRecords",
	"DescribeStreamConsumer", "RegisterStreamConsumer", "SubscribeToShard", "event"}

// start begins a process in a slot, unless one runs there.
func (h *history) start(slot int) {
	if old := h.slots[slot]; old != nil && !old.crashed() && !old.ended() {
		return
	}
	h.ids++
	h.launch(slot, fmt.Sprintf("worker-%d.%d", slot, h.ids), h.wants[slot])
}

// launch begins a process of a configuration.
func (h *history) launch(slot int, id string, c configuration) {
	p := newProcess(h.world, slot, id)
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	h.slots[slot] = p
	h.mu.Lock()
	h.processes = append(h.processes, p)
	h.mu.Unlock()
	h.happened("start")
	if !h.calm.Load() {
		if h.dice.chance("fleet", 0.4) {
			p.arm(h.somewhere())
		}
		h.in(time.Second, func() { h.replace(p) })
	}
	h.logf("%s starts with %v", id, c)
	go func() {
		defer close(p.done)
		p.err = h.work(ctx, p, c)
		h.logf("%s has ended: %v", id, p.err)
	}()
}

// running is the process of a slot that is alive and not frozen, or nil.
func (h *history) running(slot int) *process {
	p := h.slots[slot]
	if p == nil || p.ended() || !p.alive() {
		return nil
	}
	return p
}

// again starts the slot anew after a while.
func (h *history) again(slot int) {
	h.in(h.dice.span("fleet", 0, 20*time.Second), func() { h.start(slot) })
}

func (h *history) kill(slot int) {
	p := h.running(slot)
	if p == nil {
		return
	}
	h.happened("crash")
	h.logf("%s crashes", p.id)
	p.crash()
	h.mu.Lock()
	h.check.abandoned(p)
	h.mu.Unlock()
}

// somewhere is any crash point; calls that are made seldom are chosen more often.
func (h *history) somewhere() crashPoint {
	points := append(slices.Clone(CrashPoints), "create", "set_children", "delete", "delete", "delete", "RegisterStreamConsumer", "RegisterStreamConsumer")
	return crashPoint{op: pick(h.dice, "fleet", points...), after: h.dice.chance("fleet", 0.5)}
}

// armed lets a process crash when it next comes to a point.
func (h *history) armed(slot int) {
	if p := h.running(slot); p != nil {
		p.arm(h.somewhere())
	}
}

// replace starts the slot of a process anew once it has crashed.
func (h *history) replace(p *process) {
	switch {
	case p.crashed():
		if h.slots[p.slot] == p {
			h.again(p.slot)
		}
	case !p.ended() && h.now() < h.length:
		h.in(time.Second, func() { h.replace(p) })
	}
}

// suspend freezes a process, often for longer than the fail-over time.
func (h *history) suspend(slot int) {
	p := h.running(slot)
	if p == nil || !p.freeze() {
		return
	}
	d := h.dice.span("fleet", time.Second, 40*time.Second)
	h.happened("freeze")
	h.logf("%s freezes for %s", p.id, d)
	h.mu.Lock()
	h.check.abandoned(p)
	h.mu.Unlock()
	h.in(d, func() {
		h.logf("%s goes on", p.id)
		p.thaw()
	})
}

// partition cuts a process off from the lease table, often for longer than the
// fail-over time, while it still reads and delivers.
func (h *history) partition(slot int) {
	p := h.running(slot)
	if p == nil {
		return
	}
	d := h.dice.span("fleet", time.Second, 30*time.Second)
	h.happened("cut off from the table")
	h.logf("%s is cut off from the table for %s", p.id, d)
	p.cutOff(d)
}

// deafen keeps a process from the desired state, while it reaches the leases.
func (h *history) deafen(slot int) {
	p := h.running(slot)
	if p == nil {
		return
	}
	d := h.dice.span("fleet", 5*time.Second, 60*time.Second)
	h.happened("deaf to commands")
	h.logf("%s does not reach the desired state for %s", p.id, d)
	p.deafen(d)
}

// expire makes a process's credentials for the streams worthless for a while.
func (h *history) expire(slot int) {
	p := h.running(slot)
	if p == nil {
		return
	}
	d := h.dice.span("fleet", time.Second, 30*time.Second)
	h.happened("credentials lost")
	h.logf("%s has no credentials for %s", p.id, d)
	p.loseCredentials(d)
}

// retire stops a process gracefully and starts another one in its slot.
func (h *history) retire(slot int) {
	p := h.running(slot)
	if p == nil {
		return
	}
	h.happened("graceful stop")
	h.stop(p)
}

func (h *history) stop(p *process) {
	h.logf("%s is told to stop", p.id)
	p.cancel()
	h.whenEnded(p, func() { h.again(p.slot) })
}

// whenEnded does something once a process has ended.
func (h *history) whenEnded(p *process, do func()) {
	h.in(500*time.Millisecond, func() {
		if p.ended() || p.crashed() {
			do()
			return
		}
		h.whenEnded(p, do)
	})
}

// deploy changes the configuration of the workers one by one: it starts them anew,
// or gives it to those that run.
func (h *history) deploy() {
	d := h.dice
	next := h.deployed.clone()
	s := h.streams[d.below("deploy", len(h.streams))].source
	names := next[s]
	kind := pick(d, "deploy", "added", "added", "removed", "renamed", "rolled back")
	switch kind {
	case "added":
		if len(names) >= maxSubscribers {
			return
		}
		name := h.subscriber()
		if other := h.elsewhere(s, names); other != "" && d.chance("deploy", 0.4) {
			name = other // it reads another source already
		} else if gone := h.gone(); len(gone) > 0 && d.chance("deploy", 0.5) {
			name = pick(d, "deploy", gone...) // it comes back, removed for good or not
		}
		next[s] = append(names, name)
	case "removed":
		if len(names) < 2 {
			return
		}
		i := d.below("deploy", len(names))
		next[s] = slices.Delete(names, i, i+1)
	case "renamed":
		names[d.below("deploy", len(names))] = h.subscriber()
	case "rolled back":
		next = h.previous
	}
	h.happened("configuration: " + kind)
	h.logf("deploy %s in %s: %v", kind, s, next)
	h.previous, h.deployed = h.deployed, next
	gap := d.span("deploy", 0, 15*time.Second)
	reload := d.chance("deploy", 0.5)
	for i := range h.slots {
		h.in(time.Duration(i)*gap, func() {
			h.wants[i] = next
			switch p := h.running(i); {
			case p == nil:
			case reload && h.reload(p, next):
			default:
				h.stop(p)
			}
		})
	}
}

// reload lets a process go over to another configuration while it works. It says
// false when too many wait for that.
func (h *history) reload(p *process, c configuration) bool {
	h.mu.Lock()
	for _, names := range c {
		for _, name := range names {
			h.check.joins[name] = true
		}
	}
	h.mu.Unlock()
	select {
	case p.reloads <- c:
		h.happened("configuration: while a process works")
		h.logf("%s is to go over to %v", p.id, c)
		return true
	default:
		return false
	}
}

// maxSubscribers bounds those of one source.
const maxSubscribers = 5

// elsewhere is a subscriber of another source only, or empty.
func (h *history) elsewhere(source string, names []string) string {
	for other, theirs := range h.deployed {
		for _, name := range theirs {
			if other != source && !slices.Contains(names, name) {
				return name
			}
		}
	}
	return ""
}

// all is the configuration with every subscriber that a roster lists: in the
// end nobody may have lost anything.
func (h *history) all() configuration {
	c := h.deployed.clone()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.streams {
		for name := range s.truths {
			if !slices.Contains(c[s.source], name) {
				c[s.source] = append(c[s.source], name)
			}
		}
		slices.Sort(c[s.source])
	}
	return c
}

// end lets all faults stop and everything drain, and then stops and starts the
// workers once more in the middle of a burst: nothing may come twice.
func (h *history) end() {
	h.logf("all faults stop")
	h.calm.Store(true)
	h.takeBack()
	for _, p := range h.processes {
		p.arm(crashPoint{})
		p.cutOff(0)
		p.deafen(0)
		p.loseCredentials(0)
		p.thaw()
	}
	h.mu.Lock()
	for _, s := range h.streams {
		s.denied = time.Time{}
	}
	h.mu.Unlock()
	h.halt("end")
	final := h.all()
	for i := range h.slots {
		h.wants[i] = final
		h.start(i)
	}
	if !h.drain() {
		h.crashAll()
		return
	}
	h.logf("quiet from here on")
	h.quiet.Store(true)
	for range 2 {
		for _, s := range h.streams {
			h.burst(s, 8, 60)
		}
		time.Sleep(h.dice.span("end", 0, 1500*time.Millisecond))
		h.halt("end")
		for i := range h.slots {
			h.start(i)
		}
	}
	h.drain()
	h.halt("end")
}

// halt stops every process gracefully and waits for them.
func (h *history) halt(when string) {
	for i := range h.slots {
		if p := h.slots[i]; p != nil && !p.crashed() {
			p.cancel()
		}
	}
	deadline := time.After(5 * time.Minute)
	for _, p := range h.slots {
		if p == nil {
			continue
		}
		select {
		case <-p.done:
			if p.err != nil && !p.crashed() {
				h.mu.Lock()
				h.check.broken("drain", "%s: %s stopped with %v", when, p.id, p.err)
				h.mu.Unlock()
			}
		case <-deadline:
			h.mu.Lock()
			h.check.broken("drain", "%s: %s does not stop", when, p.id)
			h.mu.Unlock()
		}
	}
}

func (h *history) crashAll() {
	for _, p := range h.processes {
		p.crash()
	}
}

// drain waits until nobody lacks anything and every closed shard is finished.
func (h *history) drain() bool {
	time.Sleep(30 * time.Second)
	var left []string
	for deadline := time.Now().Add(drained); time.Now().Before(deadline); time.Sleep(time.Second) {
		h.mu.Lock()
		left = append(h.check.missing(), h.unfinished()...)
		h.mu.Unlock()
		if len(left) == 0 {
			h.logf("drained")
			return true
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.check.broken("drain", "after %s without faults: %s", drained, strings.Join(left[:min(len(left), 5)], "; "))
	return false
}

// unfinished says which closed shards are not at their end for everybody.
func (h *history) unfinished() []string {
	var left []string
	if h.desired().Stepping() {
		left = append(left, "a replay or a removal is not over")
	}
	for _, s := range h.streams {
		for _, c := range s.shards {
			l, found := h.lease(h.leaseKey(c))
			switch {
			case !found && c.closed.IsZero():
				left = append(left, c.name()+" is open and has no lease")
			case found && !c.closed.IsZero() && !l.Finished():
				left = append(left, fmt.Sprintf("%s is closed, but at %s", c.name(), h.check.short(l.Checkpoint)))
			case found && len(l.Behind) > 0 && !c.closed.IsZero():
				left = append(left, fmt.Sprintf("%s has %v behind", c.name(), h.check.entries(l.Behind)))
			}
		}
	}
	return left
}
